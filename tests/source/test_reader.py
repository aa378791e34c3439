import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from streamer.handover import LatestPerCamera
from streamer.kinds import local_path
from streamer.source.outlet import Outlet
from streamer.values import ClockSource, EndReason, Frame, SourceEnd, SourceErrorCode, SourceState
from tests.conftest import ROOT
from tests.support.patience import WAIT_S
from tests.support.rtp import start_late
from tests.support.rtsp_server import RtspServer
from tests.support.timestamps import restamp_ts
from tests.support.videos import break_jpeg, cut_off, image, make_video, read_number, write_resized
from tests.support.watching import Watched, converted, stream, watching


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "a.mp4", frames=50)


@pytest.fixture(scope="module")
def clip_with_b_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "b.mkv", codec="libx265", b_frames=2, size=(640, 480))


def counter(name: str, camera: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"faceanalytics_{name}_total", {"stream": camera, **labels}) or 0.0


@contextmanager
def server_process(clip: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that can be stopped and killed as a whole; process and port."""
    command = [sys.executable, "-m", "tests.support.rtsp_server", "--port", str(port), "--mount", f"a={clip}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().split()[1])
        finally:
            process.kill()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "h265-with-b-frames"])
def test_a_camera_gives_its_images_in_order_at_their_times(
    clip: Path, clip_with_b_frames: Path, codec: str, transport: str
) -> None:
    with (
        RtspServer({"h264": clip, "h265-with-b-frames": clip_with_b_frames}) as server,
        watching(stream("door", server.url(codec), transport=transport)) as watched,
    ):
        frames = watched.until_frames("door", 12)
        status = watched.status("door")
    times = [frame.media_time for frame in frames]
    assert times == sorted(set(times))
    assert watched.all_frames("door")[0].media_time < 0.5
    for frame in frames:
        assert frame.media_time == pytest.approx(round(frame.media_time * 25) / 25, abs=0.001)
        assert read_number(frame.pixels) == round(frame.media_time * 25) % 50  # the server plays it in a loop
        assert frame.pixels.flags["C_CONTIGUOUS"]
    assert (status.state, status.error, status.connects) == (SourceState.RUNNING, None, 1)
    assert (status.width, status.height) == frames[0].size
    assert {frame.epoch for frame in frames} == {status.epoch}
    assert counter("frames_decoded", "door") >= 12


def test_captured_at_is_the_cameras_clock_once_it_has_reported_and_arrival_before(clip: Path) -> None:
    with RtspServer({"a": clip}, clock_offset_s=-3600.0, report_after_s=0.6) as server:
        with watching(stream("clocked", server.url("a"))) as watched:
            watched.until(lambda: len([f for f in watched.frames("clocked") if f.media_time > 0.9]) > 5)
        began = server.sessions[-1].began
    frames = [frame for frame in watched.frames("clocked") if frame.media_time < 1.9]
    sources = [frame.clock_source for frame in frames]
    reported = sources.index(ClockSource.RTCP_NTP)
    assert set(sources[:reported]) == {ClockSource.ARRIVAL}
    assert set(sources[reported:]) == {ClockSource.RTCP_NTP}
    for frame in frames[:reported]:
        assert frame.captured_at is not None
        # our clock, not the camera's
        assert abs(frame.captured_at.timestamp() - began - frame.media_time) < 1800
    for frame in frames[reported:]:
        truth = datetime.fromtimestamp(began, UTC) + timedelta(seconds=frame.media_time - 3600)
        assert frame.captured_at is not None
        assert abs(frame.captured_at - truth) < timedelta(milliseconds=5)
    offset = REGISTRY.get_sample_value("faceanalytics_clock_offset_seconds", {"stream": "clocked"})
    assert offset is not None
    assert 3599 < offset < 3600 + WAIT_S  # with the time that the frame took to arrive


def test_a_camera_whose_clock_was_never_set_is_not_believed(clip: Path) -> None:
    three_days = 3 * 86_400.0
    with (
        RtspServer({"a": clip}, clock_offset_s=-three_days, report_after_s=0.0) as server,
        watching(stream("unset", server.url("a"))) as watched,
    ):
        frames = watched.until_frames("unset", 25)
    assert {frame.clock_source for frame in frames} == {ClockSource.ARRIVAL}


def test_the_status_follows_a_size_that_changes_in_mid_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sizes = [(320, 240)] * 25 + [(640, 480)] * 25
    clip = write_resized(tmp_path / "resized.ts", [image(number, size) for number, size in enumerate(sizes)])
    with RtspServer({"a": clip}) as server, watching(stream("a", server.url("a"))) as watched:
        # the server repeats the clip, so both sizes come again
        watched.until(lambda: (watched.status("a").width, watched.status("a").height) == (320, 240))
        watched.until(lambda: (watched.status("a").width, watched.status("a").height) == (640, 480))
        watched.until(lambda: {(320, 240), (640, 480)} <= {frame.size for frame in watched.frames("a")})
        assert watched.status("a").connects == 1
    lines = [record.getMessage() for record in caplog.records if " changes " in record.getMessage()]
    assert lines[0] == "camera a changes from 320x240 h264 to 640x480 h264"


def test_max_fps_thins_evenly_and_counts(clip: Path) -> None:
    before = counter("frames_dropped", "thin", reason="max_fps")
    with RtspServer({"a": clip}) as server, watching(stream("thin", server.url("a"), max_fps=5)) as watched:
        watched.until_frames("thin", 5)
    steps = np.diff(sorted(frame.media_time for frame in watched.frames("thin") + watched.dropped))
    assert steps == pytest.approx(0.2, abs=0.041)
    assert counter("frames_dropped", "thin", reason="max_fps") - before >= 12


def test_a_consumer_that_does_not_take_gets_the_newest_frame_and_the_others_are_counted(clip: Path) -> None:
    with RtspServer({"a": clip}) as server, watching(stream("door", server.url("a"))) as watched:
        watched.until_frames("door", 1)
        while watched.status("door").frames_decoded < 20:
            assert len(watched.dropped) < 100
        dropped = list(watched.dropped)
        frames = [item for item in converted(watched.handover.take(WAIT_S) or []) if isinstance(item, Frame)]
    assert len(frames) == 1
    assert len(dropped) >= 10
    assert frames[0].media_time > dropped[-1].media_time


def until_epoch_after(watched: Watched, camera: str, epoch: int) -> Frame:
    watched.until(lambda: bool(watched.frames(camera)) and watched.frames(camera)[-1].epoch > epoch)
    return watched.all_frames(camera, after=epoch)[0]


def test_a_killed_camera_comes_back_in_a_new_epoch_while_the_other_runs_on(clip: Path) -> None:
    with RtspServer({"b": clip}) as other, server_process(clip) as (process, port):
        cameras = stream("killed", f"rtsp://127.0.0.1:{port}/a"), stream("other", other.url("b"))
        with watching(*cameras) as watched:
            first = watched.until_frames("killed", 5)[-1]
            watched.until_frames("other", 1)
            process.kill()
            process.wait()
            lost = watched.until_state("killed", SourceState.RECONNECTING)
            watched.until_frames("other", 20)
            assert watched.ends("killed") == [EndReason.SOURCE_LOST]
            with server_process(clip, port):
                again = until_epoch_after(watched, "killed", first.epoch)
            assert lost.error is SourceErrorCode.CONNECTION_FAILED
            assert again.media_time < 0.5
            assert watched.status("killed").connects == 2
        watched.items += converted(watched.handover.take(0) or [])
    assert {frame.epoch for frame in watched.frames("other")} == {watched.frames("other")[0].epoch}
    assert watched.ends("other") == [EndReason.SHUTDOWN]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("fault", ["frozen", "stopped"])
def test_a_camera_that_falls_silent_is_lost_after_the_stall_timeout(clip: Path, fault: str, transport: str) -> None:
    name, (halt, go) = (
        f"{fault}-{transport}",
        ((signal.SIGUSR1, signal.SIGUSR1) if fault == "frozen" else (signal.SIGSTOP, signal.SIGCONT)),
    )
    with server_process(clip) as (process, port):
        camera = stream(name, f"rtsp://127.0.0.1:{port}/a", transport=transport, stall_timeout_s=2.0)
        with watching(camera) as watched:
            last = watched.until_frames(name, 5)[-1]
            os.kill(process.pid, halt)
            lost = watched.until_state(name, SourceState.RECONNECTING)
            assert lost.error is SourceErrorCode.TIMEOUT
            assert "no frame for 2 s" in lost.message
            assert counter("stream_stalls", name) == 1
            os.kill(process.pid, go)
            assert until_epoch_after(watched, name, last.epoch).media_time < 1.0
            assert watched.ends(name)[0] is EndReason.SOURCE_LOST


def test_a_camera_that_is_down_at_the_start_is_tried_until_it_is_there(clip: Path) -> None:
    with RtspServer({"a": clip}) as server:
        pass  # only to have a free port
    with watching(stream("late", server.url("a"))) as watched:
        status = watched.until_state("late", SourceState.RECONNECTING)
        assert (status.error, status.connects) == (SourceErrorCode.CONNECTION_FAILED, 0)
        with RtspServer({"a": clip}, port=server.port):
            watched.until_frames("late", 2)
            assert watched.status("late").error is None
    assert EndReason.SOURCE_LOST not in watched.ends("late")


def test_a_camera_that_connects_but_shows_nothing_is_lost_after_the_first_frame_timeout(clip: Path) -> None:
    with RtspServer({"a": clip}) as server:
        server.frozen.set()
        settings = {"connect_timeout_s": 1.0, "first_frame_timeout_s": 1.5}
        with watching(stream("blank", server.url("a"), **settings)) as watched:
            status = watched.until_state("blank", SourceState.RECONNECTING)
            assert status.error is SourceErrorCode.TIMEOUT
            server.frozen.clear()
            watched.until_frames("blank", 1)


def test_a_camera_with_a_long_key_frame_interval_starts_while_its_packets_arrive(tmp_path: Path) -> None:
    with RtspServer({"a": make_video(tmp_path / "a.mp4", frames=150, gop=125)}) as server:
        server.clips["a"] = start_late(server.clips["a"], 1)  # 5 s to the next key frame
        with watching(stream("long", server.url("a"), first_frame_timeout_s=3.0)) as watched:
            watched.until(lambda: "no key frame yet" in watched.status("long").message)
            waiting = watched.status("long")
            frames = watched.until_frames("long", 1)
            running = watched.status("long")
    assert (waiting.state, waiting.error) == (SourceState.CONNECTING, None)
    assert read_number(frames[0].pixels) >= 125
    assert (running.state, running.message) == (SourceState.RUNNING, "")


def test_a_camera_without_key_frames_is_told_from_a_silent_one(tmp_path: Path) -> None:
    with RtspServer({"a": make_video(tmp_path / "a.mp4", frames=150)}) as server:
        server.clips["a"] = start_late(server.clips["a"], 1, key_frames=False)
        settings = {"first_frame_timeout_s": 3.0, "key_frame_timeout_s": 3.0}
        with watching(stream("keyless", server.url("a"), **settings)) as watched:
            watched.until(lambda: "packets arrive, but no key frame for 3 s" in watched.status("keyless").message)
            assert watched.status("keyless").error is SourceErrorCode.TIMEOUT


def test_the_password_is_read_again_for_each_connection(clip: Path, tmp_path: Path) -> None:
    secret = tmp_path / "uri"
    with RtspServer({"a": clip}, user="admin", password="new") as server:
        secret.write_text(server.url("a", password="old"))
        with watching(stream("door", "", uri_file=str(secret))) as watched:
            assert watched.until_state("door", SourceState.RECONNECTING).error is SourceErrorCode.AUTH_FAILED
            secret.write_text(server.url("a"))
            watched.until_frames("door", 1)


def test_a_file_plays_at_the_pace_of_its_timestamps_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times, waits, wait = [0.0, 0.1, 0.15, 0.5, 0.8], list[float](), Outlet.wait

    def noted(outlet: Outlet, seconds: float) -> bool:
        waits.append(seconds)
        return wait(outlet, seconds)

    monkeypatch.setattr(Outlet, "wait", noted)
    began = time.monotonic()
    with watching(stream("file", str(make_video(tmp_path / "vfr.mkv", times=times)))) as watched:
        watched.until_state("file", SourceState.ENDED)
        watched.items += converted(watched.handover.take(0) or [])
    frames = watched.all_frames("file")
    assert [frame.media_time for frame in frames] == pytest.approx(times, abs=1e-9)
    assert all(frame.received - began >= frame.media_time for frame in frames)  # none comes early,
    for step, waited in zip([0.0, *np.diff(times)], waits, strict=False):
        assert waited < step + 0.01  # and none is waited for longer than until its time
    assert {frame.clock_source for frame in frames} == {ClockSource.FILE_PTS}
    assert watched.ends("file") == [EndReason.END_OF_FILE]
    assert isinstance(watched.items[-1], SourceEnd)


def test_a_file_with_wrong_timestamps_plays_at_the_pace_of_its_pictures(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "a.ts", frames=30)
    wrong = restamp_ts(plain, tmp_path / "wrong.ts", lambda n, stamp: stamp + 36_000 * 90_000 * (n in {0, 12, 29}))
    with watching(stream("wrong", str(wrong))) as watched:
        watched.until_state("wrong", SourceState.ENDED)
        watched.items += converted(watched.handover.take(0) or [])
    frames = watched.all_frames("wrong")
    assert [frame.media_time for frame in frames] == pytest.approx([n / 25 for n in range(30)], abs=0.001)
    assert [read_number(frame.pixels) for frame in frames if frame.time_estimated] == [12, 29]


def test_a_looping_file_begins_a_new_epoch_each_time(tmp_path: Path) -> None:
    uri = make_video(tmp_path / "short.mp4", frames=4).as_uri()
    with watching(stream("loop", uri, loop=True)) as watched:
        watched.until(lambda: len(watched.ends("loop")) >= 3)
        watched.cameras.remove("loop")
        watched.items += converted(watched.handover.take(0) or [])
    assert set(watched.ends("loop")) <= {EndReason.END_OF_FILE, EndReason.SOURCE_REMOVED}
    epochs = [item.epoch for item in watched.items]
    assert epochs == sorted(epochs)
    assert len(set(epochs)) >= 3


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("missing.mp4", SourceErrorCode.NOT_FOUND),
        ("text.mp4", SourceErrorCode.CODEC_UNSUPPORTED),
        ("a" * 300, SourceErrorCode.CODEC_UNSUPPORTED),
    ],
)
def test_a_file_that_is_no_video_is_an_error_that_is_not_retried(
    tmp_path: Path, name: str, code: SourceErrorCode
) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    with watching(stream("file", str(tmp_path / name))) as watched:
        status = watched.until_state("file", SourceState.ERROR)
    assert (status.error, status.connects) == (code, 0)
    assert name in status.message


def test_a_file_that_was_cut_off_plays_to_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = cut_off(make_video(tmp_path / "a.mp4", frames=40, index_first=True), 0.6)
    with watching(stream("file", str(path))) as watched:
        watched.until_state("file", SourceState.ENDED)
        watched.items += converted(watched.handover.take(0) or [])
    assert watched.ends("file") == [EndReason.END_OF_FILE]
    assert "cut off" in caplog.text


def test_a_damaged_image_does_not_end_the_camera(tmp_path: Path) -> None:
    path = break_jpeg(make_video(tmp_path / "m.avi", codec="mjpeg", frames=10), 4)
    with watching(stream("damaged", str(path))) as watched:
        watched.until_state("damaged", SourceState.ENDED)
    assert counter("frames_dropped", "damaged", reason="corrupt") == 1
    assert counter("frames_decoded", "damaged") == 9


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x80", "cannot read uri_file"), (b"rtsp:/u:s3cret@h/x", "uri_file: looks like a mistyped address")],
)
def test_an_unusable_uri_file_is_tried_again(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, message: str
) -> None:
    secret = tmp_path / "uri"
    secret.write_bytes(content)
    with watching(stream("door", "", uri_file=str(secret))) as watched:
        status = watched.until_state("door", SourceState.RECONNECTING)
        assert message in status.message
        secret.write_text(str(clip))
        watched.until_frames("door", 1)
    assert "s3cret" not in status.message + caplog.text


def test_an_address_of_another_kind_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "uri").write_text("ftp://user:s3cret@example.org/a.mp4")
    with watching(stream("web", "", uri_file=str(tmp_path / "uri"))) as watched:
        status = watched.until_state("web", SourceState.ERROR)
    assert status.message.startswith("ftp:// is not supported; use rtsp, rtsps,")


def frame(epoch: int) -> Frame:
    return Frame("a", epoch, 0.0, None, ClockSource.FILE_PTS, 0.0, np.zeros((2, 2, 3), np.uint8))


def test_an_outlet_says_the_end_of_each_epoch_once_and_nothing_after_closing() -> None:
    handover = LatestPerCamera(lambda frame: None)
    outlet = Outlet("a", handover)
    outlet.end(EndReason.SOURCE_LOST)  # nothing has begun
    assert handover.take(0) == []
    outlet.put(frame(1))
    outlet.close(EndReason.SHUTDOWN)
    outlet.end(EndReason.SOURCE_LOST)
    outlet.close(EndReason.SOURCE_REMOVED)
    outlet.put(frame(2))
    assert [item.epoch for item in handover.take(0) or []] == [1, 1]
    assert handover.take(0) == []
    assert outlet.wait(60)


def test_an_outlet_says_the_removal_even_after_the_end_of_the_epoch_or_before_the_first() -> None:
    handover = LatestPerCamera(lambda frame: None)
    ended, silent, stopped = Outlet("ended", handover), Outlet("silent", handover), Outlet("stopped", handover)
    ended.put(frame(3))
    ended.end(EndReason.END_OF_FILE)
    assert len(handover.take(0) or []) == 2
    for outlet in (ended, silent):
        outlet.close(EndReason.SOURCE_REMOVED)
    stopped.close(EndReason.SHUTDOWN)
    assert handover.take(0) == [
        SourceEnd("ended", 3, EndReason.SOURCE_REMOVED),
        SourceEnd("silent", 0, EndReason.SOURCE_REMOVED),
    ]


def test_an_outlet_closes_with_its_hand_over() -> None:
    handover = LatestPerCamera(lambda frame: None)
    outlet = Outlet("a", handover)
    handover.close()
    outlet.put(frame(1))
    assert outlet.closed


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("clip.mp4", "clip.mp4"),
        ("/videos/12:30.mp4", "/videos/12:30.mp4"),
        ("file:///videos/a%20b.mp4", "/videos/a b.mp4"),
        ("rtsp://host/a.mp4", None),
    ],
)
def test_a_path_or_file_address_is_a_file(address: str, path: str | None) -> None:
    assert local_path(address) == (None if path is None else Path(path))
