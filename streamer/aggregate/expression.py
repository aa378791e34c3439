"""Estimates the expression that a face appears to show at each sample, by a hidden Markov model of the expressions.

Transitions: between two samples dt apart an expression persists with probability exp(-dt / dwell_s); neutral has twice
the dwell time. Any dt is possible.
Likelihoods: a sample's softmax is calibrated by a temperature (Guo 2017, "On calibration of modern neural networks")
and mixed with a uniform error, so that no single sample overrules a lasting expression. Samples shortly after each
other make the same errors and count for less.
The live belief is the forward filter. For the timeline each sample is estimated once more, with the samples within the
lag after it (fixed-lag smoothing; Rabiner 1989, "A tutorial on hidden Markov models", section III).
"""

import math
from dataclasses import dataclass

import numpy as np

from faceanalytics.v1 import faces_pb2
from streamer.aggregate.samples import Doubles
from streamer.config import Aggregate

COUNT = 7
NEUTRAL = faces_pb2.EXPRESSION_NEUTRAL - 1
NEUTRAL_DWELL = 2.0  # dwell time of neutral, relative to the others
REPEATED_S = 0.3  # s, samples closer than this mostly repeat each other
CLEAR, UNCLEAR = 0.4, 0.2  # belief from which an expression becomes current, and below which it no longer is


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """The state of the chain after one sample."""

    time: float  # s, media time of the sample
    scores: Doubles  # (7,) its softmax
    likelihood: Doubles  # (7,) of the sample under each expression, up to a factor
    persistence: Doubles  # (7,) probability that each has lasted since the sample before
    live: Doubles  # (7,) posterior given all samples up to this one, sums to 1
    current: int | None  # index into the 7 expressions; None: no clear one
    since: float  # s, media time of the sample that made it `current`


class Expressions:
    """The chain. A sample may be inserted anywhere: the later ones are then computed again."""

    def __init__(self, settings: Aggregate, base: Belief | None = None) -> None:
        """`base` is the state after the samples that were dropped."""
        self._settings = settings
        self._dwell_s = np.full(COUNT, settings.expression_dwell_s)
        self._dwell_s[NEUTRAL] *= NEUTRAL_DWELL
        self._base = base
        self.beliefs: list[Belief] = []
        self.smoothed: list[Doubles] = []  # (7,) of each sample: posterior given also the samples within the lag

    def insert(self, place: int, time: float, scores: Doubles) -> None:
        """Insert a softmax (7,) at a media time (s) before the sample that is at `place` now."""
        later = self.beliefs[place:]
        del self.beliefs[place:]
        self._append(time, scores)
        for belief in later:
            self._append(belief.time, belief.scores)
        self._smooth(place)

    def drop(self, count: int) -> Belief:
        """Drop the oldest `count` samples and return the state after them, from which the chain continues."""
        self._base = self.beliefs[count - 1]
        del self.beliefs[:count], self.smoothed[:count]
        return self._base

    def _append(self, time: float, scores: Doubles) -> None:
        before = self.beliefs[-1] if self.beliefs else self._base
        passed = math.inf if before is None else time - before.time
        error_share = self._settings.expression_error
        calibrated = scores ** (1 / self._settings.expression_temperature)
        mixed = (1 - error_share) * calibrated / calibrated.sum() + error_share / COUNT
        likelihood = mixed ** -math.expm1(-passed / REPEATED_S)
        persistence = np.exp(-passed / self._dwell_s)
        expected = np.full(COUNT, 1 / COUNT) if before is None else _after_transition(before.live, persistence)
        live = expected * likelihood
        live /= live.sum()
        current, since = (None, time) if before is None else (before.current, before.since)
        leader = int(live.argmax())
        if live[leader] >= CLEAR and leader != current:
            current, since = leader, time
        elif current is not None and live[current] < UNCLEAR:
            current, since = None, time
        self.beliefs.append(Belief(time, scores, likelihood, persistence, live, current, since))

    def _smooth(self, place: int) -> None:
        """Smooth the samples again that a change at `place` affects."""
        first = place
        while first > 0 and self._last_used(first - 1) >= place:
            first -= 1
        del self.smoothed[first:]
        found: list[Doubles] = []
        at = len(self.beliefs) - 1
        while at >= first:  # samples with the same last sample share one backward pass
            last = self._last_used(at)
            later = np.ones(COUNT)
            for place_ in range(last, first - 1, -1):
                if place_ <= at:
                    if self._last_used(place_) < last:
                        break
                    both = self.beliefs[place_].live * later
                    found.append(both / both.sum())
                    at = place_ - 1
                belief = self.beliefs[place_]
                weighted = belief.likelihood * later
                lasting = belief.persistence
                later = lasting * weighted + (1 - lasting) * (weighted.sum() - weighted) / (COUNT - 1)
                later /= later.sum()
        self.smoothed += reversed(found)

    def _last_used(self, place: int) -> int:
        """Return the index of the last sample that is used to smooth the one at `place`.

        These are the next sample and all within the lag, but never one behind a gap.
        """
        lag, gap = self._settings.expression_lag_s, self._settings.expression_gap_s
        last = place
        while last + 1 < len(self.beliefs):
            time = self.beliefs[last + 1].time
            if time - self.beliefs[last].time > gap or (last > place and time - self.beliefs[place].time > lag):
                break
            last += 1
        return last


def _after_transition(belief: Doubles, persistence: Doubles) -> Doubles:
    """Return the belief (7,) one step later: each expression passes what it loses to all others in equal parts."""
    lost = belief * (1 - persistence)
    predicted: Doubles = belief * persistence + (lost.sum() - lost) / (COUNT - 1)
    return predicted
