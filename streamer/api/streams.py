"""StreamService: adds, changes and removes cameras while the streamer runs."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

import grpc
from grpc import aio
from pydantic import ValidationError

from faceanalytics.errors import ConfigError, UserError
from faceanalytics.settings import explain
from faceanalytics.v1 import streams_pb2, streams_pb2_grpc
from streamer.api.messages import duration, seconds
from streamer.api.paging import page
from streamer.config import Sources, Stream, redact
from streamer.kinds import check_from_client, check_path_from_client
from streamer.values import SourceStatus, TooManyStreams

P = ParamSpec("P")
T = TypeVar("T")

TRANSPORTS = {
    streams_pb2.TRANSPORT_UNSPECIFIED: "tcp",
    streams_pb2.TRANSPORT_TCP: "tcp",
    streams_pb2.TRANSPORT_UDP: "udp",
}

# field of config.Stream -> its path in the API, for error messages
API_NAMES = {
    "id": "stream_id",
    "uri": "settings.uri",
    "transport": "settings.transport",
    "connect_timeout_s": "settings.connect_timeout",
    "stall_timeout_s": "settings.stall_timeout",
    "max_fps": "settings.max_fps",
    "loop": "settings.loop",
    "decode_device": "settings.decode_device",
    "image_interval_s": "settings.image_interval",
    "follow": "settings.follow",
    "enabled": "settings.paused",
}


# fields of config.Stream that name something outside the streamer -> what a client may name
ADDRESSES: dict[str, Callable[[str, Sources], None]] = {
    "uri": lambda uri, sources: check_from_client(uri, sources.allow, sources.folders),
    "uri_file": lambda path, sources: check_path_from_client(Path(path), sources.folders),
    "tls_ca_file": lambda path, sources: check_path_from_client(Path(path), sources.folders),
}


class Cameras(Protocol):
    """The cameras as the service needs them, see source/cameras.py. `add`, `replace` and `remove` may take seconds."""

    @property
    def sources(self) -> Sources:
        """What clients may name."""
        ...

    def add(self, stream: Stream) -> None:
        """Add a stream. Raises ValueError if its id is in use, TooManyStreams, ModelError for its decode device."""

    def replace(self, stream: Stream) -> None:
        """Replace the stream of the same id. Raises KeyError if the id is unknown, ModelError for its decode device."""

    def remove(self, stream_id: str) -> None:
        """Remove a stream. Raises KeyError if the id is unknown."""

    def get(self, stream_id: str) -> tuple[Stream, SourceStatus]:
        """Return a stream and its status. Raises KeyError if the id is unknown."""
        ...

    def list(self) -> list[tuple[Stream, SourceStatus]]:
        """Return all streams with their status."""
        ...


class StreamService(streams_pb2_grpc.StreamServiceServicer):
    """Serves the cameras of a `Cameras`; the methods are described in streams.proto."""

    def __init__(self, cameras: Cameras) -> None:
        self._cameras = cameras
        self._changing = asyncio.Lock()  # an update reads, changes and writes back

    async def CreateStream(  # noqa: N802
        self,
        request: streams_pb2.CreateStreamRequest,
        context: aio.ServicerContext[streams_pb2.CreateStreamRequest, streams_pb2.CreateStreamResponse],
    ) -> streams_pb2.CreateStreamResponse:
        fields = stream_fields(request.settings)
        stream = await _validated(context, {"id": request.stream_id, **_merged(fields.values())})
        await self._check_allowed(context, stream)
        async with self._changing:
            await _call(context, request.stream_id, self._cameras.add, stream)
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
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"update_mask: unknown settings: {', '.join(unknown)}"
            )
        async with self._changing:
            before, _ = await _call(context, request.stream_id, self._cameras.get, request.stream_id)
            named = list(request.update_mask.paths) or list(fields)
            if not request.update_mask.paths and request.settings.uri == shown_address(before):
                named.remove("uri")  # copied from a response, where the password is left out: not a new address
            data = before.model_dump() | _merged(fields[name] for name in named)
            stream = await _validated(context, data)
            await self._check_allowed(context, stream, before)
            await _call(context, request.stream_id, self._cameras.replace, stream)
        return streams_pb2.UpdateStreamResponse(stream=await self._get(context, request.stream_id))

    async def DeleteStream(  # noqa: N802
        self,
        request: streams_pb2.DeleteStreamRequest,
        context: aio.ServicerContext[streams_pb2.DeleteStreamRequest, streams_pb2.DeleteStreamResponse],
    ) -> streams_pb2.DeleteStreamResponse:
        async with self._changing:
            await _call(context, request.stream_id, self._cameras.remove, request.stream_id)
        return streams_pb2.DeleteStreamResponse()

    async def _check_allowed(
        self, context: aio.ServicerContext[Any, Any], stream: Stream, before: Stream | None = None
    ) -> None:
        """Abort with PERMISSION_DENIED if a client may not set an address or a path, unless it was so `before`."""
        for name, check in ADDRESSES.items():
            value = getattr(stream, name)
            if not value or (before is not None and value == getattr(before, name)):
                continue
            try:
                await asyncio.to_thread(check, value, self._cameras.sources)
            except ValueError as error:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{API_NAMES.get(name, name)}: {error}")

    async def _get(self, context: aio.ServicerContext[Any, Any], stream_id: str) -> streams_pb2.Stream:
        stream, status = await _call(context, stream_id, self._cameras.get, stream_id)
        return stream_to_proto(stream, status)


def stream_to_proto(stream: Stream, status: SourceStatus) -> streams_pb2.Stream:
    """Return the message of a stream. Its address is without user, password and query."""
    error = status.error.value if status.error else "UNSPECIFIED"
    return streams_pb2.Stream(
        stream_id=stream.id,
        settings=streams_pb2.StreamSettings(
            uri=shown_address(stream),
            transport=streams_pb2.TRANSPORT_UDP if stream.transport == "udp" else streams_pb2.TRANSPORT_TCP,
            connect_timeout=duration(stream.connect_timeout_s),
            stall_timeout=duration(stream.stall_timeout_s),
            max_fps=stream.max_fps or 0.0,
            loop=stream.loop,
            decode_device=stream.decode_device or "",
            image_interval=duration(stream.image_interval_s),
            follow=stream.follow,
            paused=not stream.enabled,
        ),
        state=streams_pb2.StreamState.Value(f"STREAM_STATE_{status.state.value}"),
        error_code=streams_pb2.StreamErrorCode.Value(f"STREAM_ERROR_CODE_{error}"),
        error_message=status.message,
        epoch=status.epoch,
        connects=status.connects,
        frames_decoded=status.frames_decoded,
        frame_width=status.width,
        frame_height=status.height,
        decoder=status.decoder,
    )


def shown_address(stream: Stream) -> str:
    """Return the address as responses show it; empty if it is in a file that cannot be read."""
    try:
        return redact(stream.address())
    except ConfigError:
        return ""


def stream_fields(settings: streams_pb2.StreamSettings) -> dict[str, dict[str, Any]]:
    """Return, for each setting of the API by name, the fields of config.Stream that it sets and their values."""
    max_fps = settings.max_fps if settings.max_fps != 0 else None
    return {
        "uri": {"uri": settings.uri, "uri_file": None},
        "transport": {"transport": TRANSPORTS.get(settings.transport, "unknown")},
        "connect_timeout": {"connect_timeout_s": _seconds_or_default(settings, "connect_timeout")},
        "stall_timeout": {"stall_timeout_s": _seconds_or_default(settings, "stall_timeout")},
        "max_fps": {"max_fps": max_fps},
        "loop": {"loop": settings.loop},
        "decode_device": {"decode_device": settings.decode_device or None},
        "image_interval": {"image_interval_s": _seconds_or_default(settings, "image_interval")},
        "follow": {"follow": settings.follow},
        "paused": {"enabled": not settings.paused},
    }


def _seconds_or_default(
    settings: streams_pb2.StreamSettings, name: Literal["connect_timeout", "stall_timeout", "image_interval"]
) -> float:
    """Return a duration of the settings in s, or the default of config.Stream if it is absent."""
    if settings.HasField(name):
        return seconds(getattr(settings, name))
    return float(Stream.model_fields[f"{name}_s"].default)


def _merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


async def _validated(context: aio.ServicerContext[Any, Any], data: dict[str, Any]) -> Stream:
    """Return the stream that `data` describes.

    Aborts the call with INVALID_ARGUMENT and the API's path of each invalid field if there is no such stream.
    """
    if not data["uri"] and not data.get("uri_file"):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "settings.uri: must be given")
    try:
        stream = Stream.model_validate(data)
    except ValidationError as error:
        problems = [line.strip().partition(":") for line in explain(error)]
        lines = [f"{API_NAMES.get(field, field)}:{reason}" for field, _, reason in problems]
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "\n".join(lines))
    return stream


async def _call(
    context: aio.ServicerContext[Any, Any],
    stream_id: str,
    function: Callable[P, T],
    *arguments: P.args,
    **named: P.kwargs,
) -> T:
    """Call a function of the cameras in a thread, because it may wait, and return its result.

    KeyError, ValueError, TooManyStreams and UserError abort the call with NOT_FOUND, ALREADY_EXISTS, RESOURCE_EXHAUSTED
    and FAILED_PRECONDITION.
    """
    try:
        answer = await asyncio.to_thread(function, *arguments, **named)
    except KeyError:
        await context.abort(grpc.StatusCode.NOT_FOUND, f"stream_id: there is no stream {stream_id!r}")
    except ValueError:
        await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"stream_id: there is already a stream {stream_id!r}")
    except TooManyStreams as error:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
    except UserError as error:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
    return answer
