"""What one more analysis of a face would change in its published answer, before it is made.

Each of age, identity and expression is a Gaussian belief about one track: a variance that every analysis shrinks by
its information, which depends on the quality of the crop. An analysis with noise R moves the mean of a belief with
variance V by a Gaussian of variance V^2 / (V + R) (what it takes away), so by sqrt(2 / pi * V^2 / (V + R)) on the
average. Nothing of the answers themselves goes in: only how many there were, how good their crops were, and when.

The noises of age and identity are those of the bundled weights: of age the defaults of `aggregate.age_*`, of identity
what `python -m tests.benchmarks "Quality of crops"` finds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, inf, pi, sqrt
from typing import NamedTuple

from streamer.config import Schedule
from streamer.values import Model

AGE_PRIOR = 20.0**2  # years^2, the variance of ages of people
IDENTITY_PRIOR = 1.0  # of a direction that is not known at all, in units of the template's length
EXPRESSION_PRIOR = 0.3**2  # of the score of an expression that nothing is known of
EXPRESSION_LASTS_S = 4.0  # time constant in which what was known of an expression is worth nothing
ALIKE_S = 0.25  # crops closer in time than this see nearly the same image, with the same error


class ModelOutputs(NamedTuple):
    """What the weights in use give: nothing else is worth an analysis."""

    age: bool = True
    expression: bool = True
    identity: bool = True

    @classmethod
    def union(cls, models: Iterable[Model]) -> "ModelOutputs":
        """What any of the models gives.

        The gain of attributes is not measured: models that give nothing else count as if they gave all three.
        """
        each = [cls(model.age, model.expression, model.identity) for model in models]
        outputs = cls(*map(any, zip(*each, strict=True))) if each else cls()
        return outputs if any(outputs) else cls()


@dataclass(frozen=True, slots=True)
class Belief:
    """What the analyses of one track leave open."""

    answers: int = 0
    time: float = -inf  # s, media time of the newest crop
    age: float = AGE_PRIOR  # years^2
    identity: float = IDENTITY_PRIOR
    expression: float = EXPRESSION_PRIOR  # at `time`; it grows from there on


UNKNOWN = Belief()  # before the first analysis


def age_noise(quality: float) -> float:
    """Variance in years^2 of one reading of the age from a crop of this quality (0..1)."""
    return float((2.0 * 4.0 ** (1 - quality)) ** 2)


def identity_noise(quality: float) -> float:
    """Variance of one embedding around its person's template of length 1, across it: 1/c^2 - 1 for a cosine of c, and
    c is 0.94 quality^0.54."""
    return float(1.13 * max(quality, 0.05) ** -1.08 - 1)


def expression_noise(quality: float) -> float:
    """Variance of one score of an expression."""
    return float((0.2 * 3.0 ** (1 - quality)) ** 2)


def expected_gain(belief: Belief, time: float, quality: float, config: Schedule, outputs: ModelOutputs) -> float:
    """How far the published answer is expected to move with a crop of this quality at this media time (s).

    The sum of the moves of age, identity and expression, as far as the model gives them, each in steps that matter
    (`*_step`): 1 is worth an analysis.
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
    """The belief with one more analysis in it; a crop older than the newest adds nothing to expression."""
    novelty = max(_novelty(belief, time), 1e-3)
    return Belief(
        belief.answers + 1,
        max(time, belief.time),
        _joined(belief.age, age_noise(quality) / novelty),
        _joined(belief.identity, identity_noise(quality) / novelty),
        _joined(_expression_at(belief, time), expression_noise(quality)),
    )


def _novelty(belief: Belief, time: float) -> float:
    """Share of a crop's error that the one before it did not have, 0..1."""
    return 1 - exp(min(0.0, (belief.time - time) / ALIKE_S)) if belief.answers else 1.0


def _expression_at(belief: Belief, time: float) -> float:
    """The variance as it has grown since the newest answer, back to that of an unknown expression."""
    if not belief.answers:
        return EXPRESSION_PRIOR
    kept = exp(min(0.0, 2 * (belief.time - time) / EXPRESSION_LASTS_S))
    return EXPRESSION_PRIOR + (belief.expression - EXPRESSION_PRIOR) * kept


def _move(variance: float, noise: float) -> float:
    return sqrt(2 / pi * variance**2 / (variance + noise))


def _joined(variance: float, noise: float) -> float:
    return variance * noise / (variance + noise)
