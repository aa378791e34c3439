"""People of the gallery over gRPC: a live streamer with a store, painted people and a worker that knows them."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from faceanalytics.v1 import gallery_pb2, tracks_pb2
from streamer.access.token_file import TokenFile
from streamer.access.tokens import Scope, new_token, utc_now
from streamer.config import Store
from streamer.encryption import new_key
from streamer.people import erasing
from streamer.store.forget import Forgotten, forget_tracks
from streamer.store.store import Store as TrackStore
from tests.support.guarded_server import bearer
from tests.support.painted_people import person, write_image, write_video
from tests.support.recognising import REVISION, recognising, settings
from tests.support.sinking import eventually

ADA, BOB, EVE = person(1), person(2), person(7)
Place = Callable[..., Store]
IDENTIFIED, UNKNOWN = tracks_pb2.IDENTITY_STATUS_IDENTIFIED, tracks_pb2.IDENTITY_STATUS_UNKNOWN


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A clip of ada, one of eve, and images of both."""
    write_video(tmp_path / "ada.mp4", {ADA: [(0, 40)]}, 40)
    write_video(tmp_path / "eve.mp4", {EVE: [(0, 40)]}, 40)
    for name, who in (("ada", [ADA]), ("eve", [EVE]), ("bob", [BOB]), ("two", [ADA, BOB]), ("nobody", [])):
        write_image(tmp_path / f"{name}.png", who)
    return tmp_path


async def test_a_person_is_enrolled_named_rejected_and_named_again(place: Place, clips: Path) -> None:
    config = settings(clips, place())
    async with recognising(config) as client:
        track = await client.play("door", clips / "ada.mp4", loop=True)
        assert not client.seen[track].HasField("decision")  # nobody is in the gallery
        ada = await client.create("Ada")
        answer = await client.add(ada.person_id, clips / "ada.png")
        assert [bool(one.reference_id) for one in answer.results] == [True]
        named = await client.until_named(track, "Ada")  # at once, with a new revision
        assert (named.decision.person_id, named.decision.confirmed) == (ada.person_id, False)
        dry = await client.gallery.RejectMatch(gallery_pb2.RejectMatchRequest(track_id=track, dry_run=True))
        assert [(one.before.person, one.after.person) for one in dry.changes] == [("Ada", "")]
        said = await client.gallery.RejectMatch(gallery_pb2.RejectMatchRequest(track_id=track))
        denied = await client.until_named(track, "")
        assert denied.decision.reason == tracks_pb2.IDENTITY_REASON_REJECTED
        assert denied.revision > named.revision
        await client.stop("door")
        assert (await client.track(track)).decision.status == UNKNOWN
    async with recognising(config) as client:  # after a restart
        assert (await client.track(track)).decision.status == UNKNOWN
        again = await client.play("yard", clips / "eve.mp4")
        assert client.seen[again].decision.status == UNKNOWN
        undone = await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=said.entry_id))
        revised = await client.until_named(track, "Ada")  # a past track, decided again from its stored face
        assert (revised.final, revised.decision.person_id) == (True, ada.person_id)
        assert [one.type for one in client.events if one.track.track_id == track] == [REVISION]
        resumed = client.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(since=Timestamp(seconds=1)))
        heard = []
        while REVISION not in heard:  # also those who were away hear of it
            event = await resumed.read()
            heard += [event.type] if event.track.track_id == track else []
        assert heard == [tracks_pb2.EVENT_TYPE_NEW, tracks_pb2.EVENT_TYPE_END, REVISION]
        assert event.track.decision.person == "Ada"
        resumed.cancel()
        assert [one.track_id for one in await client.past("ada", "Ada")] == [track]
        ledger = (await client.gallery.ListLedger(gallery_pb2.ListLedgerRequest())).entries
        assert [gallery_pb2.LedgerAction.Name(one.action)[14:] for one in ledger] == [
            "UNDO", "REJECT", "ENROL", "CREATE"
        ]  # fmt: skip
        assert (ledger[0].undoes, ledger[1].undone_by) == (said.entry_id, undone.entry_id)
        assert {one.display_name for one in ledger} == {"Ada"}


