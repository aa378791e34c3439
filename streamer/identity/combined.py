"""Combines the estimates of a person's tracks into those of the person, weighted by their evidence. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamer.aggregate.age import HALF_OF_80, OLDEST
from streamer.aggregate.samples import LOGIT_LIMIT
from streamer.values import (
    AgeEstimate,
    AttributeEstimate,
    Evidence,
    ExpressionEstimate,
    Floats,
    Presence,
)

LEAST_VARIANCE = 0.01  # years², so that no track decides alone


class Shares(NamedTuple):
    """The expressions that a person appears to show."""

    mostly: int  # index into the 7 expressions
    shares: Floats  # (7,) of the analysed time, sums to 1


@dataclass(frozen=True, slots=True, eq=False)
class PersonEstimates:
    """What is known of a person; None: nothing."""

    age: AgeEstimate | None
    expression: Shares | None
    attributes: AttributeEstimate | None


def combined_age(ages: Sequence[AgeEstimate], bias_years: float) -> AgeEstimate | None:
    """Return the age from those of all tracks. The error `bias_years` of the network is common to them and stays."""
    if not ages:
        return None
    spread = np.array([(one.high - one.low) / 2 / HALF_OF_80 for one in ages])
    weights = 1 / np.maximum(spread**2 - bias_years**2, LEAST_VARIANCE)
    mean = float(weights @ np.array([one.years for one in ages]) / weights.sum())
    half = HALF_OF_80 * math.sqrt(bias_years**2 + 1 / float(weights.sum()))
    years, low, high = (min(max(value, 0.0), OLDEST) for value in (mean, mean - half, mean + half))
    return AgeEstimate(years, low, high, _evidence([one.evidence for one in ages]))


def combined_expression(expressions: Sequence[ExpressionEstimate]) -> Shares | None:
    """Return the shares over all tracks, each weighted by its analyses, which are about equal in time."""
    if not expressions:
        return None
    weights = np.array([one.evidence.samples for one in expressions], np.float64)
    shares = weights @ np.stack([one.distribution for one in expressions]) / weights.sum()
    return Shares(int(shares.argmax()), shares.astype(np.float32))


def combined_attributes(attributes: Sequence[AttributeEstimate]) -> AttributeEstimate | None:
    """Return the mean logits, weighted by analyses; an attribute is decided if tracks decide it and all of them alike.

    All must be of one model.
    """
    if not attributes:
        return None
    weights = np.array([one.evidence.samples for one in attributes], np.float64)
    edge = 1 / (1 + math.exp(-LOGIT_LIMIT))
    scores = np.clip(np.stack([one.scores for one in attributes]).astype(np.float64), 1 - edge, edge)
    logits = weights @ np.log(scores / (1 - scores)) / weights.sum()
    return AttributeEstimate(
        attributes[0].which,
        (1 / (1 + np.exp(-logits))).astype(np.float32),
        tuple(_agreed([one.presence[place] for one in attributes]) for place in range(len(attributes[0].which))),
        _evidence([one.evidence for one in attributes]),
    )


def _agreed(votes: Sequence[Presence]) -> Presence:
    decided = set(votes) - {Presence.UNDECIDED}
    return decided.pop() if len(decided) == 1 else Presence.UNDECIDED


def _evidence(each: Sequence[Evidence]) -> Evidence:
    return Evidence(
        samples=sum(one.samples for one in each),
        best_quality=max(one.best_quality for one in each),
        last_inferred=max(one.last_inferred for one in each),
        revision=1,
    )
