"""What is known of one camera, and what a look at its newest frame would gain."""

from dataclasses import dataclass

import numpy as np

from streamer import config
from streamer.attention import gain
from streamer.attention.learnt import Arrivals, Surprise
from streamer.attention.looks import Candidate, Look, LookReason, SkipReason, whole
from streamer.attention.motion import MotionMap
from streamer.attention.places import cells_of, enlarged, means, spans
from streamer.attention.regions import MAX_REGIONS, joined, moving_regions, share, track_regions
from streamer.values import Flags, Floats, Outlook

DUE = 0.9  # share of `full_look_s` after which a look at the whole frame is wanted; after URGENT it may not wait
URGENT = 0.95
LONG = 0.5  # share of `longest_gap_s` after which a wanted look may not wait longer
INCLUDED = 0.25  # gain from which a place is part of a look that others have caused
WHOLE = 0.5  # share of the frame from which regions cost as much as all of it
MARGIN = 0.25  # face sizes around a face, in which motion may be its own
NEAR = 0.5  # face sizes around a known face, in which motion is no other face
STIRRED = 2.0  # a face has stirred fully if one over this share of its cells has moved
BODY = np.array([1.0, 0.5, 1.0, 5.0], np.float32)  # face sizes to the left, top, right and bottom of a face
BODY_PROMISE = 0.25  # of another face in front of or beside the body of a known face
FRUITLESS_S = 5.0  # time constant with which a place that moves without a face promises less
RECOVER_S = 30.0  # time constant with which it recovers
MIN_PROMISE = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """What one camera wants for its newest frame."""

    gain: float  # of the look, see gain.py; from 1 on it is wanted
    look: Look
    overdue: float  # share of the time that it may wait; above 1 it is late
    urgent: bool  # it may not wait longer
    otherwise: SkipReason  # why the frame is not looked at, if the gain is below 1


