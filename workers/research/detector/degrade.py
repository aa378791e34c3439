"""Degrade images as cameras and files do: exposure, colour, blur, noise, JPEG."""

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from streamer.values import Bytes


def relit(image: Bytes, draw: Generator, strength: float = 1.0) -> Bytes:
    """Change brightness, contrast, gamma and colour cast of pixels BGR (..., 3)."""
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = np.exp(draw.normal(0, 0.25 * strength))
    gain, shift = np.exp(draw.normal(0, 0.2 * strength)), draw.normal(0, 0.07 * strength)
    if draw.random() < 0.08 * strength:  # night
        gain, shift = gain * draw.uniform(0.15, 0.5), 0.0
    curve = np.power(levels, gamma) * gain + shift
    cast = np.exp(draw.normal(0, 0.08 * strength, 3)) if draw.random() < 0.5 else np.ones(3)
    table = (curve[:, None] * cast * 255).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table.reshape(1, 256, 3)), np.uint8)


def grey(image: Bytes) -> Bytes:
    """Remove the colour of a BGR image, which keeps its three channels."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def blurred(image: Bytes, draw: Generator, most: float = 2.0) -> Bytes:
    """Blur an image: out of focus, in motion, or enlarged from fewer pixels. `most`: largest deviation, px."""
    kind = draw.random()
    if kind < 0.45:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), draw.uniform(0.4, most)), np.uint8)
    if kind < 0.7:
        size = int(draw.integers(3, 4 + int(most * 2)))
        angle = draw.uniform(0, np.pi)
        kernel = np.zeros((size, size), np.float32)
        middle = (size - 1) / 2
        along = np.array([np.cos(angle), np.sin(angle)]) * middle
        ends = [tuple(round(float(value)) for value in middle + sign * along) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)
    height, width = image.shape[:2]
    factor = draw.uniform(1.2, 1 + most)
    small = cv2.resize(image, (max(2, int(width / factor)), max(2, int(height / factor))), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


@cache
def _field() -> Any:
    """Return the noise (1024, 1024, 3), standard deviation 64, that images take pieces of."""
    return (np.random.default_rng(0).standard_normal((1024, 1024, 3), np.float32) * 64).astype(np.int16)


def noisy(image: Bytes, draw: Generator) -> Bytes:
    """Add sensor noise to an image of at most 1024 pixels a side."""
    field, (height, width) = _field(), image.shape[:2]
    top, left = int(draw.integers(1025 - height)), int(draw.integers(1025 - width))
    noise = field[top : top + height, left : left + width] * np.int16(draw.integers(2, 15)) >> 6
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)


def compressed(image: Bytes, draw: Generator) -> Bytes:
    """Compress an image as JPEG of a quality from 15 to 90."""
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(draw.integers(15, 91))])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def degraded(image: Bytes, draw: Generator) -> Bytes:
    """Apply each degradation to a whole image, each with its own probability."""
    if draw.random() < 0.7:
        image = relit(image, draw)
    if draw.random() < 0.12:
        image = grey(image)
    if draw.random() < 0.15:
        image = blurred(image, draw)
    if draw.random() < 0.15:
        image = noisy(image, draw)
    if draw.random() < 0.25:
        image = compressed(image, draw)
    return image
