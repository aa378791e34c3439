"""Sources besides RTSP, from real servers: MJPEG, HLS and videos over HTTP, RTMP, and devices that are not there."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from streamer.config import Sources
from streamer.values import ClockSource, EndReason, SourceErrorCode, SourceState
from tests.conftest import ROOT
from tests.support.http_cameras import to_hls, web_camera
from tests.support.patience import until
from tests.support.videos import break_jpeg, image, make_video, read_number
from tests.support.watching import converted, stream, watching

EVERY = Sources(allow=("rtsp", "file", "images", "http", "rtmp", "srt", "device"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video of 2 s, the same as HLS with an end and without, and lists that lead astray."""
    folder = tmp_path_factory.mktemp("site")
    video = make_video(folder / "a.mp4", frames=50)
    to_hls(video, folder / "recorded")
    to_hls(video, folder / "live", live=True)
    segment = folder / "recorded" / "segment000.ts"
    lines = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
    (folder / "local.m3u8").write_text(lines.format(segment.as_uri()))
    (folder / "list.ffconcat").write_text("ffconcat version 1.0\nfile a.mp4\n")
    (folder / "page.html").write_text("<html>not a video</html>")
    return folder


def test_mjpeg_over_http_is_timed_by_its_arrival(site: Path) -> None:
    with web_camera(site) as server, watching(stream("web", server.url("camera.mjpg")), sources=EVERY) as watched:
        watched.until_frames("web", 20)
        frames, status = watched.all_frames("web"), watched.status("web")
    assert [read_number(frame.pixels) for frame in frames] == list(range(len(frames)))
    times = [frame.media_time for frame in frames]
    assert times == sorted(set(times))
    assert times[-1] - times[0] > 0.7 * (len(frames) - 1) / server.fps  # not at 25 a second, as FFmpeg assumes
    assert {frame.clock_source for frame in frames} == {ClockSource.ARRIVAL}
    assert all(frame.captured_at is not None for frame in frames)
    assert (status.state, status.decoder) == (SourceState.RUNNING, "mjpeg on cpu")


def test_a_late_picture_of_a_web_camera_does_not_mean_that_others_are_missing(site: Path) -> None:
    with (
        web_camera(site, fps=50.0) as server,
        watching(stream("web", server.url("camera.mjpg")), sources=EVERY) as watched,
    ):
        for _ in range(4):
            watched.until_frames("web", 15)
            server.frozen.set()
            time.sleep(0.3)
            server.frozen.clear()
        watched.until_frames("web", 30)
        assert watched.status("web").frames_missing == 0


def test_a_web_camera_that_ends_its_answer_is_reconnected(site: Path) -> None:
    with web_camera(site) as server, watching(stream("web", server.url("camera.mjpg")), sources=EVERY) as watched:
        watched.until_frames("web", 3)
        server.cut.set()
        watched.until(lambda: watched.status("web").connects == 2)
        watched.until_frames("web", 3)
    assert watched.ends("web")[0] is EndReason.SOURCE_LOST


def test_a_web_camera_that_falls_silent_is_lost_after_the_stall_timeout(site: Path) -> None:
    with web_camera(site) as server:
        camera = stream("web", server.url("camera.mjpg"), stall_timeout_s=1.0)
        with watching(camera, sources=EVERY) as watched:
            watched.until_frames("web", 3)
            server.frozen.set()
            lost = watched.until_state("web", SourceState.RECONNECTING)
            assert lost.error is SourceErrorCode.TIMEOUT
            server.frozen.clear()
            watched.until_state("web", SourceState.RUNNING)


@pytest.mark.parametrize("path", ["recorded/live.m3u8", "a.mp4"])
def test_a_recording_over_http_plays_once_at_its_pace(site: Path, path: str) -> None:
    with web_camera(site) as server:
        uri = server.url(path).replace("http:", "HTTP:")
        with watching(stream("web", uri), sources=EVERY) as watched:
            watched.until_state("web", SourceState.ENDED)
            watched.items += converted(watched.handover.take(0) or [])
            frames = watched.all_frames("web")
    assert [read_number(frame.pixels) for frame in frames] == list(range(50))
    assert watched.ends("web") == [EndReason.END_OF_FILE]
    began = frames[0].received - frames[0].media_time
    assert all(frame.received - began >= frame.media_time - 0.01 for frame in frames)


