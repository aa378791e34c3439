"""Refuses requests that cannot be decoded: INVALID_ARGUMENT and one log line, instead of UNKNOWN and a traceback."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio

from streamer import metrics
from streamer.api.errors import Why, refuse

Context = aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in the stubs only, as is the interceptor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Undecodable:
    """Stands for a request that is not a message of its method."""

    reason: str


class DecodableRequests(aio.ServerInterceptor):  # type: ignore[type-arg]
    """Lets only requests that could be decoded reach the services.

    Reflection and health are services, too: what they are sent is checked in the same way.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        found = await continuation(handler_call_details)
        handler: Any = found
        if handler is None or handler.request_deserializer is None:  # an unknown method
            return found
        method = str(handler_call_details.method)
        decode = _decoding(handler.request_deserializer)
        encode = handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_checked(handler.unary_unary, method), decode, encode)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(_checked(handler.unary_stream, method), decode, encode)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(_all_checked(handler.stream_unary, method), decode, encode)
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(_each_checked(handler.stream_stream, method), decode, encode)
        return grpc.stream_unary_rpc_method_handler(_all_checked(handler.stream_unary, method), decode, encode)


def _decoding(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def decode_or_explain(data: bytes) -> Any:
        try:
            request = decode(data)
        except DecodeError as error:
            return _Undecodable(str(error))
        nul = _with_nul(request) if b"\0" in data and isinstance(request, Message) else ""
        return _Undecodable(f"{nul}: has a NUL character") if nul else request

    return decode_or_explain


def _with_nul(message: Message) -> str:
    """Return the name of a text, at any depth, that has a NUL character, which no id, name or path has; empty: none.

    PostgreSQL takes none in a text.
    """
    for field, value in message.ListFields():
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        values = [*value, *value.values()] if is_map else value if field.is_repeated else (value,)
        for one in values:
            if isinstance(one, str) and "\0" in one:
                return str(field.name)
            inner = _with_nul(one) if isinstance(one, Message) else ""
            if inner:
                return f"{field.name}.{inner}"
    return ""


def _checked(answer: Callable[[Any, Context], Awaitable[Any]], method: str) -> Callable[[Any, Context], Any]:
    async def checked(request: Any, context: Context) -> Any:
        if isinstance(request, _Undecodable):
            await _refuse(context, method, request.reason)
        return await answer(request, context)

    return checked


def _each_checked(
    answer: Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]], method: str
) -> Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]]:
    async def checked(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async for response in answer(_decoded(requests, context, method), context):
            yield response

    return checked


def _all_checked(
    answer: Callable[[AsyncIterator[Any], Context], Awaitable[Any]], method: str
) -> Callable[[AsyncIterator[Any], Context], Awaitable[Any]]:
    async def checked(requests: AsyncIterator[Any], context: Context) -> Any:
        return await answer(_decoded(requests, context, method), context)

    return checked


async def _decoded(requests: AsyncIterator[Any], context: Context, method: str) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, _Undecodable):
            await _refuse(context, method, request.reason)
        yield request


async def _refuse(context: Context, method: str, reason: str) -> None:
    metrics.invalid_requests.labels(method).inc()
    log.warning("request for %s refused: %s (from %s)", method, reason, context.peer())
    await refuse(context, Why.INVALID_REQUEST, f"request: {reason}")
