"""Track the faces of one camera through its frames.

The filter (kalman.py) predicts where each face should be now. Detections are matched to these positions in stages, as
in BYTE (Zhang 2022): strong ones first, then weak ones for faces seen in the last frame, then strong ones that are more
likely the same face than a new one (association.py). A strong detection that remains starts a track.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from streamer import config
from streamer.boxes import iou
from streamer.track.association import Pairing, Pairs, by_likelihood, by_overlap
from streamer.track.kalman import BoxFilter, Doubles, Mask, Rows, corners, measure
from streamer.values import Detections, EndReason, Flags, Floats, Outlook, Track, TrackEnd, TrackKey, TrackState

# Boxes are enlarged before they are compared, so that small faces at low frame rates overlap (C-BIoU, Yang 2023).
MARGIN_PER_S = 4.5  # face sizes on each side, per second between the frames: 0.15 at 30 frames/s
MAX_MARGIN = 0.5  # face sizes

DUPLICATE_IOU = 0.85  # detections of one frame that overlap more are one face
REPLAY_S = 0.15  # absences of at least this length are replayed; shorter ones do not change the velocity
EDGE = 1.0  # px, a box this close to the edge of the frame touches it
SAME_VIEW = 0.03  # frames whose aspects differ by a smaller share show the same view in another size
MAX_COORDINATE = 1e6  # px, no image is larger

STATES = (TrackState.TENTATIVE, TrackState.CONFIRMED, TrackState.LOST)
TENTATIVE, CONFIRMED, LOST = range(len(STATES))

# The state of a track besides its motion. Times are media time, s.
LIFE = np.dtype(
    [
        ("state", np.int8),  # index in STATES
        ("parked", np.bool_),  # seen before a gap or in another view: its position no longer means anything
        ("hits", np.int64),  # detections since birth
        ("first_seen", np.float64),
        ("last_seen", np.float64),
        ("present", np.float64),  # until then nothing showed that the face had gone; later than last_seen if not looked
        ("score", np.float64),
        ("detection", np.int64),  # row in the caller's detections; -1 if not seen in this frame
        ("box", np.float64, 4),  # x1 y1 x2 y2 of the last detection
    ]
)


class Tracker:
    """Tracks the faces of one camera.

    A track gets its key, and with it its number, at birth and keeps it: data of a tentative track stays valid when it
    is confirmed, and ids sort by birth. In return, published numbers have gaps for tentative tracks that were dropped.
    """

    def __init__(self, config: config.Track, new_key: Callable[[int], TrackKey]) -> None:
        from scipy.optimize import linear_sum_assignment  # here, because it takes seconds

        self._assign = linear_sum_assignment
        self._config = config
        self._new_key = new_key
        self._number = 0  # of the newest track
        self._time: float | None = None  # s, of the last frame
        self._looked: float | None = None  # s, of the last frame that was searched for faces
        self._frame_size: tuple[int, int] | None = None  # of the last frame
        self._filter = BoxFilter()
        self._keys: list[TrackKey] = []  # row by row with the filter, oldest first
        self._lives: NDArray[np.void] = np.zeros(0, LIFE)  # the same rows

    def update(
        self,
        time: float,
        detections: Detections,
        frame_size: tuple[int, int],
        new_shot: bool = False,
        looked: Floats | None = None,
    ) -> tuple[list[Track], list[TrackEnd]]:
        """Process one frame, with or without detections; return the live tracks, oldest first, and the ended ones.

        `time` is media time in s, `frame_size` width and height in px. With `new_shot` a new shot begins at this frame,
        and all earlier tracks end. After a frame of another aspect they are not continued by motion. In a frame of
        another size and the same aspect the tracks go on. Detections that are not finite or have no area are ignored.
        `looked` (n, 4) x1 y1 x2 y2 px: the parts of the frame that were searched, if not all of it was; tracks whose
        predicted centre is elsewhere coast. Raises ValueError if `time` is not finite or does not increase.
        """
        new_view = self._rescale(frame_size)
        self._move_to(time, new_view)
        gap = 0.0 if self._looked is None else time - self._looked
        self._looked = time
        before = self._end_shot(time) if new_shot else []
        searched = self._inside(looked)
        rows, boxes, scores = _usable(detections)
        found = measure(boxes)
        pairing = self._associate(time, gap, found, scores)
        self._take(time, pairing.detection, rows, boxes, found, scores, searched)
        ended = self._end_lost(time, frame_size, searched)
        if pairing.left:
            self._begin(time, pairing.free, rows, boxes, scores)
        return self._tracks(), before + ended

    def coast(self, time: float, frame_size: tuple[int, int], still: Flags | None = None) -> list[Track]:
        """Pass over a frame that was not searched for faces; return the live tracks where they should be, oldest first.

        Nothing counts as missed. `still` (n,) marks tracks at which nothing in the picture has changed since they were
        last seen: they stay where they were then. Raises ValueError as `update` does.
        """
        self._move_to(time, self._rescale(frame_size))
        if still is not None and still.any():
            self._filter.hold(np.flatnonzero(still & ~self._lives["parked"] & (self._lives["state"] != LOST)))
        lives = self._lives
        lives["detection"] = -1
        lives["present"][lives["state"] != LOST] = time
        return self._tracks()

    @property
    def ids(self) -> list[str]:
        """Return the ids of the live tracks, oldest first."""
        return [key.id for key in self._keys]

    def outlook(self, time: float) -> Outlook:
        """Return what is known of the live tracks at a time (s) not before the last frame's; nothing changes."""
        ahead = 0.0 if self._time is None else time - self._time
        boxes, drift = self._filter.ahead(max(0.0, ahead))
        lives = self._lives
        return Outlook(
            boxes.astype(np.float32),
            drift.astype(np.float32),
            (time - lives["last_seen"]).astype(np.float32),
            lives["state"] != TENTATIVE,
            lives["state"] == LOST,
        )

    def end_all(self, reason: EndReason) -> list[TrackEnd]:
        """End every track at the end of the source. Afterwards numbers continue, and time may start anywhere."""
        ended = [] if self._time is None else [self._end(row, reason, self._time) for row in range(len(self._keys))]
        self._keep(np.zeros(len(self._keys), bool))
        self._time = self._looked = None
        return ended

    def _end_shot(self, time: float) -> list[TrackEnd]:
        """End every track: a face where another was before the shot change need not be the same."""
        ended = [self._end(row, EndReason.LEFT_FRAME, time) for row in range(len(self._keys))]
        self._keep(np.zeros(len(self._keys), bool))
        return ended

    def _rescale(self, frame_size: tuple[int, int]) -> bool:
        """Carry all boxes over into a frame of this size; return whether its aspect shows that the view is another."""
        earlier, self._frame_size = self._frame_size, frame_size
        if earlier is None or earlier == frame_size:
            return False
        across, down = frame_size[0] / earlier[0], frame_size[1] / earlier[1]
        self._filter.scale(across, down)
        self._lives["box"] *= (across, down, across, down)
        return not math.isclose(across, down, rel_tol=SAME_VIEW)

    def _inside(self, looked: Floats | None) -> Mask:
        """Mark the tracks whose centre is in one of the parts (n, 4) of the frame; None: in the frame."""
        if looked is None:
            return np.ones(len(self._keys), bool)
        x, y = self._filter.places()[0]
        left, top, right, bottom = (side[:, None] for side in looked.T)
        return np.asarray(((x >= left) & (x <= right) & (y >= top) & (y <= bottom)).any(axis=0), bool)

    def _move_to(self, time: float, new_view: bool) -> None:
        """Predict every box for this time. Another view stops all boxes."""
        if not math.isfinite(time):
            raise ValueError(f"time {time} s is not finite")
        gap = 0.0 if self._time is None else time - self._time
        if self._time is not None and gap <= 0:
            raise ValueError(f"time {time} s does not come after {self._time} s")
        if new_view or gap > self._config.max_gap_s:
            self._filter.stop()
            self._lives["parked"] = True
        if gap > 0:
            self._filter.predict(gap)
        self._time = time

    def _associate(self, time: float, gap: float, found: Doubles, scores: Doubles) -> Pairing:
        """Match tracks to detections, stage by stage; `found` (2, 2, m) as returned by `measure`."""
        limits, states = self._config, self._lives["state"]
        pairing = Pairing(len(states), len(scores), self._assign)
        if not len(states) or not len(scores):
            return pairing
        margin = min(MAX_MARGIN, MARGIN_PER_S * gap)
        places = self._filter.places()
        wide, wide_found = corners(places, margin), corners(found, margin)

        def overlap_of_sure(tracks: Rows, columns: Rows) -> Pairs:
            return by_overlap(wide[:, tracks], wide_found[:, columns], scores[columns], limits.max_cost)

        def overlap(tracks: Rows, columns: Rows) -> Pairs:
            return by_overlap(wide[:, tracks], wide_found[:, columns], 1.0, limits.max_cost_weak)

        def likelihood(tracks: Rows, columns: Rows) -> Pairs:
            away = time - self._lives["last_seen"][tracks]
            speeds = self._filter.speeds()[:, tracks]
            return by_likelihood(places[..., tracks], speeds, away, found[..., columns])

        strong = scores >= limits.high_score
        here = ~self._lives["parked"]
        settled = here & (states != TENTATIVE)
        pairing.match(settled, strong, overlap_of_sure)
        if pairing.left:
            pairing.match(here & (states == CONFIRMED), ~strong, overlap)
            pairing.match(settled, strong, likelihood)
            pairing.match(here & ~settled, strong, likelihood)
        return pairing

    def _take(
        self,
        time: float,
        detection: Rows,
        rows: Rows,
        boxes: Doubles,
        found: Doubles,
        scores: Doubles,
        searched: Mask,
    ) -> None:
        """Update every track with its detection, or as not seen if it was `searched` for."""
        lives = self._lives
        (seen,) = (detection >= 0).nonzero()
        columns = detection[seen]
        back = (lives["detection"][seen] < 0) & (time - lives["last_seen"][seen] >= REPLAY_S)
        if np.count_nonzero(back):
            returned = seen[back]
            self._filter.replay(returned, time - lives["last_seen"][returned], boxes[columns[back]])
        every = len(seen) == len(lives)
        self._filter.correct(None if every else seen, found[..., columns], scores[columns])
        if not every:
            (missed,) = (detection < 0).nonzero()
            self._filter.hold_size(missed)
            lives["detection"][missed] = -1
            states = lives["state"]
            gone = missed[searched[missed]]
            states[gone[states[gone] == CONFIRMED]] = LOST
            lives["present"][missed[~searched[missed] & (states[missed] != LOST)]] = time
        there = slice(None) if every else seen
        hits = lives["hits"][there] + 1
        counts = (hits >= self._config.confirm_hits) | (lives["state"][there] != TENTATIVE)
        lives["hits"][there] = hits
        lives["state"][there] = np.where(counts, CONFIRMED, TENTATIVE)
        lives["last_seen"][there] = lives["present"][there] = time
        lives["score"][there] = scores[columns]
        lives["detection"][there] = rows[columns]
        lives["box"][there] = boxes[columns]

    def _end_lost(self, time: float, frame_size: tuple[int, int], searched: Mask) -> list[TrackEnd]:
        """Remove tentative tracks that were missed once, and others that have been lost for `lost_s`."""
        lives = self._lives
        missed = (lives["detection"] < 0) & searched
        if not np.count_nonzero(missed):
            return []
        late = time - lives["present"] >= self._config.lost_s
        over = missed & (late | (lives["state"] == TENTATIVE))
        if not np.count_nonzero(over):
            return []
        places, ended = self._filter.position, []
        for row in np.flatnonzero(over).tolist():
            left = _touches_edge(lives["box"][row], frame_size) or _outside(places[row], frame_size)
            ended.append(self._end(row, EndReason.LEFT_FRAME if left else EndReason.TIMEOUT, time))
        self._keep(~over)
        return ended

    def _begin(self, time: float, free: Mask, rows: Rows, boxes: Doubles, scores: Doubles) -> None:
        """Start a track for each unmatched strong detection, unless it repeats a face of this frame."""
        (born,) = (free & (scores >= self._config.new_score)).nonzero()
        if not len(born):
            return
        born = born[
            np.lexsort((*boxes[born].T, -scores[born]))
        ]  # highest score first, independent of the input's order
        born = born[~_repeats(boxes[born], boxes[~free])]
        state = CONFIRMED if self._config.confirm_hits == 1 else TENTATIVE
        lives = np.zeros(len(born), LIFE)
        lives["state"], lives["hits"], lives["score"] = state, 1, scores[born]
        lives["first_seen"] = lives["last_seen"] = lives["present"] = time
        lives["detection"], lives["box"] = rows[born], boxes[born]
        self._filter.add(boxes[born])
        self._lives = np.concatenate([self._lives, lives])
        for _ in born:
            self._number += 1
            self._keys.append(self._new_key(self._number))

    def _keep(self, mask: Mask) -> None:
        self._filter.keep(mask)
        self._lives = self._lives[mask]
        self._keys = [key for key, kept in zip(self._keys, mask.tolist(), strict=True) if kept]

    def _tracks(self) -> list[Track]:
        lives = self._lives
        columns = (
            self._keys,
            map(STATES.__getitem__, lives["state"].tolist()),
            self._filter.boxes().astype(np.float32),
            lives["score"].tolist(),
            [None if row < 0 else row for row in lives["detection"].tolist()],
            lives["first_seen"].tolist(),
            lives["last_seen"].tolist(),
        )
        return list(map(Track._make, zip(*columns, strict=True)))

    def _end(self, row: int, reason: EndReason, time: float) -> TrackEnd:
        confirmed = bool(self._lives["state"][row] != TENTATIVE)
        return TrackEnd(self._keys[row], reason, time, confirmed)


