"""The table of methods and scopes against the descriptors, and every method with every scope over a real server."""

import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from faceanalytics.v1 import tracks_pb2
from streamer.access.tokens import Scope
from streamer.api.authorisation import (
    BIOMETRIC,
    BIOMETRIC_QUESTIONS,
    CHANGING,
    RULES,
    biometric_question,
    is_about,
    narrow,
    without_biometrics,
)
from tests.support.guarded_server import bearer, guarded, methods, send

PERSONAL = re.compile(r"embedding|person|people|face|picture|thumbnail|image|template|jpeg|png|biometr|candidate")
# Fields whose names or types look personal, but which are measurements of a detection or settings
HARMLESS = {
    "faceanalytics.v1.SearchPeopleResponse.people_not_compared",
    "faceanalytics.v1.GalleryAudit.people",
    "faceanalytics.v1.DoubtfulReference.person",
    "faceanalytics.v1.GalleryAudit.people_health",
    "faceanalytics.v1.PersonHealth.person",
    "faceanalytics.v1.AuditedPerson.person_id",
    "faceanalytics.v1.ConfusablePair.person",
    "faceanalytics.v1.AuditGalleryRequest.include_faces",
    "faceanalytics.v1.DistinguishPeopleRequest.person_id",
    "faceanalytics.v1.ExportGalleryRequest.person_ids",  # which needs the scope biometric
    "faceanalytics.v1.DistinguishPeopleRequest.other_person_id",
    "faceanalytics.v1.StreamSettings.image_interval",
    "faceanalytics.v1.StoreRetention.faces",
    "faceanalytics.v1.StoreRetention.faces_days",
    # they ask for what is left out of the answer then
    "faceanalytics.v1.WatchTracksRequest.include_embedding",
    "faceanalytics.v1.GetTrackRequest.include_embedding",
    "faceanalytics.v1.GetTrackRequest.include_face",
    "faceanalytics.v1.ListTracksRequest.include_embedding",
    "faceanalytics.v1.ListReferencesRequest.include_face",
    # ids of people in calls about the gallery: who is where is in the decisions, and who it is in the names
    "faceanalytics.v1.Person.person_id",
    "faceanalytics.v1.ErasureReport.person_id",
    "faceanalytics.v1.LedgerEntry.other_person_id",
    "faceanalytics.v1.LedgerEntry.person_id",
    *(
        f"faceanalytics.v1.{method}Request.person_id"
        for method in ("AddReferences", "ConfirmMatch", "EnrollFromTrack", "ErasePerson", "GetPerson", "ListLedger")
    ),
    *(
        f"faceanalytics.v1.{method}Request.person_id"
        for method in ("ListReferences", "MergePeople", "RejectMatch", "UpdatePerson")
    ),
    "faceanalytics.v1.MergePeopleRequest.other_person_id",
    "faceanalytics.v1.EnrollFromTrackRequest.best_candidate",
    # messages of this kind, whose fields are looked at; requests bring what is stored
    *(
        f"faceanalytics.v1.{method}Response.person"
        for method in ("AddReferences", "CreatePerson", "EnrollFromTrack", "GetPerson", "MergePeople")
    ),
    "faceanalytics.v1.SetReferenceAsideResponse.person",
    "faceanalytics.v1.UpdatePersonResponse.person",
    "faceanalytics.v1.ListPeopleResponse.people",
    "faceanalytics.v1.CreatePersonRequest.person",
    "faceanalytics.v1.UpdatePersonRequest.person",
    "faceanalytics.v1.EnrollFromTrackRequest.new_person",
    "faceanalytics.v1.SplitPersonRequest.person_id",
    "faceanalytics.v1.SplitPersonRequest.other_person_id",
    "faceanalytics.v1.SplitPersonRequest.new_person",
    "faceanalytics.v1.SplitPersonResponse.person",
    # an import brings what is stored, and is answered with counts; an export needs the scope biometric as a whole
    *(f"faceanalytics.v1.{name}" for name in ("GalleryRecord.person", "GalleryHead.people", "GalleryPerson.person_id")),
    *(f"faceanalytics.v1.GalleryReference.{name}" for name in ("embedding", "face_jpeg")),
    *(f"faceanalytics.v1.ImportGalleryResponse.{name}_people" for name in ("added", "known")),
    "faceanalytics.v1.RefusedPerson.person_id",
    # ids of people in calls about visitors, for the scope biometric or enrol, and what only such calls return
    "faceanalytics.v1.ListAppearancesRequest.person_ids",
    "faceanalytics.v1.ListJourneysRequest.person_ids",
    "faceanalytics.v1.NameVisitorRequest.person_id",
    "faceanalytics.v1.NameVisitorRequest.new_person",
    "faceanalytics.v1.NameVisitorResponse.person",
    # boxes of faces in an image that the caller has sent
    "faceanalytics.v1.ReferenceResult.faces",
    "faceanalytics.v1.ListTracksRequest.include_face",
    # options of jobs, whose results only the scope biometric may read
    "faceanalytics.v1.JobOptions.embeddings",
    "faceanalytics.v1.JobOptions.min_face_px",
}


