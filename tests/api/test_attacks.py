"""Attacks over real sockets that no gRPC client would make: each is answered or ended, and the server goes on."""

import asyncio
import gzip
import resource
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from faceanalytics.v1 import streams_pb2, streams_pb2_grpc
from streamer.access.tokens import Scope
from streamer.config import Sources
from streamer.config import Store as StoreConfig
from tests.api.test_guard import closed_by_server, models, status
from tests.support.guarded_server import Guarded, as_is, bearer, guarded
from tests.support.h2_client import (
    DATA,
    END_HEADERS,
    HEADERS,
    PREFACE,
    RESET,
    Connection,
    call_headers,
    frame,
    settings,
)
from tests.support.patience import WAIT_S

WATCH = "/faceanalytics.v1.TrackService/WatchTracks"
CREATE = "/faceanalytics.v1.StreamService/CreateStream"
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def connected(at: Guarded, beginning: bytes = b"") -> socket.socket:
    host, _, port = at.server.address.rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(beginning)
    return connection


async def works(at: Guarded, secret: str | None = None) -> None:
    """The server answers others."""
    async with at.channel() as channel:
        assert await status(models(channel, secret)) == (grpc.StatusCode.OK, "")


@asynccontextmanager
async def speaking(at: Guarded) -> AsyncIterator[tuple[Connection, Counter[int], asyncio.Event]]:
    """A connection with its own HTTP/2; how often each stream was ended, and whether the connection was."""
    ended, gone = Counter[int](), asyncio.Event()

    def end(stream: int) -> None:
        ended[stream] += 1
        if stream == 0:
            gone.set()

    host, _, port = at.server.address.rpartition(":")
    made: Any = await asyncio.get_running_loop().create_connection(
        lambda: Connection(lambda stream, data: None, end), host, int(port)
    )
    try:
        yield made[1], ended, gone
    finally:
        made[0].close()


# --- slow


@pytest.mark.parametrize(
    "beginning",
    [
        PREFACE[:10],
        PREFACE,
        PREFACE + settings(65_535)[:5],
        PREFACE + frame(DATA, 0, 1, b"x"),  # no settings first
        PREFACE + b"\0" * 40,
    ],
    ids=["half a preface", "no settings", "half of them", "something else", "zeros"],
)
async def test_a_connection_that_does_not_become_one_is_closed(tmp_path: Path, beginning: bytes) -> None:
    async with guarded(tmp_path, limits={"request_within_s": 0.5}) as at:
        with connected(at, beginning) as connection:
            await closed_by_server(connection)
        await works(at)


async def test_a_preface_byte_by_byte_does_not_hold_a_connection(tmp_path: Path) -> None:
    async with guarded(tmp_path, limits={"request_within_s": 0.5}) as at:
        with connected(at) as connection:
            dripping = asyncio.create_task(drip(connection, PREFACE + settings(65_535)))
            await closed_by_server(connection)
            dripping.cancel()
        await works(at)


async def drip(connection: socket.socket, data: bytes) -> None:
    for byte in data:
        await asyncio.sleep(0.2)
        try:
            connection.send(bytes((byte,)))
        except OSError:
            return


@pytest.mark.parametrize(
    "request_bytes",
    [b"", b"\0", b"\0\0\0\0\x05ab", b"\0\xff\xff\xff\xff", b"\0\0\x3f\xff\xff" + b"x" * 100],
    ids=["nothing", "half a length", "half a message", "4 GiB announced", "4 MiB announced"],
)
@pytest.mark.parametrize("path", [WATCH, CREATE, "/faceanalytics.v1.TrackService/GetTrack", "/no.Service/Method"])
async def test_a_request_that_is_not_completed_is_ended(tmp_path: Path, path: str, request_bytes: bytes) -> None:
    async with guarded(tmp_path, limits={"request_within_s": 0.3}) as at:
        secret = await at.token(Scope.ADMIN)
        async with speaking(at) as (connection, ended, gone):
            assert connection.transport is not None
            connection.transport.write(frame(HEADERS, END_HEADERS, 1, call_headers(path, secret)))
            if request_bytes:
                connection.transport.write(frame(DATA, 0, 1, request_bytes))
            async with asyncio.timeout(WAIT_S):
                while not ended[1] and not gone.is_set():
                    await asyncio.sleep(0.01)
        await works(at, secret)
        assert len([one for one in at.audit() if one["method"] == path]) <= 1


async def test_headers_that_never_end_keep_nobody_out(tmp_path: Path) -> None:
    async with guarded(tmp_path, limits={"request_within_s": 0.5}) as at:
        half = [
            connected(at, PREFACE + settings(65_535) + frame(HEADERS, 0, 1, call_headers(WATCH))) for _ in range(50)
        ]
        try:
            for _ in range(3):
                await works(at)
        finally:
            for one in half:
                one.close()
        assert at.audit() == []


