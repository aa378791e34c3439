"""An erasure in which the store stops working: what is left is removed as soon as it works, and it can be repeated."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from grpc import aio

from faceanalytics.v1 import gallery_pb2, tracks_pb2, visitors_pb2
from streamer.config import Store
from streamer.people import elsewhere, erasing, visitor_erasing
from streamer.store.values import StoreUnavailable
from tests.people.test_visitors import TABLE, Desk, refusal, visiting
from tests.support.painted_people import person, write_image, write_video
from tests.support.patience import WAIT_S
from tests.support.recognising import Client, recognising, settings

ADA, EVE = person(1), person(7)
Place = Callable[..., Store]
Work = Callable[..., Awaitable[Any]]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A clip and a picture of ada, and a picture of eve."""
    write_video(tmp_path / "ada.mp4", {ADA: [(0, 40)]}, 40)
    write_image(tmp_path / "ada.png", [ADA])
    write_image(tmp_path / "eve.png", [EVE])
    return tmp_path


class Outage:
    """A step of an erasure that fails while it lasts, as it does when the database is gone."""

    def __init__(self, patch: pytest.MonkeyPatch, step: str, *modules: ModuleType) -> None:
        self.lasts = True
        for module in modules:
            if hasattr(module, step):
                patch.setattr(module, step, self._failing(getattr(module, step)))

    def _failing(self, work: Work) -> Work:
        async def step(*arguments: Any, **more: Any) -> Any:
            if self.lasts:
                raise StoreUnavailable("the cable is out")
            return await work(*arguments, **more)

        return step


async def has_face(client: Client, track: str) -> bool:
    asked = tracks_pb2.GetTrackRequest(track_id=track, include_face=True)
    return bool((await client.tracks.GetTrack(asked)).face_jpeg)


async def until_faceless(client: Client, track: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while await has_face(client, track):
            await asyncio.sleep(0.05)


async def a_past_track(client: Client, clips: Path) -> tuple[str, str]:
    """The id of Ada, and of a track of hers that has ended, with a picture. Eve is enrolled, too."""
    await client.add((await client.create("Eve")).person_id, clips / "eve.png")
    ada = (await client.create("Ada")).person_id
    await client.add(ada, clips / "ada.png")
    track = await client.play("door", clips / "ada.mp4", loop=True)
    await client.until_named(track, "Ada")
    await client.stop("door")
    assert await has_face(client, track)
    return ada, track


@pytest.mark.parametrize("step", ["forget_tracks", "forget_faces", "overwrite"])
async def test_what_an_erasure_leaves_when_the_store_fails_goes_by_itself(
    place: Place, clips: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(elsewhere, "AGAIN_S", 0.1)
    async with recognising(settings(clips, place(faces=True))) as client:
        ada, track = await a_past_track(client, clips)
        outage = Outage(monkeypatch, step, erasing, elsewhere)
        asked = gallery_pb2.ErasePersonRequest(person_id=ada)
        code, text = await refusal(client.gallery.ErasePerson(asked))
        assert (code, "the rest is done as soon as it works again" in text) == ("UNAVAILABLE", True)
        outage.lasts = False
        assert (await client.until_named(track, "")).decision.reason == tracks_pb2.IDENTITY_REASON_ERASED
        await until_faceless(client, track)
        report = (await client.gallery.ErasePerson(asked)).report  # again
        assert list(report.found) == []
        assert (report.removed_rows["person_references"], report.removed_rows["templates"]) == (0, 0)
        assert len(report.signature) == 64
        ledger = (await client.gallery.ListLedger(gallery_pb2.ListLedgerRequest(person_id=ada))).entries
        assert [one.action for one in ledger].count(gallery_pb2.LEDGER_ACTION_ERASE) == 1


async def test_a_failed_erasure_can_be_repeated_at_once(
    place: Place, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recognising(settings(clips, place(faces=True))) as client:
        ada, track = await a_past_track(client, clips)
        outage = Outage(monkeypatch, "forget_faces", erasing)
        Outage(monkeypatch, "forget_tracks", elsewhere)  # nobody else does it
        asked = gallery_pb2.ErasePersonRequest(person_id=ada)
        assert (await refusal(client.gallery.ErasePerson(asked)))[0] == "UNAVAILABLE"
        outage.lasts = False
        report = (await client.gallery.ErasePerson(asked)).report
        assert (list(report.found), report.removed_rows["templates"], report.removed_rows["faces"]) == ([], 1, 1)
        assert not await has_face(client, track)


async def test_what_an_erasure_leaves_when_the_streamer_dies_goes_after_the_start(
    place: Place, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(clips, place(faces=True))
    async with recognising(config) as client:
        ada, track = await a_past_track(client, clips)
        with monkeypatch.context() as patch:
            Outage(patch, "forget_tracks", erasing, elsewhere)
            await refusal(client.gallery.ErasePerson(gallery_pb2.ErasePersonRequest(person_id=ada)))
            assert await has_face(client, track)
    async with recognising(config) as client:
        await until_faceless(client, track)
        found = (await client.track(track)).decision
        assert (found.person_id, found.reason) == ("", tracks_pb2.IDENTITY_REASON_ERASED)


@pytest.mark.parametrize("step", ["forget_faces", "overwrite"])
async def test_a_visitor_whose_erasure_fails_is_erased_when_the_store_works(
    place: Place, clips: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    config = visiting(clips, place(faces=True))
    async with recognising(config, impostors=TABLE) as client, aio.insecure_channel(client.address) as channel:
        desk = Desk(client, channel)
        track = await client.play("door", clips / "ada.mp4", loop=True)
        visitor = await desk.visitor_of(track)
        await client.stop("door")
        assert await has_face(client, track)
        outage = Outage(monkeypatch, step, visitor_erasing)
        asked = visitors_pb2.EraseVisitorRequest(visitor_id=visitor)
        code, text = await refusal(desk.stub.EraseVisitor(asked))
        assert (code, "the rest is done as soon as it works again" in text) == ("UNAVAILABLE", True)
        outage.lasts = False
        await until_faceless(client, track)
        assert not (await client.track(track)).HasField("visitor")
    async with recognising(config, impostors=TABLE) as client, aio.insecure_channel(client.address) as channel:
        assert await Desk(client, channel).list() == []
        assert not await has_face(client, track)
