"""Calls of the API as JSON: `POST /api/SERVICE/METHOD`. The request and the answer are those of the .proto files."""

from collections.abc import AsyncIterator
from http import HTTPStatus

from google.protobuf import json_format, message_factory
from google.protobuf.message import Message
from grpc import StatusCode
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from streamer.api.inside import CallFailed, described
from streamer.web.layout import Site

BODY = 12 << 20  # largest request, bytes: a picture of 8 MiB as base64
STATUS = {
    StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_FOUND,
    StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    StatusCode.ABORTED: HTTPStatus.CONFLICT,
    StatusCode.FAILED_PRECONDITION: HTTPStatus.CONFLICT,
    StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}


async def call(request: Request) -> Response:
    """Make one call with one request and one answer; a stream of requests is a JSON list of them."""
    site: Site = request.app.state.site
    method = f"{request.path_params['service']}/{request.path_params['method']}"
    try:
        description = described(method)
    except KeyError:
        raise CallFailed(StatusCode.UNIMPLEMENTED, f"there is no method {method}", "", {}) from None
    if description.server_streaming:
        raise CallFailed(StatusCode.UNIMPLEMENTED, f"{method} is a stream: use the API for it", "", {})
    kind = message_factory.GetMessageClass(description.input_type)
    body = await limited(request, BODY)
    who = site.door.who(request)
    if not description.client_streaming:
        return JSONResponse(as_json(await site.inside.call(method, parsed(body, kind), who)))
    requests = [parsed(part, kind) for part in body.split(b"\n") if part.strip()]

    async def each() -> AsyncIterator[Message]:
        for one in requests:
            yield one

    return JSONResponse(as_json(await site.inside.send(method, each(), who)))


async def limited(request: Request, most: int) -> bytes:
    """Return the body of a request. Raises CallFailed if it is longer than `most` bytes."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            text = f"this is too large: at most {most >> 20} MiB can be sent at once"
            raise CallFailed(StatusCode.RESOURCE_EXHAUSTED, text, "", {})
        parts.append(part)
    return b"".join(parts)


def parsed(text: bytes, kind: type[Message]) -> Message:
    """Return the message of a JSON text. Raises CallFailed."""
    try:
        return json_format.Parse(text or b"{}", kind())
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise CallFailed(StatusCode.INVALID_ARGUMENT, f"request: {error}", "INVALID_REQUEST", {}) from error


def as_json(message: Message) -> object:
    """Return a message as JSON: names as in JavaScript, numbers of 64 bits as texts, bytes as base64."""
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=False)


def failure(error: CallFailed) -> JSONResponse:
    """Return an error as JSON, see ApiError in static/api.js."""
    body = {"code": error.code.name, "reason": error.reason, "text": error.text, "fields": dict(error.fields)}
    return JSONResponse(body, STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR))
