from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamer.source.file import probe_file, read_file
from streamer.values import Bytes
from tests.support.pictures import Track, numbered, woven, write
from tests.support.rtsp_server import RtspServer
from tests.support.videos import CELL, read_number
from tests.support.watching import stream, watching

H264 = {"x264-params": "tff=1:keyint=10:scenecut=0"}
MPEG2 = {"flags": "+ildct+ilme"}
INTERLACED = [
    ("a.mp4", "libx264", "yuv420p", H264),
    ("a.avi", "libx264", "yuv420p", H264 | {"bf": "0"}),
    ("b-frames.mkv", "libx264", "yuv420p", H264 | {"preset": "fast", "bf": "2"}),
    ("a.ts", "mpeg2video", "yuv420p", MPEG2),
    ("a.mov", "prores_ks", "yuv422p10le", MPEG2),
    ("a.h264", "libx264", "yuv420p", H264),
]


def moving(count: int, size: tuple[int, int] = (320, 240)) -> list[Bytes]:
    """A bright block that moves by 8 px per picture, below the number of the pair of pictures."""
    pictures = [picture.copy() for picture in numbered(count, size)]
    for place, picture in enumerate(pictures):
        picture[:CELL] = numbered(1, size, first=place // 2)[0][:CELL]
        picture[CELL:] = 60
        left = 20 + 8 * place % (size[0] - 80)
        cv2.rectangle(picture, (left, 60), (left + 40, 180), (220, 220, 220), -1)
    return pictures


def combing(pixels: Bytes) -> float:
    """How much neighbouring lines differ on average where the block is."""
    lines = pixels[80:160].astype(int)
    return float(np.abs(lines[::2] - lines[1::2]).mean())


def plain(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "options"), INTERLACED)
def test_interlaced_frames_lose_their_combs_but_neither_their_number_nor_their_times(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, options: dict[str, str]
) -> None:
    path = write(tmp_path / name, Track(woven(moving(40)), codec, pix_fmt=pix_fmt, options=options))
    before, frames = plain(path), list(read_file(path, "", 0))
    assert all(frame.interlaced_frame for frame in before)
    assert [read_number(frame.pixels) for frame in frames] == list(range(20))
    assert [frame.media_time for frame in frames] == pytest.approx([number / 25 for number in range(20)], abs=1e-3)
    for frame, stored in zip(frames[1:-1], before[1:-1], strict=True):
        assert combing(np.asarray(stored.to_ndarray(format="bgr24"), np.uint8)) > 5
        assert combing(frame.pixels) < 0.5


@pytest.mark.parametrize("count", [1, 2])
def test_a_very_short_interlaced_file_keeps_all_its_frames(tmp_path: Path, count: int) -> None:
    path = write(tmp_path / "a.mp4", Track(woven(moving(2 * count)), options=H264))
    assert probe_file(path).frames == count
    assert [read_number(frame.pixels) for frame in read_file(path, "", 0)] == list(range(count))


def test_progressive_frames_keep_every_bit_between_interlaced_ones(tmp_path: Path) -> None:
    film = write(tmp_path / "film.ts", Track(numbered(10), options={"g": "10", "bf": "0"}))
    video = write(tmp_path / "video.ts", Track(woven(moving(20)), options=H264 | {"bf": "0"}, start=10))
    again = write(tmp_path / "again.ts", Track(numbered(10, first=20), options={"g": "10", "bf": "0"}, start=20))
    path = tmp_path / "mixed.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in (film, video, again)))
    before, frames = plain(path), list(read_file(path, "", 0))
    assert len(before) == 30
    by_time = {round((frame.time - before[0].time) * 25): frame for frame in before}
    for frame in frames:
        stored = by_time[round(frame.media_time * 25)]
        same = np.array_equal(frame.pixels, stored.to_ndarray(format="bgr24"))
        assert same is not stored.interlaced_frame
    assert len(frames) > 25


def test_a_change_of_size_loses_no_interlaced_frame(tmp_path: Path) -> None:
    parts = []
    for place, size in enumerate([(320, 240), (480, 272)]):
        track = Track(woven(moving(20, size)), options=H264 | {"bf": "0"}, start=10 * place)
        parts.append(write(tmp_path / f"{place}.ts", track).read_bytes())
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(parts))
    frames = list(read_file(path, "", 0))
    assert [read_number(frame.pixels) for frame in frames] == [*range(10), *range(10)]
    assert [frame.size for frame in frames] == [(320, 240)] * 10 + [(480, 272)] * 10
    assert max(combing(frame.pixels) for frame in frames[1:9]) < 0.5


def test_an_interlaced_camera_is_deinterlaced(tmp_path: Path) -> None:
    options = {"x264-params": "tff=1:keyint=10:sliced-threads=0", "bf": "0"}
    clip = write(tmp_path / "a.mp4", Track(woven(moving(100)), options=options))
    with RtspServer({"a": clip}) as server, watching(stream("yard", server.url("a"))) as watched:
        frames = watched.until_frames("yard", 6)
    assert len({read_number(frame.pixels) for frame in frames}) == len(frames)
    assert max(combing(frame.pixels) for frame in frames[1:]) < 0.5


def test_progressive_frames_are_not_filtered(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Track(numbered(10)))
    for frame, stored in zip(read_file(path, "", 0), plain(path), strict=True):
        assert np.array_equal(frame.pixels, stored.to_ndarray(format="bgr24"))
