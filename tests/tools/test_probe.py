"""What `streamer probe` finds at real servers and in files, and how it says it."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest

from faceanalytics.errors import ConfigError
from streamer.config import Stream
from streamer.source.survey import Survey
from streamer.tools.probe import as_text, notes, probe
from streamer.values import ClockSource, SourceErrorCode
from tests.source.test_gstreamer import gstreamer
from tests.support.http_cameras import to_hls, web_camera
from tests.support.patience import WAIT_S
from tests.support.rtp import sound_only, start_late, unknown_codec
from tests.support.rtsp_server import RtspServer
from tests.support.videos import image, make_audio, make_video

PASSWORD = "s3cret#/?@:%"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("clips")
    make_video(made / "a.mp4", frames=100, gop=25)
    make_video(made / "h265.mkv", frames=50, gop=25, codec="libx265", size=(640, 480))
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RtspServer]:
    mounts = {"a": folder / "a.mp4", "h265": folder / "h265.mkv"}
    with RtspServer(mounts, user="admin", password=PASSWORD, digest=True) as started:
        clip = started.clips["a"]
        started.clips["late"] = start_late(clip, 1, key_frames=False)
        started.clips["odd"] = unknown_codec(clip)
        started.clips["sound"] = sound_only()
        yield started


class Probing:
    """Probes, and keeps what is printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def text(self, address: str, code: int, wait_s: float = WAIT_S, **settings: Any) -> str:
        assert probe(address, wait_s, False, **settings) == code
        printed = self._capsys.readouterr().out
        assert "s3cret" not in printed
        return printed

    def data(self, address: str, code: int, wait_s: float = WAIT_S, **settings: Any) -> dict[str, Any]:
        assert probe(address, wait_s, True, **settings) == code
        printed = self._capsys.readouterr().out
        assert "s3cret" not in printed
        data = json.loads(printed)
        assert data["usable"] is (code == 0)
        return dict(data)


@pytest.fixture
def probing(capsys: pytest.CaptureFixture[str]) -> Probing:
    return Probing(capsys)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("mount", "codec", "profile", "size"),
    [("a", "h264", "Constrained Baseline", (320, 240)), ("h265", "hevc", "Main", (640, 480))],
)
def test_a_camera_is_described(
    server: RtspServer, probing: Probing, mount: str, codec: str, profile: str, size: tuple[int, int], transport: str
) -> None:
    found = probing.data(server.url(mount), 0, transport=transport)
    assert found["address"] == f"rtsp://127.0.0.1:{server.port}/{mount}"
    assert (found["codec"], found["profile"], found["width"], found["height"]) == (codec, profile, *size)
    assert found["fps"] == pytest.approx(25, rel=0.05)
    assert found["key_frame_interval_s"] == pytest.approx(1.0, abs=0.05)
    assert (found["clock"], found["audio"], found["transport"]) == ("RTCP_NTP", "", transport)
    assert (found["error"], found["problem"]) == (None, "")


def test_the_text_names_what_matters(server: RtspServer, probing: Probing) -> None:
    text = probing.text(server.url("a"), 0)
    assert f"rtsp://127.0.0.1:{server.port}/a: usable" in text
    assert re.search(
        r"video +h264 Constrained Baseline, 320x240, 25\.\d frames/s, \d+ kbit/s, a key frame every 1\.0 s", text
    )
    assert re.search(r"audio +none", text)
    assert re.search(r"clock +the camera's own \(RTCP sender reports\)", text)


def test_packets_without_a_key_frame_are_told_from_silence(server: RtspServer, folder: Path, probing: Probing) -> None:
    late = probing.data(server.url("late"), 3, wait_s=3.0)
    assert re.fullmatch(r"packets arrive \(\d+ so far\), but no key frame yet within 3 s: .*--wait.*", late["problem"])
    assert (late["error"], late["key_frames"]) == ("TIMEOUT", 0)
    with RtspServer({"a": folder / "a.mp4"}) as silent:
        silent.frozen.set()
        blank = probing.text(silent.url("a"), 3, wait_s=1.5, transport="udp")
    assert "not usable: no picture: connected, and h264 video is announced, but no packet for 1.5 s" in blank
    assert "try transport tcp" in blank


