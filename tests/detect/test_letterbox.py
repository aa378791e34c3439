"""The input of a detector: the values of OpenCV's own conversion, and little grey where the model allows it."""

import cv2
import numpy as np
import pytest

from streamer.config import Detect
from streamer.detect.bundled import bundled_detector
from streamer.detect.detector import Detector
from streamer.detect.letterbox import letterboxed, planes
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


def test_the_bundled_detector_finds_the_same_face_in_a_square_and_with_little_grey() -> None:
    photograph = read_portrait()
    wide = np.full((512, 910, 3), 90, np.uint8)
    wide[:, 200:712] = photograph
    (found,) = Detector(Detect(weights=str(bundled_detector()), min_score=0.5)).detect([wide])
    model = PoseOnnxModel(open_session(bundled_detector(), "cpu"), Detect(min_score=0.5))
    model._square = True
    (square,) = model.detect([wide])
    assert len(found) == len(square) == 1
    assert found.boxes == pytest.approx(square.boxes, abs=2.5)
    assert found.landmarks == pytest.approx(square.landmarks, abs=2.5)
