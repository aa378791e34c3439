"""Age: a posterior from samples that err in several ways."""

import math

import numpy as np
import pytest

from streamer.aggregate.age import HALF_OF_80, AgeBase, estimate_age, fold_age
from streamer.aggregate.samples import Sample
from streamer.config import Aggregate

SETTINGS = Aggregate(age_error_years=2.0, age_error_poor_years=8.0, age_bias_years=3.0, age_correlation_s=1.0)


def samples(*ages: float, quality: float = 1.0, every_s: float = 100.0) -> list[Sample]:
    return [Sample(index * every_s, quality, age, None, np.zeros(0), None, 0.0) for index, age in enumerate(ages)]


def half(sigma: float, bias: float = 3.0) -> float:
    """From the mean to the end of the interval, years."""
    return HALF_OF_80 * math.sqrt(7 / 5 * sigma**2 + bias**2)


def test_one_reading_is_as_sure_as_its_crop_and_the_network_allow() -> None:
    good = estimate_age(SETTINGS, AgeBase(), samples(40.0))
    poor = estimate_age(SETTINGS, AgeBase(), samples(40.0, quality=0.5))
    for found in (good, poor):
        assert found.years == 40.0
        assert found.high - 40.0 == pytest.approx(40.0 - found.low)
    assert good.high - 40.0 == pytest.approx(half(2.0))
    assert poor.high - 40.0 == pytest.approx(half(4.0))


def test_better_crops_count_for_more() -> None:
    better, worse = samples(30.0)[0], samples(0.0, 34.0, quality=0.5)[1]
    assert estimate_age(SETTINGS, AgeBase(), [better, worse]).years == pytest.approx(30.7, abs=0.15)  # 16 : 4 and less


def test_an_outlier_has_next_to_no_say() -> None:
    assert estimate_age(SETTINGS, AgeBase(), samples(30.0, 31.0, 29.0, 30.0, 80.0)).years == pytest.approx(30, abs=0.3)


def test_many_crops_of_one_moment_are_not_many_and_none_are_surer_than_the_bias() -> None:
    apart, at_once = samples(*[30.0] * 100), samples(*[30.0] * 100, every_s=0.01)
    found = [estimate_age(SETTINGS, AgeBase(), some).high - 30.0 for some in (apart, at_once)]
    assert found[0] == pytest.approx(HALF_OF_80 * 3.0, rel=0.02)
    assert half(2.0 * math.sqrt(0.7)) < found[1] < half(2.0)


def test_correlation_is_that_of_all_pairs() -> None:
    close = samples(30.0, 30.0, every_s=0.5)
    found = estimate_age(SETTINGS, AgeBase(), close).high - 30.0
    together = 2.0 * math.sqrt((1 + math.exp(-0.5)) / 2)  # of the mean of two with this correlation
    assert found == pytest.approx(half(together))


def test_ages_are_ages() -> None:
    young = estimate_age(SETTINGS, AgeBase(), samples(1.0))
    assert (young.low, young.years) == (0.0, 1.0)


def test_readings_that_are_no_longer_kept_stay_in_the_mean() -> None:
    some = samples(*(30 + 5 * math.sin(index) for index in range(60)), every_s=0.7)
    whole = estimate_age(SETTINGS, AgeBase(), some)
    later = estimate_age(SETTINGS, fold_age(SETTINGS, AgeBase(), some[:40]), some[40:])
    assert tuple(later) == pytest.approx(tuple(whole), abs=0.1)
