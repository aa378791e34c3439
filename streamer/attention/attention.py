"""Decide for every camera at every frame whether, and where, the detector looks.

Each camera states what a look at its newest frame would gain (camera.py, gain.py). Looks with enough gain are made, the
largest gain per second of detector time first, within the budget (budget.py). Under overload no camera starves: one
that has waited for half of `longest_gap_s`, or whose look at the whole frame is due, goes ahead of all others, the one
closest to its limit first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

from streamer import config
from streamer.attention.budget import Budget
from streamer.attention.camera import Camera, Wish
from streamer.attention.gain import EFFORTS
from streamer.attention.looks import Candidate, Look, LookReason, Skip, SkipReason, whole
from streamer.values import Flags, Outlook

DEFAULT_EFFORT = 3  # live
ALL = 5  # the effort that looks at every frame
FIRST_COST = 0.03  # s of a look at a whole frame, before the first
LEARN_COST = 0.2
TINY = 1e-6  # s, divides in place of no time
REGION_COST = 0.5  # of a look at regions over that at the whole frame, until it is measured
PACE_BURST = 3.0  # looks that may follow each other at once within `max_fps`: a new face is confirmed


@dataclass(slots=True)
class _Batch:
    """The looks of one choice."""

    waited: float = 0.0  # s, the longest time from the arrival of a frame to the choice
    seconds: float = 0.0
    longest: float = 0.0  # s, of one look


@dataclass(slots=True)
class _Pace:
    """Looks of one camera within `max_fps`: a token bucket."""

    tokens: float = PACE_BURST
    time: float = -inf


@dataclass(slots=True)
class _Known:
    """What is kept of a camera beyond its epochs."""

    view: Camera | None = None
    whole_cost: float = FIRST_COST  # s
    region_cost: float | None = None  # s of a look at regions; None: not measured
    pace: _Pace = field(default_factory=_Pace)


class Attention:
    """The attention over all cameras of one observer, for one thread. `now` is monotonic live, media time recorded."""

    def __init__(self, settings: config.Attention, live: bool) -> None:
        self._settings = settings
        effort = settings.effort or (DEFAULT_EFFORT if live else ALL if settings.max_fps is None else ALL - 1)
        self._all = effort == ALL  # every frame is wanted
        self.every_frame = not settings.enabled or (settings.every_frame and not live)
        self._effort = EFFORTS.get(effort, 1.0)
        self._live = live
        self.budget = Budget(settings.latency_s)
        self._cameras: dict[str, _Known] = {}
        self._batch: _Batch | None = None

    def choose(self, candidates: Sequence[Candidate], now: float) -> list[Look | Skip]:
        """Return what to do with each frame, at most one per camera, at `now` (s)."""
        if self.every_frame:
            return [whole(LookReason.EVERY_FRAME) for _ in candidates]
        self._close_batch()
        self.budget.refill(now)
        wishes = [self._wish(candidate, now) for candidate in candidates]
        costs = [
            self._cost(candidate.preview.camera, wish.look) for candidate, wish in zip(candidates, wishes, strict=True)
        ]
        answers: list[Look | Skip] = [Skip(wish.otherwise) for wish in wishes]
        wanted = [number for number, wish in enumerate(wishes) if wish.gain >= 1 or wish.urgent]
        spent = 0.0
        for number in sorted(wanted, key=lambda n: _rank(wishes[n], costs[n], candidates[n].preview.camera)):
            wish, cost, camera = wishes[number], costs[number], candidates[number].preview.camera
            known = self._cameras[camera]
            if not self._in_pace(known.pace, now):
                answers[number] = Skip(SkipReason.LIMIT)
                continue
            if self._live and not self._granted(wish, cost, spent):
                answers[number] = Skip(SkipReason.BUDGET)
                if known.view is not None:
                    known.view.waits()
                continue
            spent += cost
            self.budget.take(cost)
            known.pace.tokens -= 1
            answers[number] = wish.look
            if self._batch is None:
                self._batch = _Batch()
            self._batch.waited = max(self._batch.waited, now - candidates[number].preview.received)
        return answers

    def looked(self, camera: str, look: Look, after: Outlook, new_faces: int, seconds: float) -> None:
        """Learn from a look: the tracks after it, the number of `new_faces` among them, and its time in s."""
        known = self._cameras.get(camera)
        if self.every_frame or known is None or known.view is None:
            return
        if self._batch is not None:
            self._batch.seconds += seconds
            self._batch.longest = max(self._batch.longest, seconds)
        if look.whole:
            known.whole_cost += (seconds - known.whole_cost) * LEARN_COST
        else:
            before = seconds if known.region_cost is None else known.region_cost
            known.region_cost = before + (seconds - before) * LEARN_COST
        known.view.looked(look, after, new_faces)

    def still(self, camera: str) -> Flags | None:
        """Return the tracks (n,) of a camera's newest frame in whose place nothing has moved since the last look there.

        None: that is not known.
        """
        known = self._cameras.get(camera)
        return None if known is None or known.view is None else known.view.still

    def forget(self, camera: str) -> None:
        """Forget what a camera shows: its next frame may show anything."""
        if camera in self._cameras:
            self._cameras[camera].view = None

    def remove(self, camera: str) -> None:
        """Forget a camera for good."""
        self._cameras.pop(camera, None)

    def _wish(self, candidate: Candidate, now: float) -> Wish:
        known = self._cameras.setdefault(candidate.preview.camera, _Known())
        if known.view is None or not known.view.fits(candidate):
            preview = candidate.preview
            known.view = Camera(self._settings, self._effort, preview.epoch, preview.luma.shape)
        wish = known.view.wish(candidate, now)
        if self._all:
            wish = replace(wish, gain=max(1.0, wish.gain), look=whole(LookReason.EVERY_FRAME))
        return wish

    def _cost(self, camera: str, look: Look) -> float:
        """Return the expected time of a look, s."""
        known = self._cameras[camera]
        if look.whole:
            return known.whole_cost
        return REGION_COST * known.whole_cost if known.region_cost is None else known.region_cost

    def _in_pace(self, pace: _Pace, now: float) -> bool:
        rate = self._settings.max_fps
        if rate is None:
            return True
        pace.tokens = min(PACE_BURST, pace.tokens + rate * min(now - pace.time, PACE_BURST / rate))
        pace.time = now
        return pace.tokens >= 1

    def _granted(self, wish: Wish, cost: float, spent: float) -> bool:
        """Return whether the detector has time for a look, after looks of `spent` seconds in the same batch."""
        if wish.urgent:
            return spent == 0 or spent + cost <= self.budget.capacity
        return self.budget.affords(cost)

    def _close_batch(self) -> None:
        if self._batch is not None and self._batch.seconds:
            self.budget.done(self._batch.waited + self._batch.seconds, self._batch.longest)
        self._batch = None


def _rank(wish: Wish, cost: float, camera: str) -> tuple[bool, float, str]:
    """Sort urgent looks first, the most overdue first, then by gain per cost."""
    return not wish.urgent, -wish.overdue if wish.urgent else -wish.gain / max(cost, TINY), camera
