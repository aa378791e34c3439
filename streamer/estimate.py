"""What the answers of one model say about one face, sample by sample: age, expression, attributes, identity.

Age is the quality-weighted mean of the readings, expression the share of time, attributes the quality-weighted mean
of the scores, identity the normalised sum of the embeddings, each as long as the network made it and weighted by the
detector's score. All sums are float64. Samples may come out of order: expressions are placed by media time, the rest
does not depend on the order.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamer.config import Aggregate
from streamer.values import (
    AgeEstimate,
    AttributeEstimate,
    ExpressionEstimate,
    FaceAnalysis,
    FaceCrop,
    Floats,
    IdentityEstimate,
    Model,
)

Doubles = NDArray[np.float64]

LEAST_WEIGHT = 0.01  # a crop of quality or score 0 still counts a little, so that one analysis always gives an estimate
KEPT_SAMPLES = 64  # expressions that are kept one by one, so that a late answer can still be put in its place


class WeightedMean:
    """Mean and spread of weighted vectors, one at a time (West 1979: stable, no sum of squares of large numbers)."""

    def __init__(self, size: int) -> None:
        self._weight = 0.0
        self.mean: Doubles = np.zeros(size)
        self._deviation: Doubles = np.zeros(size)  # weighted sum of squared distances from the mean

    def add(self, value: ArrayLike, weight: float) -> None:
        self._weight += weight
        distance = np.asarray(value, np.float64) - self.mean
        self.mean = self.mean + distance * (weight / self._weight)
        self._deviation = self._deviation + weight * distance * (np.asarray(value, np.float64) - self.mean)

    def spread(self) -> Doubles:
        """Weighted standard deviation (of the sample, not of its mean)."""
        return np.sqrt(np.maximum(self._deviation, 0.0) / self._weight)


@dataclass(frozen=True, slots=True, eq=False)
class _Expression:
    """Where the expression stands after its newest sample."""

    time: float  # s, media time of the newest sample
    scores: Doubles  # (7,) its softmax
    seconds: Doubles  # (7,) softmax times seconds, summed over the samples before it
    smoothed: Doubles  # (7,) exponentially smoothed softmax
    current: int
    since: float  # s, media time


class Expressions:
    """The samples in order of media time. The newest are kept and replayed when an older one comes late."""

    def __init__(self, settings: Aggregate) -> None:
        self._settings = settings
        self._base: _Expression | None = None  # after the samples that are no longer kept
        self._samples: list[tuple[float, Doubles]] = []
        self._state: _Expression | None = None

    def add(self, time: float, scores: Doubles) -> None:
        """One softmax (7,) at a media time (s). One that is older than all that are kept has no place any more."""
        if self._base is not None and time < self._base.time:
            return
        place = bisect_right(self._samples, time, key=lambda sample: sample[0])
        self._samples.insert(place, (time, scores))
        if place == len(self._samples) - 1:
            self._state = self._after(self._state, time, scores)
        else:
            self._state = self._base
            for sample in self._samples:
                self._state = self._after(self._state, *sample)
        if len(self._samples) > KEPT_SAMPLES:
            self._base = self._after(self._base, *self._samples.pop(0))

    def _after(self, before: _Expression | None, time: float, scores: Doubles) -> _Expression:
        if before is None:
            return _Expression(time, scores, np.zeros_like(scores), scores, int(np.argmax(scores)), time)
        passed = time - before.time
        seconds = before.seconds + min(passed, self._settings.expression_hold_s) * before.scores
        share = -math.expm1(-passed / self._settings.expression_smoothing_s)
        smoothed = before.smoothed + share * (scores - before.smoothed)
        leader = int(np.argmax(smoothed))
        if smoothed[leader] - smoothed[before.current] < self._settings.expression_switch:
            return _Expression(time, scores, seconds, smoothed, before.current, before.since)
        since = before.since if leader == before.current else time
        return _Expression(time, scores, seconds, smoothed, leader, since)

    def now(self, last_seen: float) -> tuple[int, float, Floats]:
        """Current expression, since when (s), share of time (7,). The newest sample speaks until `last_seen` (s)."""
        state = self._state
        if state is None:
            raise ValueError("no expression before the first analysis")
        speaks = min(max(last_seen - state.time, 0.0), self._settings.expression_hold_s)
        seconds = state.seconds + speaks * state.scores
        total = float(seconds.sum())
        shares = seconds / total if total > 0 else state.scores / float(state.scores.sum())
        return state.current, state.since, shares.astype(np.float32)


class Estimates:
    """What the answers of one model say about one face; None for what the model does not tell."""

    def __init__(self, settings: Aggregate, model: Model) -> None:
        self.model = model
        self.samples = 0
        self.best_quality = 0.0
        self.last_inferred = -math.inf
        self._ages = WeightedMean(1)
        self._attributes = WeightedMean(len(model.attributes))
        self._expressions = Expressions(settings)
        self._embeddings: Doubles = np.zeros(512)

    def add(self, crop: FaceCrop, analysis: FaceAnalysis) -> None:
        """Raises ValueError for an analysis by another model."""
        if analysis.model != self.model:
            raise ValueError(f"an analysis by {analysis.model.id} among those by {self.model.id}")
        self.samples += 1
        self.best_quality = max(self.best_quality, crop.quality.value)
        self.last_inferred = max(self.last_inferred, crop.media_time)
        weight = max(crop.quality.value, LEAST_WEIGHT)
        self._attributes.add(analysis.attributes, weight)
        if analysis.age is not None:
            self._ages.add([analysis.age], weight)
        if analysis.expression is not None:
            self._expressions.add(crop.media_time, analysis.expression.astype(np.float64))
        if analysis.embedding is not None and analysis.embedding_norm is not None:
            length = max(crop.score, LEAST_WEIGHT) * analysis.embedding_norm
            self._embeddings = self._embeddings + length * analysis.embedding.astype(np.float64)

    def age(self) -> AgeEstimate | None:
        if not self.model.age:
            return None
        years, spread = float(self._ages.mean[0]), float(self._ages.spread()[0])
        return AgeEstimate(years, spread, self.samples, self.best_quality, self.last_inferred)

    def expression(self, last_seen: float) -> ExpressionEstimate | None:
        if not self.model.expression:
            return None
        current, since, shares = self._expressions.now(last_seen)
        return ExpressionEstimate(current, since, shares, self.samples, self.best_quality, self.last_inferred)

    def attributes(self) -> AttributeEstimate | None:
        if not self.model.attributes:
            return None
        scores = self._attributes.mean.astype(np.float32)
        return AttributeEstimate(self.model.attributes, scores, self.samples, self.best_quality, self.last_inferred)

    def identity(self) -> IdentityEstimate | None:
        """None also if the embeddings cancel each other out, so that they point nowhere."""
        length = float(np.linalg.norm(self._embeddings))
        if length == 0.0:
            return None
        template = (self._embeddings / length).astype(np.float32)
        return IdentityEstimate(template, self.samples, self.best_quality, self.last_inferred)
