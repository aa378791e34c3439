"""Splitting a person who mixes two, over gRPC: references change hands and keys, tracks are decided again."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc import aio

from faceanalytics.v1 import gallery_pb2
from streamer.config import Store
from streamer.people.book import Book
from tests.support.painted_people import person, write_image, write_video
from tests.support.recognising import Client, recognising, settings
from tests.support.stored import running

ADA, EVE = person(1), person(7)
Place = Callable[..., Store]


async def mixed(client: Client, folder: Path) -> tuple[str, str, str]:
    """A person with references of ada and of eve: ids of the person, and of both references."""
    for name, who in (("ada", ADA), ("eve", EVE)):
        write_image(folder / f"{name}.png", [who])
    both = await client.create("Ada")
    answer = await client.add(both.person_id, folder / "ada.png", folder / "eve.png")
    first, second = (one.reference_id for one in answer.results)
    return both.person_id, first, second


async def test_a_person_is_split_undone_and_split_again(place: Place, tmp_path: Path) -> None:
    write_video(tmp_path / "eve.mp4", {EVE: [(0, 40)]}, 40)
    config = settings(tmp_path, place())
    async with recognising(config) as client:
        both, ada, eve = await mixed(client, tmp_path)
        track = await client.play("door", tmp_path / "eve.mp4", loop=True)
        await client.until_named(track, "Ada")
        await client.stop("door")
        new = gallery_pb2.Person(display_name="Eve", labels=["guest"])
        request = gallery_pb2.SplitPersonRequest(person_id=both, reference_ids=[eve], new_person=new)
        dry = gallery_pb2.SplitPersonRequest()
        dry.CopyFrom(request)
        dry.dry_run = True
        answer = await client.gallery.SplitPerson(dry)
        (change,) = answer.changes
        assert (change.before.person, change.after.person) == ("Ada", "Eve")
        done = await client.gallery.SplitPerson(request)
        assert (done.person.reference_count, done.other.reference_count) == (1, 1)
        assert (done.other.display_name, list(done.other.labels)) == ("Eve", ["guest"])
        await client.until_named(track, "Eve")
        await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=done.entry_id))
        await client.until_named(track, "Ada")
        other = gallery_pb2.SplitPersonRequest(
            person_id=both, reference_ids=[eve], track_ids=[track], other_person_id=done.other.person_id
        )
        await client.gallery.SplitPerson(other)
        named = await client.until_named(track, "Eve")
        assert named.decision.confirmed
        await client.gallery.ErasePerson(gallery_pb2.ErasePersonRequest(person_id=both))
        asked = gallery_pb2.ListReferencesRequest(person_id=done.other.person_id, include_face=True)
        (kept,) = (await client.gallery.ListReferences(asked)).references  # under Eve's own key
        assert (kept.reference_id, kept.face_jpeg[:2]) == (eve, b"\xff\xd8")
        ledger = (await client.gallery.ListLedger(gallery_pb2.ListLedgerRequest())).entries
        assert [one.action for one in ledger][:2] == [
            gallery_pb2.LEDGER_ACTION_ERASE,
            gallery_pb2.LEDGER_ACTION_SPLIT,
        ]
        assert ledger[1].other_person_id == both
    assert config.store is not None
    async with running(config.store) as one:
        book = Book(one.store)
        await book.open()
        assert book.people.people[done.other.person_id].references == (eve,)
        assert ada not in book.references


async def test_who_got_references_by_a_split_can_be_erased_alone(tmp_path: Path) -> None:
    write_video(tmp_path / "eve.mp4", {EVE: [(0, 40)]}, 40)
    async with recognising(settings(tmp_path, Store(folder=str(tmp_path / "store")))) as client:
        both, _, eve = await mixed(client, tmp_path)
        track = await client.play("door", tmp_path / "eve.mp4", loop=True)
        said = gallery_pb2.ConfirmMatchRequest(track_id=track, person_id=both)
        learnt = (await client.gallery.ConfirmMatch(said)).reference_id
        new = gallery_pb2.Person(display_name="Eve")
        request = gallery_pb2.SplitPersonRequest(person_id=both, reference_ids=[eve], track_ids=[track], new_person=new)
        done = await client.gallery.SplitPerson(request)
        assert done.other.reference_count == 2  # what was learnt from the track goes with it
        assert learnt
        report = (
            await client.gallery.ErasePerson(gallery_pb2.ErasePersonRequest(person_id=done.other.person_id))
        ).report
        assert list(report.found) == []
        await client.until_named(track, "")  # not Ada again, as was said before the split
        left = (await client.gallery.GetPerson(gallery_pb2.GetPersonRequest(person_id=both))).person
        assert (left.reference_count, left.used_count) == (1, 1)


async def test_a_split_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async with recognising(settings(tmp_path, Store(folder=str(tmp_path / "store")))) as client:
        both, ada, eve = await mixed(client, tmp_path)
        person_of = (await client.gallery.GetPerson(gallery_pb2.GetPersonRequest(person_id=both))).person
        new = gallery_pb2.Person(display_name="Eve")
        for fields, code in (
            ({"reference_ids": [eve]}, "INVALID_ARGUMENT"),
            ({"new_person": new}, "INVALID_ARGUMENT"),
            ({"new_person": new, "reference_ids": ["x"]}, "INVALID_ARGUMENT"),
            ({"new_person": new, "reference_ids": [ada, eve]}, "INVALID_ARGUMENT"),
            ({"new_person": gallery_pb2.Person(), "reference_ids": [eve]}, "INVALID_ARGUMENT"),
            ({"other_person_id": both, "reference_ids": [eve]}, "INVALID_ARGUMENT"),
            ({"other_person_id": "x", "reference_ids": [eve]}, "NOT_FOUND"),
            ({"new_person": new, "track_ids": ["x"]}, "NOT_FOUND"),
            ({"new_person": new, "reference_ids": [eve], "expected_version": person_of.version + 1}, "ABORTED"),
        ):
            with pytest.raises(aio.AioRpcError) as refused:
                await client.gallery.SplitPerson(gallery_pb2.SplitPersonRequest(person_id=both, **fields))
            assert refused.value.code() is getattr(grpc.StatusCode, code), fields
        assert len((await client.gallery.ListPeople(gallery_pb2.ListPeopleRequest())).people) == 1
