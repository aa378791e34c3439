"""Detections of one camera, frame by frame, to followed faces.

The filter (kalman.py) says where each face should be now. Detections are matched to these places in stages, as in BYTE
(Zhang 2022): the strong ones first, then weak ones for faces seen a moment ago, then strong ones that are near enough
to be the same face. A strong detection that is left over begins a track.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from streamer import config
from streamer.kalman import BoxFilter, Doubles, Mask, Rows
from streamer.values import Detections, EndReason, Track, TrackEnd, TrackKey, TrackState

# Boxes are compared with a margin, so that small faces in slow video overlap at all (C-BIoU, Yang 2023).
MARGIN_PER_S = 3.0  # face sizes on each side, per second between the frames: 0.1 at 30 frames/s
MAX_MARGIN = 0.5  # face sizes

# The rescue looks for settled tracks that were seen so recently that their place still says something.
RESCUE_S = 0.5
RESCUE_DISTANCE = 13.28  # squared Mahalanobis distance, 99 % of chi-square with 4 degrees of freedom
RESCUE_SHIFT = 2.0  # face sizes between the centres
RESCUE_LOG_SIZE = 0.5  # |log| of the ratio of the face sizes

DUPLICATE_IOU = 0.85  # detections of one frame that overlap more are one face
EDGE = 1.0  # px, a box this close to the edge of the frame touches it
MAX_COORDINATE = 1e6  # px, no picture is larger


@dataclass(slots=True)
class _Life:
    """What is known of a track besides its motion. Times are media time, s."""

    key: TrackKey
    state: TrackState
    first_seen: float
    last_seen: float
    score: float
    detection: int | None  # row in the caller's detections, None: not seen in this frame
    hits: int = 1  # detections since birth
    parked: bool = False  # seen before a cut: its place says nothing any more


class Tracker:
    """Follows the faces of one camera.

    A track gets its key, and with it its number, at birth and never another one: what is kept of a tentative track is
    known by the same key once it counts, and ids sort by birth. The price is that published numbers have gaps where a
    tentative track came to nothing.
    """

    def __init__(self, config: config.Track, new_key: Callable[[int], TrackKey]) -> None:
        from scipy.optimize import linear_sum_assignment  # here, because it takes seconds

        self._assign: _Assign = linear_sum_assignment
        self._config = config
        self._new_key = new_key
        self._number = 0  # of the newest track
        self._time: float | None = None  # s, of the last frame
        self._filter = BoxFilter()
        self._lives: list[_Life] = []  # row by row with the filter, oldest first
        self._last_boxes: Doubles = np.zeros((0, 4))  # x1 y1 x2 y2 as detected, row by row with the filter

    def update(
        self, time: float, detections: Detections, frame_size: tuple[int, int], cut: bool = False
    ) -> tuple[list[Track], list[TrackEnd]]:
        """Take one frame, also one without detections; give the tracks that live, oldest first, and those that ended.

        `time` is media time in s, `frame_size` width and height in px; `cut`: another shot begins with this frame, so
        no track from before it goes on by motion. Detections that are not finite or have no area are ignored. Raises
        ValueError if time is not finite or does not grow.
        """
        gap = self._move_to(time, cut)
        rows, boxes, scores = _usable(detections)
        pairing = self._associate(time, gap, boxes, scores)
        self._take(time, pairing, rows, boxes, scores)
        ended = self._end_lost(time, frame_size)
        self._begin(time, pairing, rows, boxes, scores)
        return self._tracks(), ended

    def end_all(self, reason: EndReason) -> list[TrackEnd]:
        """End every track, as the source has ended. Numbers go on afterwards; time may begin anywhere."""
        ended = [] if self._time is None else [_end(life, reason, self._time) for life in self._lives]
        self._keep(np.zeros(len(self._lives), bool))
        self._time = None
        return ended

    def _move_to(self, time: float, cut: bool) -> float:
        """Predict every box for this time; gives the seconds since the last frame. After a cut no box moves on."""
        if not math.isfinite(time):
            raise ValueError(f"time {time} s is not finite")
        gap = 0.0 if self._time is None else time - self._time
        if self._time is not None and gap <= 0:
            raise ValueError(f"time {time} s does not come after {self._time} s")
        if cut or gap > self._config.cut_s:
            self._filter.stop()
            for life in self._lives:
                life.parked = True
        if gap > 0:
            self._filter.predict(gap)
        self._time = time
        return gap

    def _associate(self, time: float, gap: float, boxes: Doubles, scores: Doubles) -> "_Pairing":
        """Which track, in which of the stages, goes on with which detection."""
        limits = self._config
        predicted = self._filter.boxes()
        margin = min(MAX_MARGIN, MARGIN_PER_S * gap)
        places, found = _widen(predicted, margin), _widen(boxes, margin)

        def misfit(tracks: Rows, columns: Rows) -> Doubles:
            return 1 - iou(places[tracks], found[columns])

        def misfit_of_sure(tracks: Rows, columns: Rows) -> Doubles:
            return 1 - iou(places[tracks], found[columns]) * scores[columns]

        def improbability(tracks: Rows, columns: Rows) -> Doubles:
            distances = self._filter.distances(tracks, boxes[columns])
            return np.where(_near(predicted[tracks], boxes[columns]), distances, np.inf)

        strong = scores >= limits.high_score
        settled = self._mask(life.state is not TrackState.TENTATIVE and not life.parked for life in self._lives)
        watched = self._mask(life.state is TrackState.CONFIRMED and not life.parked for life in self._lives)
        tentative = self._mask(life.state is TrackState.TENTATIVE and not life.parked for life in self._lives)
        recent = self._mask(time - life.last_seen <= RESCUE_S for life in self._lives)
        pairing = _Pairing(len(self._lives), len(boxes), self._assign)
        pairing.match(settled, strong, misfit_of_sure, limits.max_cost)
        pairing.match(watched, ~strong, misfit, limits.max_cost_weak)
        pairing.match(settled & recent, strong, improbability, RESCUE_DISTANCE)
        pairing.match(tentative, strong, misfit_of_sure, limits.max_cost_tentative)
        pairing.match(tentative, strong, improbability, RESCUE_DISTANCE)
        return pairing

    def _mask(self, values: Iterable[bool]) -> Mask:
        return np.fromiter(values, bool, len(self._lives))

    def _take(self, time: float, pairing: "_Pairing", rows: Rows, boxes: Doubles, scores: Doubles) -> None:
        """Bring every track up to date: with its detection, or with none."""
        seen = np.flatnonzero(pairing.detection >= 0)
        columns = pairing.detection[seen]
        away = np.array([time - life.last_seen if life.detection is None else 0.0 for life in self._lives])[seen]
        back = np.flatnonzero(away)
        if len(back):
            self._filter.replay(seen[back], away[back], boxes[columns[back]])
        self._filter.update(seen, boxes[columns], scores[columns])
        self._filter.hold_size(np.flatnonzero(pairing.detection < 0))
        self._last_boxes[seen] = boxes[columns]
        for life, column in zip(self._lives, pairing.detection.tolist(), strict=True):
            if column < 0:
                life.detection = None
                if life.state is TrackState.CONFIRMED:
                    life.state = TrackState.LOST
            else:
                life.hits += 1
                life.last_seen, life.score, life.detection = time, float(scores[column]), int(rows[column])
                if life.state is not TrackState.TENTATIVE or life.hits >= self._config.confirm_hits:
                    life.state = TrackState.CONFIRMED

    def _end_lost(self, time: float, frame_size: tuple[int, int]) -> list[TrackEnd]:
        """Remove tentative tracks at the first frame without them, and others when they were lost for too long."""
        over = self._mask(
            life.detection is None
            and (life.state is TrackState.TENTATIVE or time - life.last_seen >= self._config.lost_s)
            for life in self._lives
        )
        places = self._filter.position
        ended = []
        for row in np.flatnonzero(over).tolist():
            left = _touches_edge(self._last_boxes[row], frame_size) or _outside(places[row], frame_size)
            reason = EndReason.LEFT_FRAME if left else EndReason.TIMEOUT
            ended.append(_end(self._lives[row], reason, time))
        self._keep(~over)
        return ended

    def _begin(self, time: float, pairing: "_Pairing", rows: Rows, boxes: Doubles, scores: Doubles) -> None:
        """Start a track for each strong detection that no track took, unless it shows a face for the second time."""
        born = np.flatnonzero(pairing.free & (scores >= self._config.new_score))
        born = born[~_repeats(boxes[born], boxes[~pairing.free])]
        state = TrackState.CONFIRMED if self._config.confirm_hits == 1 else TrackState.TENTATIVE
        for column in born.tolist():
            self._number += 1
            key = self._new_key(self._number)
            self._lives.append(_Life(key, state, time, time, float(scores[column]), int(rows[column])))
        self._filter.add(boxes[born])
        self._last_boxes = np.concatenate([self._last_boxes, boxes[born]])

    def _keep(self, mask: Mask) -> None:
        if mask.all():
            return
        self._filter.keep(mask)
        self._last_boxes = self._last_boxes[mask]
        self._lives = [life for life, kept in zip(self._lives, mask.tolist(), strict=True) if kept]

    def _tracks(self) -> list[Track]:
        boxes = self._filter.boxes().astype(np.float32)
        return [
            Track(life.key, life.state, box, life.score, life.detection, life.first_seen, life.last_seen)
            for life, box in zip(self._lives, boxes, strict=True)
        ]


_Assign = Callable[[Doubles], tuple[Rows, Rows]]


class _Pairing:
    """Which detection each track got so far."""

    def __init__(self, tracks: int, detections: int, assign: _Assign) -> None:
        self.detection = np.full(tracks, -1)  # per track, -1: none
        self.free = np.ones(detections, bool)
        self._assign = assign

    def match(self, tracks: Mask, detections: Mask, cost: Callable[[Rows, Rows], Doubles], limit: float) -> None:
        """Pair those of the tracks and detections that are still single, at the least cost, each pair below `limit`."""
        rows = np.flatnonzero(tracks & (self.detection < 0))
        columns = np.flatnonzero(detections & self.free)
        if not len(rows) or not len(columns):
            return
        costs = np.minimum(cost(rows, columns), limit)  # so that no forbidden pair is worth a worse allowed one
        left, right = self._assign(costs)
        allowed = costs[left, right] < limit
        self.detection[rows[left[allowed]]] = columns[right[allowed]]
        self.free[columns[right[allowed]]] = False


def _usable(detections: Detections) -> tuple[Rows, Doubles, Doubles]:
    """Row, box and score of the detections that are real boxes, in an order that does not depend on theirs."""
    boxes, scores = detections.boxes.astype(np.float64), detections.scores.astype(np.float64)
    real = (np.abs(boxes) < MAX_COORDINATE).all(axis=1) & np.isfinite(scores)
    real &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows = np.flatnonzero(real)
    rows = rows[np.lexsort((*boxes[rows].T, -scores[rows]))]  # strongest first
    return rows, boxes[rows], scores[rows]


def iou(first: Doubles, second: Doubles) -> Doubles:
    """(n, m) intersection over union of boxes (n, 4) and (m, 4)."""
    x1, y1, x2, y2 = first.T[:, :, None]
    u1, v1, u2, v2 = second.T[:, None, :]
    common = np.maximum(np.minimum(x2, u2) - np.maximum(x1, u1), 0)
    common *= np.maximum(np.minimum(y2, v2) - np.maximum(y1, v1), 0)
    iou: Doubles = common / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - common)
    return iou


def _widen(boxes: Doubles, margin: float) -> Doubles:
    """Boxes larger by `margin` of their size on each side."""
    extra = margin * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - extra, boxes[:, 2:] + extra], axis=1)


def _near(first: Doubles, second: Doubles) -> Mask:
    """(n, m) whether two boxes are of like size and not too far apart to be one face."""
    sizes, others = (np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)) for boxes in (first, second))
    middle, other = ((boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (first, second))
    shift = np.linalg.norm(middle[:, None] - other[None], axis=2)
    alike = np.abs(np.log(sizes[:, None] / others)) < RESCUE_LOG_SIZE
    near: Mask = alike & (shift < RESCUE_SHIFT * sizes[:, None])
    return near


def _repeats(boxes: Doubles, taken: Doubles) -> Mask:
    """(n,) which boxes, strongest first, show the same face as a taken box or as one before them."""
    overlap = iou(boxes, np.concatenate([taken, boxes]))
    before = np.tril(overlap, len(taken) - 1)
    return np.asarray((before > DUPLICATE_IOU).any(axis=1), bool)


def _touches_edge(box: Doubles, frame_size: tuple[int, int]) -> bool:
    near_low = box[:2] <= EDGE
    near_high = box[2:] >= np.subtract(frame_size, EDGE)
    return bool(near_low.any() or near_high.any())


def _outside(place: Doubles, frame_size: tuple[int, int]) -> bool:
    """Whether a centre (cx, cy, ...) is not in the frame."""
    return bool((place[:2] < 0).any() or (place[:2] > frame_size).any())


def _end(life: _Life, reason: EndReason, time: float) -> TrackEnd:
    return TrackEnd(life.key, reason, time, confirmed=life.state is not TrackState.TENTATIVE)
