"""The audit log: one line each, of limited rate and size."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError
from streamer.access import audit
from streamer.access.audit import AuditFile, Entry
from streamer.access.quotas import Bucket, Quotas
from streamer.safety import Limits, is_loopback

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DONE = Entry(NOW, "desk (1) at ipv4:10.0.0.9", "/S/Delete", "door", "OK")
REFUSED = Entry(NOW, "anonymous at ipv4:10.0.0.9", "/S/Delete", "", "UNAUTHENTICATED: no", refused=True)


def lines(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]


def test_what_was_done_is_one_line(tmp_path: Path) -> None:
    AuditFile(tmp_path / "access").write(DONE)
    assert lines(tmp_path / "access") == [
        {
            "time": "2026-11-30T12:00:00.000+00:00",
            "who": "desk (1) at ipv4:10.0.0.9",
            "method": "/S/Delete",
            "target": "door",
            "outcome": "OK",
        }
    ]
    assert stat.S_IMODE((tmp_path / "access" / "audit.jsonl").stat().st_mode) == 0o600


def test_a_flood_of_refusals_is_counted_and_hides_nothing_that_was_done(tmp_path: Path) -> None:
    now = [0.0]
    log = AuditFile(tmp_path, lambda: now[0])
    for _ in range(1000):
        log.write(REFUSED)
    log.write(DONE)
    now[0] = 10.0
    log.write(REFUSED)
    written = lines(tmp_path)
    assert len(written) == 22
    assert written[20]["outcome"] == "OK"
    assert written[21]["not_listed"] == "980"


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LARGEST_BYTES", 1000)
    log = AuditFile(tmp_path)
    for _ in range(50):
        log.write(DONE)
    assert {path.name for path in tmp_path.iterdir()} <= {"audit.jsonl", "audit.jsonl.1"}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2500


def test_a_file_that_cannot_be_written_is_an_error_at_the_start_and_logged_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"access.folder: cannot write"):
        AuditFile(tmp_path / "file")
    log = AuditFile(tmp_path)
    (tmp_path / "audit.jsonl").unlink()
    (tmp_path / "audit.jsonl").mkdir()
    log.write(DONE)
    log.write(DONE)
    assert caplog.text.count("audit entries are in this log only") == 1


def test_without_a_folder_entries_are_in_the_log_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    AuditFile(None).write(REFUSED)
    assert caplog.messages == ["/S/Delete of - by anonymous at ipv4:10.0.0.9: UNAUTHENTICATED: no"]


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(2.0, 3.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_each_client_has_limits_of_its_own() -> None:
    quotas = Quotas(Limits(streams=2, calls_per_second=1000))
    assert [bool(quotas.problem("a", "a", 0.0)) for _ in range(3)] == [False, False, True]
    assert not quotas.problem("b", "b", 0.0)
    assert not quotas.problem("a", None, 0.0)
    quotas.closed("a")
    assert not quotas.problem("a", "a", 0.0)
    assert [bool(quotas.problem(name, "all", 0.0)) for name in "abc"] == [False, False, True]


def test_addresses_that_only_this_machine_reaches() -> None:
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST", "::1", "[::1]", "::ffff:127.0.0.1"):
        assert is_loopback(host), host
    for host in ("0.0.0.0", "::", "*", "", "10.0.0.1", "example.org", "localhost.example.org", "127.0.0.1.example.org"):
        assert not is_loopback(host), host
