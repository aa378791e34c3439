"""Limit the number of crops sent, with a token bucket whose rate adapts to the workers.

In any T seconds at most `rate * T` crops are sent, plus a burst. Recorded, the rate is that of the settings, in media
time, or unlimited. Live it is found as TCP finds the rate of a line: it grows while more is wanted and answers arrive
in time, and shrinks when they arrive late, within the limit of the settings.
"""

from math import inf

BURST_S = 0.25  # capacity of the bucket, as the time in which it fills
MIN_BURST = 2.0  # crops: one for a new face, one for another
START = 10.0  # crops/s, live, before the first answer
MIN_RATE = 0.2  # crops/s, live: enough to notice that a worker has become fast again
GROW_FIRST = 0.5  # growth per answer in crops per `answer_s`, until the first late answer
GROW = 0.1  # and afterwards


class Budget:
    """The token bucket, for all cameras."""

    def __init__(self, limit: float | None, answer_s: float | None) -> None:
        """`limit`: crops/s, or None for no limit. `answer_s`: live, answers later than this (s) are late; else None."""
        self._limit = inf if limit is None else limit
        self._answer_s = answer_s
        self.rate = self._limit if answer_s is None else min(self._limit, START)  # crops/s
        self._tokens = MIN_BURST
        self._time: float | None = None
        self.out = 0  # live: crops without an answer yet
        self._short = False  # the bucket has been empty since the last change of the rate
        self._slowed = -inf  # s, when the rate was last lowered
        self._workers = 0 if answer_s is not None else 1

    def refill(self, now: float) -> None:
        """Add the tokens up to the time `now` (s, on the clock of all calls)."""
        passed = 0.0 if self._time is None else max(0.0, now - self._time)
        self._time = now
        if self.rate < inf:
            self._tokens = min(max(MIN_BURST, self.rate * BURST_S), self._tokens + self.rate * passed)

    def take(self, keep: int = 0) -> bool:
        """Take the token of one crop, if at least `keep` tokens remain. Returns whether the crop may be sent."""
        if not self._workers:
            return False
        # Little's law: with more crops in flight than this, answers are late however few follow
        full = self._answer_s is not None and self.out >= self._workers + self.rate * self._answer_s
        if full or self._tokens < 1 + keep:
            self._short = True
            return False
        if self.rate < inf:
            self._tokens -= 1
        self.out += 1
        return True

    def workers(self, count: int) -> None:
        """Live: set the number of workers. Without workers nothing is sent."""
        self._workers = count

    def answered(self, sent: float, others: int, now: float) -> None:
        """Live: record the answer at `now` (s) to a crop sent at `sent` (s), when `others` were in flight."""
        if self._answer_s is None:
            return
        self.out -= 1
        late = (now - sent) / self._answer_s
        if late > 1 and others >= self._workers:  # otherwise the worker was idle and cannot be faster
            self._slow_down(sent, now, max(0.5, 1 / late))
        elif self._short:
            self._short = False
            grow = GROW if self._slowed > -inf else GROW_FIRST
            self.rate = min(self._limit, self.rate + grow / self._answer_s)

    def lost(self, sent: float, now: float) -> None:
        """Live: record that a crop sent at `sent` (s) was given up at `now` (s)."""
        if self._answer_s is not None:
            self.out -= 1
            self._slow_down(sent, now, 0.5)

    def _slow_down(self, sent: float, now: float, factor: float) -> None:
        """Lower the rate, once for all crops that were sent at the old rate."""
        if sent >= self._slowed:
            self.rate = max(min(MIN_RATE, self._limit), self.rate * factor)
            self._slowed = now
