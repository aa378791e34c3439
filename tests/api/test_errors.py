"""Errors have a reason that programs can read: those of a real server, read as the clients of grpcio-status do."""

import ast
import contextlib
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

import streamer.api
from faceanalytics.v1 import (
    errors_pb2,
    streams_pb2,
    streams_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
    tracks_pb2,
    tracks_pb2_grpc,
)
from streamer.access.tokens import Scope, utc_now
from streamer.api.errors import DOMAIN, Why
from tests.support.guarded_server import bearer, guarded

PROTO = Path(__file__).resolve().parents[2] / "protos" / "faceanalytics" / "v1" / "errors.proto"


async def problem(call: Any) -> tuple[Why, dict[str, str], list[tuple[str, str]]]:
    """The reason and the metadata of a call's error, and the wrong fields."""
    with contextlib.suppress(aio.AioRpcError):
        await (call.read() if hasattr(call, "read") else call)
    status = await rpc_status.aio.from_call(call)  # type: ignore[attr-defined]  # raises if it contradicts code and text of the call
    assert status is not None
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        assert detail.Unpack(info) or detail.Unpack(request)
    assert info.domain == DOMAIN
    why = Why[info.reason]
    assert await call.code() is why.code
    return why, dict(info.metadata), [(one.field, one.description) for one in request.field_violations]


def test_the_reasons_are_those_of_the_api_and_its_comments_name_their_status() -> None:
    ours = {f"ERROR_REASON_{why.name}": why.value[0] for why in Why}
    assert {"ERROR_REASON_UNSPECIFIED": 0, **ours} == dict(errors_pb2.ErrorReason.items())
    said = re.findall(r"^  // ([A-Z_]+): [^;]*?\n  ERROR_REASON_(\w+) =", PROTO.read_text(), re.MULTILINE)
    assert {name: status for status, name in said} == {why.name: why.code.name for why in Why}


def test_no_call_is_ended_without_a_reason() -> None:
    nodes = [
        (file.name, node)
        for file in sorted(Path(streamer.api.__path__[0]).glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
    ]
    ways = ("abort", "abort_with_status", "set_code")
    assert [name for name, node in nodes if isinstance(node, ast.Attribute) and node.attr in ways] == ["errors.py"]


async def test_what_is_wrong_with_a_request_is_named_field_by_field(tmp_path: Path) -> None:
    async with guarded(tmp_path, "door") as at, at.channel() as channel:
        streams, tracks = streams_pb2_grpc.StreamServiceStub(channel), tracks_pb2_grpc.TrackServiceStub(channel)
        settings = streams_pb2.StreamSettings(uri="rtsp://h/1", max_fps=-1, decode_device="gpu")
        why, _, fields = await problem(streams.CreateStream(streams_pb2.CreateStreamRequest(settings=settings)))
        assert why is Why.INVALID_FIELD
        assert sorted(name for name, _ in fields) == ["settings.decode_device", "settings.max_fps", "stream_id"]
        assert all(text for _, text in fields)
        mask = streams_pb2.UpdateStreamRequest(stream_id="door", update_mask=FieldMask(paths=["colour"]))
        why, _, fields = await problem(streams.UpdateStream(mask))
        assert (why, fields[0][0]) == (Why.INVALID_FIELD, "update_mask.paths[0]")
        states = tracks_pb2.TrackFilter(states=[tracks_pb2.TRACK_STATE_UNSPECIFIED])
        why, _, fields = await problem(tracks.ListTracks(tracks_pb2.ListTracksRequest(filter=states)))
        assert (why, fields) == (Why.INVALID_FIELD, [("filter.states", "has an unknown state")])
        why, _, fields = await problem(tracks.ListTracks(tracks_pb2.ListTracksRequest(page_token="?")))
        assert (why, fields) == (Why.INVALID_PAGE_TOKEN, [])


async def test_an_error_about_many_fields_fits_into_what_clients_accept(tmp_path: Path) -> None:
    async with guarded(tmp_path) as at, at.channel() as channel:
        streams = streams_pb2_grpc.StreamServiceStub(channel)
        paths = [f"{'x' * 200}{number}" for number in range(30)]
        mask = streams_pb2.UpdateStreamRequest(stream_id="door", update_mask=FieldMask(paths=paths))
        call: Any = streams.UpdateStream(mask)
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details()


async def test_what_is_missing_taken_or_not_allowed_has_a_reason(tmp_path: Path) -> None:
    async with guarded(tmp_path, "door") as at, at.channel() as channel:
        streams, tracks = streams_pb2_grpc.StreamServiceStub(channel), tracks_pb2_grpc.TrackServiceStub(channel)
        named = streams_pb2.GetStreamRequest(stream_id="attic")
        assert (await problem(streams.GetStream(named)))[:2] == (Why.STREAM_NOT_FOUND, {"stream_id": "attic"})
        watch = tracks.WatchTracks(tracks_pb2.WatchTracksRequest(stream_ids=["attic"]))
        assert (await problem(watch))[:2] == (Why.STREAM_NOT_FOUND, {"stream_id": "attic"})
        track = tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id="t"))
        assert (await problem(track))[0] is Why.TRACK_NOT_FOUND
        again = streams_pb2.CreateStreamRequest(
            stream_id="door", settings=streams_pb2.StreamSettings(uri="rtsp://127.0.0.1/1")
        )
        assert (await problem(streams.CreateStream(again)))[:2] == (Why.STREAM_EXISTS, {"stream_id": "door"})
        again.settings.uri = "/etc/passwd"
        assert (await problem(streams.CreateStream(again)))[0] is Why.SOURCE_NOT_ALLOWED
        for lacking in (
            tracks.ListTracks(tracks_pb2.ListTracksRequest(past=True)),
            tracks.WatchTracks(tracks_pb2.WatchTracksRequest(resume_token="x")),
        ):
            assert (await problem(lacking))[0] is Why.NO_STORE
        at.hub.close()
        assert (await problem(tracks.WatchTracks(tracks_pb2.WatchTracksRequest())))[0] is Why.STOPPING


