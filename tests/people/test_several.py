"""Two streamers on one PostgreSQL database: each hears at once what is changed through the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from faceanalytics.v1 import gallery_pb2, tracks_pb2
from streamer.config import Store
from tests.support.painted_people import person, write_image, write_video
from tests.support.patience import WAIT_S
from tests.support.postgres import Postgres
from tests.support.recognising import REVISION, Client, recognising, settings

ADA, EVE = person(1), person(7)

pytestmark = pytest.mark.postgres


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    write_video(tmp_path / "ada.mp4", {ADA: [(0, 8)]}, 8)
    write_video(tmp_path / "eve.mp4", {EVE: [(0, 8)]}, 8)
    for name, who in (("ada", [ADA]), ("eve", [EVE])):
        write_image(tmp_path / f"{name}.png", who)
    return tmp_path


@pytest.fixture
async def pair(postgres: Postgres, clips: Path) -> AsyncIterator[tuple[Client, Client]]:
    """Two streamers, `a` and `b`."""
    async with streamers(postgres, clips) as both:
        yield both


@asynccontextmanager
async def streamers(postgres: Postgres, clips: Path, **changes: Any) -> AsyncIterator[tuple[Client, Client]]:
    """Two streamers of one database with these settings."""
    url = postgres.database()
    async with AsyncExitStack() as closing:
        clients = []
        for name in "ab":
            (clips / name).mkdir()
            store = Store(url=url, streamer=name, faces=True, commit_within_s=20)
            gallery = {"min_quality": 0.0, "hysteresis": 0.0}  # an ended track is judged as a live one
            config = settings(clips / name, store, sources={"folders": [str(clips)]}, gallery=gallery, **changes)
            clients.append(await closing.enter_async_context(recognising(config)))
        yield clients[0], clients[1]


async def test_what_one_changes_counts_in_the_other(pair: tuple[Client, Client], clips: Path) -> None:
    a, b = pair
    there = await b.play("yard", clips / "ada.mp4", loop=True)
    ada = await a.create("Ada")
    await a.add(ada.person_id, clips / "ada.png")
    named = await b.until_named(there, "Ada")  # enrolled through a, named on b's live track
    assert named.decision.person_id == ada.person_id
    here = await a.play("hall", clips / "ada.mp4", loop=True)
    await a.until_named(here, "Ada")
    await a.stop("hall")
    denied = gallery_pb2.RejectMatchRequest(track_id=there, person_id=ada.person_id)
    said = await b.gallery.RejectMatch(denied)
    await b.until_named(there, "")
    await a.until(lambda: a.seen[here].decision.person != "Ada")  # its face is like the one that was rejected
    assert [one.type for one in a.events if one.track.track_id == here][-1] == REVISION
    await a.gallery.Undo(gallery_pb2.UndoRequest(entry_id=said.entry_id))
    await b.until_named(there, "Ada")
    await a.until_named(here, "Ada")
    found = await b.gallery.SearchPeople(
        gallery_pb2.SearchPeopleRequest(image=(clips / "ada.png").read_bytes(), past=True)
    )
    assert (here, "a") in [(one.track.track_id, one.streamer_id) for one in found.tracks]
    version = (await b.gallery.GetPerson(gallery_pb2.GetPersonRequest(person_id=ada.person_id))).person.version
    new = gallery_pb2.Person(display_name="Ada B")
    request = gallery_pb2.UpdatePersonRequest(person_id=ada.person_id, person=new, expected_version=version)
    await a.gallery.UpdatePerson(request)
    with pytest.raises(aio.AioRpcError) as caught:  # although b may not have heard of it yet
        await b.gallery.UpdatePerson(request)
    assert caught.value.code().name == "ABORTED"
    async with asyncio.timeout(WAIT_S):
        while (await b.track(there)).decision.person != "Ada B":
            await asyncio.sleep(0.05)
    await b.stop("yard")
    report = (await a.gallery.ErasePerson(gallery_pb2.ErasePersonRequest(person_id=ada.person_id))).report
    assert list(report.found) == []
    assert report.removed_rows["templates"] >= 1  # b may have removed its own
    for client, track in ((a, here), (b, there)):
        revised = await client.until_named(track, "")
        assert revised.decision.reason == tracks_pb2.IDENTITY_REASON_ERASED
        stored = await client.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id=track, include_face=True))
        assert not stored.face_jpeg
        ledger = (await client.gallery.ListLedger(gallery_pb2.ListLedgerRequest())).entries
        assert {one.display_name for one in ledger} == {""}
    again = await b.play("yard2", clips / "ada.mp4")
    assert not b.seen[again].decision.person


async def test_a_face_like_that_of_an_erased_person_is_kept_by_no_streamer(postgres: Postgres, clips: Path) -> None:
    visitors = {"enabled": True, "min_quality": 0.0}
    async with streamers(postgres, clips, visitors=visitors) as (a, b):
        tracks = [await b.play(camera, clips / f"{camera}.mp4") for camera in ("ada", "eve")]
        like, unlike = tracks
        for camera in ("ada", "eve"):
            await b.stop(camera)
        ada = await a.create("Ada")
        await a.add(ada.person_id, clips / "ada.png")
        await b.until_named(like, "Ada")
        await b.gallery.RejectMatch(gallery_pb2.RejectMatchRequest(track_id=like, person_id=ada.person_id))
        await b.until(
            lambda: all(b.seen[one].visitor.visitor_id for one in tracks) and not b.seen[like].decision.person
        )
        report = (await a.gallery.ErasePerson(gallery_pb2.ErasePersonRequest(person_id=ada.person_id))).report
        assert list(report.found) == []
        assert [report.removed_rows[table] for table in ("faces", "templates", "visitor_tracks")] == [1, 1, 1]
        await b.until(lambda: not b.seen[like].visitor.visitor_id)
        for track, stays in ((like, False), (unlike, True)):
            stored = await b.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id=track, include_face=True))
            assert [bool(stored.track.visitor.visitor_id), bool(stored.face_jpeg)] == [stays, stays]
        for client in (a, b):  # neither has the template
            probe = gallery_pb2.SearchPeopleRequest(image=(clips / "ada.png").read_bytes(), past=True)
            found = await client.gallery.SearchPeople(probe)
            assert like not in [one.track.track_id for one in found.tracks]


async def test_changes_at_the_same_moment_are_numbered_without_holes(pair: tuple[Client, Client]) -> None:
    people = await asyncio.gather(*(client.create(f"P{at}") for at in range(10) for client in pair))
    assert len({one.person_id for one in people}) == 20
    for client in pair:
        async with asyncio.timeout(WAIT_S):  # what the other one has written is read soon
            while (ids := await numbers_of(client))[-1] < 20:
                await asyncio.sleep(0.05)
        assert ids == list(range(1, 21))


async def numbers_of(client: Client) -> list[int]:
    """The numbers of the entries that a streamer has read, in order."""
    entries = (await client.gallery.ListLedger(gallery_pb2.ListLedgerRequest(page_size=100))).entries
    return sorted(one.entry_id for one in entries)
