"""The ten-fold rules, true accepts at a rate of false ones, and pairs drawn from a set."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_curve
from sklearn.model_selection import KFold

from workers.research.evaluate.draw_pairs import draw_pairs
from workers.research.evaluate.verification import (
    FINE_THRESHOLDS,
    THRESHOLDS,
    folds_in_order,
    roc,
    squared_distances,
    tar_at_far,
    ten_fold,
    true_accepts,
)


def scattered(count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Squared distances of pairs, nearer for those of one person."""
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.5
    return np.clip(np.where(same, 1.0, 1.9) + random.normal(0, 0.35, count), 0, 4), same


def test_thresholds_are_the_published_ones() -> None:
    assert (len(THRESHOLDS), THRESHOLDS[0], round(THRESHOLDS[-1], 6)) == (400, 0, 3.99)
    assert (len(FINE_THRESHOLDS), round(FINE_THRESHOLDS[-1], 6)) == (4000, 3.999)


def test_distances_are_of_vectors_of_length_one() -> None:
    vectors = np.array([[3.0, 0], [0, 5], [-2, 0], [7, 7]])
    found = squared_distances(vectors, np.array([0, 0, 0, 0]), np.array([0, 1, 2, 3]))
    assert found == pytest.approx([0, 2, 4, 2 - np.sqrt(2)])


@pytest.mark.parametrize("count", [10, 6000, 947, 6001])
def test_folds_in_order_are_those_of_an_unshuffled_kfold(count: int) -> None:
    fold = folds_in_order(count)
    for number, (_, test) in enumerate(KFold(10, shuffle=False).split(np.zeros(count))):
        assert np.flatnonzero(fold == number).tolist() == test.tolist()


def test_fewer_pairs_than_folds_are_an_error() -> None:
    with pytest.raises(ValueError, match="9 pairs cannot be divided into 10 folds"):
        folds_in_order(9)


def test_a_threshold_is_chosen_on_the_other_folds_and_is_the_first_of_the_best() -> None:
    # the first fold is parted by thresholds from 0.51 to 1, the second by those from 1.51 to 2
    distances = np.array([0.5, 1.0, 1.5, 2.0])
    same = np.array([True, False, True, False])
    found = ten_fold(distances, same, np.array([0, 0, 1, 1]))
    # 1.51 accepts both pairs of the first fold, 0.51 none of the second
    assert found.thresholds == pytest.approx([1.51, 0.51])
    assert found.accuracies.tolist() == [0.5, 0.5]
    assert (found.accuracy, found.deviation) == (0.5, 0.0)


def test_a_pair_at_the_threshold_is_not_accepted() -> None:
    distances, same = np.array([0.0, 3.0, 0.0, 0.01]), np.array([True, False, True, False])
    found = ten_fold(distances, same, np.array([0, 0, 1, 1]))
    assert found.thresholds == pytest.approx([0.01, 0.01])
    assert found.accuracies.tolist() == [1, 1]


def test_ten_fold_accuracy_is_that_of_the_published_loop() -> None:
    distances, same = scattered(947)
    expected = []
    for train, test in KFold(10, shuffle=False).split(distances):
        shares = [((distances[train] < threshold) == same[train]).mean() for threshold in THRESHOLDS]
        best = THRESHOLDS[np.argmax(shares)]
        expected.append(((distances[test] < best) == same[test]).mean())
    found = ten_fold(distances, same)
    assert found.accuracies == pytest.approx(expected)
    assert (found.accuracy, found.deviation) == pytest.approx((np.mean(expected), np.std(expected)))
    assert 0.8 < found.accuracy < 0.95


def test_true_accepts_are_those_of_the_published_loop() -> None:
    distances, same = scattered(4000, seed=3)
    values, fars = [], []
    for train, test in KFold(10, shuffle=False).split(distances):
        others = distances[train][~same[train]]
        rates = np.array([(others < threshold).mean() for threshold in FINE_THRESHOLDS])
        place = np.flatnonzero(rates <= 1e-2)[-1]
        step = (1e-2 - rates[place]) / (rates[place + 1] - rates[place])
        threshold = FINE_THRESHOLDS[place] + step * (FINE_THRESHOLDS[place + 1] - FINE_THRESHOLDS[place])
        values.append((distances[test][same[test]] < threshold).mean())
        fars.append((distances[test][~same[test]] < threshold).mean())
    found = true_accepts(distances, same, 1e-2)
    assert found.rate == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values))
    assert found.false_accepts == pytest.approx(np.mean(fars))


