"""Measures how similar strangers are, and derives the cosine from which a person is named.

A search in a gallery of N people accepts a stranger if any of N comparisons of strangers reaches the threshold. If F is
the distribution function of one such comparison, the threshold for a false-accept rate R (the FPIR of ISO/IEC 19795-1,
the share of searches by strangers that name a person) is F^-1((1 - R)^(1/N)). F is measured and never extrapolated: a
share of the comparisons is known only if at least MIN_COUNT pairs reach its cosine.
"""

import math

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import ConfigError
from streamer.values import MIN_COUNT, ImpostorScores

Doubles = NDArray[np.float64]

STEPS_PER_DECADE = 20  # of the table: its thresholds are too strict by at most a twentieth of a decade


def impostor_table(scores: Doubles, pairs: int, people: int, source: str) -> ImpostorScores:
    """Return the table of `scores` (n,), the cosines of `pairs` pairs (fewer than n if some were compared both ways).

    Raises ConfigError if there are fewer than MIN_COUNT pairs.
    """
    if pairs < MIN_COUNT or len(scores) < pairs:
        raise ConfigError(
            f"{source}: {pairs} pairs of {people} people are too few to measure how similar strangers are; "
            f"at least {people_for(MIN_COUNT)} people are needed"
        )
    decades = math.log10(pairs / MIN_COUNT)
    shares = np.unique(np.logspace(math.log10(MIN_COUNT / pairs), 0, round(decades * STEPS_PER_DECADE) + 2))
    ranked = np.sort(scores)[::-1]
    # The threshold is just above the first score that would exceed the share.
    first_above = np.minimum((shares * len(ranked)).astype(np.int64), len(ranked) - 1)
    return ImpostorScores(pairs, people, shares, np.nextafter(ranked[first_above], np.inf), source)


def threshold(known: ImpostorScores, false_accept_rate: float, people: int, setting: str) -> float:
    """Return the cosine from which one of `people` people is accepted. `setting` is the rate's name, for the message.

    Raises ConfigError if there are too few pairs for such a low rate; the message gives the lowest possible one.
    """
    share = share_of_pairs(false_accept_rate, people)
    row = int(np.searchsorted(known.shares, share * (1 + 1e-9), side="right")) - 1
    if row < 0:
        pairs = math.ceil(MIN_COUNT / share)
        raise ConfigError(
            f"{setting}: {false_accept_rate:g} with {people} people to choose from cannot be guaranteed: it takes "
            f"{pairs} pairs of strangers (a cohort of {people_for(pairs)} people), but {known.source} has "
            f"{known.pairs} of {known.people} people. Possible is {_rounded_up(min_rate(known, people))} or more"
        )
    return float(known.cosines[row])


def min_rate(known: ImpostorScores, people: int) -> float:
    """Return the lowest false-accept rate that these pairs can guarantee with `people` people to choose from."""
    return -math.expm1(people * math.log1p(-min(float(known.shares[0]), 1 - 1e-12)))


def share_of_pairs(rate: float, people: int) -> float:
    """Return 1 - (1 - rate)^(1/people), the share of single comparisons that may reach the threshold."""
    return -math.expm1(math.log1p(-rate) / max(people, 1))


def people_for(pairs: int) -> int:
    """Return the least number of people that make this number of pairs."""
    return math.ceil((1 + math.sqrt(1 + 8 * pairs)) / 2)


def _rounded_up(rate: float) -> str:
    """Return the rate rounded up to two digits, so that the printed rate is possible."""
    digits = 1 - math.floor(math.log10(rate))
    return f"{math.ceil(rate * 10**digits) / 10**digits:.{max(digits, 0)}f}"
