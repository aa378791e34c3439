"""Choose the crops to send: those that would change an answer most, within the budget.

One crop of each track waits: the best of the last `choose_s`. `choose` sends the crops with enough gain, best first,
but tracks that have waited `first_answer_s` for their first answer go ahead of all others, longest wait first. The gain
is computed in gain.py, the budget in budget.py. A crop counts as answered when it is sent, unless it is lost: with
media time as the clock, the decisions for a video are the same in every run.
"""

from dataclasses import dataclass, replace
from math import inf

from streamer.config import Schedule
from streamer.select.budget import Budget
from streamer.select.gain import (
    AGE_PRIOR,
    EXPRESSION_PRIOR,
    IDENTITY_PRIOR,
    UNKNOWN,
    Belief,
    ModelOutputs,
    after,
    expected_gain,
)
from streamer.values import FaceCrop, SendDecision

HURRY_S = 0.25  # s, after a crop until the one that decides whom it shows; sooner it would look the same
DECIDE_S = 0.3  # shortest time between two crops of an undecided track; sooner they are too much alike to decide
MOST_DECIDING = 6  # crops of an undecided track that go before others; more seldom decide, and others wait
BETTER_BY = 1.1  # a crop must be better than the waiting one by this factor, because reading its pixels takes time too


@dataclass(slots=True, eq=False)
class _Entry:
    """One track."""

    since: float  # s, clock, of its first usable crop
    seen: float  # s, media time, when it was last in view
    waiting: FaceCrop | None = None
    waits_since: float = 0.0  # s, clock
    belief: Belief = UNKNOWN
    before: Belief = UNKNOWN  # without the crop sent last
    sent: float = -inf  # s, clock, when the newest crop was sent
    undecided: bool = False  # live: more crops decide whom it shows
    deciding: int = 0  # crops sent while it was undecided