async def test_refusals_of_the_guard_have_a_reason(tmp_path: Path) -> None:
    async with guarded(tmp_path, "door", "yard", limits={"calls_per_second": 5}) as at, at.channel() as channel:
        system, streams = system_pb2_grpc.SystemServiceStub(channel), streams_pb2_grpc.StreamServiceStub(channel)
        models = system_pb2.ListModelsRequest()
        reader, reader_of_door = await at.token(Scope.READ), await at.token(Scope.READ, cameras=("door",))
        expired = await at.token(Scope.READ, lifetime=timedelta(seconds=-1))
        revoked = await at.token(Scope.READ)
        await at.tokens.revoke((await at.tokens.all())[-1].id, utc_now())
        for secret, why in (
            (None, Why.TOKEN_MISSING),
            (reader[:-1] + ("a" if reader[-1] != "a" else "b"), Why.TOKEN_UNKNOWN),
            (expired, Why.TOKEN_EXPIRED),
            (revoked, Why.TOKEN_REVOKED),
        ):
            metadata = bearer(secret) if secret else ()
            assert (await problem(system.ListModels(models, metadata=metadata)))[0] is why
        delete = streams_pb2.DeleteStreamRequest(stream_id="door")
        refused = streams.DeleteStream(delete, metadata=bearer(reader))
        assert (await problem(refused))[:2] == (Why.SCOPE_MISSING, {"scope": "operate"})
        other = streams.GetStream(streams_pb2.GetStreamRequest(stream_id="yard"), metadata=bearer(reader_of_door))
        assert (await problem(other))[0] is Why.CAMERA_NOT_ALLOWED
        reasons = set()
        for _ in range(30):
            call = system.ListModels(models, metadata=bearer(reader))
            if await call.code() is not grpc.StatusCode.OK:
                reasons.add((await problem(call))[0])
        assert reasons == {Why.LIMIT_EXCEEDED}
