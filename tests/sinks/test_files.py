"""The sink that writes files: whole lines, private, full files renamed and the oldest ones deleted."""

import asyncio
import json
import os
import signal
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from faceanalytics.errors import ConfigError
from streamer.sink_settings import FilesSink
from streamer.sinks.delivery import SinkEvent, Undelivered
from streamer.sinks.envelope import as_bytes, cloud_event
from streamer.sinks.files import Files
from streamer.store.values import LogKind
from tests.end_to_end.programs import Program
from tests.support.disk import small_files

DAY = datetime(2026, 3, 1, 23, 59, 58, tzinfo=UTC)


def event(sequence: int, at: datetime = DAY, body: dict[str, Any] | None = None) -> SinkEvent:
    return SinkEvent(
        f"run-{sequence}", sequence, at, LogKind.NEW, "door", f"t{sequence}", body or {"age": {"years": 30.5}}
    )


def sink(folder: Path, **changes: Any) -> Files:
    return Files(FilesSink.model_validate({"type": "files", "name": "log", "folder": str(folder), **changes}), "store")


async def write(folder: Path, *events: SinkEvent, **changes: Any) -> None:
    one = sink(folder, **changes)
    await one.open()
    await one.deliver(events)
    await one.close()


def sequences(path: Path) -> list[int]:
    return [int(json.loads(line)["sequence"]) for line in path.read_text().splitlines()]


def test_the_envelope_is_a_cloud_event() -> None:
    assert cloud_event(event(7), "0123") == {
        "specversion": "1.0",
        "id": "run-7",
        "source": "faceanalytics/0123",
        "type": "faceanalytics.track.new",
        "subject": "t7",
        "time": "2026-03-01T23:59:58.000000Z",
        "datacontenttype": "application/json",
        "dataschema": "proto:faceanalytics.v1.Track",
        "sequence": "0000000000000000007",
        "data": {"age": {"years": 30.5}},
    }
    camera = SinkEvent("run-8", 8, DAY, LogKind.CAMERA, "door", "", {"change": "added"})
    assert cloud_event(camera, "0123")["subject"] == "door"
    assert "dataschema" not in cloud_event(camera, "0123")
    assert as_bytes({"name": "Zoë"}) == '{"name":"Zoë"}'.encode()


