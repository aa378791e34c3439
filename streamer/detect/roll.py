"""Estimate how far a face is turned in the picture (roll), from the pixels in its box and not from its landmarks.

The landmarks of a detector that has seen upright faces only are those of an upright face, at any roll.
"""

from math import ceil
from typing import Protocol

import cv2
import numpy as np

from streamer.detect.bundled import bundled_roll_network
from streamer.detect.session import open_session
from streamer.values import Bytes, Floats

SIDE = 64  # px, of the crop that the network sees
MARGIN = 1.25  # side of the square around a face, in longer sides of its box


class EstimatesRolls(Protocol):
    """The network for turned faces, or what answers in its place."""

    def directions(self, frame: Bytes, boxes: Floats) -> Floats:
        """Estimate directions as `RollNetwork.directions` does."""


class RollNetwork:
    """The bundled network, on the CPU: it is far smaller than a detector. For use by one thread. Raises ModelError."""

    def __init__(self) -> None:
        self._session = open_session(bundled_roll_network(), "cpu")

    def directions(self, frame: Bytes, boxes: Floats) -> Floats:
        """Return the direction (n, 2) of each face of a BGR frame (h, w, 3): cosine and sine of its roll, clockwise.

        The length, 0 to about 1, is the confidence; it is small if a box shows no face. `boxes` (n, 4) are x1 y1 x2 y2.
        """
        if not len(boxes):
            return np.zeros((0, 2), np.float32)
        crops = np.stack([_crop(frame, box) for box in boxes])[:, None].astype(np.float32)
        return np.asarray(self._session.run(None, {"crops": crops})[0], np.float32)


def _crop(frame: Bytes, box: Floats) -> Bytes:
    """Return the square around a box as (64, 64) grey; the frame's border is continued where it lies outside."""
    span = max(2, ceil(MARGIN * float((box[2:] - box[:2]).max())))
    x, y = (round(float(middle) - span / 2) for middle in (box[:2] + box[2:]) / 2)
    height, width = frame.shape[:2]
    left, top, right, bottom = max(0, x), max(0, y), min(width, x + span), min(height, y + span)
    part = frame[top : max(bottom, top + 1), left : max(right, left + 1)]
    sides = max(0, top - y), max(0, y + span - bottom), max(0, left - x), max(0, x + span - right)
    square = cv2.copyMakeBorder(part, *sides, cv2.BORDER_REPLICATE) if any(sides) else part
    interpolation = cv2.INTER_AREA if span > SIDE else cv2.INTER_LINEAR
    small = cv2.resize(square, (SIDE, SIDE), interpolation=interpolation)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
