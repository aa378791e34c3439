"""Detect cross-fades: one picture turns into another everywhere at the same pace.

Between the beginning and the present of a cross-fade, each picture is (1 - a) times the first plus a times the last
one, with the same a for every pixel. Whatever moves changes some pixels before others. A change of light also is the
same everywhere, but it leaves the content as it was.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from math import inf

import cv2
import numpy as np

from streamer.track.picture import change_of_content
from streamer.values import Floats

SIZE = (32, 24)  # width and height of the pictures that are compared
WINDOWS_S = (0.24, 0.5, 0.9, 1.6)  # lengths of the pieces that are examined
BLENDED_S = 0.9  # in the longest of them that ends within the fade or shortly after it
MIN_CHANGE = 12.0  # grey levels of a channel that has changed between the ends of a piece
MIN_COUNT = 80  # channels of pixels that must have changed
PACE = 0.15  # greatest difference of a channel's pace from that of all
MIN_EVEN = 0.7  # share of the changed channels that keep pace
BEGUN = 1.2  # a fade may have begun when the content has changed by this many times the smallest shot change,
DONE = 1.8  # and is one when it has changed by this many times that
DOMINATED = 0.6  # share of the detail of the earlier picture that is left when the new one dominates
ENDING = 0.8  # pace after two thirds of a piece, above which the fade ends in the last third
OVER_S = 0.12  # a fade is over after this many seconds without a sign of it: not every frame gives one


@dataclass(slots=True, eq=False)
class _Fade:
    start: Floats  # the picture at its beginning
    last_sign: float  # s, media time
    reported: bool = False


class FadeDetector:
    """Detects the cross-fades of one camera, frame by frame."""

    def __init__(self, min_change: float) -> None:
        """`min_change`: smallest shot change, grey levels."""
        self._min_change = min_change
        self._times: deque[float] = deque()  # s, media time
        self._pictures: deque[Floats] = deque()
        self._fade: _Fade | None = None
        self._last_blend = -inf  # s, media time
        self.blended = False  # this frame may show two pictures at once

    def restart(self) -> None:
        """Forget the frames so far."""
        self._times.clear()
        self._pictures.clear()
        self._fade = None

    def see(self, time: float, picture: Floats) -> bool:
        """Return whether with this small picture at media time `time`, s, the new picture of a fade dominates."""
        while self._times and time - self._times[0] > WINDOWS_S[-1] + 0.1:
            self._times.popleft()
            self._pictures.popleft()
        self._times.append(time)
        self._pictures.append(np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA), np.float32))
        sign = self._sign()
        if sign is not None and sign[0] <= BLENDED_S:
            self._last_blend = time
        self.blended = time - self._last_blend <= OVER_S
        if sign is not None:
            if self._fade is None:
                self._fade = _Fade(self._pictures[self._before(sign[0])], time)
            self._fade.last_sign = time
        return self._fade is not None and self._dominates(self._fade, time, sign is not None and sign[1] > ENDING)

    def _dominates(self, fade: _Fade, time: float, ending: bool) -> bool:
        now, over = self._pictures[-1], time - fade.last_sign > OVER_S
        enough = not fade.reported and (over or ending or _detail_left(fade.start, now) < DOMINATED)
        least = DONE * self._min_change
        found = enough and change_of_content(fade.start, now, least) >= least
        fade.reported |= found
        if over and fade.reported:
            self.restart()
        elif over:
            self._fade = None
        return found

    def _sign(self) -> tuple[float, float] | None:
        """Return length in s and pace after two thirds of the shortest piece up to now that looks like a fade."""
        pictures = self._pictures
        for length_s in WINDOWS_S:
            if self._times[-1] - self._times[0] < length_s - 1e-6:
                break
            first, second, third = (self._before(length_s * part) for part in (1, 2 / 3, 1 / 3))
            if not first < second < third < len(pictures) - 1:
                continue
            early = _pace(pictures[first], pictures[second], pictures[-1])
            late = _pace(pictures[first], pictures[third], pictures[-1]) if early is not None else None
            if early is None or late is None or not (early > 0.1 and early + 0.1 < late < 0.95):
                continue
            least = BEGUN * self._min_change
            if change_of_content(pictures[first], pictures[-1], least) >= least:
                return length_s, late
        return None

    def _before(self, length_s: float) -> int:
        """Return the place of the last picture that is at least this many seconds old."""
        return max(bisect_right(self._times, self._times[-1] - length_s + 1e-3) - 1, 0)


def _pace(first: Floats, middle: Floats, last: Floats) -> float | None:
    """Return how far the change from first to last has come in the middle, 0..1; None: not everywhere equally far."""
    whole = last - first
    changed = np.abs(whole) > MIN_CHANGE
    if np.count_nonzero(changed) < MIN_COUNT:
        return None
    paces = (middle - first)[changed] / whole[changed]
    pace = float(np.clip(np.median(paces), 0, 1))
    even = np.count_nonzero(np.abs(paces - pace) < PACE)
    return pace if even >= MIN_EVEN * len(paces) else None


def _detail_left(first: Floats, now: Floats) -> float:
    """Return the share of the detail of the first picture that is left where the picture has changed."""
    changed = np.abs(now - first).sum(axis=2) > 2 * MIN_CHANGE
    if not changed.any():
        return 1.0
    before, after = ((one - cv2.blur(one, (7, 7)))[changed] for one in (first, now))
    return float((before * after).sum() / max((before * before).sum(), 1e-3))