def test_a_recording_over_http_without_a_frame_has_not_ended_well(tmp_path: Path) -> None:
    broken = break_jpeg(make_video(tmp_path / "m.avi", codec="mjpeg", frames=1), 0)
    with web_camera(tmp_path) as server, watching(stream("web", server.url(broken.name)), sources=EVERY) as watched:
        status = watched.until_state("web", SourceState.RECONNECTING)
    assert status.error is SourceErrorCode.CODEC_UNSUPPORTED
    assert "none of its frames can be decoded" in status.message


def test_live_hls_begins_with_the_newest_segment_and_reads_no_older_one(site: Path) -> None:
    with web_camera(site) as server:
        with watching(stream("web", server.url("live/live.m3u8")), sources=EVERY) as watched:
            first = watched.until_frames("web", 5)[0]
        segments = sorted({path for path in server.asked if path.endswith(".ts")})
    last = sorted(path.name for path in (site / "live").glob("*.ts"))[-1]
    assert segments == [f"/live/{last}"]
    assert read_number(first.pixels) >= 24


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("missing", SourceErrorCode.NOT_FOUND, "no such stream on the server"),
        ("page.html", SourceErrorCode.CONNECTION_FAILED, "the answer is not a video stream"),
        ("list.ffconcat", SourceErrorCode.CONNECTION_FAILED, "the answer is not a video stream"),
        ("local.m3u8", SourceErrorCode.CONNECTION_FAILED, "the answer is not a video stream"),
        ("elsewhere?file:///{site}/a.mp4", SourceErrorCode.CONNECTION_FAILED, "the answer is not a video stream"),
    ],
)
def test_what_the_web_cannot_or_may_not_give_is_a_typed_error(
    site: Path, path: str, code: SourceErrorCode, message: str
) -> None:
    with web_camera(site) as server:
        uri = server.url(path.format(site=site), login="admin:s3cret")
        with watching(stream("web", uri), sources=EVERY) as watched:
            status = watched.until_state("web", SourceState.RECONNECTING)
    assert (status.error, status.connects) == (code, 0)
    assert message in status.message
    assert "s3cret" not in status.message


