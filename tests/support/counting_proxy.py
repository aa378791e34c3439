"""A proxy that counts the pings of HTTP/2 that a client sends through it, without TLS."""

import socket
import threading
from types import TracebackType

PREFACE = 24  # bytes, before the first frame of a client
HEADER = 9  # bytes of a frame: length (3), type, flags, stream (4)
PING, ACK = 6, 1


class CountingProxy:
    """Listens on `address` and passes everything on to `target` (host:port)."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.pings = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "CountingProxy":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(self._target)
            self._open += [client, server]
            threading.Thread(target=self._pass_on, args=(server, client), daemon=True).start()
            threading.Thread(target=self._pass_frames, args=(client, server), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _pass_frames(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass on what a client sends, and look at its frames."""
        waiting, skip = b"", PREFACE
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                waiting += data
                while len(waiting) >= skip + HEADER:
                    header = waiting[skip : skip + HEADER]
                    self.pings += header[3] == PING and not header[4] & ACK
                    skip += HEADER + int.from_bytes(header[:3])
                    waiting, skip = waiting[skip:], max(0, skip - len(waiting))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return
