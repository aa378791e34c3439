"""Holds the live tracks and queues their events for each subscriber; api/tracks.py sends them to clients.

It is used from the asyncio loop only. Waiting updates of one track are replaced by the newest. NEW, END and MERGE are
never dropped. A subscriber with too many waiting events is disconnected.
"""

import asyncio
import enum
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from streamer import metrics
from streamer.config import Publish
from streamer.values import TrackSummary

ENDED_S = 300.0  # ended tracks can be looked up for this long
ENDED_TRACKS = 1000  # only this number of the newest ended tracks is kept


class Kind(enum.Enum):
    """The kind of an event."""

    SNAPSHOT = "SNAPSHOT"
    SNAPSHOT_END = "SNAPSHOT_END"
    NEW = "NEW"
    UPDATE = "UPDATE"
    END = "END"
    HEARTBEAT = "HEARTBEAT"
    MERGE = "MERGE"
    GAP = "GAP"
    REVISION = "REVISION"
    JOURNEY = "JOURNEY"


@dataclass(slots=True, eq=False)
class Event:
    """Something to send to a subscriber."""

    kind: Kind
    summary: TrackSummary | None = None  # None for SNAPSHOT_END and HEARTBEAT
    sequence: int = 0  # of a NEW, END or MERGE in the log of the store; 0 without a store
    stored: bool = True  # False: the store could not take it yet
    payload: bytes = b""  # of a REVISION or JOURNEY: the track as a message


class Subscriber:
    """The queue of events for one client. At most one UPDATE of a track waits, the newest."""

    def __init__(self, streams: Collection[str], min_interval_s: float, max_pending: int) -> None:
        """`streams` are the wanted cameras (empty: all), `min_interval_s` the time between two updates of a track."""
        self.wake = asyncio.Event()  # an event may be ready
        self.overflow = asyncio.Event()  # too many events waited: no further ones come
        self.closing = False  # no new events come; waiting ones are still sent
        self._streams = frozenset(streams)
        self._min_interval_s = min_interval_s
        self._max_pending = max_pending
        self._queue: deque[Event] = deque()
        self._pending = 0  # events in the queue, except those of the snapshot
        self._updates: dict[str, Event] = {}  # track id -> its UPDATE in the queue
        self._deferred: dict[str, TrackSummary] = {}  # track id -> an update that min_interval_s holds back
        self._updated: dict[str, float] = {}  # track id -> time of its last UPDATE taken, s

    def wants(self, camera: str) -> bool:
        """Return whether this client wants the events of a camera."""
        return not self._streams or camera in self._streams

    def begin(self, snapshot: Sequence[TrackSummary]) -> None:
        """Queue the current tracks before any event. They do not count towards `max_pending`."""
        self._queue.extend(Event(Kind.SNAPSHOT, summary) for summary in snapshot)
        self._queue.append(Event(Kind.SNAPSHOT_END))

    def put(self, kind: Kind, summary: TrackSummary, now: float, sequence: int = 0, stored: bool = True) -> None:
        """Queue an event, `now` in s. If that is one too many, set `overflow` and drop all events."""
        if self.overflow.is_set() or not self.wants(summary.key.camera):
            return
        if kind is Kind.UPDATE:
            self._update(summary, now)
        else:
            self._deferred.pop(summary.key.id, None)
            self._append(Event(kind, summary, sequence, stored))
        self.wake.set()

    def put_revision(self, camera: str, event: Event) -> None:
        """Queue a REVISION or JOURNEY of a track of a camera."""
        if not self.overflow.is_set() and self.wants(camera):
            self._append(event)
            self.wake.set()

    def take(self, now: float) -> Event | None:
        """Remove and return the next event, `now` in s. None: wait until `wake` is set or `due` is reached."""
        self.wake.clear()
        if self._queue:
            event = self._queue.popleft()
        else:
            ready = next((track_id for track_id in self._deferred if self._due(track_id) <= now), None)
            if ready is None:
                return None
            event = Event(Kind.UPDATE, self._deferred.pop(ready))
            self._pending += 1
        self._taken(event, now)
        return event

    def _taken(self, event: Event, now: float) -> None:
        if event.kind in (Kind.SNAPSHOT, Kind.SNAPSHOT_END):
            return
        self._pending -= 1
        if event.summary is None:
            return
        track_id = event.summary.key.id
        if event.kind is Kind.UPDATE:
            self._updates.pop(track_id, None)
            self._updated[track_id] = now
        elif event.kind in (Kind.END, Kind.MERGE):
            self._updated.pop(track_id, None)

    def due(self) -> float:
        """Return the time (s) at which the first deferred update becomes ready; infinity without one."""
        return min(map(self._due, self._deferred), default=float("inf"))

    def _due(self, track_id: str) -> float:
        return self._updated.get(track_id, float("-inf")) + self._min_interval_s

    def _update(self, summary: TrackSummary, now: float) -> None:
        track_id = summary.key.id
        if track_id in self._updates:
            self._updates[track_id].summary = summary
        elif self._due(track_id) > now:
            self._deferred[track_id] = summary
        else:
            self._deferred.pop(track_id, None)
            self._append(Event(Kind.UPDATE, summary))

    def _append(self, event: Event) -> None:
        self._queue.append(event)
        self._pending += 1
        if event.kind is Kind.UPDATE and event.summary is not None:
            self._updates[event.summary.key.id] = event
        if self._pending > self._max_pending:
            self._queue.clear()
            self._updates.clear()
            self._deferred.clear()
            self.overflow.set()


