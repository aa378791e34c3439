"""StreamService: adds, changes and removes cameras while the streamer runs."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar

from grpc import aio
from pydantic import ValidationError

from faceanalytics.errors import ConfigError, LostDependency, UserError
from faceanalytics.v1 import streams_pb2, streams_pb2_grpc
from streamer.api.allowed import check_allowed
from streamer.api.callers import visible_cameras
from streamer.api.errors import Why, refuse
from streamer.api.messages import seconds
from streamer.api.paging import page, place_of
from streamer.api.problems import SHOWN, field_problems, mask_problems, shown
from streamer.api.stream_messages import MODES, shown_address, stream_to_proto
from streamer.config import Reconnect, Sources, Stream
from streamer.privacy import Modes
from streamer.values import SourceState, SourceStatus, TooManyStreams

P = ParamSpec("P")
T = TypeVar("T")

TRANSPORTS = {
    streams_pb2.TRANSPORT_UNSPECIFIED: "tcp",
    streams_pb2.TRANSPORT_TCP: "tcp",
    streams_pb2.TRANSPORT_UDP: "udp",
}

OWN_MODES = {value: mode for mode, value in MODES.items()}

# field of config.Stream -> its path in the API, for error messages
API_NAMES = {
    "id": "stream_id",
    "uri": "settings.uri",
    "uri_file": "settings.uri_file",
    "transport": "settings.transport",
    "tls_ca_file": "settings.tls_ca_file",
    "connect_timeout_s": "settings.connect_timeout",
    "first_frame_timeout_s": "settings.first_frame_timeout",
    "key_frame_timeout_s": "settings.key_frame_timeout",
    "stall_timeout_s": "settings.stall_timeout",
    "reconnect.initial_s": "settings.reconnect_initial",
    "reconnect.max_s": "settings.reconnect_max",
    "reconnect.jitter": "settings.reconnect_jitter",
    "max_fps": "settings.max_fps",
    "loop": "settings.loop",
    "video_stream": "settings.video_stream",
    "decode_device": "settings.decode_device",
    "image_interval_s": "settings.image_interval",
    "follow": "settings.follow",
    "enabled": "settings.paused",
    "privacy": "settings.privacy_mode",
}


class Cameras(Protocol):
    """The cameras as the service needs them, see source/cameras.py. `add`, `replace` and `remove` may take seconds."""

    @property
    def sources(self) -> Sources:
        """What clients may name."""
        ...

    @property
    def modes(self) -> Modes:
        """The privacy modes of the cameras."""
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

    def __init__(self, cameras: Cameras, configured: Collection[str] = ()) -> None:
        """`configured`: ids of the streams in the configuration."""
        self._cameras = cameras
        self._configured = frozenset(configured)
        self._changing = asyncio.Lock()  # an update reads, changes and writes back

    async def CreateStream(  # noqa: N802
        self,
        request: streams_pb2.CreateStreamRequest,
        context: aio.ServicerContext[streams_pb2.CreateStreamRequest, streams_pb2.CreateStreamResponse],
    ) -> streams_pb2.CreateStreamResponse:
        fields = stream_fields(request.settings)
        stream = await _validated(context, _changed({"id": request.stream_id}, fields.values()))
        await self._check_allowed(context, stream, None)
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
        after, visible = await place_of(request.page_token, context), visible_cameras.get()
        every = await asyncio.to_thread(self._cameras.list)
        wanted = {streams_pb2.StreamState.Value(f"STREAM_STATE_{one.value}"): one for one in SourceState}
        if any(state not in wanted for state in request.states):
            await refuse(context, Why.INVALID_FIELD, "states: has an unknown state")
        states = {wanted[state] for state in request.states or wanted}
        listed = [one for one in every if (not visible or one[0].id in visible) and one[1].state in states]
        known = sorted(listed, key=lambda pair: pair[0].id)
        pairs, token = page(known, lambda pair: pair[0].id, after, request.page_size)
        streams = [self._message(stream, status) for stream, status in pairs]
        return streams_pb2.ListStreamsResponse(streams=streams, next_page_token=token)

    async def UpdateStream(  # noqa: N802
        self,
        request: streams_pb2.UpdateStreamRequest,
        context: aio.ServicerContext[streams_pb2.UpdateStreamRequest, streams_pb2.UpdateStreamResponse],
    ) -> streams_pb2.UpdateStreamResponse:
        fields = stream_fields(request.settings)
        problems = mask_problems(request.update_mask.paths, fields)
        if problems:
            await refuse(context, Why.INVALID_FIELD, problems)
        async with self._changing:
            before, _ = await _call(context, request.stream_id, self._cameras.get, request.stream_id)
            named = list(request.update_mask.paths) or _given(request.settings, before)
            stream = await _validated(context, _changed(before.model_dump(), (fields[name] for name in named)))
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
        self, context: aio.ServicerContext[Any, Any], stream: Stream, before: Stream | None
    ) -> None:
        """Abort the call with PERMISSION_DENIED if a client may not give a stream these settings."""
        try:
            await asyncio.to_thread(check_allowed, stream, before, self._cameras.sources)
        except ConfigError as error:
            await refuse(context, Why.SOURCE_NOT_ALLOWED, str(error))

    async def _get(self, context: aio.ServicerContext[Any, Any], stream_id: str) -> streams_pb2.Stream:
        stream, status = await _call(context, stream_id, self._cameras.get, stream_id)
        return self._message(stream, status)

    def _message(self, stream: Stream, status: SourceStatus) -> streams_pb2.Stream:
        return stream_to_proto(stream, status, stream.id in self._configured, self._cameras.modes.of(stream.id))


async def asked_stream(
    stream_id: str, settings: streams_pb2.StreamSettings, cameras: Cameras, context: aio.ServicerContext[Any, Any]
) -> Stream:
    """Return the stream that a client describes, which need not exist.

    An address copied from a response, where the password is left out, stands for that of the stream with this id.
    Aborts the call with INVALID_ARGUMENT, or with PERMISSION_DENIED if a client may not name it.
    """
    before = None
    with contextlib.suppress(KeyError):
        before, _ = await asyncio.to_thread(cameras.get, stream_id)
    data = {"id": stream_id} if before is None else before.model_dump()
    fields = stream_fields(settings)
    names = list(fields) if before is None else _given(settings, before)
    stream = await _validated(context, _changed({"uri": "", **data}, (fields[name] for name in names)))
    try:
        await asyncio.to_thread(check_allowed, stream, before, cameras.sources)
    except ConfigError as error:
        await refuse(context, Why.SOURCE_NOT_ALLOWED, str(error))
    return stream


def stream_fields(settings: streams_pb2.StreamSettings) -> dict[str, dict[str, Any]]:
    """Return, for each setting of the API by name, the fields of config.Stream that it sets and their values."""
    jitter = settings.reconnect_jitter if settings.HasField("reconnect_jitter") else Reconnect().jitter
    return {
        "uri": {"uri": settings.uri},
        "uri_file": {"uri_file": settings.uri_file or None},
        "transport": {"transport": TRANSPORTS.get(settings.transport, "unknown")},
        "tls_ca_file": {"tls_ca_file": settings.tls_ca_file or None},
        "connect_timeout": {"connect_timeout_s": _seconds(settings, "connect_timeout")},
        "first_frame_timeout": {"first_frame_timeout_s": _seconds(settings, "first_frame_timeout")},
        "key_frame_timeout": {"key_frame_timeout_s": _seconds(settings, "key_frame_timeout")},
        "stall_timeout": {"stall_timeout_s": _seconds(settings, "stall_timeout")},
        "reconnect_initial": {"reconnect": {"initial_s": _seconds(settings, "reconnect_initial")}},
        "reconnect_max": {"reconnect": {"max_s": _seconds(settings, "reconnect_max")}},
        "reconnect_jitter": {"reconnect": {"jitter": jitter}},
        "max_fps": {"max_fps": settings.max_fps if settings.max_fps != 0 else None},
        "loop": {"loop": settings.loop},
        "video_stream": {"video_stream": settings.video_stream if settings.HasField("video_stream") else None},
        "decode_device": {"decode_device": settings.decode_device or None},
        "image_interval": {"image_interval_s": _seconds(settings, "image_interval")},
        "follow": {"follow": settings.follow},
        "paused": {"enabled": not settings.paused},
        "privacy_mode": {"privacy": OWN_MODES.get(settings.privacy_mode, "unknown")},
    }


def _seconds(settings: streams_pb2.StreamSettings, name: Any) -> float:
    """Return the duration `name` of the settings in s, or the default of the configuration if it is absent."""
    if settings.HasField(name):
        return seconds(getattr(settings, name))
    delay = name.removeprefix("reconnect_")
    model = Stream if delay == name else Reconnect
    return float(model.model_fields[f"{delay}_s"].default)


def _given(settings: streams_pb2.StreamSettings, before: Stream) -> list[str]:
    """Return the names of all settings, except an address copied from a response, where the password is left out."""
    named = list(stream_fields(settings))
    if settings.uri == shown_address(before):
        named.remove("uri")
    if settings.uri_file in ("", before.uri_file):
        named.remove("uri_file")
    return named


def _changed(data: dict[str, Any], parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return plain data of a stream with the values of the parts. A new address replaces one of the other kind."""
    given = [*parts]
    changed = {**data, **{key: value for part in given for key, value in part.items() if key != "reconnect"}}
    delays = {key: value for part in given for key, value in part.get("reconnect", {}).items()}
    changed["reconnect"] = data.get("reconnect", {}) | delays
    new = {key for part in given for key in ("uri", "uri_file") if part.get(key)}
    if new == {"uri"}:
        changed["uri_file"] = None
    elif new == {"uri_file"}:
        changed["uri"] = ""
    return changed