def test_the_password_of_a_web_camera_is_used_and_never_printed(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    with web_camera(site, login="admin:s3cret") as server:
        cameras = [
            stream("right", server.url("camera.mjpg", "admin:s3cret")),
            stream("wrong", server.url("camera.mjpg", "admin:s3crat")),
        ]
        with watching(*cameras, sources=EVERY) as watched:
            watched.until_frames("right", 2)
            status = watched.until_state("wrong", SourceState.RECONNECTING)
    assert status.error is SourceErrorCode.AUTH_FAILED
    assert "s3cr" not in status.message + caplog.text


def test_a_web_server_that_never_answers_is_a_timeout(site: Path) -> None:
    with web_camera(site) as server:
        camera = stream("web", server.url("silent", "u:s3cret"), connect_timeout_s=0.5)
        with watching(camera, sources=EVERY) as watched:
            status = watched.until_state("web", SourceState.RECONNECTING)
    assert status.error is SourceErrorCode.TIMEOUT


@pytest.mark.parametrize(
    ("uri", "code", "message"),
    [
        ("http://u:s3cret@127.0.0.1:1/a", SourceErrorCode.CONNECTION_FAILED, "connection refused"),
        ("https://u:s3cret@no.such.host.invalid/a", SourceErrorCode.CONNECTION_FAILED, "unknown host"),
        ("rtmp://u:s3cret@127.0.0.1:1/live/a", SourceErrorCode.CONNECTION_FAILED, "connection refused"),
        ("/dev/video97", SourceErrorCode.NOT_FOUND, "no such device"),
        ("/dev/null", SourceErrorCode.CODEC_UNSUPPORTED, "not a V4L2 camera"),
    ],
)
def test_other_sources_that_are_not_there_are_tried_again(uri: str, code: SourceErrorCode, message: str) -> None:
    with watching(stream("away", uri), sources=EVERY) as watched:
        status = watched.until_state("away", SourceState.RECONNECTING)
    assert (status.error, status.connects) == (code, 0)
    assert message in status.message
    assert "s3cret" not in status.message


def test_a_protocol_that_this_ffmpeg_lacks_is_an_error_that_is_not_retried() -> None:
    with watching(stream("away", "srt://u:s3cret@127.0.0.1:9"), sources=EVERY) as watched:
        watched.until(lambda: watched.status("away").error is not None)
        status = watched.status("away")
    assert status.error is SourceErrorCode.CONNECTION_FAILED
    assert "s3cret" not in status.message
    if "cannot read srt://" in status.message:  # else this FFmpeg has it
        assert status.state is SourceState.ERROR


def test_hls_with_certificates_to_check_is_refused_because_ffmpeg_does_not_check_the_segments(site: Path) -> None:
    with web_camera(site) as server:
        camera = stream("web", server.url("live/live.m3u8"), tls_ca_file="ca.pem")
        with watching(camera, sources=EVERY) as watched:
            status = watched.until_state("web", SourceState.ERROR)
    assert status.error is SourceErrorCode.TLS_CERTIFICATE
    assert "leave out tls_ca_file" in status.message


def test_kinds_that_are_not_switched_on_are_errors_that_say_how(tmp_path: Path) -> None:
    (tmp_path / "uri").write_text("http://u:s3cret@127.0.0.1:1/a")
    with watching(stream("web", "", uri_file=str(tmp_path / "uri"))) as watched:
        status = watched.until_state("web", SourceState.ERROR)
    assert (
        status.message == "http://127.0.0.1:1/a is a source of the kind http, which is off; add http to sources.allow"
    )


@contextlib.contextmanager
def rtmp_server(flv: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"rtmp://127.0.0.1:{port}/live/x"
    command = [sys.executable, "-m", "tests.support.rtmp_server", url, str(flv)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            until(lambda: _listens(port), "the RTMP server listens")
            yield url
        finally:
            process.kill()


def _listens(port: int) -> bool:
    """Look without connecting, because the server takes one client only."""
    state = Path("/proc/net/tcp").read_text()
    return f"0100007F:{port:04X} 00000000:0000 0A" in state


def test_rtmp_plays(site: Path, tmp_path: Path) -> None:
    flv = make_video(tmp_path / "a.flv", frames=50, container_format="flv")
    with rtmp_server(flv) as url, watching(stream("push", url), sources=EVERY) as watched:
        frames = watched.until_frames("push", 10)
    assert [read_number(frame.pixels) for frame in frames] == [round(frame.media_time * 25) for frame in frames]


def test_a_folder_of_images_plays_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "stills"
    (folder / "2024").mkdir(parents=True)
    for number, name in enumerate(["1.png", "2.png", "10.png", "2024/9.png"]):
        cv2.imwrite(str(folder / name), image(number))
    (folder / "3.png").write_bytes(b"damaged")
    camera = stream("stills", str(folder), image_interval_s=0.2)
    with watching(camera, sources=EVERY) as watched:
        status = watched.until_state("stills", SourceState.ENDED)
        watched.items += converted(watched.handover.take(0) or [])
    frames = watched.all_frames("stills")
    assert [(read_number(frame.pixels), round(frame.media_time, 3)) for frame in frames] == [
        (0, 0.0),
        (1, 0.2),
        (2, 0.6),  # 3.png is damaged, and its moment is empty
        (3, 0.8),
    ]
    assert (status.connects, status.frames_decoded, status.frames_missing) == (1, 4, 0)
    assert status.frames_dropped["corrupt"] == 1
    assert watched.ends("stills") == [EndReason.END_OF_FILE]


def test_a_followed_folder_shows_the_images_that_are_added(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    for name in ("1", "2"):
        cv2.imwrite(str(folder / f"{name}.png"), image(99 if name == "2" else 1))
    cv2.imwrite(str(tmp_path / "new.png"), image(7))
    data = (tmp_path / "new.png").read_bytes()
    with watching(stream("uploads", str(folder), follow=True), sources=EVERY) as watched:
        assert read_number(watched.until_frames("uploads", 1)[0].pixels) == 99
        (folder / "new.png").write_bytes(data[:100])  # an upload that takes a while
        until(lambda: (folder / "new.png").stat().st_size == 100, "half of the image is there")
        with (folder / "new.png").open("ab") as file:
            file.write(data[100:])
        frame = watched.until_frames("uploads", 1)[0]
        shutil.copy(tmp_path / "new.png", folder / "newer.png")
        watched.until_frames("uploads", 1)
    assert read_number(frame.pixels) == 7
    assert frame.clock_source is ClockSource.ARRIVAL
    assert frame.captured_at is not None
