"""An HTTP server that receives webhooks, verifies them, and fails as real ones do.

`python -m tests.support.receiver PORT FILE --seed 1` keeps each event in a line of FILE before it answers, and fails at
random: it refuses before or after it has kept the event, hangs, resets the connection, or stops in the middle of an
answer.
"""

import argparse
import base64
import hashlib
import hmac
import json
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
FAILURES = ("500", "500 after", "429", "reset", "reset after", "half", "hang")
HANG_S = 3.0  # longer than the sender waits


class Receiver(ThreadingHTTPServer):
    """Listens in a thread of its own. `behave` chooses what happens with a request: "ok", a status or a failure."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        port: int = 0,
        behave: Callable[[bytes], str] = lambda body: "ok",
        file: Path | None = None,
        encryption: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        if encryption is not None:
            self.socket = encryption.wrap_socket(self.socket, server_side=True)
        self.behave = behave
        self.events: list[dict[str, Any]] = []  # envelopes, in the order of their arrival
        self.requests: list[dict[str, str]] = []  # headers, names in lower case
        self.headers: dict[str, str] = {}  # of the answers
        self._file = file
        self._keeping = threading.Lock()
        scheme = "https" if encryption is not None else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server_address[1]}/hook?key=geheim"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def keep(self, body: bytes) -> None:
        content = json.loads(body)
        events = content if isinstance(content, list) else [content]
        with self._keeping:
            self.events += events
            if self._file is not None:
                with self._file.open("ab", buffering=0) as out:
                    out.write(b"".join(json.dumps(event).encode() + b"\n" for event in events))

    def __enter__(self) -> "Receiver":
        self.start()
        return self

    def __exit__(self, kind: object, error: object, traceback: TracebackType | None) -> None:
        self.stop()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:  # the name that http.server wants
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append({name.lower(): value for name, value in self.headers.items()})
        what = self.server.behave(body)
        if what in ("ok", "half") or what.endswith("after"):
            if "webhook-signature" in self.headers:
                assert self._is_genuine(body), "the signature is wrong"
            self.server.keep(body)
        if what.startswith("reset"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if what == "hang":
            time.sleep(HANG_S)
            self.close_connection = True
            return
        status = int(what.split()[0]) if what[0].isdigit() else 200
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "100" if what == "half" else "2")
        self.end_headers()
        self.wfile.write(b"ok")
        self.close_connection = what == "half"

    def _is_genuine(self, body: bytes) -> bool:
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
        secret = base64.b64decode(SECRET.removeprefix("whsec_"))
        right = "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        fresh = abs(time.time() - int(self.headers["webhook-timestamp"])) < 300
        return fresh and right in self.headers["webhook-signature"].split()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def at_random(seed: int, share: float) -> Callable[[bytes], str]:
    """Fail with a share of the requests."""
    chance, lock = random.Random(seed), threading.Lock()

    def behave(body: bytes) -> str:
        with lock:
            return chance.choice(FAILURES) if chance.random() < share else "ok"

    return behave


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.1)
    options = parser.parse_args()
    server = Receiver(options.port, at_random(options.seed, options.share), options.file)
    print("ready", flush=True)
    server.serve_forever(poll_interval=0.02)
