"""Calls the services from inside this process, through the same guard as calls that come over the network.

The dashboard uses nothing else, so it reaches nothing that a client of the API does not reach: the scopes, cameras,
limits and the audit log are those of whoever looks at it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from streamer.api.callers import METADATA, Caller, Callers, NotAdmitted
from streamer.api.errors import DETAILS, Why
from streamer.api.guard import Gate, Guard
from streamer.api.requests import DecodableRequests

SESSION = "session"  # name in the metadata of calls from inside; its value: hash of the token of a session
PACKAGE = "faceanalytics.v1."


class CallFailed(Exception):
    """A call ended with an error, which is what a client of the API would get."""

    def __init__(self, code: grpc.StatusCode, text: str, reason: str, fields: Mapping[str, str]) -> None:
        """`reason`: see errors.proto; empty: not known. `fields`: what is wrong, by path of the request's field."""
        super().__init__(text)
        self.code = code
        self.text = text
        self.reason = reason
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Who:
    """Who calls from inside: what they have shown, and where from."""

    address: str  # of their machine, without the port
    session: str = ""  # hash of the token with which they have signed in; empty: they have not
    bearer: str = ""  # a token that comes with the call itself

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call carries."""
        if self.bearer:
            return ((METADATA, f"Bearer {self.bearer}"),)
        return ((SESSION, self.session),) if self.session else ()


class SessionCallers(Callers):
    """Recognises callers from inside: by the token of their session, too."""

    async def find(self, metadata: Iterable[tuple[str, str | bytes]], address: str) -> Caller:
        """Return who makes a call. Raises NotAdmitted."""
        given = dict(metadata)
        if SESSION not in given:
            return await super().find(given.items(), address)
        token = await self.tokens.find(str(given[SESSION])) if self.tokens is not None else None
        if token is None:
            raise NotAdmitted("the token of this session is not known here", Why.TOKEN_UNKNOWN)
        self._check(token)
        return Caller(token, address)


class Registry:
    """Keeps the handlers that are added to a server, which gets them, too."""

    def __init__(self, server: aio.Server) -> None:
        self._server = server
        self._handlers: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        given = tuple(handlers)
        self._handlers.extend(given)
        self._server.add_generic_rpc_handlers(given)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Any) -> None:
        self._server.add_registered_method_handlers(service_name, method_handlers)  # type: ignore[attr-defined]

    async def find(self, details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a method; None: there is none."""
        return next((found for one in self._handlers if (found := one.service(details)) is not None), None)


@dataclass(frozen=True, slots=True)
class _Details:
    method: str
    invocation_metadata: Any


class Inside:
    """The services, called from inside."""

    def __init__(self, registry: Registry, gate: Gate, callers: SessionCallers) -> None:
        self.callers = callers
        self.gate = replace(gate, callers=callers)
        self._registry = registry
        self._guard = Guard(self.gate)
        self._decodable = DecodableRequests()

    async def call(self, method: str, request: Message, who: Who) -> Any:
        """Return the answer to a request; `method` such as TrackService/GetTrack. Raises CallFailed."""
        return await self.send(method, _one(request), who)

    async def send(self, method: str, requests: AsyncIterable[Message], who: Who) -> Any:
        """Return the answer to a stream of requests. Raises CallFailed."""
        async with aclosing(self._run(method, requests, who)) as answers:
            found = [answer async for answer in answers]
        if len(found) != 1:
            raise CallFailed(grpc.StatusCode.UNKNOWN, f"{method}: {len(found)} answers", "", {})
        return found[0]

    async def watch(self, method: str, request: Message, who: Who) -> AsyncGenerator[Any, None]:
        """Yield the answers to a request until it ends. A message waits until the one before was taken.

        Raises CallFailed. Close it (`aclosing`) to end the call.
        """
        async with aclosing(self._run(method, _one(request), who)) as answers:
            async for answer in answers:
                yield answer

    async def _run(self, method: str, requests: AsyncIterable[Message], who: Who) -> AsyncGenerator[Any, None]:
        path = f"/{PACKAGE}{method}"
        details: Any = _Details(path, who.metadata)
        handler: Any = await self._guard.intercept_service(self._checked, details)
        if handler is None:
            raise CallFailed(grpc.StatusCode.UNIMPLEMENTED, f"there is no method {method}", "", {})
        read = message_factory.GetMessageClass(described(method).output_type).FromString
        context = _Context(requests, handler, who)
        running = asyncio.ensure_future(_finishing(handler.stream_stream, context))
        try:
            while (data := await context.answers.get()) is not None:
                yield read(data)
                context.answers.task_done()
            await running
        except aio.AbortError:
            raise context.failure() from None
        finally:
            context.left = True
            running.cancel()
            await asyncio.wait({running})
            if not running.cancelled():
                running.exception()  # it was seen

    async def _checked(self, details: grpc.HandlerCallDetails) -> Any:
        return await self._decodable.intercept_service(self._registry.find, details)


async def _finishing(serve: Callable[..., Any], context: "_Context") -> None:
    try:
        await serve(context.requests(), context)
    finally:
        if not context.left:
            await context.answers.put(None)


def described(method: str) -> MethodDescriptor:
    """Return the description of a method such as TrackService/GetTrack. Raises KeyError."""
    service, _, name = method.partition("/")
    found: Any = descriptor_pool.Default().FindServiceByName(PACKAGE + service)
    return found.methods_by_name[name]  # type: ignore[no-any-return]


async def _one(request: Message) -> AsyncIterator[Message]:
    yield request


class _Context:
    """Stands for the context of a call over the network, as far as guard and services use it."""

    def __init__(self, requests: AsyncIterable[Message], handler: Any, who: Who) -> None:
        self.answers: asyncio.Queue[bytes | None] = asyncio.Queue(1)  # so that services wait for those who read
        self.left = False  # nobody reads answers any longer
        self._given = requests.__aiter__()
        self._decode = handler.request_deserializer
        self._encode = handler.response_serializer
        self._who = who
        self._status: tuple[grpc.StatusCode, str, Any] | None = None

    async def requests(self) -> AsyncIterator[Any]:
        """Yield the requests as they come from the wire."""
        while (request := await self.read()) is not aio.EOF:  # type: ignore[attr-defined]
            yield request

    async def read(self) -> Any:
        try:
            request = await self._given.__anext__()
        except StopAsyncIteration:
            return aio.EOF  # type: ignore[attr-defined]
        return self._decode(request.SerializeToString())

    async def write(self, answer: Any) -> None:
        """Hand an answer over, and wait until the next one is asked for: what is made ahead would be old by then."""
        await self.answers.put(self._encode(answer))
        await self.answers.join()

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        self._status = code, details, trailing_metadata
        raise aio.AbortError

    def failure(self) -> CallFailed:
        """Return the error with which the call ended."""
        code, text, metadata = self._status or (grpc.StatusCode.UNKNOWN, "the call was aborted", ())
        reason, fields = "", {}
        packed = dict(metadata).get(DETAILS)
        for detail in status_pb2.Status.FromString(packed).details if packed else ():
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(bad):
                fields = {one.field: one.description for one in bad.field_violations}
        return CallFailed(code, text, reason, fields)

    def code(self) -> grpc.StatusCode | None:
        return self._status[0] if self._status else None

    def peer(self) -> str:
        return f"dashboard:{self._who.address}:0"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._who.metadata

    async def send_initial_metadata(self, metadata: Any) -> None:
        del metadata

    def set_trailing_metadata(self, metadata: Any) -> None:
        del metadata
