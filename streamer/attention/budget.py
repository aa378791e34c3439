"""Limit the time of the detector, with a token bucket whose rate adapts to the machine.

A token is a second of detector time. The rate is found as TCP finds the rate of a line: it grows while more looks are
wanted and all are in time, and shrinks when one is late, counted from the arrival of its frame to the detections.
"""

START = 0.4  # s/s, before the first look
MAX_RATE = 1.0  # one thread detects
MIN_RATE = 0.02  # enough to notice that the machine has become faster
GROW = 0.01  # per batch in time
BURST = 0.4  # capacity of the bucket over `latency_s`: a frame waits for one batch and is in the next
CAUTION = 0.7  # factor of a late batch at most


class Budget:
    """The token bucket, for all cameras."""

    def __init__(self, latency_s: float) -> None:
        """`latency_s`: looks whose detections come later after the arrival of their frame are late."""
        self._latency_s = latency_s
        self.capacity = BURST * latency_s  # s, of one batch
        self.rate = START  # s/s
        self._tokens = self.capacity
        self._time: float | None = None
        self._short = False  # more was wanted since the last change of the rate

    def refill(self, now: float) -> None:
        """Add the tokens up to the time `now` (s)."""
        passed = 0.0 if self._time is None else max(0.0, now - self._time)
        self._time = now
        self._tokens = min(self.capacity, self._tokens + self.rate * passed)

    def affords(self, cost: float) -> bool:
        """Return whether a look of `cost` seconds may begin. If the bucket holds less, it must be full."""
        fits = self._tokens >= min(cost, self.capacity)
        self._short = self._short or not fits
        return fits

    def take(self, cost: float) -> None:
        """Take the tokens of a look. They become negative for one that may not wait."""
        self._tokens = max(self._tokens - cost, -self.capacity - cost)

    def done(self, latency: float, longest: float) -> None:
        """Note a batch of looks: the `latency` of its oldest frame, and the time of its `longest` look, s.

        With a detector so slow that a frame which waits for one look and is in the next is late, that is in time.
        """
        late = latency / max(self._latency_s, 2 * longest)
        if late > 1:
            self.rate = max(MIN_RATE, self.rate * max(CAUTION, 1 / late))
        elif self._short:
            self.rate = min(MAX_RATE, self.rate + GROW)
        self._short = False
