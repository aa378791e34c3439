"""Sends the messages of one watch: stored events first, if it resumes, then those of the hub."""

import logging
import time
from datetime import UTC
from typing import Any, NoReturn, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from faceanalytics.v1 import tracks_pb2
from streamer.api.errors import Why, refuse
from streamer.api.shared import Answer, Shared, SharedEvents
from streamer.api.watch_filter import Wanted
from streamer.hub import Event, Hub, Kind
from streamer.store.log import Log
from streamer.store.values import OF_TRACKS, ForgedToken, LogEvent, LogKind, Missing, StoreUnavailable

log = logging.getLogger(__name__)

WatchContext: TypeAlias = aio.ServicerContext[tracks_pb2.WatchTracksRequest, tracks_pb2.WatchTracksResponse]

CHUNK = 200  # events read from the log at once
_KINDS = {
    LogKind.NEW: Kind.NEW,
    LogKind.MERGE: Kind.MERGE,
    LogKind.SPLIT: Kind.END,
    LogKind.END: Kind.END,
    LogKind.REVISION: Kind.REVISION,
    LogKind.JOURNEY: Kind.JOURNEY,
}


def _type(kind: Kind) -> "tracks_pb2.EventType.ValueType":
    return tracks_pb2.EventType.Value(f"EVENT_TYPE_{kind.value}")


class Sender:
    """Numbers the messages of a watch, and gives each the token from which the watch can be resumed after it."""

    def __init__(
        self,
        context: WatchContext,
        include_embedding: bool,
        log: Log | None,
        place: int,
        wanted: Wanted | None,
        instance_id: str,
        events: SharedEvents,
    ) -> None:
        """`place`: sequence of the log up to which the client has received everything. `wanted`: None: all tracks."""
        self._instance_id = instance_id
        self.place = place
        self.wanted = wanted
        self.count = 0  # messages sent
        self._context = context
        self._include_embedding = include_embedding
        self._log = log
        self._events = events

    async def send(self, event: Event) -> None:
        """Send an event of the hub, if it is wanted."""
        shared = self._events.of(event, self._include_embedding)
        if self.wanted is None or (event.summary is None and not event.payload):
            self.place = max(self.place, event.sequence)
            await self._write(shared)
            return
        for kind in self.wanted.kinds(event.kind, shared.message.track):
            if kind is event.kind:
                self.place = max(self.place, event.sequence)
                await self._write(shared)
            else:
                await self._write(self._events.of(Event(kind, event.summary), self._include_embedding))
        self.place = max(self.place, event.sequence)

    async def send_stored(self, event: LogEvent) -> None:
        """Send an event of the log, if it is wanted. A decision is of interest only if a track fits because of it."""
        track, itself = tracks_pb2.Track.FromString(event.payload), _KINDS.get(event.kind, Kind.UPDATE)
        for kind in self.wanted.kinds(itself, track) if self.wanted is not None else (itself,):
            if kind is not itself:  # a NEW before it or instead of it: the client has not all up to this sequence yet
                await self._write(Shared(tracks_pb2.WatchTracksResponse(type=_type(kind), track=track)))
            elif kind is not Kind.UPDATE:
                self.place = event.sequence
                message = tracks_pb2.WatchTracksResponse(type=_type(kind), track=track, log_sequence=event.sequence)
                await self._write(Shared(message))
        self.place = event.sequence

    async def send_gap(self, missing: Missing) -> None:
        """Say which events cannot be sent."""
        self.place = missing.last
        gap = tracks_pb2.Gap(to=missing.last, count=missing.count, **{"from": missing.first})
        await self._write(Shared(tracks_pb2.WatchTracksResponse(type=tracks_pb2.EVENT_TYPE_GAP, gap=gap)))

    async def _write(self, shared: Shared) -> None:
        self.count += 1
        seconds, nanos = divmod(time.time_ns(), 10**9)
        own = tracks_pb2.WatchTracksResponse(sequence=self.count, published_at=Timestamp(seconds=seconds, nanos=nanos))
        own.instance_id = self._instance_id
        if self._log is not None:
            own.resume_token = self._log.token(self.place, self.wanted.marks if self.wanted is not None else None)
        answer: Any = Answer(shared, own.SerializeToString())  # the guard encodes it
        await self._context.write(answer)