class Scheduler:
    """Schedules the crops of all cameras, from one thread.

    `now` is the clock in s: monotonic time live, media time recorded.
    """

    def __init__(self, config: Schedule, live: bool = False) -> None:
        self._config = config
        self._live = live
        self._pause = 1 / config.per_track_per_second  # s
        self._entries: dict[str, _Entry] = {}  # by track id
        self._out: dict[str, tuple[float, int]] = {}  # live, by track id: time of sending (s, clock), crops in flight
        self._short: set[str] = set()  # tracks that the budget did not reach the last time
        self.outputs = ModelOutputs()  # of the workers' models
        self.budget = Budget(config.analyses_per_second, config.answer_s if live else None)

    def consider(self, track_id: str, time: float, now: float, quality: float) -> SendDecision | None:
        """Return why a crop of at most this quality (0..1) at this media time (s) is useless, or None if it is not."""
        entry = self._entries.get(track_id)
        if entry is None:
            return None
        entry.seen = time
        wait = self._config.choose_s  # a crop is replaced when it has waited this long
        if now + wait - entry.sent < self._pause_of(entry):
            return SendDecision.TOO_SOON
        if expected_gain(entry.belief, time + wait, quality, self._config, self.outputs) < 1:
            return SendDecision.NOTHING_TO_GAIN
        if entry.waiting is None or now - entry.waits_since > self._config.choose_s:
            return None
        return SendDecision.BETTER_CROP if quality < BETTER_BY * entry.waiting.quality.value else None

    def keep(self, crop: FaceCrop, now: float) -> SendDecision | None:
        """Let this crop wait, replacing an older or poorer one of its track, or return why not."""
        decision = self.consider(crop.key.id, crop.media_time, now, crop.quality.value)
        if decision is None:
            entry = self._entries.setdefault(crop.key.id, _Entry(now, crop.media_time))
            entry.waiting, entry.waits_since = crop, now
        return decision

    def choose(self, now: float) -> list[tuple[FaceCrop, float]]:
        """Return the crops to send now with the expected gain of each, best first."""
        self.budget.refill(now)
        self._short.clear()
        ranks: list[tuple[int, float, str]] = []
        for track_id, entry in self._entries.items():
            if self._held(track_id, entry, now) is None:
                ranks.append((*self._rank(entry, now), track_id))
        sent = []
        for _, _, track_id in sorted(ranks):
            entry = self._entries[track_id]
            # the last token is reserved for a face without any answer, or one that the next answer decides
            if entry.waiting is None or not self.budget.take(keep=0 if self._is_urgent(entry) else 1):
                self._short.add(track_id)
                continue
            crop, gain = entry.waiting, self._expected_gain(entry, now)
            entry.before, entry.belief = entry.belief, after(entry.belief, crop.media_time, crop.quality.value)
            entry.waiting, entry.sent = None, now
            entry.deciding += entry.undecided
            if self._live:
                self._out[track_id] = now, self.budget.out - 1
            sent.append((crop, gain))
        return sent

    def why_not(self, track_id: str, now: float) -> SendDecision:
        """Return, after `choose`, why the crop of this track is still waiting."""
        if track_id in self._short:
            return SendDecision.BUDGET
        return self._held(track_id, self._entries[track_id], now) or SendDecision.BUDGET

    def expected_gain(self, track_id: str, time: float, quality: float) -> float:
        """Return the gain of a crop of this quality (0..1) at this media time (s); it needs at least 1 to be sent."""
        entry = self._entries.get(track_id)
        return expected_gain(entry.belief if entry is not None else UNKNOWN, time, quality, self._config, self.outputs)

    def wanted(self, track_id: str, time: float, now: float, quality: float) -> float:
        """Return how much a crop of this quality (0..1) at this media time (s) is wanted, 0..1.

        Half is enough to send it. While a crop waits, no other one is wanted.
        """
        entry = self._entries.get(track_id)
        if entry is not None and (entry.waiting is not None or now - entry.sent < self._pause_of(entry)):
            return 0.0
        return min(1.0, self.expected_gain(track_id, time, quality) / 2)

    def answered(self, track_id: str, now: float) -> None:
        """Live: record that the crop of this track was answered at `now`."""
        self.budget.answered(*self._out.pop(track_id), now)

    def lost(self, track_id: str, now: float) -> None:
        """Live: record that the crop of this track was given up at `now`, and undo its effect on the belief."""
        sent, _ = self._out.pop(track_id)
        self.budget.lost(sent, now)
        entry = self._entries.get(track_id)
        if entry is not None:
            entry.belief = entry.before

    def hurry(self, track_id: str) -> None:
        """Live: let the next crop of a track follow soon, because the newest one may show another person."""
        entry = self._entries.get(track_id)
        if entry is not None:
            entry.sent += min(HURRY_S, self._pause) - self._pause
            entry.belief = replace(entry.belief, age=AGE_PRIOR, identity=IDENTITY_PRIOR, expression=EXPRESSION_PRIOR)

    def decide(self, track_id: str, undecided: bool) -> None:
        """Live: note whether it is undecided whom a track shows, so that its next crops are needed soon."""
        entry = self._entries.get(track_id)
        if entry is not None:
            entry.undecided = undecided

    def doubt(self, track_id: str) -> None:
        """Forget what is believed of a track, because it may be another face from now on: its next crop is urgent.

        A crop that waits is dropped, as it could be taken for one of the face that is there now.
        """
        entry = self._entries.get(track_id)
        if entry is not None:
            entry.since = entry.sent = -inf
            entry.belief = entry.before = UNKNOWN
            entry.waiting = None

    def forget(self, track_id: str) -> None:
        """Drop a track that has ended."""
        self._entries.pop(track_id, None)

    def _pause_of(self, entry: _Entry) -> float:
        """Return the shortest time between two crops of a track, s."""
        return min(DECIDE_S, self._pause) if self._decides(entry) else self._pause

    def _decides(self, entry: _Entry) -> bool:
        return entry.undecided and entry.deciding < MOST_DECIDING

    def _is_urgent(self, entry: _Entry) -> bool:
        """Return whether a track needs its first answer, or the next one to be decided."""
        return not entry.belief.answers or (self._decides(entry) and entry.deciding < 1)

    def _rank(self, entry: _Entry, now: float) -> tuple[int, float]:
        """Return the place of a waiting crop in the order of sending, lowest first."""
        if self._is_urgent(entry) and entry.belief.answers:
            return 0, -self._expected_gain(entry, now)  # one track is decided before the next one is begun
        if not entry.belief.answers and now - entry.since >= self._config.first_answer_s:
            return 1, entry.since
        return (2 if self._decides(entry) else 3), -self._expected_gain(entry, now)

    def _held(self, track_id: str, entry: _Entry, now: float) -> SendDecision | None:
        """Return why the waiting crop of a track must not be sent, apart from the budget; None if it may."""
        if entry.waiting is None or track_id in self._out:
            return SendDecision.TOO_SOON
        if not entry.belief.answers:
            return None
        if now - entry.sent < self._pause_of(entry):
            return SendDecision.TOO_SOON
        return None if self._expected_gain(entry, now) >= 1 else SendDecision.NOTHING_TO_GAIN

    def _expected_gain(self, entry: _Entry, now: float) -> float:
        """Return the gain of the waiting crop. A fresh crop counts as taken when the face was last in view."""
        if entry.waiting is None:
            return 0.0
        fresh = now - entry.waits_since <= self._config.choose_s
        time = entry.seen if fresh else entry.waiting.media_time
        return expected_gain(entry.belief, time, entry.waiting.quality.value, self._config, self.outputs)
