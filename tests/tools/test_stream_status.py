"""How cameras are shown to operators: by `streamer health` and `streamer watch`, of a real server."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from streamer.api.stream_messages import stream_to_proto
from streamer.config import Stream
from streamer.tools.stream_status import Changes, ago, camera_line, streams_table
from streamer.tools.watch import check_health
from streamer.values import ClockSource, LinkQuality, SourceErrorCode, SourceState, SourceStatus
from tests.support.patience import WAIT_S
from tests.tools.test_watch import Running, process

NOW = datetime.now(UTC)
GOOD = SourceStatus(
    SourceState.RUNNING,
    connects=1,
    since=NOW - timedelta(hours=3),
    codec="h264",
    clock_source=ClockSource.ARRIVAL,
    width=640,
    height=360,
    fps_in=25.0,
    fps_analysed=24.9,
    link_quality=LinkQuality.GOOD,
)
BUSY = SourceStatus(
    SourceState.RUNNING,
    connects=1,
    since=NOW - timedelta(hours=5),
    codec="hevc",
    width=1920,
    height=1080,
    fps_in=25.0,
    fps_analysed=1.5,
    frames_dropped={"overload": 470, "max_fps": 30},
    frames_missing=12,
    frame_age=0.7,
    overloaded=True,
    link_quality=LinkQuality.FAIR,
)
LOST = SourceStatus(
    SourceState.RECONNECTING,
    SourceErrorCode.TIMEOUT,
    "rtsp://[::1]/1: no frame for 5 s",
    since=NOW - timedelta(hours=40),
    next_retry=NOW + timedelta(hours=1),
    last_frame=NOW - timedelta(hours=41),
    width=640,
    height=360,
)


def stream(name: str) -> Stream:
    return Stream(id=name, uri="rtsp://cam/1")


def test_a_line_says_how_a_camera_is_doing() -> None:
    assert camera_line(stream_to_proto(stream("door"), GOOD)) == (
        "camera door: running for 3 h, 640x360 h264, 25.0 fps in, 24.9 analysed, link good, clock arrival"
    )
    assert camera_line(stream_to_proto(stream("yard"), BUSY)) == (
        "camera yard: running for 5 h, 1920x1080 hevc, 25.0 fps in, 1.5 analysed, link fair, overloaded, "
        "age 0.70 s, dropped 30 max_fps, 470 overload, missing 12"
    )
    line = camera_line(stream_to_proto(stream("gate"), LOST))
    assert line.startswith("camera gate: reconnecting for 40 h, TIMEOUT: rtsp://[::1]/1: no frame for 5 s (next ")
    assert line.endswith("), last frame 41 h ago")


def test_the_device_that_decodes_is_shown_if_it_is_not_the_cpu() -> None:
    for decoder, shown in (("h264 on cpu", "640x360 h264,"), ("h264 on cuda:0", "640x360 h264 on cuda:0,")):
        assert shown in camera_line(stream_to_proto(stream("a"), replace(GOOD, decoder=decoder)))


@pytest.mark.parametrize(("seconds", "text"), [(35, "35 s"), (600, "10 min"), (10_000, "3 h"), (400_000, "5 days")])
def test_durations_have_a_readable_unit(seconds: float, text: str) -> None:
    assert ago(Timestamp(seconds=1_000_000), 1_000_000 + seconds) == text


def test_the_table_has_a_row_for_each_camera() -> None:
    console = Console(width=240, record=True, file=io.StringIO())
    shown = [(stream("door"), GOOD), (stream("yard"), BUSY), (stream("gate"), LOST)]
    console.print(streams_table(stream_to_proto(*pair) for pair in shown))
    rows = [re.split(r"  +", line.strip()) for line in console.export_text().splitlines()]
    door, yard, gate = [row for row in rows if row[0] in ("door", "yard", "gate")]
    assert door == ["door", "running 3 h", "24.9 of 25.0", "good", "640x360 h264", "clock arrival"]
    assert yard[2:5] == ["1.5 of 25.0", "fair", "1920x1080 hevc"]
    assert yard[5] == "overloaded, age 0.70 s, dropped 30 max_fps, 470 overload, missing 12"
    assert gate[:2] == ["gate", "reconnecting 40 h"]
    assert gate[-1].startswith("TIMEOUT: rtsp://[::1]/1: no frame for 5 s (next attempt in ")
    assert gate[-1].endswith("last frame 41 h ago")


def test_on_a_narrow_terminal_only_the_details_are_wrapped() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(streams_table([stream_to_proto(stream("gate"), LOST)]))
    assert "reconnecting 40 h" in console.export_text()


def test_a_camera_that_connects_says_what_it_waits_for() -> None:
    waiting = SourceStatus(SourceState.CONNECTING, None, "packets arrive, but no key frame yet", since=NOW)
    line = camera_line(stream_to_proto(stream("gate"), waiting))
    assert line.startswith("camera gate: connecting for ")
    assert line.endswith(", packets arrive, but no key frame yet")


def test_rates_are_no_change_of_a_camera() -> None:
    changes = Changes()
    first = [stream_to_proto(stream("door"), GOOD), stream_to_proto(stream("gate"), LOST)]
    assert changes.of(first) == first
    assert changes.of(first) == []
    busy = stream_to_proto(stream("door"), BUSY)
    assert changes.of([busy, first[1]]) == [busy]
    first[1].frames_decoded += 1
    assert changes.of([first[1]]) == []


def test_health_names_the_cameras_that_are_down_or_overloaded(capsys: pytest.CaptureFixture[str]) -> None:
    statuses = {"door": GOOD, "gate": LOST, "off": SourceStatus(SourceState.PAUSED), "yard": BUSY}
    with Running() as running:
        for name, status in statuses.items():
            running.cameras.add(stream(name))
            running.cameras.report(name, status)
        running.set_serving(True)
        assert check_health(running.address, WAIT_S) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "SERVING"
    assert [line.partition(":")[0] for line in lines[3:-1]] == ["camera gate", "camera yard"]
    assert lines[-1] == "2 of 4 cameras running"


def test_a_watch_prints_a_line_when_a_camera_changes() -> None:
    with Running() as running:
        running.cameras.add(stream("door"))
        running.cameras.add(stream("other"))
        running.cameras.report("door", GOOD)
        with process(running.address, "lines") as (_, lines):
            assert lines.readline().startswith("camera door: running")
            running.cameras.report("door", LOST)
            assert lines.readline().startswith("camera door: reconnecting")
