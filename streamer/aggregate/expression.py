"""What a face appears to show, sample by sample: a hidden Markov chain over the seven expressions.

An expression lasts: between two samples dt apart it stays with probability exp(-dt / dwell_s), and neutral lasts twice
as long. A sample speaks for each expression by its softmax, made as sure as it is right by a temperature (Guo 2017, "On
calibration of modern neural networks") and mixed with a share of plain error, so that no single sample outvotes what
lasted; samples shortly after each other make the same errors and count for less. Any real dt will do. The live belief
is the forward filter. For the timeline each sample is judged once more together with what came within the lag after it
(fixed-lag smoothing; Rabiner 1989, "A tutorial on hidden Markov models", section III).
"""

import math
from dataclasses import dataclass

import numpy as np

from faceanalytics.v1 import faces_pb2
from streamer.aggregate.samples import Doubles
from streamer.config import Aggregate

COUNT = 7
NEUTRAL = faces_pb2.EXPRESSION_NEUTRAL - 1
NEUTRAL_LASTS = 2.0  # times as long as the others
REPEATED_S = 0.3  # s, samples closer than this say mostly the same
CLEAR, LOST = 0.4, 0.2  # belief from which an expression is the current one, and below which it no longer is


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """What is believed after one sample."""

    time: float  # s, media time of the sample
    scores: Doubles  # (7,) its softmax
    speaks: Doubles  # (7,) how likely the sample is under each expression, up to a factor
    stays: Doubles  # (7,) probability that each has lasted since the sample before
    live: Doubles  # (7,) with all samples up to this one, sums to 1
    current: int | None  # None: none is clear
    since: float  # s, media time of the sample that made it `current`


class Expressions:
    """The chain. A sample may be inserted anywhere: those after it are judged anew."""

    def __init__(self, settings: Aggregate, base: Belief | None = None) -> None:
        """`base`: after the samples that are no longer kept."""
        self._settings = settings
        self._lasts = np.full(COUNT, settings.expression_dwell_s)
        self._lasts[NEUTRAL] *= NEUTRAL_LASTS
        self._base = base
        self.beliefs: list[Belief] = []
        self.smoothed: list[Doubles] = []  # (7,) of each sample: also with what came within the lag after it

    def insert(self, place: int, time: float, scores: Doubles) -> None:
        """A softmax (7,) at a media time (s), before the sample that is at `place` now."""
        later = self.beliefs[place:]
        del self.beliefs[place:]
        self._append(time, scores)
        for belief in later:
            self._append(belief.time, belief.scores)
        self._smooth(place)

    def drop(self, count: int) -> Belief:
        """Keep the oldest `count` samples no longer; the chain goes on from what was believed after them."""
        self._base = self.beliefs[count - 1]
        del self.beliefs[:count], self.smoothed[:count]
        return self._base

    def _append(self, time: float, scores: Doubles) -> None:
        before = self.beliefs[-1] if self.beliefs else self._base
        passed = math.inf if before is None else time - before.time
        wrong = self._settings.expression_error
        sure = scores ** (1 / self._settings.expression_temperature)
        speaks = ((1 - wrong) * sure / sure.sum() + wrong / COUNT) ** -math.expm1(-passed / REPEATED_S)
        stays = np.exp(-passed / self._lasts)
        expected = np.full(COUNT, 1 / COUNT) if before is None else _moved(before.live, stays)
        live = expected * speaks
        live /= live.sum()
        current, since = (None, time) if before is None else (before.current, before.since)
        leader = int(live.argmax())
        if live[leader] >= CLEAR and leader != current:
            current, since = leader, time
        elif current is not None and live[current] < LOST:
            current, since = None, time
        self.beliefs.append(Belief(time, scores, speaks, stays, live, current, since))

    def _smooth(self, place: int) -> None:
        """Judge the samples anew that a change at `place` reaches."""
        first = place
        while first > 0 and self._reach(first - 1) >= place:
            first -= 1
        del self.smoothed[first:]
        found: list[Doubles] = []
        at = len(self.beliefs) - 1
        while at >= first:  # those that reach equally far share one way back
            last = self._reach(at)
            later = np.ones(COUNT)
            for place_ in range(last, first - 1, -1):
                if place_ <= at:
                    if self._reach(place_) < last:
                        break
                    both = self.beliefs[place_].live * later
                    found.append(both / both.sum())
                    at = place_ - 1
                belief = self.beliefs[place_]
                heard = belief.speaks * later
                later = belief.stays * heard + (1 - belief.stays) * (heard.sum() - heard) / (COUNT - 1)
                later /= later.sum()
        self.smoothed += reversed(found)

    def _reach(self, place: int) -> int:
        """The last sample that has a say in what the one at `place` shows: within the lag, the next one in any case,
        but none behind a gap."""
        lag, gap = self._settings.expression_lag_s, self._settings.expression_gap_s
        last = place
        while last + 1 < len(self.beliefs):
            time = self.beliefs[last + 1].time
            if time - self.beliefs[last].time > gap or (last > place and time - self.beliefs[place].time > lag):
                break
            last += 1
        return last


def _moved(belief: Doubles, stays: Doubles) -> Doubles:
    """The belief (7,) a while later: what an expression loses goes to all others alike."""
    leaves = belief * (1 - stays)
    moved: Doubles = belief * stays + (leaves.sum() - leaves) / (COUNT - 1)
    return moved
