"""The files of the keys of streamer and workers, and what makes them."""

import stat
from pathlib import Path

import pytest
import zmq

from faceanalytics.errors import ConfigError
from faceanalytics.worker_keys import (
    KEY,
    make_streamer_keys,
    make_worker_keys,
    new_pair,
    read_allowed,
    read_streamer_keys,
    read_worker_keys,
    revoke_worker_keys,
)
from workers.serve.config import load_config


def test_keys_are_valid_and_all_different() -> None:
    pairs = [new_pair() for _ in range(200)]
    assert len({key for pair in pairs for key in (pair.public, pair.secret)}) == 400
    for pair in pairs:
        assert KEY.fullmatch(pair.public)
        assert zmq.curve_public(pair.secret.encode()).decode() == pair.public


def test_secrets_are_for_their_owner_only_and_are_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = make_streamer_keys(folder)
    before = read_streamer_keys(folder)
    assert make_streamer_keys(folder) == made
    assert read_streamer_keys(folder) == before
    make_worker_keys(folder, "gpu1", tmp_path / "gpu1.key")
    known = read_worker_keys(tmp_path / "gpu1.key")
    assert known.streamer == before.public
    assert read_allowed(folder) == {known.pair.public: "gpu1"}
    for path in (made, tmp_path / "gpu1.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert before.secret not in (tmp_path / "gpu1.key").read_text()
    assert known.pair.secret not in "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    with pytest.raises(ConfigError, match="there already"):
        make_worker_keys(folder, "gpu1", tmp_path / "other.key")
    with pytest.raises(ConfigError, match="there already"):
        make_worker_keys(folder, "gpu2", tmp_path / "gpu1.key")
    revoke_worker_keys(folder, "gpu1")
    assert read_allowed(folder) == {}
    with pytest.raises(ConfigError, match="cannot remove"):
        revoke_worker_keys(folder, "gpu1")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "a b"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    make_streamer_keys(tmp_path)
    with pytest.raises(ConfigError, match="--worker"):
        make_worker_keys(tmp_path, name, tmp_path / "out.key")
    with pytest.raises(ConfigError, match="--worker"):
        revoke_worker_keys(tmp_path, name)


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    for text in ("", "[]", '{"public": "x", "secret": "y"}'):
        (tmp_path / "streamer.key").write_text(text)
        with pytest.raises(ConfigError, match="streamer keys new"):
            read_streamer_keys(tmp_path)
    with pytest.raises(ConfigError, match="streamer keys new --worker"):
        read_worker_keys(tmp_path / "none.key")


def test_a_worker_needs_keys_for_other_machines() -> None:
    for local in ("ipc:///tmp/x", "tcp://127.0.0.1:5570", "tcp://[::1]:5570", "tcp://localhost:5570"):
        assert load_config(None, {"connect": [local]}).keys_of(local) is None
    remote = "tcp://10.0.0.7:5570"
    with pytest.raises(ConfigError, match=r"tcp://10.0.0.7:5570 is on another machine.*--keys.*--insecure"):
        load_config(None, {"connect": ["ipc:///tmp/x", remote]})
    assert load_config(None, {"connect": [remote], "insecure": True}).keys_of(remote) is None
    assert load_config(None, {"connect": [remote], "keys": ["a.key"]}).keys_of(remote) == "a.key"
    two = load_config(None, {"connect": ["ipc:///tmp/x", remote], "keys": ["a.key", "b.key"]})
    assert (two.keys_of("ipc:///tmp/x"), two.keys_of(remote)) == (None, "b.key")
    with pytest.raises(ConfigError, match="one for each of the 2"):
        load_config(None, {"connect": ["ipc:///tmp/x", remote], "keys": ["a", "b", "c"]})
