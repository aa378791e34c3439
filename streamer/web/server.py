"""Serves the dashboard in the loop of the streamer."""

import contextlib
import logging
import secrets
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faceanalytics.errors import ConfigError
from faceanalytics.extras import require
from faceanalytics.tls_files import ServerContext, TlsFiles
from streamer.api.inside import Inside
from streamer.safety import is_loopback, split_address
from streamer.store.store import Store
from streamer.web_settings import Web

if TYPE_CHECKING:
    import uvicorn

BACKLOG = 256
CONNECTIONS = 1024  # at a time
SOCKET_BYTES = 64 << 10  # largest message that a page sends over its WebSocket
STOP_S = 1.0  # time for requests in progress when the streamer stops

log = logging.getLogger(__name__)


def open_to_all(web: Web) -> bool:
    """Return whether the dashboard needs no token as long as none was ever made."""
    return web.listen is None or web.insecure or is_loopback(split_address(web.listen)[0])


@dataclass(slots=True)
class Pages:
    """The running dashboard."""

    url: str
    _server: "uvicorn.Server"
    _socket: socket.socket

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve([self._socket])

    def close(self) -> None:
        """Listen no longer."""
        self._socket.close()

    def stop(self) -> None:
        """End all requests; `run` returns soon."""
        self._server.should_exit = True


def start_pages(web: Web, inside: Inside, store: Store | None) -> Pages | None:
    """Listen on `web.listen`; None: there is no dashboard.

    Raises MissingPackage without the extra `web`, ConfigError if it cannot listen there.
    """
    if web.listen is None:
        return None
    hint = ", or go without it: web: {listen: null}"
    require("web", "jinja2", "starlette", "uvicorn", "websockets", use="the dashboard (web.listen)", hint=hint)
    import uvicorn

    from streamer.web.application import application
    from streamer.web.door import Door
    from streamer.web.sessions import Sessions

    context = None
    if web.tls is not None:
        context = _following(ServerContext(TlsFiles.of(web.tls.certificate, web.tls.key, web.tls.client_ca), "web.tls"))
    listening = _listen(web.listen)
    port = listening.getsockname()[1]
    key = store.log.secret(b"dashboard") if store is not None else secrets.token_bytes(32)
    door = Door(web, port, Sessions(key, web.session_hours))
    config = uvicorn.Config(
        application(door, inside),
        http="h11",
        ws="websockets-sansio",
        ws_max_size=SOCKET_BYTES,
        ws_per_message_deflate=False,  # pictures are compressed already
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=round(STOP_S),
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # else a line per WebSocket
    config.load()
    config.ssl = context
    host = split_address(web.listen)[0]
    shown = f"[{host}]" if ":" in host else host
    return Pages(f"{'https' if context else 'http'}://{shown}:{port}/", _quiet(uvicorn.Server)(config), listening)


def _quiet(kind: "type[uvicorn.Server]") -> "type[uvicorn.Server]":
    class Quiet(kind):  # type: ignore[misc, valid-type]
        """Leaves the signals to the streamer."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Quiet


def _listen(address: str) -> socket.socket:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"web.listen: cannot listen on {address}: the port is in use, or the host is not this machine. "
            "Choose another one (web: {listen: 127.0.0.1:8081}), or go without the dashboard (web: {listen: null})"
        ) from error
    listening.setblocking(False)
    return listening


def _following(files: ServerContext) -> ssl.SSLContext:
    """Return TLS settings that follow the files of the certificate, for new connections."""
    first = files.get()

    def choose(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        connection.context = files.get()

    first.sni_callback = choose
    return first
