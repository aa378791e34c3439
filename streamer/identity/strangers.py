"""Estimates how often strangers of a deployment are named, from searches by tracks that nobody has confirmed. Pure.

Some of these tracks show people of the gallery. Their best scores are a mixture of two distributions: that of
strangers, which has the shape of the table of strangers (see impostors.py), moved and stretched as the cameras ask for,
and that of people of the gallery, taken as normal. The parameters are those that are most probable given all scores
(maximum a posteriori); the priors say that the deployment is not far from what was measured, so that few tracks do not
lead anywhere. Tracks of one visitor are no independent evidence: the interval is from resampling visitors
(and from how wrong the model itself was found to be).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.identity.impostors import share_of_pairs
from streamer.values import ImpostorScores

Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

MIN_VISITORS = 30  # with fewer there is only the bound
EDGES = np.linspace(-0.6, 1.0, 161)  # of the cells in which scores are counted
RESAMPLED = 80
CENTRAL = 0.95  # of the interval
WITHIN = 1.96  # standard deviations of a normal distribution that hold this share
# deviation of the logarithm of the estimated rate because strangers are not quite distributed as the model says
# (python -m tests.benchmarks.accuracy_strangers)
SHAPE = 0.3
MOVED, STRETCHED = 0.05, 0.15  # deviations of the priors: cosine, and logarithm of the factor
GENUINE_MOVED, GENUINE_SPREAD = 0.1, 0.12  # of people of the gallery: deviation of the prior of the mean, usual spread


@dataclass(frozen=True, slots=True)
class FalseAccepts:
    """How often a search by a stranger names somebody."""

    tracks: int  # that nobody has confirmed, and were searched
    visitors: int  # groups of these tracks that show one person each
    named: int  # tracks that are named; some of them show people of the gallery
    rate: float | None  # estimated share of searches by strangers; None: too few visitors
    low: float  # 95 % interval; without an estimate from 0
    high: float  # also never above what it would be if nobody of them were in the gallery
    members: float | None  # estimated share of the tracks that show people of the gallery
    suggested: float | None  # cosine from which the stated share of strangers is named


@dataclass(frozen=True, slots=True)
class _Fit:
    moved: float  # cosine, of strangers against the table
    factor: float  # of the spread
    members: float  # 0..1
    mean: float  # cosine of people of the gallery
    spread: float

    def rate(self, known: ImpostorScores, people: int, threshold: float) -> float:
        share = _share(known, np.array([(threshold - self.moved) / self.factor]))[0]
        return -math.expm1(people * math.log1p(-min(share, 1 - 1e-12)))

    def threshold(self, known: ImpostorScores, people: int, rate: float) -> float:
        return self.moved + self.factor * _cosine(known, share_of_pairs(rate, people))


def estimated(
    scores: Doubles,
    visitors: Sequence[Sequence[int]],
    known: ImpostorScores,
    people: int,
    threshold: float,
    rate: float,
    genuine: float | None,
    strangers: NDArray[np.bool_] | None = None,
) -> FalseAccepts:
    """Estimate the share of strangers that are named.

    `scores` (n,): the best scores of the tracks; `visitors`: their rows by visitor; `people`: of the gallery; `rate`:
    the stated one; `genuine`: usual score of people of the gallery, None: not known. `strangers` (n,): tracks that
    somebody has said not to show whom they resemble most.
    """
    certain = np.zeros(len(scores), np.bool_) if strangers is None else strangers
    named = scores >= threshold
    bound = _bound(named, visitors)
    if len(visitors) < MIN_VISITORS or not people:
        return FalseAccepts(len(scores), len(visitors), int(named.sum()), None, 0.0, bound, None, None)
    table = np.array([_counts(scores[list(rows)], certain[list(rows)]) for rows in visitors])
    expected = genuine if genuine is not None else max(threshold + GENUINE_MOVED, 0.5)
    best = _fit(table.sum(axis=0), known, people, expected)
    generator = np.random.default_rng(len(scores))  # the same tracks give the same interval
    rates = []
    for _ in range(RESAMPLED):
        weights = np.bincount(generator.integers(0, len(visitors), len(visitors)), minlength=len(visitors))
        again = _fit(np.tensordot(weights, table, 1), known, people, expected, best)
        rates.append(again.rate(known, people, threshold))
    found = min(best.rate(known, people, threshold), bound)
    factor = math.exp(WITHIN * math.hypot(float(np.log(rates).std()), SHAPE))
    return FalseAccepts(
        tracks=len(scores),
        visitors=len(visitors),
        named=int(named.sum()),
        rate=found,
        low=found / factor,
        high=max(min(found * factor, bound), found),
        members=best.members,
        suggested=best.threshold(known, people, rate),
    )


def _bound(named: NDArray[np.bool_], visitors: Sequence[Sequence[int]]) -> float:
    """Return the upper end of the Clopper-Pearson interval of the share of visitors that are named."""
    from scipy.special import betaincinv  # here, because it takes seconds

    count = len(visitors)
    hits = sum(float(named[list(rows)].mean()) for rows in visitors)
    return 1.0 if hits >= count else float(betaincinv(hits + 1, count - hits, (1 + CENTRAL) / 2))


def _counts(scores: Doubles, certain: NDArray[np.bool_]) -> Doubles:
    """Return the numbers of scores per cell (2, cells): of tracks that may show somebody, and of certain strangers."""
    inside = np.clip(scores, EDGES[0], EDGES[-1])
    return np.stack([np.histogram(inside[which], EDGES)[0] for which in (~certain, certain)]).astype(np.float64)


def _fit(counts: Doubles, known: ImpostorScores, people: int, genuine: float, start: _Fit | None = None) -> _Fit:
    """Return the most probable parameters for the counts (2, cells)."""
    from scipy.optimize import minimize
    from scipy.special import ndtr

    def read(values: Doubles) -> _Fit:
        moved, factor, members, mean, spread = values.tolist()
        return _Fit(moved, math.exp(factor), 1 / (1 + math.exp(-members)), mean, math.exp(spread))

    def cost(values: Doubles) -> float:
        if not np.all(np.abs(values) < 20):
            return 1e12
        one = read(values)
        strangers = np.diff((1 - _share(known, (EDGES - one.moved) / one.factor)) ** people)
        members = np.diff(ndtr((EDGES - one.mean) / one.spread))
        mixed = one.members * members + (1 - one.members) * strangers
        likely = counts[0] @ np.log(mixed + 1e-9) + counts[1] @ np.log(strangers + 1e-9)
        prior = (one.moved / MOVED) ** 2 + (values[1] / STRETCHED) ** 2 + ((one.mean - genuine) / GENUINE_MOVED) ** 2
        prior += (values[4] - math.log(GENUINE_SPREAD)) ** 2 / 0.3**2 + (values[2] / 4) ** 2
        return float(-likely + prior / 2)

    first = (
        np.array([0.0, 0.0, -1.0, genuine, math.log(GENUINE_SPREAD)])
        if start is None
        else np.array(
            [
                start.moved,
                math.log(start.factor),
                math.log(start.members / (1 - start.members)),
                start.mean,
                math.log(start.spread),
            ]
        )
    )
    steps = np.vstack([first, first + np.diag([0.03, 0.1, 1.0, 0.05, 0.2])])
    exact = start is None
    options: Any = {"initial_simplex": steps, "maxiter": 800 if exact else 150, "xatol": 1e-3, "fatol": 1e-3}
    if not exact:  # of many fits, of which only the spread counts
        options |= {"xatol": 5e-3, "fatol": 0.05}
    return read(minimize(cost, first, method="Nelder-Mead", options=options).x)


def _share(known: ImpostorScores, cosines: Doubles) -> Doubles:
    """Return the share of pairs of strangers that reach cosines. Beyond what was measured its slope continues."""
    logs = np.log10(known.shares)
    found = np.interp(cosines, known.cosines[::-1], logs[::-1])
    beyond = cosines > known.cosines[0]
    found = np.where(beyond, logs[0] - (cosines - known.cosines[0]) / _per_decade(known), found)
    return np.asarray(np.minimum(10.0**found, 1 - 1e-12), np.float64)


def _cosine(known: ImpostorScores, share: float) -> float:
    """Return the cosine that a share of pairs of strangers reaches."""
    logs, wanted = np.log10(known.shares), math.log10(share)
    if wanted < logs[0]:
        return float(known.cosines[0]) + (float(logs[0]) - wanted) * _per_decade(known)
    return float(np.interp(wanted, logs, known.cosines))


def _per_decade(known: ImpostorScores) -> float:
    """Return by how much the cosine rises for a tenth of the rarest share; the tail falls at least as fast."""
    decade = float(np.interp(np.log10(known.shares[0]) + 1, np.log10(known.shares), known.cosines))
    return max(float(known.cosines[0]) - decade, 1e-3)
