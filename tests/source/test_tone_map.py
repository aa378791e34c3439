from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from streamer.source.file import read_file
from streamer.source.tone_map import GRID, table
from streamer.values import Bytes, Floats
from tests.support.pictures import Track, numbered, write

PQ, HLG, SDR = int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67), int(ColorTrc.BT2020_10)
WIDE = 9  # FFmpeg's number of BT.2020 as matrix and as primaries
SKIN = [(110, 140, 200), (60, 80, 130), (40, 50, 80), (150, 170, 215)]  # BGR
OTHERS = [(0, 0, 0), (128, 128, 128), (180, 180, 180), (160, 60, 40), (60, 140, 90)]


def signal(nits: Floats, transfer: int) -> Floats:
    """The signal (h, w, 3) of light in BT.2020, by the formulas of SMPTE ST 2084 and ARIB STD-B67."""
    if transfer == PQ:
        power = (nits / 10_000) ** 0.1593017578125
        return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375, np.float32)
    shown = (nits / 1000) @ np.array([0.2627, 0.678, 0.0593])
    scene = nits / 1000 / np.maximum(shown, 1e-9)[..., None] ** (0.2 / 1.2)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.asarray(np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright), np.float32)


def hdr(pixels: Bytes, transfer: int, white: float = 203.0) -> av.VideoFrame:
    """An SDR picture (BGR) as HDR whose white has this many cd/m2: 10 bits, limited range, BT.2020."""
    light = white * (pixels[..., ::-1] / 255.0) ** 2.4
    wide = light @ np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]).T
    red_green_blue = signal(wide, transfer)
    luma = red_green_blue @ np.array([0.2627, 0.678, 0.0593])
    planes = [
        64 + 876 * luma,
        512 + 896 * (red_green_blue[..., 2] - luma)[::2, ::2] / 1.8814,
        512 + 896 * (red_green_blue[..., 0] - luma)[::2, ::2] / 1.4746,
    ]
    frame = av.VideoFrame(pixels.shape[1], pixels.shape[0], "yuv420p10le")
    for plane, values in zip(frame.planes, planes, strict=True):
        lines = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        lines[:, : values.shape[1]] = np.round(values)
        plane.update(lines.tobytes())
    frame.color_trc = transfer  # some encoders take it from the frame
    return frame


def patches(colours: list[tuple[int, int, int]]) -> Bytes:
    """Squares of 32 px, one per colour, side by side."""
    return np.repeat(np.repeat(np.array([colours], np.uint8), 32, axis=0), 32, axis=1)


def shown(path: Path, count: int) -> list[list[int]]:
    """The colour in the middle of each patch of the first frame."""
    frame = next(iter(read_file(path, "", 0)))
    return [[int(value) for value in frame.pixels[16, 16 + 32 * place]] for place in range(count)]


def video(path: Path, frame: av.VideoFrame, transfer: int, codec: str = "ffv1", matrix: int = WIDE) -> Path:
    colours = (matrix, transfer, WIDE)
    return write(path, Track([frame] * 2, codec, pix_fmt="yuv420p10le", colours=colours))


@pytest.mark.parametrize("transfer", [PQ, HLG], ids=["PQ", "HLG"])
@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "ffv1"), ("a.ts", "libx265")])
def test_hdr_looks_as_the_same_picture_in_sdr(tmp_path: Path, transfer: int, name: str, codec: str) -> None:
    colours = SKIN + OTHERS
    path = video(tmp_path / name, hdr(patches(colours), transfer), transfer, codec)
    assert np.array(shown(path, len(colours))) == pytest.approx(np.array(colours), abs=9)
    assert np.array(shown(path, len(SKIN))[1:3]) == pytest.approx(np.array(SKIN[1:3]), abs=4)


@pytest.mark.parametrize("transfer", [PQ, HLG], ids=["PQ", "HLG"])
def test_what_is_brighter_than_white_is_compressed_and_keeps_its_hue(tmp_path: Path, transfer: int) -> None:
    path = video(tmp_path / "a.mkv", hdr(patches([(110, 140, 200)]), transfer, 600), transfer)
    ((blue, green, red),) = shown(path, 1)
    assert blue < green < red < 256
    assert red > 225
    assert blue / red == pytest.approx(110 / 200, abs=0.07)


def test_grey_rises_with_light_and_white_is_reached_at_the_peak(tmp_path: Path) -> None:
    for transfer in (PQ, HLG):
        greys = table(transfer, WIDE)[range(GRID), range(GRID), range(GRID)]
        assert np.ptp(greys, axis=1).max() < 1e-3
        assert (np.diff(greys[:, 0]) >= 0).all()
        assert greys[0, 0] == 0
        assert greys[-1, 0] == 1


def test_primaries_of_sdr_are_not_converted() -> None:
    red = table(PQ, int(ColorPrimaries.BT709))[0, 0, 16]  # blue and green 0
    assert red[1] == red[2] == 0
    assert table(PQ, WIDE)[0, 16, 16][2] == 0  # yellow of BT.2020 is beyond blue 0


@pytest.mark.parametrize("matrix", [2, 10], ids=["unspecified", "constant luminance"])
def test_a_stream_without_a_usable_matrix_is_read_as_bt2020(tmp_path: Path, matrix: int) -> None:
    colours = SKIN + OTHERS
    stated = video(tmp_path / "a.mkv", hdr(patches(colours), PQ), PQ)
    silent = video(tmp_path / "b.mkv", hdr(patches(colours), PQ), PQ, matrix=matrix)
    assert shown(stated, len(colours)) == shown(silent, len(colours))


def test_hdr_is_turned_as_sdr_is(tmp_path: Path) -> None:
    turned = (0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 0, 1 << 30)
    frame = hdr(patches([SKIN[0]] * 4 + [SKIN[2]] * 4), PQ).reformat(format="yuv422p10le")
    track = Track([frame], "prores_ks", pix_fmt="yuv422p10le", colours=(WIDE, PQ, WIDE), matrix=turned)
    (upright,) = read_file(write(tmp_path / "a.mov", track), "", 0)
    assert upright.size == (32, 256)
    assert upright.pixels[192, 16].astype(int) == pytest.approx(SKIN[0], abs=9)
    assert upright.pixels[64, 16].astype(int) == pytest.approx(SKIN[2], abs=9)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "colours"), [("libx264", "yuv420p", None), ("ffv1", "yuv420p10le", (WIDE, SDR, WIDE))]
)
def test_sdr_keeps_every_bit(tmp_path: Path, codec: str, pix_fmt: str, colours: tuple[int, int, int] | None) -> None:
    path = write(tmp_path / "a.mkv", Track(numbered(5), codec, pix_fmt=pix_fmt, colours=colours))
    with av.open(str(path)) as container:
        stored = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    for frame, expected in zip(read_file(path, "", 0), stored, strict=True):
        assert np.array_equal(frame.pixels, expected)
