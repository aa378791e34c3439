"""A streamer for programs with asyncio: watch its tracks, ask for them, and manage its cameras.

async with aio.connect("127.0.0.1:50051") as streamer:
    async for event in streamer.watch():
        ...
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Unpack
from weakref import WeakSet

import grpc
import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from faceanalytics.conditions import Conditions, filter_of, ids
from faceanalytics.events import Event, Story
from faceanalytics.messages import fill
from faceanalytics.people_calls import AioPeople
from faceanalytics.system_values import Capacity, ModelStatus, Stats, StoreStatus, StreamStatus, value_of
from faceanalytics.track_values import to_track
from faceanalytics.tracks import LiveTrack
from faceanalytics.v1 import streams_pb2, streams_pb2_grpc, system_pb2, system_pb2_grpc, tracks_pb2, tracks_pb2_grpc
from faceanalytics.watching import LoginOptions, WatchOptions, connecting_with, split, watch_request
from streamer.tools.connection import Connecting
from streamer.tools.resumption import Backoff, check_address, refusal
from streamer.tools.subscription_aio import AioSubscription

ANSWER_S = 10.0  # longest wait for an answer, unless the caller says otherwise
PAGE = 500  # streams and models in one answer
TRACKS_PAGE = 100  # tracks in one answer; they may be large


class AioWatch:
    """An asynchronous iterator of events. It ends after `close`, or at the end of an `async with`."""

    def __init__(self, subscription: AioSubscription, heartbeats: bool) -> None:
        self._subscription = subscription
        self._events = _events(subscription, heartbeats)

    def __aiter__(self) -> "AioWatch":
        return self

    async def __anext__(self) -> Event:
        return await anext(self._events)

    async def __aenter__(self) -> "AioWatch":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """End the watch soon. May be called from any task of its event loop."""
        self._subscription.close()

    async def aclose(self) -> None:
        """End the watch, and close its connection unless another task is waiting for an event."""
        self.close()
        with suppress(RuntimeError):  # another task waits in it, and ends now
            await self._events.aclose()


class Streamer:
    """A streamer at an address. Each call waits at most `timeout_s` and raises StreamerError if it is refused."""

    def __init__(self, address: str, connect: Connecting, timeout_s: float) -> None:
        check_address(address)
        self.address = address
        self._connect = connect
        self._timeout_s = timeout_s
        self._watches: WeakSet[AioWatch] = WeakSet()
        self._opened: grpc.aio.Channel | None = None

    async def __aenter__(self) -> "Streamer":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all watches and close the connections."""
        for watch in list(self._watches):
            await watch.aclose()
        if self._opened is not None:
            await self._opened.close(None)
            self._opened = None

    # --- tracks

    def watch(
        self,
        streams: Sequence[str] = (),
        *,
        resume_token: str = "",
        since: datetime | None = None,
        allow_gap: bool = True,
        min_interval_s: float = 0.0,
        embeddings: bool = False,
        heartbeats: bool = False,
        **conditions: Unpack[Conditions],
    ) -> AioWatch:
        """Iterate over what happens to the tracks, over as many connections as it takes; see `faceanalytics.watch`."""
        request = watch_request(
            streams,
            resume_token,
            since,
            conditions,
            allow_gap=allow_gap,
            min_interval_s=min_interval_s,
            embeddings=embeddings,
        )
        watch = AioWatch(AioSubscription(self.address, request, self._connect), heartbeats)
        self._watches.add(watch)
        return watch

    async def get_track(self, track_id: str, *, embedding: bool = False) -> LiveTrack:
        """Return one track, live or stored. Raises StreamerError with the code NOT_FOUND."""
        request = tracks_pb2.GetTrackRequest(track_id=track_id, include_embedding=embedding)
        return to_track((await self._read(self._tracks.GetTrack, request)).track)

    async def get_face(self, track_id: str) -> bytes | None:
        """Return the best picture of a track as JPEG, 112 x 112 pixels; None: none is stored, or you may not see it."""
        request = tracks_pb2.GetTrackRequest(track_id=track_id, include_face=True)
        return (await self._read(self._tracks.GetTrack, request)).face_jpeg or None

    async def list_tracks(
        self,
        streams: Sequence[str] = (),
        *,
        past: bool = False,
        embeddings: bool = False,
        **conditions: Unpack[Conditions],
    ) -> AsyncGenerator[LiveTrack, None]:
        """Yield the live tracks, and with `past` those that have ended, oldest first, page by page.

        `conditions`: see Conditions, such as `seen_since`, `states`, `persons` and `min_age_years`.
        """
        request = tracks_pb2.ListTracksRequest(
            stream_ids=ids(streams),
            page_size=TRACKS_PAGE,
            past=past,
            include_embedding=embeddings,
            filter=filter_of(conditions),
        )
        async with aclosing(self._pages(self._tracks.ListTracks, request)) as pages:
            async for page in pages:
                for track in page.tracks:
                    yield to_track(track)

    # --- cameras

    async def list_streams(self) -> list[StreamStatus]:
        """Return all cameras, sorted by id."""
        pages = self._pages(self._streams.ListStreams, streams_pb2.ListStreamsRequest(page_size=PAGE))
        return [value_of(StreamStatus, one) async for page in pages for one in page.streams]

    async def get_stream(self, stream_id: str) -> StreamStatus:
        """Return one camera. Raises StreamerError with the code NOT_FOUND."""
        request = streams_pb2.GetStreamRequest(stream_id=stream_id)
        return value_of(StreamStatus, (await self._read(self._streams.GetStream, request)).stream)

    async def create_stream(self, stream_id: str, *, uri: str = "", **settings: Any) -> StreamStatus:
        """Add a camera and connect it. `settings`: by their names in StreamSettings, durations in seconds.

        Raises ConfigError for a name that does not exist, StreamerError if the streamer refuses.
        """
        request = streams_pb2.CreateStreamRequest(stream_id=stream_id)
        fill(request.settings, {"uri": uri or None, **settings})
        return value_of(StreamStatus, (await self._change(self._streams.CreateStream, request)).stream)

    async def update_stream(self, stream_id: str, **settings: Any) -> StreamStatus:
        """Change these settings of a camera, and no others; None sets one to its default. Raises as create_stream."""
        request = streams_pb2.UpdateStreamRequest(stream_id=stream_id, update_mask=FieldMask(paths=[*settings]))
        fill(request.settings, settings)
        return value_of(StreamStatus, (await self._change(self._streams.UpdateStream, request)).stream)

    async def delete_stream(self, stream_id: str) -> None:
        """Disconnect and remove a camera; its tracks end."""
        await self._change(self._streams.DeleteStream, streams_pb2.DeleteStreamRequest(stream_id=stream_id))

    # --- the streamer

    async def list_models(self) -> list[ModelStatus]:
        """Return the models of the connected workers, sorted by id."""
        pages = self._pages(self._system.ListModels, system_pb2.ListModelsRequest(page_size=PAGE))
        return [value_of(ModelStatus, one) async for page in pages for one in page.models]

    async def get_stats(self) -> Stats:
        """Return what the streamer has done since its start and in the last minute."""
        return value_of(Stats, await self._read(self._system.GetStats, system_pb2.GetStatsRequest()))

    async def get_capacity(self) -> Capacity:
        """Return how busy the streamer is, and how many more cameras it could take."""
        return value_of(Capacity, await self._read(self._system.GetCapacity, system_pb2.GetCapacityRequest()))

    async def get_store(self) -> StoreStatus:
        """Return what the store holds. Raises StreamerError with the code FAILED_PRECONDITION without a store."""
        return value_of(StoreStatus, await self._read(self._system.GetStore, system_pb2.GetStoreRequest()))

    async def is_serving(self) -> bool:
        """Return whether results can be expected: a worker is connected, and the streamer is not stopping."""
        service = health_pb2_grpc.HealthStub(self._channel)
        answer = await self._read(service.Check, health_pb2.HealthCheckRequest())
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    # --- people

    @property
    def people(self) -> AioPeople:
        """The people whom the streamer recognises."""
        return AioPeople(_Calls(self))

    # --- calls

    @property
    def _channel(self) -> grpc.aio.Channel:
        """The connection of all calls but the watches, which have their own."""
        if self._opened is None:
            self._opened = self._connect.aio(self.address)
        return self._opened

    @property
    def _tracks(self) -> Any:
        return tracks_pb2_grpc.TrackServiceStub(self._channel)

    @property
    def _streams(self) -> Any:
        return streams_pb2_grpc.StreamServiceStub(self._channel)

    @property
    def _system(self) -> Any:
        return system_pb2_grpc.SystemServiceStub(self._channel)

    async def _pages(self, method: Any, request: Any) -> AsyncGenerator[Any, None]:
        while True:
            page = await self._read(method, request)
            yield page
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    async def _read(self, method: Any, request: Message) -> Any:
        """Ask for something, again while the streamer is not there and `timeout_s` is not over."""
        backoff, loop = Backoff(), asyncio.get_running_loop()
        end = loop.time() + self._timeout_s
        while True:
            try:
                return await method(request, timeout=end - loop.time(), metadata=self._connect.metadata)
            except grpc.aio.AioRpcError as error:
                delay = backoff.next()
                if error.code() is not grpc.StatusCode.UNAVAILABLE or loop.time() + delay >= end:
                    raise refusal(error) from error
            await asyncio.sleep(delay)

    async def _change(self, method: Any, request: Any, timeout_s: float | None = None) -> Any:
        """Change something, once: without an answer it is not known whether it was done."""
        try:
            return await method(request, timeout=timeout_s or self._timeout_s, metadata=self._connect.metadata)
        except grpc.aio.AioRpcError as error:
            raise refusal(error) from error