@dataclass(slots=True, eq=False)
class _LiveTrack:
    summary: TrackSummary  # the newest
    published: int  # revision of the last event
    published_at: float  # s
    analysed: tuple[str, int]  # model id and number of samples of the newest


class Hub:
    """The live tracks and their subscribers. Times are `time.monotonic()` in s."""

    def __init__(self, config: Publish) -> None:
        self.closed = False
        self.sequence = 0  # newest of the store's log whose event was published; all before it were, too
        self._config = config
        self._live: dict[str, _LiveTrack] = {}
        self._ended: dict[str, tuple[TrackSummary | None, float]] = {}  # oldest first, with the time of the end
        self._subscribers: list[Subscriber] = []

    def offer(self, summary: TrackSummary, now: float, sequence: int = 0, stored: bool = True) -> None:
        """Take in the newest state of a track and publish it. `sequence`: its newest event in the log of the store.

        The first one is a NEW, the final one an END or MERGE, exactly once. Others are an UPDATE, if the revision has
        grown or if nothing was published of the track for `update_interval_s`. Summaries after the end are ignored.
        """
        track_id = summary.key.id
        self.sequence = max(self.sequence, sequence)
        self._drop_old_ended(now)
        live = self._live.get(track_id)
        if track_id in self._ended or (live is not None and summary.revision < live.summary.revision):
            return
        if live is None:
            live = self._live[track_id] = _LiveTrack(summary, summary.revision, now, ("", 0))
            first = sequence - 1 if sequence and summary.final else sequence  # two events, one after the other
            self._publish(Kind.NEW, summary, now, first, stored)
        if summary.final:
            del self._live[track_id]
            self._ended[track_id] = (summary, now)
            self._publish(Kind.MERGE if summary.merged_into else Kind.END, summary, now, sequence, stored)
        elif summary.revision > live.published or now - live.published_at >= self._config.update_interval_s:
            live.published, live.published_at = summary.revision, now
            self._publish(Kind.UPDATE, summary, now)
        analysed = (summary.estimates.model_id, summary.estimates.samples)
        if summary.estimates.samples and analysed != live.analysed:
            metrics.result_latency_seconds.observe(now - summary.received)
        live.summary, live.analysed = summary, analysed

    def travel(self, camera: str, payload: bytes, sequence: int, stored: bool = True) -> None:
        """Publish a JOURNEY: a person or visitor has appeared at another camera."""
        self.sequence = max(self.sequence, sequence)
        for subscriber in self._subscribers:
            subscriber.put_revision(camera, Event(Kind.JOURNEY, None, sequence, stored, payload))

    def revise(self, camera: str, track_id: str, payload: bytes, sequence: int, stored: bool = True) -> None:
        """Publish the REVISION of a track that has ended. Only the store knows its present state then."""
        self.sequence = max(self.sequence, sequence)
        if track_id in self._ended:
            self._ended[track_id] = (None, self._ended[track_id][1])
        for subscriber in self._subscribers:
            subscriber.put_revision(camera, Event(Kind.REVISION, None, sequence, stored, payload))

    def subscribe(
        self, streams: Collection[str] = (), snapshot: bool = False, min_interval_s: float = 0.0
    ) -> Subscriber:
        """Add a subscriber to the tracks of these streams (empty: all), with the current tracks first if `snapshot`."""
        subscriber = Subscriber(streams, min_interval_s, self._config.max_pending)
        subscriber.closing = self.closed
        if snapshot:
            subscriber.begin(self.live(streams))
        self._subscribers.append(subscriber)
        metrics.subscribers.inc()
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Remove a subscriber, and count it if it has overflowed."""
        self._subscribers.remove(subscriber)
        metrics.subscribers.dec()
        if subscriber.overflow.is_set():
            metrics.subscriber_dropped.inc()

    def live(self, streams: Collection[str] = ()) -> list[TrackSummary]:
        """Return the newest summaries of the live tracks of these streams (empty: all), oldest track first."""
        summaries = (live.summary for live in self._live.values())
        return sorted((one for one in summaries if not streams or one.key.camera in streams), key=lambda one: one.key)

    def get(self, track_id: str, now: float) -> TrackSummary | None:
        """Return the newest summary of a live or recently ended track; None: there is no such track here."""
        self._drop_old_ended(now)
        if track_id in self._live:
            return self._live[track_id].summary
        return self._ended[track_id][0] if track_id in self._ended else None

    def close(self) -> None:
        """End all subscriptions once their waiting events are sent. `offer` is not called after this."""
        self.closed = True
        for subscriber in self._subscribers:
            subscriber.closing = True
            subscriber.wake.set()

    def _publish(self, kind: Kind, summary: TrackSummary, now: float, sequence: int = 0, stored: bool = True) -> None:
        for subscriber in self._subscribers:
            subscriber.put(kind, summary, now, sequence, stored)

    def _drop_old_ended(self, now: float) -> None:
        while self._ended:
            oldest = next(iter(self._ended))
            if len(self._ended) <= ENDED_TRACKS and now - self._ended[oldest][1] < ENDED_S:
                return
            del self._ended[oldest]
