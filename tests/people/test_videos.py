"""References from videos: a few pictures of one person, never of two, and the faces when there are several."""

from pathlib import Path

import numpy as np
from PIL import Image

from faceanalytics.v1 import gallery_pb2
from streamer.config import Store
from tests.support.archives import write_zip
from tests.support.painted_people import paint_person, person, write_image, write_video
from tests.support.recognising import Client, recognising, settings

ADA, EVE = person(1), person(7)


def write_gif(path: Path, frames: int) -> None:
    """An animation of ada."""
    pictures = []
    for number in range(frames):
        pixels = np.full((480, 640, 3), 90, np.uint8)
        paint_person(pixels, ADA, 200 + number, 100)
        pictures.append(Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])))
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=200)


async def named(client: Client, who: str, image: Path) -> str:
    """Who is found for an image, if it is similar enough."""
    found = await client.gallery.SearchPeople(gallery_pb2.SearchPeopleRequest(image=image.read_bytes()))
    best = found.people[0]
    return best.person if best.similarity >= found.threshold else ""


async def test_a_video_of_one_person_gives_references_and_one_of_two_people_shows_both(tmp_path: Path) -> None:
    write_video(tmp_path / "ada.mp4", {ADA: [(0, 3)]}, 3)
    write_video(tmp_path / "both.mp4", {ADA: [(0, 4)], EVE: [(1, 4)]}, 4)
    write_video(tmp_path / "cut.mp4", {ADA: [(0, 2)], EVE: [(3, 5)]}, 5)
    write_video(tmp_path / "nobody.mp4", {}, 2)
    for name, who in (("ada", ADA), ("eve", EVE)):
        write_image(tmp_path / f"{name}.png", [who])
    write_gif(tmp_path / "moving.gif", 8)
    write_gif(tmp_path / "still.gif", 1)
    following = {"lost_s": 0.5, "max_gap_s": 1.0}
    config = settings(tmp_path, Store(folder=str(tmp_path / "store")), track=following)
    async with recognising(config) as client:
        ada = await client.create("Ada")
        answer = await client.add(ada.person_id, tmp_path / "ada.mp4")
        assert answer.results
        assert all(one.reference_id and one.file_name.startswith("ada.mp4 at ") for one in answer.results)
        assert 0 <= answer.results[0].at.ToMilliseconds() < 3000
        again = await client.add(ada.person_id, tmp_path / "ada.mp4")
        assert all(one.duplicate_of for one in again.results)  # the same pictures are chosen
        assert again.person.reference_count == answer.person.reference_count

        eve = await client.create("Eve")
        for name in ("both.mp4", "cut.mp4"):
            (refused,) = (await client.add(eve.person_id, tmp_path / name)).results
            assert refused.reason.startswith("it shows 2 people: choose one"), refused.reason
            assert [one.track for one in refused.faces] == [1, 2]
            first, second = refused.faces
            assert second.box.y - first.box.y > 100  # their rows
            assert second.first_seen.ToMilliseconds() >= first.first_seen.ToMilliseconds() + 500
        chosen = await client.add(eve.person_id, tmp_path / "cut.mp4", track=2)
        assert all(one.reference_id and one.at.ToMilliseconds() >= 3000 for one in chosen.results)
        assert await named(client, "Eve", tmp_path / "eve.png") == "Eve"
        assert await named(client, "Ada", tmp_path / "ada.png") == "Ada"
        assert "no face 3" in (await client.add(eve.person_id, tmp_path / "cut.mp4", track=3)).results[0].reason
        strict = await client.add(eve.person_id, tmp_path / "both.mp4", judgement=gallery_pb2.JUDGEMENT_STRICT, track=2)
        (one,) = strict.results
        assert one.reference_id or one.duplicate_of or "strict asks for" in one.reason

        (tmp_path / "broken.mp4").write_bytes((tmp_path / "ada.mp4").read_bytes()[:900])
        (tmp_path / "photos.zip").write_bytes(write_zip(tmp_path / "x.zip", {"1.png": b"x"}).read_bytes())
        (tmp_path / "empty.jpg").write_bytes(b"")
        names = ("nobody.mp4", "broken.mp4", "photos.zip", "empty.jpg", "still.gif", "moving.gif")
        other = await client.create("Other")
        results = (await client.add(other.person_id, *(tmp_path / name for name in names))).results
        nobody, broken, archive, empty, still, *moving = results
        assert nobody.reason == "no face is found in it"
        assert broken.reason
        assert str(tmp_path) not in broken.reason
        assert "unpacks it" in archive.reason
        assert "empty" in empty.reason
        assert still.reference_id
        assert not still.HasField("at")
        assert all(one.file_name.startswith("moving.gif at ") for one in moving)
