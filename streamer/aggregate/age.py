"""Age as a posterior: how old a face appears, and between which ages it is with 80 % probability by this model.

A sample is the person's age, plus what the network gets wrong about this person in every image alike, plus an error
of its own. That error has heavy tails (Student's t with 4 degrees of freedom), so outliers lose their weight, is larger
in poor crops, and resembles that of the crops shortly before (correlation exp(-dt / correlation_s)), so that many
images of one moment do not pass for many. The common error never averages out: it is the floor of the interval.

The mean is found by iteratively reweighted least squares (Lange, Little and Taylor 1989, "Robust statistical modelling
using the t distribution"); its variance is that of a weighted mean of correlated errors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamer.aggregate.samples import Doubles, Sample
from streamer.config import Aggregate

FREEDOM = 4.0  # degrees of freedom of the errors
ROUNDS = 12  # of reweighting; it moves less than 0.01 years after 8
HEAVY_TAILS = (FREEDOM + 3) / (FREEDOM + 1)  # variance of the location of a t distribution, against a normal one's
HALF_OF_80 = 1.2816  # standard deviations from the mean to the end of an 80 % interval
OLDEST = 120.0  # years


@dataclass(frozen=True, slots=True)
class AgeBase:
    """The samples that are no longer kept, with the weights that they had."""

    weight: float = 0.0  # 1/years^2, sum
    weighted: float = 0.0  # 1/years, sum of weight times age
    noise: float = 0.0  # 1/years^2, variance of `weighted`
    tail: float = 0.0  # 1/years, what still correlates at `time`
    time: float = 0.0  # s, media time of the newest of them


class Age(NamedTuple):
    years: float
    low: float  # years, 10 % quantile
    high: float  # years, 90 % quantile


def estimate_age(settings: Aggregate, base: AgeBase, samples: Sequence[Sample]) -> Age:
    """The posterior of all samples that have an age; at least one has."""
    whole = fold_age(settings, base, samples)
    mean = whole.weighted / whole.weight
    spread = math.sqrt(HEAVY_TAILS * whole.noise / whole.weight**2 + settings.age_bias_years**2)
    low, high = mean - HALF_OF_80 * spread, mean + HALF_OF_80 * spread
    return Age(*(min(max(years, 0.0), OLDEST) for years in (mean, low, high)))


def fold_age(settings: Aggregate, base: AgeBase, samples: Sequence[Sample]) -> AgeBase:
    """The base with these samples in it, in order of media time."""
    times = [one.time for one in samples]
    ages = np.array([one.age for one in samples], np.float64)
    best, worst = settings.age_error_years, settings.age_error_poor_years
    errors = best * (worst / best) ** (1 - np.array([one.quality for one in samples]))
    weights = _weights(base, ages, errors)
    noise, tail = _noise(settings.age_correlation_s, base, times, (weights * errors).tolist())
    weight, weighted = base.weight + float(weights.sum()), base.weighted + float(weights @ ages)
    return AgeBase(weight, weighted, noise, tail, times[-1])


def _weights(base: AgeBase, ages: Doubles, errors: Doubles) -> Doubles:
    """How much each age counts, 1/years^2: the less, the further from the mean in units of its error (years)."""
    middle = base.weighted / base.weight if base.weight else float(np.median(ages))
    weights = errors**-2
    for _ in range(ROUNDS):
        weights = (FREEDOM + 1) / (FREEDOM + ((ages - middle) / errors) ** 2) / errors**2
        middle = (base.weighted + float(weights @ ages)) / (base.weight + float(weights.sum()))
    return weights


def _noise(correlation_s: float, base: AgeBase, times: Sequence[float], parts: Sequence[float]) -> tuple[float, float]:
    """The sum over all pairs of their parts' product times their correlation, and what correlates at the last time."""
    noise, tail, last = base.noise, base.tail, base.time
    for time, part in zip(times, parts, strict=True):
        tail *= math.exp(-(time - last) / correlation_s)
        noise += part * (part + 2 * tail)
        tail += part
        last = time
    return noise, tail
