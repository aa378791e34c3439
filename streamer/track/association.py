"""Which track goes on with which detection: the costs of pairs, and the cheapest pairing. Boxes here are (4, n), x1 y1
x2 y2 in rows, because whole rows are computed at once.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from streamer.track.kalman import Doubles, Mask, Rows

# How far from its prediction a face is that was not seen for a while, in face sizes (the smaller side of the box):
# Student's t with three degrees of freedom of this scale. Fitted to the gaps of real faces' tracks
# (docs/decisions/0007-tracking.md); faces change their minds, so it grows with the time and with how fast they are.
SPREAD = 0.1
SPREAD_PER_S = 0.4
SPREAD_PER_SIZE = 0.4  # per face size that it may have moved
LOG_SIZE_SPREAD = 0.2  # of the size's logarithm, the same distribution
NEW_FACES = 0.02  # how many faces appear anew, per square of a face's size and unit of its logarithm
T_DENSITY = 0.3676  # at its mode, of Student's t with three degrees of freedom and scale 1

_Assign = Callable[[Doubles], tuple[Rows, Rows]]


class Pairs(NamedTuple):
    """Pairs of a track and a detection that may be one face."""

    tracks: Rows  # (p,)
    detections: Rows  # (p,)
    costs: Doubles  # (p,) the less the better, below 0: better a pair than none


class Pairing:
    """Which detection each track got so far."""

    def __init__(self, tracks: int, detections: int, assign: _Assign) -> None:
        self.detection = np.full(tracks, -1)  # per track, -1: none
        self.free = np.ones(detections, bool)
        self.left = detections  # how many are free
        self._assign = assign

    def match(self, tracks: Mask, detections: Mask, pairs: Callable[[Rows, Rows], Pairs]) -> None:
        """Pair those of the tracks and detections that are still single, so that the costs' sum is least."""
        if not self.left:
            return
        (columns,) = (detections & self.free).nonzero()
        (rows,) = (tracks & (self.detection < 0)).nonzero()
        if not len(rows) or not len(columns):
            return
        left, right = self._cheapest(pairs(rows, columns))
        self.detection[rows[left]] = columns[right]
        self.free[columns[right]] = False
        self.left -= len(left)

    def _cheapest(self, pairs: Pairs) -> tuple[Rows, Rows]:
        """Who has nobody else is paired at once; only the rest is a question of assignment."""
        left, right, costs = pairs.tracks, pairs.detections, pairs.costs
        if not len(left):
            return left, right
        contested = np.bincount(left)[left] + np.bincount(right)[right] > 2
        if not np.count_nonzero(contested):
            return left, right
        some, row = _numbered(left[contested])
        others, column = _numbered(right[contested])
        table = np.zeros((len(some), len(others)))  # who is no pair costs as much as none
        table[row, column] = costs[contested]
        chosen, partner = self._assign(table)
        real = table[chosen, partner] < 0
        sure = ~contested
        return (
            np.concatenate([left[sure], some[chosen[real]]]),
            np.concatenate([right[sure], others[partner[real]]]),
        )


def _numbered(values: Rows) -> tuple[Rows, Rows]:
    """The different values (k,), ascending, and which of them each one (n,) is: numpy's `unique`, sooner for few."""
    there = np.zeros(int(values.max()) + 1, bool)
    there[values] = True
    return there.nonzero()[0], (np.cumsum(there) - 1)[values]


def by_overlap(first: Doubles, second: Doubles, weight: Doubles | float, most: float) -> Pairs:
    """Pairs of boxes (4, n) and (4, m) whose 1 - IoU * weight is below `most`; weight is one of each (m,), or 1."""
    x1, y1, x2, y2 = first.astype(np.float32)[:, :, None]  # less exact and faster: it only tells who can overlap
    u1, v1, u2, v2 = second.astype(np.float32)
    touching = x1 <= u2
    touching &= u1 <= x2
    touching &= y1 <= v2
    touching &= v1 <= y2
    left, right = np.divmod(touching.ravel().nonzero()[0], second.shape[1])
    a, b = first[:, left], second[:, right]
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = sides[0] * sides[1]
    (aw, ah), (bw, bh) = a[2:] - a[:2], b[2:] - b[:2]
    overlap = common / (aw * ah + bw * bh - common)
    costs = 1 - most - overlap * (weight if isinstance(weight, float) else weight[right])
    good = costs < 0
    return Pairs(left[good], right[good], costs[good])


def by_likelihood(places: Doubles, speeds: Doubles, away: Doubles, found: Doubles) -> Pairs:
    """Pairs that are likelier one face than a new one beside an old one.

    Tracks: `places` (2, 2, n) predicted centres and sizes, px; `speeds` (2, n) how fast the centres may be, px/s;
    `away` (n,) s since they were seen. Detections: `found` (2, 2, m) centres and sizes. The cost is the negative
    logarithm of the ratio of the two densities.
    """
    width, height = places[1, :, :, None]
    size, area = np.minimum(width, height), width * height
    log_size = 0.5 * np.log(found[1, 0] * found[1, 1] / area) / LOG_SIZE_SPREAD
    costs = 2 * np.log1p(log_size**2 / 3)
    base = math.log(NEW_FACES * LOG_SIZE_SPREAD / T_DENSITY**3)
    dt = away[:, None]
    for axis in (0, 1):
        spread = SPREAD + dt * (SPREAD_PER_S + SPREAD_PER_SIZE * speeds[axis, :, None] / size)
        off = (found[0, axis] - places[0, axis, :, None]) / size
        costs += np.log(spread) + 2 * np.log1p((off / spread) ** 2 / 3)
    costs += base
    left, right = np.nonzero(costs < 0)
    return Pairs(left, right, costs[left, right])


def iou(first: Doubles, second: Doubles) -> Doubles:
    """(n, m) intersection over union of boxes (n, 4) and (m, 4) x1 y1 x2 y2."""
    x1, y1, x2, y2 = first.T[:, :, None]
    u1, v1, u2, v2 = second.T[:, None, :]
    common = np.maximum(np.minimum(x2, u2) - np.maximum(x1, u1), 0)
    common *= np.maximum(np.minimum(y2, v2) - np.maximum(y1, v1), 0)
    iou: Doubles = common / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - common)
    return iou
