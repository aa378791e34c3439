"""What is stored shows a caller nothing that live tracks would not: other cameras, names, faces."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from faceanalytics.v1 import tracks_pb2
from streamer.access.token_file import TokenFile
from streamer.access.tokens import Scope, new_token, utc_now
from streamer.values import Candidate, IdentityDecision, IdentityStatus, TrackSummary
from tests.api.test_resume import Place, Service, serving
from tests.api.test_server import events_of, refused
from tests.support import builders
from tests.support.builders import summary
from tests.support.guarded_server import bearer
from tests.support.patience import WAIT_S
from tests.support.stored import final

START = Timestamp(seconds=1)
Request = tracks_pb2.ListTracksRequest


def ada(track: str, camera: str, ended: bool = False) -> TrackSummary:
    """A track of a person who is known."""
    candidates = (Candidate("Ada", 0.8),)
    decision = IdentityDecision(IdentityStatus.IDENTIFIED, "Ada", None, candidates, 0.3, 0.4, 3, 0.9, 1)
    return final(track, camera, decision=decision) if ended else summary(track, camera=camera, decision=decision)


async def token(folder: Path, *scopes: Scope, cameras: tuple[str, ...] = ()) -> Any:
    """The metadata of calls with a new token."""
    secret, made = new_token("test", scopes, cameras, None, utc_now())
    await TokenFile(folder).add(made)
    return bearer(secret)


async def watched(service: Service, count: int, who: Any, **request: Any) -> list[tracks_pb2.WatchTracksResponse]:
    """The first messages of a watch."""
    call: Any = service.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(**request), metadata=who)
    async with asyncio.timeout(WAIT_S):
        messages = [await call.read() for _ in range(count)]
    call.cancel()
    return messages


async def test_a_resumed_watch_shows_no_more_than_a_live_one(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "access"
    reader, knower = await token(folder, Scope.READ), await token(folder, Scope.READ, Scope.BIOMETRIC)
    of_yard = await token(folder, Scope.READ, Scope.BIOMETRIC, cameras=("yard", "removed"))
    async with serving(place, tokens=str(folder)) as service:
        await service.offer(ada("t1", "door"), ada("t2", "yard"))
        (first,) = await watched(service, 1, knower, since=START)
        await service.offer(ada("t1", "door", True), ada("t2", "yard", True), ada("t3", "door"), ada("t4", "yard"))
        everything = [("NEW", "t2", 1), ("END", "t1", 99), ("END", "t2", 99), ("NEW", "t3", 1), ("NEW", "t4", 1)]
        for point in ({"resume_token": first.resume_token}, {"since": START}):
            whole = [] if "resume_token" in point else [("NEW", "t1", 1)]
            plain = await watched(service, len(whole) + 5, reader, include_embedding=True, **point)
            assert events_of(plain) == whole + everything
            assert b"Ada" not in b"".join(one.SerializeToString() for one in plain)
            full = await watched(service, len(whole) + 5, knower, **point)
            assert events_of(full) == whole + everything
            assert {one.track.decision.person for one in full} == {"Ada"}
            assert {len(one.track.decision.candidates) for one in full} == {1}
            ours = await watched(service, 5, of_yard, snapshot=True, **point)
            assert events_of(ours) == [
                *(("NEW", "t2", 1), ("END", "t2", 99), ("NEW", "t4", 1)),
                *(("SNAPSHOT", "t4", 1), ("SNAPSHOT_END", "", 0)),
            ]
            assert b"door" not in b"".join(one.SerializeToString() for one in ours)
            asked = tracks_pb2.WatchTracksRequest(stream_ids=["door"], **point)
            call = service.tracks.WatchTracks(asked, metadata=of_yard)
            assert (await refused(call.read()))[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_past_tracks_show_no_more_than_live_ones(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "access"
    reader, knower = await token(folder, Scope.READ), await token(folder, Scope.READ, Scope.BIOMETRIC)
    of_yard = await token(folder, Scope.READ, Scope.BIOMETRIC, cameras=("yard", "removed"))
    async with serving(place, faces=True) as service:
        for name, camera in (("t1", "door"), ("t2", "yard"), ("t3", "yard")):
            await service.offer(ada(name, camera))
            service.stored.store.see(name, builders.crop())
            await service.offer(ada(name, camera, True))
    async with serving(place, tokens=str(folder), faces=True) as service:  # the hub knows nothing of them
        tracks = service.tracks

        async def listed(who: Any, **request: Any) -> tracks_pb2.ListTracksResponse:
            return await tracks.ListTracks(Request(past=True, **request), metadata=who)

        def names(answer: tracks_pb2.ListTracksResponse) -> list[str]:
            return [track.track_id for track in answer.tracks]

        plain, full = await listed(reader), await listed(knower)
        assert names(plain) == names(full) == ["t1", "t2", "t3"]
        assert b"Ada" not in plain.SerializeToString()
        assert {track.decision.person for track in full.tracks} == {"Ada"}
        page = await listed(of_yard, page_size=1)
        assert names(page) == ["t2"]
        page = await listed(of_yard, page_size=1, page_token=page.next_page_token)
        assert (names(page), page.next_page_token) == (["t3"], "")
        in_filter = tracks_pb2.TrackFilter(stream_ids=["yard"])
        for fields in ({"stream_ids": ["yard"]}, {"filter": in_filter}, {"stream_ids": ["yard", "removed"]}):
            assert names(await listed(of_yard, **fields)) == ["t2", "t3"]
        for who, request, code in (
            (of_yard, Request(past=True, filter=tracks_pb2.TrackFilter(stream_ids=["door"])), "PERMISSION_DENIED"),
            (of_yard, Request(past=True, stream_ids=["yard"], filter=in_filter), "INVALID_ARGUMENT"),
            (reader, Request(past=True, filter=tracks_pb2.TrackFilter(persons=["Ada"])), "PERMISSION_DENIED"),
            (knower, Request(past=True, filter=tracks_pb2.TrackFilter(persons=["Eve"])), ""),
        ):
            call = tracks.ListTracks(request, metadata=who)
            assert not names(await call) if not code else (await refused(call))[0].name == code

        async def got(who: Any, name: str) -> tracks_pb2.GetTrackResponse:
            asked = tracks_pb2.GetTrackRequest(track_id=name, include_face=True)
            return await tracks.GetTrack(asked, metadata=who)

        assert (await got(reader, "t1")).face_jpeg == b""
        assert b"Ada" not in (await got(reader, "t1")).SerializeToString()
        assert (await got(knower, "t1")).face_jpeg[:2] == b"\xff\xd8"
        assert (await got(of_yard, "t2")).track.decision.person == "Ada"
        hidden, missing = await refused(got(of_yard, "t1")), await refused(got(of_yard, "t9"))
        assert hidden == (missing[0], missing[1].replace("t9", "t1"))
        assert hidden[0] is grpc.StatusCode.NOT_FOUND
