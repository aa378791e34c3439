"""Costs of pairs, and the cheapest pairing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from streamer.boxes import iou
from streamer.track.association import Pairing, Pairs, by_likelihood, by_overlap
from streamer.track.kalman import Doubles, corners


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.floats(0.05, 0.9))
def test_the_pairing_costs_as_little_as_one_over_all_pairs(seed: int, tracks: int, boxes: int, share: float) -> None:
    """Those without a rival are paired apart from the rest, which must not make it worse."""
    random = np.random.default_rng(seed)
    table = np.where(random.random((tracks, boxes)) < share, random.uniform(-1, 0, (tracks, boxes)), 0)
    left, right = np.nonzero(table)
    pairing = Pairing(tracks, boxes, linear_sum_assignment)
    pairing.match(np.ones(tracks, bool), np.ones(boxes, bool), lambda *_: Pairs(left, right, table[left, right]))
    (paired,) = np.nonzero(pairing.detection >= 0)
    chosen = pairing.detection[paired]
    assert len(set(chosen.tolist())) == len(chosen)
    assert (table[paired, chosen] < 0).all()
    np.testing.assert_allclose(table[paired, chosen].sum(), table[linear_sum_assignment(table)].sum())
    assert pairing.left == boxes - len(chosen) == np.count_nonzero(pairing.free)


def test_what_is_paired_in_one_stage_is_not_there_in_the_next() -> None:
    pairing = Pairing(3, 3, linear_sum_assignment)
    asked: list[list[list[int]]] = []

    def first_of_both(rows: np.ndarray, columns: np.ndarray) -> Pairs:
        asked.append([rows.tolist(), columns.tolist()])
        return Pairs(np.array([0]), np.array([0]), np.array([-1.0]))

    some, every = np.array([True, False, True]), np.ones(3, bool)
    pairing.match(some, every, first_of_both)
    pairing.match(every, some, first_of_both)
    assert asked == [[[0, 2], [0, 1, 2]], [[1, 2], [2]]]
    assert pairing.detection.tolist() == [0, 2, -1]


def test_overlapping_pairs_are_those_of_the_whole_table() -> None:
    random = np.random.default_rng(1)
    low = random.uniform(0, 300, (2, 60, 2))
    first, second = np.concatenate([low, low + random.uniform(10, 120, low.shape)], axis=2)
    expected_gain = random.uniform(0.3, 1, 60)
    pairs = by_overlap(first.T, second.T, expected_gain, 0.8)
    table = 1 - iou(first, second) * expected_gain
    left, right = np.nonzero(table < 0.8)
    assert (pairs.tracks.tolist(), pairs.detections.tolist()) == (left.tolist(), right.tolist())
    np.testing.assert_allclose(pairs.costs, table[left, right] - 0.8)


def pairs_of(shift: float, away: float, speed: float = 0.0, ratio: float = 1.0, side: float = 50.0) -> Pairs:
    """A face (px) seen `away` s ago, and one `shift` sides beside the prediction, `ratio` times as large."""
    places: Doubles = np.array([[[100.0], [100.0]], [[side], [side]]])
    found: Doubles = np.array([[[100.0 + shift * side], [100.0]], [[ratio * side], [ratio * side]]])
    return by_likelihood(places, np.full((2, 1), speed * side), np.array([away]), found)


@pytest.mark.parametrize(
    ("nearer", "further"),
    [
        (pairs_of(0.2, 0.5), pairs_of(0.4, 0.5)),
        (pairs_of(0.2, 0.5), pairs_of(0.2, 0.5, ratio=1.3)),
        (pairs_of(0.0, 0.2), pairs_of(0.0, 1.0)),
        (pairs_of(0.8, 0.5, speed=2.0), pairs_of(0.8, 0.5)),
    ],
)
def test_likelier_is_what_is_nearer_of_the_same_size_or_not_long_gone(nearer: Pairs, further: Pairs) -> None:
    assert len(nearer.costs) == 1
    assert not len(further.costs) or nearer.costs[0] < further.costs[0]


def test_a_face_may_be_further_away_the_longer_it_was_gone_and_the_larger_it_is() -> None:
    assert len(pairs_of(1.5, 0.05).costs) == 0
    assert len(pairs_of(1.5, 0.6).costs) == 1
    assert len(pairs_of(6.0, 0.6).costs) == 0
    small, large = pairs_of(0.5, 0.3, side=20), pairs_of(0.5, 0.3, side=200)
    np.testing.assert_allclose(small.costs, large.costs)


def test_a_margin_widens_boxes_on_each_side() -> None:
    wide = corners(np.array([[[50.0], [40.0]], [[20.0], [10.0]]]), 0.25)
    np.testing.assert_allclose(wide[:, 0], [35.0, 32.5, 65.0, 47.5])
