import math
from itertools import permutations

import numpy as np
import pytest

from streamer.config import Aggregate
from streamer.estimate import KEPT_SAMPLES, Estimates
from streamer.values import (
    AgeEstimate,
    AttributeEstimate,
    ExpressionEstimate,
    FaceAnalysis,
    FaceCrop,
    Floats,
    Quality,
    TrackKey,
)
from tests.builders import model

PIXELS = np.zeros((112, 112, 3), np.uint8)
ANGER, HAPPINESS, NEUTRAL = 5, 3, 6


class Known(Estimates):
    """All of them are there."""

    def age(self) -> AgeEstimate:
        found = super().age()
        assert found is not None
        return found

    def expression(self, last_seen: float) -> ExpressionEstimate:
        found = super().expression(last_seen)
        assert found is not None
        return found

    def attributes(self) -> AttributeEstimate:
        found = super().attributes()
        assert found is not None
        return found


def crop(time: float = 0.0, quality: float = 0.5, score: float = 1.0) -> FaceCrop:
    return FaceCrop(TrackKey("t", "c", 1), time, 0.0, score, Quality(quality), PIXELS)


def softmax(which: int, share: float = 1.0) -> Floats:
    """All but `share` of it is neutral."""
    scores = np.zeros(7, np.float32)
    scores[NEUTRAL] = 1 - share
    scores[which] += share
    return scores


def analysis(
    age: float = 30.0,
    expression: Floats | None = None,
    attributes: float = 0.5,
    embedding: tuple[float, float] = (1.0, 0.0),
    norm: float = 20.0,
) -> FaceAnalysis:
    vector = np.zeros(512, np.float32)
    vector[:2] = embedding
    scores = softmax(NEUTRAL) if expression is None else expression
    return FaceAnalysis(model(), age, scores, np.full(40, attributes, np.float32), vector, norm)


def estimates(*samples: tuple[FaceCrop, FaceAnalysis], settings: Aggregate | None = None) -> Known:
    made = Known(settings or Aggregate(), model())
    for sample in samples:
        made.add(*sample)
    return made


def expressions(*samples: tuple[float, int, float], settings: Aggregate | None = None) -> Known:
    """Samples of time, expression and its share."""
    return estimates(
        *((crop(time), analysis(expression=softmax(which, share))) for time, which, share in samples),
        settings=settings,
    )


def test_age_is_the_mean_weighted_by_quality_with_its_spread() -> None:
    age = estimates((crop(quality=0.2), analysis(20.0)), (crop(quality=0.6), analysis(40.0))).age()
    assert age.years == pytest.approx((0.2 * 20 + 0.6 * 40) / 0.8)  # 35
    assert age.spread == pytest.approx(math.sqrt((0.2 * 15**2 + 0.6 * 5**2) / 0.8))  # 8.66


def test_one_reading_has_no_spread() -> None:
    age = estimates((crop(3.0, quality=0.4), analysis(51.5))).age()
    assert (age.years, age.spread, age.samples, age.best_quality, age.last_inferred) == (51.5, 0.0, 1, 0.4, 3.0)


def test_the_spread_is_exact_far_from_zero_and_after_many_readings() -> None:
    readings = [1e6 + index % 2 for index in range(10_000)]
    age = estimates(*((crop(index * 0.1), analysis(reading)) for index, reading in enumerate(readings))).age()
    assert age.years == pytest.approx(1e6 + 0.5, abs=1e-6)
    assert age.spread == pytest.approx(0.5, abs=1e-6)


def test_a_crop_of_quality_zero_alone_still_gives_an_estimate() -> None:
    made = estimates((crop(quality=0.0, score=0.0), analysis(25.0)))
    identity = made.identity()
    assert made.age().years == 25.0
    assert made.attributes().scores[0] == 0.5
    assert identity is not None
    assert identity.template[0] == 1.0


def test_attributes_are_the_mean_weighted_by_quality() -> None:
    made = estimates((crop(quality=0.2), analysis(attributes=1.0)), (crop(quality=0.6), analysis(attributes=0.0)))
    assert made.attributes().scores.tolist() == pytest.approx([0.25] * 40)
    assert made.attributes().scores.dtype == np.float32


def test_the_template_weighs_embeddings_by_their_length_and_the_score() -> None:
    made = estimates(
        (crop(score=0.5), analysis(embedding=(1.0, 0.0), norm=12.0)),
        (crop(score=0.8), analysis(embedding=(0.0, 1.0), norm=10.0)),
    )
    identity = made.identity()
    assert identity is not None
    assert identity.template[:2].tolist() == pytest.approx([0.6, 0.8])  # 6 and 8 over 10
    assert float(np.linalg.norm(identity.template)) == pytest.approx(1.0)


def test_embeddings_that_cancel_each_other_out_give_no_template() -> None:
    made = estimates((crop(), analysis(embedding=(1.0, 0.0))), (crop(), analysis(embedding=(-1.0, 0.0))))
    assert made.identity() is None


def test_the_evidence_is_that_of_the_newest_crop_in_media_time() -> None:
    age = estimates((crop(5.0, 0.3), analysis()), (crop(2.0, 0.7), analysis())).age()
    assert (age.samples, age.best_quality, age.last_inferred) == (2, 0.7, 5.0)


