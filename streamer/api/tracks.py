"""TrackService: sends the tracks of the hub and of the store to clients. All state is there."""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Coroutine
from datetime import UTC, datetime
from typing import Any

from grpc import aio

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from streamer.api.callers import visible_cameras
from streamer.api.errors import Why, refuse
from streamer.api.messages import seconds
from streamer.api.paging import page, page_size, page_token, place_of
from streamer.api.problems import SHOWN, no_track, shown
from streamer.api.shared import SharedEvents
from streamer.api.streams import Cameras
from streamer.api.track_filter import matches, query_of
from streamer.api.track_messages import to_proto
from streamer.api.watch import CHUNK, Replay, Sender, WatchContext, heartbeat, marks_of, place_to_resume, unavailable
from streamer.api.watch_filter import Wanted
from streamer.config import Publish
from streamer.hub import Event, Hub, Subscriber
from streamer.store.rows import searched
from streamer.store.store import Store
from streamer.store.values import StoreUnavailable, TrackQuery

PAGE_WITH_FACES = 200  # tracks; a picture has about 5 kB, and clients accept 4 MB


class TrackService(tracks_pb2_grpc.TrackServiceServicer):
    """Serves the tracks and events of a Hub, and those of a Store; the methods are described in tracks.proto."""

    def __init__(
        self, config: Publish, hub: Hub, cameras: Cameras, store: Store | None = None, instance_id: str = ""
    ) -> None:
        """`instance_id`: of this run of the streamer."""
        self._config = config
        self._instance_id = instance_id
        self._hub = hub
        self._cameras = cameras
        self._store = store
        self._log = store.log if store else None
        self._events = SharedEvents()

    async def WatchTracks(  # type: ignore[override]  # noqa: N802  # writes instead of yielding
        self, request: tracks_pb2.WatchTracksRequest, context: WatchContext
    ) -> None:
        min_interval_s = seconds(request.min_interval)
        if min_interval_s < 0:
            await refuse(context, Why.INVALID_FIELD, "min_interval: must not be negative")
        if self._hub.closed:
            await refuse(context, Why.STOPPING, "the streamer is stopping")
        query = await query_of(request.filter, request.stream_ids, context)
        await self._check_streams(query.cameras, context)
        place = await place_to_resume(request, self._log, self._hub, context)
        wanted = Wanted(query, marks_of(request, self._log)) if request.HasField("filter") else None
        begin = self._hub.sequence if place is None else place
        events, instance = self._events, self._instance_id
        sender = Sender(context, request.include_embedding, self._log, begin, wanted, instance, events)
        resume = None
        if place is not None and self._log is not None:
            resume = Replay(self._log, sender, request, context)
            await context.send_initial_metadata(())
            while self._hub.sequence - sender.place > CHUNK:  # while the client catches up, nothing waits for it
                await resume.send(self._hub.sequence)
        subscriber = self._hub.subscribe(query.cameras, request.snapshot, min_interval_s)
        if resume is not None:
            resume.limit(self._hub)  # what happens from here on is in the queue
        try:
            await _until_overflow(self._send(subscriber, sender, resume, context), subscriber)
        finally:
            self._hub.unsubscribe(subscriber)
        if subscriber.overflow.is_set():
            # the status arrives after the unread messages: this waits for the client to read them, or for either
            # side to close the connection
            await refuse(context, Why.SUBSCRIBER_TOO_SLOW, self._too_slow())

    async def GetTrack(  # noqa: N802
        self,
        request: tracks_pb2.GetTrackRequest,
        context: aio.ServicerContext[tracks_pb2.GetTrackRequest, tracks_pb2.GetTrackResponse],
    ) -> tracks_pb2.GetTrackResponse:
        summary = self._hub.get(request.track_id, time.monotonic())
        track = to_proto(summary, request.include_embedding) if summary is not None else None
        face = b""
        if self._store is not None:
            if track is not None:
                self._store.naming.fill(track)  # it may have ended before its person was renamed or erased
            try:
                stored = await self._store.history.get(request.track_id) if track is None else None
                track = track if stored is None else tracks_pb2.Track.FromString(stored)
                face = await self._store.history.face(request.track_id) if request.include_face else b""
            except StoreUnavailable as error:
                await unavailable(error, context)
        if track is None:
            await refuse(context, Why.TRACK_NOT_FOUND, no_track(request.track_id))
        return tracks_pb2.GetTrackResponse(track=track, face_jpeg=face)

    async def ListTracks(  # noqa: N802
        self,
        request: tracks_pb2.ListTracksRequest,
        context: aio.ServicerContext[tracks_pb2.ListTracksRequest, tracks_pb2.ListTracksResponse],
    ) -> tracks_pb2.ListTracksResponse:
        query = await query_of(request.filter, request.stream_ids, context)
        after = await place_of(request.page_token, context)
        await self._check_streams(query.cameras, context)
        now, size = datetime.now(UTC), page_size(request.page_size)
        size = min(size, PAGE_WITH_FACES) if request.include_face else size
        live = [to_proto(summary, request.include_embedding) for summary in self._hub.live(query.cameras)]
        found = {track.track_id: track for track in live if matches(track, query, now)}
        if request.past:
            found |= await self._ended(query, after, size + 1, context, request.newest_first)
        if request.newest_first:
            tracks = [found[name] for name in sorted(found, reverse=True) if not after or name < after][: size + 1]
            token = page_token(tracks[size - 1].track_id) if len(tracks) > size else ""
            tracks = tracks[:size]
        else:
            tracks, token = page([found[name] for name in sorted(found)], lambda track: track.track_id, after, size)
        faces = await self._faces([track.track_id for track in tracks], context) if request.include_face else {}
        return tracks_pb2.ListTracksResponse(tracks=tracks, next_page_token=token, faces_jpeg=faces)

    async def CountTracks(  # noqa: N802
        self,
        request: tracks_pb2.CountTracksRequest,
        context: aio.ServicerContext[tracks_pb2.CountTracksRequest, tracks_pb2.CountTracksResponse],
    ) -> tracks_pb2.CountTracksResponse:
        query = await query_of(request.filter, (), context)
        await self._check_streams(query.cameras, context)
        if self._store is None:
            await refuse(context, Why.NO_STORE, "this streamer keeps no tracks (store: null)")
        try:
            counts = Counter(await self._store.history.hours(query))
        except StoreUnavailable as error:
            await unavailable(error, context)
        now = datetime.now(UTC)
        for summary in self._hub.live(query.cameras):
            track = to_proto(summary, False)
            if matches(track, query, now):
                first: datetime = searched(track, now)["first_seen"]
                counts[first.replace(minute=0, second=0, microsecond=0)] += 1
        answer = tracks_pb2.CountTracksResponse()
        for hour in sorted(counts):
            answer.hours.add(tracks=counts[hour]).hour.FromDatetime(hour)
        return answer

    async def _faces(self, track_ids: list[str], context: aio.ServicerContext[Any, Any]) -> dict[str, bytes]:
        try:
            return await self._store.history.faces(track_ids) if self._store is not None else {}
        except StoreUnavailable as error:
            await unavailable(error, context)

    async def _ended(
        self, query: TrackQuery, after: str, limit: int, context: aio.ServicerContext[Any, Any], newest: bool
    ) -> dict[str, tracks_pb2.Track]:
        if self._store is None:
            await refuse(context, Why.NO_STORE, "past: this streamer keeps no tracks (store: null)")
        try:
            payloads = await self._store.history.ended(query, after, limit, newest)
        except StoreUnavailable as error:
            await unavailable(error, context)
        tracks = [tracks_pb2.Track.FromString(payload) for payload in payloads]
        return {track.track_id: track for track in tracks}

    async def _check_streams(self, stream_ids: Collection[str], context: aio.ServicerContext[Any, Any]) -> None:
        """Abort the call with NOT_FOUND if there is no such stream, neither now nor among what is stored."""
        if not stream_ids:
            return
        there = await asyncio.to_thread(self._cameras.list)
        unknown = set(stream_ids) - {stream.id for stream, _ in there}
        unknown -= {summary.key.camera for summary in self._hub.live(unknown)} if unknown else set()
        unknown -= set(visible_cameras.get())  # a token may be for a camera that has been removed
        if unknown and self._store is not None:
            try:
                unknown -= await self._store.history.cameras(unknown)
            except StoreUnavailable as error:
                await unavailable(error, context)
        if unknown:
            names = ", ".join(shown(name) for name in sorted(unknown))
            text, first = f"stream_ids: there is no stream {names}", min(unknown)[:SHOWN]
            await refuse(context, Why.STREAM_NOT_FOUND, text, stream_id=first)

    async def _send(self, subscriber: Subscriber, sender: Sender, resume: Replay | None, context: WatchContext) -> None:
        """Send one event after another. Each write waits for the one before: unread events stay in the hub's queue."""
        if resume is not None:
            await resume.finish()
        else:
            await context.send_initial_metadata(())  # the client knows that it misses nothing from here on
        while (event := await self._next(subscriber, sender)) is not None:
            await sender.send(event)

    async def _next(self, subscriber: Subscriber, sender: Sender) -> Event | None:
        """Wait for the next event, or for a heartbeat after `heartbeat_s`. None: the hub is closed and all is sent."""
        silent_until = time.monotonic() + self._config.heartbeat_s
        while True:
            now = time.monotonic()
            event = subscriber.take(now)
            if event is not None or subscriber.closing:
                return event
            if now >= silent_until:
                return heartbeat(sender, self._hub)
            try:
                await asyncio.wait_for(subscriber.wake.wait(), min(silent_until, subscriber.due()) - now)
            except TimeoutError:
                continue

    def _too_slow(self) -> str:
        how = "with the last resume_token" if self._log is not None else "with a snapshot"
        return f"more than {self._config.max_pending} events waited for this client; watch again {how}"


async def _until_overflow(send: Coroutine[Any, Any, None], subscriber: Subscriber) -> None:
    """Send events until the hub has closed and all are sent, or until the subscriber has overflowed.

    An overflow happens while a write waits for the client, so it needs a task of its own.
    """
    sending = asyncio.ensure_future(send)
    overflow = asyncio.ensure_future(subscriber.overflow.wait())
    try:
        await asyncio.wait({sending, overflow}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
    finally:
        sending.cancel()
        overflow.cancel()
        await asyncio.wait({sending, overflow})
        if not sending.cancelled():
            sending.exception()  # it was seen, also if the client has gone meanwhile
