"""Detect shot changes: frames after which no face is where it was before.

Two small grey images are compared by contrast and structure, the second and third part of SSIM (Wang 2004), so that a
change of brightness alone does not count. At a shot change they have little in common, and much less than the frames
just before had with each other. The second condition rules out fast movement in close-ups and low frame rates.
"""

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.values import Bytes

GRID = (32, 18)  # width and height of the small image
ROWS = 90  # the frame is subsampled to about this many rows before it is averaged
MIN_VARIANCE = 16.0  # grey levels squared, below which contrast is noise: two black images are equal
TIMES_USUAL = 2.0  # a shot change is at least this multiple of the median of recent changes,
HISTORY_S = 1.0  # those of this many seconds


class ShotChangeDetector:
    """Detects the shot changes of one camera, frame by frame."""

    def __init__(self, min_change: float) -> None:
        """`min_change`: smallest change that counts; 0 is the same image, 1 nothing in common, 2 its negative."""
        self._min_change = min_change
        self._last: NDArray[np.float32] | None = None
        self._changes: deque[tuple[float, float]] = deque()  # media time in s, change

    def is_shot_change(self, time: float, pixels: Bytes) -> bool:
        """Return whether a new shot begins with this frame (h, w, 3) at media time `time`, s; False for the first."""
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
    """Reduce a frame to grey levels (18, 32) minus their mean."""
    step = max(1, pixels.shape[0] // ROWS)
    thin = np.ascontiguousarray(pixels[::step, ::step])
    grey = cv2.resize(thin, GRID, interpolation=cv2.INTER_AREA).mean(axis=2, dtype=np.float32)
    return np.asarray(grey - grey.mean(), np.float32)


def _change(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return 1 - (2 covariance + c) / (sum of the variances + c), from 0 to 2."""
    common = 2 * float((first * second).mean()) + MIN_VARIANCE
    return 1 - common / (float((first**2).mean() + (second**2).mean()) + MIN_VARIANCE)
