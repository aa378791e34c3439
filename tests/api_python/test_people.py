"""The people of a streamer in Python, with asyncio and without, against a real one."""

import asyncio
from pathlib import Path

import cv2
import numpy as np
import pytest

import faceanalytics as fa
from faceanalytics import aio
from faceanalytics.connection import People
from faceanalytics.people_calls import AioPeople
from streamer.config import Store
from tests.support.archives import write_zip
from tests.support.painted_people import person, write_image, write_video
from tests.support.recognising import recognising, settings

ADA, BOB, EVE = person(1), person(2), person(7)


async def test_people_are_enrolled_corrected_split_searched_and_erased(tmp_path: Path) -> None:
    for name, who in (("ada", [ADA]), ("bob", [BOB]), ("eve", [EVE]), ("two", [ADA, BOB])):
        write_image(tmp_path / f"{name}.png", who)
    write_video(tmp_path / "eve.mp4", {EVE: [(0, 8)]}, 8)
    write_video(tmp_path / "both.mp4", {ADA: [(0, 3)], BOB: [(0, 3)]}, 3)
    photos = {"bob.png": (tmp_path / "bob.png").read_bytes(), "inner.zip": b"PK", "notes.txt": b"x"}
    write_zip(tmp_path / "photos.zip", photos)
    config = settings(tmp_path, Store(folder=str(tmp_path / "store")))
    async with recognising(config) as client, aio.connect(client.address) as streamer:
        people = streamer.people
        ada = await people.create("Ada", labels=["staff"], metadata={"room": "7"})
        assert (ada.display_name, ada.labels, ada.metadata) == ("Ada", ("staff",), {"room": "7"})
        pixels = np.asarray(cv2.imread(str(tmp_path / "ada.png")), np.uint8)
        done = await people.enrol(ada.person_id, pixels, tmp_path / "two.png", tmp_path / "both.mp4")
        array, two, both = done.results
        assert (done.added, array.reference_id is not None) == (1, True)
        assert len(two.faces) == 2
        assert [face.track for face in both.faces] == [1, 2]
        zipped = await people.enrol(ada.person_id, tmp_path / "photos.zip", (tmp_path / "ada.png").read_bytes())
        assert zipped.added == 1  # bob's; ada's is there already
        assert [one.duplicate_of is not None for one in zipped.results] == [False, True, False]
        assert "archive within" in (zipped.results[2].reason or "")
        mixed = [one.reference_id for one in await people.references(ada.person_id)]
        split = await people.split(ada.person_id, references=mixed[1:], new="Bob")
        assert split.other is not None
        assert (split.other.display_name, split.other.reference_count) == ("Bob", 1)
        track = await client.play("door", tmp_path / "eve.mp4", loop=True)
        said = await people.enrol_track(track, new="Eve")
        await client.until_named(track, "Eve")
        assert said.person is not None
        dry = await people.reject(track, dry_run=True)
        assert [(one.before.person if one.before else None, one.after.person) for one in dry.changes] == [("Eve", None)]
        await people.reject(track, said.person.person_id)
        await client.until_named(track, "")
        await people.undo((await people.ledger(limit=1))[0].entry_id)
        await client.until_named(track, "Eve")
        await people.confirm(track, said.person.person_id)
        found = await people.search(tmp_path / "eve.png")
        assert found.people[0].person == "Eve"
        assert (await people.search(track_id=track)).people[0].person == "Eve"
        updated = await people.update(said.person.person_id, name="Eva", expected_version=0)
        with pytest.raises(fa.StreamerError) as changed:
            await people.update(said.person.person_id, name="Evi", expected_version=said.person.version)
        assert (changed.value.code, changed.value.reason) == ("ABORTED", "PERSON_CHANGED")
        assert await people.export(tmp_path / "all.fagallery", "correct horse battery") == (3, 3 + 1)
        merged = await people.merge(ada.person_id, updated.person_id)
        assert merged.entry_id
        report = await people.erase(ada.person_id)
        assert report.found == ()
        assert [one["file_name"] for one in report.exports] == ["all.fagallery"]
        counts = await people.import_gallery(tmp_path / "all.fagallery", "correct horse battery")
        assert (counts["added_people"], len(counts["refused"])) == (0, 2)
        assert [one.display_name for one in await people.list()] == ["Bob"]
        await people.create("Jacob", labels=["Night shift"])
        await people.create("OBrien")
        named = await people.list(text="ob")
        assert [one.display_name for one in named] == ["OBrien", "Bob", "Jacob"]
        assert [one.display_name for one in await people.list(text="NIGHT")] == ["Jacob"]
        assert await people.list(text="nowhere") == []
        for call in (
            people.split("x"),
            people.search(),
            people.update("x"),
            people.enrol_track("x", person_id="x", new="x"),
        ):
            with pytest.raises(fa.ConfigError):
                await call

        def blocking() -> None:
            with fa.connect(client.address) as connected:
                (bob,) = connected.people.list(labels=[], text="Bob")
                assert connected.people.get(bob.person_id) == bob
                connected.people.enrol(bob.person_id, tmp_path / "bob.png")
                with pytest.raises(fa.StreamerError, match="NOT_FOUND"):
                    connected.people.get("nobody")
                with pytest.raises(fa.InputError):
                    connected.people.enrol(bob.person_id, tmp_path / "none.zip")
            connected.close()
            with pytest.raises(RuntimeError, match="closed"):
                connected.people.list()

        (tmp_path / "none.zip").write_bytes(b"PK\x03\x04")
        await asyncio.to_thread(blocking)


def test_both_clients_have_the_same_calls() -> None:
    names = {name for name in vars(AioPeople) if not name.startswith("_")}
    assert {name for name in vars(People) if not name.startswith("_")} == names
    assert all(getattr(People, name).__doc__ == getattr(AioPeople, name).__doc__ for name in names)
