"""The input of a detector: the values of OpenCV's own conversion, and little grey where the model allows it."""

import cv2
import numpy as np
import pytest

from streamer.config import Detect
from streamer.detect.bundled import bundled_detector
from streamer.detect.detector import Detector
from streamer.detect.letterbox import canvas, letterboxed, planes
from streamer.detect.onnx_pose import PoseOnnxModel
from streamer.detect.session import open_session
from streamer.values import Bytes
from tests.support.photographs import read_portrait


def noise(width: int, height: int) -> Bytes:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def test_the_values_are_those_of_opencv() -> None:
    image = noise(640, 384)
    assert np.array_equal(planes(image), cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True))


@pytest.mark.parametrize(
    ("frame", "sides"),
    [
        ((1920, 1080), (640, 384)),
        ((640, 480), (640, 480)),
        ((720, 1280), (384, 640)),
        ((2000, 31), (640, 32)),
        ((64, 48), (96, 96)),
    ],
)
def test_a_model_for_any_size_sees_little_grey(frame: tuple[int, int], sides: tuple[int, int]) -> None:
    pixels = noise(*frame)
    image, scale, offset = letterboxed(pixels, Detect(), square=False)
    assert image.shape == (1, 3, sides[1], sides[0])
    assert offset == pytest.approx((np.array(sides) - scale * frame) / 2, abs=0.5)
    assert letterboxed(pixels, Detect())[0].shape == (1, 3, 640, 640)


@pytest.mark.parametrize("size", [(1920, 1080), (640, 360), (500, 31), (31, 500), (64, 48), (640, 640)])
@pytest.mark.parametrize("square", [False, True])
def test_the_frame_lies_in_the_middle_of_grey(size: tuple[int, int], square: bool) -> None:
    pixels = noise(*size)
    image, scale, offset = canvas(pixels, Detect(), square)
    (left, top), (width, height) = offset.astype(int), np.round(scale * size).astype(int)
    inner = image[top : top + height, left : left + width]
    assert np.array_equal(inner, cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR))
    around = image.astype(int)
    around[top : top + height, left : left + width] = 114
    assert (around == 114).all()


@pytest.mark.parametrize("square", [False, True])
def test_a_frame_that_has_the_size_of_the_input_is_not_copied(square: bool) -> None:
    pixels = noise(640, 640 if square else 384)
    image, scale, offset = canvas(pixels, Detect(), square)
    assert image is pixels
    assert (scale.tolist(), offset.tolist()) == ([1, 1], [0, 0])


@pytest.mark.parametrize(
    ("size", "corner", "pixels"),
    [
        ((1280, 720), (400, 104), 0.5),
        ((1920, 1080), (900, 300), 0.5),
        ((720, 1280), (100, 400), 0.5),
        ((910, 512), (200, 0), 2.0),  # the hair is at the edge of the picture, where the square has more grey
    ],
)
def test_the_bundled_detector_finds_the_same_face_in_a_square_and_with_little_grey(
    size: tuple[int, int], corner: tuple[int, int], pixels: float
) -> None:
    """Within half a pixel of the network's input, away from the edges of the picture."""
    (x, y), frame = corner, np.full((size[1], size[0], 3), 90, np.uint8)
    frame[y : y + 512, x : x + 512] = read_portrait()
    (found,) = Detector(Detect(weights=str(bundled_detector()), min_score=0.5)).detect([frame])
    model = PoseOnnxModel(open_session(bundled_detector(), "cpu"), Detect(min_score=0.5))
    model._square = True
    (square,) = model.detect([frame])
    assert len(found) == len(square) == 1
    scale = 640 / max(size)
    assert found.boxes * scale == pytest.approx(square.boxes * scale, abs=pixels)
    assert found.landmarks * scale == pytest.approx(square.landmarks * scale, abs=pixels)
