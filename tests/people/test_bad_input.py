"""What is wrong with images of people, over gRPC and from the command line: each file has its own answer."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from grpc import aio
from PIL import Image

from faceanalytics.v1 import gallery_pb2
from streamer.config import Store
from streamer.people import enrolling
from streamer.people.enrolling import Same
from streamer.people.stored import StoredReference
from streamer.values import Floats
from tests.people.test_bounds import png_bomb
from tests.support.archives import write_bomb, write_zip
from tests.support.painted_people import paint_person, person, write_image
from tests.support.recognising import recognising, settings
from tests.tools.test_people import Line

ADA, BOB = person(1), person(2)
NAMES = ("<script>alert(1)</script>", "'; DROP TABLE ledger; --", "[red]Ada[/red]", "%s%n{0}", "Ünïcødé 字")


def picture(who: tuple[tuple[int, int, int], ...]) -> Image.Image:
    pixels = np.full((480, 640, 3), 90, np.uint8)
    paint_person(pixels, who, 200, 200)
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def sixteen_bits(image: Image.Image) -> bytes:
    pixels = np.asarray(image, np.uint16)[:, :, ::-1] * 257
    return bytes(cv2.imencode(".png", pixels)[1])


def forms() -> dict[str, bytes]:
    """Ada in every form of file that people have."""
    ada, turned = picture(ADA), picture(ADA).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # it was turned by 90 degrees against the clock
    alpha = ada.convert("RGBA")
    return {
        "plain.jpg": saved(ada, "JPEG", quality=100, subsampling=0),
        "rotated.jpg": saved(turned, "JPEG", quality=100, subsampling=0, exif=exif),
        "cmyk.jpg": saved(ada.convert("CMYK"), "JPEG", quality=100, subsampling=0),
        "deep.png": sixteen_bits(ada),
        "alpha.png": saved(alpha, "PNG"),
        "palette.png": saved(ada.quantize(64), "PNG"),
        "animated.webp": saved(ada, "WEBP", save_all=True, append_images=[picture(BOB)], lossless=True),
        "animated.png": saved(ada, "PNG", save_all=True, append_images=[picture(BOB)]),
    }


async def test_every_form_of_image_is_read_and_whatever_else_is_refused_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = forms()
    wrong = {"empty.jpg": b"", "text.jpg": b"hello", "cut.jpg": files["plain.jpg"][:3000]}
    wrong["grey-cut.png"] = saved(picture(ADA).convert("L"), "PNG")[:200]
    wrong["bomb.png"] = png_bomb(tmp_path / "bomb.png", 60_000).read_bytes()
    wrong["200megapixels.png"] = png_bomb(tmp_path / "large.png", 14_200).read_bytes()
    write_zip(tmp_path / "all.zip", {**files, **wrong})
    write_bomb(tmp_path / "bomb.zip")
    (tmp_path / "empty.zip").write_bytes(b"")
    async with recognising(settings(tmp_path, Store(folder=str(tmp_path / "store")))) as client:
        people = Line(client.address, capsys)
        await people("add", "Ada", tmp_path / "all.zip", code=5)
        for name in wrong:
            assert f"{name}: " in people.errors, name
        assert all(f"{name}: no face" not in people.errors for name in files)
        (ada,) = (await client.gallery.ListPeople(gallery_pb2.ListPeopleRequest())).people
        asked = gallery_pb2.ListReferencesRequest(person_id=ada.person_id)
        there = {one.file_name for one in (await client.gallery.ListReferences(asked)).references}
        shown = await people("enrol", "Ada", tmp_path / "all.zip", code=5)
        for name in files:  # a reference of its own, or the same image as another one
            assert name in there or f"{name}: the same image is" in shown, name
        found = await client.gallery.SearchPeople(gallery_pb2.SearchPeopleRequest(image=saved(picture(ADA), "PNG")))
        assert found.people[0].person == "Ada"
        await people("enrol", "Ada", tmp_path / "bomb.zip", code=3)
        assert "as no picture does" in people.errors
        await people("enrol", "Ada", tmp_path / "empty.zip", code=3)
        await people("enrol", "Ada", tmp_path / "nothing.zip", code=3)
        assert "nothing.zip" in people.errors

        for name in NAMES:
            await people("add", name)
            assert name in await people("list", "--name", name)
        for name in ("a\x00b", "a\u202eb", "a\u2028b", "\u200e"):
            await people("add", name, code=2)
            assert "cannot be seen" in people.errors or "NUL character" in people.errors


async def test_two_clients_that_change_one_person_do_not_overwrite_each_other(tmp_path: Path) -> None:
    write_image(tmp_path / "ada.png", [ADA])
    async with recognising(settings(tmp_path, Store(folder=str(tmp_path / "store")))) as client:
        ada = await client.create("Ada")
        await client.add(ada.person_id, tmp_path / "ada.png")
        with pytest.raises(aio.AioRpcError) as late:
            await client.add(ada.person_id, tmp_path / "ada.png", expected_version=ada.version)
        assert late.value.code() is grpc.StatusCode.ABORTED
        new = gallery_pb2.Person(display_name="Eve")
        split = gallery_pb2.SplitPersonRequest(
            person_id=ada.person_id, reference_ids=["x"], new_person=new, expected_version=ada.version
        )
        with pytest.raises(aio.AioRpcError) as late:
            await client.gallery.SplitPerson(split)
        assert late.value.code() is grpc.StatusCode.ABORTED


async def test_a_person_who_is_full_refuses_images_without_reading_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolling, "MOST_REFERENCES", 2)
    pictures = []
    for number in range(30):
        write_image(tmp_path / f"{number}.png", [person(number + 1)])
        pictures.append(tmp_path / f"{number}.png")
    async with recognising(settings(tmp_path, Store(folder=str(tmp_path / "store")))) as client:
        ada = await client.create("Ada")
        first = (await client.add(ada.person_id, *pictures[:2])).results
        assert all(one.reference_id for one in first)
        read = []
        monkeypatch.setattr("streamer.people.images.Images._read", lambda *given: read.append(given))
        results = (await client.add(ada.person_id, *pictures)).results
        assert [bool(one.duplicate_of) for one in results] == [True] * 2 + [False] * 28
        assert all("the most a person may have" in one.reason for one in results[2:])
        assert not read


def reference(number: int, vector: Floats) -> StoredReference:
    details = {"digest": f"digest {number}"}
    return StoredReference(str(number), "p", "m", "IMAGE", 0.5, vector, True, details, datetime.now(UTC))


def test_the_same_image_is_found_among_all_references_by_file_and_by_face() -> None:
    same, vectors = Same("m", []), np.random.default_rng(1).normal(size=(200, 512)).astype(np.float32)
    for number, vector in enumerate(vectors):
        assert same.find("other", vector) == ""
        same.add(reference(number, vector))
    assert len(same) == 200
    assert same.find("other", vectors[7] * 3) == "7"
    assert same.find("digest 7", vectors[8]) == "7"