def test_a_rate_that_is_never_reached_accepts_nothing() -> None:
    distances = np.array([0.1, 5.0] * 10)
    found = true_accepts(distances, np.array([True, False] * 10), 1e-3)
    assert (found.rate, found.false_accepts) == (0, 0)


def test_folds_of_impostors_only_have_no_rate_of_true_accepts() -> None:
    distances, same = np.array([0.1, 2.0, 2.0, 2.0]), np.array([True, False, False, False])
    assert true_accepts(distances, same, 0.5, np.array([0, 0, 1, 1])).rate == 1
    assert np.isnan(true_accepts(distances, np.zeros(4, np.bool_), 0.5, np.array([0, 0, 1, 1])).rate)


@pytest.mark.parametrize("decimals", [8, 1])  # without ties, and with many
def test_the_curve_has_the_points_of_scikit_learn(decimals: int) -> None:
    distances, same = scattered(3000)
    scores = np.round(-distances, decimals)
    false, true = roc(scores, same)
    expected_false, expected_true, _ = roc_curve(same, scores)
    assert false == pytest.approx(expected_false)
    assert true == pytest.approx(expected_true)


def test_true_accepts_are_taken_at_the_nearest_point_and_the_higher_of_two() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    same = np.array([True, False, True, True, False, False, True, False])
    # corners: (0, 0) (0, 1/4) (1/4, 1/4) (1/4, 3/4) (3/4, 3/4) (3/4, 1) (1, 1)
    assert tar_at_far(scores, same, [0.0, 0.1, 0.3, 0.5, 0.51]).tolist() == [0.25, 0.25, 0.75, 1.0, 1.0]


def test_true_accepts_follow_the_published_reading_of_scikit_learn() -> None:
    distances, same = scattered(5000, seed=5)
    false, true, _ = roc_curve(same, -distances)
    false, true = np.flipud(false), np.flipud(true)
    fars = [1e-4, 1e-3, 1e-2, 1e-1]
    expected = [true[np.argmin(abs(false - far))] for far in fars]
    assert tar_at_far(-distances, same, fars) == pytest.approx(expected)


def test_a_curve_needs_both_kinds_of_pairs() -> None:
    with pytest.raises(ValueError, match="pairs of one person and pairs of two persons"):
        roc(np.array([0.1, 0.2]), np.array([True, True]))


def people(*sizes: int) -> NDArray[np.int64]:
    """Identity of each face, persons mixed."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


def test_drawn_pairs_are_balanced_different_and_of_persons_of_one_fold_only() -> None:
    identity = people(*[1] * 300, *[2] * 200, *[9] * 40, 400)
    pairs = draw_pairs(identity, pairs=1000)
    assert len(pairs) == 1000
    assert (pairs.first != pairs.second).all()
    assert ((identity[pairs.first] == identity[pairs.second]) == pairs.same).all()
    assert len({frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}) == 1000
    seen: list[set[int]] = []
    for fold in range(10):
        own = pairs.at(pairs.fold == fold)
        assert (len(own), own.same.sum()) == (100, 50)
        seen.append(set(identity[own.first].tolist()) | set(identity[own.second].tolist()))
    assert sum(map(len, seen)) == len(set.union(*seen))
    assert (np.diff(pairs.fold) >= 0).all()
    assert folds_in_order(1000).tolist() == pairs.fold.tolist()


def test_persons_take_turns_in_giving_pairs() -> None:
    identity = people(*[2] * 20, *[40] * 10)
    pairs = draw_pairs(identity, pairs=60)  # three of each kind and fold: as many as persons
    given = identity[pairs.first[pairs.same]]
    assert sorted(given.tolist()) == list(range(30))


def test_the_seed_decides_the_pairs() -> None:
    identity = people(*[4] * 60)
    first, again, other = (draw_pairs(identity, 200, seed=seed) for seed in (1, 1, 2))
    assert first.first.tolist() == again.first.tolist()
    assert first.first.tolist() != other.first.tolist()


def test_a_small_set_gives_fewer_pairs_in_every_fold() -> None:
    pairs = draw_pairs(people(*[3] * 20))  # two persons a fold: 6 pairs of one, 9 of two
    assert np.bincount(pairs.fold).tolist() == [12] * 10
    assert pairs.same.sum() == 60


def test_faces_of_nobody_are_not_drawn() -> None:
    identity = np.append(np.full(500, -1), np.repeat(np.arange(20), 4))
    pairs = draw_pairs(identity, 100)
    assert min(pairs.first.min(), pairs.second.min()) >= 500


def test_too_few_persons_are_an_error() -> None:
    with pytest.raises(ValueError, match="too few to draw pairs from"):
        draw_pairs(people(5, 5, 5, 5))
