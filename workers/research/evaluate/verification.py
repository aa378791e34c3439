"""Are two faces one person: the ten-fold rules of LFW, and the true accepts at a rate of false ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Truths = NDArray[np.bool_]
FOLDS = 10
THRESHOLDS = np.arange(0, 4, 0.01)  # squared distances of unit vectors, for the accuracy
FINE_THRESHOLDS = np.arange(0, 4, 0.001)  # for the rate of true accepts
CHUNK = 65536  # pairs at once
FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # where the paper's tables look


@dataclass(frozen=True, slots=True, eq=False)
class TenFold:
    """What the ten folds say; rates 0..1."""

    accuracies: Floats  # (folds,)
    thresholds: Floats  # (folds,) squared distance below which a pair is taken for one person

    @property
    def accuracy(self) -> float:
        return float(self.accuracies.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation of the folds' accuracies, over n as published."""
        return float(self.accuracies.std())


@dataclass(frozen=True, slots=True)
class TrueAccepts:
    """Means over the folds at thresholds chosen on the others for a rate of false accepts; nan without any."""

    rate: float  # of pairs of one person that are accepted, 0..1
    deviation: float
    false_accepts: float  # rate on the folds themselves


def unit(vectors: NDArray[np.floating]) -> Floats:
    """The rows of (n, width) at length 1; a row of zeros stays so."""
    vectors = np.asarray(vectors, np.float64)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def squared_distances(vectors: NDArray[np.floating], first: Integers, second: Integers) -> Floats:
    """(n,) between the rows `first` and `second` of (m, width) vectors, which are brought to length 1."""
    vectors = unit(vectors)
    found = np.empty(len(first))
    for start in range(0, len(first), CHUNK):
        part = slice(start, start + CHUNK)
        found[part] = np.square(vectors[first[part]] - vectors[second[part]]).sum(1)
    return found


def folds_in_order(count: int, folds: int = FOLDS) -> Integers:
    """(count,) the fold of each pair: parts in order, the first ones longer by one (sklearn's KFold unshuffled).

    Raises ValueError for fewer pairs than folds.
    """
    if count < folds:
        raise ValueError(f"{count} pairs cannot be parted into {folds} folds")
    sizes = np.full(folds, count // folds)
    sizes[: count % folds] += 1
    return np.repeat(np.arange(folds), sizes)


def ten_fold(distances: Floats, same: Truths, fold: Integers | None = None) -> TenFold:
    """For each fold the accuracy at the first of the thresholds that are best on the other folds (insightface).

    A pair is taken for one person if its squared distance is below the threshold. `fold` (n,): None, in order.
    """
    accepted_same, accepted_other, of_same, of_other = _accepted(distances, same, fold, THRESHOLDS)
    right = accepted_same + of_other[:, None] - accepted_other  # (folds, thresholds)
    best = (right.sum(0) - right).argmax(1)
    folds = np.arange(len(right))
    return TenFold(right[folds, best] / (of_same + of_other), THRESHOLDS[best])


def true_accepts(distances: Floats, same: Truths, far: float = 1e-3, fold: Integers | None = None) -> TrueAccepts:
    """VAL@FAR: the accepted share of each fold's pairs of one person at the threshold that gives `far` on the others.

    The threshold is interpolated linearly after the last one whose rate is not above `far`; 0 if no rate reaches it.
    Folds without pairs of one person, or of two, do not count in the mean that needs them.
    """
    _, accepted_other, _, of_other = _accepted(distances, same, fold, FINE_THRESHOLDS)
    with np.errstate(invalid="ignore"):
        rates = (accepted_other.sum(0) - accepted_other) / (of_other.sum() - of_other)[:, None]
    thresholds = np.array(
        [np.interp(far, rate, FINE_THRESHOLDS) if rate.max() >= far else 0.0 for rate in np.nan_to_num(rates)]
    )
    place = _places(len(distances), fold)
    accepted = distances < thresholds[place]
    true, false = _shares(accepted, place, same), _shares(accepted, place, ~same)
    return TrueAccepts(_mean(true), float(np.std(true)) if len(true) else float("nan"), _mean(false))


def roc(scores: NDArray[np.floating], same: Truths) -> tuple[Floats, Floats]:
    """Rates of false and of true accepts at every corner of the curve, rising from 0; a high score accepts.

    The same points as sklearn's roc_curve. Raises ValueError without pairs of both kinds.
    """
    if same.all() or not same.any():
        raise ValueError("a curve needs pairs of one person and pairs of two")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    true = np.cumsum(same[order], dtype=np.int32)
    del order
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)  # of the pairs of one score
    true = true[last]
    false = (last + 1 - true).astype(np.int32)
    if len(true) > 2:
        corner = np.ones(len(true), np.bool_)
        corner[1:-1] = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        true, false = true[corner], false[corner]
    return _from_zero(false), _from_zero(true)


def tar_at_far(scores: NDArray[np.floating], same: Truths, fars: Sequence[float] = FARS) -> Floats:
    """(fars,) rate of true accepts at the point of the curve whose rate of false ones is nearest, the higher on ties.

    On a tie of distances to either side the point with more accepts is taken, as published.
    """
    false, true = roc(scores, same)
    false, true = false[::-1], true[::-1]
    return np.array([true[np.abs(false - far).argmin()] for far in fars])


def _accepted(
    distances: Floats, same: Truths, fold: Integers | None, thresholds: Floats
) -> tuple[Integers, Integers, Integers, Integers]:
    """Accepted pairs of one person and of two, (folds, thresholds), and how many there are of each, (folds,)."""
    if distances.shape != same.shape or same.dtype != np.bool_:
        raise ValueError(f"distances are {distances.shape}, what is the same is {same.dtype} {same.shape}")
    place = _places(len(distances), fold)
    folds = range(place.max() + 1)
    if len(folds) < 2:
        raise ValueError("one fold only: no others to choose a threshold on")
    counts = []
    for kind in (same, ~same):
        sorted_by_fold = [np.sort(distances[kind & (place == number)]) for number in folds]
        counts.append(np.array([np.searchsorted(part, thresholds, side="left") for part in sorted_by_fold]))
        counts.append(np.array([len(part) for part in sorted_by_fold]))
    return counts[0], counts[2], counts[1], counts[3]


def _places(count: int, fold: Integers | None) -> Integers:
    """(count,) the fold of each pair, 0, 1, ... without gaps."""
    if fold is None:
        return folds_in_order(count)
    return np.unique(fold, return_inverse=True)[1]


def _shares(accepted: Truths, place: Integers, kind: Truths) -> Floats:
    """Of the pairs of a kind the accepted share in each fold that has any."""
    total = np.bincount(place[kind], minlength=1)
    found = np.bincount(place[kind & accepted], minlength=len(total))
    return np.asarray(found[total > 0] / total[total > 0])


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _from_zero(counts: NDArray[np.int32]) -> Floats:
    return np.concatenate([[0.0], counts / counts[-1]])
