"""How many people the visitors of a period are: a number with the interval that the mistakes of grouping allow. Pure.

Down: people whose tracks are two visitors. Pairs of visitors resemble each other more often than strangers do if some
of them are one person; the excess over what the scores of strangers predict, at the cosine where it is largest, is the
number of pairs to join. Up: visitors who were joined with a stranger, by the stated rate, and tracks whose face is too
poor to decide, each of which may be somebody else.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.values import ImpostorScores

SIGMAS = 2.0  # standard deviations of counts that an interval spans to each side, about 95 %
LARGEST_SHARE = 0.01  # of pairs of strangers, at the lowest cosine that is looked at


@dataclass(frozen=True, slots=True)
class Unique:
    """A number of people with its interval."""

    count: int
    low: int
    high: int


def unique(
    visitors: int,
    similarities: NDArray[np.float64],
    impostors: ImpostorScores | None,
    false_join_rate: float,
    undecided: int,
) -> Unique:
    """Return the number of people behind visitors. `similarities`: (n, n) of those who can be compared.

    `undecided`: tracks that are too poor to compare.
    """
    joined = visitors * false_join_rate / (1 - false_join_rate)
    upper = joined + SIGMAS * math.sqrt(joined)
    high = visitors + math.ceil(upper - 1e-9) + undecided if visitors else undecided
    low = visitors - _split(similarities, impostors) if impostors is not None else min(visitors, 1)
    return Unique(visitors, max(low, min(visitors, 1)), high)


def _split(similarities: NDArray[np.float64], impostors: ImpostorScores) -> int:
    """Return how many visitors may be others: the joins of the most similar pairs, as many as exceed chance."""
    count = len(similarities)
    if count < 2:
        return 0
    first, second = np.triu_indices(count, 1)
    cosines = similarities[first, second]
    excess = 0.0
    for share, cosine in zip(impostors.shares.tolist(), impostors.cosines.tolist(), strict=True):
        if share > LARGEST_SHARE:
            break
        seen, by_chance = int((cosines >= cosine).sum()), share * len(cosines)
        if seen:
            excess = max(excess, min(seen, seen - by_chance + SIGMAS * math.sqrt(by_chance)))
    joins = min(math.ceil(excess - 1e-9), len(cosines))
    order = np.argsort(-cosines, kind="stable")[:joins]
    root = list(range(count))

    def find(one: int) -> int:
        while root[one] != one:
            root[one] = root[root[one]]
            one = root[one]
        return one

    reduced = 0
    for place in order.tolist():
        a, b = find(int(first[place])), find(int(second[place]))
        if a != b:
            root[b] = a
            reduced += 1
    return reduced
