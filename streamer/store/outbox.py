"""Holds what waits: events to be stored, and summaries to be published once their events are. Pure."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from streamer.store.values import LogEvent
from streamer.values import TrackSummary


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """A summary on its way to the subscribers."""

    summary: TrackSummary
    sequence: int = 0  # of its newest event in the log; 0: it makes none
    stored: bool = True  # the event is in the log


@dataclass(frozen=True, slots=True)
class Revised:
    """The event of a track that has ended and has another identity, on its way to the subscribers."""

    event: LogEvent
    stored: bool = True  # the event is in the log

    @property
    def sequence(self) -> int:
        """Number of the event in the log."""
        return self.event.sequence


class Outbox:
    """Keeps the order: a summary is not published before those that came earlier."""

    def __init__(self, committed: int, max_backlog: int) -> None:
        """`committed`: newest sequence in the log; `max_backlog`: events that may wait to be stored."""
        self.committed = committed
        self.degraded = False  # the database does not work: publish at once
        self.lost = 0  # events that were given up
        self._max_backlog = max_backlog
        self._unwritten: deque[LogEvent] = deque()
        self._waiting: deque[Outgoing | Revised] = deque()

    def add(self, summary: TrackSummary | None, events: Sequence[LogEvent]) -> None:
        """Take in a summary and its events, often none. None: events that are not about a track."""
        self._unwritten.extend(events)
        if summary is not None:
            self._waiting.append(Outgoing(summary, events[-1].sequence if events else 0))

    def add_revision(self, event: LogEvent) -> None:
        """Take in the event of a track that has ended and has another identity."""
        self._unwritten.append(event)
        self._waiting.append(Revised(event))

    def publishable(self) -> Iterator[Outgoing | Revised]:
        """Remove and return what may be published now, in order."""
        while self._waiting:
            first = self._waiting[0]
            stored = first.sequence <= self.committed
            if not stored and not self.degraded:
                return
            self._waiting.popleft()
            yield first if stored else replace(first, stored=False)

    def batch(self, limit: int) -> list[LogEvent]:
        """Return the oldest events to store, at most `limit`. What exceeds the backlog is given up first."""
        for _ in range(len(self._unwritten) - self._max_backlog):
            self._unwritten.popleft()
            self.lost += 1
        return list(islice(self._unwritten, limit))

    def done(self, batch: Sequence[LogEvent]) -> None:
        """Note that a batch is stored."""
        if batch:
            self.committed = batch[-1].sequence
            while self._unwritten and self._unwritten[0].sequence <= self.committed:
                self._unwritten.popleft()

    def unwritten(self) -> list[LogEvent]:
        """Return the events that are not stored (yet), oldest first."""
        return list(self._unwritten)

    @property
    def backlog(self) -> int:
        """Number of events that wait to be stored."""
        return len(self._unwritten)

    @property
    def settled(self) -> bool:
        """Whether nothing waits to be published."""
        return not self._waiting
