"""Who a face is: thresholds from stated rates, and decisions that need evidence and do not flicker."""

from collections.abc import Sequence

import numpy as np
import pytest

from faceanalytics.errors import ConfigError
from streamer.config import Gallery as Settings
from streamer.identity.gallery import EmbeddedReference, Gallery, cohort_scores, dissimilar_images
from streamer.identity.identification import EnrolledGallery, Identifier, Probe
from streamer.identity.impostors import threshold
from streamer.values import Floats, IdentityEstimate, IdentityReason, IdentityStatus, ImpostorScores
from tests.support.builders import evidence, summary

NAMES = ("ada", "bob", "cleo")


def axis(*parts: float) -> Floats:
    """A unit vector (512,) in the plane of the first axes."""
    vector = np.zeros(512, np.float32)
    vector[: len(parts)] = parts
    return vector / np.float32(np.linalg.norm(vector))


def gallery(model_id: str = "m") -> Gallery:
    """Three people, each on an axis of their own."""
    return Gallery(
        {name: [EmbeddedReference(name, name, axis(*np.eye(3)[row]), 0.9)] for row, name in enumerate(NAMES)}, model_id
    )


def decided(
    faces: Sequence[tuple[Floats, int]], quality: float = 0.9, model_id: str = "m", known: bool = True
) -> list[str]:
    """Name or status, reason and revision after each (template, samples) of one track, which then ends."""
    identifier = Identifier(Settings(min_samples=2, switch_searches=2))
    identifier.use(EnrolledGallery(gallery(), 0.5) if known else None)
    decisions = []
    for number, (face, samples) in enumerate(faces):
        identity = IdentityEstimate(face, None, 0, evidence(samples, quality))
        final = number == len(faces) - 1
        found = identifier.decide(summary(samples=samples, identity=identity, model_id=model_id, final=final))
        reason = f" {found.reason.value}" if found.reason else ""
        decisions.append(f"{found.person or found.status.value}{reason} {found.revision}")
    return decisions


ADA, BOB, STRANGER = axis(1, 0.2), axis(0, 1), axis(0.2, 0.2, 0.2, 1)
BETWEEN, FADING = axis(1, 0.97), axis(0.5, 0, 0, 0.95)  # cosines 0.72 and 0.70; 0.47 to ada


@pytest.mark.parametrize(
    ("faces", "decisions"),
    [
        ([(ADA, 1), (ADA, 2), (ADA, 3)], ["UNDECIDED TOO_LITTLE_EVIDENCE 1", "ada 2", "ada 2"]),
        ([(STRANGER, 2), (STRANGER, 4)], ["UNKNOWN BELOW_THRESHOLD 2"] * 2),
        ([(BETWEEN, 2), (ADA, 3), (ADA, 4), (ADA, 4)], ["UNDECIDED AMBIGUOUS 1"] * 2 + ["ada 2"] * 2),
        # a name stays for one search that says otherwise, also between searches, and goes with the second
        ([(ADA, 2), (BOB, 4), (BOB, 7), (BOB, 8), (BOB, 9)], ["ada 2", "ada 2", "ada 2", "bob 3", "bob 3"]),
        ([(ADA, 2), (BOB, 4), (ADA, 8), (BOB, 16), (ADA, 32)], ["ada 2"] * 5),
        ([(ADA, 2), (FADING, 4), (FADING, 8), (FADING, 16)], ["ada 2"] * 4),
        ([(ADA, 2), (STRANGER, 4), (STRANGER, 8)], ["ada 2", "ada 2", "UNKNOWN BELOW_THRESHOLD 3"]),
        # the search at the end counts as any other
        ([(STRANGER, 2), (ADA, 4), (ADA, 5)], ["UNKNOWN BELOW_THRESHOLD 2", "UNKNOWN NOT_CONFIRMED 2", "ada 3"]),
        ([(FADING, 2), (FADING, 4)], ["UNKNOWN BELOW_THRESHOLD 2"] * 2),
    ],
)
def test_a_decision_needs_evidence_and_stays_until_searches_agree_on_another(
    faces: list[tuple[Floats, int]], decisions: list[str]
) -> None:
    assert decided(faces) == decisions


def test_nobody_is_named_by_poor_crops_without_a_gallery_or_by_that_of_another_model() -> None:
    faces = [(ADA, 2), (ADA, 4)]
    assert decided(faces, quality=0.1) == ["UNDECIDED TOO_LITTLE_EVIDENCE 1"] * 2
    assert decided(faces, known=False) == ["UNDECIDED GALLERY_NOT_READY 1"] * 2
    assert decided(faces, model_id="other") == ["UNDECIDED GALLERY_NOT_READY 1"] * 2


def test_a_track_is_decided_again_by_a_new_gallery_and_after_a_change_of_model() -> None:
    identifier = Identifier(Settings())
    seen = summary(samples=4, identity=IdentityEstimate(ADA, None, 0, evidence(4, 0.9)), model_id="m")
    assert identifier.decide(seen).status is IdentityStatus.UNDECIDED
    identifier.use(EnrolledGallery(gallery(), 0.5))
    found = identifier.decide(seen)
    assert (found.person, found.samples, found.threshold, len(found.candidates)) == ("ada", 4, 0.5, 3)
    assert found.candidates[0].similarity == pytest.approx(0.98, abs=0.01)
    assert found.margin == pytest.approx(0.78, abs=0.01)
    other = summary(samples=1, identity=IdentityEstimate(BOB, None, 0, evidence(1, 0.9)), model_id="n")
    again = identifier.decide(other)
    assert (again.status, again.revision) == (IdentityStatus.UNDECIDED, found.revision + 1)


