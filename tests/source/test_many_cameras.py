"""Sixteen cameras: eight misbehave, each in its own way, and the other eight deliver every frame."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from streamer.values import SourceErrorCode, SourceState
from tests.support.lossy_proxy import LossyProxy
from tests.support.rtsp_server import RtspServer
from tests.support.videos import make_video, read_number
from tests.support.watching import Watched, stream, watching

FPS, FRAMES = 10, 100
GOOD = [f"good-{number}" for number in range(8)]


@contextlib.contextmanager
def listener(answer: bytes) -> Iterator[int]:
    """A port that takes each connection, answers with these bytes and says nothing more."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):  # closed at the end
                while True:
                    taken.append(server.accept()[0])
                    taken[-1].sendall(answer)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in taken:
                one.close()


def test_the_others_deliver_every_frame_whatever_eight_of_sixteen_do(tmp_path: Path) -> None:
    slow = make_video(tmp_path / "slow.mp4", frames=FRAMES, fps=FPS)
    short = make_video(tmp_path / "short.mp4", frames=5, fps=FPS)
    fast = make_video(tmp_path / "fast.mp4", frames=200, fps=200)
    with (
        RtspServer(dict.fromkeys(GOOD, slow)) as server,
        RtspServer({"a": short}, once=True) as hanging_up,
        RtspServer({"a": slow}) as freezing,
        RtspServer({"a": slow}, user="u", password="p") as locked,
        RtspServer({"a": fast}) as flooding,
        LossyProxy(server.port, loss=0.4) as lossy,
        listener(os.urandom(4096)) as garbage,
        listener(b"") as silent,
    ):
        bad = {
            "hangs-up": hanging_up.url("a"),
            "freezes": freezing.url("a"),
            "locked": locked.url("a", "u", "wrong"),
            "not-there": server.url("nothing"),
            "floods": flooding.url("a"),
            "loses-packets": lossy.url(GOOD[0]),
            "talks-garbage": f"rtsp://127.0.0.1:{garbage}/a",
            "silent": f"rtsp://127.0.0.1:{silent}/a",
        }
        quick = {"stall_timeout_s": 0.5, "connect_timeout_s": 1.0}
        streams = [stream(name, server.url(name)) for name in GOOD]
        streams += [
            stream(name, uri, transport="udp" if name == "loses-packets" else "tcp", **quick)
            for name, uri in bad.items()
        ]
        with watching(*streams) as watched:
            watched.until(lambda: all(watched.frames(name) for name in GOOD))
            freezing.frozen.set()
            watched.until(lambda: all(_is_in_trouble(watched, name) for name in bad))
            watched.until(lambda: all(len(watched.all_frames(name)) >= FRAMES // 2 for name in GOOD))
            statuses = {name: watched.status(name) for name in bad}
            for name in GOOD:
                assert watched.status(name).connects == 1, name
                frames = watched.all_frames(name)
                steps = {(read_number(b.pixels) - read_number(a.pixels)) % FRAMES for a, b in pairwise(frames)}
                assert steps == {1}, f"{name} lost frames"
            assert watched.ends(GOOD[0]) == []
    assert statuses["locked"].error is SourceErrorCode.AUTH_FAILED
    assert statuses["not-there"].error is SourceErrorCode.NOT_FOUND
    assert statuses["silent"].error is SourceErrorCode.TIMEOUT


def _is_in_trouble(watched: Watched, name: str) -> bool:
    """It has failed at least once, or delivers what no camera should."""
    status = watched.status(name)
    if name == "floods":
        return status.frames_decoded > 10 * FRAMES
    if name == "loses-packets":
        return status.frames_decoded > 0
    if name == "hangs-up":
        return status.connects >= 3
    return status.state is SourceState.RECONNECTING and status.error is not None
