"""Finds places for the labels of faces: in free space beside their boxes, never over a face, and steady over time.

Pure: rectangles in, rectangles out. Each label comes in three texts, from the full one to the shortest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STEADY_S = 0.5  # media time for which a better place must be free before a label moves there
FORGET_S = 1.0  # media time after which the place of a face that is not in view is forgotten
TEXTS = 3
GAP = 2  # px between a box and its label
INSIDE = 0.15  # largest height of a label inside its own box, share of the height of the box
REACH = 8  # rings of distant places, each one label height farther

_BESIDE = 8  # places beside a box, for each text
_NEAR = TEXTS * _BESIDE
_OWN = 2  # places inside the own box
_DIRECTIONS = ((0, -1), (1, -1), (-1, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (0, 1))

Rects = NDArray[np.float64]  # (n, 4) left top right bottom, px


class Rect(NamedTuple):
    """A rectangle in pixels; right and bottom are outside."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """A label to place."""

    key: str  # of the face, the same in each frame
    box: Rect
    sizes: tuple[tuple[float, float], ...]  # width and height of each of the three texts, the full one first


@dataclass(frozen=True, slots=True)
class Place:
    """Where a label goes."""

    rect: Rect
    text: int  # which of the three
    leader: tuple[tuple[int, int], tuple[int, int]] | None  # ends of the line to its face, if it is away from it


@dataclass(slots=True)
class _Kept:
    """The place of a face in the last frame, as a number of `_candidates`."""

    place: int
    seen: float  # s, media time
    better_since: float | None = None  # s, media time since which a better place is free


class LabelPlacer:
    """Places the labels of each frame of a video."""

    def __init__(self, width: int, height: int) -> None:
        """Size of the picture, px."""
        self._size = (width, height)
        self._kept: dict[str, _Kept] = {}

    def place(self, time: float, wanted: Sequence[Wanted], taken: Sequence[Rect]) -> list[Place | None]:
        """Return the place of each label at a media time (s), None where there is no room.

        `taken` must stay free as well: faces without a label, and other text. The boxes of `wanted` are free anyway.
        """
        blocked = np.array([*(one.box for one in wanted), *taken], np.float64).reshape(-1, 4)
        labels = np.zeros((0, 4))
        places: list[Place | None] = [None] * len(wanted)
        for index in self._order(wanted):
            one = wanted[index]
            rects = _candidates(one, self._size)
            free = self._free(rects, blocked, labels, index)
            number = self._choose(one.key, time, free)
            if number is None:
                continue
            rect = Rect(*(float(side) for side in rects[number]))
            labels = np.concatenate([labels, rects[number][None]])
            far = number >= _NEAR + _OWN
            text = number // _BESIDE if number < _NEAR else TEXTS - 1
            places[index] = Place(rect, text, _leader(one.box, rect) if far else None)
        self._kept = {key: kept for key, kept in self._kept.items() if time - kept.seen <= FORGET_S}
        return places

    def _order(self, wanted: Sequence[Wanted]) -> list[int]:
        """Return the order of placing: labels that have a place, oldest first; then new ones, largest face first."""
        age = {key: number for number, key in enumerate(self._kept)}
        return sorted(
            range(len(wanted)),
            key=lambda index: (age.get(wanted[index].key, len(age)), -_area(wanted[index].box), wanted[index].key),
        )

    def _free(self, rects: Rects, blocked: Rects, labels: Rects, own: int) -> NDArray[np.bool_]:
        width, height = self._size
        free = (rects[:, 0] >= 0) & (rects[:, 1] >= 0) & (rects[:, 2] <= width) & (rects[:, 3] <= height)
        over = _overlap(rects, blocked)
        over[_NEAR : _NEAR + _OWN, own] = False
        free &= ~over.any(axis=1) & ~_overlap(rects, labels).any(axis=1)
        for number in range(_NEAR + _OWN, len(rects)):
            if free[number]:
                others = np.delete(blocked, own, axis=0)
                free[number] = not _crosses(_leader(Rect(*blocked[own]), Rect(*rects[number])), others)
                if free[number]:
                    free[number + 1 :] = False  # they are farther
                    break
        return np.asarray(free)

    def _choose(self, key: str, time: float, free: NDArray[np.bool_]) -> int | None:
        """Return the kept place while it is free, unless a better one has been free for a while."""
        if not free.any():
            self._kept.pop(key, None)
            return None
        best, kept = int(np.argmax(free)), self._kept.get(key)
        if kept is None or not free[kept.place]:
            self._kept[key] = _Kept(best, time)
            return best
        kept.seen = time
        if _rank(best) < _rank(kept.place):
            if kept.better_since is None:
                kept.better_since = time
            if time - kept.better_since >= STEADY_S:
                kept.place, kept.better_since = best, None
        else:
            kept.better_since = None
        return kept.place


def _candidates(one: Wanted, size: tuple[int, int]) -> Rects:
    """Return all places of a label (n, 4), best first; some are outside the picture or taken."""
    box, rects = one.box, []
    for width, height in one.sizes:
        rects += _beside(box, width, height, size)
    width, height = one.sizes[-1]
    inside = height <= INSIDE * (box.bottom - box.top) and width <= box.right - box.left
    for top in (box.top + GAP, box.bottom - GAP - height):
        rects.append(_at(_clamped(box.left + GAP, width, size[0]), top, width, height) if inside else _NOWHERE)
    middle = (box.left + box.right - width) / 2, (box.top + box.bottom - height) / 2
    for ring in range(1, REACH + 1):
        away_x = (box.right - box.left + width) / 2 + ring * height
        away_y = (box.bottom - box.top + height) / 2 + ring * height
        rects += [_at(middle[0] + x * away_x, middle[1] + y * away_y, width, height) for x, y in _DIRECTIONS]
    return np.array(rects, np.float64)


def _beside(box: Rect, width: float, height: float, size: tuple[int, int]) -> list[Rect]:
    """Return the places above, below, to the right and to the left, shifted along the box into the picture."""
    left, right = _clamped(box.left, width, size[0]), _clamped(box.right - width, width, size[0])
    top, bottom = _clamped(box.top, height, size[1]), _clamped(box.bottom - height, height, size[1])
    above, below = box.top - GAP - height, box.bottom + GAP
    after, before = box.right + GAP, box.left - GAP - width
    corners = [(left, above), (right, above), (left, below), (right, below)]
    corners += [(after, top), (before, top), (after, bottom), (before, bottom)]
    return [_at(x, y, width, height) for x, y in corners]


def _at(left: float, top: float, width: float, height: float) -> Rect:
    left, top = round(left), round(top)
    return Rect(left, top, left + width, top + height)


_NOWHERE = Rect(-1, -1, 0, 0)


def _clamped(start: float, length: float, limit: float) -> float:
    return max(0.0, min(start, limit - length))


def _rank(place: int) -> int:
    """Return how good a place is: by the text that it holds, then inside the own box, then away from it."""
    if place < _NEAR:
        return place // _BESIDE
    return TEXTS if place < _NEAR + _OWN else TEXTS + 1


def _area(box: Rect) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def _overlap(one: Rects, other: Rects) -> NDArray[np.bool_]:
    """Return whether each of `one` (n, 4) and each of `other` (m, 4) have pixels in common, (n, m)."""
    left, top = np.maximum(one[:, None, 0], other[:, 0]), np.maximum(one[:, None, 1], other[:, 1])
    right, bottom = np.minimum(one[:, None, 2], other[:, 2]), np.minimum(one[:, None, 3], other[:, 3])
    return np.asarray((left < right) & (top < bottom))


def _leader(box: Rect, label: Rect) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the nearest points of a label and a box."""
    ends = []
    for low, high, start, end in ((box.left, box.right, label.left, label.right), (box[1], box[3], label[1], label[3])):
        if end <= low:
            ends.append((end, low))
        elif start >= high:
            ends.append((start, high))
        else:
            middle = (max(low, start) + min(high, end)) / 2
            ends.append((middle, middle))
    (x1, x2), (y1, y2) = ends
    return (round(x1), round(y1)), (round(x2), round(y2))


def _crosses(line: tuple[tuple[int, int], tuple[int, int]], rects: Rects) -> bool:
    """Whether a line crosses one of the rectangles (n, 4)."""
    shares = np.linspace(0, 1, 33)[:, None]
    points = np.array(line[0]) * (1 - shares) + np.array(line[1]) * shares
    x, y = points[:, :1], points[:, 1:]
    return bool(((x > rects[:, 0]) & (x < rects[:, 2]) & (y > rects[:, 1]) & (y < rects[:, 3])).any())
