"""Which face comes when."""

from collections import Counter

import numpy as np
import pytest

from workers.research.train.sampling import Mix, checked_shares, place


def test_an_epoch_of_one_set_has_every_face_once() -> None:
    mix = Mix((10,), (1.0,), (3, 0))
    assert mix.epoch == 10
    assert sorted(mix.rows(0, 10).tolist()) == list(range(10))
    assert sorted(mix.rows(10, 10).tolist()) == list(range(10))
    assert mix.rows(0, 10).tolist() != mix.rows(10, 10).tolist()


def test_shares_hold_whatever_the_sizes_are() -> None:
    mix = Mix((30, 7, 400), (0.25, 0.25, 0.5), (2048, 1))  # as Adience, MORPH, IMDB with WIKI
    assert mix.epoch == 800
    rows = mix.rows(0, 800)
    parts = Counter(np.searchsorted([30, 37], rows, "right").tolist())
    assert parts == {0: 200, 1: 200, 2: 400}


def test_small_sets_are_repeated_evenly_and_the_rest_changes_from_epoch_to_epoch() -> None:
    mix = Mix((30, 400), (0.25, 0.75), (1,))
    rest = []
    for epoch in range(2):
        rows = mix.rows(epoch * mix.epoch, mix.epoch)
        counts = Counter(rows[rows < 30].tolist())
        assert mix.quotas()[0] == 134  # 4 times each of 30, and 14 more
        assert set(counts.values()) == {4, 5}
        rest.append({row for row, count in counts.items() if count == 5})
    assert len(rest[0]) == len(rest[1]) == 14
    assert rest[0] != rest[1]


def test_any_place_can_be_looked_up_without_what_was_before() -> None:
    mix = Mix((13, 50), (0.5, 0.5), (7,))
    whole = mix.rows(0, 350)
    for first in (0, 1, 99, 100, 130, 250):
        assert mix.rows(first, 40).tolist() == whole[first : first + 40].tolist()


def test_processes_share_a_step_without_overlap() -> None:
    taken = [range(place(step, rank, 3, 4), place(step, rank, 3, 4) + 4) for step in range(5) for rank in range(3)]
    assert [number for part in taken for number in part] == list(range(60))


def test_another_seed_is_another_order() -> None:
    assert Mix((50,), (1.0,), (1,)).rows(0, 50).tolist() != Mix((50,), (1.0,), (2,)).rows(0, 50).tolist()


def test_shares_are_brought_to_one() -> None:
    assert checked_shares([1, 3]) == (0.25, 0.75)
    with pytest.raises(ValueError, match="above 0"):
        checked_shares([1, 0])


def test_thirds_fill_an_epoch_exactly() -> None:
    mix = Mix((10, 10, 10), (1 / 3, 1 / 3, 1 / 3), (0,))
    assert sum(mix.quotas()) == mix.epoch == 30
