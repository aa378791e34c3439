"""StreamService: the cameras, added and changed while the streamer runs."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar

import grpc
from grpc import aio
from pydantic import ValidationError

from faceanalytics.v1 import streams_pb2, streams_pb2_grpc
from streamer.api.messages import API_NAMES, shown_address, stream_fields, stream_to_proto
from streamer.config import Stream
from streamer.configfile import explain
from streamer.errors import ConfigError
from streamer.hub import page
from streamer.values import SourceStatus

P = ParamSpec("P")
T = TypeVar("T")


class Cameras(Protocol):
    """What is needed of streamer/cameras.py. `add`, `replace` and `remove` may take seconds."""

    def add(self, stream: Stream) -> None:
        """ValueError: the id is in use."""

    def replace(self, stream: Stream) -> None:
        """KeyError: there is none of this id."""

    def remove(self, stream_id: str) -> None:
        """KeyError: there is none."""

    def get(self, stream_id: str) -> tuple[Stream, SourceStatus]:
        """KeyError: there is none."""
        ...

    def list(self) -> list[tuple[Stream, SourceStatus]]:
        """All streams."""
        ...


class StreamService(streams_pb2_grpc.StreamServiceServicer):
    def __init__(self, cameras: Cameras) -> None:
        self._cameras = cameras
        self._changing = asyncio.Lock()  # an update reads, changes and writes

    async def CreateStream(  # noqa: N802
        self,
        request: streams_pb2.CreateStreamRequest,
        context: aio.ServicerContext[streams_pb2.CreateStreamRequest, streams_pb2.CreateStreamResponse],
    ) -> streams_pb2.CreateStreamResponse:
        fields = stream_fields(request.settings)
        stream = await _checked(context, {"id": request.stream_id, **_merged(fields.values())})
        async with self._changing:
            await _asked(context, request.stream_id, self._cameras.add, stream)
        return streams_pb2.CreateStreamResponse(stream=await self._get(context, request.stream_id))

    async def GetStream(  # noqa: N802
        self,
        request: streams_pb2.GetStreamRequest,
        context: aio.ServicerContext[streams_pb2.GetStreamRequest, streams_pb2.GetStreamResponse],
    ) -> streams_pb2.GetStreamResponse:
        return streams_pb2.GetStreamResponse(stream=await self._get(context, request.stream_id))

    async def ListStreams(  # noqa: N802
        self,
        request: streams_pb2.ListStreamsRequest,
        context: aio.ServicerContext[streams_pb2.ListStreamsRequest, streams_pb2.ListStreamsResponse],
    ) -> streams_pb2.ListStreamsResponse:
        del context
        known = sorted(await asyncio.to_thread(self._cameras.list), key=lambda pair: pair[0].id)
        pairs, token = page(known, lambda pair: pair[0].id, request.page_token, request.page_size)
        streams = [stream_to_proto(stream, status) for stream, status in pairs]
        return streams_pb2.ListStreamsResponse(streams=streams, next_page_token=token)

    async def UpdateStream(  # noqa: N802
        self,
        request: streams_pb2.UpdateStreamRequest,
        context: aio.ServicerContext[streams_pb2.UpdateStreamRequest, streams_pb2.UpdateStreamResponse],
    ) -> streams_pb2.UpdateStreamResponse:
        fields = stream_fields(request.settings)
        unknown = [path for path in request.update_mask.paths if path not in fields]
        if unknown:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"update_mask: no setting {', '.join(unknown)}")
        async with self._changing:
            before, _ = await _asked(context, request.stream_id, self._cameras.get, request.stream_id)
            named = list(request.update_mask.paths) or list(fields)
            if not request.update_mask.paths and request.settings.uri == shown_address(before):
                named.remove("uri")  # it comes from an answer, which leaves the password out: not a new address
            data = before.model_dump() | _merged(fields[name] for name in named)
            stream = await _checked(context, data)
            await _asked(context, request.stream_id, self._cameras.replace, stream)
        return streams_pb2.UpdateStreamResponse(stream=await self._get(context, request.stream_id))

    async def DeleteStream(  # noqa: N802
        self,
        request: streams_pb2.DeleteStreamRequest,
        context: aio.ServicerContext[streams_pb2.DeleteStreamRequest, streams_pb2.DeleteStreamResponse],
    ) -> streams_pb2.DeleteStreamResponse:
        async with self._changing:
            await _asked(context, request.stream_id, self._cameras.remove, request.stream_id)
        return streams_pb2.DeleteStreamResponse()

    async def _get(self, context: aio.ServicerContext[Any, Any], stream_id: str) -> streams_pb2.Stream:
        stream, status = await _asked(context, stream_id, self._cameras.get, stream_id)
        return stream_to_proto(stream, status)


def _merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


async def _checked(context: aio.ServicerContext[Any, Any], data: dict[str, Any]) -> Stream:
    """The stream of this data; ends the call with INVALID_ARGUMENT and the API's path of each wrong field."""
    if not data["uri"] and not data.get("uri_file"):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "settings.uri: must be given")
    try:
        stream = Stream.model_validate(data)
    except ValidationError as error:
        problems = [line.strip().partition(":") for line in explain(error)]
        lines = [f"{API_NAMES.get(field, field)}:{reason}" for field, _, reason in problems]
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "\n".join(lines))
    return stream


async def _asked(
    context: aio.ServicerContext[Any, Any],
    stream_id: str,
    function: Callable[P, T],
    *arguments: P.args,
    **named: P.kwargs,
) -> T:
    """What the cameras answer, from a thread because they may wait; their errors end the call with its code."""
    try:
        answer = await asyncio.to_thread(function, *arguments, **named)
    except KeyError:
        await context.abort(grpc.StatusCode.NOT_FOUND, f"stream_id: there is no stream {stream_id!r}")
    except ValueError:
        await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"stream_id: there is already a stream {stream_id!r}")
    except ConfigError as error:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
    return answer
