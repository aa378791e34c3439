import itertools
import math
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamer.source.file import probe_file, read_file
from streamer.source.geometry import Geometry, credible, orientation
from streamer.source.picture import Converter, DecodedFrame
from streamer.values import Bytes
from tests.support.pictures import Track, numbered, write
from tests.support.rtsp_server import RtspServer
from tests.support.videos import read_number
from tests.support.watching import stream, watching

ONE = 1 << 16  # 1.0 in a display matrix
STORED = (320, 240)
MARK = (70, 50)  # centre of the mark in the stored picture, px
SHAPES = [Fraction(1), Fraction(2), Fraction(10, 22), Fraction(64, 45)]
ORIENTATIONS = list(itertools.product([False, True], range(4)))


def matrix(mirrored: bool, degrees: float, scale: float = 1.0) -> tuple[int, ...]:
    """A display matrix: mirror left and right, then turn counter-clockwise."""
    cos, sin = math.cos(math.radians(degrees)) * scale, math.sin(math.radians(degrees)) * scale
    side = -1 if mirrored else 1
    a, b, c, d = (round(value * ONE) for value in (side * cos, -side * sin, sin, cos))
    return a, b, 0, c, d, 0, 0, 0, 1 << 30


def marked() -> Bytes:
    """A grey picture with a bright mark."""
    pixels = np.full((*STORED[::-1], 3), 60, np.uint8)
    return np.asarray(cv2.circle(pixels, MARK, 16, (255, 255, 255), -1), np.uint8)


def mark_in(pixels: Bytes) -> tuple[float, float]:
    """The centre of the mark, in px from the left and upper edge."""
    rows, columns = np.nonzero(pixels[:, :, 1] > 150)
    return columns.mean() + 0.5, rows.mean() + 0.5


@pytest.mark.parametrize(("mirrored", "turns"), ORIENTATIONS)
@pytest.mark.parametrize("off", [0, 7, -12])
def test_a_display_matrix_gives_the_nearest_orientation(mirrored: bool, turns: int, off: int) -> None:
    assert orientation(matrix(mirrored, 90 * turns + off, scale=1.5)) == (mirrored, turns)


def test_a_display_matrix_that_leaves_no_picture_is_ignored() -> None:
    assert orientation((0,) * 9) == (False, 0)
    assert orientation((ONE, ONE, 0, ONE, ONE, 0, 0, 0, 1 << 30)) == (False, 0)


def test_a_mirror_is_the_sign_of_the_determinant_and_not_half_a_turn() -> None:
    assert orientation((-ONE, 0, 0, 0, ONE, 0, 480 * ONE, 0, 1 << 30)) == (True, 0)
    assert orientation((ONE, 0, 0, 0, -ONE, 0, 0, 270 * ONE, 1 << 30)) == (True, 2)
    assert orientation((-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30)) == (False, 2)


@pytest.mark.parametrize(("mirrored", "turns"), ORIENTATIONS)
@pytest.mark.parametrize("aspect", SHAPES)
def test_the_matrix_takes_published_positions_back_to_the_stored_picture(
    tmp_path: Path, mirrored: bool, turns: int, aspect: Fraction
) -> None:
    path = write(tmp_path / "a.mp4", Track([marked()] * 2, aspect=aspect, matrix=matrix(mirrored, 90 * turns)))
    info = probe_file(path)
    assert info.geometry == Geometry(STORED, aspect, mirrored, turns)
    for frame in read_file(path, "", 0):
        assert frame.size == (info.width, info.height)
        x, y = info.geometry.to_stored() @ (*mark_in(frame.pixels), 1)
        assert (x, y) == pytest.approx((MARK[0] + 0.5, MARK[1] + 0.5), abs=0.7)


def test_what_is_left_and_above_in_a_mirrored_phone_video_is_where_players_show_it(tmp_path: Path) -> None:
    turned = [
        (False, 1, (50, 250)),
        (False, 3, (190, 70)),
        (True, 0, (250, 50)),
        (True, 1, (50, 70)),
        (True, 2, (70, 190)),
        (True, 3, (190, 250)),
    ]
    for mirrored, turns, shown in turned:
        path = write(tmp_path / "a.mov", Track([marked()], matrix=matrix(mirrored, 90 * turns)))
        (frame,) = read_file(path, "", 0)
        assert mark_in(frame.pixels) == pytest.approx(shown, abs=1.5)