def test_every_method_is_in_the_table_and_nothing_else_is() -> None:
    assert set(RULES) == {path for path, _ in methods()}


def test_every_rule_says_where_cameras_are_named_or_that_none_are() -> None:
    for path, method in methods():
        rule = RULES[path]
        assert [bool(rule.asks or rule.answers), rule.all_cameras, rule.unrestricted].count(True) == 1, path
        ways = [(method.input_type, way) for way in rule.asks]
        for start, way in (*ways, (method.output_type, rule.answers)):
            message: Descriptor | None = start
            for step in way.split(".") if way else ():
                assert message is not None, path
                field = message.fields_by_name[step]
                message = field.message_type
            assert not way or field.type == FieldDescriptor.TYPE_STRING, path


def test_methods_that_change_something_need_more_than_read() -> None:
    for path, _ in methods():
        name = path.rpartition("/")[2]
        if not re.match(r"Get|List|Watch|Check|Count|Query|Search|ServerReflection", name):
            assert RULES[path].scope in CHANGING, path


def test_only_health_is_open_to_everybody() -> None:
    assert {path for path, rule in RULES.items() if rule.scope is None} == {
        f"/grpc.health.v1.Health/{name}" for name in ("Check", "List", "Watch")
    }


def fields_of(message: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    """The fields of a message at any depth."""
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        yield field
        if field.message_type is not None and field.full_name not in BIOMETRIC:
            yield from fields_of(field.message_type, seen)


def test_every_field_of_an_answer_that_looks_personal_is_known_to_be_or_not() -> None:
    seen: set[str] = set()
    answers = [
        field for path, method in methods() if "faceanalytics" in path for field in fields_of(method.output_type, seen)
    ]
    doubtful = {
        field.full_name for field in answers if field.type == FieldDescriptor.TYPE_BYTES or PERSONAL.search(field.name)
    }
    assert doubtful - HARMLESS <= BIOMETRIC
    assert doubtful & BIOMETRIC


def test_every_field_of_a_request_that_looks_personal_is_known_to_be_or_not() -> None:
    seen: set[str] = set()
    asked = [field for _, method in methods() for field in fields_of(method.input_type, seen)]
    doubtful = {field.full_name for field in asked if PERSONAL.search(field.name)}
    assert doubtful - HARMLESS <= BIOMETRIC_QUESTIONS


def test_names_and_embeddings_are_left_out_at_any_depth_and_only_of_a_copy() -> None:
    track = tracks_pb2.Track(track_id="t", stream_id="door")
    track.identity.embedding.extend([0.5] * 512)
    track.identity.outliers = 3
    track.decision.person = "Ada"
    track.decision.status = tracks_pb2.IDENTITY_STATUS_IDENTIFIED
    track.decision.candidates.add(person="Ada", similarity=0.9)
    for full in (
        tracks_pb2.WatchTracksResponse(track=track),
        tracks_pb2.ListTracksResponse(tracks=[track]),
        tracks_pb2.GetTrackResponse(track=track),
    ):
        before = full.SerializeToString()
        left = without_biometrics(full)
        assert full.SerializeToString() == before
        data = left.SerializeToString()
        assert b"Ada" not in data
        assert len(data) < 100
        assert b"door" in data
    harmless = tracks_pb2.WatchTracksRequest()
    assert without_biometrics(harmless) is harmless


async def test_who_may_not_see_names_may_not_ask_for_them(tmp_path: Path) -> None:
    asked = tracks_pb2.ListTracksRequest(filter=tracks_pb2.TrackFilter(persons=["Ada"]))
    assert biometric_question(asked) == "persons"
    assert biometric_question(tracks_pb2.ListTracksRequest(filter=tracks_pb2.TrackFilter(described=True))) == ""
    async with guarded(tmp_path, "door") as at, at.channel() as channel:
        path = "/faceanalytics.v1.TrackService/ListTracks"
        method, data = dict(methods())[path], asked.SerializeToString()
        code, text = await send(channel, path, method, data, bearer(await at.token(Scope.READ)))
        assert (code, text) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "persons: needs a token with the scope biometric",
        )
        both = bearer(await at.token(Scope.READ, Scope.BIOMETRIC))
        assert await send(channel, path, method, data, both) == (grpc.StatusCode.OK, "")