def test_the_first_sample_alone_gives_a_distribution() -> None:
    now = expressions((1.0, HAPPINESS, 0.75)).expression(last_seen=1.0)
    assert (now.current, now.current_since) == (HAPPINESS, 1.0)
    assert now.distribution[[HAPPINESS, NEUTRAL]].tolist() == [0.75, 0.25]


def test_a_sample_speaks_until_the_next_one_and_the_last_until_the_face_was_seen() -> None:
    now = expressions((0.0, HAPPINESS, 1.0), (1.5, NEUTRAL, 1.0)).expression(last_seen=2.0)
    assert now.distribution[[HAPPINESS, NEUTRAL]].tolist() == pytest.approx([0.75, 0.25])


def test_a_sample_speaks_no_longer_than_the_hold() -> None:
    settings = Aggregate(expression_hold_s=2.0)
    made = expressions((0.0, HAPPINESS, 1.0), (10.0, NEUTRAL, 1.0), settings=settings)
    assert made.expression(last_seen=16.0).distribution[[HAPPINESS, NEUTRAL]].tolist() == pytest.approx([0.5, 0.5])


def test_shares_sum_to_one() -> None:
    rng = np.random.default_rng(1)
    made = Known(Aggregate(), model())
    for index in range(200):
        scores = rng.random(7).astype(np.float32)
        made.add(crop(index * 0.3), analysis(expression=scores / scores.sum()))
    assert float(made.expression(61.0).distribution.astype(np.float64).sum()) == pytest.approx(1.0, abs=1e-6)


def test_the_current_expression_changes_when_the_smoothed_score_leads_by_enough() -> None:
    # one second after a neutral face: smoothed happiness = (1 - 1/e) x share = 0.632 x share
    settings = Aggregate(expression_smoothing_s=1.0, expression_switch=0.15)
    weak = expressions((0.0, NEUTRAL, 1.0), (1.0, HAPPINESS, 0.9), settings=settings).expression(1.0)
    assert (weak.current, weak.current_since) == (NEUTRAL, 0.0)  # 0.569 - 0.431 = 0.138
    strong = expressions((0.0, NEUTRAL, 1.0), (1.0, HAPPINESS, 0.92), settings=settings).expression(1.0)
    assert (strong.current, strong.current_since) == (HAPPINESS, 1.0)  # 0.582 - 0.418 = 0.163


def test_one_outlier_does_not_change_the_current_expression() -> None:
    steady = [(index * 0.2, HAPPINESS, 1.0) for index in range(20)]
    steady[10] = (2.0, ANGER, 1.0)
    now = expressions(*steady).expression(3.8)
    assert (now.current, now.current_since) == (HAPPINESS, 0.0)


def test_a_lasting_change_is_dated_by_the_sample_that_made_it() -> None:
    samples = [(index * 0.5, HAPPINESS if index < 6 else ANGER, 1.0) for index in range(14)]
    now = expressions(*samples).expression(6.5)
    assert now.current == ANGER
    assert now.current_since == 3.5  # smoothed anger 0.39 at 3.0 s, 0.63 at 3.5 s


def test_expressions_do_not_depend_on_the_order_of_the_answers() -> None:
    samples = [(0.0, HAPPINESS, 0.9), (0.7, ANGER, 0.8), (1.9, NEUTRAL, 1.0), (2.4, ANGER, 1.0)]
    results = {
        (now.current, now.current_since, now.distribution.tobytes())
        for order in permutations(samples)
        for now in [expressions(*order).expression(3.0)]
    }
    assert len(results) == 1


def test_a_late_answer_finds_its_place_after_samples_were_folded() -> None:
    samples = [(float(index), HAPPINESS if index % 3 else ANGER, 1.0) for index in range(3 * KEPT_SAMPLES)]
    late = samples.pop(-10)
    in_order = expressions(*sorted([*samples, late])).expression(500.0)
    out_of_order = expressions(*samples, late).expression(500.0)
    assert out_of_order.distribution.tobytes() == in_order.distribution.tobytes()
    assert (out_of_order.current, out_of_order.current_since) == (in_order.current, in_order.current_since)


def test_an_answer_too_late_to_be_placed_leaves_the_expression_alone() -> None:
    samples = [(10.0 + index, NEUTRAL, 1.0) for index in range(2 * KEPT_SAMPLES)]
    now = expressions(*samples, (5.0, ANGER, 1.0)).expression(500.0)
    assert now.distribution[ANGER] == 0.0
    assert now.samples == 2 * KEPT_SAMPLES + 1


def test_there_is_no_expression_before_the_first_sample() -> None:
    with pytest.raises(ValueError, match="before the first analysis"):
        estimates().expression(0.0)


def test_what_the_model_does_not_tell_is_absent() -> None:
    silent = model(age=False, expression=False, identity=False, attributes=(4, 9))
    made = Estimates(Aggregate(), silent)
    made.add(crop(), FaceAnalysis(silent, None, None, np.array([0.9, 0.2], np.float32), None, None))
    assert (made.age(), made.expression(1.0), made.identity()) == (None, None, None)
    told = made.attributes()
    assert told is not None
    assert told.which == (4, 9)
    assert told.scores.tolist() == pytest.approx([0.9, 0.2])
    nothing_but_age = Estimates(Aggregate(), model(expression=False, identity=False, attributes=()))
    assert nothing_but_age.attributes() is None


def test_analyses_of_two_models_do_not_mix() -> None:
    made = Estimates(Aggregate(), model("other"))
    with pytest.raises(ValueError, match="an analysis by test among those by other"):
        made.add(crop(), analysis())
