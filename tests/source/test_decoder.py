import gc
import re
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from faceanalytics.errors import InputError
from streamer.source.choice import choose_stream
from streamer.source.decoder import Decoder
from streamer.source.file import NoSuchFile, TruncatedVideo, open_file, probe_file, read_file
from streamer.source.picture import DecodedFrame
from streamer.values import ClockSource, Frame
from tests.support.videos import break_jpeg, cut_off, make_audio, make_video, read_number


def read(path: Path) -> list[Frame]:
    return list(read_file(path, "cam", 3))


def numbers(frames: list[Frame]) -> list[int]:
    return [read_number(frame.pixels) for frame in frames]


def opencv(path: Path) -> list[np.ndarray]:
    """The images as OpenCV decodes them."""
    capture, images = cv2.VideoCapture(str(path)), []
    while (got := capture.read())[0]:
        images.append(got[1])
    return images


@pytest.mark.parametrize(
    ("name", "codec", "b_frames"),
    [
        ("a.mp4", "libx264", 0),
        ("b.mp4", "libx264", 2),
        ("b.avi", "libx264", 2),
        ("b.ts", "libx264", 2),
        ("h.mkv", "libx265", 3),
        ("m.avi", "mjpeg", 0),
        ("v.mov", "mpeg4", 0),
    ],
)
def test_every_image_comes_once_in_order_at_its_time(tmp_path: Path, name: str, codec: str, b_frames: int) -> None:
    frames = read(make_video(tmp_path / name, codec=codec, b_frames=b_frames, frames=40))
    assert numbers(frames) == list(range(40))
    assert [frame.media_time for frame in frames] == pytest.approx([i / 25 for i in range(40)], abs=1e-6)


def test_a_frame_of_a_file_says_where_and_when_it_is_from(tmp_path: Path) -> None:
    frame = read(make_video(tmp_path / "a.mp4", frames=1))[0]
    assert (frame.camera, frame.epoch, frame.size) == ("cam", 3, (320, 240))
    assert (frame.captured_at, frame.clock_source) == (None, ClockSource.FILE_PTS)
    assert frame.pixels.dtype == np.uint8


@pytest.mark.parametrize("size", [(320, 240), (322, 242), (854, 480), (270, 480)])
def test_pixels_are_contiguous_bgr_as_opencv_has_them(tmp_path: Path, size: tuple[int, int]) -> None:
    path = make_video(tmp_path / "a.mp4", frames=3, size=size)
    frames = read(path)
    for frame, expected in zip(frames, opencv(path), strict=True):
        assert frame.pixels.flags["C_CONTIGUOUS"]
        assert frame.pixels.shape == expected.shape
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_turned_video_is_shown_upright(tmp_path: Path, rotation: int) -> None:
    path = make_video(tmp_path / "phone.mp4", frames=2, rotation=rotation)
    expected = opencv(path)
    info = probe_file(path)
    assert (info.width, info.height) == (expected[0].shape[1], expected[0].shape[0])
    for frame, image in zip(read(path), expected, strict=True):
        assert frame.pixels.shape == image.shape
        assert np.abs(frame.pixels.astype(int) - image).mean() < 2


def test_frames_with_side_data_are_freed_without_a_garbage_collection(tmp_path: Path) -> None:
    path = make_video(tmp_path / "phone.mp4", frames=5, rotation=90)
    gc.collect()
    gc.disable()
    try:
        before = _frames_held()
        assert len(read(path)) == 5
        assert _frames_held() == before
    finally:
        gc.enable()


def _frames_held() -> int:
    return sum(type(each) is av.VideoFrame for each in gc.get_objects())


def test_times_of_a_video_with_a_variable_rate_are_exact(tmp_path: Path) -> None:
    times = [0.0, 0.01, 0.5, 0.533, 0.6, 2.0, 2.04, 5.0]
    frames = read(make_video(tmp_path / "vfr.mkv", times=times))
    assert [frame.media_time for frame in frames] == pytest.approx(times, abs=1e-9)
    assert numbers(frames) == list(range(8))


def test_media_time_begins_at_zero_wherever_the_timestamps_do(tmp_path: Path) -> None:
    frames = read(make_video(tmp_path / "late.mkv", times=[7.5, 7.54, 7.6]))
    assert [frame.media_time for frame in frames] == pytest.approx([0, 0.04, 0.1], abs=1e-9)


def test_a_stream_without_timestamps_is_read_at_its_nominal_rate_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = read(make_video(tmp_path / "raw.h264", frames=20, container_format="h264"))
    assert [frame.media_time for frame in frames] == pytest.approx([i / 25 for i in range(20)])
    assert "has no timestamps; its frames are timed at 25 per s" in caplog.text


def test_a_name_with_a_colon_or_a_percent_sign_is_a_name(tmp_path: Path) -> None:
    for name in ("12:30.mp4", "50%d.mp4", "a b?c#d.mp4"):
        assert len(read(make_video(tmp_path / name, frames=3))) == 3