def test_a_request_is_narrowed_to_the_cameras_of_its_token() -> None:
    everything = tracks_pb2.WatchTracksRequest()
    assert narrow(everything, ("stream_ids",), ("yard", "door")) is None
    assert list(everything.stream_ids) == ["door", "yard"]
    assert narrow(tracks_pb2.WatchTracksRequest(stream_ids=["door"]), ("stream_ids",), ("door",)) is None
    assert narrow(tracks_pb2.WatchTracksRequest(stream_ids=["door", "hall"]), ("stream_ids",), ("door",)) == "hall"
    assert narrow(tracks_pb2.WatchTracksRequest(stream_ids=[""]), ("stream_ids",), ("door",)) == ""
    ways = RULES["/faceanalytics.v1.TrackService/ListTracks"].asks  # two fields, of which a request may set one
    every_track = tracks_pb2.ListTracksRequest()
    assert narrow(every_track, ways, ("yard", "door")) is None
    assert (list(every_track.stream_ids), every_track.HasField("filter")) == (["door", "yard"], False)
    filtered = tracks_pb2.ListTracksRequest(filter=tracks_pb2.TrackFilter(stream_ids=["door"]))
    assert narrow(filtered, ways, ("yard", "door")) is None
    assert (list(filtered.stream_ids), list(filtered.filter.stream_ids)) == ([], ["door"])
    assert narrow(filtered, ways, ("yard",)) == "door"
    filtered.stream_ids.append("yard")
    assert narrow(filtered, ways, ("yard",)) == "door"
    tracks = [tracks_pb2.Track(stream_id=name) for name in ("door", "hall", "door")]
    answer = tracks_pb2.ListTracksResponse(tracks=tracks)
    assert is_about(answer, "tracks.stream_id", ("hall",))
    assert [track.stream_id for track in answer.tracks] == ["hall"]
    assert not is_about(tracks_pb2.GetTrackResponse(track=tracks[0]), "track.stream_id", ("hall",))


@pytest.mark.parametrize("scope", Scope)
async def test_every_method_with_every_scope(tmp_path: Path, scope: Scope) -> None:
    async with guarded(tmp_path, "door") as at, at.channel() as channel:
        with_scope = bearer(await at.token(scope))
        for path, method in methods():
            needed = RULES[path].scope
            code, text = await send(channel, path, method, metadata=with_scope)
            may = needed is None or scope in (needed, Scope.ADMIN)
            assert (code is not grpc.StatusCode.PERMISSION_DENIED) == may, (path, scope, code, text)
            assert code is not grpc.StatusCode.UNAUTHENTICATED
            code, text = await send(channel, path, method)
            assert (code is grpc.StatusCode.UNAUTHENTICATED) == (needed is not None), (path, code, text)
        assert {one["outcome"].partition(":")[0] for one in at.audit()} >= {"UNAUTHENTICATED"}


async def test_what_is_served_is_what_is_in_the_table(tmp_path: Path) -> None:
    async with guarded(tmp_path) as at, at.channel() as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        answer = await call.read()
        served = {service.name for service in answer.list_services_response.service}
        assert served == {path.split("/")[1] for path in RULES}