def _usable(detections: Detections) -> tuple[Rows, Doubles, Doubles]:
    """Return row, box and score of the valid detections."""
    boxes, scores = detections.boxes.astype(np.float64), detections.scores.astype(np.float64)
    good = np.abs(boxes) < MAX_COORDINATE
    good[:, :2] &= boxes[:, 2:] > boxes[:, :2]
    known = np.isfinite(scores)
    if np.count_nonzero(good) == good.size and np.count_nonzero(known) == len(known):
        return np.arange(len(boxes)), boxes, scores
    real = good.all(axis=1) & known
    return np.flatnonzero(real), boxes[real], scores[real]


def _repeats(boxes: Doubles, taken: Doubles) -> Mask:
    """Mark the boxes (n,), highest score first, that repeat a taken box or one before them."""
    overlap = iou(boxes, np.concatenate([taken, boxes]))
    before = np.tril(overlap, len(taken) - 1)
    return np.asarray((before > DUPLICATE_IOU).any(axis=1), bool)


def _touches_edge(box: Doubles, frame_size: tuple[int, int]) -> bool:
    near_low = box[:2] <= EDGE
    near_high = box[2:] >= np.subtract(frame_size, EDGE)
    return bool(near_low.any() or near_high.any())


def _outside(place: Doubles, frame_size: tuple[int, int]) -> bool:
    """Return whether a centre (cx, cy, ...) lies outside the frame."""
    return bool((place[:2] < 0).any() or (place[:2] > frame_size).any())