def test_probing_returns_size_length_rate_and_codec(tmp_path: Path) -> None:
    info = probe_file(make_video(tmp_path / "a.mkv", frames=50, codec="libx265"))
    assert (info.width, info.height, info.frames, info.codec) == (320, 240, 50, "hevc")
    assert [info.duration_s, info.fps] == pytest.approx([2.0, 25.0], abs=0.05)


def unreadable(tmp_path: Path) -> dict[str, Path]:
    """What a user may give by mistake, by the words that the message must have."""
    audio = make_audio(tmp_path / "sound.mp4")
    files = {
        "text.mp4": b"this is not a video\n" * 100,
        "notes.txt": b"FFmpeg would paint this text\n" * 100,
        "list.mp4": b"ffconcat version 1.0\nfile good.mp4\n",
        "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n",
        "empty.mp4": b"",
        "codec.mp4": make_video(tmp_path / "good.mp4", frames=5).read_bytes().replace(b"avc1", b"zzzz"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    return {
        "no such file": tmp_path / "missing.mp4",
        "not a file": tmp_path,
        "text.mp4: not a video": tmp_path / "text.mp4",
        "notes.txt: not a video": tmp_path / "notes.txt",
        "list.mp4: an ffconcat list, not a video": tmp_path / "list.mp4",
        "playlist.mp4: an m3u8 playlist, not a video": tmp_path / "playlist.mp4",
        "the file is empty": tmp_path / "empty.mp4",
        "its video codec is not supported": tmp_path / "codec.mp4",
        "sound.mp4: contains no video (only audio)": audio,
        "sound.wav: contains no video (only audio)": tmp_path / "sound.wav",
        "cannot be opened: File name too long": tmp_path / ("a" * 300),
        "without its index (moov)": cut_off(tmp_path / "good.mp4", 0.5),
    }


def test_each_unreadable_input_is_an_input_error_that_says_what_is_wrong(tmp_path: Path) -> None:
    for message, path in unreadable(tmp_path).items():
        for use in (read, probe_file):
            with pytest.raises(InputError, match=re.escape(message)) as caught:
                use(path)
            assert caught.value.exit_code == 3
            assert str(path) in str(caught.value)


@pytest.mark.parametrize(("name", "index_first"), [("a.mp4", True), ("a.mkv", False)])
def test_a_video_that_was_cut_off_gives_its_frames_and_then_says_so(
    tmp_path: Path, name: str, index_first: bool
) -> None:
    path = cut_off(make_video(tmp_path / name, frames=150, index_first=index_first), 0.6)
    frames: list[Frame] = []
    with pytest.raises(TruncatedVideo, match=r"cut off after \d\.\d\d s") as caught:
        frames.extend(read_file(path, "cam", 0))  # extend keeps what came before the error
    assert 60 < len(frames) < 130
    assert numbers(frames) == list(range(len(frames)))
    assert caught.value.frames == len(frames)


def test_a_damaged_image_in_the_middle_is_left_out_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video(tmp_path / "a.mp4", frames=50, index_first=True)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    frames = read(path)
    assert 25 < len(frames) < 50
    assert frames[-1].media_time == pytest.approx(49 / 25)
    assert "damaged frames dropped" in caplog.text


def test_damage_that_the_codec_calls_not_implemented_costs_one_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = read(break_jpeg(make_video(tmp_path / "m.avi", codec="mjpeg", frames=10), 4))
    assert numbers(frames) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert "1 damaged frames dropped" in caplog.text


def test_a_image_that_cannot_be_converted_is_counted_as_damaged(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=1)
    with open_file(path) as container:
        decoder = Decoder(choose_stream(container, str(path)).stream, "")
        assert DecodedFrame(av.VideoFrame(16, 16, "rgb96le"), 0.0, decoder.converter).pixels() is None
        assert DecodedFrame(av.VideoFrame(16, 16, "yuv420p"), 0.0, decoder.converter).pixels() is not None
    assert (decoder.damage.dropped, decoder.damage.unconverted) == (1, 1)


@pytest.mark.parametrize("name", ["missing.mp4", "a.mp4/inside.mp4"])
def test_a_missing_file_has_an_error_of_its_own(tmp_path: Path, name: str) -> None:
    make_video(tmp_path / "a.mp4", frames=1)
    with pytest.raises(NoSuchFile, match="no such file"):
        open_file(tmp_path / name)


def test_a_name_with_a_zero_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"'a\\x00b': cannot be opened"):
        open_file(Path("a\0b"))


def test_reading_the_same_file_twice_gives_the_same_pixels(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=20, b_frames=2)
    for first, second in zip(read(path), read(path), strict=True):
        assert first.media_time == second.media_time
        assert np.array_equal(first.pixels, second.pixels)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("clip", "count", "size"),
    [
        ("classroom.gif", 45, (480, 270)),
        ("stage-cuts.mp4", 275, (640, 360)),
        ("street-crowd-1080p.mp4", 105, (1920, 1080)),
        ("asl/again.mkv", 77, (640, 480)),
    ],
)
def test_real_clips_are_read_whole(shared: Path, clip: str, count: int, size: tuple[int, int]) -> None:
    path = shared / "data" / "clips" / clip
    frames = read(path)
    assert (len(frames), frames[0].size) == (count, size)
    assert abs(probe_file(path).frames - count) <= 5