# --- large


async def test_a_small_message_that_becomes_large_is_refused(tmp_path: Path) -> None:
    async with guarded(tmp_path, limits={"message_bytes": 1 << 20}) as at, at.channel() as channel:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call: Any = channel.unary_unary("/faceanalytics.v1.TrackService/GetTrack", as_is, as_is)
        zeros = b"\x0a" + varint(64 << 20) + b"a" * (64 << 20)
        assert len(gzip.compress(zeros)) < 1 << 20
        code, text = await status(call(zeros, compression=grpc.Compression.Gzip))
        assert code is EXHAUSTED, text
        await works(at)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def varint(number: int) -> bytes:
    data = b""
    while number > 127:
        data += bytes((number & 127 | 128,))
        number >>= 7
    return data + bytes((number,))


async def test_large_metadata_and_many_headers_are_refused(tmp_path: Path) -> None:
    async with guarded(tmp_path) as at:
        for headers in (
            [("x-a", "y" * (1 << 20))],
            [(f"x-{number}", "y" * 100) for number in range(2000)],
            [("authorization", "Bearer " + "z" * (1 << 16))],
        ):
            async with at.channel() as channel:
                start: Any = channel.unary_unary("/faceanalytics.v1.TrackService/GetTrack", as_is, as_is)
                code, text = await status(start(b"", metadata=headers))
                assert code in (EXHAUSTED, grpc.StatusCode.UNAVAILABLE), (code, text)
                assert "yyyy" not in text
            await works(at)


# --- many


@pytest.mark.slow
async def test_ten_thousand_streams_of_one_connection_are_bounded(tmp_path: Path) -> None:
    limits = {"streams": 100, "calls": 400, "calls_per_second": 1e6}
    async with guarded(tmp_path, limits=limits) as at:
        async with speaking(at) as (connection, ended, gone):
            for number in range(10_000):
                connection.call(2 * number + 1, WATCH, b"")
                if number % 100 == 0:
                    await asyncio.sleep(0)
            async with asyncio.timeout(WAIT_S):
                while len(ended) < 9_900 and not gone.is_set():
                    await asyncio.sleep(0.05)
            await works(at)
        async with asyncio.timeout(WAIT_S):
            while at.hub._subscribers:
                await asyncio.sleep(0.05)
        assert len(at.audit()) < 200


@pytest.mark.slow
async def test_streams_that_are_reset_at_once_do_not_stop_others(tmp_path: Path) -> None:
    limits = {"calls_per_second": 1e6}
    async with guarded(tmp_path, limits=limits) as at:
        async with speaking(at) as (connection, _, gone):
            assert connection.transport is not None
            for number in range(10_000):
                if gone.is_set():
                    break
                connection.call(2 * number + 1, WATCH, b"")
                connection.transport.write(frame(RESET, 0, 2 * number + 1, struct.pack(">I", 8)))
                if number % 500 == 0:
                    await works(at)
        await works(at)
        async with asyncio.timeout(WAIT_S):
            while at.hub._subscribers:
                await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_thousands_of_cameras_are_not_created(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limits = {"calls_per_second": 1e6}
    store = StoreConfig(folder=str(tmp_path / "store"))
    async with guarded(tmp_path, store=store, limits=limits) as at, at.channel() as channel:
        at.cameras.sources = Sources(folders=(str(tmp_path),), max_streams=16)
        secret = await at.token(Scope.OPERATE, Scope.READ)
        (tmp_path / "a.mp4").write_bytes(b"")
        stub = streams_pb2_grpc.StreamServiceStub(channel)

        async def create(number: int) -> grpc.StatusCode:
            asked = streams_pb2.StreamSettings(uri=str(tmp_path / "a.mp4"))
            request = streams_pb2.CreateStreamRequest(stream_id=f"s{number}", settings=asked)
            return (await status(stub.CreateStream(request, metadata=bearer(secret))))[0]

        codes = Counter[grpc.StatusCode]()
        for start in range(0, 3_000, 100):
            codes.update(await asyncio.gather(*(create(number) for number in range(start, start + 100))))
        assert codes == {grpc.StatusCode.OK: 16, EXHAUSTED: 2_984}
        assert len(at.cameras.list()) == 16
        # gRPC's own poller may find nothing to read where a process has had several loops, and asyncio says so
        ours = [one for one in caplog.records if "PollerCompletionQueue" not in one.getMessage()]
        assert not [record for record in ours if record.exc_info]
        await works(at, secret)
