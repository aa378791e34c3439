"""Serve Prometheus metrics over HTTP or HTTPS from threads, also to clients that vanish, stall or send garbage.

The server in prometheus_client prints a traceback for each client that vanishes and keeps a thread for each that
stalls. Here a connection has one request, a limit in time and one in bytes, and there is a limit on their number.
"""

import hmac
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, disable_created_metrics, make_wsgi_app

from faceanalytics.errors import ConfigError
from faceanalytics.tls_files import ServerContext

REQUEST_S = 10.0  # longest time of a connection, the TLS handshake and the answer included
CHECK_S = 0.25  # time between two looks for connections that have lasted too long
CONNECTIONS = 64  # most at a time; beyond it the oldest is closed
REQUEST_BYTES = 32 << 10  # largest request, with its headers
BACKLOG = 64  # connections that the system accepts ahead

log = logging.getLogger(__name__)

Admits: TypeAlias = Callable[[str], int]  # the header `Authorization` (empty: none) -> 200, or the status that refuses


@dataclass(frozen=True, slots=True)
class Door:
    """What a client needs. By default nothing."""

    tls: ServerContext | None = None
    admits: Admits | None = None


OPEN = Door()


class _Limited:
    """The bytes of a request, up to a limit; then it looks as if the client had stopped sending."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = REQUEST_BYTES

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._file.readline(min(self._left, limit) if limit >= 0 else self._left)
        self._left -= len(line)
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_S

    def setup(self) -> None:
        super().setup()
        self.rfile: Any = _Limited(self.rfile)

    def log_message(self, *_: Any) -> None:
        """Log nothing: a request is no change of state."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int], door: Door) -> None:
        self.address_family = family
        self._door = door
        self._open: dict[socket.socket, float] = {}  # when each connection began, s, monotonic; oldest first
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            oldest = next(iter(self._open)) if len(self._open) >= CONNECTIONS else None
            self._open[request] = time.monotonic()
            if oldest is not None:
                del self._open[oldest]
                _cut(oldest)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._door.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(REQUEST_S)
        with self._door.tls.get().wrap_socket(request, server_side=True, do_handshake_on_connect=False) as encrypted:
            with self._lock:  # the socket has moved into this one
                began = self._open.pop(request, None)
                if began is None:
                    return
                self._open[encrypted] = began
            try:
                encrypted.do_handshake()
                super().finish_request(encrypted, client_address)
            finally:
                with self._lock:
                    self._open.pop(encrypted, None)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut connections that have lasted too long: one byte every few seconds would never end."""
        limit = time.monotonic() - REQUEST_S
        with self._lock:
            for connection in [one for one, began in self._open.items() if began < limit]:
                del self._open[connection]
                _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a bug. That a client has gone, was cut or speaks no TLS is not one."""
        del request
        if not isinstance(sys.exception(), OSError | ValueError):  # ValueError: it was cut while it was written to
            log.exception("request of %s failed", client_address[0])


def _cut(connection: socket.socket) -> None:
    """End a connection that another thread reads from or writes to."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not that of TLS, which is not for other threads


def serve_registry(host: str, port: int, registry: CollectorRegistry, door: Door = OPEN) -> Callable[[], None]:
    """Serve the metrics of a registry, and return the function that stops it. Raises OSError if it cannot listen."""
    # the moment at which each series was created doubles their number, and nothing reads it
    disable_created_metrics()  # type: ignore[no-untyped-call]
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    server = _Server(family, (str(address[0]), port), door)
    app: WSGIApplication = make_wsgi_app(registry)
    server.set_app(app if door.admits is None else _guarded(app, door.admits))
    thread = threading.Thread(target=server.serve_forever, args=[CHECK_S], name="metrics", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def _guarded(app: WSGIApplication, admits: Admits) -> WSGIApplication:
    texts = {401: "401 Unauthorized", 403: "403 Forbidden", 503: "503 Service Unavailable"}

    def guarded(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        status = admits(str(environ.get("HTTP_AUTHORIZATION", "")))
        if status == 200:
            return app(environ, start)
        headers = [("Content-Type", "text/plain"), *([("WWW-Authenticate", "Bearer")] if status == 401 else [])]
        start(texts[status], headers)
        return [f"{texts[status]}: send the header `Authorization: Bearer TOKEN`\n".encode()]

    return guarded


def admits_token_of(file: Path, setting: str) -> Admits:
    """Return what admits clients with the token in a file, which is read again at each request.

    Raises ConfigError, which names the `setting`, if it cannot be read or is empty.
    """

    def read() -> bytes:
        try:
            token = file.read_bytes().strip()
        except OSError as error:
            raise ConfigError(f"{setting}: cannot read {file}: {error.strerror}") from error
        if len(token) < 16:
            raise ConfigError(f"{setting}: {file} holds no token of at least 16 characters")
        return token

    def admits(authorization: str) -> int:
        kind, _, given = authorization.partition(" ")
        try:
            known = hmac.compare_digest(given.strip().encode("latin-1", "replace"), read())
        except ConfigError as error:
            log.error("metrics are refused: %s", error)
            return 503
        return 200 if known and kind.lower() == "bearer" else 401

    read()
    return admits
