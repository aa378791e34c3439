"""What `streamer doctor` finds, on real files, sockets, databases and streamers."""

import fcntl
import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from faceanalytics.worker_keys import make_streamer_keys, make_worker_keys
from streamer.cli import main
from streamer.config import StreamerConfig
from streamer.doctor import access, machine, media, network, packages
from streamer.doctor.cameras import check_cameras, check_streams
from streamer.doctor.examine import CHECKS, examine
from streamer.doctor.finding import Finding, Level, Patient, fail, warn, worst
from streamer.doctor.keep import check_store
from streamer.store.migrate import known_revisions
from tests.end_to_end.programs import address_of, free_port, serve
from tests.support.certificates import issue
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.postgres import Postgres
from tests.support.rtsp_server import RtspServer
from tests.support.videos import make_video

SECRET = "s3cret"


def patient(running: bool = False, path: Path | None = None, /, **settings: Any) -> Patient:
    return Patient(StreamerConfig.model_validate(settings), path, running)


def levels(findings: Iterator[Finding] | list[Finding], check: str = "") -> list[Level]:
    return [one.level for one in findings if not check or one.check == check]


def only(findings: Iterator[Finding] | list[Finding], level: Level) -> Finding:
    """The only finding of a level, and none is worse."""
    found = list(findings)
    assert worst(found) is level, found
    (one,) = [one for one in found if one.level is level]
    return one


