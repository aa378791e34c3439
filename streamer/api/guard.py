"""Stands before every method: who calls, may they, is it too much; and writes down what was done or refused."""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import Message
from grpc import aio

from faceanalytics.errors import ConfigError
from faceanalytics.names import printable
from streamer import metrics
from streamer.access.audit import AuditLog, Entry
from streamer.access.quotas import Quotas
from streamer.access.tokens import Scope, TokensUnavailable, utc_now
from streamer.api.authorisation import (
    CHANGING,
    NAMING,
    RULES,
    Rule,
    biometric_question,
    is_about,
    narrow,
    without_biometrics,
)
from streamer.api.callers import Caller, Callers, NotAdmitted, calling, present_caller, visible_cameras, without_port
from streamer.api.errors import Why, refuse
from streamer.api.problems import SHOWN, shown
from streamer.api.shared import Answer

Context = aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in the stubs only, as is the interceptor

RECHECK_S = 1.0  # time between two looks at the token of a call that stays open
EVERYBODY = "everybody"  # holds the open calls of methods that need no token: many clients together have one share

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gate:
    """What decides about calls."""

    callers: Callers
    quotas: Quotas
    audit: AuditLog
    request_within_s: float


class Guard(aio.ServerInterceptor):  # type: ignore[type-arg]
    """Lets calls through to the services as the table in `authorisation` says."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.callers = gate.callers

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        found: Any = await continuation(handler_call_details)
        if found is None:  # an unknown method, which gRPC answers with UNIMPLEMENTED
            return None  # type: ignore[return-value]
        call = _Call(self.gate, str(handler_call_details.method), found)
        # Each method is served as a stream of requests, which looks the same on the wire: a stream begins at once, but
        # a single request is waited for without end, also from a client that has no token.
        return grpc.stream_stream_rpc_method_handler(
            call.run, request_deserializer=call.handler.request_deserializer, response_serializer=call.encode
        )


@dataclass(slots=True)
class _Call:
    """One call of a method."""

    gate: Gate
    method: str
    handler: Any  # Handler
    rule: Rule | None = field(init=False)
    caller: Caller | None = None
    target: str = ""  # what the request names
    refused: bool = False  # and written down

    def __post_init__(self) -> None:
        self.rule = RULES.get(self.method)

    def encode(self, answer: Message | Answer) -> bytes:
        """Encode an answer, without names and embeddings if the caller may not see them."""
        may_see = self.caller is not None and self.caller.allows(Scope.BIOMETRIC)
        if isinstance(answer, Answer):
            return answer.encoded(may_see)
        if not may_see:
            answer = without_biometrics(answer)
        data: bytes = self.handler.response_serializer(answer)
        return data

    async def run(self, requests: AsyncIterator[Any], context: Context) -> None:
        """Serve the call, or refuse it."""
        rule, caller = await self._admit(context)
        self.caller = caller
        visible_cameras.set(caller.cameras)
        calling.set(caller.who)
        present_caller.set(caller)
        holder = None
        if self.handler.response_streaming or self.handler.request_streaming:
            holder = caller.client if rule.scope is not None else EVERYBODY
        await self._count(context, caller, holder)
        try:
            if holder is not None:
                await self._serve_open(rule, caller, requests, context)
            else:
                await self._serve(rule, caller, context)
        finally:
            if holder is not None:
                self.gate.quotas.closed(holder)
            if rule.scope in CHANGING and not rule.looks and not self.refused:
                self._note(caller.name, _outcome(context))

    async def _admit(self, context: Context) -> tuple[Rule, Caller]:
        """Return what the method needs and who calls it; abort the call of those who may not."""
        nobody = Caller(None, without_port(context.peer()))
        if self.rule is not None and self.rule.scope is None:
            return self.rule, nobody
        try:
            caller = await self.gate.callers.find(context.invocation_metadata() or (), nobody.peer)
        except NotAdmitted as error:
            await self._count(context, nobody)
            who = Caller(error.token, nobody.peer).name
            await self._refuse(context, error.reason, str(error), who)
        except (OSError, ConfigError) as error:
            log.error("tokens cannot be read: %s", error)
            await self._refuse(context, Why.TOKENS_UNAVAILABLE, "tokens cannot be read now", nobody.name)
        if self.rule is None or not caller.allows(self.rule.scope):
            await self._count(context, caller)
            needs = "is open to nobody" if self.rule is None else f"needs a token with the scope {self.rule.scope}"
            scope = {} if self.rule is None else {"scope": str(self.rule.scope)}
            await self._refuse(context, Why.SCOPE_MISSING, f"{self.method} {needs}", caller.name, **scope)
        return self.rule, caller

    async def _count(self, context: Context, caller: Caller, holder: str | None = None) -> None:
        exceeded = self.gate.quotas.problem(caller.client, holder, time.monotonic())
        if exceeded:
            await self._refuse(context, Why.LIMIT_EXCEEDED, exceeded, caller.name)

    async def _serve(self, rule: Rule, caller: Caller, context: Context) -> None:
        """Answer one request with one message."""
        request = await self._request(rule, caller, context)
        answer = await self.handler.unary_unary(request, context)
        about = not caller.cameras or not rule.answers or is_about(answer, rule.answers, caller.cameras)
        if not about:
            text = rule.missing(request) if rule.missing is not None else "this token may not see what was found"
            await refuse(context, Why.NOT_VISIBLE if rule.missing is None else Why.TRACK_NOT_FOUND, text)
        await context.write(answer)

    async def _serve_open(self, rule: Rule, caller: Caller, requests: AsyncIterator[Any], context: Context) -> None:
        """Answer until the call ends, or until its token does."""
        serving = asyncio.ensure_future(self._answer(rule, caller, requests, context))
        checking = asyncio.ensure_future(self._until_not_admitted(rule, caller))
        try:
            await asyncio.wait({serving, checking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over = serving.done()
            serving.cancel()
            checking.cancel()
            await asyncio.wait({serving, checking})
            if not serving.cancelled():
                serving.exception()  # it was seen, also if the client has gone meanwhile
        if not over:
            await self._refuse(context, *checking.result(), caller.name)
        serving.result()

    async def _answer(self, rule: Rule, caller: Caller, requests: AsyncIterator[Any], context: Context) -> None:
        if not self.handler.request_streaming:
            answer = self.handler.unary_stream(await self._request(rule, caller, context), context)
        elif self.handler.response_streaming:
            answer = self.handler.stream_stream(self._each(rule, caller, requests, context), context)
        else:
            answer = self.handler.stream_unary(self._each(rule, caller, requests, context), context)
        if not inspect.isasyncgen(answer):
            message = await answer  # None: it has written its messages itself
            if message is not None:
                await context.write(message)
            return
        async for message in answer:
            await context.write(message)

    async def _until_not_admitted(self, rule: Rule, caller: Caller) -> tuple[Why, str]:
        """Wait until the caller is no longer admitted, and return why."""
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                if rule.scope is not None:
                    await self.gate.callers.check(caller)
            except NotAdmitted as error:
                return error.reason, str(error)
            except TokensUnavailable as error:  # for too long
                return Why.TOKENS_UNAVAILABLE, str(error)
            except (OSError, ConfigError) as error:  # the call was admitted; who calls now is not
                log.error("tokens cannot be read: %s", error)

    async def _request(self, rule: Rule, caller: Caller, context: Context) -> Any:
        """Return the only request of a call, if it comes in time and names only what the caller may see."""
        try:
            async with asyncio.timeout(self.gate.request_within_s):
                request = await context.read()
        except TimeoutError:
            text = f"no request within {self.gate.request_within_s:g} s"
            await self._refuse(context, Why.REQUEST_TOO_SLOW, text, caller.name)
        if request is aio.EOF:  # type: ignore[attr-defined]
            await refuse(context, Why.INVALID_REQUEST, "the call has no request")
        await self._check_request(rule, caller, request, context)
        return request

    async def _each(
        self, rule: Rule, caller: Caller, requests: AsyncIterator[Any], context: Context
    ) -> AsyncIterator[Any]:
        async for request in requests:
            await self._check_request(rule, caller, request, context)
            yield request

    async def _check_request(self, rule: Rule, caller: Caller, request: Any, context: Context) -> None:
        """Restrict a request to the cameras of the caller; abort the call if it asks for what they may not know."""
        if not isinstance(request, Message):  # it could not be decoded, which the next interceptor reports
            return
        self.target = self.target or _target(request)
        question = "" if caller.allows(Scope.BIOMETRIC) else biometric_question(request)
        if question:
            text = f"{question}: needs a token with the scope {Scope.BIOMETRIC}"
            await self._refuse(context, Why.SCOPE_MISSING, text, caller.name, scope=str(Scope.BIOMETRIC))
        if not caller.cameras or rule.all_cameras or not (rule.asks or not rule.answers):
            return
        other = narrow(request, rule.asks, caller.cameras) if rule.asks else self.method
        if other is not None:
            text = f"this token may not ask for {shown(other)}"
            if rule.unrestricted:
                text = "a token that is restricted to cameras may not make this call"
            await self._refuse(context, Why.CAMERA_NOT_ALLOWED, text, caller.name)

    async def _refuse(self, context: Context, why: Why, text: str, who: str, **metadata: str) -> NoReturn:
        metrics.refused_calls.labels(why.code.name.lower()).inc()
        self.refused = True
        self._note(who, f"{why.code.name}: {text}", refused=True)
        await refuse(context, why, text, **metadata)

    def _note(self, who: str, outcome: str, refused: bool = False) -> None:
        self.gate.audit.write(Entry(utc_now(), who, self.method, self.target, outcome, refused))


def _outcome(context: Context) -> str:
    """Return the status with which a call ends."""
    code: Any = context.code()
    return next((one.name for one in grpc.StatusCode if code in (one, one.value[0])), "UNKNOWN") if code else "OK"


def _target(request: Message) -> str:
    """Return what a request names: the values of its fields called id or name."""
    named = [
        value
        for field, value in request.ListFields()
        if isinstance(value, str) and field.name.endswith(("_id", "person", "name")) and field.full_name not in NAMING
    ]
    return " ".join(printable(value[:SHOWN]) for value in named)
