"""Watches a streamer's tracks over as many connections as it takes, in a thread that may block."""

from collections.abc import Callable, Iterator
from threading import Event, Lock

import grpc

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from streamer.tools.connection import Connect, plain
from streamer.tools.resumption import Interruption, Resumption


class Subscription:
    """Iterate over it for the events of a watch. A lost connection is an Interruption, and is made again after it.

    A streamer with a store then sends what was missed, and a GAP for what it no longer has. Raises StreamerError if
    the streamer refuses in a way that will not change.
    """

    def __init__(
        self,
        address: str,
        request: tracks_pb2.WatchTracksRequest,
        wait: Callable[[float], object] | None = None,
        connect: Connect = plain,
    ) -> None:
        """Connect when iterated over.

        `address`: host:port; `wait` (s) passes the time between two connections, None: wait that long, or until
        `close`; `connect` opens the channels. Raises ConfigError for an address of another form.
        """
        self._resumption = Resumption(address, request)
        self._connect = connect
        self._closed = Event()
        self._wait = self._closed.wait if wait is None else wait
        self._channel: grpc.Channel | None = None
        self._lock = Lock()  # of the channel: `close` comes from any thread

    def close(self) -> None:
        """End the iteration soon. May be called from any thread."""
        with self._lock:
            self._closed.set()
            if self._channel is not None:
                self._channel.close()

    def __iter__(self) -> Iterator[tracks_pb2.WatchTracksResponse | Interruption]:
        going_on = self._resumption
        while not self._closed.is_set():
            try:
                with self._connect(going_on.address) as channel:
                    if not self._keep(channel):
                        return
                    for event in tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks(going_on.request):
                        yield event
                        going_on.received(event)
                interruption = going_on.ended()
            except (grpc.RpcError, ValueError) as error:  # ValueError: the channel has just been closed
                if self._closed.is_set():
                    return
                if not isinstance(error, grpc.RpcError):
                    raise
                interruption = going_on.failed(error)
            finally:
                self._keep(None)
            yield interruption
            self._wait(interruption.retry_in_s)

    def _keep(self, channel: grpc.Channel | None) -> bool:
        """Hold the channel for `close`; False if that has been called already."""
        with self._lock:
            self._channel = channel
            return not self._closed.is_set()
