"""The time of the detector, and what the machine can do."""

import pytest

from streamer.attention.budget import BURST, MAX_RATE, MIN_RATE, START, Budget


def test_looks_are_afforded_at_the_rate_of_the_budget() -> None:
    budget, looks = Budget(0.25), 0
    for step in range(1000):
        budget.refill(step / 100)
        if budget.affords(0.02):
            budget.take(0.02)
            looks += 1
    assert looks * 0.02 == pytest.approx(START * 10, rel=0.05)


def test_the_rate_grows_while_more_is_wanted_and_shrinks_when_looks_are_late() -> None:
    budget = Budget(0.25)
    for step in range(200):
        budget.refill(step / 10)
        while budget.affords(0.03):
            budget.take(0.03)
        budget.done(0.1, 0.03)
    assert budget.rate == MAX_RATE
    for _ in range(100):
        budget.done(0.5, 0.03)
    assert budget.rate == MIN_RATE


def test_the_rate_rests_while_nothing_more_is_wanted() -> None:
    budget = Budget(0.25)
    for step in range(100):
        budget.refill(step)
        assert budget.affords(0.03)
        budget.take(0.03)
        budget.done(0.1, 0.03)
    assert budget.rate == START


def test_a_detector_that_is_slower_than_the_limit_still_looks() -> None:
    budget, looks = Budget(0.25), 0
    for step in range(100):
        budget.refill(step * 0.8)
        if budget.affords(0.8):
            budget.take(0.8)
            budget.done(0.9, 0.8)
            looks += 1
    assert budget.rate >= START
    assert looks > 20


def test_a_batch_is_shorter_than_the_time_in_which_its_frames_may_be_looked_at() -> None:
    budget = Budget(1.0)
    budget.refill(0)
    spent = 0.0
    while budget.affords(0.05):
        budget.take(0.05)
        spent += 0.05
    assert spent <= BURST + 0.05
