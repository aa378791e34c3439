"""A client of gRPC that speaks HTTP/2 itself: it costs little, and can do what no library would.

gRPC's own client takes more CPU per message than the server; with this one a process can be hundreds of subscribers.
Headers of answers are not decoded: the status of a call is not known, only that it has ended.
"""

import asyncio
import struct
from collections.abc import Callable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
LARGEST_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
INITIAL_WINDOW = 4  # name of a setting


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as it is on the wire."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def settings(window: int) -> bytes:
    """The settings of a client whose streams take this many bytes before they say that they have read them."""
    return frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, window))


def literal(name: str, value: str) -> bytes:
    """A header that is not compressed; name and value are shorter than 127 bytes."""
    return b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


def call_headers(path: str, token: str = "") -> bytes:
    """The headers of a call."""
    pairs = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    pairs += [("content-type", "application/grpc"), ("te", "trailers")]
    pairs += [("authorization", f"Bearer {token}")] if token else []
    return b"".join(literal(name, value) for name, value in pairs)


class Connection(asyncio.Protocol):
    """One connection with one or more calls. Nothing is held back: what arrives is given to `received` at once."""

    def __init__(
        self, received: Callable[[int, bytes], None], ended: Callable[[int], None], window: int = LARGEST_WINDOW
    ) -> None:
        """`received` gets the stream and a whole message, `ended` the stream; stream 0: the connection is gone."""
        self._received, self._ended = received, ended
        self._window = window
        self._left = b""
        self._bodies: dict[int, bytearray] = {}
        self._read = 0  # bytes of data since the last update of the window of the connection
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(PREFACE + settings(self._window))
        transport.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - DEFAULT_WINDOW)))

    def call(self, stream: int, path: str, request: bytes, token: str = "") -> None:
        """Begin a call with one request; `stream` is odd and larger than those before."""
        assert self.transport is not None
        self._bodies[stream] = bytearray()
        body = b"\0" + struct.pack(">I", len(request)) + request
        self.transport.write(frame(HEADERS, END_HEADERS, stream, call_headers(path, token)))
        self.transport.write(frame(DATA, END_STREAM, stream, body))

    def data_received(self, data: bytes) -> None:
        left = self._left + data
        place = 0
        while len(left) - place >= 9:
            size = int.from_bytes(left[place : place + 3], "big")
            if len(left) - place < 9 + size:
                break
            kind, flags = left[place + 3], left[place + 4]
            (stream,) = struct.unpack_from(">I", left, place + 5)
            self._frame(kind, flags, stream, left[place + 9 : place + 9 + size])
            place += 9 + size
        self._left = left[place:]

    def connection_lost(self, error: Exception | None) -> None:
        self._ended(0)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        assert self.transport is not None
        if kind == DATA:
            body = self._bodies.get(stream)
            if body is not None:
                body += payload
                self._messages(stream, body)
            self._count(len(payload))
        elif kind == SETTINGS and not flags & ACK:
            self.transport.write(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.transport.write(frame(PING, ACK, 0, payload))
        if kind == RESET or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self._bodies.pop(stream, None)
            self._ended(stream)

    def _messages(self, stream: int, body: bytearray) -> None:
        place = 0
        while len(body) - place >= 5:
            size = int.from_bytes(body[place + 1 : place + 5], "big")
            if len(body) - place < 5 + size:
                break
            self._received(stream, bytes(body[place + 5 : place + 5 + size]))
            place += 5 + size
        del body[:place]

    def _count(self, size: int) -> None:
        assert self.transport is not None
        self._read += size
        if self._read > LARGEST_WINDOW // 4:
            self.transport.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._read)))
            self._read = 0
