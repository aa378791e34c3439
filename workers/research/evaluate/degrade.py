"""Faces as worse cameras would have shown them, always in the same way: how much of an accuracy is left then."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from workers.research.data.face_set import FACE_SIZE, Bytes
from workers.research.evaluate.inference import Floats, Network


def _small(face: Bytes, side: int) -> Bytes:
    """As if the crop had had so many pixels a side."""
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _blurred(face: Bytes) -> Bytes:
    """Out of focus: a Gaussian of two pixels."""
    return np.asarray(cv2.GaussianBlur(face, (0, 0), 2.0), np.uint8)


def _dark(face: Bytes) -> Bytes:
    """A quarter of the light, as whole numbers."""
    return np.asarray(face // 4, np.uint8)


DEGRADATIONS: Mapping[str, Callable[[Bytes], Bytes]] = {
    "small-24": lambda face: _small(face, 24),
    "small-32": lambda face: _small(face, 32),
    "blurred": _blurred,
    "dark": _dark,
}


def degraded(network: Network, how: str) -> Network:
    """The network that sees such faces."""

    def shown(crops: Bytes) -> dict[str, Floats]:
        return network(np.stack([DEGRADATIONS[how](crop) for crop in crops]))

    return shown