class _Calls:
    """The calls of a streamer, for those about its people."""

    def __init__(self, streamer: Streamer) -> None:
        self._streamer = streamer
        self.read = streamer._read
        self.change = streamer._change

    def stub(self, kind: Callable[[Any], Any]) -> Any:
        """Return the methods of a service."""
        return kind(self._streamer._channel)

    async def stream(self, method: Any, request: Message, timeout_s: float) -> AsyncGenerator[Any, None]:
        """Yield the answers to a request. Raises StreamerError."""
        try:
            async for answer in method(request, timeout=timeout_s, metadata=self._streamer._connect.metadata):
                yield answer
        except grpc.aio.AioRpcError as error:
            raise refusal(error) from error


def connect(address: str, *, timeout_s: float = ANSWER_S, **login: Unpack[LoginOptions]) -> Streamer:
    """Return the streamer at an address (host:port), for use with `async with`. It connects at the first call.

    `timeout_s`: longest wait for the answer to a call, s; questions are repeated while the streamer is not there.
    `login`: `token` or `token_file`; `tls_ca`, `tls`, `tls_certificate`, `tls_key`; `insecure`: see LoginOptions.

    Raises ConfigError for an address of another form, and for files and tokens that cannot be used.
    """
    return Streamer(address, connecting_with(login), timeout_s)


def watch_async(
    address: str,
    streams: Sequence[str] = (),
    *,
    resume_token: str = "",
    since: datetime | None = None,
    allow_gap: bool = True,
    min_interval_s: float = 0.0,
    embeddings: bool = False,
    heartbeats: bool = False,
    **options: Unpack[WatchOptions],
) -> AioWatch:
    """Iterate over the events of `faceanalytics.watch` without blocking the event loop, with `async for`."""
    login, conditions = split(options)
    request = watch_request(
        streams,
        resume_token,
        since,
        conditions,
        allow_gap=allow_gap,
        min_interval_s=min_interval_s,
        embeddings=embeddings,
    )
    return AioWatch(AioSubscription(address, request, connecting_with(login)), heartbeats)


async def _events(subscription: AioSubscription, heartbeats: bool) -> AsyncGenerator[Event, None]:
    story = Story(heartbeats)
    async with aclosing(aiter(subscription)) as messages:
        async for message in messages:
            for event in story.events(message):
                yield event
