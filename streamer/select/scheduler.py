"""Which crops are sent, and when: those that would change an answer most, as far as the budget goes.

Of each track one crop waits: the best of the last `choose_s`. `choose` sends those that are worth it, best first; but
tracks that have waited for their first answer for `first_answer_s` go before all others, the longest waiting first.
What is worth how much is in gain.py, how many may go in budget.py. A crop counts as answered when it is sent, unless
it is lost: with media time for a clock the same video is decided the same each time.
"""

from dataclasses import dataclass
from math import inf

from streamer.config import Schedule
from streamer.select.budget import Budget
from streamer.select.gain import UNKNOWN, Belief, ModelOutputs, after, expected_gain
from streamer.values import FaceCrop, SendDecision

BETTER_BY = 1.1  # a crop must be so many times better than the waiting one: to look at its pixels costs time too


@dataclass(slots=True, eq=False)
class _Entry:
    """One track."""

    since: float  # s, clock: its first usable crop was there
    seen: float  # s, media time at which it was last in view
    waiting: FaceCrop | None = None
    waits_since: float = 0.0  # s, clock
    belief: Belief = UNKNOWN
    before: Belief = UNKNOWN  # without the crop sent last
    sent: float = -inf  # s, clock: the newest crop was sent


class Scheduler:
    """All cameras. `now` is the clock in s: live the machine's, recorded the media time. Called from one thread."""

    def __init__(self, config: Schedule, live: bool = False) -> None:
        self._config = config
        self._live = live
        self._pause = 1 / config.per_track_per_second  # s
        self._entries: dict[str, _Entry] = {}  # by track id
        self._out: dict[str, tuple[float, int]] = {}  # live, by track id: sent when (s, clock), how many were out then
        self._short: set[str] = set()  # tracks that got nothing of the budget the last time
        self.outputs = ModelOutputs()  # of the workers' models
        self.budget = Budget(config.analyses_per_second, config.answer_s if live else None)

    def consider(self, track_id: str, time: float, now: float, quality: float) -> SendDecision | None:
        """Why a crop of at most this quality (0..1), at this media time (s), is of no use; None: it is."""
        entry = self._entries.get(track_id)
        if entry is None:
            return None
        entry.seen = time
        wait = self._config.choose_s  # a crop is replaced when it has waited so long
        if now + wait - entry.sent < self._pause:
            return SendDecision.TOO_SOON
        if expected_gain(entry.belief, time + wait, quality, self._config, self.outputs) < 1:
            return SendDecision.NOTHING_TO_GAIN
        if entry.waiting is None or now - entry.waits_since > self._config.choose_s:
            return None
        return SendDecision.BETTER_CROP if quality < BETTER_BY * entry.waiting.quality.value else None

    def keep(self, crop: FaceCrop, now: float) -> SendDecision | None:
        """Let this crop wait, in the place of an older or poorer one of its track; else why not."""
        decision = self.consider(crop.key.id, crop.media_time, now, crop.quality.value)
        if decision is None:
            entry = self._entries.setdefault(crop.key.id, _Entry(now, crop.media_time))
            entry.waiting, entry.waits_since = crop, now
        return decision

    def choose(self, now: float) -> list[tuple[FaceCrop, float]]:
        """The crops that are to be sent now and what each is worth, best first."""
        self.budget.refill(now)
        self._short.clear()
        ranks: list[tuple[bool, float, str]] = []
        for track_id, entry in self._entries.items():
            if self._held(track_id, entry, now) is None:
                late = not entry.belief.answers and now - entry.since >= self._config.first_answer_s
                ranks.append((not late, entry.since if late else -self._expected_gain(entry, now), track_id))
        sent = []
        for _, _, track_id in sorted(ranks):
            entry = self._entries[track_id]
            # the last token is kept for a face without any answer
            if entry.waiting is None or not self.budget.take(keep=1 if entry.belief.answers else 0):
                self._short.add(track_id)
                continue
            crop, gain = entry.waiting, self._expected_gain(entry, now)
            entry.before, entry.belief = entry.belief, after(entry.belief, crop.media_time, crop.quality.value)
            entry.waiting, entry.sent = None, now
            if self._live:
                self._out[track_id] = now, self.budget.out - 1
            sent.append((crop, gain))
        return sent

    def why_not(self, track_id: str, now: float) -> SendDecision:
        """After `choose`: why the crop of this track still waits."""
        if track_id in self._short:
            return SendDecision.BUDGET
        return self._held(track_id, self._entries[track_id], now) or SendDecision.BUDGET

    def expected_gain(self, track_id: str, time: float, quality: float) -> float:
        """Of a crop of this quality (0..1) at this media time (s): from 1 on it is sent if the budget allows."""
        entry = self._entries.get(track_id)
        return expected_gain(entry.belief if entry is not None else UNKNOWN, time, quality, self._config, self.outputs)

    def answered(self, track_id: str, now: float) -> None:
        """Live: the crop that was sent has its answer, at this time of the clock (s)."""
        self.budget.answered(*self._out.pop(track_id), now)

    def lost(self, track_id: str, now: float) -> None:
        """Live: the crop that was sent was given up, at this time of the clock (s): as if it had not been sent."""
        sent, _ = self._out.pop(track_id)
        self.budget.lost(sent, now)
        entry = self._entries.get(track_id)
        if entry is not None:
            entry.belief = entry.before

    def forget(self, track_id: str) -> None:
        """The track has ended."""
        self._entries.pop(track_id, None)

    def _held(self, track_id: str, entry: _Entry, now: float) -> SendDecision | None:
        """Why the waiting crop of a track is not sent whatever the budget; None: it may be sent."""
        if entry.waiting is None or track_id in self._out:
            return SendDecision.TOO_SOON
        if not entry.belief.answers:
            return None
        if now - entry.sent < self._pause:
            return SendDecision.TOO_SOON
        return None if self._expected_gain(entry, now) >= 1 else SendDecision.NOTHING_TO_GAIN

    def _expected_gain(self, entry: _Entry, now: float) -> float:
        """Of the waiting crop. A fresh one tells of the face in view, not only of when it was taken."""
        if entry.waiting is None:
            return 0.0
        fresh = now - entry.waits_since <= self._config.choose_s
        time = entry.seen if fresh else entry.waiting.media_time
        return expected_gain(entry.belief, time, entry.waiting.quality.value, self._config, self.outputs)
