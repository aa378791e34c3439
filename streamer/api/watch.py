"""Sends the messages of one watch: stored events first, if it resumes, then those of the hub."""

from datetime import UTC
from typing import Any, NoReturn, TypeAlias

import grpc
from grpc import aio

from faceanalytics.v1 import tracks_pb2
from streamer.api.track_messages import to_proto
from streamer.hub import Event, Hub, Kind
from streamer.store.log import Log
from streamer.store.values import OF_TRACKS, ForgedToken, LogEvent, LogKind, Missing, StoreUnavailable

WatchContext: TypeAlias = aio.ServicerContext[tracks_pb2.WatchTracksRequest, tracks_pb2.WatchTracksResponse]

CHUNK = 200  # events read from the log at once
_TYPES = {
    LogKind.NEW: tracks_pb2.EVENT_TYPE_NEW,
    LogKind.MERGE: tracks_pb2.EVENT_TYPE_MERGE,
    LogKind.SPLIT: tracks_pb2.EVENT_TYPE_END,
    LogKind.END: tracks_pb2.EVENT_TYPE_END,
}


class Sender:
    """Numbers the messages of a watch, and gives each the token from which the watch can be resumed after it."""

    def __init__(self, context: WatchContext, include_embedding: bool, log: Log | None, place: int) -> None:
        """`place`: sequence of the log up to which the client has received everything."""
        self.place = place
        self.count = 0  # messages sent
        self._context = context
        self._include_embedding = include_embedding
        self._log = log

    async def send(self, event: Event) -> None:
        """Send an event of the hub."""
        self.place = max(self.place, event.sequence)
        message = tracks_pb2.WatchTracksResponse(
            type=tracks_pb2.EventType.Value(f"EVENT_TYPE_{event.kind.value}"),
            track=to_proto(event.summary, self._include_embedding) if event.summary else None,
            log_sequence=event.sequence,
            unstored=not event.stored,
        )
        await self._write(message)

    async def send_stored(self, event: LogEvent) -> None:
        """Send an event of the log."""
        self.place = event.sequence
        track = tracks_pb2.Track.FromString(event.payload)
        await self._write(
            tracks_pb2.WatchTracksResponse(type=_TYPES[event.kind], track=track, log_sequence=event.sequence)
        )

    async def send_gap(self, missing: Missing) -> None:
        """Say which events cannot be sent."""
        self.place = missing.last
        gap = tracks_pb2.Gap(to=missing.last, count=missing.count, **{"from": missing.first})
        await self._write(tracks_pb2.WatchTracksResponse(type=tracks_pb2.EVENT_TYPE_GAP, gap=gap))

    async def _write(self, message: tracks_pb2.WatchTracksResponse) -> None:
        self.count += 1
        message.sequence = self.count
        if self._log is not None:
            message.resume_token = self._log.token(self.place)
            message.instance_id = self._log.instance_id
        message.published_at.GetCurrentTime()
        await self._context.write(message)


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
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "since: not together with resume_token")
    if log is None:
        await context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            "resume_token, since: this streamer keeps no events (store: null); watch with snapshot",
        )
    try:
        if resumes:
            place = min(log.place_of(request.resume_token), hub.sequence)
        else:
            place = min(await log.place_at(request.since.ToDatetime(UTC)), hub.sequence)
        missing = await log.missing(place, hub.sequence)
    except ForgedToken:
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT, "resume_token: was not made by this store; watch with snapshot"
        )
    except ValueError as error:  # a time beyond all calendars
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"since: {error}")
    except StoreUnavailable as error:
        await unavailable(error, context)
    if missing is not None and not request.allow_gap:
        await _too_old(missing, context)
    return place


class Replay:
    """Sends stored events, and a GAP where they are no longer stored and the client accepts that."""

    def __init__(self, log: Log, sender: Sender, request: tracks_pb2.WatchTracksRequest, context: WatchContext) -> None:
        self._log = log
        self._sender = sender
        self._cameras = frozenset(request.stream_ids)  # empty: all
        self._allow_gap = request.allow_gap
        self._context = context

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
                if event.kind in OF_TRACKS and (not self._cameras or event.camera in self._cameras):
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
    await context.abort(
        grpc.StatusCode.OUT_OF_RANGE,
        f"{missing.count} events after this token are no longer stored ({missing.first} to {missing.last}); "
        "set allow_gap to continue with the first one that is, and snapshot for the present state",
    )


async def unavailable(error: StoreUnavailable, context: aio.ServicerContext[Any, Any]) -> NoReturn:
    await context.abort(grpc.StatusCode.UNAVAILABLE, f"the store does not work now: {error}; try again")
