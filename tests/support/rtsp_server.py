"""A small real RTSP server: plays encoded files to each client from their beginning, in a loop, with sender reports.

In a test: `with RtspServer({"door": path}) as server: server.url("door")`. As a process that a drill can kill:
`python -m tests.support.rtsp_server --port 0 --mount door=clip.mp4`, which prints `ready PORT`.
"""

import argparse
import base64
import contextlib
import hashlib
import re
import secrets
import signal
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from tests.support.rtp import CLOCK_RATE, AccessUnit, Clip, describe, load_clip, packetise

REALM = "tests"
NTP_1970 = 2_208_988_800  # s from the NTP epoch to the Unix epoch
REPORT_EVERY_S = 1.0

Send = Callable[[bytes], None]


class Session:
    """One client that plays: a thread that sends images when they are due."""

    def __init__(self, server: "RtspServer", clip: Clip, rtp: Send, rtcp: Send, ended: Callable[[], None]) -> None:
        self.id = secrets.token_hex(4)
        self.began = 0.0  # s, Unix time at which the first image was shown
        self._server, self._clip, self._rtp, self._rtcp, self._ended = server, clip, rtp, rtcp, ended
        self._ssrc, self._sequence = secrets.randbits(32), secrets.randbits(16)
        self._first_tick = secrets.randbits(31)
        self._packets = self._bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rtsp-session", daemon=True)

    def play(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        self.began, start = time.time(), time.monotonic()
        next_report, rounds = self._server.report_after_s, 0
        with contextlib.suppress(OSError):  # the client has gone
            while not self._stop.is_set():
                for unit in self._clip.units:
                    offset = rounds * self._clip.length
                    if self._stop.wait(max(0.0, start + offset + unit.due - time.monotonic())):
                        return
                    if self._server.frozen.is_set():
                        continue
                    if time.monotonic() - start >= next_report:
                        next_report += REPORT_EVERY_S
                        self._report(time.monotonic() - start)
                    self._send(unit, offset)
                rounds += 1
                if self._server.once:
                    self._ended()
                    return

    def _tick(self, seconds: float) -> int:
        return (self._first_tick + round(self._server.stamp(seconds) * CLOCK_RATE)) & 0xFFFFFFFF

    def _send(self, unit: AccessUnit, offset: float) -> None:
        payloads = [payload for nal in unit.nals for payload in packetise(self._clip.codec, nal)]
        for index, payload in enumerate(payloads):
            marker = 0x80 if index == len(payloads) - 1 else 0
            self._sequence = (self._sequence + 1) & 0xFFFF
            head = struct.pack("!BBHII", 0x80, 96 | marker, self._sequence, self._tick(offset + unit.shown), self._ssrc)
            self._rtp(head + payload)
            self._packets += 1
            self._bytes += len(payload)

    def _report(self, seconds: float) -> None:
        """RTCP sender report: what the server's wall clock showed at which RTP time."""
        wall = self.began + seconds + self._server.clock_offset_s + NTP_1970
        ntp = int(wall * (1 << 32))
        counts = (self._packets & 0xFFFFFFFF, self._bytes & 0xFFFFFFFF)
        self._rtcp(struct.pack("!BBHIQIII", 0x80, 200, 6, self._ssrc, ntp, self._tick(seconds), *counts))


class Connection(socketserver.StreamRequestHandler):
    """One RTSP control connection."""

    server: "_Listener"

    def setup(self) -> None:
        super().setup()
        self._writing = threading.Lock()
        self._session: Session | None = None
        self._sockets: list[socket.socket] = []
        self._nonce = secrets.token_hex(8)
        self.server.owner.connections.add(self.connection)

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the client has gone, or talks nonsense
            while (request := self._read()) is not None:
                self._answer(*request)

    def finish(self) -> None:
        self.server.owner.connections.discard(self.connection)
        self._hang_up()  # a session that is stuck in sending comes free
        self._close_session()
        super().finish()

    def _read(self) -> tuple[str, str, dict[str, str]] | None:
        """The next request; receiver reports between the requests are skipped."""
        while (first := self.rfile.read(1)) == b"$":
            self.rfile.read(struct.unpack("!xH", self.rfile.read(3))[0])
        line = (first + self.rfile.readline()).decode().strip()
        if not line:
            return None
        headers = {}
        while header := self.rfile.readline().decode().strip():
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        method, uri, _ = line.split(" ")
        return method, uri, headers

    def _answer(self, method: str, uri: str, headers: dict[str, str]) -> None:
        owner = self.server.owner
        clip = owner.clips.get(urlsplit(uri).path.strip("/").split("/")[0])
        known = self._session is not None and headers.get("session", "").split(";")[0] == self._session.id
        if method == "OPTIONS":
            self._reply(headers, 200, public="OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
        elif not owner.allows(method, headers.get("authorization", ""), self._nonce):
            self._reply(headers, 401, www_authenticate=owner.challenge(self._nonce))
        elif clip is None:
            self._reply(headers, 404)
        elif method == "DESCRIBE":
            self._reply(
                headers, 200, describe(clip), content_base=uri.rstrip("/") + "/", content_type="application/sdp"
            )
        elif method == "SETUP":
            self._set_up(clip, headers)
        elif method in ("PLAY", "GET_PARAMETER", "TEARDOWN") and not known:
            self._reply(headers, 454)
        elif method == "PLAY" and self._session is not None:
            self._reply(headers, 200, session=self._session.id, range="npt=0.000-")
            self._session.play()
        elif method == "GET_PARAMETER":
            self._reply(headers, 200)
        elif method == "TEARDOWN":
            self._close_session()
            self._reply(headers, 200)
        else:
            self._reply(headers, 501)

    def _set_up(self, clip: Clip, headers: dict[str, str]) -> None:
        asked = headers.get("transport", "")
        if channels := re.search(r"TCP.*interleaved=(\d+)-(\d+)", asked):
            rtp, rtcp = (self._interleaved(int(channel)) for channel in channels.groups())
            answer = f"RTP/AVP/TCP;unicast;interleaved={channels[1]}-{channels[2]}"
        elif ports := re.search(r"client_port=(\d+)-(\d+)", asked):
            self._sockets = port_pair()
            rtp, rtcp = (self._datagram(s, int(p)) for s, p in zip(self._sockets, ports.groups(), strict=True))
            ours = "-".join(str(s.getsockname()[1]) for s in self._sockets)
            answer = f"RTP/AVP;unicast;client_port={ports[1]}-{ports[2]};server_port={ours}"
        else:
            self._reply(headers, 461)
            return
        self._session = Session(self.server.owner, clip, rtp, rtcp, self._hang_up)
        self.server.owner.sessions.append(self._session)
        self._reply(headers, 200, transport=answer, session=f"{self._session.id};timeout=60")

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _interleaved(self, channel: int) -> Send:
        def send(packet: bytes) -> None:
            with self._writing:
                self.connection.sendall(struct.pack("!cBH", b"$", channel, len(packet)) + packet)

        return send

    def _datagram(self, source: socket.socket, port: int) -> Send:
        def send(packet: bytes) -> None:
            source.sendto(packet, (self.client_address[0], port))

        return send

    def _reply(self, request: dict[str, str], status: int, body: str = "", **headers: str) -> None:
        reasons = {200: "OK", 401: "Unauthorized", 404: "Not Found", 454: "Session Not Found"}
        lines = [f"RTSP/1.0 {status} {reasons.get(status, 'Not Possible')}", f"CSeq: {request.get('cseq', '0')}"]
        lines += [f"{name.replace('_', '-').title()}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        with self._writing:
            self.connection.sendall("\r\n".join([*lines, "", body]).encode())

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        for udp in self._sockets:
            udp.close()
        self._sockets = []


def port_pair() -> list[socket.socket]:
    """Two UDP sockets on neighbouring ports, the first one even (RFC 3550)."""
    for _ in range(100):
        with contextlib.ExitStack() as opened:
            pair = [opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)]
            pair[0].bind(("127.0.0.1", 0))
            port = pair[0].getsockname()[1]
            with contextlib.suppress(OSError):
                if port % 2 == 0:
                    pair[1].bind(("127.0.0.1", port + 1))
                    opened.pop_all()
                    return pair
    raise OSError("no pair of free UDP ports")


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    owner: "RtspServer"


class RtspServer:
    """Serves `mounts` (name -> video file) on 127.0.0.1 while its context is open."""

    def __init__(
        self,
        mounts: Mapping[str, Path],
        *,
        port: int = 0,
        user: str = "",
        password: str = "",
        digest: bool = False,
        once: bool = False,
        clock_offset_s: float = 0.0,
        report_after_s: float = 0.2,
        stamp: Callable[[float], float] = float,
    ) -> None:
        """`once`: hang up at the end instead of looping. `clock_offset_s` is added to the wall clock in the reports.

        `stamp` gives the timestamp (s) of an image or report at a time (s).
        """
        self.clips = {name: load_clip(path) for name, path in mounts.items()}
        self.port = port
        self.once, self.clock_offset_s, self.report_after_s = once, clock_offset_s, report_after_s
        self.stamp = stamp
        self.frozen = threading.Event()  # while set, sessions stay up but send nothing
        self.sessions: list[Session] = []  # all so far, the newest last
        self.connections: set[socket.socket] = set()
        self._user, self._password, self._digest = user, password, digest

    def __enter__(self) -> "RtspServer":
        self._listener = _Listener(("127.0.0.1", self.port), Connection)
        self._listener.owner = self
        self.port = self._listener.server_address[1]
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), name="rtsp-server")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.server_close()
        self._thread.join()

    def url(self, mount: str, user: str | None = None, password: str | None = None) -> str:
        """Address of a mount, by default with the right credentials."""
        user, password = user or self._user, password or self._password
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        return f"rtsp://{login}127.0.0.1:{self.port}/{mount}"

    def challenge(self, nonce: str) -> str:
        return f'Digest realm="{REALM}", nonce="{nonce}", algorithm=MD5' if self._digest else f'Basic realm="{REALM}"'

    def allows(self, method: str, authorization: str, nonce: str) -> bool:
        """True if the Authorization header proves user and password."""
        if not self._user:
            return True
        if not self._digest:
            wanted = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
            return secrets.compare_digest(authorization, f"Basic {wanted}")
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', authorization))
        secret = _md5(f"{self._user}:{REALM}:{self._password}")
        request = _md5(f"{method}:{given.get('uri', '')}")
        proof = _md5(f"{secret}:{nonce}:{request}")
        return given.get("username") == self._user and given.get("response") == proof


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def main() -> None:
    """Serve until SIGTERM; SIGUSR1 freezes and thaws the media."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mount", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--digest", action="store_true")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--clock-offset-s", type=float, default=0.0)
    options = vars(parser.parse_args())
    mounts = {name: Path(path) for name, _, path in (mount.partition("=") for mount in options.pop("mount"))}
    done = threading.Event()
    with RtspServer(mounts, **options) as server:

        def toggle(*_: object) -> None:
            (server.frozen.clear if server.frozen.is_set() else server.frozen.set)()

        signal.signal(signal.SIGTERM, lambda *_: done.set())
        signal.signal(signal.SIGUSR1, toggle)
        print("ready", server.port, flush=True)
        done.wait()


if __name__ == "__main__":
    main()