def write(folder: Path, **settings: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    path.chmod(0o600)
    return path


def run(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and the JSON of a whole examination."""
    code = main(["doctor", str(path), "--json", *options])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, report


@pytest.fixture
def healthy(tmp_path: Path) -> dict[str, Any]:
    """Settings with which nothing can fail here."""
    return {
        "detect": {"weights": str(write_lite_patch_detector(tmp_path / "detector.onnx"))},
        "dispatch": {"bind": f"ipc://{tmp_path}/w"},
        "publish": {"listen": f"127.0.0.1:{free_port()}"},
    }


def test_a_healthy_machine_fails_nothing_and_each_check_says_something(
    tmp_path: Path, healthy: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = run(write(tmp_path, **healthy), capsys)
    assert code == 0, report
    assert report["level"] in ("OK", "WARN")
    assert {one["check"] for one in report["findings"]} == {
        *("config", "running", "packages", "ports", "store", "disk", "permissions", "tokens", "workers", "clock"),
        *("memory", "files", "codecs", "decode_device", "gpu", "detector", "weights", "streams"),
    }
    assert all(one["advice"] for one in report["findings"] if one["level"] != "OK")
    assert sum(one["check"] == "codecs" for one in report["findings"]) == 3


def test_text_for_people_has_a_line_per_finding_and_one_for_what_to_do(
    tmp_path: Path, healthy: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    listen = healthy["publish"]["listen"]
    with socket.create_server((listen.partition(":")[0], int(listen.partition(":")[2]))):
        assert main(["doctor", str(write(tmp_path, **healthy)), "--quiet"]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("FAIL"))
    assert f"publish.listen: {listen} is used by another program" in lines[at]
    assert lines[at + 1].strip() == "-> stop it, or choose another port"
    assert not any(line.startswith("OK") for line in lines)
    assert "1 failed" in lines[-1]


@pytest.mark.slow
def test_beside_a_running_streamer_its_addresses_are_fine(
    tmp_path: Path, healthy: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    healthy["metrics"] = {"listen": f"127.0.0.1:{port}"}
    healthy["publish"] = {"listen": f"127.0.0.1:{free_port()}"}
    settings = {name: value for name, value in healthy.items() if name != "detect"}
    with serve(tmp_path, Path(healthy["detect"]["weights"]), healthy["dispatch"]["bind"], {}, **settings) as streamer:
        address_of(streamer)
        code, report = run(tmp_path / "serve.yaml", capsys)
        assert code == 0, report
        ports = [one["found"] for one in report["findings"] if one["check"] == "ports"]
        assert len(ports) == 3
        assert all("used by the streamer that runs" in one for one in ports)
        # another configuration on the same machine collides with it
        other = {**healthy, "publish": {"listen": f"127.0.0.1:{free_port()}"}}
        code, report = run(write(tmp_path, **other), capsys)
        assert code == 1
        failed = {one["check"]: one["found"] for one in report["findings"] if one["level"] == "FAIL"}
        assert "another streamer uses" in failed["ports"]
        assert "another streamer uses" in failed["store"]


@pytest.mark.slow
def test_a_running_streamer_with_tls_is_known_by_its_certificate(
    tmp_path: Path, healthy: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server = issue(tmp_path, "server", issue(tmp_path, "ca"), days=(-1, 90))
    tls = {"certificate": str(server.path), "key": str(server.key_path)}
    port, metrics = free_port(), free_port()
    settings = {
        "publish": {"listen": f"127.0.0.1:{port}", "tls": tls},
        "metrics": {"listen": f"127.0.0.1:{metrics}", "tls": tls},
    }
    with serve(tmp_path, Path(healthy["detect"]["weights"]), healthy["dispatch"]["bind"], {}, **settings) as streamer:
        address_of(streamer)
        code, report = run(tmp_path / "serve.yaml", capsys)
    assert code == 0, report
    assert "a streamer answers there" in str(report)
    assert [one["level"] for one in report["findings"] if one["check"] == "certificates"] == ["OK", "OK"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"publish": {"listn": "a"}}, "listn"),
        ({"publish": {"listen": "0.0.0.0:50051"}}, "publish.tls"),
        ({"streams": [{"id": "a", "uri": f"rtsp://u:{SECRET}#x@h/m"}]}, "unescaped"),
    ],
)
def test_a_wrong_configuration_is_a_failure_that_names_the_setting(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    (found,) = [one for one in examine(write(tmp_path, **settings)) if one.check == "config"]
    assert found.level is Level.FAIL
    assert said in found.found
    assert SECRET not in found.found


def test_no_finding_shows_a_secret(tmp_path: Path, healthy: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    uri_file, key = tmp_path / "uri", tmp_path / "store.key"
    uri_file.write_text(f"rtsp://admin:{SECRET}@127.0.0.1:1/a")
    key.write_text(SECRET)  # not a key
    path = write(
        tmp_path,
        **healthy,
        streams=[
            {"id": "one", "uri": f"rtsp://admin:{SECRET}@127.0.0.1:1/main?token={SECRET}"},
            {"id": "two", "uri_file": str(uri_file)},
        ],
        store={"url": f"postgresql://me:{SECRET}@127.0.0.1:1/db", "key_file": str(key)},
    )
    path.chmod(0o644)
    assert main(["doctor", str(path), "--cameras", "--wait", "1"]) == 1
    out, error = capsys.readouterr()
    assert SECRET not in out + error
    assert "holds passwords" in out
    assert out.count("cameras") >= 2


@pytest.mark.parametrize(
    ("address", "text"),
    [("198.51.100.7:50051", "is no address of this machine"), ("no-such-host.invalid:50051", "cannot be used")],
)
def test_an_address_that_cannot_be_listened_on_fails(address: str, text: str) -> None:
    found = list(network.check_addresses(patient(publish={"listen": address}, dispatch={"bind": "tcp://127.0.0.1:*"})))
    assert text in only(found, Level.FAIL).found


@pytest.mark.parametrize(
    ("bind", "text"),
    [("ipc:///no/such/folder/w", "cannot make a socket"), ("ipc:///tmp/" + "a" * 120, "too long")],
)
def test_an_ipc_path_that_cannot_be_used_fails(bind: str, text: str) -> None:
    found = network.check_addresses(patient(publish={"listen": "127.0.0.1:0"}, dispatch={"bind": bind}))
    assert text in only(found, Level.FAIL).found


def test_an_ipc_path_of_another_streamer_fails_unless_it_is_ours(tmp_path: Path) -> None:
    settings = {"publish": {"listen": "127.0.0.1:0"}, "dispatch": {"bind": f"ipc://{tmp_path}/w"}}
    with (tmp_path / "w.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert worst(network.check_addresses(patient(False, None, **settings))) is Level.FAIL
        assert worst(network.check_addresses(patient(True, None, **settings))) is Level.OK
    assert worst(network.check_addresses(patient(False, None, **settings))) is Level.OK


async def _fill(folder: Path) -> None:
    from streamer.config import Store as StoreConfig
    from streamer.store.store import Store

    store = Store(StoreConfig(folder=str(folder)), lambda _: None, lambda _: None, lambda _: None)  # type: ignore[arg-type,return-value]
    await store.open()
    await store.close()


async def test_a_store_is_opened_for_reading_and_its_form_and_health_are_checked(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    asked = patient(store={"folder": str(folder)})
    assert levels(check_store(asked)) == [Level.OK]  # it is not there yet, and is not made
    assert not folder.exists()
    await _fill(folder)
    before = (folder / "store.sqlite").read_bytes()
    assert worst(check_store(asked)) is Level.OK
    assert (folder / "store.sqlite").read_bytes() == before
    file = folder / "store.sqlite"
    shutil.copy(file, tmp_path / "kept")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "newer version" in only(check_store(asked), Level.FAIL).found
    shutil.copy(tmp_path / "kept", file)
    for name in ("store.sqlite-wal", "store.sqlite-shm"):
        (folder / name).unlink(missing_ok=True)
    content = bytearray(file.read_bytes())
    content[5000:12_000] = os.urandom(7000)
    file.write_bytes(content)
    assert worst(check_store(asked)) is Level.FAIL
    file.write_bytes(b"no database at all" * 1000)
    assert worst(check_store(asked)) is Level.FAIL


def test_a_store_from_the_future_hints_at_the_clock_and_stored_passwords_at_a_key(tmp_path: Path) -> None:
    import asyncio

    folder = tmp_path / "store"
    asyncio.run(_fill(folder))
    with sqlite3.connect(folder / "store.sqlite") as connection:
        connection.execute(
            "INSERT INTO events (sequence, at, kind, camera, track_id, payload) VALUES (1, ?, 'NEW', 'a', 'b', x'')",
            [datetime(2099, 1, 1, tzinfo=UTC).strftime("%Y-%m-%d %H:%M:%S.%f")],
        )
    connection.close()
    found = list(check_store(patient(store={"folder": str(folder)})))
    assert "in the future" in only(found, Level.WARN).found


def test_the_newest_revision_is_first() -> None:
    assert known_revisions()[-1] == "0001"


def test_folders_of_others_fail(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    assert worst(check_store(patient(store={"folder": str(file / "store")}))) is Level.FAIL
    assert worst(check_store(patient(store=None))) is Level.OK


@pytest.mark.postgres
def test_a_postgresql_store_is_asked(postgres: Postgres) -> None:
    url = postgres.database()
    assert "empty" in only(check_store(patient(store={"url": url})), Level.OK).found
    postgres.kill()
    try:
        assert worst(check_store(patient(store={"url": url}))) is Level.FAIL
    finally:
        postgres.start()


def test_secrets_that_others_can_read_are_warned_of_with_the_command_that_mends_it(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_streamer_keys(keys)
    settings = {"dispatch": {"bind": "tcp://0.0.0.0:1", "keys": str(keys)}}
    assert worst(access.check_permissions(patient(**settings))) is Level.OK
    (keys / "streamer.key").chmod(0o644)
    found = only(access.check_permissions(patient(**settings)), Level.WARN)
    assert found.advice == f"chmod 600 {keys}/streamer.key"
    assert "mode 644" in found.found


def certified(signed: Any, listen: str = "127.0.0.1:0") -> Patient:
    tls = {"certificate": str(signed.path), "key": str(signed.key_path)}
    return patient(publish={"listen": listen, "tls": tls}, access={"folder": "a"})


@pytest.mark.parametrize(
    ("days", "host", "listen", "level", "text"),
    [
        ((-1, 90), "", "127.0.0.1:0", Level.OK, "is valid until"),
        ((-1, 20), "", "127.0.0.1:0", Level.WARN, "expires on"),
        ((-9, -1), "", "127.0.0.1:0", Level.FAIL, "expired on"),
        ((1, 9), "", "127.0.0.1:0", Level.FAIL, "is valid from"),
        ((-1, 90), "a.example.org", "b.example.org:1", Level.WARN, "does not name b.example.org"),
        ((-1, 90), "a.example.org", "a.example.org:1", Level.OK, "a.example.org"),
    ],
)
def test_certificates(tmp_path: Path, days: tuple[int, int], host: str, listen: str, level: Level, text: str) -> None:
    server = issue(tmp_path, "server", issue(tmp_path, "ca"), days, host)
    found = only(access.check_certificates(certified(server, listen)), level)
    assert text in found.found


def test_a_certificate_without_its_key_fails(tmp_path: Path) -> None:
    authority, server = issue(tmp_path, "ca"), issue(tmp_path, "server")
    shutil.copy(authority.key_path, server.key_path)
    assert "no certificate and its key" in only(access.check_certificates(certified(server)), Level.FAIL).found


@pytest.mark.parametrize("stored", [True, False])
def test_tokens_are_counted_where_they_are_needed(tmp_path: Path, stored: bool) -> None:
    tls = {"certificate": "a", "key": "b"}
    kept = {"store": {"folder": str(tmp_path / "store")}} if stored else {"store": None}
    world = {"publish": {"listen": "0.0.0.0:1", "tls": tls}, "access": {"folder": str(tmp_path / "access")}, **kept}
    file = tmp_path / "streamer.yaml"
    file.write_text(yaml.safe_dump(world))
    make: Callable[..., int] = lambda name, *more: main(  # noqa: E731
        ["tokens", "create", "--config", str(file), "--name", name, "--scope", "read", *more]
    )
    assert only(access.check_tokens(patient(**world)), Level.FAIL).advice.startswith("make one: streamer tokens")
    assert make("soon", "--expires", "2d") == 0
    assert "expire within" in only(access.check_tokens(patient(**world)), Level.WARN).found
    assert make("door", "--camera", "door", "--expires", "never") == 0
    assert worst(access.check_tokens(patient(**world))) is Level.OK
    measured = {**world, "metrics": {"listen": "0.0.0.0:2", "tls": tls}}
    assert main(["tokens", "revoke", "soon", "--config", str(file)]) == 0
    assert "metrics" in only(access.check_tokens(patient(**measured)), Level.WARN).found
    assert make("prometheus") == 0
    assert worst(access.check_tokens(patient(**measured))) is Level.OK
    for name in ("door", "prometheus"):
        assert main(["tokens", "revoke", name, "--config", str(file)]) == 0
    assert "expired or revoked" in only(access.check_tokens(patient(**world)), Level.FAIL).found
    assert worst(access.check_tokens(patient())) is Level.OK  # of this machine only


def test_workers_need_keys_that_are_there(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    settings = {"dispatch": {"bind": "tcp://0.0.0.0:1", "keys": str(keys)}}
    assert worst(access.check_worker_keys(patient(**settings))) is Level.FAIL
    make_streamer_keys(keys)
    assert "no worker may connect" in only(access.check_worker_keys(patient(**settings)), Level.FAIL).found
    make_worker_keys(keys, "gpu1", tmp_path / "gpu1.key")
    (found,) = access.check_worker_keys(patient(**settings))
    assert "gpu1" in found.found


def test_a_device_that_is_not_there_fails_and_says_what_can_be_used() -> None:
    asked = patient(sources={"decode_device": "vaapi:/dev/dri/none"}, detect={"device": "cuda:7"})
    assert "usable on this machine: cpu" in only(media.check_decoders(asked), Level.FAIL).found
    if not Path("/proc/driver/nvidia/version").exists():
        assert "cuda:7" in only(media.check_gpu(asked), Level.FAIL).found


def test_a_detector_that_is_damaged_fails(tmp_path: Path) -> None:
    weights = tmp_path / "broken.onnx"
    weights.write_bytes(b"broken")
    assert worst(media.check_detector(patient(detect={"weights": str(weights)}))) is Level.FAIL


def test_missing_packages_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.doctor.packages.find_spec", lambda _: None)
    asked = patient(
        store={"url": "postgresql://a/b"}, detect={"precision": "bf16"}, tracing={"endpoint": "127.0.0.1:4317"}
    )
    found = [one for one in packages.check_packages(asked) if one.level is Level.FAIL]
    assert [one.advice.partition("[")[2] for one in found] == ["postgres]'", "openvino]'", "tracing]'"]


def test_memory_files_and_disk_are_compared_with_the_cameras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    many = {"streams": [{"id": f"c{number}", "uri": "rtsp://h/"} for number in range(200)]}
    monkeypatch.setattr(machine, "_available_mb", lambda: 2000.0)
    assert worst(machine.check_memory(patient())) is Level.OK
    assert worst(machine.check_memory(patient(**many))) is Level.WARN
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    assert worst(machine.check_files(patient())) is Level.OK
    assert "4096" in only(machine.check_files(patient(**many)), Level.WARN).advice
    usage = shutil.disk_usage(tmp_path)._replace(free=50_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert set(levels(machine.check_disk(patient(store={"folder": str(tmp_path)})))) == {Level.WARN}


def test_cameras_are_connected_to_on_request(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    with RtspServer({"main": clip}, user="admin", password=SECRET) as server:
        good, wrong = server.url("main"), server.url("main").replace(SECRET, "wrong")
        streams = [
            {"id": "good", "uri": good},
            {"id": "wrong", "uri": wrong},
            {"id": "file", "uri": str(clip)},
            {"id": "absent", "uri": str(tmp_path / "absent.mp4")},
            {"id": "off", "uri": str(tmp_path / "absent.mp4"), "enabled": False},
        ]
        asked = patient(streams=streams)
        found = {one.found.partition(":")[0]: one for one in check_cameras(asked, 10.0)}
    assert set(found) == {"good", "wrong", "file", "absent"}
    assert found["good"].level is not Level.FAIL
    assert found["file"].level is Level.OK
    assert found["wrong"].level is Level.FAIL
    assert "AUTH_FAILED" in found["wrong"].found
    assert SECRET not in str(found)
    assert "absent" in only(check_streams(asked), Level.FAIL).found


def test_levels_are_ordered_and_texts_cleaned() -> None:
    assert worst([]) is Level.OK
    assert worst([warn("a", "b", "c"), fail("a", "b", "c"), warn("a", "b", "c")]) is Level.FAIL
    assert SECRET not in fail("a", f"cannot open rtsp://me:{SECRET}@host/\nat all", "b").found
    assert len(CHECKS) == len(set(CHECKS))
