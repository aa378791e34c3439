"""Which detection continues which track: the costs of pairs, and the cheapest pairing.

Boxes here are (4, n), x1 y1 x2 y2 in rows, because whole rows are computed at once.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from streamer.boxes import iou_of_pairs
from streamer.track.kalman import Doubles, Mask, Rows

# Distance of an unseen face from its prediction, in face sizes (the smaller side of the box): Student's t with three
# degrees of freedom and this scale, fitted to gaps in the tracks of real faces (docs/decisions/0007-tracking.md).
# Faces change direction, so the scale grows with the time unseen and with the face's speed.
SPREAD = 0.1
SPREAD_PER_S = 0.4
SPREAD_PER_SIZE = 0.4  # per face size that it may have moved
LOG_SIZE_SPREAD = 0.2  # of the size's logarithm, the same distribution
NEW_FACES = 0.02  # density of faces that appear, per square of a face's size and unit of its logarithm
T_DENSITY = 0.3676  # of Student's t with three degrees of freedom and scale 1 at its mode

_Assign = Callable[[Doubles], tuple[Rows, Rows]]


class Pairs(NamedTuple):
    """Pairs of a track and a detection that may be the same face."""

    tracks: Rows  # (p,)
    detections: Rows  # (p,)
    costs: Doubles  # (p,) lower is better; below 0 a pair is better than none


class Pairing:
    """The detection that each track has so far."""

    def __init__(self, tracks: int, detections: int, assign: _Assign) -> None:
        self.detection = np.full(tracks, -1)  # per track; -1: no detection
        self.free = np.ones(detections, bool)
        self.left = detections  # number of free ones
        self._assign = assign

    def match(self, tracks: Mask, detections: Mask, pairs: Callable[[Rows, Rows], Pairs]) -> None:
        """Pair those of the tracks and detections that are still single, with the lowest total cost."""
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
        """Accept uncontested pairs directly; give the rest to the assignment solver."""
        left, right, costs = pairs.tracks, pairs.detections, pairs.costs
        if not len(left):
            return left, right
        contested = np.bincount(left)[left] + np.bincount(right)[right] > 2
        if not np.count_nonzero(contested):
            return left, right
        some, row = _numbered(left[contested])
        others, column = _numbered(right[contested])
        table = np.zeros((len(some), len(others)))  # a pair that is not possible costs as much as no pair
        table[row, column] = costs[contested]
        chosen, partner = self._assign(table)
        real = table[chosen, partner] < 0
        sure = ~contested
        return (
            np.concatenate([left[sure], some[chosen[real]]]),
            np.concatenate([right[sure], others[partner[real]]]),
        )


def _numbered(values: Rows) -> tuple[Rows, Rows]:
    """Return the distinct values (k,), ascending, and the place (n,) of each value among them.

    Does what numpy's `unique` does, faster for few values.
    """
    there = np.zeros(int(values.max()) + 1, bool)
    there[values] = True
    return there.nonzero()[0], (np.cumsum(there) - 1)[values]


def by_overlap(first: Doubles, second: Doubles, weight: Doubles | float, most: float) -> Pairs:
    """Return pairs of boxes (4, n) and (4, m) whose 1 - IoU * weight is below `most`; weight: (m,), or one for all."""
    x1, y1, x2, y2 = first.astype(np.float32)[:, :, None]  # faster, and exact enough to find the boxes that touch
    u1, v1, u2, v2 = second.astype(np.float32)
    touching = x1 <= u2
    touching &= u1 <= x2
    touching &= y1 <= v2
    touching &= v1 <= y2
    left, right = np.divmod(touching.ravel().nonzero()[0], second.shape[1])
    overlap = iou_of_pairs(first[:, left], second[:, right])
    costs = 1 - most - overlap * (weight if isinstance(weight, float) else weight[right])
    good = costs < 0
    return Pairs(left[good], right[good], costs[good])


def by_likelihood(places: Doubles, speeds: Doubles, away: Doubles, found: Doubles) -> Pairs:
    """Return the pairs that are likelier to be one face than a new face beside an old one.

    Tracks: `places` (2, 2, n) predicted centres and sizes, px; `speeds` (2, n) possible speeds of the centres, px/s;
    `away` (n,) s since they were last seen. Detections: `found` (2, 2, m) centres and sizes. The cost is the negative
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
