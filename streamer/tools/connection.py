"""Connects clients to a streamer: with TLS if asked, and with a token in each call."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import grpc
import grpc.aio

from faceanalytics.errors import ConfigError
from streamer.access.tokens import SECRET
from streamer.config import split_address
from streamer.safety import is_loopback

TOKEN, TOKEN_FILE, TLS_CA = "FACEANALYTICS_TOKEN", "FACEANALYTICS_TOKEN_FILE", "FACEANALYTICS_TLS_CA"
OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # a proxy in the environment is for the web, not for the streamer
    # Detects that a streamer hangs or its machine has vanished. The server accepts a ping every 10 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # else a minute, if other data was on its way
    ("grpc.http2.max_pings_without_data", 0),  # no limit: a client that watches sends nothing else
    ("grpc.min_reconnect_backoff_ms", 10_000),  # longest wait for a connection
    ("grpc.use_local_subchannel_pool", 1),  # else channels share their waits: one could wait for another's bad luck
)

Connect: TypeAlias = Callable[[str], grpc.Channel]  # opens a channel to host:port


@dataclass(frozen=True, slots=True)
class Login:
    """What a client shows to a streamer, and what it asks of it."""

    token: str | None = None
    token_file: Path | None = None
    tls: bool = False  # also without tls_ca: the certificate is checked with the public authorities
    tls_ca: Path | None = None  # PEM file of the authorities to accept
    tls_certificate: Path | None = None  # of the client, for mutual TLS
    tls_key: Path | None = None
    insecure: bool = False  # send the token without TLS over a network

    def with_environment(self) -> "Login":
        """Return the login with what is missing taken from $FACEANALYTICS_TOKEN, _TOKEN_FILE and _TLS_CA."""
        named = self.token is not None or self.token_file is not None
        token = self.token if named else os.environ.get(TOKEN) or None
        file = self.token_file if named or token else _path(os.environ.get(TOKEN_FILE))
        ca = self.tls_ca or (None if self.tls else _path(os.environ.get(TLS_CA)))
        return Login(token, file, self.tls, ca, self.tls_certificate, self.tls_key, self.insecure)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def plain(address: str) -> grpc.Channel:
    """Open a channel without TLS and token."""
    return grpc.insecure_channel(address, options=OPTIONS)


@dataclass(frozen=True, slots=True)
class Connecting:
    """Opens channels for a login, whose files and token have been checked. Called, it opens one that blocks."""

    credentials: grpc.ChannelCredentials | None  # None: no TLS
    token: str | None
    insecure: bool

    def __call__(self, address: str) -> grpc.Channel:
        """Open a channel that sends the token by itself. Raises ConfigError if others could read the token."""
        self._check(address)
        if self.credentials is None:
            channel = plain(address)
        else:
            channel = grpc.secure_channel(address, self.credentials, options=OPTIONS)
        return channel if self.token is None else grpc.intercept_channel(channel, _Bearer(self.token))

    def aio(self, address: str) -> grpc.aio.Channel:
        """Open a channel for asyncio, whose calls need `metadata`. Raises ConfigError as above."""
        self._check(address)
        if self.credentials is None:
            return grpc.aio.insecure_channel(address, options=OPTIONS)
        return grpc.aio.secure_channel(address, self.credentials, options=OPTIONS)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The token, for one call."""
        return () if self.token is None else (bearer(self.token),)

    def _check(self, address: str) -> None:
        open_to_others = self.credentials is None and not self.insecure and not is_loopback(split_address(address)[0])
        if self.token is not None and open_to_others:
            raise ConfigError(
                f"the token would cross the network to {address} unencrypted: add --tls-ca FILE (or --tls for a "
                "certificate of a public authority); only in a network that you trust: --insecure"
            )


def connecting(login: Login) -> Connecting:
    """Return what opens channels for a login. Raises ConfigError if its files or its token cannot be used."""
    return Connecting(_credentials(login), _token(login), login.insecure)


def bearer(token: str) -> tuple[str, str]:
    """Return a token as an entry of a call's metadata."""
    return "authorization", f"Bearer {token}"


def _token(login: Login) -> str | None:
    token = login.token
    if login.token_file is not None:
        try:
            token = login.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--token-file: cannot read {login.token_file}: {error}") from error
    if token is not None and not SECRET.fullmatch(token):
        raise ConfigError("this is no token: one begins with fa_ and has 46 characters (`streamer tokens create`)")
    return token


def _credentials(login: Login) -> grpc.ChannelCredentials | None:
    if (login.tls_certificate is None) != (login.tls_key is None):
        raise ConfigError("--tls-cert and --tls-key belong together: give both")
    if not (login.tls or login.tls_ca or login.tls_certificate):
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=_read("--tls-ca", login.tls_ca),
        private_key=_read("--tls-key", login.tls_key),
        certificate_chain=_read("--tls-cert", login.tls_certificate),
    )


def _read(option: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option}: cannot read {path}: {error.strerror}") from error
    if b"-----BEGIN " not in content:
        raise ConfigError(f"{option}: {path} is no PEM file")
    return content


class _Details(NamedTuple):
    """What grpc.ClientCallDetails is, which has no constructor."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Bearer(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]  # generic in the stubs only
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamStreamClientInterceptor,  # type: ignore[type-arg]
):
    """Adds the token to the metadata of each call."""

    def __init__(self, token: str) -> None:
        self._entry = bearer(token)

    def _add(self, continuation: Any, details: Any, request: Any) -> Any:
        added = _Details(
            details.method,
            details.timeout,
            [*(details.metadata or ()), self._entry],
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
        return continuation(added, request)

    intercept_unary_unary: Any = _add
    intercept_unary_stream: Any = _add
    intercept_stream_unary: Any = _add
    intercept_stream_stream: Any = _add
