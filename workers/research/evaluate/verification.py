"""Compute verification metrics: LFW's ten-fold accuracy, and true accept rates at false accept rates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Truths = NDArray[np.bool_]
FOLDS = 10
THRESHOLDS = np.arange(0, 4, 0.01)  # squared distances of unit vectors, for the accuracy
FINE_THRESHOLDS = np.arange(0, 4, 0.001)  # for the true accept rate
CHUNK = 65536  # pairs at once
FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # those of the paper's tables


@dataclass(frozen=True, slots=True, eq=False)
class TenFold:
    """The results of the ten folds; rates 0..1."""

    accuracies: Floats  # (folds,)
    thresholds: Floats  # (folds,) squared distance below which a pair is accepted as one person

    @property
    def accuracy(self) -> float:
        return float(self.accuracies.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation of the folds' accuracies, with n in the denominator as published."""
        return float(self.accuracies.std())


@dataclass(frozen=True, slots=True)
class TrueAccepts:
    """Means over folds, at thresholds chosen on the other folds for a false accept rate; nan without pairs."""

    rate: float  # share of pairs of one person that are accepted, 0..1
    deviation: float
    false_accepts: float  # false accept rate on the folds themselves


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Scale the rows of (n, width) to length 1; rows of zeros stay zero."""
    vectors = np.asarray(vectors, np.float64)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def squared_distances(vectors: NDArray[np.floating], first: Integers, second: Integers) -> Floats:
    """Return squared distances (n,) of rows `first` and `second` of (m, width) vectors, after scaling to length 1."""
    vectors = unit(vectors)
    distances = np.empty(len(first))
    for start in range(0, len(first), CHUNK):
        part = slice(start, start + CHUNK)
        distances[part] = np.square(vectors[first[part]] - vectors[second[part]]).sum(1)
    return distances


def folds_in_order(count: int, folds: int = FOLDS) -> Integers:
    """Return the fold of each pair, (count,): consecutive parts, the first ones longer by one (sklearn's KFold).

    Raises ValueError for fewer pairs than folds.
    """
    if count < folds:
        raise ValueError(f"{count} pairs cannot be divided into {folds} folds")
    sizes = np.full(folds, count // folds)
    sizes[: count % folds] += 1
    return np.repeat(np.arange(folds), sizes)


def ten_fold(distances: Floats, same: Truths, fold: Integers | None = None) -> TenFold:
    """Return each fold's accuracy at the first threshold that is best on the other folds (insightface).

    A pair is accepted as one person if its squared distance is below the threshold. `fold` (n,); None: in order.
    """
    accepted_same, accepted_other, of_same, of_other = _accepted(distances, same, fold, THRESHOLDS)
    right = accepted_same + of_other[:, None] - accepted_other  # (folds, thresholds)
    best = (right.sum(0) - right).argmax(1)
    folds = np.arange(len(right))
    return TenFold(right[folds, best] / (of_same + of_other), THRESHOLDS[best])


def true_accepts(distances: Floats, same: Truths, far: float = 1e-3, fold: Integers | None = None) -> TrueAccepts:
    """Return VAL@FAR: the accepted share of each fold's pairs of one person at the threshold of `far` on the others.

    The threshold is interpolated linearly; it is 0 if no rate reaches `far`. A fold without pairs of one person, or of
    two, is left out of the mean that needs them.
    """
    _, accepted_other, _, of_other = _accepted(distances, same, fold, FINE_THRESHOLDS)
    with np.errstate(invalid="ignore"):
        rates = (accepted_other.sum(0) - accepted_other) / (of_other.sum() - of_other)[:, None]
    thresholds = np.array(
        [np.interp(far, rate, FINE_THRESHOLDS) if rate.max() >= far else 0.0 for rate in np.nan_to_num(rates)]
    )
    index = _fold_indices(len(distances), fold)
    accepted = distances < thresholds[index]
    true, false = _shares(accepted, index, same), _shares(accepted, index, ~same)
    return TrueAccepts(_mean(true), float(np.std(true)) if len(true) else float("nan"), _mean(false))


def roc(scores: NDArray[np.floating], same: Truths) -> tuple[Floats, Floats]:
    """Return false and true accept rates at every corner of the curve, rising from 0; high scores are accepted.

    The same points as sklearn's roc_curve. Raises ValueError without pairs of both kinds.
    """
    if same.all() or not same.any():
        raise ValueError("an ROC curve needs pairs of one person and pairs of two persons")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    true = np.cumsum(same[order], dtype=np.int32)
    del order
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)  # last pair with each score
    true = true[last]
    false = (last + 1 - true).astype(np.int32)
    if len(true) > 2:
        corner = np.ones(len(true), np.bool_)
        corner[1:-1] = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        true, false = true[corner], false[corner]
    return _from_zero(false), _from_zero(true)


def tar_at_far(scores: NDArray[np.floating], same: Truths, fars: Sequence[float] = FARS) -> Floats:
    """Return the true accept rate at the point of the curve with the nearest false accept rate, (fars,).

    Of two equally near points the one with more accepts counts, as published.
    """
    false, true = roc(scores, same)
    false, true = false[::-1], true[::-1]
    return np.array([true[np.abs(false - far).argmin()] for far in fars])


def _accepted(
    distances: Floats, same: Truths, fold: Integers | None, thresholds: Floats
) -> tuple[Integers, Integers, Integers, Integers]:
    """Return accepted pairs of one person and of two, (folds, thresholds), and the totals of each, (folds,)."""
    if distances.shape != same.shape or same.dtype != np.bool_:
        raise ValueError(f"distances have shape {distances.shape}, `same` is {same.dtype} {same.shape}, expected bool")
    index = _fold_indices(len(distances), fold)
    folds = range(index.max() + 1)
    if len(folds) < 2:
        raise ValueError("there is only one fold, so no others to choose a threshold on")
    counts = []
    for kind in (same, ~same):
        sorted_by_fold = [np.sort(distances[kind & (index == number)]) for number in folds]
        counts.append(np.array([np.searchsorted(part, thresholds, side="left") for part in sorted_by_fold]))
        counts.append(np.array([len(part) for part in sorted_by_fold]))
    return counts[0], counts[2], counts[1], counts[3]


def _fold_indices(count: int, fold: Integers | None) -> Integers:
    """Return the fold of each pair as 0, 1, ... without gaps, (count,)."""
    if fold is None:
        return folds_in_order(count)
    return np.unique(fold, return_inverse=True)[1]


def _shares(accepted: Truths, index: Integers, kind: Truths) -> Floats:
    """Return the accepted share of the pairs of a kind in each fold that has any."""
    total = np.bincount(index[kind], minlength=1)
    count = np.bincount(index[kind & accepted], minlength=len(total))
    return np.asarray(count[total > 0] / total[total > 0])


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _from_zero(counts: NDArray[np.int32]) -> Floats:
    return np.concatenate([[0.0], counts / counts[-1]])