async def test_what_is_said_of_a_track_from_before_anybody_was_enrolled_can_be_undone(
    place: Place, clips: Path
) -> None:
    """Its face was not stored, so it is never compared with anybody."""
    async with recognising(settings(clips, place(faces=True))) as client:
        track = await client.play("door", clips / "eve.mp4")
        await client.stop("door")
        new = gallery_pb2.Person(display_name="Eve")
        made = await client.gallery.EnrollFromTrack(gallery_pb2.EnrollFromTrackRequest(track_id=track, new_person=new))
        await client.until_named(track, "Eve")
        denied = gallery_pb2.RejectMatchRequest(track_id=track, person_id=made.person.person_id)
        said = await client.gallery.RejectMatch(denied)
        rejected = await client.until_named(track, "")
        assert rejected.decision.reason == tracks_pb2.IDENTITY_REASON_REJECTED
        await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=said.entry_id))
        await client.until_named(track, "Eve")
        await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=made.entry_id))
        assert not (await client.until_named(track, "")).decision.confirmed
        assert not (await client.track(track)).decision.person


async def test_a_track_is_enrolled_confirmed_merged_and_renamed(place: Place, clips: Path) -> None:
    async with recognising(settings(clips, place(faces=True))) as client:
        track = await client.play("door", clips / "eve.mp4", loop=True)
        new = gallery_pb2.Person(display_name="Visitor", labels=["guest"])
        with pytest.raises(aio.AioRpcError) as refused:
            await client.gallery.EnrollFromTrack(gallery_pb2.EnrollFromTrackRequest(track_id="x", new_person=new))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        asked = gallery_pb2.EnrollFromTrackRequest(track_id=track, new_person=new)
        made = await client.gallery.EnrollFromTrack(asked)
        named = await client.until_named(track, "Visitor")
        assert named.decision.confirmed
        await client.stop("door")
        other = await client.play("yard", clips / "eve.mp4", loop=True)
        await client.until_named(other, "Visitor")
        assert not client.seen[other].decision.confirmed
        eve = await client.create("Eve")
        merged = gallery_pb2.MergePeopleRequest(person_id=eve.person_id, other_person_id=made.person.person_id)
        assert (await client.gallery.MergePeople(merged)).person.reference_count == 1
        await client.until_named(other, "Eve")
        assert (await client.track(track)).decision.person == "Eve"
        assert (await client.track(track)).decision.person_id == eve.person_id
        mask = gallery_pb2.UpdatePersonRequest(
            person_id=eve.person_id,
            person=gallery_pb2.Person(display_name="Eva"),
            update_mask=FieldMask(paths=["display_name"]),
        )
        await client.gallery.UpdatePerson(mask)
        await client.until_named(other, "Eva")
        assert {one.track_id for one in await client.past("Eva")} == {track, other}
        assert not await client.past("Eve", "Visitor")
        best = gallery_pb2.EnrollFromTrackRequest(track_id=other, best_candidate=True)
        assert (await client.gallery.EnrollFromTrack(best)).person.reference_count == 2
        found = await client.gallery.SearchPeople(gallery_pb2.SearchPeopleRequest(track_id=other, past=True))
        assert [one.person for one in found.people] == ["Eva"]
        assert [one.track.track_id for one in found.tracks] == [track]
        assert found.tracks[0].track.decision.person == "Eva"
        image = gallery_pb2.SearchPeopleRequest(image=(clips / "eve.png").read_bytes())
        # how similar depends on the moment of the clip that the templates are from: images are mirrored as well
        (best_found,) = (await client.gallery.SearchPeople(image)).people
        assert best_found.person == "Eva"
        assert best_found.similarity > 0.4


