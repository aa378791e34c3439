"""What clients send by mistake or on purpose: a proper status and at most one line of log each."""

import asyncio
import logging
import socket
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client import REGISTRY

from faceanalytics.v1 import streams_pb2, system_pb2, tracks_pb2
from streamer.config import Stream
from tests.api.test_server import KeptCameras, Service, refused, serving, summary
from tests.support.patience import WAIT_S

FILES = (tracks_pb2, streams_pb2, system_pb2, health_pb2, reflection_pb2)
GARBAGE = {
    "corrupt": b"\xff\xff\xff no message",
    "cut off": b"\x0a\x20abc",
    "not UTF-8": b"\x0a\x02\xff\xfe",
}


def methods() -> Iterator[tuple[str, bool, bool]]:
    """The path of each method, and whether requests and responses are streams."""
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method.client_streaming, method.server_streaming


def as_is(data: bytes) -> bytes:
    return data


async def send(channel: aio.Channel, path: str, many: bool, stream: bool, data: bytes) -> grpc.StatusCode:
    """Send bytes as they are; the status of the call."""
    async with asyncio.timeout(WAIT_S):
        if many:
            call: aio.Call = channel.stream_stream(path, as_is, as_is)(iter([data]))
        elif stream:
            call = channel.unary_stream(path, as_is, as_is)(data)
        else:
            call = channel.unary_unary(path, as_is, as_is)(data)
        return await call.code()


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_an_invalid_argument_of_every_method(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    paths = list(methods())
    assert len(paths) > 12
    async with serving() as service:
        for path, many, stream in paths:
            textless = ("/GetStats", "/GetCapacity", "/GetStore")
            known = path.endswith(("/ListStreams", "/ListModels", "/List", "/ServerReflectionInfo", *textless))
            if data == GARBAGE["not UTF-8"] and known:
                continue  # their first field is no text, or they have no field
            assert await send(service.channel, path, many, stream, data) is grpc.StatusCode.INVALID_ARGUMENT, path
            await works(service)
    assert tracebacks(caplog) == []
    refusals = [record for record in caplog.records if "refused" in record.message]
    assert len(refusals) >= len(paths) - 7
    method = {"method": "/faceanalytics.v1.TrackService/GetTrack"}
    assert (REGISTRY.get_sample_value("faceanalytics_invalid_requests_total", method) or 0) >= 1


async def works(service: Service) -> None:
    await service.streams.ListStreams(streams_pb2.ListStreamsRequest())


async def test_unknown_methods_are_unimplemented(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as service:
        code = await send(service.channel, "/faceanalytics.v1.StreamService/Nothing", False, False, b"\xff")
        assert code is grpc.StatusCode.UNIMPLEMENTED
    assert tracebacks(caplog) == []


async def test_other_protocols_on_the_port_leave_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as service:
        host, _, port = service.server.address.rpartition(":")
        for data in (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\x16\x03\x01\x02\x00",
            b"PRI * HTTP/2.0\r\n\r\n\0\0\0\0\0",
        ):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(data)
        await works(service)
    assert caplog.records == []


async def test_clients_that_cancel_or_vanish_leave_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as service:
        for number in range(20):
            call = await service.watch(snapshot=True)
            service.offer(summary(f"t{number}"))
            if number % 2:
                await call.read()
            call.cancel()
            service.streams.ListStreams(streams_pb2.ListStreamsRequest()).cancel()
        other = aio.insecure_channel(service.server.address)
        watching = other.unary_stream("/faceanalytics.v1.TrackService/WatchTracks", as_is, as_is)(b"")
        await watching.initial_metadata()
        await other.close(grace=None)
        service.offer(summary("last"))
        await works(service)
    assert [record for record in caplog.records if record.name != "asyncio" or record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["maxfps"], "update_mask.paths[0]: no setting 'maxfps'; did you mean max_fps?"),
        (["max_fps", "settings.pause"], "update_mask.paths[1]: no setting 'settings.pause'; did you mean paused?"),
        ([""], "update_mask.paths[0]: no setting ''"),
        (["paused", "paused.x"], "update_mask.paths[1]: no setting 'paused.x'; did you mean paused?"),
    ],
)
async def test_a_wrong_path_in_a_mask_is_named_as_it_was_sent(paths: list[str], problem: str) -> None:
    async with serving(KeptCameras(Stream(id="door", uri="a.mp4"))) as service:
        request = streams_pb2.UpdateStreamRequest(stream_id="door", update_mask=FieldMask(paths=paths))
        assert await refused(service.streams.UpdateStream(request)) == (grpc.StatusCode.INVALID_ARGUMENT, problem)


async def test_a_long_text_is_not_repeated_in_full() -> None:
    async with serving() as service:
        long = "x" * 100_000
        for call in (
            service.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id=long)),
            service.streams.GetStream(streams_pb2.GetStreamRequest(stream_id=long)),
            service.health.Check(health_pb2.HealthCheckRequest(service=long)),
        ):
            code, details = await refused(call)
            assert code is grpc.StatusCode.NOT_FOUND
            assert len(details) < 200
        request = streams_pb2.UpdateStreamRequest(stream_id="a", update_mask=FieldMask(paths=[long]))
        code, details = await refused(service.streams.UpdateStream(request))
        assert (code, len(details) < 200) == (grpc.StatusCode.INVALID_ARGUMENT, True)
