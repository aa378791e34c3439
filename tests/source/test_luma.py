"""The small grey picture of a frame, read from the decoder's luma."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamer.source.decoder import Decoder
from streamer.source.file import decode_file
from streamer.source.image_folder import FolderFrame
from streamer.source.luma import luma_of, small_size
from streamer.source.picture import DecodedFrame
from tests.support.videos import image, make_video

FORMATS = ("yuv420p", "yuvj422p", "yuv444p", "nv12", "gray", "yuv420p10le", "yuv444p12le", "p010le", "bgr24", "gbrp")


def a_picture() -> np.ndarray:
    noise = np.random.default_rng(1).integers(0, 255, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_luma_of_its_picture(tmp_path: Path, name: str) -> None:
    with av.open(str(make_video(tmp_path / "a.mp4", frames=2))) as container:
        converter = Decoder(container.streams.video[0], "").converter
        shown = a_picture()
        frame = av.VideoFrame.from_ndarray(shown, "bgr24").reformat(format=name, dst_color_range="JPEG")
        luma = DecodedFrame(frame, 0.0, converter).luma()
    assert luma.shape == (120, 160)
    assert np.abs(luma.astype(int) - luma_of(shown)).mean() < 6
    assert np.corrcoef(luma.ravel(), luma_of(shown).ravel())[0, 1] > 0.98


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_luma_is_upright_as_the_pixels_are(tmp_path: Path, rotation: int) -> None:
    video = make_video(tmp_path / "a.mp4", frames=3, size=(320, 180), rotation=rotation)
    decoded = next(iter(decode_file(video, "")))
    pixels, luma = decoded.pixels(), decoded.luma()
    assert pixels is not None
    assert luma.shape == ((160, 90) if rotation % 180 else (90, 160))
    assert np.corrcoef(luma.ravel(), luma_of(pixels).ravel())[0, 1] > 0.98


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 240, 320, "yuv420p"
        stream.sample_aspect_ratio = Fraction(2)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image(number, (240, 320))), "bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    decoded = next(iter(decode_file(path, "")))
    assert decoded.size == (480, 320)
    assert decoded.luma().shape == (107, 160)


def test_a_picture_of_a_folder_has_its_luma() -> None:
    assert np.array_equal(FolderFrame(a_picture(), 0.0).luma(), luma_of(a_picture()))


@pytest.mark.parametrize(
    ("shown", "small"),
    [((1920, 1080), (160, 90)), ((4000, 10), (160, 1)), ((3, 2), (160, 107)), ((90, 160), (90, 160))],
)
def test_the_longer_side_is_always_the_same(shown: tuple[int, int], small: tuple[int, int]) -> None:
    assert small_size(shown) == small
