"""Timecodes and times of day."""

from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from faceanalytics.errors import ConfigError
from streamer.recorded.wall_clock import (
    creation_time,
    parse_start_time,
    rfc3339,
    start_time_record,
    timecode,
    wall_clock,
)
from streamer.source.file import probe_file
from tests.support.videos import make_video

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00:00.000"), (59.9996, "00:01:00.000"), (3723.04, "01:02:03.040"), (360_000, "100:00:00.000")],
)
def test_a_timecode_has_milliseconds(seconds: float, text: str) -> None:
    assert timecode(seconds) == text


@pytest.mark.parametrize("text", ["2026-11-30T12:00:00Z", "2026-11-30 13:00:00+01:00", "2026-11-30T07:00:00.000-05:00"])
def test_a_start_time_has_an_offset(text: str) -> None:
    assert parse_start_time(text) == NOON
    assert rfc3339(parse_start_time(text)) == "2026-11-30T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("text", "said"), [("2026-11-30T12:00:00", "has no offset from UTC; add Z"), ("noon", "'noon' is no time")]
)
def test_another_start_time_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_start_time(text)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("2026-11-30T12:00:00.000000Z", NOON),
        ("2026-11-30 12:00:00", NOON),
        ("2026-11-30T14:00:00+0200", NOON),
        ("1904-01-01T00:00:00.000000Z", None),
        ("1970-01-01T00:00:00.000000Z", None),
        ("last summer", None),
        (None, None),
    ],
)
def test_a_creation_time_is_used_if_a_clock_showed_it(tag: str | None, expected: datetime | None) -> None:
    assert creation_time(tag) == expected


def test_the_creation_time_of_a_file_is_read_from_it(tmp_path: Path) -> None:
    bare, dated = make_video(tmp_path / "bare.mp4", frames=3), tmp_path / "dated.mp4"
    with av.open(str(bare)) as source, av.open(str(dated), "w") as target:
        target.metadata["creation_time"] = "2026-11-30T12:00:00Z"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert creation_time(probe_file(dated).creation_time) == NOON
    assert probe_file(bare).creation_time is None


def test_the_option_goes_before_the_file() -> None:
    old = "2001-02-03T04:05:06.000000Z"
    assert start_time_record(NOON, old) == {"start_time": rfc3339(NOON), "start_time_source": "option"}
    assert start_time_record(None, old) == {"start_time": old, "start_time_source": "file"}
    assert start_time_record(None, None) == {"start_time": None, "start_time_source": None}
    assert wall_clock(NOON, 1.5) == datetime(2026, 11, 30, 12, 0, 1, 500_000, UTC)