@pytest.mark.parametrize(
    ("stored", "aspect", "shown"),
    [
        ((720, 576), Fraction(16, 15), (768, 576)),  # PAL 4:3
        ((720, 480), Fraction(32, 27), (853, 480)),  # NTSC 16:9
        ((720, 480), Fraction(8, 9), (720, 540)),  # NTSC 4:3
        ((1440, 1080), Fraction(4, 3), (1920, 1080)),  # HDV
        ((704, 240), Fraction(10, 22), (704, 528)),  # 2CIF of a recorder
        ((640, 480), Fraction(1000, 1001), (640, 480)),  # a rounding of the header
    ],
)
def test_one_side_grows_and_none_shrinks(stored: tuple[int, int], aspect: Fraction, shown: tuple[int, int]) -> None:
    taken = credible(aspect)
    assert taken is not None
    assert Geometry(stored, taken).shown == shown


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.ts", "libx264"), ("a.avi", "libx264"), ("a.mkv", "libx265")]
)
def test_pixels_are_made_square_in_every_container(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, Track(numbered(3, (160, 240)), codec=codec, aspect=Fraction(2)))
    assert {frame.pixels.shape for frame in read_file(path, "", 0)} == {(240, 320, 3)}
    assert (probe_file(path).width, probe_file(path).height) == (320, 240)


@pytest.mark.parametrize("aspect", [Fraction(100), Fraction(255, 2), Fraction(1, 30), Fraction(5)])
def test_an_impossible_aspect_ratio_is_ignored_and_logged(
    tmp_path: Path, aspect: Fraction, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.mp4", Track(numbered(3), aspect=aspect))
    assert {frame.size for frame in read_file(path, "", 0)} == {STORED}
    assert re.search(r"its sample aspect ratio \S+ cannot be true and is ignored", caplog.text)


@pytest.mark.parametrize(("stated", "width"), [(3, 960), (100, 640)], ids=["credible", "impossible"])
def test_a_ratio_of_the_container_precedes_that_of_the_codec_if_it_can_be_true(
    tmp_path: Path, stated: int, width: int
) -> None:
    path = write(tmp_path / "a.mp4", Track(numbered(3), aspect=Fraction(2)))
    data = path.read_bytes()
    before, after = (b"pasp" + struct.pack(">II", wide, 1) for wide in (2, stated))
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))
    assert {frame.size for frame in read_file(path, "", 0)} == {(width, 240)}


def test_an_aspect_ratio_that_changes_holds_from_its_first_frame_on(tmp_path: Path) -> None:
    parts = []
    for place, aspect in enumerate((Fraction(2), Fraction(1, 2), Fraction(1))):
        part = Track(numbered(10, first=10 * place), aspect=aspect, start=10 * place, options={"bf": "2", "g": "10"})
        parts.append(write(tmp_path / f"{place}.ts", part).read_bytes())
    path = tmp_path / "all.ts"
    path.write_bytes(b"".join(parts))
    sizes = {(640, 240): 0, (320, 480): 1, (320, 240): 2}
    frames = list(read_file(path, "", 0))
    assert len(frames) > 20
    shown = [sizes[frame.size] for frame in frames]
    assert shown == sorted(shown)
    # each picture has its number, which is also that of the part
    for frame in frames:
        width, height = frame.size
        small = cv2.resize(frame.pixels, STORED, interpolation=cv2.INTER_AREA)
        assert read_number(np.asarray(small, np.uint8)) // 10 == sizes[width, height]


def test_a_camera_with_oblong_pixels_gives_square_ones(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mp4", Track(numbered(50, (352, 120)), aspect=Fraction(10, 22), options={"g": "10"}))
    with RtspServer({"a": clip}) as server, watching(stream("yard", server.url("a"))) as watched:
        frames = watched.until_frames("yard", 3)
        status = watched.status("yard")
    assert {frame.size for frame in frames} == {(352, 264)}
    assert (status.width, status.height) == (352, 264)


def test_several_threads_may_convert_the_pictures_of_one_source(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Track(numbered(60, (352, 120)), aspect=Fraction(10, 22)))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        converter = Converter(stream, failed=lambda: None, note=lambda text: None)
        decoded = [DecodedFrame(frame, 0.0, converter) for frame in container.decode(stream)]
        expected = [one.pixels() for one in decoded]
        with ThreadPoolExecutor(4) as threads:
            for found in (list(threads.map(DecodedFrame.pixels, decoded)) for _ in range(5)):
                for one, other in zip(found, expected, strict=True):
                    assert one is not None
                    assert other is not None
                    assert np.array_equal(one, other)


def test_square_upright_pictures_are_converted_as_ever(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Track(numbered(5)))
    with av.open(str(path)) as container:
        plain = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    for frame, expected in zip(read_file(path, "", 0), plain, strict=True):
        assert np.array_equal(frame.pixels, expected)
