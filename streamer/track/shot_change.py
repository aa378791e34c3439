"""Detect shot changes: frames after which no face is known to be where it was before.

At a cut, two small pictures of successive frames differ in more than movement, light or a turn of the camera explain
(picture.py), and by much more than the pictures just before. So people who follow each other in the same place of the
same room are told apart, and fast movement, low frame rates and a noisy picture are no cuts. Cross-fades: fade.py.
"""

from collections import deque
from math import isclose

from streamer.track.fade import FadeDetector
from streamer.track.picture import change_of_content, difference, small
from streamer.values import Bytes, Floats, Transition

TIMES_USUAL = 2.0  # a cut is at least this multiple of the greatest of recent changes,
ABOVE_USUAL = 0.4  # plus this many times the smallest change that counts
SAME_VIEW = 0.03  # frames whose aspects differ by a smaller share show the same view in another size
HISTORY_S, HISTORY = 1.0, 12  # those of this many seconds, and no more than this number
FEW, FEW_USUAL = 3, 1.2  # with fewer than this, as usual counts at least this many times the smallest that counts


class ShotChangeDetector:
    """Detects the shot changes of one camera, frame by frame."""

    def __init__(self, min_change: float) -> None:
        """`min_change`: smallest change that counts, grey levels; 255 finds none."""
        self._min_change = min_change
        self._fades = FadeDetector(min_change)
        self._last: Floats | None = None
        self._size = (0, 0)  # height and width of the last frame, px
        self.difference: Floats | None = None  # (48, 64) from the last frame of the same shot, without movement
        self._changes: deque[tuple[float, float]] = deque(maxlen=HISTORY)  # media time in s, change in grey levels

    @property
    def blended(self) -> bool:
        """Whether the newest frame may show two pictures at once, in a cross-fade."""
        return self._fades.blended

    def see(self, time: float, pixels: Bytes) -> Transition | None:
        """Return how a shot begins with this frame (h, w, 3) at media time `time`, s; None if none does.

        Instead of frames, the luma (h, w) of each may be given.
        """
        picture, last = small(pixels), self._last
        height, width = pixels.shape[:2]
        other_view = last is not None and not isclose(height * self._size[1], width * self._size[0], rel_tol=SAME_VIEW)
        self._last, self._size, self.difference = picture, (height, width), None
        if last is None:
            self._fades.see(time, picture)
            return Transition.START
        if other_view or self._is_cut(time, last, picture):
            self.difference = None
            self._changes.clear()
            self._fades.restart()
            self._fades.see(time, picture)
            return Transition.CUT
        return Transition.FADE if self._fades.see(time, picture) else None

    def _is_cut(self, time: float, last: Floats, picture: Floats) -> bool:
        while self._changes and time - self._changes[0][0] > HISTORY_S:
            self._changes.popleft()
        usual = max((before for _, before in self._changes), default=0.0)
        if len(self._changes) < FEW:
            usual = max(usual, FEW_USUAL * self._min_change)
        enough = max(self._min_change, TIMES_USUAL * usual + ABOVE_USUAL * self._min_change)
        self.difference = difference(last, picture)
        found = float(self.difference.mean())
        if found >= enough:
            found = change_of_content(last, picture, enough)
        self._changes.append((time, found))
        return found >= enough