def test_sound_without_video_and_unknown_codecs_are_named(server: RtspServer, probing: Probing) -> None:
    assert "contains no video (only audio); choose" in probing.text(server.url("sound"), 3)
    odd = probing.data(server.url("odd"), 3)
    assert odd["error"] == "CODEC_UNSUPPORTED"
    assert odd["problem"] == "its video codec is not supported; use H.264 or H.265"


def test_refusals_say_what_to_do(server: RtspServer, probing: Probing) -> None:
    port = server.port
    expected = {
        server.url("a", password="s3cret"): "user name or password rejected",
        f"rtsp://127.0.0.1:{port}/a": "asks for a user name and a password",
        server.url("none"): "no such stream on the server",
        "rtsp://u:s3cret@127.0.0.1:1/a": "connection refused; check host and port",
        "rtsp://u:s3cret@no.such.host.invalid/a": "unknown host",
        server.url("a").replace("rtsp:", "rtsps:"): "write rtsp:// in place of rtsps://",
    }
    for address, said in expected.items():
        assert said in probing.text(address, 3)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("rtsp://admin:s3cret#1@cam/a", "the password contains an unescaped '#': write %23 in its place"),
        ("rtsp:/admin:s3cret@cam/a", "looks like a mistyped address"),
        ("gopher://admin:s3cret@cam/a", "not supported"),
    ],
)
def test_a_wrong_address_is_a_usage_error(address: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        probe(address, 1.0, False)
    assert "s3cret" not in str(caught.value)


def test_a_clock_that_is_off_is_noted(folder: Path, probing: Probing) -> None:
    with RtspServer({"a": folder / "a.mp4"}, clock_offset_s=-3600.0) as server:
        found = probing.data(server.url("a"), 0)
    assert found["clock_offset_s"] > 3599
    assert "behind this machine's" in found["notes"][0]


def test_a_camera_without_sender_reports_is_noted(folder: Path, probing: Probing) -> None:
    with RtspServer({"a": folder / "a.mp4"}, report_after_s=1e9) as server:
        found = probing.data(server.url("a"), 0, wait_s=3.0)
    assert (found["clock"], found["clock_offset_s"]) == ("ARRIVAL", None)
    assert "RTCP sender reports" in found["notes"][0]


def test_a_file_is_described(folder: Path, probing: Probing) -> None:
    found = probing.data(str(folder / "a.mp4"), 0)
    assert (found["codec"], found["width"], found["clock"], found["duration_s"]) == ("h264", 320, "FILE_PTS", 4.0)
    assert (found["key_frame_interval_s"], found["key_frames"], found["transport"]) == (1.0, 4, None)


def test_a_video_of_one_picture_says_so(tmp_path: Path, probing: Probing) -> None:
    text = probing.text(str(make_video(tmp_path / "one.mp4", frames=1)), 0)
    assert "only one picture" in text
    assert "key frame" not in text


def test_files_that_are_no_videos_are_refused(tmp_path: Path, probing: Probing) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    assert "not usable: not a video" in probing.text(str(tmp_path / "text.mp4"), 3)
    assert "no such file" in probing.text(str(tmp_path / "missing.mp4"), 3)
    assert "contains no video (only audio)" in probing.text(str(make_audio(tmp_path / "a.m4a")), 3)


def test_cameras_and_recordings_on_a_web_server_are_described(folder: Path, tmp_path: Path, probing: Probing) -> None:
    to_hls(folder / "a.mp4", tmp_path / "hls")
    to_hls(folder / "a.mp4", tmp_path / "live", live=True)
    (tmp_path / "page.html").write_text("<html>log in</html>")
    with web_camera(tmp_path, fps=10.0) as server:
        camera = probing.data(server.url("camera.mjpg"), 0)
        hls = probing.data(server.url("hls/live.m3u8"), 0)
        live = probing.data(server.url("live/live.m3u8"), 0, wait_s=2.0)
        server.frozen.set()
        frozen = probing.data(server.url("camera.mjpg"), 3, wait_s=2.0)
        page = probing.text(server.url("page.html"), 3)
    assert (camera["codec"], camera["clock"], camera["transport"]) == ("mjpeg", "ARRIVAL", None)
    assert camera["fps"] == pytest.approx(10, rel=0.3)  # as its pictures arrive: they carry no times
    assert (hls["codec"], hls["fps"], hls["duration_s"]) == ("h264", pytest.approx(25, rel=0.05), 4.0)
    assert (live["codec"], live["duration_s"]) == ("h264", None)
    assert frozen["error"] == "TIMEOUT"
    assert "the answer is not a video stream" in page
    for found in (camera, hls, live):
        (note,) = found["notes"]
        assert "http is added to sources.allow" in note


def test_a_web_camera_that_wants_a_login_says_how_to_write_it(tmp_path: Path, probing: Probing) -> None:
    with web_camera(tmp_path, login="admin:s3cret") as server:
        assert "usable" in probing.text(server.url("camera.mjpg", "admin:s3cret"), 0)
        assert "write http://USER:PASSWORD@HOST/PATH" in probing.text(server.url("camera.mjpg"), 3)
        wrong = probing.text(server.url("camera.mjpg", "admin:s3cret%41"), 3)
        assert "user name or password rejected" in wrong
        assert "write %25 in its place" in wrong


def test_a_playlist_on_a_web_server_does_not_open_local_files(folder: Path, tmp_path: Path, probing: Probing) -> None:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{folder}/a.mp4\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(playlist)
    with web_camera(tmp_path) as server:
        probing.data(server.url("list.m3u8"), 3, wait_s=2.0)


def test_folders_of_images_and_devices_are_looked_at_as_serve_does(tmp_path: Path, probing: Probing) -> None:
    assert "no image in this folder" in probing.text(str(tmp_path), 3)
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image(number))
    found = probing.data(str(tmp_path), 0)
    assert (found["codec"], found["width"], found["packets"]) == ("images", 320, 3)
    assert "3 images, the first 320x240" in probing.text(str(tmp_path), 0)
    device = probing.data("/dev/video99", 3)
    assert (device["error"], device["problem"]) == ("NOT_FOUND", "no such device")