async def test_each_image_has_a_result(place: Place, clips: Path) -> None:
    (clips / "text.txt").write_text("no image")
    async with recognising(settings(clips, place())) as client:
        ada = await client.create("Ada")
        files = [clips / name for name in ("ada.png", "two.png", "nobody.png", "text.txt", "ada.png")]
        answer = await client.add(ada.person_id, *files)
        made, two, nobody, text, twice = answer.results
        assert made.reference_id
        assert two.reason.startswith("2 faces, and none is much larger")
        assert sorted(round(one.box.x, -1) for one in two.faces) == [100, 250]
        assert nobody.reason == "no face is found in it"
        assert text.reason.startswith("not an image")
        assert (twice.duplicate_of, twice.reference_id) == (made.reference_id, "")
        assert (answer.person.reference_count, answer.person.used_count) == (1, 1)
        bob = await client.create("Bob")
        same = (await client.add(bob.person_id, clips / "two.png", judgement=gallery_pb2.JUDGEMENT_OFF)).results[0]
        assert same.reference_id
        again = await client.add(bob.person_id, clips / "two.png", judgement=gallery_pb2.JUDGEMENT_STRICT)
        assert again.results[0].duplicate_of == same.reference_id  # however it is judged now
        carl = await client.create("Carl")
        strict = await client.add(carl.person_id, clips / "two.png", judgement=gallery_pb2.JUDGEMENT_STRICT)
        assert "strict asks for a single one" in strict.results[0].reason
        twin = await client.create("Twin")
        alike = (await client.add(twin.person_id, clips / "ada.png")).results[0]
        assert [one.person_id for one in alike.resembles][:1] == [ada.person_id]
        listed = await client.gallery.ListReferences(
            gallery_pb2.ListReferencesRequest(person_id=ada.person_id, include_face=True)
        )
        (reference,) = listed.references
        assert (reference.file_name, reference.used) == ("ada.png", True)
        assert reference.face_jpeg[:2] == b"\xff\xd8"
        aside = gallery_pb2.SetReferenceAsideRequest(reference_id=reference.reference_id, aside=True)
        assert (await client.gallery.SetReferenceAside(aside)).person.used_count == 0
        back = gallery_pb2.SetReferenceAsideRequest(reference_id=reference.reference_id)
        assert (await client.gallery.SetReferenceAside(back)).person.used_count == 1
        gone = gallery_pb2.DeleteReferenceRequest(reference_id=reference.reference_id)
        await client.gallery.DeleteReference(gone)
        after = await client.gallery.GetPerson(gallery_pb2.GetPersonRequest(person_id=ada.person_id))
        assert after.person.reference_count == 0


async def refusal(call: aio.UnaryUnaryCall) -> tuple[str, str]:  # type: ignore[type-arg]
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details() or ""


