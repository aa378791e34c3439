"""Decides how a watch goes on when its connection is lost. It has no connection itself: the loops around it do.

`subscription.py` has the loop for threads, `subscription_aio.py` the one for asyncio.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from faceanalytics.errors import ConfigError, StreamerError
from faceanalytics.v1 import tracks_pb2
from streamer.config import split_address

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 30.0  # between two attempts to connect, before chance shortens it
AGAIN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}  # with any other code, trying again would give the same answer
NO_TOKEN = {"INVALID_RESUME_TOKEN", "NO_STORE"}  # reasons: the streamer has another store, or none
DETAILS = "grpc-status-details-bin"  # name in the metadata of an error


@dataclass(frozen=True, slots=True)
class Interruption:
    """The connection is lost, or was never made."""

    reason: str
    ended: bool  # the streamer ended the watch; False: it went away, or is not there
    retry_in_s: float
    forgotten: bool = False  # the streamer does not know the token: what happened meanwhile is lost


class Backoff:
    """Doubles the time between attempts, and shortens each by up to half at random: clients must not come together."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        """`chance` returns 0..1."""
        self._chance = chance
        self._delay = FIRST_DELAY_S

    def reset(self) -> None:
        """Begin again: an attempt was successful."""
        self._delay = FIRST_DELAY_S

    def next(self) -> float:
        """Return the time until the next attempt, s."""
        delay, self._delay = self._delay, min(2 * self._delay, LONGEST_DELAY_S)
        return delay * (1 - self._chance() / 2)


class Resumption:
    """The request of the next connection of a watch, and when to make it."""

    def __init__(
        self, address: str, request: tracks_pb2.WatchTracksRequest, chance: Callable[[], float] = random.random
    ) -> None:
        """Raises ConfigError unless `address` is host:port."""
        check_address(address)
        self.address = address
        self.request = tracks_pb2.WatchTracksRequest()
        self.request.CopyFrom(request)
        # a gap behind a token that came with this watch is an event; one behind a given token if the request allows it
        self._strict = not request.allow_gap and bool(request.resume_token or request.HasField("since"))
        self._backoff = Backoff(chance)

    def received(self, message: tracks_pb2.WatchTracksResponse) -> None:
        """Note that a message was dealt with: the next connection goes on after it."""
        self._backoff.reset()
        if message.resume_token:
            self._resume_after(message.resume_token)

    def ended(self) -> Interruption:
        """Say how to go on after the streamer has ended the watch."""
        return Interruption(f"{self.address} ended the watch", True, self._backoff.next())

    def failed(self, error: grpc.RpcError) -> Interruption:
        """Say how to go on after an error. Raises StreamerError if a retry would fail too."""
        forgotten = bool(self.request.resume_token) and reason_word(error) in NO_TOKEN and not self._strict
        if forgotten:
            self._resume_after("")
        reason = error.details() if forgotten else reason_of(error)
        return Interruption(f"{self.address}: {reason}", False, self._backoff.next(), forgotten)

    def _resume_after(self, token: str) -> None:
        """Make the next connection go on after this token; empty: with what happens then."""
        self.request.resume_token = token
        self.request.allow_gap = bool(token) and not self._strict
        self.request.ClearField("since")


def check_address(address: str) -> None:
    """Raise ConfigError unless it is host:port."""
    try:
        split_address(address)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def reason_of(error: grpc.RpcError) -> str:
    """Describe an error of the server or the connection. Raises StreamerError if a retry would fail too."""
    code = error.code()
    if code not in AGAIN and code is not grpc.StatusCode.DEADLINE_EXCEEDED:
        raise refusal(error) from error
    return described(error)


def refusal(error: grpc.RpcError) -> StreamerError:
    """Return an error of a call as one for the user."""
    return StreamerError(error.code().name, described(error), reason_word(error))


def reason_word(error: grpc.RpcError) -> str:
    """Return the word of ErrorReason that an error comes with; empty without one."""
    metadata: Any = error.trailing_metadata() or ()
    for name, value in metadata:
        for detail in status_pb2.Status.FromString(value).details if name == DETAILS else ():
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                return str(info.reason)
    return ""


def described(error: grpc.RpcError) -> str:
    """Return status and text of an error, with a hint if there is one."""
    return f"{error.code().name}: {error.details()}{hint(error)}"


def hint(error: grpc.RpcError) -> str:
    """Return what to add to the command line if that may help, in brackets, or nothing."""
    details = error.details() or ""
    if details.startswith("a token is needed"):
        return " (--token-file FILE, or $FACEANALYTICS_TOKEN)"
    if details.startswith("failed to connect") and details.endswith("Socket closed"):
        return " (if it uses TLS: --tls-ca FILE)"
    return ""
