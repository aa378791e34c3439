"""A new analysis is compared with its track before it changes the published answer."""

import numpy as np
import pytest

from streamer.aggregate.estimates import Samples
from streamer.aggregate.samples import Doubles, Sample
from streamer.aggregate.suspects import MAX_LOOKS, Verdict
from streamer.config import Aggregate
from streamer.values import Agreement, Model

SETTINGS = Aggregate()
ONE, OTHER, THIRD = 0, 1, 2  # axes of the embeddings of three people
MODEL = Model("m", age=True, expression=False, attributes=(), identity=True)


def of(axis: int, time: float, quality: float = 0.7, cosine: float = 0.9, age: float = 30.0) -> Sample:
    """A crop of the person of this axis; what else is in its embedding is like no other crop."""
    vector = np.random.default_rng([axis, round(100 * time)]).normal(size=512)
    vector[:10] = 0
    vector *= np.sqrt(1 - cosine**2) / np.linalg.norm(vector)
    vector[axis] = cosine
    return Sample(time, quality, age, None, np.zeros(0), vector.astype(np.float32), 20.0)


def known(seconds: int = 4, axis: int = ONE) -> Samples:
    samples = Samples(SETTINGS, MODEL)
    for second in range(seconds):
        assert samples.take(of(axis, float(second)))[0] is Verdict.SAME
    return samples


def age(samples: Samples) -> float:
    found = samples.estimates(1).age
    assert found is not None
    return found.years


def test_one_crop_far_off_splits_a_track_that_is_well_known() -> None:
    samples = known(4)
    assert samples.take(of(OTHER, 4.0))[0] is Verdict.OTHER
    before, after, start = samples.split_waiting()
    assert (before.count, after.count, start) == (4, 1, 4.0)
    assert not before.waits


def test_a_doubtful_crop_waits_and_changes_no_answer_until_the_next_one_decides() -> None:
    samples = known(2)
    assert samples.take(of(OTHER, 2.0, age=70.0))[0] is Verdict.WAITS
    assert samples.waits
    assert samples.count == 2
    assert age(samples) == pytest.approx(30.0)
    assert samples.take(of(OTHER, 3.0, age=70.0))[0] is Verdict.OTHER
    before, after, start = samples.split_waiting()
    assert (before.count, after.count, start) == (2, 2, 2.0)
    assert age(before) == pytest.approx(30.0)
    assert age(after) == pytest.approx(70.0)


def test_a_crop_of_nobody_is_left_out_when_the_person_is_seen_again() -> None:
    samples = known(2)
    assert samples.take(of(OTHER, 2.0, age=70.0))[0] is Verdict.WAITS
    assert samples.take(of(ONE, 3.0))[0] is Verdict.RETURNED
    identity = samples.estimates(1).identity
    assert identity is not None
    assert (samples.count, identity.outliers, samples.waits) == (3, 1, False)
    assert age(samples) == pytest.approx(30.0)


def test_two_crops_of_two_others_are_not_taken_for_one_person() -> None:
    samples = known(2)
    verdicts = [samples.take(of(axis, 2.0 + axis))[0] for axis in (OTHER, THIRD)]
    assert verdicts == [Verdict.WAITS, Verdict.ALONE]
    assert samples.take(of(THIRD, 5.0))[0] is Verdict.OTHER
    before, after, start = samples.split_waiting()
    identity = before.estimates(1).identity
    assert identity is not None
    assert (before.count, identity.outliers, after.count, start) == (2, 1, 2, 4.0)


def test_the_same_look_twice_is_one_look() -> None:
    samples = known(2)
    again = [of(OTHER, 2.0), of(OTHER, 2.0), of(OTHER, 2.0)]
    for place, one in enumerate(again):
        repeated = Sample(2.0 + place / 10, 0.7, 30.0, None, np.zeros(0), one.embedding, 20.0)
        assert samples.take(repeated)[0] is Verdict.WAITS


def test_poor_crops_decide_nothing_but_go_with_those_around_them() -> None:
    samples = known(4)
    assert samples.take(of(OTHER, 4.0, quality=0.1))[0] is Verdict.SAME
    assert samples.take(of(OTHER, 5.0))[0] is Verdict.OTHER
    before, after, start = samples.split_waiting()
    assert (before.count, after.count, start) == (4, 2, 4.0)


def test_a_pose_that_lasts_is_the_same_person_after_all() -> None:
    samples = known(3)
    half = 0.43  # of the way from the person to another: too unlike to be sure, too alike for another person
    verdicts = []
    for place in range(MAX_LOOKS):
        one = of(OTHER, 3.0 + place, cosine=0.75)
        mixed: Doubles = one.embedding.astype(np.float64) if one.embedding is not None else np.zeros(512)
        mixed[ONE] = half
        mixed /= np.linalg.norm(mixed)
        embedding = mixed.astype(np.float32)
        verdicts.append(samples.take(Sample(one.time, 0.7, 30.0, None, np.zeros(0), embedding, 20.0))[0])
    assert verdicts == [Verdict.WAITS] * (MAX_LOOKS - 1) + [Verdict.SAME]
    assert (samples.count, samples.waits) == (3 + MAX_LOOKS, False)


def test_the_check_can_be_turned_off() -> None:
    samples = Samples(Aggregate(identity_suspect_cosine=-1), MODEL)
    for second in range(3):
        samples.take(of(ONE, float(second)))
    assert samples.take(of(OTHER, 3.0))[0] is Verdict.SAME


def test_crops_that_do_not_agree_conflict() -> None:
    samples = Samples(Aggregate(identity_suspect_cosine=-1, identity_min_cosine=-1), MODEL)
    for second in range(4):
        samples.take(of(second, float(second)))
    identity = samples.estimates(1).identity
    assert identity is not None
    assert identity.status is Agreement.CONFLICTING
    agreeing = known(4).estimates(1).identity
    assert agreeing is not None
    assert agreeing.status is Agreement.CONSISTENT


def test_what_is_folded_stays_in_the_tally() -> None:
    samples = known(150)
    assert samples.tally.quality == pytest.approx(150 * 0.7)