async def place_to_resume(
    request: tracks_pb2.WatchTracksRequest, log: Log | None, hub: Hub, context: WatchContext
) -> int | None:
    """Return the sequence after which the watch begins; None: it begins now.

    Aborts the call if the request cannot be satisfied, see WatchTracks in tracks.proto.
    """
    resumes, since = bool(request.resume_token), request.HasField("since")
    if not resumes and not since:
        return None
    if resumes and since:
        await refuse(context, Why.INVALID_FIELD, "since: not together with resume_token")
    if log is None:
        text = "resume_token, since: this streamer keeps no events (store: null); watch with snapshot"
        await refuse(context, Why.NO_STORE, text)
    try:
        if resumes:
            place = min(log.place_of(request.resume_token), hub.sequence)
        else:
            place = min(await log.place_at(request.since.ToDatetime(UTC)), hub.sequence)
        missing = await log.missing(place, hub.sequence)
    except ForgedToken:
        await refuse(context, Why.INVALID_RESUME_TOKEN, "resume_token: was not made by this store; watch with snapshot")
    except ValueError as error:  # a time beyond all calendars
        await refuse(context, Why.INVALID_FIELD, f"since: {error}")
    except StoreUnavailable as error:
        await unavailable(error, context)
    if missing is not None and not request.allow_gap:
        await _too_old(missing, context)
    return place


def marks_of(request: tracks_pb2.WatchTracksRequest, log: Log | None) -> frozenset[bytes]:
    """Return the marks of the tracks that the client has received, see watch_filter.py. The token is not forged."""
    return log.marks_of(request.resume_token) if log is not None and request.resume_token else frozenset()


class Replay:
    """Sends stored events, and a GAP where they are no longer stored and the client accepts that."""

    def __init__(self, log: Log, sender: Sender, request: tracks_pb2.WatchTracksRequest, context: WatchContext) -> None:
        self._log = log
        self._sender = sender
        self._cameras = frozenset(request.stream_ids or request.filter.stream_ids)  # empty: all
        self._kinds = OF_TRACKS if sender.wanted is None else OF_TRACKS | {LogKind.DECISION}
        self._allow_gap = request.allow_gap
        self._context = context
        self._through = 0
        self._live: list[str] = []

    def limit(self, hub: Hub) -> None:
        """Note what is published now: events after it come from the hub."""
        self._through = hub.sequence
        self._live = [summary.key.id for summary in hub.live()]

    async def finish(self) -> None:
        """Send the events up to the limit."""
        await self.send(self._through)
        if self._sender.wanted is not None:
            self._sender.wanted.keep(self._live)

    async def send(self, through: int) -> None:
        """Send the events from the place of the sender up to a sequence."""
        sender = self._sender
        while sender.place < through:
            try:
                batch = await self._log.read(sender.place, through, CHUNK)
            except StoreUnavailable as error:
                await unavailable(error, self._context)
            for event in batch:
                await self._send_gap_before(event.sequence)
                if event.kind in self._kinds and (not self._cameras or event.camera in self._cameras):
                    await sender.send_stored(event)
                sender.place = event.sequence
            if len(batch) < CHUNK:
                await self._send_gap_before(through + 1)

    async def _send_gap_before(self, sequence: int) -> None:
        absent = sequence - 1 - self._sender.place
        if absent > 0:
            missing = Missing(self._sender.place + 1, sequence - 1, absent)
            if not self._allow_gap:
                await _too_old(missing, self._context)
            await self._sender.send_gap(missing)


def heartbeat(sender: Sender, hub: Hub) -> Event:
    """Return a heartbeat. No event waits for this client: it has received all that was published."""
    sender.place = max(sender.place, hub.sequence)
    return Event(Kind.HEARTBEAT)


async def _too_old(missing: Missing, context: aio.ServicerContext[Any, Any]) -> NoReturn:
    which = {"from": str(missing.first), "to": str(missing.last), "count": str(missing.count)}
    await refuse(
        context,
        Why.EVENTS_DELETED,
        f"{missing.count} events after this token are no longer stored ({missing.first} to {missing.last}); "
        "set allow_gap to continue with the first one that is, and snapshot for the present state",
        **which,
    )


async def unavailable(error: StoreUnavailable, context: aio.ServicerContext[Any, Any]) -> NoReturn:
    log.debug("a call failed: the store does not work: %s", error)  # the client need not know where it is
    await refuse(context, Why.STORE_UNAVAILABLE, "the store does not work now; try again")
