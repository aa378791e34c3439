"""All that the answers of one model say about one face, whatever the order in which they come."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.aggregate.estimates import Samples
from streamer.aggregate.samples import KEPT, sample_of
from streamer.config import Aggregate
from streamer.values import FaceAnalysis, FaceCrop, Floats, Quality, TrackKey
from tests.support.builders import model

PIXELS = np.zeros((112, 112, 3), np.uint8)
Sample = tuple[FaceCrop, FaceAnalysis]


def crop(time: float = 0.0, quality: float = 0.5) -> FaceCrop:
    return FaceCrop(TrackKey("t", "c", 1), time, 0.0, 0.9, Quality(quality), PIXELS)


def analysis(
    age: float = 30.0, which: int = 6, attributes: float = 0.5, embedding: Sequence[float] = (1.0,)
) -> FaceAnalysis:
    scores, vector = np.full(7, 0.02, np.float32), np.zeros(512, np.float32)
    scores[which] = 0.88
    vector[: len(embedding)] = embedding
    vector[511] = math.sqrt(max(0.0, 1 - float(vector @ vector)))
    return FaceAnalysis(model(), age, scores, np.full(40, attributes, np.float32), vector, 20.0)


def samples_of(samples: Sequence[Sample]) -> Samples:
    made = Samples(Aggregate(), model())
    for one in samples:
        made.add(sample_of(*one))
    return made


def drawn(count: int, seed: int = 1, every: float = 0.4) -> list[Sample]:
    rng = np.random.default_rng(seed)
    samples = []
    for index in range(count):
        time, quality = index * every + float(rng.uniform(0, every)), float(rng.uniform(0, 1))
        age, which, score = float(rng.normal(40, 6)), int(rng.integers(7)), float(rng.uniform())
        samples.append((crop(time, quality), analysis(age, which, score, rng.uniform(-0.3, 0.7, 3).tolist())))
    return samples


def all_of(made: Samples) -> tuple[object, ...]:
    """What is known, as something that can be compared."""
    found = made.estimates(1)
    age, expression, attributes, identity = found.age, found.expression, found.attributes, found.identity
    assert expression is not None
    assert attributes is not None
    assert identity is not None
    arrays: list[Floats] = [expression.distribution, attributes.scores, identity.template]
    rest = expression.current, expression.current_since, expression.timeline, attributes.presence, identity.consistency
    return (age, *rest, identity.outliers, expression.evidence, *(array.tobytes() for array in arrays))


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(12)), st.integers(0, 5))
def test_the_order_of_the_answers_makes_no_difference(order: list[int], seed: int) -> None:
    samples = drawn(12, seed)
    assert all_of(samples_of([samples[index] for index in order])) == all_of(samples_of(samples))


def test_neither_does_a_late_answer_in_a_track_whose_beginning_is_no_longer_kept() -> None:
    samples = drawn(KEPT + KEPT // 2 + 20)
    late = [*samples[:-30], *reversed(samples[-30:])]
    made = samples_of(samples)
    assert made.count == len(samples)
    assert all_of(samples_of(late)) == all_of(made)
    assert made.add(sample_of(*samples[3])) is None  # so old that nothing can be done with it
    assert made.count == len(samples)


def test_a_long_track_says_nearly_what_all_of_its_answers_say() -> None:
    samples = drawn(KEPT + 10)
    kept, later = samples_of(samples).estimates(1).age, samples_of(samples[: KEPT - 1]).estimates(1).age
    assert kept is not None
    assert later is not None
    assert kept.years == pytest.approx(later.years, abs=0.3)
    assert kept.evidence.samples == KEPT + 10


def test_the_evidence_is_that_of_the_newest_crop_in_media_time() -> None:
    made = samples_of([(crop(5.0, 0.3), analysis()), (crop(2.0, 0.7), analysis())]).estimates(7).age
    assert made is not None
    evidence = made.evidence
    assert (evidence.samples, evidence.best_quality, evidence.last_inferred, evidence.revision) == (2, 0.7, 5.0, 7)


def test_a_crop_of_quality_zero_alone_still_gives_an_estimate() -> None:
    made = samples_of([(crop(quality=0.0), analysis(25.0))])
    age, identity = made.estimates(1).age, made.estimates(1).identity
    assert age is not None
    assert identity is not None
    assert (age.years, age.evidence.best_quality, float(identity.template[0])) == (25.0, 0.0, 1.0)


def test_estimates_are_split_by_time() -> None:
    samples = drawn(30)
    before, after = samples_of(samples).split(samples[12][0].media_time)
    assert all_of(before) == all_of(samples_of(samples[:12]))
    assert all_of(after) == all_of(samples_of(samples[12:]))


def test_what_the_model_does_not_tell_is_absent() -> None:
    silent = model(age=False, expression=False, identity=False, attributes=(4, 9))
    made = Samples(Aggregate(), silent)
    one = sample_of(crop(), FaceAnalysis(silent, None, None, np.array([0.9, 0.2], np.float32), None, None))
    for _ in range(KEPT + 1):  # also in what is no longer kept
        made.add(one)
    assert (made.estimates(1).age, made.estimates(1).expression, made.estimates(1).identity) == (None, None, None)
    attributes = made.estimates(1).attributes
    assert attributes is not None
    assert attributes.which == (4, 9)
    assert attributes.scores.tolist() == pytest.approx([0.9, 0.2])
    only_age = model(expression=False, identity=False, attributes=())
    made = Samples(Aggregate(), only_age)
    made.add(sample_of(crop(), FaceAnalysis(only_age, 30.0, None, np.zeros(0, np.float32), None, None)))
    assert made.estimates(1).age is not None
    assert made.estimates(1).attributes is None