class Camera:
    """One camera in one epoch. Times are `now` of the caller, s."""

    def __init__(self, settings: config.Attention, effort: float, epoch: int, shape: tuple[int, ...]) -> None:
        """`effort`: factor of the gain. `shape`: rows and columns of the small pictures."""
        self._settings, self._effort, self._epoch = settings, effort, epoch
        self._motion = MotionMap(shape)
        self._arrivals, self._surprise = Arrivals(), Surprise()
        self._promise: Floats = np.ones(self._motion.grid, np.float32)  # 0..1, of a face where a cell moves
        self._looked_at: np.ndarray | None = None  # s, per cell; None: never
        self._whole_at = 0.0  # s
        self._waits_since: float | None = None  # s, since when a look has been wanted
        self._candidate: Candidate | None = None
        self._faces: Flags = np.zeros(self._motion.grid, np.bool_)  # cells with known faces
        self._now = 0.0
        self.still: Flags | None = None  # (n,) tracks of the newest frame in whose place nothing has moved

    def fits(self, candidate: Candidate) -> bool:
        """Return whether a frame continues this epoch, with the same shape of picture."""
        return candidate.preview.epoch == self._epoch and candidate.preview.luma.shape == self._motion.shape

    def wish(self, candidate: Candidate, now: float) -> Wish:
        """See the newest frame and return what a look at it gains."""
        size, outlook, motion = candidate.preview.size, candidate.outlook, self._motion
        self._faces = cells_of(enlarged(outlook.boxes[~outlook.lost], NEAR), size, motion.grid)
        motion.see(now, candidate.preview.luma, self._faces)
        self._promise += (1 - self._promise) * np.float32(1 - np.exp(-max(0.0, now - self._now) / RECOVER_S))
        self._candidate, self._now = candidate, now
        stirred = np.minimum(1, STIRRED * self._means_near(outlook, motion.moving))
        self.still = stirred == 0
        due = (now - self._whole_at) / self._settings.full_look_s
        wanted, look, otherwise = self._wanted(candidate, stirred, due)
        if wanted < 1:
            self._waits_since = None
        waited = 0.0 if self._waits_since is None else (now - self._waits_since) / self._settings.longest_gap_s
        urgent = self._looked_at is None or candidate.cut or due >= URGENT or waited >= LONG
        return Wish(wanted, look, max(due, waited), urgent, otherwise)

    def waits(self) -> None:
        """Note that a wanted look has not been granted."""
        if self._waits_since is None:
            self._waits_since = self._now

    def looked(self, look: Look, after: Outlook, new_faces: int) -> None:
        """Learn from the newest frame, which has been looked at."""
        assert self._candidate is not None
        size, now, motion = self._candidate.preview.size, self._now, self._motion
        cells = np.ones(motion.grid, np.bool_) if look.whole else cells_of(look.regions, size, motion.grid)
        if self._looked_at is None:
            self._looked_at = np.full(motion.grid, now)
        faces = cells_of(enlarged(after.boxes[~after.lost], NEAR), size, motion.grid)
        fruitless = motion.moving & cells & ~faces
        passed = now - self._looked_at[fruitless]
        self._promise[fruitless] = np.maximum(MIN_PROMISE, self._promise[fruitless] * np.exp(-passed / FRUITLESS_S))
        self._promise[faces] = 1
        self._arrivals.learn(new_faces, float(passed.max(initial=0.0)))
        self._surprise.learn(self._candidate.outlook, after)
        self._looked_at[cells] = now
        self._waits_since = None
        if look.whole:
            self._whole_at = now
        motion.looked(None if look.whole else cells)

    def _wanted(self, candidate: Candidate, stirred: Floats, due: float) -> tuple[float, Look, SkipReason]:
        """Return the gain, the look, and why the frame is not looked at otherwise."""
        if self._looked_at is None:
            return np.inf, whole(LookReason.NEW_CAMERA), SkipReason.BUDGET
        if self._motion.new_view or candidate.cut:
            return gain.NEW_VIEW_GAIN, whole(LookReason.NEW_VIEW), SkipReason.BUDGET
        if due >= DUE:
            return 1.0, whole(LookReason.FULL_LOOK), SkipReason.BUDGET
        outlook, size = candidate.outlook, candidate.preview.size
        of_faces = self._of_faces(candidate, stirred)
        per_face = np.sum(list(of_faces.values()), axis=0)
        moving = self._motion.moving & ~self._faces
        places = moving_regions(moving, size)
        of_places = self._of_places(places, moving, outlook, size)
        busy = float(np.mean(self._motion.busy & ~self._faces))
        rest = gain.arriving_unseen(busy, self._now - self._whole_at, self._rate())
        parts = {reason: float(gains.sum()) for reason, gains in of_faces.items()}
        parts[LookReason.MOTION] = float(of_places.sum()) + rest
        reason = max(parts, key=parts.__getitem__)
        most = float(max(np.linalg.norm(per_face), of_places.max(initial=0), rest))
        quiet = not moving.any() and not per_face.any()
        around = track_regions(outlook.boxes, outlook.drift)[per_face >= INCLUDED]
        regions = joined(np.concatenate([around, places[of_places >= INCLUDED]]), size) if most >= 1 else places[:0]
        parted = 0 < len(regions) <= MAX_REGIONS and share(regions, size) <= WHOLE and rest < 0.5
        look = Look(False, regions, reason) if parted else whole(reason)
        return most, look, SkipReason.QUIET if quiet else SkipReason.SETTLED

    def _of_faces(self, candidate: Candidate, stirred: Floats) -> dict[LookReason, Floats]:
        """Return the gain (n,) of the tracks, by reason."""
        assert self._looked_at is not None
        outlook = candidate.outlook
        since = self._means_near(outlook, self._now - self._looked_at)
        return {
            LookReason.UNCERTAIN: gain.uncertain(outlook, stirred, self._surprise.factor, self._effort),
            LookReason.CONFIRMING: gain.confirming(outlook),
            LookReason.LOSING: gain.losing(outlook, since, self._effort),
            LookReason.CROP: gain.CROP_GAIN * candidate.wanted,
        }

    def _of_places(self, places: Floats, moving: Flags, outlook: Outlook, size: tuple[int, int]) -> Floats:
        """Return the gain (n,) of moving places (n, 4)."""
        if not len(places):
            return np.zeros(0, np.float32)
        assert self._looked_at is not None
        bodies = cells_of(enlarged(outlook.boxes[outlook.confirmed & ~outlook.lost], BODY), size, self._motion.grid)
        where = spans(places, size, self._motion.grid)
        promise = means(np.where(bodies, BODY_PROMISE, 1) * self._promise, where, moving)
        return gain.arriving(promise, means(self._now - self._looked_at, where, moving), self._rate())

    def _rate(self) -> float:
        return self._effort * self._arrivals.factor()

    def _means_near(self, outlook: Outlook, cells: np.ndarray) -> Floats:
        """Return the mean (n,) of the cells at each track."""
        assert self._candidate is not None
        return means(cells, spans(enlarged(outlook.boxes, MARGIN), self._candidate.preview.size, self._motion.grid))
