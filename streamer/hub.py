"""What is published and what waits for each subscriber. No socket: api/tracks.py carries the events out.

Single-threaded, on the asyncio loop. Updates of one track coalesce while they wait; NEW, END and MERGE are never
dropped; a subscriber for whom too much waits is given up.
"""

import asyncio
import enum
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from streamer import metrics
from streamer.config import Publish
from streamer.values import TrackSummary

ENDED_S = 300.0  # an ended track can still be looked up for so long,
ENDED_TRACKS = 1000  # but only the newest so many


class Kind(enum.Enum):
    SNAPSHOT = "SNAPSHOT"
    SNAPSHOT_END = "SNAPSHOT_END"
    NEW = "NEW"
    UPDATE = "UPDATE"
    END = "END"
    HEARTBEAT = "HEARTBEAT"
    MERGE = "MERGE"


@dataclass(slots=True, eq=False)
class Event:
    kind: Kind
    summary: TrackSummary | None = None  # None: SNAPSHOT_END and HEARTBEAT


class Subscriber:
    """The events that wait for one watcher, in order. At most one UPDATE of a track waits: the newest."""

    def __init__(self, streams: Collection[str], min_interval_s: float, max_pending: int) -> None:
        self.wake = asyncio.Event()  # there may be something to take
        self.overflow = asyncio.Event()  # too much waited: nothing more comes
        self.closing = False  # nothing new comes; what waits is still sent
        self._streams = frozenset(streams)
        self._min_interval_s = min_interval_s
        self._max_pending = max_pending
        self._queue: deque[Event] = deque()
        self._pending = 0  # events in the queue without those of the snapshot
        self._updates: dict[str, Event] = {}  # track id -> its UPDATE in the queue
        self._early: dict[str, TrackSummary] = {}  # track id -> an update that min_interval holds back
        self._updated: dict[str, float] = {}  # track id -> when its last UPDATE was taken, s

    def wants(self, camera: str) -> bool:
        return not self._streams or camera in self._streams

    def begin(self, snapshot: Sequence[TrackSummary]) -> None:
        """The current tracks, before anything else. They do not count as pending: nobody is late at the start."""
        self._queue.extend(Event(Kind.SNAPSHOT, summary) for summary in snapshot)
        self._queue.append(Event(Kind.SNAPSHOT_END))

    def put(self, kind: Kind, summary: TrackSummary, now: float) -> None:
        """Let an event wait, `now` in s. Sets `overflow` and forgets everything if it is one too many."""
        if self.overflow.is_set() or not self.wants(summary.key.camera):
            return
        if kind is Kind.UPDATE:
            self._update(summary, now)
        else:
            self._early.pop(summary.key.id, None)
            self._append(Event(kind, summary))
        self.wake.set()

    def take(self, now: float) -> Event | None:
        """The next event that is due, `now` in s; None: nothing, until `wake` is set or `due` has come."""
        self.wake.clear()
        if self._queue:
            event = self._queue.popleft()
        else:
            ready = next((track_id for track_id in self._early if self._due(track_id) <= now), None)
            if ready is None:
                return None
            event = Event(Kind.UPDATE, self._early.pop(ready))
            self._pending += 1
        self._taken(event, now)
        return event

    def _taken(self, event: Event, now: float) -> None:
        if event.summary is None or event.kind is Kind.SNAPSHOT:
            return
        self._pending -= 1
        track_id = event.summary.key.id
        if event.kind is Kind.UPDATE:
            self._updates.pop(track_id, None)
            self._updated[track_id] = now
        elif event.kind in (Kind.END, Kind.MERGE):
            self._updated.pop(track_id, None)

    def due(self) -> float:
        """When the first update that is held back may go out, s; infinite: none is."""
        return min(map(self._due, self._early), default=float("inf"))

    def _due(self, track_id: str) -> float:
        return self._updated.get(track_id, float("-inf")) + self._min_interval_s

    def _update(self, summary: TrackSummary, now: float) -> None:
        track_id = summary.key.id
        if track_id in self._updates:
            self._updates[track_id].summary = summary
        elif self._due(track_id) > now:
            self._early[track_id] = summary
        else:
            self._early.pop(track_id, None)
            self._append(Event(Kind.UPDATE, summary))

    def _append(self, event: Event) -> None:
        self._queue.append(event)
        self._pending += 1
        if event.kind is Kind.UPDATE and event.summary is not None:
            self._updates[event.summary.key.id] = event
        if self._pending > self._max_pending:
            self._queue.clear()
            self._updates.clear()
            self._early.clear()
            self.overflow.set()


