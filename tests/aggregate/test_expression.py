"""Tests the chain of expressions and its timeline: flicker is no change, and unobserved time stays empty."""

from collections.abc import Sequence
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.aggregate.expression import Expressions
from streamer.aggregate.samples import Doubles
from streamer.aggregate.timeline import TimelineBase, fold_timeline, segments, shares
from streamer.config import Aggregate
from streamer.values import Segment

ANGER, HAPPINESS, NEUTRAL = 5, 3, 6
SETTINGS = Aggregate()
Sample = tuple[float, int, float]  # s, expression, its softmax


def softmax(which: int, share: float = 0.9) -> Doubles:
    scores = np.full(7, (1 - share) / 6)
    scores[which] = share
    return scores


def chain(samples: Sequence[Sample]) -> Expressions:
    """Each put in its place, in the order in which they come here."""
    made = Expressions(SETTINGS)
    times: list[float] = []
    for time, which, share in samples:
        place = sum(other <= time for other in times)
        times.insert(place, time)
        made.insert(place, time, softmax(which, share))
    return made


def timeline(samples: Sequence[Sample]) -> tuple[Segment, ...]:
    return segments(SETTINGS, TimelineBase(), [time for time, _, _ in samples], chain(samples).smoothed)


def steady(which: int, start: float, end: float, every: float = 0.2) -> list[Sample]:
    return [(start + index * every, which, 0.9) for index in range(round((end - start) / every))]


def spans(found: Sequence[Segment]) -> list[tuple[int, float, float]]:
    return [(one.expression, round(one.start, 2), round(one.end, 2)) for one in found]


def test_a_temperature_below_one_makes_a_sample_speak_louder_but_never_beyond_its_error() -> None:
    def live(temperature: float, share: float) -> float:
        made = Expressions(Aggregate(expression_temperature=temperature, expression_error=0.3))
        made.insert(0, 0.0, softmax(HAPPINESS, share))
        return float(made.beliefs[0].live[HAPPINESS])

    assert live(2.0, 0.5) < live(1.0, 0.5) < live(0.5, 0.5) < live(0.01, 0.5)
    assert live(1.0, 0.5) == pytest.approx(0.7 * 0.5 + 0.3 / 7)
    assert live(0.01, 0.5) == pytest.approx(live(1.0, 1.0)) == pytest.approx(0.7 + 0.3 / 7)


def test_the_first_clear_sample_is_the_current_expression() -> None:
    (belief,) = chain([(1.0, HAPPINESS, 0.9)]).beliefs
    assert (belief.current, belief.since) == (HAPPINESS, 1.0)
    assert chain([(1.0, HAPPINESS, 0.3)]).beliefs[0].current is None


@pytest.mark.parametrize("every", [0.04, 0.2, 1.0])
@pytest.mark.parametrize("share", [0.9, 1.0])
def test_one_sample_of_something_else_changes_nothing(every: float, share: float) -> None:
    samples = steady(HAPPINESS, 0.0, 40 * every, every)
    samples[20] = (samples[20][0], ANGER, share)
    assert {belief.current for belief in chain(samples).beliefs} == {HAPPINESS}
    assert spans(timeline(samples)) == [(HAPPINESS, 0.0, round(39 * every, 2))]


def test_a_lasting_change_is_dated_to_where_it_happened_and_seen_soon() -> None:
    samples = [*steady(HAPPINESS, 0.0, 3.0), *steady(ANGER, 3.0, 6.0)]
    assert spans(timeline(samples)) == [(HAPPINESS, 0.0, 2.9), (ANGER, 2.9, 5.8)]
    last = chain(samples).beliefs[-1]
    assert last.current == ANGER
    assert 3.0 < last.since <= 3.6


def test_a_segment_ends_with_the_last_sample_before_a_gap() -> None:
    samples = [*steady(HAPPINESS, 0.0, 2.0), *steady(HAPPINESS, 5.0, 7.0)]
    assert spans(timeline(samples)) == [(HAPPINESS, 0.0, 1.8), (HAPPINESS, 5.0, 6.8)]


def test_what_is_too_short_is_no_segment_and_what_is_not_clear_neither() -> None:
    unclear = [(2.0 + index * 0.2, 0, 1 / 7) for index in range(60)]
    found = timeline([*steady(HAPPINESS, 0.0, 2.0), *unclear])
    assert [one.expression for one in found] == [HAPPINESS]
    assert found[0].end < 10.0
    assert timeline(steady(HAPPINESS, 0.0, 0.4)) == ()


def test_shares_are_of_the_time_that_was_looked_at() -> None:
    samples = [*steady(HAPPINESS, 0.0, 6.2), *steady(ANGER, 60.0, 63.2)]
    found = shares(SETTINGS, TimelineBase(), [time for time, _, _ in samples], chain(samples).smoothed)
    assert found.sum() == pytest.approx(1)
    assert found[HAPPINESS] == pytest.approx(7 / 11, abs=0.03)  # 6 s, 3 s, and half of the 2 s that a gap may count
    alone = chain([(1.0, HAPPINESS, 0.9)])
    assert shares(SETTINGS, TimelineBase(), [1.0], alone.smoothed).argmax() == HAPPINESS


def test_the_order_of_the_answers_makes_no_difference() -> None:
    samples = [(0.0, HAPPINESS, 0.9), (0.4, ANGER, 0.8), (0.7, ANGER, 0.7), (2.9, NEUTRAL, 1.0), (5.5, ANGER, 0.9)]
    found = {
        b"".join(one.tobytes() for one in [*made.smoothed, *(belief.live for belief in made.beliefs)])
        for order in permutations(samples)
        for made in [chain(order)]
    }
    assert len(found) == 1


waits = st.floats(0.02, 3.0)
samples_ = st.lists(st.tuples(waits, st.integers(0, 6), st.floats(0.15, 1.0)), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(samples_, st.integers(0, 40))
def test_whatever_comes_beliefs_are_beliefs_and_a_cut_of_the_samples_is_not_seen(
    drawn: list[tuple[float, int, float]], cut: int
) -> None:
    times = np.cumsum([wait for wait, _, _ in drawn]).tolist()
    made = chain([(time, which, share) for time, (_, which, share) in zip(times, drawn, strict=True)])
    for belief in (*made.smoothed, *(one.live for one in made.beliefs)):
        assert belief.sum() == pytest.approx(1)
        assert (belief >= 0).all()
    whole = segments(SETTINGS, TimelineBase(), times, made.smoothed)
    assert all(one.end - one.start >= SETTINGS.expression_min_s for one in whole)
    assert all(one.end <= after.start for one, after in pairwise(whole))
    cut = min(cut, len(times) - 1)
    if cut:
        base = fold_timeline(SETTINGS, TimelineBase(), times[:cut], made.smoothed[:cut])
        parts = segments(SETTINGS, base, times[cut:], made.smoothed[cut:])
        assert spans(parts) == spans(whole)
        joined = shares(SETTINGS, base, times[cut:], made.smoothed[cut:])
        assert joined == pytest.approx(shares(SETTINGS, TimelineBase(), times, made.smoothed), abs=1e-6)
