"""A watch of a streamer's tracks over as many connections as it takes; the command line and the Python API share it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Lock

import grpc

from faceanalytics.errors import ConfigError, LostDependency
from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from streamer.config import split_address
from streamer.tools.connection import Connect, plain

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 30.0  # between two attempts to connect
AGAIN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}  # with any other code, trying again would give the same answer
NO_TOKEN = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
}  # a resume token is refused: the streamer has another store, or none


@dataclass(frozen=True, slots=True)
class Interruption:
    """The connection is lost, or was never made."""

    reason: str
    ended: bool  # the streamer ended the watch; False: it went away, or is not there
    retry_in_s: float


class Subscription:
    """Iterate over it for the events of a watch. A lost connection is an Interruption, and is made again after it.

    A streamer with a store then sends what was missed, and a GAP for what it no longer has. Raises LostDependency if
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
        check_address(address)
        self._address = address
        self._connect = connect
        self._request = tracks_pb2.WatchTracksRequest()
        self._request.CopyFrom(request)
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
                with self._connect(self._address) as channel:
                    if not self._keep(channel):
                        return
                    for event in tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks(self._request):
                        delay = FIRST_DELAY_S
                        yield event
                        if event.resume_token:
                            self._resume_after(event.resume_token)
                trouble = f"{self._address} ended the watch"
            except (grpc.RpcError, ValueError) as error:  # ValueError: the channel has just been closed
                if self._closed.is_set():
                    return
                if not isinstance(error, grpc.RpcError):
                    raise
                if self._request.resume_token and error.code() in NO_TOKEN:
                    self._resume_after("")
                    trouble, ended = f"{self._address}: {error.details()}", False
                else:
                    trouble, ended = f"{self._address}: {reason_of(error)}", False
            finally:
                self._keep(None)
            yield Interruption(trouble, ended, delay)
            self._wait(delay)
            delay = min(2 * delay, LONGEST_DELAY_S)

    def _resume_after(self, token: str) -> None:
        """Make the next connection go on after this token; empty: with what happens then."""
        self._request.resume_token = token
        self._request.allow_gap = bool(token)
        self._request.ClearField("since")

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
    code, details = error.code(), f"{error.details()}{hint(error)}"
    if code not in AGAIN and code is not grpc.StatusCode.DEADLINE_EXCEEDED:
        raise LostDependency(f"{code.name}: {details}") from error
    return f"{code.name}: {details}"


def hint(error: grpc.RpcError) -> str:
    """Return what to add to the command line if that may help, in brackets, or nothing."""
    details = error.details() or ""
    if details.startswith("a token is needed"):
        return " (--token-file FILE, or $FACEANALYTICS_TOKEN)"
    if details.startswith("failed to connect") and details.endswith("Socket closed"):
        return " (if it uses TLS: --tls-ca FILE)"
    return ""
