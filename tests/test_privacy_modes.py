"""What leaves a running streamer in each privacy mode, searched for in its traffic, its database and its sinks."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from faceanalytics.v1 import (
    aggregates_pb2,
    aggregates_pb2_grpc,
    gallery_pb2,
    streams_pb2,
    tracks_pb2,
)
from streamer.config import Store, StreamerConfig
from streamer.privacy import Mode
from streamer.tools.aggregates import line
from tests.support.painted_people import person, write_image, write_video
from tests.support.patience import WAIT_S
from tests.support.recognising import Client, recognising, settings
from tests.support.sniffing import sniffing

NAME = "Ada Lovelace"
JPEG = b"\xff\xd8\xff\xe0"
ADA = person(3)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, because those of sockets are limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="fa-") as folder:
        yield Path(folder)


def configured(folder: Path, mode: Mode, **privacy: Any) -> StreamerConfig:
    sink = {"type": "files", "name": "all", "folder": str(folder / "sink"), "biometric": True}
    sink["events"] = ["NEW", "END", "DECISION", "AGGREGATE", "CAMERA"]
    made = settings(folder, Store(folder=str(folder / "store"), faces=True), privacy={"mode": mode, **privacy})
    sinks = StreamerConfig.model_validate({"sinks": [sink]}).sinks
    return made.model_copy(update={"sinks": sinks})


async def enrolled(client: Client, folder: Path) -> str:
    write_image(folder / "ada.png", [ADA])
    who = await client.create(NAME)
    await client.add(who.person_id, folder / "ada.png")
    return who.person_id


async def add_camera(client: Client, video: Path, mode: Any = streams_pb2.PRIVACY_MODE_UNSPECIFIED) -> None:
    stream = streams_pb2.StreamSettings(uri=str(video), loop=True, privacy_mode=mode)
    await client.streams.CreateStream(streams_pb2.CreateStreamRequest(stream_id="door", settings=stream))


async def aggregates(client: Client) -> list[aggregates_pb2.Aggregate]:
    async with grpc.aio.insecure_channel(client.address) as channel:
        service: Any = aggregates_pb2_grpc.AggregateServiceStub(channel)
        return list((await service.ListAggregates(aggregates_pb2.ListAggregatesRequest())).aggregates)


async def until_counted(client: Client, tracks: int) -> list[aggregates_pb2.Aggregate]:
    async with asyncio.timeout(WAIT_S):
        found = await aggregates(client)
        while sum(one.tracks for one in found) < tracks:
            await asyncio.sleep(0.1)
            found = await aggregates(client)
    return found


def files(folder: Path) -> bytes:
    """Everything in a folder; the write-ahead log of a database included."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("mode", list(Mode))
