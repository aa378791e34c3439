"""What is wrong in a gallery is found, by the same numbers as a naive computation gives, and good references are not
accused."""

import numpy as np
import pytest

from streamer.identity import gallery as gallery_module
from streamer.identity.gallery import EmbeddedReference, Gallery, exemplars_of, template
from streamer.identity.health import Doubt, Verdict, confusable, doubtful
from streamer.identity.left_out import leave_one_out
from streamer.values import ImpostorScores
from tests.support.made_people import images_of, strangers_table

People = dict[str, list[EmbeddedReference]]


@pytest.fixture(scope="module")
def known() -> ImpostorScores:
    return strangers_table()


def score(one: list[EmbeddedReference], probe: np.ndarray) -> float:
    """As the gallery does, without any of its matrices."""
    length = float(np.linalg.norm(np.mean([unit(each) for each in one], axis=0)))
    apart = 1 - float(np.linalg.norm(np.mean(exemplars_of(one), axis=0)))
    to_exemplar = max(float(each @ probe) for each in exemplars_of(one))
    return float(max(float(template(one) @ probe) * length ** (1 / 3), to_exemplar - 0.04 - 0.25 * apart))


def unit(image: EmbeddedReference) -> np.ndarray:
    return image.embedding.astype(np.float64) / np.linalg.norm(image.embedding)


@pytest.mark.parametrize("seed", range(3))
def test_leaving_one_out_gives_what_a_gallery_without_it_gives(seed: int) -> None:
    people = images_of(9, 8, seed)
    people["p0"] = people["p0"][:1]
    people["p1"] = people["p1"][:2]
    found = leave_one_out(Gallery(people, "m"), people)
    assert [one.reference for one in found] == [image.name for name in sorted(people) for image in people[name]]
    for one in found:
        (image,) = (image for image in people[one.person] if image.name == one.reference)
        rest = [each for each in people[one.person] if each is not image]
        others = {name: score(some, unit(image)) for name, some in people.items() if name != one.person}
        best = max(others, key=lambda name: others[name])
        assert one.other == best
        assert one.other_score == pytest.approx(others[best], abs=1e-5)
        assert one.own is None if not rest else one.own == pytest.approx(score(rest, unit(image)), abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_pairs_are_all_that_reach_the_threshold(seed: int, known: ImpostorScores) -> None:
    people = images_of(40, 3, seed)
    threshold = 0.2
    gallery = Gallery(people, "m")
    found = {(one.one, one.other): one for one in confusable(gallery, people, threshold, known)}
    assert {(one, other) for one, other, _ in gallery.similar_pairs(threshold)} == set(found)
    for (one, other), pair in found.items():
        both = score(people[one], template(people[other])), score(people[other], template(people[one]))
        assert pair.score == pytest.approx(max(both), abs=1e-5)


def test_a_large_gallery_is_searched_by_its_index_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    people = images_of(60, 4, 5)
    probes = np.stack([unit(some[0]) for some in people.values()]).astype(np.float32)
    places, scores = Gallery(people, "m").nearest(probes, 4)
    monkeypatch.setattr(gallery_module, "COARSE_FROM", 10)
    again, same = Gallery(people, "m").nearest(probes, 4)
    assert (again == places).all()
    assert np.allclose(same, scores, atol=1e-5)


def test_what_is_planted_is_found_and_the_good_are_not_accused(known: ImpostorScores) -> None:
    people = images_of(20, 5, 7)
    bob_in_ada = EmbeddedReference("p0", "wrong", images_of(2, 6, 7)["p1"][5].embedding, 0.9)
    stranger = EmbeddedReference("p2", "stranger", images_of(1, 1, 99)["p0"][0].embedding, 0.9)
    people["p0"] = [*people["p0"], bob_in_ada]
    people["p2"] = [*people["p2"], stranger]
    people["twice"] = [
        EmbeddedReference("twice", f"t{n}", one.embedding, 0.5) for n, one in enumerate(people["p4"][3:])
    ]
    people["p4"] = people["p4"][:3]
    people["same image"] = [EmbeddedReference("same image", "copy", people["p6"][0].embedding, 0.5)]
    gallery, threshold = Gallery(people, "m"), 0.5
    pairs = confusable(gallery, people, threshold, known)
    assert {(one.one, one.other): (one.verdict, one.pulling) for one in pairs} == {
        ("p0", "p1"): (Verdict.LOOK_ALIKE, ("wrong",)),
        ("p4", "twice"): (Verdict.PROBABLY_SAME, ()),
        ("p6", "same image"): (Verdict.SAME_IMAGE, ()),
    }
    left = leave_one_out(gallery, people)
    found = {one.left.reference: one for one in doubtful(left, pairs, people, threshold, known)}
    assert set(found) == {"wrong", "stranger"}
    assert set(found["wrong"].doubts) == {Doubt.UNLIKE_OTHERS, Doubt.RESEMBLES_OTHER, Doubt.PULLS_TOGETHER}
    assert found["stranger"].doubts == (Doubt.UNLIKE_OTHERS,)
    assert all(one.aside for one in found.values())


def test_no_person_loses_more_than_half_of_the_references(known: ImpostorScores) -> None:
    two = [some[0].embedding for some in images_of(2, 1, 3).values()]
    opposite = [vector for one in two for vector in (1.1 * one, -one)]
    mixed = [EmbeddedReference("mixed", f"m{number}", one, 0.5) for number, one in enumerate(opposite)]
    people = images_of(5, 4, 11) | {"mixed": mixed}
    gallery = Gallery(people, "m")
    pairs = confusable(gallery, people, 0.5, known)
    found = doubtful(leave_one_out(gallery, people), pairs, people, 0.5, known)
    assert {one.left.person for one in found} == {"mixed"}
    assert sum(one.aside for one in found) == 2


def test_a_person_whose_images_have_just_gone_is_in_no_pair(known: ImpostorScores) -> None:
    (images,) = images_of(1, 3, 0).values()
    gallery = Gallery({"one": images, "other": images}, "m")
    assert len(confusable(gallery, {"one": images, "other": images}, 0.5, known)) == 1
    assert confusable(gallery, {"one": images}, 0.5, known) == []


def test_an_empty_gallery_and_single_references_are_no_problem(known: ImpostorScores) -> None:
    assert leave_one_out(Gallery({}, "m"), {}) == []
    people = images_of(2, 1, 0)
    left = leave_one_out(Gallery(people, "m"), people)
    assert [one.own for one in left] == [None, None]
    assert doubtful(left, [], people, 0.5, known) == []
