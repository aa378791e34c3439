"""What the looks at one camera teach: how often faces appear, and how far predictions are off."""

from math import exp, sqrt

import numpy as np

from streamer.attention.gain import STILL_DRIFT
from streamer.attention.places import apart
from streamer.boxes import iou
from streamer.values import Outlook

USUAL = 0.2  # new faces per second of motion, of a camera of which nothing is known
KNOWN_S = 5.0  # seconds of motion that this is taken for
KEPT_S = 300.0  # time constant, in seconds of motion, with which arrivals are forgotten
MIN_ARRIVALS, MAX_ARRIVALS = 0.5, 2.0
STEP = 0.05  # weight of the error of one prediction
MIN_SURPRISE, MAX_SURPRISE = 0.3, 2.0


class Arrivals:
    """How often new faces appear where something moves: a Gamma posterior of the rate."""

    def __init__(self) -> None:
        self._found = USUAL * KNOWN_S
        self._watched = KNOWN_S

    def learn(self, found: int, seconds: float) -> None:
        """Note that after `seconds` of motion a look has found this number of new faces."""
        kept = exp(-seconds / KEPT_S)
        self._found = kept * self._found + (1 - kept) * USUAL * KNOWN_S + found
        self._watched = kept * self._watched + (1 - kept) * KNOWN_S + seconds

    def factor(self) -> float:
        """Return the rate over the usual one."""
        return min(MAX_ARRIVALS, max(MIN_ARRIVALS, self._found / self._watched / USUAL))


class Surprise:
    """The errors of predicted centres over the standard deviation that the tracker states, root mean square."""

    def __init__(self) -> None:
        self.factor = 1.0

    def learn(self, before: Outlook, after: Outlook) -> None:
        """Compare the tracks of a frame as predicted and as corrected by a look."""
        if not len(before.boxes) or not len(after.boxes):
            return
        overlap = iou(before.boxes, after.boxes)
        row = overlap.argmax(axis=1)
        found = (overlap.max(axis=1) > 0) & (after.unseen[row] <= 0)
        known = before.confirmed & ~before.lost & found
        count = np.count_nonzero(known)
        if not count:
            return
        off = apart(before.boxes[known], after.boxes[row[known]]) / np.maximum(before.drift[known], STILL_DRIFT)
        mean = float(np.mean(np.minimum(off, 2 * MAX_SURPRISE) ** 2)) / 2  # of each of two axes
        squared = self.factor**2 + (mean - self.factor**2) * (1 - (1 - STEP) ** count)
        self.factor = min(MAX_SURPRISE, max(MIN_SURPRISE, sqrt(squared)))