async def _validated(context: aio.ServicerContext[Any, Any], data: dict[str, Any]) -> Stream:
    """Return the stream that `data` describes.

    Aborts the call with INVALID_ARGUMENT and the API's path of each invalid field if there is no such stream.
    """
    if not data["uri"] and not data.get("uri_file"):
        await refuse(context, Why.INVALID_FIELD, "settings.uri: must be given")
    try:
        stream = Stream.model_validate(data)
    except ValidationError as error:
        await refuse(context, Why.INVALID_FIELD, field_problems(error, API_NAMES))
    return stream


async def _call(
    context: aio.ServicerContext[Any, Any],
    stream_id: str,
    function: Callable[P, T],
    *arguments: P.args,
    **named: P.kwargs,
) -> T:
    """Call a function of the cameras in a thread, because it may wait, and return its result.

    KeyError, ValueError, TooManyStreams, LostDependency and other UserErrors abort the call with NOT_FOUND,
    ALREADY_EXISTS, RESOURCE_EXHAUSTED, UNAVAILABLE and FAILED_PRECONDITION.
    """
    try:
        answer = await asyncio.to_thread(function, *arguments, **named)
    except KeyError:
        text, named_it = f"stream_id: there is no stream {shown(stream_id)}", stream_id[:SHOWN]
        await refuse(context, Why.STREAM_NOT_FOUND, text, stream_id=named_it)
    except ValueError:
        text = f"stream_id: there is already a stream {shown(stream_id)}"
        await refuse(context, Why.STREAM_EXISTS, text, stream_id=stream_id)
    except TooManyStreams as error:
        await refuse(context, Why.TOO_MANY_STREAMS, str(error))
    except LostDependency as error:
        await refuse(context, Why.STORE_UNAVAILABLE, str(error))
    except UserError as error:
        await refuse(context, Why.DEVICE_NOT_USABLE, str(error))
    return answer