async def test_only_the_mode_identity_lets_names_faces_and_embeddings_out(
    tmp_path: Path, short: Path, mode: Mode
) -> None:
    made = list[bytes]()
    write_video(tmp_path / "ada.mp4", {ADA: [(0, 4)]}, 4)
    config = configured(tmp_path, mode, aggregate_s=1, min_tracks=1)
    config = config.model_copy(update={"dispatch": config.dispatch.on_socket(short / "w")})
    async with (
        sniffing(short / "p", short / "w") as traffic,
        recognising(config, endpoint=f"ipc://{short}/p", made=made) as client,
    ):
        if mode is Mode.AGGREGATE_ONLY:
            refused = pytest.raises(grpc.aio.AioRpcError, match="aggregate_only")
            with refused as caught:
                await enrolled(client, tmp_path)
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            await add_camera(client, tmp_path / "ada.mp4")
            said = [line(one) for one in await until_counted(client, 1)]
            assert not client.seen
            assert any("door: 1 track; ages: 1 of 25 to 34; expressions: " in one for one in said), said
            assert not (await client.past())
        else:
            person_id = await enrolled(client, tmp_path)
            traffic.clear()
            made.clear()
            track_id = await client.play("door", tmp_path / "ada.mp4", loop=True)
            await client.until(lambda: client.seen[track_id].decision.status == tracks_pb2.IDENTITY_STATUS_IDENTIFIED)
            await client.stop("door")
            track = client.seen[track_id]
            assert track.decision.status == tracks_pb2.IDENTITY_STATUS_IDENTIFIED
            assert (track.decision.person, track.decision.person_id) == (
                (NAME, person_id) if mode is Mode.IDENTITY else ("", "")
            )
            assert track.decision.pseudonym.startswith("p-") is (mode is Mode.PSEUDONYMOUS)
            assert bool(track.decision.candidates) is (mode is Mode.IDENTITY)
            asked = tracks_pb2.GetTrackRequest(track_id=track_id, include_embedding=True, include_face=True)
            answer = await client.tracks.GetTrack(asked)
            assert bool(answer.track.identity.embedding) is (mode is Mode.IDENTITY)
            for request in (
                gallery_pb2.EnrollFromTrackRequest(track_id=track_id, person_id=person_id),
                gallery_pb2.EnrollFromTrackRequest(track_id=track_id, person_id=person_id, dry_run=True),
            ):
                if mode is Mode.PSEUDONYMOUS:
                    with pytest.raises(grpc.aio.AioRpcError, match="pseudonymous") as caught:
                        await client.gallery.EnrollFromTrack(request)
                    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
                else:
                    await client.gallery.EnrollFromTrack(request)
            search = gallery_pb2.SearchPeopleRequest(image=(tmp_path / "ada.png").read_bytes(), past=True)
            found = await client.gallery.SearchPeople(search)
            assert (track_id in [one.track.track_id for one in found.tracks]) is (mode is Mode.IDENTITY)
            assert bool(found.tracks) is (mode is Mode.IDENTITY)
        stored = files(tmp_path / "store")
    assert made, "the worker has computed embeddings"
    assert any(one[:24] in traffic for one in made) is (mode is not Mode.AGGREGATE_ONLY)
    assert b"traceparent" not in traffic
    stored, sunk = stored + files(tmp_path / "store"), files(tmp_path / "sink")
    assert not any(one[:24] in stored + sunk for one in made), "templates are encrypted, if there are any"
    assert (JPEG in stored) is (mode is Mode.IDENTITY)
    assert (NAME.encode() in sunk) is (mode is Mode.IDENTITY)
    events = [json.loads(line) for line in sunk.splitlines()]
    kinds = {one["type"] for one in events if one["type"] != "faceanalytics.camera.changed"}
    if mode is Mode.AGGREGATE_ONLY:
        assert kinds == {"faceanalytics.camera.aggregate"}
        assert sum(one["data"]["tracks"] for one in events if "tracks" in one["data"]) >= 1
        assert b"track_id" not in sunk
    else:
        assert "faceanalytics.track.end" in kinds


async def test_a_worker_that_sends_unwanted_embeddings_is_not_believed(tmp_path: Path) -> None:
    write_video(tmp_path / "ada.mp4", {ADA: [(0, 4)]}, 4)
    config = configured(tmp_path, Mode.AGGREGATE_ONLY, aggregate_s=1, min_tracks=1)
    async with recognising(config, disobeys=True) as client:
        await add_camera(client, tmp_path / "ada.mp4")
        counted = await until_counted(client, 1)
    assert {one.described for one in counted} == {0}


async def test_a_camera_that_becomes_stricter_ends_its_tracks_and_loses_its_stored_faces(tmp_path: Path) -> None:
    write_video(tmp_path / "ada.mp4", {ADA: [(0, 4)]}, 4)
    config = configured(tmp_path, Mode.IDENTITY, aggregate_s=1)
    async with recognising(config) as client:
        await enrolled(client, tmp_path)
        past = await client.play("door", tmp_path / "ada.mp4", loop=True)
        face = tracks_pb2.GetTrackRequest(track_id=past, include_face=True)
        await client.stop("door")
        live = await client.play("door", tmp_path / "ada.mp4", loop=True)
        mode = streams_pb2.StreamSettings(privacy_mode=streams_pb2.PRIVACY_MODE_AGGREGATE_ONLY)
        change = streams_pb2.UpdateStreamRequest(stream_id="door", settings=mode)
        change.update_mask.paths.append("privacy_mode")
        answer = await client.streams.UpdateStream(change)
        assert answer.stream.privacy_mode == streams_pb2.PRIVACY_MODE_AGGREGATE_ONLY
        await client.until(lambda: client.seen[live].final)
        end = client.seen[live]
        assert (end.decision.person, end.HasField("identity"), end.HasField("age")) == ("", False, False)
        async with asyncio.timeout(WAIT_S):
            while (await client.tracks.GetTrack(face)).face_jpeg:
                await asyncio.sleep(0.1)
        before = len(client.seen)
        await until_counted(client, 1)
        assert len(client.seen) == before
        search = gallery_pb2.SearchPeopleRequest(image=(tmp_path / "ada.png").read_bytes(), past=True)
        assert not (await client.gallery.SearchPeople(search)).tracks
