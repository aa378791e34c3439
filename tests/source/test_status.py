"""What is known of a camera while it runs, changes, breaks down and comes back."""

import logging
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import pytest

from streamer.values import ClockSource, LinkQuality, SourceErrorCode, SourceState
from tests.support.patience import until
from tests.support.rtsp_server import RtspServer
from tests.support.videos import image, make_video
from tests.support.watching import stream, watching


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "a.mp4", frames=50)


def change_of_size(path: Path, sizes: list[tuple[int, int]], frames: int = 25) -> Path:
    """One stream whose frames change their size, as when a camera is set to another resolution."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuv420p"
        for part, (width, height) in enumerate(sizes):
            encoder = av.CodecContext.create("libx264", "w")
            assert isinstance(encoder, av.VideoCodecContext)
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.options = Fraction(1, 25), {"bf": "0"}
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(image(number, (width, height)), format="bgr24")
                frame.pts, frame.time_base = part * frames + number, Fraction(1, 25)
                for packet in encoder.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
            for packet in encoder.encode(None):
                packet.stream = stream
                container.mux(packet)
    return path


def test_a_running_camera_says_what_it_delivers_and_a_lost_one_when_it_is_tried_again(clip: Path) -> None:
    began = datetime.now(UTC)
    with RtspServer({"a": clip}, report_after_s=0.3) as server:
        port, url = server.port, server.url("a")
        with watching(stream("door", url, reconnect={"initial_s": 0.5, "max_s": 0.5, "jitter": 0})) as watched:
            watched.until_frames("door", 3)
            watched.cameras.sample(time.monotonic())
            watched.until(lambda: watched.status("door").clock_source is ClockSource.RTCP_NTP)
            watched.cameras.sample(time.monotonic())
            running = watched.status("door")
            server.__exit__()
            lost = watched.until_state("door", SourceState.RECONNECTING)
            watched.cameras.sample(time.monotonic())
            assert watched.status("door").link_quality is LinkQuality.POOR
            assert watched.status("door").error is SourceErrorCode.CONNECTION_FAILED
            with RtspServer({"a": clip}, port=port):
                again = watched.until_state("door", SourceState.RUNNING)
                watched.cameras.sample(time.monotonic())
                assert watched.status("door").link_quality is LinkQuality.FAIR
    assert (running.codec, running.width, running.height) == ("h264", 320, 240)
    assert running.link_quality is LinkQuality.GOOD
    assert running.fps_in > 0
    assert running.since is not None
    assert running.last_frame is not None
    assert began <= running.since <= running.last_frame <= datetime.now(UTC)
    assert running.next_retry is None
    assert lost.since is not None
    assert lost.next_retry is not None
    assert lost.since >= running.last_frame
    assert lost.next_retry >= lost.since + timedelta(seconds=0.5)
    assert again.since is not None
    assert again.since > lost.since
    assert again.next_retry is None


def test_a_file_has_no_link_and_its_own_clock(clip: Path) -> None:
    with watching(stream("file", str(clip), loop=True)) as watched:
        watched.until_frames("file", 3)
        watched.cameras.sample(time.monotonic())
        status = watched.status("file")
    assert (status.codec, status.clock_source, status.link_quality) == ("h264", ClockSource.FILE_PTS, None)


def test_the_size_follows_the_camera_with_one_line_per_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = change_of_size(tmp_path / "a.ts", [(320, 240), (640, 480)])
    with watching(stream("door", str(path))) as watched:
        watched.until(lambda: watched.status("door").width == 320)
        watched.until_state("door", SourceState.ENDED)
        status = watched.status("door")
        assert (status.width, status.height) == (640, 480)
        assert watched.frames("door")[-1].size == (640, 480)
    lines = [record.getMessage() for record in caplog.records if "640x480" in record.getMessage()]
    assert lines == ["camera door changes from 320x240 h264 to 640x480 h264"]


def test_frames_that_never_arrive_are_counted_as_missing(clip: Path) -> None:
    with RtspServer({"a": clip}) as server, watching(stream("door", server.url("a"))) as watched:
        watched.until_frames("door", 5)
        server.frozen.set()
        watched.until(lambda: watched.handover.take(0.3) == [])
        server.frozen.clear()
        watched.until(lambda: watched.status("door").frames_missing > 0)
        watched.cameras.sample(time.monotonic())
        assert watched.status("door").state is SourceState.RUNNING


def test_a_camera_that_is_overloaded_is_logged_once_and_once_when_it_is_not_any_more(
    clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with watching(stream("busy", str(clip))) as watched:
        now = time.monotonic()
        watched.cameras.sample(now)
        # nobody takes its frames; the samples are of times when it no longer gives any
        until(lambda: watched.status("busy").state is SourceState.ENDED, "the end of the file")
        for second in range(1, 11):
            watched.cameras.sample(now + second)
        assert watched.status("busy").overloaded
        for second in range(11, 60):
            watched.cameras.sample(now + second)
        assert not watched.status("busy").overloaded
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if "overloaded" in record.message]
    assert [level for level, _ in lines] == ["WARNING", "INFO"]
    assert lines[0][1].startswith("camera busy overloaded: of ")
    assert lines[1][1].startswith("camera busy no longer overloaded")
