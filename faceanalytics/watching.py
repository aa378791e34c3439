"""The tracks of a running streamer as typed events, over as many connections as it takes, in a thread that waits.

`faceanalytics.aio` is the same for asyncio.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TypedDict, Unpack, cast

from faceanalytics.conditions import Conditions, filter_of, ids
from faceanalytics.errors import ConfigError
from faceanalytics.events import Event, Story
from faceanalytics.v1 import tracks_pb2
from streamer.tools.connection import Connecting, Login, connecting
from streamer.tools.subscription import Subscription


class LoginOptions(TypedDict, total=False):
    """How to connect, and what to show. What is not given comes from the environment."""

    token: str | None  # of the streamer's API; else $FACEANALYTICS_TOKEN or the file $FACEANALYTICS_TOKEN_FILE
    token_file: str | Path | None
    tls_ca: str | Path | None  # use TLS, and accept the authorities in this PEM file; else $FACEANALYTICS_TLS_CA
    tls: bool  # use TLS, and accept certificates of public authorities
    tls_certificate: str | Path | None  # PEM files of a certificate to show and its key, for mutual TLS
    tls_key: str | Path | None
    insecure: bool  # send the token over a network although it is not encrypted


class WatchOptions(LoginOptions, Conditions):
    """What `watch` takes beside its own arguments."""


class Watch:
    """An iterator of events, which blocks until the next one. It ends after `close`, or at the end of a `with`."""

    def __init__(self, subscription: Subscription, heartbeats: bool) -> None:
        self._subscription = subscription
        self._events = _events(subscription, heartbeats)

    def __iter__(self) -> "Watch":
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the watch. May be called from any thread."""
        self._subscription.close()


def watch(
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
) -> Watch:
    """Iterate over what happens to the tracks of a streamer.

    `address`: host:port; `streams`: only these, empty: all.

    `resume_token`: of the last event that you have dealt with, in this program or an earlier run: the watch goes on
    after it, and each stored event comes exactly once; empty: begin now. `since`: begin with the events stored at this
    time or later. `allow_gap`: make what is no longer stored a Missed event; False: raise StreamerError.

    `min_interval_s`: hear of updates of one track at most this often, seconds; `embeddings`: also send
    `LiveTrack.embedding`; `heartbeats`: also yield Heartbeat events, so that the iteration does not block for longer
    than the streamer's publish.heartbeat_s while it is connected.

    `options`: how to connect, as LoginOptions has it (`token` or `token_file`; `tls_ca`, `tls`, `tls_certificate`,
    `tls_key`; `insecure`), and which tracks to watch, as Conditions has it (`persons`, `min_age_years`, ...). A track
    is heard of from when it first fits until its end.

    A lost connection is a Disconnected event and is made again, after 1 s to 30 s, until the iteration ends.
    Raises ConfigError for an address of another form, for files and tokens that cannot be used, and, while iterating,
    if the token would cross a network without TLS; StreamerError, while iterating, if the streamer refuses.
    """
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
    return Watch(Subscription(address, request, connect=connecting_with(login)), heartbeats)


def split(options: WatchOptions) -> tuple[LoginOptions, Conditions]:
    """Return how to connect, and which tracks are wanted."""
    of_login = LoginOptions.__annotations__
    login = {name: value for name, value in options.items() if name in of_login}
    rest = {name: value for name, value in options.items() if name not in of_login}
    return cast(LoginOptions, login), cast(Conditions, rest)


def watch_request(
    streams: Sequence[str],
    resume_token: str,
    since: datetime | None,
    conditions: Conditions,
    *,
    allow_gap: bool,
    min_interval_s: float,
    embeddings: bool,
) -> tracks_pb2.WatchTracksRequest:
    """Return the request for what `watch` was asked for. Raises ConfigError."""
    request = tracks_pb2.WatchTracksRequest(
        stream_ids=ids(streams),
        snapshot=True,
        include_embedding=embeddings,
        resume_token=resume_token,
        filter=filter_of(conditions),
    )
    request.allow_gap = allow_gap and bool(resume_token or since)
    if since is not None:
        if since.tzinfo is None:
            raise ConfigError("since: has no time zone; write datetime(..., tzinfo=UTC) or .astimezone()")
        request.since.FromDatetime(since.astimezone(UTC))
    if min_interval_s:
        request.min_interval.FromTimedelta(timedelta(seconds=min_interval_s))
    return request


def connecting_with(login: LoginOptions) -> Connecting:
    """Return what connects as the options and the environment say. Raises ConfigError."""
    paths = {
        name: Path(value) if (value := login.get(name)) else None  # type: ignore[arg-type]
        for name in ("token_file", "tls_ca", "tls_certificate", "tls_key")
    }
    tls, insecure = login.get("tls", False), login.get("insecure", False)
    return connecting(Login(token=login.get("token"), tls=tls, insecure=insecure, **paths).with_environment())


def _events(subscription: Subscription, heartbeats: bool) -> Iterator[Event]:
    story = Story(heartbeats)
    for message in subscription:
        yield from story.events(message)
