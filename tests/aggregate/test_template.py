"""Identity templates: who is in, who is out, and when it is somebody else."""

import numpy as np
import pytest

from streamer.aggregate.samples import Doubles, Sample
from streamer.aggregate.template import TemplateBase, estimate_template, find_swap, fold_template
from streamer.config import Aggregate

SETTINGS = Aggregate(identity_min_cosine=0.2, identity_swap_crops=3)


def direction(*along: float) -> Doubles:
    """A unit vector with these first components; the rest lies along the axis 100."""
    vector = np.zeros(512)
    vector[: len(along)] = along
    vector[100] = np.sqrt(max(0.0, 1 - float(vector @ vector)))
    return vector


def crop(time: float, vector: Doubles, quality: float = 0.8, norm: float = 20.0) -> Sample:
    return Sample(time, quality, None, None, np.zeros(0), vector.astype(np.float32), norm)


def of(axis: int, time: float, quality: float = 0.8, cosine: float = 0.7) -> Sample:
    """A crop of the person of this axis: what else is in it is like no other crop."""
    vector = np.random.default_rng([axis, int(time)]).normal(size=512)
    vector[:10] = 0
    vector *= np.sqrt(1 - cosine**2) / np.linalg.norm(vector)
    vector[axis] = cosine
    return crop(time, vector, quality)


def test_better_crops_and_longer_embeddings_weigh_more_and_a_second_counts_once() -> None:
    one, other = direction(1.0), direction(0.6, 0.8)
    found = estimate_template(SETTINGS, TemplateBase.empty(), [crop(0.0, one, 0.5, 10.0), crop(1.0, other, 0.25, 40.0)])
    assert found is not None
    assert found.vector[:2].tolist() == pytest.approx((np.array([5 + 6, 8]) / np.hypot(11, 8)).tolist(), abs=1e-6)
    crowded = [crop(0.0, one), *(crop(1 + index / 10, other) for index in range(8))]
    alone = [crop(0.0, one), crop(1.0, other)]
    same = [estimate_template(SETTINGS, TemplateBase.empty(), some) for some in (crowded, alone)]
    assert same[0] is not None
    assert same[1] is not None
    assert same[0].vector == pytest.approx(same[1].vector, abs=1e-6)
    assert same[1].consistency == pytest.approx(0.6)


def test_one_crop_is_consistent_with_nothing_and_crops_that_cancel_out_are_nobody() -> None:
    alone = estimate_template(SETTINGS, TemplateBase.empty(), [crop(0.0, direction(1.0))])
    assert alone is not None
    assert (alone.consistency, alone.samples, alone.outliers) == (None, 1, 0)
    assert (
        estimate_template(SETTINGS, TemplateBase.empty(), [crop(0.0, direction(1.0)), crop(1.0, -direction(1.0))])
        is None
    )


def test_a_crop_that_resembles_no_other_is_left_out() -> None:
    some = [of(0, float(index)) for index in range(6)]
    some[2] = of(1, 2.0)
    found = estimate_template(SETTINGS, TemplateBase.empty(), some)
    without = estimate_template(SETTINGS, TemplateBase.empty(), [*some[:2], *some[3:]])
    assert found is not None
    assert without is not None
    assert (found.samples, found.outliers) == (5, 1)
    assert found.vector == pytest.approx(without.vector, abs=1e-6)
    assert found.consistency == pytest.approx(without.consistency)


def test_crops_that_are_no_longer_kept_stay_in_the_template() -> None:
    some = [of(0, float(index)) for index in range(30)]
    whole = estimate_template(SETTINGS, TemplateBase.empty(), some)
    later = estimate_template(SETTINGS, fold_template(SETTINGS, TemplateBase.empty(), some[:15]), some[15:])
    assert whole is not None
    assert later is not None
    assert later.vector == pytest.approx(whole.vector, abs=1e-5)
    assert later.samples == whole.samples == 30


def swap(samples: list[Sample]) -> int | None:
    """What is found as they come one after the other."""
    for newest in range(len(samples)):
        found = find_swap(SETTINGS, TemplateBase.empty(), samples[: newest + 1], newest)
        if found is not None:
            return found
    return None


def test_three_good_crops_of_somebody_else_are_a_swap_where_the_first_of_them_is() -> None:
    first = [of(0, float(index)) for index in range(5)]
    assert swap([*first, *(of(1, 5.0 + index) for index in range(3))]) == 5
    poor = of(1, 5.0, quality=0.1)
    assert swap([*first, poor, *(of(1, 6.0 + index) for index in range(3))]) == 5
    assert swap([*first, *(of(1, 5.0 + index) for index in range(2))]) is None


def test_bad_crops_and_a_person_who_comes_back_are_no_swap() -> None:
    first = [of(0, float(index)) for index in range(5)]
    assert swap([*first, *(of(2 + index, 5.0 + index) for index in range(5))]) is None  # like nobody, each
    assert swap([*first, *(of(1, 5.0 + index, quality=0.1) for index in range(5))]) is None
    assert swap([*first, of(1, 5.0), of(0, 6.0), of(1, 7.0), of(0, 8.0)]) is None
