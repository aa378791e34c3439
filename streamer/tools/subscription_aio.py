"""Watches a streamer's tracks over as many connections as it takes, with asyncio."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import grpc
import grpc.aio

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from streamer.tools.connection import Connecting
from streamer.tools.resumption import Interruption, Resumption


class AioSubscription:
    """What Subscription is for threads: iterate over it with `async for`."""

    def __init__(self, address: str, request: tracks_pb2.WatchTracksRequest, connect: Connecting) -> None:
        """Connect when iterated over. `address`: host:port. Raises ConfigError for an address of another form."""
        self._resumption = Resumption(address, request)
        self._connect = connect
        self._closed = asyncio.Event()
        self._call: grpc.aio.UnaryStreamCall[tracks_pb2.WatchTracksRequest, tracks_pb2.WatchTracksResponse] | None
        self._call = None

    def close(self) -> None:
        """End the iteration soon. May be called from any task."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    async def __aiter__(self) -> AsyncGenerator[tracks_pb2.WatchTracksResponse | Interruption, None]:
        going_on = self._resumption
        while not self._closed.is_set():
            try:
                async with self._connect.aio(going_on.address) as channel:
                    watch = tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks
                    self._call = watch(going_on.request, metadata=self._connect.metadata)
                    async for event in self._call:
                        yield event
                        going_on.received(event)
                interruption = going_on.ended()
            except grpc.aio.AioRpcError as error:
                if self._closed.is_set():
                    return
                interruption = going_on.failed(error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self._closed.is_set() or (task is not None and task.cancelling()):
                    raise
                return
            finally:
                self._call = None
            yield interruption
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), interruption.retry_in_s)