@pytest.mark.gstreamer
@pytest.mark.shared
def test_a_server_of_gstreamer_is_described(shared: Path, folder: Path, probing: Probing) -> None:
    with gstreamer(shared, folder / "a.mp4", "--user", "u", "--password", "s3cret") as port:
        found = probing.data(f"rtsp://u:s3cret@127.0.0.1:{port}/a", 0)
        assert (found["codec"], found["key_frame_interval_s"]) == ("h264", pytest.approx(1.0, abs=0.05))
        assert "rejected" in probing.text(f"rtsp://u:s3cret-not@127.0.0.1:{port}/a", 3)


GOOD = Survey(
    offers=["video h264", "audio aac"],
    audio="aac",
    codec="h264",
    profile="High",
    connected_s=0.5,
    packets=50,
    timed=50,
    key_frames=2,
    watched_s=2.0,
    key_frame_interval_s=1.0,
    clock=ClockSource.RTCP_NTP,
    clock_offset_s=0.0,
)
CAMERA = Stream(id="probe", uri="rtsp://h/a")


@pytest.mark.parametrize(
    ("address", "changes", "note"),
    [
        ("rtsp://h/a", {}, ""),
        ("rtsp://u:p@x@h/a", {}, "the password contains an unescaped '@': write %40"),
        ("rtsp://h/a", {"key_frame_interval_s": 20.0}, "a new connection may wait 20 s for its first picture"),
        (
            "rtsp://h/a",
            {"key_frame_interval_s": None, "since_key_frame_s": 9.0},
            "a new connection may wait at least 9 s for its first picture",
        ),
        ("rtsp://h/a", {"corrupt": 3}, "3 of 50 packets are damaged"),
        ("rtsp://h/a", {"clock_offset_s": -5.0}, "the camera's clock is 5.0 s ahead of this machine's"),
        ("rtsps://h/a", {}, "the certificate was not checked"),
    ],
)
def test_notes_say_what_could_be_better(address: str, changes: dict[str, Any], note: str) -> None:
    said = notes(address, replace(GOOD, **changes), CAMERA)
    assert (len(said) == 1 and said[0].startswith(note)) if note else said == []


def test_sound_that_is_there_is_shown_as_unused() -> None:
    assert "aac (not used)" in as_text("rtsp://h/a", GOOD, CAMERA)
    assert "unknown" in as_text("rtsp://h/a", replace(GOOD, audio=None), CAMERA)
    lost = replace(GOOD, error=SourceErrorCode.TIMEOUT, problem="it broke")
    assert "rtsp://h/a: not usable: it broke" in as_text("rtsp://h/a", lost, CAMERA)
