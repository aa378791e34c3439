"""Limits the rate and the number of open calls of each client. Without a clock: times are s, monotonic."""

from collections import Counter
from dataclasses import dataclass, field

from streamer.safety import Limits

KEPT_CLIENTS = 10_000  # buckets that are kept; clients beyond it, which are the oldest, begin with a full one


class Bucket:
    """Gives out `per_second` on average and at most `burst` at once."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._rate, self._burst = per_second, burst
        self._left = burst
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take one, or return False if nothing is left."""
        if self._at is not None:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(slots=True)
class Quotas:
    """The calls of all clients; a client is a token, or without tokens the address of a machine."""

    limits: Limits
    _buckets: dict[str, Bucket] = field(default_factory=dict)
    _open: Counter[str] = field(default_factory=Counter)  # calls that stay open, by holder

    def problem(self, client: str, holder: str | None, now: float) -> str:
        """Count a call of a client; return which limit it exceeds, or nothing.

        `holder`: whose open calls it counts among, until `closed`; None: it does not stay open.
        """
        bucket = self._buckets.pop(client, None) or Bucket(
            self.limits.calls_per_second, max(1.0, 2 * self.limits.calls_per_second)
        )
        self._buckets[client] = bucket  # the newest is last
        if len(self._buckets) > KEPT_CLIENTS:
            del self._buckets[next(iter(self._buckets))]
        if not bucket.take(now):
            return f"more than {self.limits.calls_per_second:g} calls per second (publish.limits.calls_per_second)"
        if holder is not None:
            if self._open[holder] >= self.limits.streams:
                return f"{self.limits.streams} calls are open already (publish.limits.streams)"
            self._open[holder] += 1
        return ""

    def closed(self, holder: str) -> None:
        """Note that a call that stayed open has ended."""
        self._open[holder] -= 1
        if not self._open[holder]:
            del self._open[holder]
