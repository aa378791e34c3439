"""A proxy between an RTSP camera and its client that loses, repeats and delays the camera's UDP packets.

In a test: `with LossyProxy(server.port, loss=0.05) as proxy: proxy.url("door")`.
"""

import contextlib
import random
import re
import socket
import threading
from collections.abc import Callable
from functools import partial

from tests.support.rtsp_server import port_pair

SEED = 7
POLL_S = 0.1


class LossyProxy:
    """Relays RTSP connections to a server on 127.0.0.1, and its RTP packets with the given shares of faults."""

    def __init__(self, server_port: int, *, loss: float = 0.0, repeated: float = 0.0, swapped: float = 0.0) -> None:
        """`loss`, `repeated`, `swapped`: share of the packets that are lost, sent twice, or sent after the next one."""
        self.relayed = self.lost = 0  # RTP packets
        self.loss, self.repeated, self.swapped = loss, repeated, swapped  # may be changed while it runs
        self._server_port = server_port
        self._chance = random.Random(SEED)
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "LossyProxy":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(POLL_S)
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        for one in (self._listener, *self._sockets):
            one.close()

    def url(self, mount: str) -> str:
        return f"rtsp://127.0.0.1:{self.port}/{mount}"

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="lossy-proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                self._start(partial(self._control, client, server, requests=True))
                self._start(partial(self._control, server, client, requests=False))

    def _control(self, source: socket.socket, target: socket.socket, requests: bool) -> None:
        """Pass on one direction of a control connection; our UDP ports are written into the requests."""
        source.settimeout(POLL_S)
        with contextlib.suppress(OSError):
            while not self._closing.is_set():
                try:
                    data = source.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    break
                target.sendall(self._with_our_ports(data) if requests else data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _with_our_ports(self, request: bytes) -> bytes:
        ports = re.search(rb"client_port=(\d+)-(\d+)", request)
        if ports is None:
            return request
        ours = port_pair()
        self._sockets += ours
        for place, (own, theirs) in enumerate(zip(ours, ports.groups(), strict=True)):
            self._start(partial(self._relay, own, int(theirs), faults=place == 0))  # RTCP is passed on as it is
        numbers = b"-".join(str(one.getsockname()[1]).encode() for one in ours)
        return request.replace(ports[0], b"client_port=" + numbers)

    def _relay(self, own: socket.socket, port: int, faults: bool) -> None:
        own.settimeout(POLL_S)
        held: bytes | None = None
        while not self._closing.is_set():
            try:
                packet = own.recv(65536)
            except TimeoutError:
                continue
            packets = [packet]
            if faults:
                self.relayed += 1
                if self._chance.random() < self.loss:
                    self.lost += 1
                    continue
                if self._chance.random() < self.repeated:
                    packets.append(packet)
                if held is None and self._chance.random() < self.swapped:
                    held = packet
                    continue
                if held is not None:
                    packets.append(held)
                    held = None
            for each in packets:
                with contextlib.suppress(OSError):  # the client has gone
                    own.sendto(each, ("127.0.0.1", port))
