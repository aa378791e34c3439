"""How many crops may be sent: a token bucket, whose rate follows what the workers answer.

In any time of T seconds at most `rate * T` crops go out, and a burst on top. Recorded, the rate is the one of the
settings, in media time, or there is none. Live it is found as TCP finds that of a line: it grows while it is short and
answers come in time, and shrinks when they come late; the settings bound it.
"""

from math import inf

BURST_S = 0.25  # a bucket holds what comes in so long
MIN_BURST = 2.0  # crops: one for a face that is new, one for another
START = 10.0  # crops/s, live, before the first answer
MIN_RATE = 0.2  # crops/s, live: with less nothing would be heard of a worker that has become fast again
GROW_FIRST = 0.5  # of a crop per answer and time allowed to answer, until the first late answer; then:
GROW = 0.1


class Budget:
    def __init__(self, limit: float | None, answer_s: float | None) -> None:
        """`limit` in crops/s, or none. `answer_s`: live, an answer that takes longer (s) is late; recorded none."""
        self._limit = inf if limit is None else limit
        self._answer_s = answer_s
        self.rate = self._limit if answer_s is None else min(self._limit, START)  # crops/s
        self._tokens = MIN_BURST
        self._time: float | None = None
        self.out = 0  # live: crops that are not answered
        self._short = False  # the bucket was empty since the last change of the rate
        self._slowed = -inf  # s, when the rate was last lowered
        self._workers = 0 if answer_s is not None else 1

    def refill(self, now: float) -> None:
        """It is `now` (s, of the clock of all calls)."""
        passed = 0.0 if self._time is None else max(0.0, now - self._time)
        self._time = now
        if self.rate < inf:
            self._tokens = min(max(MIN_BURST, self.rate * BURST_S), self._tokens + self.rate * passed)

    def take(self, keep: int = 0) -> bool:
        """Take one crop's token, if `keep` would still be left then."""
        if not self._workers:
            return False
        # Little's law: with more crops under way than this, answers come late however few follow
        full = self._answer_s is not None and self.out >= self._workers + self.rate * self._answer_s
        if full or self._tokens < 1 + keep:
            self._short = True
            return False
        if self.rate < inf:
            self._tokens -= 1
        self.out += 1
        return True

    def workers(self, count: int) -> None:
        """Live: so many workers are there. Without any, nothing is sent."""
        self._workers = count

    def answered(self, sent: float, others: int, now: float) -> None:
        """Live: a crop sent at `sent` (s), when `others` were out, was answered at `now` (s)."""
        if self._answer_s is None:
            return
        self.out -= 1
        late = (now - sent) / self._answer_s
        if late > 1 and others >= self._workers:  # else the worker is no faster: it had nothing else to do
            self._slow_down(sent, now, max(0.5, 1 / late))
        elif self._short:
            self._short = False
            grow = GROW if self._slowed > -inf else GROW_FIRST
            self.rate = min(self._limit, self.rate + grow / self._answer_s)

    def lost(self, sent: float, now: float) -> None:
        """Live: a crop sent at `sent` was given up at `now` (s)."""
        if self._answer_s is not None:
            self.out -= 1
            self._slow_down(sent, now, 0.5)

    def _slow_down(self, sent: float, now: float, factor: float) -> None:
        """Once for all crops that were under way at the old rate."""
        if sent >= self._slowed:
            self.rate = max(min(MIN_RATE, self._limit), self.rate * factor)
            self._slowed = now
