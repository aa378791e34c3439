"""Compute the network of a detector: one image on all threads, or several at a time on one thread each."""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamer.detect.letterbox import planes
from streamer.detect.session import threads
from streamer.values import Bytes, Floats

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class Network(Protocol):
    """A network with one image as input and one output, in one engine and precision."""

    lanes: int  # how many threads may call `compute_beside` at the same time
    by_size: bool  # it is compiled for each size of image

    def compute(self, image: Bytes) -> Floats:
        """Return the output (channels, cells) for a BGR image (h, w, 3), computed on all threads. For one thread."""

    def compute_beside(self, image: Bytes) -> Floats:
        """Return the same, to the last bit, computed on the calling thread alone."""


class SessionNetwork:
    """A network in fp32, computed by ONNX Runtime."""

    by_size = False

    def __init__(self, session: "InferenceSession", narrow: Callable[[], "InferenceSession"] | None = None) -> None:
        """`narrow` opens the same network for one thread, when it is first needed; None: one image after the other."""
        self._session, self._narrow = session, narrow
        self._beside: InferenceSession | None = None
        self._opening = Lock()
        self._input = session.get_inputs()[0].name
        self.lanes = threads() if narrow else 1

    def compute(self, image: Bytes) -> Floats:
        """See Network."""
        return self._run(self._session, image)

    def compute_beside(self, image: Bytes) -> Floats:
        """See Network."""
        with self._opening:
            if self._beside is None and self._narrow:
                self._beside = self._narrow()
        return self._run(self._beside or self._session, image)

    def _run(self, session: "InferenceSession", image: Bytes) -> Floats:
        return np.asarray(session.run(None, {self._input: planes(image)})[0][0], np.float32)


def beside(images: int, lanes: int) -> int:
    """Return how many of the images to compute at the same time; for the others it is faster one after the other."""
    rest = images % lanes
    return images if 2 * rest > lanes else images - rest if lanes > 1 else 0
