"""Values at rest: sealed, bound to their place, and readable after a change of keys."""

import subprocess
import sys
from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError
from faceanalytics.extras import MissingPackage
from streamer import encryption
from streamer.encryption import VARIABLE, NotReadable, new_key, read_keys


def test_what_is_sealed_can_be_opened_and_looks_random() -> None:
    sealer = read_keys(None, {VARIABLE: new_key()})
    assert sealer is not None
    for value in (b"", b"rtsp://u:secret@h/x", bytes(100_000)):
        one, other = sealer.seal(value, "streams.uri", "door"), sealer.seal(value, "streams.uri", "door")
        assert one != other
        assert value not in one or not value
        assert sealer.open(one, "streams.uri", "door") == value


def test_a_value_is_bound_to_its_purpose_its_row_and_its_bytes() -> None:
    sealer = read_keys(None, {VARIABLE: new_key()})
    assert sealer is not None
    sealed = sealer.seal(b"secret", "streams.uri", "door")
    for purpose, row in (("streams.uri", "yard"), ("tokens.salt", "door"), ("streams.uri", "")):
        with pytest.raises(NotReadable):
            sealer.open(sealed, purpose, row)
    for place in range(len(sealed)):
        with pytest.raises(NotReadable):
            sealer.open(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], "streams.uri", "door")
        with pytest.raises(NotReadable):
            sealer.open(sealed[:place], "streams.uri", "door")


def test_a_new_key_in_front_seals_and_the_old_one_still_opens(tmp_path: Path) -> None:
    first, second = new_key(), new_key()
    file = tmp_path / "store.key"
    file.write_text(first + "\n")
    before = read_keys(file)
    file.write_text(f"{second}\n{first}\n")
    both = read_keys(file)
    file.write_text(second)
    after = read_keys(file)
    assert before is not None
    assert both is not None
    assert after is not None
    old, new = before.seal(b"x", "a"), both.seal(b"x", "a")
    assert both.open(old, "a") == both.open(new, "a") == after.open(new, "a") == b"x"
    assert (both.is_current(old), both.is_current(new)) == (False, True)
    with pytest.raises(NotReadable, match="key that is not here"):
        after.open(old, "a")


def test_without_a_key_nothing_is_sealed_and_a_bad_one_is_an_error(tmp_path: Path) -> None:
    assert read_keys(None, {}) is None
    with pytest.raises(ConfigError, match="cannot read"):
        read_keys(tmp_path / "none")
    for text in ("", "secret", new_key()[:-2], "ä"):
        (tmp_path / "key").write_text(text)
        with pytest.raises(ConfigError, match=r"key"):
            read_keys(tmp_path / "key")
    with pytest.raises(ConfigError, match=VARIABLE):
        read_keys(None, {VARIABLE: "secret"})


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(extra: str, *packages: str, use: str) -> None:
        raise MissingPackage(f"{use}: {packages} [{extra}]")

    monkeypatch.setattr(encryption, "require", absent)
    with pytest.raises(MissingPackage, match="security"):
        read_keys(None, {VARIABLE: new_key()})


def test_the_package_is_imported_where_it_is_used() -> None:
    probe = "import sys, streamer.encryption, streamer.access.authority; print('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout == "False\n"
