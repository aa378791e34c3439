"""`streamer tokens` and `streamer keys` as a user types them."""

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from streamer.cli import main
from streamer.config import Store as StoreConfig
from streamer.encryption import read_keys


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(one) for one in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_token_is_printed_once_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "access"
    make = "tokens", "create", "--folder", folder, "--name", "desk", "--scope", "read", "--scope", "biometric"
    code, out, said = run(capsys, *make, "--camera", "door", "--expires", "90d")
    assert code == 0
    assert re.fullmatch(r"fa_[\w-]{43}\n", out)
    assert re.match(r"desk \([0-9a-f]{8}\): biometric, read for door, until \d{4}-", said)
    assert out.strip() not in (folder / "tokens.jsonl").read_text()
    code, _, said = run(capsys, *make)
    assert (code, "there is a token desk already" in said) == (2, True)
    code, out, _ = run(capsys, "tokens", "list", "--folder", folder, "--json")
    listed = json.loads(out)
    assert (listed["name"], listed["cameras"], listed["state"]) == ("desk", ["door"], "active")
    config = tmp_path / "live.yaml"
    config.write_text(f"store: null\naccess: {{folder: {folder}}}\n")
    code, out, _ = run(capsys, "tokens", "revoke", "desk", "--config", config)
    assert (code, out) == (0, f"desk ({listed['id']}): revoked\n")
    code, out, _ = run(capsys, "tokens", "list", "--config", config)
    assert out.endswith(": revoked\n")
    assert run(capsys, "tokens", "revoke", "desk", "--folder", folder)[0] == 2
    assert run(capsys, *make)[0] == 0  # the name is free again
    audit = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert [one["method"] for one in audit] == ["tokens create", "tokens revoke", "tokens create"]
    assert all(one["who"].endswith("on the command line") for one in audit)


