"""Galleries in a file: from one streamer into another, from the command line, and what an erasure says of them."""

import json
from pathlib import Path

import grpc
import pytest
from grpc import aio

from faceanalytics.v1 import gallery_pb2, gallery_transfer_pb2
from streamer.access.token_file import TokenFile
from streamer.access.tokens import Scope, new_token, utc_now
from streamer.config import Store
from tests.support.guarded_server import bearer
from tests.support.painted_people import person, write_image, write_video
from tests.support.recognising import recognising, settings
from tests.tools.test_people import Line

ADA, BOB, EVE = person(1), person(2), person(7)
Request = gallery_transfer_pb2.ImportGalleryRequest


def store(folder: Path, name: str) -> Store:
    return Store(folder=str(folder / name))


async def test_a_gallery_goes_through_a_file_into_another_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, who in (("ada", ADA), ("bob", BOB)):
        write_image(tmp_path / f"{name}.png", [who])
    secret, file = tmp_path / "secret.txt", tmp_path / "all.fagallery"
    secret.write_text("correct horse battery\n")
    async with recognising(settings(tmp_path, store(tmp_path, "first"))) as client:
        people = Line(client.address, capsys)
        await people("add", "Ada", tmp_path / "ada.png", "--label", "staff", "--data", "room=7")
        await people("add", "Bob", tmp_path / "bob.png")
        await people("add", "Carl", tmp_path / "bob.png")
        shown = json.loads(await people("show", "Bob", "--json"))
        await people("set-aside", shown["references"][0]["reference_id"])
        await people("erase", "Carl", "--yes")
        written = await people("export", file, "--passphrase-file", secret)
        assert "2 people with 2 references, encrypted" in written
        await people("export", file, "--passphrase-file", secret, code=2)
        assert "exists already" in people.errors
        part = tmp_path / "staff.fagallery"
        for words, said in (
            (("--label", "staff"), "1 people with 1 references"),
            (("--label", "staff", "--person", "Bob"), "2 people"),
        ):
            assert said in await people("export", part, "--passphrase-file", secret, *words)
            part.unlink()
        bob = tmp_path / "bob.fagallery"
        assert "1 people" in await people("export", bob, "--passphrase-file", secret, "--person", "Bob")
        await people("export", part, "--passphrase-file", secret, "--label", "nobody", code=2)
        assert "nobody has the label" in people.errors
        assert not part.exists()
        content = file.read_bytes()
        assert b"Ada" not in content
        again = await people("import", file, "--passphrase-file", secret)
        assert again.startswith("0 people added, 2 known already; 0 references added, 2 known already")
        report = json.loads(await people("erase", "Ada", "--yes", "--json"))["report"]
        held = [(export["file_name"], export["actor"]) for export in report["exports"]]
        assert held == [(name, "anonymous") for name in ("all.fagallery", "staff.fagallery", "staff.fagallery")]
        assert report.get("found", []) == []
        await people("import", file, "--passphrase-file", secret, code=5)
        assert "was erased here" in people.errors  # an import never brings back who was erased
        assert "Ada" not in await people("list")
        fresh = json.loads(await people("add", "Dora", tmp_path / "ada.png", "--json"))
        erased = await people("erase", fresh["person"]["person_id"], "--yes", "--json")
        assert json.loads(erased)["report"]["exports"] == []  # she was in none
    async with recognising(settings(tmp_path, store(tmp_path, "second")), model_id="newer") as client:
        people = Line(client.address, capsys)
        secret.write_text("something else")
        await people("import", file, "--passphrase-file", secret, code=3)
        assert "the passphrase is wrong" in people.errors
        secret.write_text("correct horse battery")
        file.write_bytes(content[:-100])
        await people("import", file, "--passphrase-file", secret, code=3)
        assert "cut off" in people.errors
        assert await people("list") == "no id\n"  # nothing was imported
        file.write_bytes(content)
        done = await people("import", file, "--passphrase-file", secret)
        assert done == ("2 people added, 0 known already; 2 references added, 0 known already; 2 embedded again\n")
        listed = {
            one.display_name: one for one in (await client.gallery.ListPeople(gallery_pb2.ListPeopleRequest())).people
        }
        assert (list(listed["Ada"].labels), dict(listed["Ada"].metadata)) == (["staff"], {"room": "7"})
        assert (listed["Ada"].used_count, listed["Bob"].used_count) == (1, 0)  # set aside, still
        found = await client.gallery.SearchPeople(
            gallery_pb2.SearchPeopleRequest(image=(tmp_path / "ada.png").read_bytes())
        )
        assert found.people[0].person == "Ada"
        entry = (await client.gallery.ListLedger(gallery_pb2.ListLedgerRequest())).entries[0]
        assert entry.action == gallery_pb2.LEDGER_ACTION_IMPORT
        await people("undo", str(entry.entry_id))
        assert len((await client.gallery.ListPeople(gallery_pb2.ListPeopleRequest())).people) == 1


