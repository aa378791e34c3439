"""TrackService: carries the events out of the hub; the state is there."""

import asyncio
import time

import grpc
from grpc import aio

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from streamer.api.messages import seconds, to_proto
from streamer.config import Publish
from streamer.hub import Event, Hub, Kind, Subscriber, page

WatchContext = aio.ServicerContext[tracks_pb2.WatchTracksRequest, tracks_pb2.WatchTracksResponse]


class TrackService(tracks_pb2_grpc.TrackServiceServicer):
    def __init__(self, config: Publish, hub: Hub) -> None:
        self._config = config
        self._hub = hub

    async def WatchTracks(  # type: ignore[override]  # noqa: N802  # it writes instead of yielding
        self, request: tracks_pb2.WatchTracksRequest, context: WatchContext
    ) -> None:
        min_interval_s = seconds(request.min_interval)
        if min_interval_s < 0:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "min_interval: must not be negative")
        if self._hub.closed:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the streamer is stopping")
        subscriber = self._hub.subscribe(request.stream_ids, request.snapshot, min_interval_s)
        try:
            await self._send_until_lost(subscriber, request.include_embedding, context)
        finally:
            self._hub.unsubscribe(subscriber)
        if subscriber.overflow.is_set():
            # arrives behind what the client has not read; waits for that, or for the client or the server to go
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, self._too_slow())

    async def GetTrack(  # noqa: N802
        self,
        request: tracks_pb2.GetTrackRequest,
        context: aio.ServicerContext[tracks_pb2.GetTrackRequest, tracks_pb2.GetTrackResponse],
    ) -> tracks_pb2.GetTrackResponse:
        summary = self._hub.get(request.track_id, time.monotonic())
        if summary is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"track_id: no live or recent track {request.track_id!r}")
        return tracks_pb2.GetTrackResponse(track=to_proto(summary, request.include_embedding))

    async def ListTracks(  # noqa: N802
        self,
        request: tracks_pb2.ListTracksRequest,
        context: aio.ServicerContext[tracks_pb2.ListTracksRequest, tracks_pb2.ListTracksResponse],
    ) -> tracks_pb2.ListTracksResponse:
        del context
        live = self._hub.live(request.stream_ids)
        summaries, token = page(live, lambda summary: summary.key.id, request.page_token, request.page_size)
        tracks = [to_proto(summary, request.include_embedding) for summary in summaries]
        return tracks_pb2.ListTracksResponse(tracks=tracks, next_page_token=token)

    async def _send_until_lost(self, subscriber: Subscriber, include_embedding: bool, context: WatchContext) -> None:
        """Until everything is sent after the hub has closed, or until the subscriber has overflowed. The latter comes
        while a write is waiting for the client, so it needs a task of its own."""
        sending = asyncio.ensure_future(self._send(subscriber, include_embedding, context))
        overflow = asyncio.ensure_future(subscriber.overflow.wait())
        try:
            await asyncio.wait({sending, overflow}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            overflow.cancel()
            await asyncio.wait({sending, overflow})

    async def _send(self, subscriber: Subscriber, include_embedding: bool, context: WatchContext) -> None:
        """Each write waits for the one before it: what a client does not read piles up in the hub's bounded queue."""
        await context.send_initial_metadata(())  # tells the client that from here on it misses nothing
        sequence = 0
        while (event := await self._next(subscriber)) is not None:
            sequence += 1
            await context.write(_to_message(event, sequence, include_embedding))

    async def _next(self, subscriber: Subscriber) -> Event | None:
        """The next event, a heartbeat if there is none for long; None: the hub is closed and all is sent."""
        silent_until = time.monotonic() + self._config.heartbeat_s
        while True:
            now = time.monotonic()
            event = subscriber.take(now)
            if event is not None or subscriber.closing:
                return event
            if now >= silent_until:
                return Event(Kind.HEARTBEAT)
            try:
                await asyncio.wait_for(subscriber.wake.wait(), min(silent_until, subscriber.due()) - now)
            except TimeoutError:
                continue

    def _too_slow(self) -> str:
        return f"more than {self._config.max_pending} events waited for this client; watch again with a snapshot"


def _to_message(event: Event, sequence: int, include_embedding: bool) -> tracks_pb2.WatchTracksResponse:
    """The message for an event, published now."""
    message = tracks_pb2.WatchTracksResponse(
        type=tracks_pb2.EventType.Value(f"EVENT_TYPE_{event.kind.value}"),
        sequence=sequence,
        track=to_proto(event.summary, include_embedding) if event.summary else None,
    )
    message.published_at.GetCurrentTime()
    return message
