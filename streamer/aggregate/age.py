"""Estimates the age that a face appears to have, with an 80 % interval, from all samples of a track.

The model: a sample is the person's age, plus an error that the network makes for this person in every image (the bias),
plus an error of its own. The latter has heavy tails (Student's t with 4 degrees of freedom), so outliers lose weight.
It is larger in poor crops. It is correlated with the errors of the crops shortly before (exp(-dt / correlation_s)), so
that many images of one moment do not count as many. The bias never averages out and limits the interval from below.

The mean is found by iteratively reweighted least squares (Lange, Little and Taylor 1989, "Robust statistical modelling
using the t distribution"). Its variance is that of a weighted mean of correlated errors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamer.aggregate.samples import Doubles, Sample
from streamer.config import Aggregate

FREEDOM = 4.0  # degrees of freedom of the errors
ROUNDS = 12  # of reweighting; after 8 the mean moves by less than 0.01 years
# variance of the location of a t distribution, relative to that of a normal distribution
HEAVY_TAILS = (FREEDOM + 3) / (FREEDOM + 1)
HALF_OF_80 = 1.2816  # half the width of an 80 % interval, in standard deviations
OLDEST = 120.0  # years


@dataclass(frozen=True, slots=True)
class AgeBase:
    """The sums over the samples that are no longer kept, with the weights that they had."""

    weight: float = 0.0  # 1/years^2, sum of the weights
    weighted: float = 0.0  # 1/years, sum of weight times age
    noise: float = 0.0  # 1/years^2, variance of `weighted`
    tail: float = 0.0  # 1/years, sum of weight times error, each times its correlation with an error at `time`
    time: float = 0.0  # s, media time of the newest of them


class Age(NamedTuple):
    """The mean of the posterior and its 80 % interval."""

    years: float
    low: float  # years, 10 % quantile
    high: float  # years, 90 % quantile


def estimate_age(settings: Aggregate, base: AgeBase, samples: Sequence[Sample]) -> Age:
    """Return the posterior from the base and `samples`, of which there is at least one; each has an age."""
    combined = fold_age(settings, base, samples)
    mean = combined.weighted / combined.weight
    spread = math.sqrt(HEAVY_TAILS * combined.noise / combined.weight**2 + settings.age_bias_years**2)
    low, high = mean - HALF_OF_80 * spread, mean + HALF_OF_80 * spread
    return Age(*(min(max(years, 0.0), OLDEST) for years in (mean, low, high)))


def fold_age(settings: Aggregate, base: AgeBase, samples: Sequence[Sample]) -> AgeBase:
    """Return the base with `samples` added, which are in order of media time."""
    times = [one.time for one in samples]
    ages = np.array([one.age for one in samples], np.float64)
    best, worst = settings.age_error_years, settings.age_error_poor_years
    errors = best * (worst / best) ** (1 - np.array([one.quality for one in samples]))
    weights = _weights(base, ages, errors)
    noise, tail = _noise(settings.age_correlation_s, base, times, (weights * errors).tolist())
    weight, weighted = base.weight + float(weights.sum()), base.weighted + float(weights @ ages)
    return AgeBase(weight, weighted, noise, tail, times[-1])


def _weights(base: AgeBase, ages: Doubles, errors: Doubles) -> Doubles:
    """Return the weight (n,) of each age, 1/years^2. It falls with the distance from the mean in units of its error."""
    middle = base.weighted / base.weight if base.weight else float(np.median(ages))
    weights = errors**-2
    for _ in range(ROUNDS):
        weights = (FREEDOM + 1) / (FREEDOM + ((ages - middle) / errors) ** 2) / errors**2
        middle = (base.weighted + float(weights @ ages)) / (base.weight + float(weights.sum()))
    return weights


def _noise(correlation_s: float, base: AgeBase, times: Sequence[float], parts: Sequence[float]) -> tuple[float, float]:
    """Return the variance of the sum of correlated errors `parts` (1/years) at `times` (s), and the new `tail`."""
    noise, tail, last = base.noise, base.tail, base.time
    for time, part in zip(times, parts, strict=True):
        tail *= math.exp(-(time - last) / correlation_s)
        noise += part * (part + 2 * tail)
        tail += part
        last = time
    return noise, tail