def test_tokens_are_in_the_store_and_those_of_a_folder_move_there(
    place: Callable[..., StoreConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, config = tmp_path / "access", tmp_path / "live.yaml"
    store = place()
    config.write_text(
        json.dumps({"store": {"folder": store.folder, "url": store.url}, "access": {"folder": str(folder)}})
    )
    create = "tokens", "create", "--scope", "read"
    assert run(capsys, *create, "--name", "old", "--folder", folder)[0] == 0
    assert run(capsys, *create, "--name", "gone", "--folder", folder)[0] == 0
    assert run(capsys, "tokens", "revoke", "gone", "--folder", folder)[0] == 0
    code, out, _ = run(capsys, *create, "--name", "new", "--camera", "door", "--camera", "yard", "--config", config)
    assert (code, bool(re.fullmatch(r"fa_[\w-]{43}\n", out))) == (0, True)
    code, out, _ = run(capsys, "tokens", "list", "--json", "--config", config)
    listed = [json.loads(line) for line in out.splitlines()]
    assert [(one["name"], one["state"], one["cameras"]) for one in listed] == [
        ("old", "active", []),
        ("gone", "revoked", []),
        ("new", "active", ["door", "yard"]),
    ]
    assert {path.name for path in folder.iterdir()} == {"tokens.jsonl.imported", "audit.jsonl"}
    code, _, said = run(capsys, *create, "--name", "more", "--folder", folder)
    assert (code, "are in the store now: use --config" in said) == (2, True)
    assert run(capsys, "tokens", "revoke", "old", "--config", config)[:2] == (0, f"old ({listed[0]['id']}): revoked\n")
    assert run(capsys, "tokens", "revoke", "old", "--config", config)[0] == 2


def test_who_did_what_is_listed(
    place: Callable[..., StoreConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, store = tmp_path / "live.yaml", place()
    config.write_text(json.dumps({"store": {"folder": store.folder, "url": store.url}}))
    for name in ("a", "b"):
        assert run(capsys, "tokens", "create", "--name", name, "--scope", "read", "--config", config)[0] == 0
    assert run(capsys, "tokens", "revoke", "a", "--config", config)[0] == 0
    audit = "audit", "list", "--config", config
    code, out, _ = run(capsys, *audit)
    assert (code, [line.split(": ")[1].split(" (")[0] for line in out.splitlines()]) == (
        0,
        ["tokens create of a", "tokens create of b", "tokens revoke of a"],
    )
    code, out, _ = run(capsys, *audit, "--method", "revoke", "--since", "1h", "--json")
    (entry,) = map(json.loads, out.splitlines())
    assert (entry["method"], entry["outcome"], "on the command line" in entry["who"]) == ("tokens revoke", "OK", True)
    assert run(capsys, *audit, "--who", "somebody else")[:2] == (0, "")
    assert run(capsys, *audit, "--since", "2100-01-01")[:2] == (0, "")
    assert len(run(capsys, *audit, "--since", "2020-01-01T00:00:00Z")[1].splitlines()) == 3
    for wrong in ("yesterday", "never", "7"):
        code, _, said = run(capsys, *audit, "--since", wrong)
        assert (code, "--since" in said) == (2, True), wrong


def test_a_token_can_go_to_a_file_for_its_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "desk.token"
    make = "tokens", "create", "--folder", tmp_path, "--name", "desk", "--scope", "admin", "--out", file
    code, out, _ = run(capsys, *make)
    assert (code, out) == (0, "")
    assert file.read_text().startswith("fa_")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, _, said = run(capsys, *make[:5], "other", *make[6:])
    assert (code, "File exists" in said) == (2, True)


def test_a_configuration_without_a_place_says_what_to_add(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "live.yaml").write_text("store: null")
    code, _, said = run(capsys, "tokens", "list", "--config", tmp_path / "live.yaml")
    assert (code, "add `access: {folder: access}`" in said) == (2, True)


def test_keys_are_made_listed_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "keys", "new", "--worker", "gpu1", "--worker", "gpu2")
    assert code == 0
    assert "gpu1.key: the keys of gpu1; move it to the worker's machine: swinface worker --keys gpu1.key" in out
    code, out, _ = run(capsys, "keys", "list")
    assert [line.partition(":")[0] for line in out.splitlines()] == ["streamer", "gpu1", "gpu2"]
    assert run(capsys, "keys", "revoke", "gpu1")[:2] == (0, "gpu1: revoked\n")
    assert run(capsys, "keys", "revoke", "gpu1")[0] == 2
    assert run(capsys, "keys", "new", "--out", "x.key")[0] == 2
    code, out, _ = run(capsys, "keys", "certificate", "localhost", "127.0.0.1")
    assert (code, "--tls-ca keys/ca.pem" in out) == (0, True)
    assert run(capsys, "keys", "certificate", "no host")[0] in (0, 2)
    assert run(capsys, "keys", "certificate", "h", "--days", "0")[0] == 2
    assert run(capsys, "keys", "encryption", "--out", "store.key")[0] == 0
    assert stat.S_IMODE(Path("store.key").stat().st_mode) == 0o600
    assert read_keys(Path("store.key")) is not None
    assert run(capsys, "keys", "encryption", "--out", "store.key")[0] == 2


UNSAFE = {
    "publish: {listen: '0.0.0.0:50051'}": "publish.listen: other machines",
    "{publish: {listen: '0.0.0.0:50051', tls: {certificate: a, key: b}}, store: null}": "access: {folder: access}",
    "publish: {listen: '0.0.0.0:50051', insecure: true, tls: {certificate: a, key: b}}": "publish.insecure: remove it",
    "dispatch: {bind: 'tcp://0.0.0.0:5570'}": "dispatch.bind: other machines",
    "dispatch: {bind: 'tcp://0.0.0.0:5570', keys: k, insecure: true}": "dispatch.insecure: remove it",
    "dispatch: {keys: k}": "dispatch.keys: ipc needs none",
}


@pytest.mark.parametrize(("settings", "problem"), UNSAFE.items())
def test_an_unsafe_configuration_is_refused_by_check_and_serve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str, problem: str
) -> None:
    config = tmp_path / "live.yaml"
    config.write_text(settings)
    for command in (("config", "check", config), ("serve", "--config", config)):
        code, _, said = run(capsys, *command)
        assert (code, problem in said) == (2, True), said
    assert run(capsys, "config", "show", config)[0] == 0


def test_a_safe_configuration_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "live.yaml"
    config.write_text(
        "publish: {listen: '0.0.0.0:50051', tls: {certificate: a, key: b}}\n"
        "access: {folder: access}\n"
        "dispatch: {bind: 'tcp://0.0.0.0:5570', keys: keys}\n"
    )
    assert run(capsys, "config", "check", config)[:2] == (0, "the configuration is valid\n")
