"""Frames as planes: their colours are those that swscale gives, and crops those of `align`. No GPU is needed."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from streamer.config import Detect
from streamer.detect.torch_pose import Place
from streamer.select.align import TEMPLATE, align
from streamer.values import Bytes, Floats
from tests.gpu.planes import BT709, FULL, PlaneScaler, crops_of, planes_of

CPU = torch.device("cpu")


def picture(width: int, height: int) -> Bytes:
    small = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def decoded(pixels: Bytes, colorspace: int, color_range: int) -> av.VideoFrame:
    """A frame as a decoder gives it, which states its colours."""
    frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
    made = frame.reformat(format="yuv420p", dst_colorspace=colorspace, dst_color_range=color_range)
    made.colorspace, made.color_range = colorspace, color_range
    made.pts, made.time_base = 0, Fraction(1, 25)
    return made


@pytest.mark.parametrize("colorspace", [BT709, 5])
@pytest.mark.parametrize("color_range", [1, FULL])
def test_the_colours_are_those_of_the_converted_frame(colorspace: int, color_range: int) -> None:
    frame = decoded(picture(640, 360), colorspace, color_range)
    expected = np.asarray(frame.to_ndarray(format="bgr24"), np.int16)[:, :, ::-1]
    size = Place.of((640, 360), Detect(), False).inner
    found = PlaneScaler((640, 360), size, CPU)([planes_of(frame, CPU)])[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(found - expected).mean() < 3


def face(distance: float, x: float, y: float) -> Floats:
    """Landmarks of an upright face with this distance between its eyes, px."""
    return np.asarray((TEMPLATE - TEMPLATE.mean(axis=0)) * distance / 35.2 + [x, y], np.float32)


@pytest.mark.parametrize("distance", [15.0, 35.0, 150.0])
def test_crops_are_those_of_the_converted_frame(distance: float) -> None:
    frame = decoded(picture(1280, 720), BT709, 1)
    pixels = np.ascontiguousarray(frame.to_ndarray(format="bgr24"), np.uint8)
    landmarks = np.stack([face(distance, 640, 360), face(distance, 20, 700)])  # the second is partly outside
    found = crops_of(planes_of(frame, CPU), landmarks).numpy()
    for crop, points in zip(found, landmarks, strict=True):
        assert np.abs(crop.astype(np.int16) - align(pixels, points)).mean() < 3


def test_no_face_gives_no_crop() -> None:
    frame = decoded(picture(640, 360), BT709, 1)
    assert crops_of(planes_of(frame, CPU), np.zeros((0, 5, 2), np.float32)).shape == (0, 112, 112, 3)
