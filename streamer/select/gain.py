"""Predict how much one more analysis of a face would change its published answer.

Age, identity and expression are each a Gaussian belief about a track, whose variance every analysis reduces by its
information, which depends on the quality of the crop. An analysis with noise R moves the mean of a belief with variance
V by a Gaussian of variance V^2 / (V + R), hence by sqrt(2 / pi * V^2 / (V + R)) on average. The answers themselves are
not used: only their number, the quality of their crops, and their times.

The noises of age and identity are those of the bundled weights: for age the defaults of `aggregate.age_*`, for identity
the result of `python -m tests.benchmarks "Quality of crops"`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, inf, pi, sqrt
from typing import NamedTuple

from streamer.config import Schedule
from streamer.values import Model

AGE_PRIOR = 20.0**2  # years^2, variance of the ages of people
IDENTITY_PRIOR = 1.0  # variance of an unknown direction, in units of the template's length
EXPRESSION_PRIOR = 0.3**2  # variance of the score of an unknown expression
EXPRESSION_LASTS_S = 4.0  # time constant with which knowledge of an expression decays
ALIKE_S = 0.25  # time constant with which the errors of two crops become independent


class ModelOutputs(NamedTuple):
    """The outputs of the weights in use; only these count as gain."""

    age: bool = True
    expression: bool = True
    identity: bool = True

    @classmethod
    def union(cls, models: Iterable[Model]) -> "ModelOutputs":
        """Combine the outputs of several models.

        The gain of attributes is not measured: models that have no other output count as if they had all three.
        """
        each = [cls(model.age, model.expression, model.identity) for model in models]
        outputs = cls(*map(any, zip(*each, strict=True))) if each else cls()
        return outputs if any(outputs) else cls()


@dataclass(frozen=True, slots=True)
class Belief:
    """The uncertainty of one track after its analyses: variances, as for the priors."""

    answers: int = 0
    time: float = -inf  # s, media time of the newest crop
    age: float = AGE_PRIOR  # years^2
    identity: float = IDENTITY_PRIOR
    expression: float = EXPRESSION_PRIOR  # at `time`; it grows from then on


UNKNOWN = Belief()  # before the first analysis


def age_noise(quality: float) -> float:
    """Return the variance, in years^2, of the age estimated from one crop of this quality (0..1)."""
    return float((2.0 * 4.0 ** (1 - quality)) ** 2)


def identity_noise(quality: float) -> float:
    """Return the variance of one embedding around its person's template of length 1, perpendicular to it.

    It is 1/c^2 - 1 for a cosine of c, and c is 0.94 quality^0.54.
    """
    return float(1.13 * max(quality, 0.05) ** -1.08 - 1)


def expression_noise(quality: float) -> float:
    """Return the variance of the score of an expression from one crop of this quality (0..1)."""
    return float((0.2 * 3.0 ** (1 - quality)) ** 2)


def expected_gain(belief: Belief, time: float, quality: float, config: Schedule, outputs: ModelOutputs) -> float:
    """Return the expected change of the published answer by a crop of this quality at this media time (s).

    It is the sum of the changes of age, identity and expression, if the model has these outputs, each divided by the
    step of the settings (`*_step`). A face is analysed from 1 on.
    """
    novelty = _novelty(belief, time)
    if novelty <= 0:
        return 0.0
    gain = 0.0
    if outputs.age:
        gain += _move(belief.age, age_noise(quality) / novelty) / config.age_step_years
    if outputs.identity:
        gain += _move(belief.identity, identity_noise(quality) / novelty) / config.identity_step
    if outputs.expression:
        gain += _move(_expression_at(belief, time), expression_noise(quality)) / config.expression_step
    return gain


def after(belief: Belief, time: float, quality: float) -> Belief:
    """Update the belief with one more analysis; a crop older than the newest adds nothing to the expression."""
    novelty = max(_novelty(belief, time), 1e-3)
    return Belief(
        belief.answers + 1,
        max(time, belief.time),
        _joined(belief.age, age_noise(quality) / novelty),
        _joined(belief.identity, identity_noise(quality) / novelty),
        _joined(_expression_at(belief, time), expression_noise(quality)),
    )


def _novelty(belief: Belief, time: float) -> float:
    """Return the share (0..1) of a crop's error that is independent of the crop before it."""
    return 1 - exp(min(0.0, (belief.time - time) / ALIKE_S)) if belief.answers else 1.0


def _expression_at(belief: Belief, time: float) -> float:
    """Return the variance of the expression, which grows back to the prior after the newest answer."""
    if not belief.answers:
        return EXPRESSION_PRIOR
    kept = exp(min(0.0, 2 * (belief.time - time) / EXPRESSION_LASTS_S))
    return EXPRESSION_PRIOR + (belief.expression - EXPRESSION_PRIOR) * kept


def _move(variance: float, noise: float) -> float:
    return sqrt(2 / pi * variance**2 / (variance + noise))


def _joined(variance: float, noise: float) -> float:
    return variance * noise / (variance + noise)