@dataclass(slots=True, eq=False)
class _LiveTrack:
    summary: TrackSummary  # the newest
    published: int  # revision of the last event
    published_at: float  # s
    analysed: tuple[str, int]  # model and samples of the newest


class Hub:
    """The live tracks and those who watch them. Times are `time.monotonic()` in s."""

    def __init__(self, config: Publish) -> None:
        self.closed = False
        self._config = config
        self._live: dict[str, _LiveTrack] = {}
        self._ended: dict[str, tuple[TrackSummary, float]] = {}  # oldest first, with the time of the end
        self._subscribers: list[Subscriber] = []

    def offer(self, summary: TrackSummary, now: float) -> None:
        """The newest state of a track: NEW at first, END or MERGE when final (exactly once), else UPDATE if its
        revision has grown or nothing was published of it for `update_interval_s`. What comes after the end is ignored.
        """
        track_id = summary.key.id
        self._forget_ended(now)
        live = self._live.get(track_id)
        if track_id in self._ended or (live is not None and summary.revision < live.summary.revision):
            return
        if live is None:
            live = self._live[track_id] = _LiveTrack(summary, summary.revision, now, ("", 0))
            self._publish(Kind.NEW, summary, now)
        if summary.final:
            del self._live[track_id]
            self._ended[track_id] = (summary, now)
            self._publish(Kind.MERGE if summary.merged_into else Kind.END, summary, now)
        elif summary.revision > live.published or now - live.published_at >= self._config.update_interval_s:
            live.published, live.published_at = summary.revision, now
            self._publish(Kind.UPDATE, summary, now)
        analysed = (summary.estimates.model_id, summary.estimates.samples)
        if summary.estimates.samples and analysed != live.analysed:
            metrics.result_latency_seconds.observe(now - summary.received)
        live.summary, live.analysed = summary, analysed

    def subscribe(
        self, streams: Collection[str] = (), snapshot: bool = False, min_interval_s: float = 0.0
    ) -> Subscriber:
        """Someone who hears of the tracks of these streams (none named: all) from now on."""
        subscriber = Subscriber(streams, min_interval_s, self._config.max_pending)
        subscriber.closing = self.closed
        if snapshot:
            subscriber.begin(self.live(streams))
        self._subscribers.append(subscriber)
        metrics.subscribers.inc()
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; counts those that were given up."""
        self._subscribers.remove(subscriber)
        metrics.subscribers.dec()
        if subscriber.overflow.is_set():
            metrics.subscriber_dropped.inc()

    def live(self, streams: Collection[str] = ()) -> list[TrackSummary]:
        """The tracks of these streams (none named: all) that have not ended, oldest first."""
        summaries = (live.summary for live in self._live.values())
        return sorted((one for one in summaries if not streams or one.key.camera in streams), key=lambda one: one.key)

    def get(self, track_id: str, now: float) -> TrackSummary | None:
        """A live or recently ended track."""
        self._forget_ended(now)
        if track_id in self._live:
            return self._live[track_id].summary
        return self._ended[track_id][0] if track_id in self._ended else None

    def close(self) -> None:
        """Nothing more will be offered: each subscriber gets what waits for it and is done."""
        self.closed = True
        for subscriber in self._subscribers:
            subscriber.closing = True
            subscriber.wake.set()

    def _publish(self, kind: Kind, summary: TrackSummary, now: float) -> None:
        for subscriber in self._subscribers:
            subscriber.put(kind, summary, now)

    def _forget_ended(self, now: float) -> None:
        while self._ended:
            oldest = next(iter(self._ended))
            if len(self._ended) <= ENDED_TRACKS and now - self._ended[oldest][1] < ENDED_S:
                return
            del self._ended[oldest]
