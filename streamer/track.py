"""Detections of one camera, frame by frame, to followed faces.

The filter (kalman.py) says where each face should be now; BYTE (Zhang 2022) matches detections to these places in
stages, strong detections first; a strong detection that is left over begins a track.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streamer import config
from streamer.kalman import BoxFilter, Doubles, Mask, Rows
from streamer.values import Detections, EndReason, Track, TrackEnd, TrackKey, TrackState

TENTATIVE, CONFIRMED, LOST = TrackState.TENTATIVE, TrackState.CONFIRMED, TrackState.LOST

# Rescue of settled tracks and strong detections that the first two stages left over.
MAX_COST_LAST_BOX = 0.7  # 1 - IoU with the box seen last: the face stopped or turned back (OC-SORT, Cao 2023)
MAX_DISTANCE = 13.28  # squared Mahalanobis, 99 % of chi-square with 4 degrees of freedom: no overlap, yet probable
MAX_SHIFT = 2.0  # face sizes between prediction and detection
MAX_LOG_SIZE = 0.5  # |log| of the ratio of the sizes
BUFFER = 0.3
DUPLICATE_IOU = 0.85  # boxes of one frame that overlap more are one face
EDGE = 1.0  # px: a box this close to the frame's edge touches it

RESCUE_LAST = True
RESCUE_MAHA = True
TENT_WEAK = False
DUP_LOST = False
BUF_MODE = "none"
SLOPE = 3
MAHA_S = 100.0
LAST_S = 100.0
TENT_MAHA = False


@dataclass(slots=True)
class _Life:
    """What is known of a track besides its motion."""

    key: TrackKey
    state: TrackState
    first_seen: float
    last_seen: float
    score: float
    detection: int | None
    hits: int = 1  # detections in a row since birth
    parked: bool = False  # seen before a cut: its place means nothing any more


class Tracker:
    def __init__(self, config: config.Track, new_key: Callable[[int], TrackKey]) -> None:
        from scipy.optimize import linear_sum_assignment  # here, because it takes seconds

        self._solve = linear_sum_assignment
        self._config = config
        self._new_key = new_key
        self._number = 0  # of the newest track
        self._time: float | None = None  # s, of the last frame
        self._filter = BoxFilter()
        self._lives: list[_Life] = []  # row by row with the filter
        self._last_boxes: Doubles = np.zeros((0, 4))  # as detected, row by row

    def update(
        self, time: float, detections: Detections, frame_size: tuple[int, int]
    ) -> tuple[list[Track], list[TrackEnd]]:
        self._move(time)
        rows, boxes, scores = _usable(detections)
        pairing = self._associate(boxes, scores)
        self._take(time, pairing, rows, boxes, scores)
        self._begin(time, pairing.free & (scores >= self._config.new_score), rows, boxes, scores)
        ended = self._remove(time, frame_size)
        return self._tracks(), ended

    def end_all(self, reason: EndReason) -> list[TrackEnd]:
        ended = [_end(life, reason, self._time or 0.0) for life in self._lives]
        self._keep(np.zeros(len(self._lives), bool))
        self._time = None
        return ended

    def _move(self, time: float) -> None:
        if self._time is not None:
            if not time > self._time:
                raise ValueError(f"time {time} s does not follow {self._time} s")
            self._dt = time - self._time
            if time - self._time > self._config.cut_s:
                for life in self._lives:
                    life.parked = True
                self._filter.stop()
            self._filter.predict(time - self._time)
        self._time = time

    def _associate(self, boxes, scores):
        predicted = self._filter.boxes()
        state = np.array([life.state.value for life in self._lives], dtype="U9")
        movable = np.array([not life.parked for life in self._lives], bool)
        tentative = (state == "TENTATIVE") & movable
        settled = (state != "TENTATIVE") & movable
        strong = scores >= self._config.high_score
        pairing = _Pairing(len(self._lives), len(boxes), self._solve)
        cfg = self._config
        if BUF_MODE == "none":
            e = 0.0
        elif BUF_MODE == "dt":
            e = min(BUFFER, SLOPE * self._dt) if len(self._lives) else 0
        else:
            e = float(BUF_MODE)

        def overlap_score(r, c):
            return 1 - iou(widen(predicted[r], e), widen(boxes[c], e)) * scores[c]

        def overlap(r, c):
            return 1 - iou(widen(predicted[r], e), widen(boxes[c], e))

        pairing.match(settled, strong, overlap_score, cfg.max_cost)
        pairing.match((state == "CONFIRMED") & movable, ~strong, overlap, cfg.max_cost_weak)
        if RESCUE_LAST:
            ok = np.array([self._time - life.last_seen <= LAST_S for life in self._lives], bool)
            pairing.match(settled & ok, strong, lambda r, c: 1 - iou(self._last_boxes[r], boxes[c]), MAX_COST_LAST_BOX)
        if RESCUE_MAHA:

            def maha(r, c):
                d = self._filter.distances(boxes)[np.ix_(r, c)]
                pr, bx = predicted[r][:, None], boxes[c][None]
                sp = np.sqrt((pr[..., 2] - pr[..., 0]) * (pr[..., 3] - pr[..., 1]))
                sb = np.sqrt((bx[..., 2] - bx[..., 0]) * (bx[..., 3] - bx[..., 1]))
                shift = np.hypot(pr[..., 0] + pr[..., 2] - bx[..., 0] - bx[..., 2], pr[..., 1] + pr[..., 3] - bx[..., 1] - bx[..., 3]) / 2
                return np.where((np.abs(np.log(sp / sb)) < MAX_LOG_SIZE) & (shift < MAX_SHIFT * sp), d, MAX_DISTANCE)

            ok = np.array([self._time - life.last_seen <= MAHA_S for life in self._lives], bool)
            pairing.match(settled & ok, strong, maha, MAX_DISTANCE)
        pairing.match(tentative, strong if not TENT_WEAK else np.ones_like(strong), overlap_score, cfg.max_cost_tentative)
        if TENT_MAHA:
            pairing.match(tentative, strong, maha, MAX_DISTANCE)
        return pairing

    def _take(self, time, pairing, rows, boxes, scores):
        seen = np.flatnonzero(pairing.detection >= 0)
        chosen = pairing.detection[seen]
        self._filter.update(seen, boxes[chosen], scores[chosen])
        self._last_boxes[seen] = boxes[chosen]
        for life in self._lives:
            life.detection = None
        for row, column in zip(seen.tolist(), chosen.tolist(), strict=True):
            life = self._lives[row]
            life.hits += 1
            life.last_seen, life.score, life.detection = time, float(scores[column]), int(rows[column])
            if life.state is not TENTATIVE or life.hits >= self._config.confirm_hits:
                life.state = CONFIRMED
        missed = [r for r, life in enumerate(self._lives) if life.detection is None]
        for r in missed:
            if self._lives[r].state is CONFIRMED:
                self._lives[r].state = LOST
        self._filter.hold_size(missed)

    def _begin(self, time, births, rows, boxes, scores):
        seen = np.array([life.detection is not None for life in self._lives], bool)
        births = np.flatnonzero(births)
        if len(births) and seen.any():
            births = births[iou(boxes[births], self._last_boxes[seen]).max(1) < DUPLICATE_IOU]
        state = CONFIRMED if self._config.confirm_hits == 1 else TENTATIVE
        for column in births.tolist():
            self._number += 1
            self._lives.append(_Life(self._new_key(self._number), state, time, time, float(scores[column]), int(rows[column])))
        self._filter.add(boxes[births])
        self._last_boxes = np.concatenate([self._last_boxes, boxes[births]])

    def _remove(self, time, frame_size):
        keep = np.ones(len(self._lives), bool)
        ended = []
        boxes = self._filter.boxes()
        for r, life in enumerate(self._lives):
            if life.detection is None and (life.state is TENTATIVE or time - life.last_seen > self._config.lost_s):
                keep[r] = False
                ended.append(_end(life, EndReason.TIMEOUT, time))
        if DUP_LOST:
            x = iou(boxes, boxes)
            for i, j in zip(*np.nonzero(np.triu(x, 1) > DUPLICATE_IOU)):
                if keep[i] and keep[j]:
                    keep[j] = False
                    ended.append(_end(self._lives[j], EndReason.MERGED, time))
        else:
            seen = np.array([life.detection is not None for life in self._lives], bool)
            x = iou(boxes, boxes) * seen * seen[:, None]
            for i, j in zip(*np.nonzero(np.triu(x, 1) > DUPLICATE_IOU)):
                if keep[i] and keep[j]:
                    keep[j] = False
                    ended.append(_end(self._lives[j], EndReason.MERGED, time))
        self._keep(keep)
        return ended

    def _keep(self, mask):
        if mask.all():
            return
        self._filter.keep(mask)
        self._last_boxes = self._last_boxes[mask]
        self._lives = [life for life, kept in zip(self._lives, mask.tolist(), strict=True) if kept]

    def _tracks(self):
        boxes = self._filter.boxes().astype(np.float32)
        return [
            Track(l.key, l.state, b, l.score, l.detection, l.first_seen, l.last_seen)
            for l, b in zip(self._lives, boxes, strict=True)
        ]


class _Pairing:
    def __init__(self, n, m, solve):
        self.detection = np.full(n, -1)
        self.free = np.ones(m, bool)
        self._solve = solve

    def match(self, tracks, detections, cost, limit):
        r = np.flatnonzero(tracks & (self.detection < 0))
        c = np.flatnonzero(detections & self.free)
        if not len(r) or not len(c):
            return
        costs = np.minimum(cost(r, c), limit)
        i, j = self._solve(costs)
        good = costs[i, j] < limit
        self.detection[r[i[good]]] = c[j[good]]
        self.free[c[j[good]]] = False


def _end(life, reason, time):
    return TrackEnd(life.key, reason, time, life.state is not TENTATIVE)


def widen(boxes, e):
    if e == 0:
        return boxes
    s = (boxes[:, 2:] - boxes[:, :2]) * e
    return np.concatenate([boxes[:, :2] - s, boxes[:, 2:] + s], 1)


def iou(a, b):
    area_a, area_b = np.prod(a[:, 2:] - a[:, :2], axis=1), np.prod(b[:, 2:] - b[:, :2], axis=1)
    size = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = np.prod(np.maximum(size, 0), axis=2)
    return common / (area_a[:, None] + area_b - common)


def _usable(d):
    boxes = d.boxes.astype(np.float64)
    scores = d.scores.astype(np.float64)
    ok = np.isfinite(boxes).all(1) & np.isfinite(scores) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows = np.flatnonzero(ok)
    order = np.lexsort((*boxes[rows].T, -scores[rows]))
    rows = rows[order]
    return rows, boxes[rows], scores[rows]
