"""A watch of a streamer's tracks over as many connections as it takes; the command line and the Python API share it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Lock

import grpc

from faceanalytics.errors import ConfigError, LostDependency
from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from streamer.config import split_address

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 30.0  # between two attempts to connect
OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # a proxy in the environment is for the web, not for the streamer
    ("grpc.keepalive_time_ms", 20_000),  # detects that the machine of a streamer has vanished
    ("grpc.keepalive_timeout_ms", 10_000),
)
AGAIN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}  # with any other code, trying again would give the same answer


@dataclass(frozen=True, slots=True)
class Interruption:
    """The connection is lost, or was never made."""

    reason: str
    ended: bool  # the streamer ended the watch; False: it went away, or is not there
    retry_in_s: float


class Subscription:
    """Iterate over it for the events of a watch. A lost connection is an Interruption, and is made again after it.

    Raises LostDependency if the streamer refuses in a way that will not change.
    """

    def __init__(
        self,
        address: str,
        request: tracks_pb2.WatchTracksRequest,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """Connect when iterated over.

        `address`: host:port; `wait` (s) passes the time between two connections, None: wait that long, or until
        `close`. Raises ConfigError for an address of another form.
        """
        check_address(address)
        self._address = address
        self._request = request
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
        delay = FIRST_DELAY_S
        while not self._closed.is_set():
            ended = True
            try:
                with grpc.insecure_channel(self._address, options=OPTIONS) as channel:
                    if not self._keep(channel):
                        return
                    for event in tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks(self._request):
                        delay = FIRST_DELAY_S
                        yield event
                trouble = f"{self._address} ended the watch"
            except (grpc.RpcError, ValueError) as error:  # ValueError: the channel has just been closed
                if self._closed.is_set():
                    return
                if not isinstance(error, grpc.RpcError):
                    raise
                trouble, ended = f"{self._address}: {reason_of(error)}", False
            finally:
                self._keep(None)
            yield Interruption(trouble, ended, delay)
            self._wait(delay)
            delay = min(2 * delay, LONGEST_DELAY_S)

    def _keep(self, channel: grpc.Channel | None) -> bool:
        """Hold the channel for `close`; False if that has been called already."""
        with self._lock:
            self._channel = channel
            return not self._closed.is_set()


def check_address(address: str) -> None:
    """Raise ConfigError unless it is host:port."""
    try:
        split_address(address)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def reason_of(error: grpc.RpcError) -> str:
    """Describe an error of the server or the connection. Raises LostDependency if a retry would fail too."""
    code, details = error.code(), error.details()
    if code not in AGAIN and code is not grpc.StatusCode.DEADLINE_EXCEEDED:
        raise LostDependency(f"{code.name}: {details}") from error
    return f"{code.name}: {details}"