def test_tracks_of_a_visitor_who_is_somebody_else_are_evidence_against_a_name_and_not_against_keeping_it() -> None:
    others = [axis(0.3, 0, 0, 1), axis(0.1, 0, 0, 1)]  # cosines 0.29 and 0.10 to ada: 0.2 is needed more
    identity = IdentityEstimate(axis(1, 0, 0, 1.2), None, 0, evidence(4, 0.9))  # 0.64 to ada
    seen = summary(samples=4, identity=identity, model_id="m")
    identifier = Identifier(Settings(), lambda *_: np.stack(others))
    identifier.use(EnrolledGallery(gallery(), 0.5))
    found = identifier.decide(seen)
    assert (found.status, found.reason) == (IdentityStatus.UNDECIDED, IdentityReason.LOOK_ALIKE)
    assert found.required == pytest.approx(0.80, abs=0.01)
    assert (found.candidates[0].person, round(found.candidates[0].similarity, 2)) == ("ada", 0.64)
    alike = Identifier(Settings(), lambda *_: np.stack([axis(1, 0, 0, 0.5)]))
    alike.use(EnrolledGallery(gallery(), 0.5))
    named = alike.decide(seen)
    assert (named.person, named.required) == ("ada", None)
    probe = Probe(axis(1, 0, 0, 1.2), 4, 0.9, ("t1",), np.stack(others))
    assert identifier.decide_past(named, probe).person == "ada"


def people(count: int, images: int, seed: int) -> dict[str, list[EmbeddedReference]]:
    """People of random directions, their images around them."""
    random = np.random.default_rng(seed)
    found = {}
    for person in range(count):
        centre = random.normal(size=32)
        faces = np.zeros((images, 512), np.float32)
        faces[:, :32] = centre + 0.6 * random.normal(size=(images, 32))
        found[f"person {seed} {person}"] = [
            EmbeddedReference("", f"{row}.jpg", face, 0.8) for row, face in enumerate(faces)
        ]
    return found


@pytest.mark.parametrize(("size", "rate"), [(3, 0.01), (30, 0.05), (100, 0.1)])
def test_the_threshold_keeps_the_stated_rate_for_the_gallery_s_size(size: int, rate: float) -> None:
    enrolled = Gallery(people(size, 3, 1), "m")
    impostors = cohort_scores(Gallery(people(400, 3, 2), "m"), enrolled, "the cohort")
    assert (impostors.people, impostors.pairs) == (400, 400 * 399 // 2 + 400 * size)
    cosine = threshold(impostors, rate, size, "gallery.false_accept_rate")
    strangers = Gallery(people(4000, 1, 3), "m").templates
    measured = float((enrolled.scores(strangers).max(axis=1) >= cosine).mean())
    assert measured == pytest.approx(rate, rel=0.5)
    assert threshold(impostors, rate, 10 * size, "") > cosine


def test_a_cohort_that_is_too_small_says_what_is_possible() -> None:
    with pytest.raises(ConfigError, match=r"3 pairs of 3 people are too few .* at least 5 people"):
        cohort_scores(Gallery(people(3, 2, 1), "m"), Gallery({}, "m"), "the cohort")
    impostors = cohort_scores(Gallery(people(60, 2, 1), "m"), Gallery({}, "m"), "the cohort")
    with pytest.raises(ConfigError, match=r"1770 of 60 people\. Possible is 0\.056 or more") as refused:
        threshold(impostors, 0.001, 10, "gallery.false_accept_rate")
    assert "gallery.false_accept_rate: 0.001 with 10 people" in str(refused.value)
    assert "a cohort of 448 people" in str(refused.value)
    assert threshold(impostors, 0.056, 10, "") < 1


def test_people_with_few_images_do_not_make_strangers_look_less_alike() -> None:
    many, one = people(30, 6, 4), people(60, 1, 5)
    mixed = cohort_scores(Gallery({**many, **one}, "m"), Gallery({}, "m"), "the cohort", plain=True)
    assert (mixed.people, mixed.pairs) == (90, 30 * 29 // 2 + 30 * 60)
    alone = cohort_scores(Gallery(one, "m"), Gallery({}, "m"), "the cohort", plain=True)
    assert alone.pairs == 60 * 59 // 2
    assert threshold(mixed, 0.05, 1, "") > threshold(alone, 0.05, 1, "")


def test_a_table_that_is_no_distribution_is_refused() -> None:
    shares, cosines = np.array([0.01, 0.1, 1]), np.array([0.4, 0.3, -0.5])
    assert threshold(ImpostorScores(1000, 50, shares, cosines, "card"), 0.05, 1, "") == 0.4
    for wrong in (shares[::-1], shares * [0.5, 1, 1], shares * 2):
        with pytest.raises(ValueError, match="shares"):
            ImpostorScores(1000, 50, wrong, cosines, "card")


def test_images_and_people_that_confuse_are_found() -> None:
    twin = [EmbeddedReference("", "1.jpg", axis(1, 0.1), 0.9), EmbeddedReference("", "2.jpg", axis(1, 0, 0.1), 0.9)]
    stray = EmbeddedReference("", "3.jpg", axis(0, 0, 0, 1), 0.9)
    enrolled = Gallery({"ada": twin, "eve": [*twin, stray], "bob": [EmbeddedReference("", "4.jpg", BOB, 0.5)]}, "m")
    assert [pair[:2] for pair in enrolled.similar_pairs(0.6)] == [("ada", "eve")]
    assert [name for name, _ in dissimilar_images([*twin, stray], 0.6)] == ["3.jpg"]
    # the stray image pulls the mean away, but the exemplars still say who it is
    assert enrolled.search(axis(0, 0, 0, 1), 1)[0].person == "eve"
    assert enrolled.search(axis(0, 0, 0, 1), 1)[0].similarity == pytest.approx(0.9, abs=0.01)
