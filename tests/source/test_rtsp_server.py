"""The tests' own server is checked with FFmpeg and with hand-written requests, since other tests rely on it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.support.patience import WAIT_S
from tests.support.rtp import load_clip, packetise
from tests.support.rtsp_server import RtspServer
from tests.support.videos import make_video, read_number


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {
        "h264": make_video(folder / "a.mp4", frames=20, fps=50),
        "b-frames": make_video(folder / "b.mp4", frames=20, fps=50, b_frames=2, size=(640, 480)),
        "h265": make_video(folder / "h.mkv", frames=20, fps=50, codec="libx265", b_frames=2, size=(640, 480)),
    }


def pull(url: str, transport: str, count: int) -> tuple[list[int], list[int | None]]:
    """Painted numbers and timestamps of the first images."""
    options = {"rtsp_transport": transport, "analyzeduration": "100000"}
    numbers, timestamps = [], []
    with av.open(url, "r", options=options, timeout=(WAIT_S, WAIT_S)) as container:
        for frame in container.decode(video=0):
            numbers.append(read_number(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)))
            timestamps.append(frame.pts)
            if len(numbers) == count:
                break
    return numbers, timestamps


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("mount", ["h264", "b-frames", "h265"])
def test_every_image_arrives_in_a_loop_with_even_timestamps(clips: dict[str, Path], mount: str, transport: str) -> None:
    with RtspServer({mount: clips[mount]}) as server:
        numbers, timestamps = pull(server.url(mount), transport, 30)
    assert numbers == [*range(20), *range(10)]
    known = [pts for pts in timestamps if pts is not None]
    assert len(known) >= 29
    assert {later - earlier for earlier, later in pairwise(known)} == {1800}


def test_once_hangs_up_at_the_end(clips: dict[str, Path]) -> None:
    with RtspServer({"a": clips["h264"]}, once=True) as server:
        numbers, _ = pull(server.url("a"), "tcp", 1000)
    assert numbers == list(range(20))


@contextmanager
def talking(server: RtspServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as connection:
        yield connection


def status(connection: socket.socket, method: str, path: str, *headers: str) -> int:
    request = [f"{method} rtsp://127.0.0.1{path} RTSP/1.0", "CSeq: 7", *headers, "", ""]
    connection.sendall("\r\n".join(request).encode())
    answer = connection.recv(4096).decode()
    assert "CSeq: 7" in answer
    return int(answer.split()[1])


def test_a_client_that_goes_away_or_never_reads_does_not_disturb_the_others(clips: dict[str, Path]) -> None:
    with RtspServer(clips) as server, talking(server) as deaf:
        assert status(deaf, "SETUP", "/h265/track1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1") == 200
        assert status(deaf, "PLAY", "/h265", f"Session: {server.sessions[-1].id}") == 200
        pull(server.url("b-frames"), "tcp", 3)
        numbers, _ = pull(server.url("h264"), "udp", 15)
    assert numbers == list(range(15))


def test_refusals_have_the_status_of_the_standard(clips: dict[str, Path]) -> None:
    with RtspServer(clips) as server, talking(server) as connection:
        assert status(connection, "OPTIONS", "/h264") == 200
        assert status(connection, "DESCRIBE", "/nothing") == 404
        assert status(connection, "PLAY", "/h264", "Session: 12345678") == 454
        assert status(connection, "SETUP", "/h264/track1", "Transport: RTP/AVP;multicast") == 461
        assert status(connection, "RECORD", "/h264") == 501
    with RtspServer(clips, user="a", password="b", digest=True) as server, talking(server) as connection:
        assert status(connection, "DESCRIBE", "/h264") == 401
        assert status(connection, "DESCRIBE", "/h264", "Authorization: Digest nonsense") == 401


def test_a_large_nal_unit_is_split_and_can_be_put_together_again(clips: dict[str, Path]) -> None:
    for name, header, kind in (("b-frames", 1, 28), ("h265", 2, 49)):
        clip = load_clip(clips[name])
        nal = max((nal for unit in clip.units for nal in unit.nals), key=len)
        nal += bytes(5000)
        parts = packetise(clip.codec, nal)
        assert len(parts) > 1
        assert {part[0] & 0x1F if header == 1 else part[0] >> 1 & 0x3F for part in parts} == {kind}
        assert b"".join(part[header + 1 :] for part in parts) == nal[header:]
        assert [part[header] & 0xC0 for part in parts] == [0x80, *[0] * (len(parts) - 2), 0x40]


def test_it_runs_as_a_process_of_its_own_that_ends_on_sigterm(clips: dict[str, Path]) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.support.rtsp_server",
        "--mount",
        f"a={clips['h264']}",
        "--user",
        "u",
        "--password",
        "p",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().split()[1]
        numbers, _ = pull(f"rtsp://u:p@127.0.0.1:{port}/a", "tcp", 3)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    assert numbers == [0, 1, 2]
