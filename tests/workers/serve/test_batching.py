"""Which batches are computed together, and when: pure decisions, time is a value."""

import numpy as np
import pytest

from workers.serve.batching import Queue, joined_pixels
from workers.serve.messages import Batch

MAX_CROPS = 64
MAX_WAIT_S = 0.005


def batch(crops: int, number: int = 0) -> Batch:
    return Batch(number, tuple(range(crops)), np.full((crops, 112, 112, 3), number, np.uint8))


def queue(*sizes: int, max_wait_s: float = MAX_WAIT_S) -> Queue[str]:
    """Batches of streamers a, b, c, ... that came one millisecond after the other, from 10 s on."""
    filled: Queue[str] = Queue(MAX_CROPS, max_wait_s)
    for number, size in enumerate(sizes):
        filled.add("abcdefgh"[number], batch(size, number), 10 + number / 1000)
    return filled


def taken(waiting: Queue[str], now: float, others_may_come: bool = True) -> str | None:
    """The streamers whose batches leave together, in order; None: none leaves."""
    begun = waiting.take(now, others_may_come)
    return None if begun is None else "".join(one.link for one in begun)


def test_a_lone_streamer_is_not_delayed() -> None:
    assert taken(queue(1), 10.0, others_may_come=False) == "a"


def test_a_batch_waits_while_others_may_come_until_its_oldest_crop_has_waited_long_enough() -> None:
    waiting = queue(3, 4)
    assert waiting.next_deadline == pytest.approx(10.005)
    assert taken(waiting, 10.0049) is None
    assert taken(waiting, 10.0051) == "ab"
    assert waiting.next_deadline is None


def test_at_its_deadline_a_batch_leaves_without_rounding_errors() -> None:
    for start in np.random.default_rng(0).uniform(0, 1e6, 1000):
        waiting: Queue[str] = Queue(MAX_CROPS, MAX_WAIT_S)
        waiting.add("a", batch(1), start)
        assert waiting.next_deadline is not None
        assert taken(waiting, waiting.next_deadline) == "a"


def test_the_last_one_that_could_add_something_starts_the_inference() -> None:
    waiting = queue(3, 4)
    assert taken(waiting, 10.001, others_may_come=True) is None
    assert taken(waiting, 10.001, others_may_come=False) == "ab"


def test_a_full_batch_leaves_at_once() -> None:
    assert taken(queue(60, 4), 10.001) == "ab"
    assert taken(queue(MAX_CROPS), 10.0) == "a"
    assert taken(queue(60, 3), 10.001) is None


def test_what_does_not_fit_is_not_split_but_is_the_first_of_the_next() -> None:
    waiting = queue(40, 40, 10)
    assert taken(waiting, 10.002) == "a"
    assert waiting.next_deadline == pytest.approx(10.006)  # that of b, which did not wait for nothing
    assert taken(waiting, 10.002) is None
    assert taken(waiting, 10.002, others_may_come=False) == "bc"


def test_a_big_batch_behind_small_ones_that_come_again_and_again_gets_its_turn() -> None:
    waiting = queue(4, MAX_CROPS)
    rounds = []
    for number in range(2, 5):
        rounds.append(taken(waiting, 11.0))
        waiting.add("s", batch(4, number), 10.0)
    assert rounds == ["a", "b", "ss"]


def test_a_waiting_time_of_nothing_never_waits_and_still_takes_what_is_there() -> None:
    waiting = queue(1, 2, max_wait_s=0)
    assert taken(waiting, 10.001) == "ab"


def test_nothing_is_taken_when_nothing_waits() -> None:
    for others_may_come in (True, False):
        assert taken(queue(), 1e9, others_may_come) is None


def test_every_batch_leaves_once_in_order_and_no_inference_is_too_large() -> None:
    random = np.random.default_rng(0)
    sizes = [int(size) for size in random.integers(1, MAX_CROPS + 1, 200)]
    waiting: Queue[int] = Queue(MAX_CROPS, MAX_WAIT_S)
    for number, size in enumerate(sizes):
        waiting.add(number, Batch(number, tuple(range(size)), np.empty((0, 112, 112, 3), np.uint8)), 0.0)
    order = []
    while (begun := waiting.take(1.0, others_may_come=True)) is not None:
        assert sum(len(one.batch.crop_ids) for one in begun) <= MAX_CROPS
        order += [one.link for one in begun]
    assert order == list(range(200))


def test_the_queue_knows_whose_batch_waits() -> None:
    waiting = queue(1)
    assert "a" in waiting
    assert "b" not in waiting
    waiting.take(11.0, others_may_come=True)
    assert "a" not in waiting


def test_pixels_are_put_together_in_order_and_a_single_batch_is_not_copied() -> None:
    first, second = batch(2, 1), batch(3, 2)
    assert joined_pixels([first]) is first.pixels
    assert joined_pixels([first, second])[:, 0, 0, 0].tolist() == [1, 1, 2, 2, 2]
