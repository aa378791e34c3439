"""Serve Prometheus metrics over HTTP from a thread, also to clients that vanish, stall or send garbage.

The server in prometheus_client prints a traceback for each client that vanishes and keeps a thread for each that
stalls.
"""

import logging
import socket
import sys
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, disable_created_metrics, make_wsgi_app

REQUEST_S = 10.0  # longest wait for the next bytes of a request

log = logging.getLogger(__name__)


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_S

    def log_message(self, *_: Any) -> None:
        """Log nothing: a request is no change of state."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        self.address_family = family
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a bug. That a client has gone is not one."""
        del request
        if not isinstance(sys.exception(), OSError):
            log.exception("request of %s failed", client_address[0])


def serve_registry(host: str, port: int, registry: CollectorRegistry) -> Callable[[], None]:
    """Serve the metrics of a registry, and return the function that stops it. Raises OSError if it cannot listen."""
    # the moment at which each series was created doubles their number, and nothing reads it
    disable_created_metrics()  # type: ignore[no-untyped-call]
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    server = _Server(family, (str(address[0]), port))
    server.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