async def test_each_event_is_a_line_of_a_private_file(tmp_path: Path) -> None:
    await write(tmp_path / "out", event(1), event(2, body={"text": "two\nlines"}))
    path = tmp_path / "out" / "log.jsonl"
    assert sequences(path) == [1, 2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await write(tmp_path / "out", event(3))
    assert sequences(path) == [1, 2, 3]


@pytest.mark.parametrize("torn", [b'{"id":"run-3","spec', b"x" * 200_000])
async def test_an_unfinished_last_line_is_cut_off(
    tmp_path: Path, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await write(tmp_path, event(1), event(2))
    path = tmp_path / "log.jsonl"
    with path.open("ab") as file:
        file.write(torn)
    await write(tmp_path, event(3))
    assert sequences(path) == [1, 2, 3]
    assert f"cut {len(torn)} bytes" in caplog.text


async def test_a_file_of_an_unfinished_line_only_becomes_empty(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'{"id"')
    await write(tmp_path, event(1))
    assert sequences(tmp_path / "log.jsonl") == [1]


async def test_full_files_are_renamed_and_the_oldest_are_deleted(tmp_path: Path) -> None:
    line = len(as_bytes(cloud_event(event(1), "store"))) + 1
    one = sink(tmp_path, max_mb=(2 * line + 2) / 1e6, keep=2)
    (tmp_path / "log-notes.jsonl").write_text("of the user\n")
    await one.open()
    for first in (1, 4, 7):
        await one.deliver([event(number) for number in range(first, first + 3)])
    await one.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "log-20260301T235958Z-6.jsonl", "log-20260301T235958Z-8.jsonl", "log-notes.jsonl", "log.jsonl"
    ]  # fmt: skip
    assert sequences(tmp_path / "log-20260301T235958Z-8.jsonl") == [7, 8]
    assert sequences(tmp_path / "log.jsonl") == [9]


async def test_an_event_larger_than_a_file_has_a_file_of_its_own(tmp_path: Path) -> None:
    await write(tmp_path, event(1), event(2), event(3), max_mb=1e-6)
    assert sequences(tmp_path / "log.jsonl") == [3]
    assert len(list(tmp_path.iterdir())) == 3


async def test_each_day_has_a_file_if_wanted(tmp_path: Path) -> None:
    later = DAY + timedelta(seconds=5)
    await write(tmp_path, event(1), daily=True)
    await write(tmp_path, event(2), event(3, later), event(4, later), daily=True)
    assert sequences(tmp_path / "log-20260301T235958Z-2.jsonl") == [1, 2]
    assert sequences(tmp_path / "log.jsonl") == [3, 4]


async def test_a_file_with_the_same_last_event_is_not_overwritten(tmp_path: Path) -> None:
    """The place of the sink may be older than the files: then events come twice."""
    for _ in range(3):
        await write(tmp_path, event(1), event(2, DAY + timedelta(days=1)), daily=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:3] == [f"log-20260301T235958Z-1{end}.jsonl" for end in ("-2", "-3", "")]


async def test_a_file_that_was_moved_away_is_left_alone(tmp_path: Path) -> None:
    one = sink(tmp_path)
    await one.open()
    await one.deliver([event(1)])
    (tmp_path / "log.jsonl").rename(tmp_path / "log.jsonl.1")
    await one.deliver([event(2)])
    await one.close()
    assert (sequences(tmp_path / "log.jsonl.1"), sequences(tmp_path / "log.jsonl")) == ([1], [2])


async def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    one = sink(tmp_path)
    await one.open()
    await one.deliver([event(1)])
    path = tmp_path / "log.jsonl"
    with small_files(path.stat().st_size + 100), pytest.raises(Undelivered, match=r"cannot write .*log\.jsonl"):
        await one.deliver([event(2), event(3)])
    assert sequences(path) == [1]
    await one.close()
    await one.open()
    await one.deliver([event(2), event(3)])
    await one.close()
    assert sequences(path) == [1, 2, 3]


async def test_two_streamers_do_not_write_the_same_file(tmp_path: Path) -> None:
    first, second = sink(tmp_path), sink(tmp_path)
    await first.open()
    with pytest.raises(Undelivered, match="another streamer writes it"):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


async def test_a_file_of_something_else_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("date,count\n")
    with pytest.raises(Undelivered, match="no event of a sink; move the file away"):
        await sink(tmp_path).open()


def test_a_folder_that_cannot_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="sink log: cannot use the folder"):
        sink(tmp_path / "file" / "out")


def test_a_writer_that_is_killed_leaves_all_that_it_has_acknowledged(tmp_path: Path) -> None:
    for number in range(5):
        with Program("tests.sinks.test_files", tmp_path, str(number * 100_000)) as writer:
            writer.wait_for(r"done \d+\n")
            time.sleep(0.02 * number)
            writer.signal(signal.SIGKILL)
            writer.wait()
        done = [int(line.split()[1]) for line in writer.text.splitlines() if line.endswith("0")]
        asyncio.run(write(tmp_path, event(number * 100_000 + 99_999)))
        found = [one for path in sorted(tmp_path.iterdir()) for one in sequences(path)]
        assert set(range(number * 100_000, done[-1])) <= set(found)


async def write_until_killed(folder: Path, first: int) -> None:
    """Write events and print how many are acknowledged."""
    one = sink(folder, max_mb=0.05, keep=None)
    await one.open()
    for start in range(first, first + 90_000, 10):
        await one.deliver([event(number) for number in range(start, start + 10)])
        os.write(1, f"done {start + 10}\n".encode())


if __name__ == "__main__":
    import sys

    asyncio.run(write_until_killed(Path(sys.argv[1]), int(sys.argv[2])))
