"""How a watch goes on, as a table of what happens to it; no connection is made."""

from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from faceanalytics.errors import ConfigError, StreamerError
from faceanalytics.v1 import tracks_pb2
from streamer.tools.resumption import DETAILS, Backoff, Interruption, Resumption

ADDRESS = "127.0.0.1:50051"
Code = grpc.StatusCode


class Failure(grpc.RpcError):
    """What a call raises."""

    def __init__(self, code: grpc.StatusCode, details: str = "why", reason: str = "") -> None:
        self._code, self._details = code, details
        packed = AnyMessage()
        packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="faceanalytics"))
        self._metadata = ((DETAILS, status_pb2.Status(details=[packed]).SerializeToString()),) if reason else None

    def trailing_metadata(self) -> Any:
        return self._metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


def resumption(**request: object) -> Resumption:
    return Resumption(ADDRESS, tracks_pb2.WatchTracksRequest(**request), chance=lambda: 0.0)  # type: ignore[arg-type]


def message(token: str = "") -> tracks_pb2.WatchTracksResponse:
    return tracks_pb2.WatchTracksResponse(resume_token=token)


@pytest.mark.parametrize(("chance", "share"), [(0.0, 1.0), (0.5, 0.75), (1.0, 0.5)])
def test_waits_double_up_to_half_a_minute_and_chance_shortens_them_by_up_to_half(chance: float, share: float) -> None:
    backoff = Backoff(lambda: chance)
    assert [backoff.next() for _ in range(7)] == [share * each for each in (1, 2, 4, 8, 16, 30, 30)]
    backoff.reset()
    assert backoff.next() == share


def test_clients_that_lost_the_same_streamer_do_not_come_back_together() -> None:
    first = [Backoff().next() for _ in range(200)]
    assert len(set(first)) == 200
    assert max(first) - min(first) > 0.25


@pytest.mark.parametrize(
    "code", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.CANCELLED, Code.INTERNAL, Code.UNKNOWN]
)
def test_what_may_pass_is_tried_again_after_the_last_message(code: grpc.StatusCode) -> None:
    watch = resumption(snapshot=True)
    watch.received(message("a"))
    watch.received(message("b"))
    assert watch.failed(Failure(code)) == Interruption(f"{ADDRESS}: {code.name}: why", False, 1.0)
    assert (watch.request.resume_token, watch.request.allow_gap, watch.request.snapshot) == ("b", True, True)


@pytest.mark.parametrize(
    "code",
    [
        *(Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.NOT_FOUND, Code.OUT_OF_RANGE, Code.UNIMPLEMENTED),
        *(Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION),
    ],
)
def test_what_a_retry_would_not_change_is_an_error_with_its_code(code: grpc.StatusCode) -> None:
    with pytest.raises(StreamerError, match=f"{code.name}: why") as raised:
        resumption().failed(Failure(code))
    assert raised.value.code == code.name


@pytest.mark.parametrize(
    ("code", "reason"), [(Code.INVALID_ARGUMENT, "INVALID_RESUME_TOKEN"), (Code.FAILED_PRECONDITION, "NO_STORE")]
)
def test_a_token_that_the_streamer_does_not_know_is_dropped_and_that_is_said(
    code: grpc.StatusCode, reason: str
) -> None:
    watch = resumption(snapshot=True, resume_token="old", allow_gap=True)
    refused = Failure(code, reason=reason)
    assert watch.failed(refused) == Interruption(f"{ADDRESS}: why", False, 1.0, forgotten=True)
    assert (watch.request.resume_token, watch.request.allow_gap) == ("", False)
    with pytest.raises(StreamerError) as raised:  # it had none
        watch.failed(refused)
    assert raised.value.reason == reason


def test_a_wrong_request_with_a_token_does_not_lose_it() -> None:
    watch = resumption(resume_token="old", allow_gap=True)
    with pytest.raises(StreamerError):
        watch.failed(Failure(Code.INVALID_ARGUMENT, reason="INVALID_FIELD"))
    assert watch.request.resume_token == "old"


def test_who_accepts_no_gap_gets_an_error_in_its_place_also_later() -> None:
    watch = resumption(resume_token="old")
    with pytest.raises(StreamerError):
        watch.failed(Failure(Code.INVALID_ARGUMENT, reason="INVALID_RESUME_TOKEN"))
    watch.received(message("new"))
    assert not watch.request.allow_gap


def test_a_time_to_begin_at_holds_until_the_first_token() -> None:
    request = tracks_pb2.WatchTracksRequest(allow_gap=True)
    request.since.GetCurrentTime()
    watch = Resumption(ADDRESS, request)
    watch.failed(Failure(Code.UNAVAILABLE))
    assert watch.request.HasField("since")
    watch.received(message("a"))
    assert not watch.request.HasField("since")
    assert watch.request.resume_token == "a"


def test_without_a_store_it_begins_again() -> None:
    watch = resumption(snapshot=True)
    watch.received(message())
    assert watch.ended() == Interruption(f"{ADDRESS} ended the watch", True, 1.0)
    assert watch.request == tracks_pb2.WatchTracksRequest(snapshot=True)


def test_an_address_of_another_form_is_an_error() -> None:
    with pytest.raises(ConfigError, match="host:port"):
        Resumption("here", tracks_pb2.WatchTracksRequest())
