"""Degrade faces in fixed ways, to measure how much accuracy is lost on worse images."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from workers.research.data.face_set import FACE_SIZE, Bytes
from workers.research.evaluate.inference import Floats, Network


def _small(face: Bytes, side: int) -> Bytes:
    """Reduce the resolution to `side` pixels and scale up again."""
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _blurred(face: Bytes) -> Bytes:
    """Blur by a Gaussian of two pixels."""
    return np.asarray(cv2.GaussianBlur(face, (0, 0), 2.0), np.uint8)


def _dark(face: Bytes) -> Bytes:
    """Reduce the brightness to a quarter."""
    return np.asarray(face // 4, np.uint8)


DEGRADATIONS: Mapping[str, Callable[[Bytes], Bytes]] = {
    "small-24": lambda face: _small(face, 24),
    "small-32": lambda face: _small(face, 32),
    "blurred": _blurred,
    "dark": _dark,
}


def degraded(network: Network, degradation: str) -> Network:
    """Return the network applied to degraded faces."""

    def infer(crops: Bytes) -> dict[str, Floats]:
        return network(np.stack([DEGRADATIONS[degradation](crop) for crop in crops]))

    return infer
