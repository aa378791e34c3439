"""Ends calls with an error that people and programs can read: a status, a text and a reason, see errors.proto."""

import enum
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode, aio

DOMAIN = "faceanalytics"
DETAILS = "grpc-status-details-bin"  # name in the metadata, where clients look for details
MAX_DETAILS = 4096  # bytes; many clients accept 8 KiB of metadata, in which the text is a second time


class Why(enum.Enum):
    """The reasons of errors, each with its number in errors.proto and its status."""

    INVALID_FIELD = 1, StatusCode.INVALID_ARGUMENT
    INVALID_REQUEST = 2, StatusCode.INVALID_ARGUMENT
    INVALID_PAGE_TOKEN = 3, StatusCode.INVALID_ARGUMENT
    INVALID_RESUME_TOKEN = 4, StatusCode.INVALID_ARGUMENT
    EVENTS_DELETED = 5, StatusCode.OUT_OF_RANGE
    STREAM_NOT_FOUND = 6, StatusCode.NOT_FOUND
    TRACK_NOT_FOUND = 7, StatusCode.NOT_FOUND
    SERVICE_NOT_FOUND = 8, StatusCode.NOT_FOUND
    NOT_VISIBLE = 9, StatusCode.NOT_FOUND
    STREAM_EXISTS = 10, StatusCode.ALREADY_EXISTS
    SOURCE_NOT_ALLOWED = 11, StatusCode.PERMISSION_DENIED
    TOO_MANY_STREAMS = 12, StatusCode.RESOURCE_EXHAUSTED
    DEVICE_NOT_USABLE = 13, StatusCode.FAILED_PRECONDITION
    NO_STORE = 14, StatusCode.FAILED_PRECONDITION
    STORE_UNAVAILABLE = 15, StatusCode.UNAVAILABLE
    STOPPING = 16, StatusCode.UNAVAILABLE
    SUBSCRIBER_TOO_SLOW = 17, StatusCode.RESOURCE_EXHAUSTED
    TOKEN_MISSING = 18, StatusCode.UNAUTHENTICATED
    TOKEN_UNKNOWN = 19, StatusCode.UNAUTHENTICATED
    TOKEN_EXPIRED = 20, StatusCode.UNAUTHENTICATED
    TOKEN_REVOKED = 21, StatusCode.UNAUTHENTICATED
    TOKENS_UNAVAILABLE = 22, StatusCode.UNAVAILABLE
    SCOPE_MISSING = 23, StatusCode.PERMISSION_DENIED
    CAMERA_NOT_ALLOWED = 24, StatusCode.PERMISSION_DENIED
    LIMIT_EXCEEDED = 25, StatusCode.RESOURCE_EXHAUSTED
    REQUEST_TOO_SLOW = 26, StatusCode.DEADLINE_EXCEEDED
    JOB_NOT_FOUND = 27, StatusCode.NOT_FOUND
    JOB_EXISTS = 28, StatusCode.ALREADY_EXISTS
    JOB_LIMIT_EXCEEDED = 29, StatusCode.RESOURCE_EXHAUSTED
    JOB_STATE = 30, StatusCode.FAILED_PRECONDITION
    JOB_NOT_ALLOWED = 31, StatusCode.PERMISSION_DENIED
    NO_JOBS = 32, StatusCode.FAILED_PRECONDITION
    OFFSET_TOO_LARGE = 33, StatusCode.OUT_OF_RANGE
    PERSON_NOT_FOUND = 34, StatusCode.NOT_FOUND
    PERSON_CHANGED = 35, StatusCode.ABORTED
    PEOPLE_STATE = 36, StatusCode.FAILED_PRECONDITION
    PEOPLE_LIMIT_EXCEEDED = 37, StatusCode.RESOURCE_EXHAUSTED
    PRIVACY_MODE = 120, StatusCode.FAILED_PRECONDITION
    NO_VISITORS = 130, StatusCode.FAILED_PRECONDITION
    VISITOR_NOT_FOUND = 131, StatusCode.NOT_FOUND
    NO_PICTURE = 160, StatusCode.NOT_FOUND
    NO_AUDIT_LOG = 161, StatusCode.FAILED_PRECONDITION
    TOO_MANY_PROBES = 162, StatusCode.RESOURCE_EXHAUSTED

    @property
    def code(self) -> StatusCode:
        """The status of the call."""
        return self.value[1]


async def refuse(context: aio.ServicerContext[Any, Any], why: Why, text: str, **metadata: str) -> NoReturn:
    """End a call. `text` is for people; for INVALID_FIELD it has one line per wrong field, `path: what is wrong`."""
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=why.name, domain=DOMAIN, metadata=metadata)]
    if why is Why.INVALID_FIELD:
        details.append(error_details_pb2.BadRequest(field_violations=[_violation(line) for line in text.splitlines()]))
    status = _status(why.code, text, details)
    while details and len(status) > MAX_DETAILS:
        details.pop()
        status = _status(why.code, text, details)
    await context.abort(why.code, text, ((DETAILS, status),) if details else ())
    raise AssertionError("abort raises")


def _status(code: grpc.StatusCode, text: str, details: list[Message]) -> bytes:
    packed = []
    for one in details:
        packed.append(AnyMessage())
        packed[-1].Pack(one)
    data: bytes = status_pb2.Status(code=code.value[0], message=text, details=packed).SerializeToString()
    return data


def _violation(line: str) -> error_details_pb2.BadRequest.FieldViolation:
    field, _, problem = line.partition(": ")
    return error_details_pb2.BadRequest.FieldViolation(field=field, description=problem)
