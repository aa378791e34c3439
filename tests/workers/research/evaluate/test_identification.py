"""Templates of IJB, and the search for a person among many."""

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.research.evaluate.identification import Templates, pair_scores, search


def features_of(
    template: list[int], medium: list[int], features: NDArray[np.float64]
) -> tuple[list[int], NDArray[np.float32]]:
    sums = Templates(np.array(template), np.array(medium), features.shape[1])
    half = len(features) // 2
    for rows in (np.arange(half), np.arange(half, len(features))):  # as batches come
        sums.add(rows, features[rows])
    templates, found = sums.features()
    return templates.tolist(), found


def test_images_of_one_medium_are_averaged_and_media_are_summed() -> None:
    features = np.array([[4.0, 0], [0, 2], [0, 6], [1, 1]])
    templates, found = features_of([7, 7, 7, 3], [1, 2, 2, 1], features)
    assert templates == [3, 7]
    assert found[0] == pytest.approx(np.array([1, 1]) / np.sqrt(2))
    assert found[1] == pytest.approx(np.array([4, 4]) / np.sqrt(32))  # (4, 0) + mean of (0, 2) and (0, 6)


def test_the_same_medium_in_two_templates_is_two_media() -> None:
    _, found = features_of([1, 2], [5, 5], np.array([[1.0, 0], [0, 1]]))
    assert found.tolist() == [[1, 0], [0, 1]]


def test_templates_follow_the_published_loop() -> None:
    random = np.random.default_rng(0)
    template, medium = random.integers(0, 9, 200), random.integers(0, 6, 200)
    features = random.normal(size=(200, 5))
    templates, found = features_of(template.tolist(), medium.tolist(), features)
    for number, row in zip(templates, found, strict=True):
        own = template == number
        media = [features[own & (medium == one)].mean(0) for one in np.unique(medium[own])]
        total = np.sum(media, 0)
        assert row == pytest.approx(total / np.linalg.norm(total), abs=1e-6)


def test_a_template_without_images_has_no_feature() -> None:
    sums = Templates(np.array([1, 2, 2]), np.array([1, 1, 2]), 2)
    sums.add(np.array([1]), np.array([[0.0, 3]]))
    templates, found = sums.features()
    assert (templates.tolist(), found.tolist()) == ([2], [[0, 1]])


def test_scores_of_pairs_are_cosines() -> None:
    features = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    assert pair_scores(features, np.array([0, 0, 1]), np.array([0, 1, 2])) == pytest.approx([1, 0, 0.8])


def at(*angles: float) -> NDArray[np.float64]:
    """Unit vectors."""
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], 1)


def test_ranks_count_only_probes_whose_person_is_in_the_gallery() -> None:
    gallery, subjects = at(0, 20, 40, 60, 80, 100), np.array([10, 11, 12, 13, 14, 15])
    probes, truth = at(5, 35, 3, 50.1), np.array([10, 11, 15, 99])
    found = search(gallery, subjects, probes, truth)
    # ranks: 1, 2 (after 40) and 6; the fourth is in no gallery
    assert (found.mated, found.others) == (3, 1)
    assert found.at_rank == pytest.approx({1: 1 / 3, 5: 2 / 3})


def test_tpir_takes_the_threshold_that_at_most_the_allowed_share_of_others_exceeds() -> None:
    gallery, subjects = at(0, 90), np.array([1, 2])
    others = np.linspace(10, 40, 20)  # distances in degrees from person 1, the nearest scores highest
    mated = [5.0, 10.5, 12.0, 30.0, 80.0]  # of person 1; the last one is nearer to person 2
    truth = np.array([1] * 5 + [50] * 20)
    found = search(gallery, subjects, at(*mated, *others), truth)
    # FPIR 0.01 of 20 allows none: above cos(10 degrees) is only the first
    # FPIR 0.1 allows two: the third is at 13.16 degrees, so three are above it
    assert found.tpir == pytest.approx({0.01: 1 / 5, 0.1: 3 / 5})


def test_without_others_there_is_no_false_alarm_to_limit() -> None:
    found = search(at(0, 90), np.array([1, 2]), at(1), np.array([1]))
    assert np.isnan(found.tpir[0.01])
    assert found.at_rank[1] == 1


def test_an_entry_as_near_as_ones_own_is_not_beaten() -> None:
    found = search(at(0, 0), np.array([1, 2]), at(0), np.array([1]))
    assert found.at_rank == {1: 0, 5: 1}


def test_many_probes_are_searched_in_parts() -> None:
    random = np.random.default_rng(0)
    gallery = random.normal(size=(50, 16))
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    truth = random.integers(0, 50, 3000)
    found = search(gallery, np.arange(50), gallery[truth], truth)
    assert found.at_rank[1] == 1


@pytest.mark.parametrize(("subjects", "reason"), [([1, 1], "one entry per subject"), ([1, 2], "none of the")])
def test_a_gallery_that_cannot_be_searched_is_an_error(subjects: list[int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        search(at(0, 90), np.array(subjects), at(0), np.array([7]))