async def test_what_cannot_be_done_is_refused_with_the_reason(place: Place, clips: Path) -> None:
    async with recognising(settings(clips, place())) as client:
        gallery = client.gallery
        ada = await client.create("  <b>Ada</b> \u0041\u030a ")
        assert ada.display_name == "<b>Ada</b> \u00c5"  # markup is data, accents have one form
        for name, text in (("", "must not be empty"), ("a\nb", r"U+000A"), ("a\u202eb", "U+202E"), ("x" * 201, "201")):
            person = gallery_pb2.Person(display_name=name)
            code, details = await refusal(gallery.CreatePerson(gallery_pb2.CreatePersonRequest(person=person)))
            assert (code, text in details) == ("INVALID_ARGUMENT", True), details
        new = gallery_pb2.Person(display_name="Ada")
        first = gallery_pb2.UpdatePersonRequest(person_id=ada.person_id, person=new, expected_version=ada.version)
        assert (await gallery.UpdatePerson(first)).person.version > ada.version
        assert (await refusal(gallery.UpdatePerson(first)))[0] == "ABORTED"
        wrong = gallery_pb2.UpdatePersonRequest(
            person_id=ada.person_id, person=new, update_mask=FieldMask(paths=["version"])
        )
        assert (await refusal(gallery.UpdatePerson(wrong)))[0] == "INVALID_ARGUMENT"
        assert (await refusal(gallery.GetPerson(gallery_pb2.GetPersonRequest(person_id="x"))))[0] == "NOT_FOUND"
        alone = gallery_pb2.MergePeopleRequest(person_id=ada.person_id, other_person_id=ada.person_id)
        assert (await refusal(gallery.MergePeople(alone)))[0] == "INVALID_ARGUMENT"
        assert (await refusal(gallery.Undo(gallery_pb2.UndoRequest(entry_id=99))))[0] == "NOT_FOUND"
        embedding = gallery_pb2.Embedding(values=[1.0], model_id="other")
        asked = gallery_pb2.SearchPeopleRequest(embedding=embedding)
        assert (await refusal(gallery.SearchPeople(asked)))[0] == "INVALID_ARGUMENT"
        with pytest.raises(aio.AioRpcError) as caught:
            await client.add("nobody", clips / "ada.png")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_people_of_the_folder_are_there_and_read_only(place: Place, clips: Path) -> None:
    write_image(clips / "people" / "ada" / "1.png", [ADA])
    config = settings(clips, place(), gallery={"folder": str(clips / "people"), "min_quality": 0.0})
    async with recognising(config) as client:
        track = await client.play("door", clips / "ada.mp4", loop=True)
        named = await client.until_named(track, "ada")
        (listed,) = (await client.gallery.ListPeople(gallery_pb2.ListPeopleRequest())).people
        assert (listed.person_id, listed.read_only, listed.used_count) == (named.decision.person_id, True, 1)
        changed = gallery_pb2.UpdatePersonRequest(
            person_id=listed.person_id, person=gallery_pb2.Person(display_name="x")
        )
        code, text = await refusal(client.gallery.UpdatePerson(changed))
        assert (code, "gallery.folder" in text) == ("FAILED_PRECONDITION", True)
        await client.gallery.RejectMatch(gallery_pb2.RejectMatchRequest(track_id=track))
        await client.until_named(track, "")
    async with recognising(config) as client:
        assert not (await client.track(track)).decision.person


async def test_without_a_store_the_folder_names_people_and_calls_say_what_is_missing(clips: Path) -> None:
    write_image(clips / "people" / "ada" / "1.png", [ADA])
    config = settings(clips, None, gallery={"folder": str(clips / "people"), "min_quality": 0.0})
    async with recognising(config) as client:
        track = await client.play("door", clips / "ada.mp4", loop=True)
        named = await client.until_named(track, "ada")
        assert named.decision.person_id == ""
        code, text = await refusal(client.gallery.ListPeople(gallery_pb2.ListPeopleRequest()))
        assert (code, "store: null" in text) == ("FAILED_PRECONDITION", True)


async def test_other_weights_embed_the_kept_pictures_again(place: Place, clips: Path) -> None:
    async with recognising(settings(clips, place())) as client:
        ada = await client.create("Ada")
        await client.add(ada.person_id, clips / "ada.png")
        track = await client.play("door", clips / "eve.mp4", loop=True)
        eve = gallery_pb2.Person(display_name="Eve")  # without store.faces, no picture is kept of her
        await client.gallery.EnrollFromTrack(gallery_pb2.EnrollFromTrackRequest(track_id=track, new_person=eve))
        await client.until_named(track, "Eve")
        await client.stop("door")
    async with recognising(settings(clips, place()), model_id="newer") as client:
        live = await client.play("yard", clips / "ada.mp4", loop=True)
        await client.until_named(live, "Ada")
        people = (await client.gallery.ListPeople(gallery_pb2.ListPeopleRequest())).people
        assert {one.display_name: (one.reference_count, one.used_count) for one in people} == {
            "Ada": (1, 1),
            "Eve": (1, 0),
        }
        assert (await client.track(track)).decision.person == "Eve"  # what was said stays, and the past is of its model
        image = (clips / "ada.png").read_bytes()
        found = await client.gallery.SearchPeople(gallery_pb2.SearchPeopleRequest(image=image))
        assert (found.people_not_compared, found.references_waiting) == (1, 0)  # Eve
        for one in people:
            if one.display_name == "Ada":
                await client.gallery.ErasePerson(gallery_pb2.ErasePersonRequest(person_id=one.person_id))
        code, text = await refusal(client.gallery.SearchPeople(gallery_pb2.SearchPeopleRequest(image=image)))
        assert (code, "no pictures of them were kept" in text) == ("FAILED_PRECONDITION", True)