async def test_faces_without_pictures_need_the_same_weights(tmp_path: Path) -> None:
    write_video(tmp_path / "eve.mp4", {EVE: [(0, 40)]}, 40)
    async with recognising(settings(tmp_path, store(tmp_path, "first"))) as client:
        track = await client.play("door", tmp_path / "eve.mp4", loop=True)
        new = gallery_pb2.Person(display_name="Eve")
        await client.gallery.EnrollFromTrack(gallery_pb2.EnrollFromTrackRequest(track_id=track, new_person=new))
        call = client.gallery.ExportGallery(gallery_transfer_pb2.ExportGalleryRequest(file_name="x"))
        records = [answer.record async for answer in call]
        assert [one.WhichOneof("record") for one in records] == ["head", "person", "reference"]
        await client.stop("door")
    async with recognising(settings(tmp_path, store(tmp_path, "second")), model_id="newer") as client:

        async def refusal(*given: gallery_transfer_pb2.GalleryRecord) -> tuple[grpc.StatusCode, str]:
            with pytest.raises(aio.AioRpcError) as refused:
                await client.gallery.ImportGallery(iter([Request(record=one) for one in given]))
            return refused.value.code(), refused.value.details() or ""

        code, text = await refusal(*records)
        assert (code, "have no picture" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        head, eve, reference = records
        for wrong in ([eve, head], [head], [head, reference], [head, eve], [head, head], []):
            assert (await refusal(*wrong))[0] is grpc.StatusCode.INVALID_ARGUMENT
        for change in (
            {"quality": float("nan")},
            {"reference_id": "x"},
            {"embedding": [1.0]},
            {"face_jpeg": b"\xff\xd8no"},
        ):
            changed = gallery_transfer_pb2.GalleryRecord()
            changed.CopyFrom(reference)
            changed.reference.MergeFrom(gallery_transfer_pb2.GalleryReference(**change))
            assert (await refusal(head, eve, changed))[0] is grpc.StatusCode.INVALID_ARGUMENT, change
        assert not (await client.gallery.ListPeople(gallery_pb2.ListPeopleRequest())).people


async def test_an_export_needs_to_see_who_people_are(tmp_path: Path) -> None:
    tokens, made = TokenFile(tmp_path / "access"), {}
    for name, scopes in (("all", [Scope.ADMIN]), ("clerk", [Scope.ENROL])):
        made[name], token = new_token(name, scopes, (), None, utc_now())
        await tokens.add(token)
    config = settings(tmp_path, store(tmp_path, "store"), access={"folder": str(tmp_path / "access")})
    async with recognising(config, token=made["all"]) as client:
        request = gallery_transfer_pb2.ExportGalleryRequest(file_name="x")
        answers = [one async for one in client.gallery.ExportGallery(request, metadata=client.metadata)]
        assert answers[0].record.head.people == 0
        with pytest.raises(aio.AioRpcError, match="biometric"):
            _ = [one async for one in client.gallery.ExportGallery(request, metadata=bearer(made["clerk"]))]
