"""Cameras whose timestamps are wrong, at a real RTSP server."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from streamer.values import ClockSource, Frame
from tests.support.rtsp_server import RtspServer
from tests.support.videos import make_video, read_number
from tests.support.watching import stream, watching

FPS = 25
HOURS_S = 5 * 3600.0
RTP_WRAP_S = 2**32 / 90_000


@pytest.fixture(scope="module", params=[0, 2], ids=["h264", "h264-with-b-frames"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "a.mkv", frames=200, fps=FPS, b_frames=request.param)


def pull(clip: Path, stamp: Callable[[float], float], name: str) -> list[Frame]:
    """The first frames of a camera that stamps its images so."""
    with RtspServer({"a": clip}, stamp=stamp) as server, watching(stream(name, server.url("a"))) as watched:
        watched.until(lambda: any(read_number(frame.pixels) >= 60 for frame in watched.frames(name)))
        began = server.sessions[-1].began
    frames = watched.all_frames(name)
    for frame in frames:
        assert frame.captured_at is not None
        if frame.clock_source is ClockSource.RTCP_NTP:
            shown = datetime.fromtimestamp(began, UTC) + timedelta(seconds=read_number(frame.pixels) / FPS)
            assert abs(frame.captured_at - shown) < timedelta(milliseconds=50)
    assert frames[-1].clock_source is ClockSource.RTCP_NTP
    return frames


def assert_even(frames: list[Frame]) -> None:
    """Media time goes on by one step per image, whatever the timestamps."""
    for before, after in pairwise(frames):
        images = read_number(after.pixels) - read_number(before.pixels)
        assert after.media_time - before.media_time == pytest.approx(images / FPS, abs=0.002)


@pytest.mark.parametrize("hours_s", [HOURS_S, -HOURS_S], ids=["ahead", "behind"])
def test_an_image_stamped_hours_away_is_placed_by_its_neighbours(clip: Path, hours_s: float) -> None:
    frames = pull(clip, lambda time: time + hours_s * (round(time * FPS) in {20, 40}), "outliers")
    assert_even(frames)
    assert {20, 40} <= {read_number(frame.pixels) for frame in frames if frame.time_estimated} <= {0, 20, 40}
    counted = REGISTRY.get_sample_value("faceanalytics_frames_time_estimated_total", {"stream": "outliers"})
    assert counted is not None
    assert counted >= 2


@pytest.mark.parametrize("hours_s", [HOURS_S, -HOURS_S], ids=["ahead", "behind"])
def test_the_first_image_may_be_the_one_that_is_stamped_wrong(clip: Path, hours_s: float) -> None:
    assert_even(pull(clip, lambda time: time + hours_s * (round(time * FPS) < 2), "first"))


@pytest.mark.parametrize("hours_s", [HOURS_S, -HOURS_S], ids=["ahead", "behind"])
def test_time_goes_on_when_the_timestamps_jump_for_good_and_that_is_said(
    clip: Path, hours_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    frames = pull(clip, lambda time: time + hours_s * (time >= 1), "jumping")
    assert_even(frames)
    assert len({frame.epoch for frame in frames}) == 1
    jumped = re.search(r"camera jumping: its timestamps jumped by (\S+) s", caplog.text)
    assert jumped is not None
    assert float(jumped[1]) % RTP_WRAP_S == pytest.approx(hours_s % RTP_WRAP_S, abs=0.01)
