"""A gallery without a streamer: enrolled from images and a video, asked, saved and loaded."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import faceanalytics as fa
from tests.support.photographs import make_gallery, portrait


@pytest.fixture(scope="module")
def gallery() -> fa.Gallery:
    return fa.Gallery()


def test_people_are_enrolled_identified_saved_and_loaded(gallery: fa.Gallery, folder: Path, tmp_path: Path) -> None:
    assert gallery.identify(portrait())[0].decision.status == "UNKNOWN"  # nobody is in it
    (done,) = gallery.enrol("Eileen", portrait())
    assert done.reference_id
    (again,) = gallery.enrol("Eileen", portrait())
    assert again.duplicate_of == done.reference_id
    taken = gallery.enrol("Eileen", folder / "clip.mp4")
    assert taken
    assert all(one.reference_id or one.duplicate_of for one in taken)
    (nothing,) = gallery.enrol("Nobody", np.zeros((64, 64, 3), np.uint8))
    assert nothing.reason == "no face is found in it"
    assert list(gallery.people) == ["Eileen"]
    (face,) = gallery.identify(portrait())
    assert (face.decision.status, face.decision.person) == ("IDENTIFIED", "Eileen")
    assert face.decision.candidates[0].similarity > 0.8
    whole = cv2.imread(str(portrait()))
    assert whole is not None
    both = np.concatenate(
        [whole, whole[::2, ::2].repeat(2, 0).repeat(2, 1)[: len(whole)]], axis=1
    )  # the second is poorer
    once = gallery.identify(both)
    assert sorted((one.box.x > whole.shape[1], one.decision.status, one.decision.reason) for one in once) == [
        (False, "IDENTIFIED", None),
        (True, "UNDECIDED", "SAME_FRAME"),
    ]
    before, gallery.twins = gallery.twins, frozenset({"Eileen"})
    assert [one.decision.person for one in gallery.identify(both)] == ["Eileen", "Eileen"]
    gallery.twins = before
    (seen,) = gallery.identify_video(folder / "clip.mp4")
    assert (seen.number, seen.decision.person) == (1, "Eileen")
    assert seen.last_seen_s > seen.first_seen_s

    file = tmp_path / "people.fagallery"
    gallery.save(file, "correct horse battery")
    gallery.remove("Eileen")
    with pytest.raises(KeyError):
        gallery.remove("Eileen")
    assert len(gallery) == 0
    with pytest.raises(fa.InputError, match="passphrase is wrong"):
        gallery.load(file, "wrong horse battery")
    gallery.load(file, "correct horse battery")
    gallery.load(file, "correct horse battery")  # nobody is there twice
    assert gallery.people == {"Eileen": 1 + sum(one.reference_id is not None for one in taken)}
    assert gallery.identify(portrait())[0].decision.person == "Eileen"
    with pytest.raises(fa.ConfigError, match="exists already"):
        gallery.save(file, "correct horse battery")


def test_a_folder_is_enrolled_at_once(gallery: fa.Gallery, tmp_path: Path) -> None:
    make_gallery(tmp_path / "people")
    (person,) = [path for path in (tmp_path / "people").iterdir() if path.is_dir()][:1]
    results = gallery.enrol(person.name, person)
    assert results
    with pytest.raises(fa.InputError):
        gallery.identify(tmp_path / "none.png")
