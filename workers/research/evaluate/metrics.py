"""Compute metrics of classes, attributes and ages from arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]
Classes = NDArray[np.integer]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def accuracy(truth: Classes, answer: Classes) -> float:
    """Return the share of n answers that are right, 0..1. Raises ValueError if n is 0."""
    _check(truth, answer)
    return float((truth == answer).mean())


def confusion_matrix(truth: Classes, answer: Classes, classes: int) -> Integers:
    """Return the number of faces by true class (row) and predicted class (column), (classes, classes)."""
    _check(truth, answer)
    if min(truth.min(), answer.min()) < 0 or max(truth.max(), answer.max()) >= classes:
        raise ValueError(f"classes are within 0..{classes - 1}")
    pairs = truth.astype(np.int64) * classes + answer
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_accuracies(truth: Classes, answer: Classes, classes: int) -> Floats:
    """Return the share of right answers of each class, (classes,), nan for a class without faces."""
    matrix = confusion_matrix(truth, answer, classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diagonal(matrix) / matrix.sum(1))


def mean_class_accuracy(truth: Classes, answer: Classes, classes: int) -> float:
    """Return the mean of `class_accuracies` over the classes with faces: rare ones weigh as much as common ones."""
    return float(np.nanmean(class_accuracies(truth, answer, classes)))


def attribute_accuracies(truth: Classes, answer: Classes, unknown: int = -1) -> Floats:
    """Return the share of right answers per attribute, (k,), of (n, k) truth and answers; nan without known labels."""
    _check(truth, answer)
    known = truth != unknown
    right = (truth == answer) & known
    with np.errstate(invalid="ignore"):
        return np.asarray(right.sum(0) / known.sum(0))


def mean_absolute_error(truth: Numbers, answer: Numbers) -> float:
    """Return the mean absolute error of n ages in years."""
    _check(truth, answer)
    return float(np.abs(_difference(truth, answer)).mean())


def epsilon_error(truth: Numbers, spread: Numbers, answer: Numbers) -> float:
    """Return 1 - mean(exp(-d^2 / (2 spread^2))), the error of ChaLearn LAP 2015, 0..1; `spread` (n,) in years.

    For a spread of 0 the error is the limit of the formula: 0 for the exact age, else 1.
    """
    _check(truth, answer)
    smallest = np.finfo(np.float64).tiny ** 0.25  # its square is not yet 0
    distance = np.abs(_difference(truth, answer)) / np.maximum(np.asarray(spread, np.float64), smallest)
    return float(1 - np.exp(-(np.minimum(distance, 1e3) ** 2) / 2).mean())


def cumulative_score(truth: Numbers, answer: Numbers, years: float) -> float:
    """Return CS@years, the share of ages with an error of at most `years`, 0..1."""
    _check(truth, answer)
    return float((np.abs(_difference(truth, answer)) <= years).mean())


def mean_over_groups(values: Numbers, group: Integers) -> float:
    """Return the mean over groups of the mean of each group, so that large groups do not weigh more."""
    _check(values, group)
    _, index = np.unique(group, return_inverse=True)
    return float((np.bincount(index, values) / np.bincount(index)).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """The line age = slope * answer + shift, one per face."""

    slope: Floats  # (n,)
    shift: Floats  # (n,) years

    def of(self, answer: Numbers) -> Floats:
        """Return the corrected answers, (n,) years."""
        return self.slope * answer + self.shift


def lines_without_own_group(truth: Numbers, answer: Numbers, group: Integers) -> Line:
    """Fit for each face a least squares line from answer to truth on the faces of all other groups.

    If the answers of the other groups are all the same, only the shift is fitted. Raises ValueError for fewer than two
    groups.
    """
    _check(truth, answer)
    _, index = np.unique(group, return_inverse=True)
    if index.max() < 1:
        raise ValueError("there is only one group, so no others to fit a line to")
    centre = answer.astype(np.float64).mean()  # sums of centred values do not lose digits
    x, y = answer.astype(np.float64) - centre, truth.astype(np.float64)
    count, sum_x, sum_y, sum_xx, sum_xy = (
        (total := np.bincount(index, weight)).sum() - total for weight in (np.ones_like(x), x, y, x * x, x * y)
    )
    spread = sum_xx - sum_x**2 / count
    usable = spread > 1e-9 * np.maximum(count, 1)
    slope = np.where(usable, (sum_xy - sum_x * sum_y / count) / np.where(usable, spread, 1), 1.0)
    shift = (sum_y - slope * sum_x) / count - slope * centre
    return Line(slope[index], shift[index])


def _difference(truth: Numbers, answer: Numbers) -> Floats:
    return np.asarray(answer, np.float64) - np.asarray(truth, np.float64)


def _check(truth: NDArray[np.generic], answer: NDArray[np.generic]) -> None:
    if truth.shape != answer.shape:
        raise ValueError(f"the truth has shape {truth.shape}, the answers {answer.shape}")
    if not truth.size:
        raise ValueError("there is nothing to compare")