async def test_a_token_shows_and_changes_only_what_it_may(place: Place, clips: Path) -> None:
    tokens = TokenFile(clips / "access")
    made = {}
    for name, scopes, cameras in (
        ("all", [Scope.ADMIN], ()),
        ("clerk", [Scope.ENROL], ()),
        ("yard", [Scope.ENROL, Scope.BIOMETRIC], ("yard",)),
        ("viewer", [Scope.READ], ()),
    ):
        made[name], token = new_token(name, scopes, cameras, None, utc_now())
        await tokens.add(token)
    clerk, yard, viewer = (bearer(made[name]) for name in ("clerk", "yard", "viewer"))
    config = settings(clips, place(), access={"folder": str(clips / "access")})
    async with recognising(config, token=made["all"]) as client:
        gallery, name = client.gallery, "Adelheid Unverwechselbar"
        ada = await client.create(name)
        await client.add(ada.person_id, clips / "ada.png")
        asked = gallery_pb2.GetPersonRequest(person_id=ada.person_id)
        assert (await gallery.GetPerson(asked, metadata=clerk)).person.display_name == ""
        assert (await gallery.GetPerson(asked, metadata=yard)).person.display_name == name
        assert (await refusal(gallery.GetPerson(asked, metadata=viewer)))[0] == "PERMISSION_DENIED"
        image = gallery_pb2.SearchPeopleRequest(image=(clips / "ada.png").read_bytes())
        assert (await refusal(gallery.SearchPeople(image, metadata=clerk)))[0] == "PERMISSION_DENIED"
        track = await client.play("door", clips / "ada.mp4", loop=True)
        await client.until_named(track, name)
        wrong = gallery_pb2.RejectMatchRequest(track_id=track)
        assert (await refusal(gallery.RejectMatch(wrong, metadata=yard)))[0] == "NOT_FOUND"
        listed = gallery_pb2.ListPeopleRequest(display_name=name)
        assert len((await gallery.ListPeople(listed, metadata=yard)).people) == 1
        ledger = (await gallery.ListLedger(gallery_pb2.ListLedgerRequest(), metadata=yard)).entries
        assert all(one.actor.startswith("all (") for one in ledger)
    assert name not in (clips / "access" / "audit.jsonl").read_text()


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after the past was decided again"])
async def test_sinks_hear_that_a_past_track_has_another_name_or_none_any_longer(
    clips: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    if late:

        async def later(store: TrackStore, people: set[str]) -> Forgotten:
            await asyncio.sleep(2)
            return await forget_tracks(store, people)

        monkeypatch.setattr(erasing, "forget_tracks", later)
    sink = {"type": "files", "name": "file", "folder": str(clips / "out"), "events": ["REVISION"], "biometric": True}
    config = settings(clips, Store(folder=str(clips / "store")), sinks=[sink])
    async with recognising(config) as client:
        await client.add((await client.create("Eve")).person_id, clips / "eve.png")
        track = await client.play("door", clips / "ada.mp4", loop=True)
        await client.until(lambda: client.seen[track].decision.status == UNKNOWN)
        await client.stop("door")
        ada = await client.create("Ada")
        await client.add(ada.person_id, clips / "ada.png")
        await client.until_named(track, "Ada")
        written = clips / "out" / "file.jsonl"  # an erasure also removes the name from what no sink has read yet
        await eventually(lambda: written.exists() and '"Ada"' in written.read_text())
        await client.gallery.ErasePerson(gallery_pb2.ErasePersonRequest(person_id=ada.person_id))
        await client.until_named(track, "")
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    mine = [one for one in lines if one["subject"] == track]
    assert {one["type"] for one in lines} == {"faceanalytics.track.revision"}
    names = [one["data"]["decision"].get("person", "") for one in mine]
    assert (names[0], names[-1]) == ("Ada", "")
    assert mine[-1]["data"]["decision"]["reason"] == "IDENTITY_REASON_ERASED"


@pytest.mark.parametrize("key", [None, "store.key"])
async def test_an_erased_person_is_nowhere(place: Place, clips: Path, key: str | None) -> None:
    name = "Adelheid Unverwechselbar"
    if key is not None:
        (clips / key).write_text(new_key())
    config = settings(clips, place(faces=True, key_file=key and str(clips / key)))
    assert config.store is not None
    async with recognising(config) as client:
        ada = await client.create(name)
        await client.add(ada.person_id, clips / "ada.png")
        track = await client.play("door", clips / "ada.mp4", loop=True)
        await client.until_named(track, name)
        await client.stop("door")
        eve = await client.play("yard", clips / "eve.mp4", loop=True)
        await client.gallery.RejectMatch(gallery_pb2.RejectMatchRequest(track_id=eve, person_id=ada.person_id))
        # she is still there, so her picture is stored again, as that of a stranger: it must be another one
        write_video(clips / "elsewhere.mp4", {BOB: [], ADA: [(0, 40)]}, 40)
        live = await client.play("hall", clips / "elsewhere.mp4", loop=True)
        await client.until_named(live, name)
        face = (await client.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id=track, include_face=True))).face_jpeg
        assert face
        whole = await client.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id=live, include_embedding=True))
        embedding = np.asarray(whole.track.identity.embedding, "<f4").tobytes()[:40]
        asked = gallery_pb2.ListReferencesRequest(person_id=ada.person_id, include_face=True)
        picture = (await client.gallery.ListReferences(asked)).references[0].face_jpeg[-400:-300]
        assert len(embedding) == 40
        assert len(picture) == 100
        report = (await client.gallery.ErasePerson(gallery_pb2.ErasePersonRequest(person_id=ada.person_id))).report
        assert list(report.found) == []
        for table, rows in (("person_keys", 1), ("person_references", 2), ("faces", 1), ("templates", 1)):
            removed = report.removed_rows[table]  # the picture of the live track may be stored by then
            assert removed == rows or (table == "faces" and removed == rows + 1), table
        assert report.removed_rows["tracks"] >= 1
        assert report.removed_rows["events"] >= 2
        assert len(report.signature) == 64
        await client.until_named(live, "")
        revised = await client.until_named(track, "")
        assert revised.decision.reason == tracks_pb2.IDENTITY_REASON_ERASED
        assert (await client.track(track)).decision.person_id == ""
        with pytest.raises(aio.AioRpcError) as gone:
            await client.gallery.GetPerson(gallery_pb2.GetPersonRequest(person_id=ada.person_id))
        assert gone.value.code() is grpc.StatusCode.NOT_FOUND
        ledger = (await client.gallery.ListLedger(gallery_pb2.ListLedgerRequest(person_id=ada.person_id))).entries
        assert {one.display_name for one in ledger} == {""}
    content = raw_files(config.store)
    for what, piece in (("name", name.encode()), ("embedding", embedding), ("picture of the reference", picture)):
        assert piece not in content, what
    if config.store.folder is not None:  # without a key, PostgreSQL's own log has the pictures of tracks for a while
        assert face not in content
        with sqlite3.connect(Path(config.store.folder) / "store.sqlite") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def raw_files(store: Store) -> bytes:
    """The content of all files of a database, with its write-ahead log."""
    if store.folder is not None:
        folder = Path(store.folder)
    else:
        import psycopg

        with psycopg.connect(store.database(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        folder = Path(store.database().partition("host=")[2]) / "data"
    content = list[bytes]()
    for path in (path for path in folder.rglob("*") if path.is_file()):
        with suppress(FileNotFoundError):  # PostgreSQL writes some of its files again under the same name
            content.append(path.read_bytes())
    assert any("wal" in str(path) or path.name == "store.sqlite" for path in folder.rglob("*"))
    return b"".join(content)
