"""Whether a frame belongs to another shot than the one before it: a cut, after which no face is where it was.

Two small grey images are compared by contrast and structure, the second and third part of SSIM (Wang 2004), so that
a change of brightness alone is none. At a cut they have little in common, and much less than the frames just before had
with each other: that second condition keeps fast movement in close-ups, and few frames per second, from being cuts.
"""

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.values import Bytes

GRID = (32, 18)  # width and height of the small image
ROWS = 90  # the frame is thinned out to about so many rows before it is averaged
MIN_VARIANCE = 16.0  # grey levels squared: what counts as contrast; a black image equals another one
TIMES_USUAL = 2.0  # a cut changes the image by so many times the median of the changes before it
HISTORY_S = 1.0  # those of the last second


class ShotChangeDetector:
    """Looks at the frames of one camera in order."""

    def __init__(self, min_change: float) -> None:
        """`min_change`: 0 the same image, 1 nothing in common (2 its negative); never a cut below it."""
        self._min_change = min_change
        self._last: NDArray[np.float32] | None = None
        self._changes: deque[tuple[float, float]] = deque()  # media time in s, change

    def is_shot_change(self, time: float, pixels: Bytes) -> bool:
        """Whether another shot begins with this frame (h, w, 3) at media time `time`, s; the first one is no cut."""
        image, last = _small(pixels), self._last
        self._last = image
        if last is None:
            return False
        change = _change(last, image)
        while self._changes and time - self._changes[0][0] > HISTORY_S:
            self._changes.popleft()
        usual = float(np.median([before for _, before in self._changes])) if self._changes else 0.0
        self._changes.append((time, change))
        return change >= max(self._min_change, TIMES_USUAL * usual)


def _small(pixels: Bytes) -> NDArray[np.float32]:
    """(18, 32) grey levels less their mean."""
    step = max(1, pixels.shape[0] // ROWS)
    thin = np.ascontiguousarray(pixels[::step, ::step])
    grey = cv2.resize(thin, GRID, interpolation=cv2.INTER_AREA).mean(axis=2, dtype=np.float32)
    return np.asarray(grey - grey.mean(), np.float32)


def _change(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """1 - (2 covariance + c) / (sum of the variances + c), 0..2."""
    common = 2 * float((first * second).mean()) + MIN_VARIANCE
    return 1 - common / (float((first**2).mean() + (second**2).mean()) + MIN_VARIANCE)
