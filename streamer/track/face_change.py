"""Notices faces whose pixels change abruptly where the picture as a whole does not: perhaps another person.

In a wide view, a cut to another person in the same place changes too little of the picture to count as a shot change.
The track may go on, but what is known of it is in doubt, so a crop is analysed at once and the embedding decides.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from streamer.track.picture import SIZE
from streamer.values import Floats, Track

WIDER = 0.5  # face widths on each side that count, too
HIGHER, LOWER = 0.25, 1.0  # face heights above and below
TIMES_LEAST = 2.0  # a face is in doubt if it changes by this many times the smallest shot change,
TIMES_USUAL = 2.5  # and by this many times the greatest of its recent changes
HISTORY, FEW = 12, 3  # the number of these, and how many are needed before a face can be in doubt


class FaceChanges:
    """Watches the faces of one camera, frame by frame."""

    def __init__(self, min_change: float) -> None:
        """`min_change`: smallest shot change, grey levels."""
        self._least = TIMES_LEAST * min_change
        self._recent: dict[str, deque[float]] = {}  # by track id, changes in grey levels

    def see(self, tracks: Sequence[Track], frame_size: tuple[int, int], difference: Floats | None) -> set[str]:
        """Return the ids of tracks in view whose face changes abruptly.

        `difference` (48, 64): what movement does not explain, as ShotChangeDetector has it; None: nothing to compare.
        """
        seen = [track for track in tracks if track.detection is not None]
        self._recent = {track.key.id: self._recent.get(track.key.id, deque(maxlen=HISTORY)) for track in seen}
        if difference is None:
            return set()
        doubtful = set()
        for track in seen:
            change, recent = _around(difference, track.box, frame_size), self._recent[track.key.id]
            if len(recent) >= FEW and change >= max(self._least, TIMES_USUAL * max(recent)):
                doubtful.add(track.key.id)
            recent.append(change)
        return doubtful


def _around(difference: Floats, box: Floats, frame_size: tuple[int, int]) -> float:
    """Return the mean difference, in grey levels, at a face (4,) x1 y1 x2 y2 px and its surroundings."""
    (left, top, right, bottom), (across, down) = box.tolist(), (SIZE[0] / frame_size[0], SIZE[1] / frame_size[1])
    width, height = right - left, bottom - top
    columns = _cells((left - WIDER * width) * across, (right + WIDER * width) * across, SIZE[0])
    rows = _cells((top - HIGHER * height) * down, (bottom + LOWER * height) * down, SIZE[1])
    return float(np.mean(difference[rows, columns]))


def _cells(low: float, high: float, count: int) -> slice:
    """Return at least one of `count` cells."""
    first = min(max(int(low), 0), count - 1)
    return slice(first, max(min(int(np.ceil(high)), count), first + 1))
