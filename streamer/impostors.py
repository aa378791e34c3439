"""How similar strangers are, and from which cosine on somebody is named: never a constant from the literature.

A search in a gallery of N people accepts a stranger if any of N comparisons of strangers reaches the threshold. If F is
the distribution of one such comparison, the threshold for a false-accept rate R (the FPIR of ISO/IEC 19795-1, the share
of searches by strangers that name somebody) is F^-1((1 - R)^(1/N)). F is counted, never extrapolated: a share of the
comparisons that fewer than ten of them reach is not known.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.errors import ConfigError

Doubles = NDArray[np.float64]

LEAST_COUNT = 10  # comparisons that must lie above a threshold before it is believed
STEPS_PER_DECADE = 20  # of the table: its thresholds are at most a twentieth of a decade too strict


@dataclass(frozen=True, slots=True, eq=False)
class Impostors:
    """Cosines of pairs of strangers, as the points of their distribution's upper tail."""

    pairs: int  # that were compared
    people: int  # they were of
    shares: Doubles  # (n,) ascending shares of the pairs, each above LEAST_COUNT / pairs
    cosines: Doubles  # (n,) descending: no more than that share of the pairs reaches it
    source: str  # for messages: whose pictures these are

    def __post_init__(self) -> None:
        n = len(self.shares)
        if n == 0 or self.shares.shape != (n,) or self.cosines.shape != (n,):
            raise ValueError(f"shares {self.shares.shape} and cosines {self.cosines.shape} are no table")
        fine = np.isfinite(self.shares).all() and np.isfinite(self.cosines).all()
        if not fine or (np.diff(self.shares) <= 0).any() or (np.diff(self.cosines) > 0).any():
            raise ValueError("shares must ascend and cosines must not: the more pairs reach it, the lower it is")
        if not self.shares[0] * self.pairs * (1 + 1e-6) >= LEAST_COUNT or self.shares[-1] > 1:
            raise ValueError(f"shares must be from {LEAST_COUNT} of the {self.pairs} pairs to all of them")

    @classmethod
    def counted(cls, scores: Doubles, pairs: int, people: int, source: str) -> "Impostors":
        """The table of `scores` (n,), cosines of `pairs` pairs (fewer than n if some were compared both ways).

        Raises ConfigError if there are too few to know anything.
        """
        if pairs < LEAST_COUNT or len(scores) < pairs:
            raise ConfigError(
                f"{source}: {pairs} pairs of {people} people are too few to say how similar strangers are; "
                f"at least {people_for(LEAST_COUNT)} people are needed"
            )
        decades = math.log10(pairs / LEAST_COUNT)
        shares = np.unique(np.logspace(math.log10(LEAST_COUNT / pairs), 0, round(decades * STEPS_PER_DECADE) + 2))
        ranked = np.sort(scores)[::-1]
        # one above the score that would be one too many, so that what reaches the threshold is no more than the share
        first_too_many = np.minimum((shares * len(ranked)).astype(np.int64), len(ranked) - 1)
        return cls(pairs, people, shares, np.nextafter(ranked[first_too_many], np.inf), source)

    def threshold(self, false_accept_rate: float, people: int, setting: str) -> float:
        """The cosine from which on one of `people` is accepted. `setting`: what the rate is called, for the message.

        Raises ConfigError if the pairs are too few for so low a rate, and says which one is possible.
        """
        share = _share(false_accept_rate, people)
        row = int(np.searchsorted(self.shares, share * (1 + 1e-9), side="right")) - 1
        if row < 0:
            pairs = math.ceil(LEAST_COUNT / share)
            raise ConfigError(
                f"{setting}: {false_accept_rate:g} with {people} people to choose from cannot be kept: it takes "
                f"{pairs} pairs of strangers (a cohort of {people_for(pairs)} people), and {self.source} has "
                f"{self.pairs} of {self.people} people. Possible is {_rounded_up(self.least_rate(people))} or more"
            )
        return float(self.cosines[row])

    def least_rate(self, people: int) -> float:
        """The lowest false-accept rate that these pairs can vouch for, with `people` to choose from."""
        return -math.expm1(people * math.log1p(-min(float(self.shares[0]), 1 - 1e-12)))


def _share(rate: float, people: int) -> float:
    """1 - (1 - rate)^(1/people): the share of single comparisons that may reach the threshold."""
    return -math.expm1(math.log1p(-rate) / max(people, 1))


def people_for(pairs: int) -> int:
    """The least number of people who make so many pairs."""
    return math.ceil((1 + math.sqrt(1 + 8 * pairs)) / 2)


def _rounded_up(rate: float) -> str:
    """With two digits, so that what is printed is possible."""
    digits = 1 - math.floor(math.log10(rate))
    return f"{math.ceil(rate * 10**digits) / 10**digits:.{max(digits, 0)}f}"
