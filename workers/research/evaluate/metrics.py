"""How right answers are: classes, attributes and ages. Arrays in, numbers out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]
Classes = NDArray[np.integer]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def accuracy(truth: Classes, answer: Classes) -> float:
    """Share of n answers that are right, 0..1. Raises ValueError if there are none."""
    _check(truth, answer)
    return float((truth == answer).mean())


def confusion_matrix(truth: Classes, answer: Classes, classes: int) -> Integers:
    """(classes, classes): how many faces of the class of a row were given the class of a column."""
    _check(truth, answer)
    if min(truth.min(), answer.min()) < 0 or max(truth.max(), answer.max()) >= classes:
        raise ValueError(f"classes are within 0..{classes - 1}")
    pairs = truth.astype(np.int64) * classes + answer
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_accuracies(truth: Classes, answer: Classes, classes: int) -> Floats:
    """(classes,): share of right answers among the faces of each class, nan for a class without faces."""
    matrix = confusion_matrix(truth, answer, classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diagonal(matrix) / matrix.sum(1))


def mean_class_accuracy(truth: Classes, answer: Classes, classes: int) -> float:
    """The mean of `class_accuracies` over the classes that have faces: rare ones count as much as common ones."""
    return float(np.nanmean(class_accuracies(truth, answer, classes)))


def attribute_accuracies(truth: Classes, answer: Classes, unknown: int = -1) -> Floats:
    """(k,): share of right answers per attribute, of (n, k) truth and answers 0 or 1; nan where nothing is known."""
    _check(truth, answer)
    known = truth != unknown
    right = (truth == answer) & known
    with np.errstate(invalid="ignore"):
        return np.asarray(right.sum(0) / known.sum(0))


def mean_absolute_error(truth: Numbers, answer: Numbers) -> float:
    """Mean distance of n ages, years."""
    _check(truth, answer)
    return float(np.abs(_difference(truth, answer)).mean())


def epsilon_error(truth: Numbers, spread: Numbers, answer: Numbers) -> float:
    """1 - mean(exp(-d^2 / (2 spread^2))), the error of ChaLearn LAP 2015, 0..1; `spread` (n,) in years.

    Where people all agreed (a spread of 0) an answer is either right, 0, or wrong, 1: the limit of the formula.
    """
    _check(truth, answer)
    smallest = np.finfo(np.float64).tiny ** 0.25  # its square is not yet 0
    distance = np.abs(_difference(truth, answer)) / np.maximum(np.asarray(spread, np.float64), smallest)
    return float(1 - np.exp(-(np.minimum(distance, 1e3) ** 2) / 2).mean())


def cumulative_score(truth: Numbers, answer: Numbers, years: float) -> float:
    """CS@years: share of ages that are wrong by at most so many years, 0..1."""
    _check(truth, answer)
    return float((np.abs(_difference(truth, answer)) <= years).mean())


def mean_over_groups(values: Numbers, group: Integers) -> float:
    """Mean of the means of each group, so that those with many values do not count more."""
    _check(values, group)
    _, place = np.unique(group, return_inverse=True)
    return float((np.bincount(place, values) / np.bincount(place)).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """age = slope * answer + shift, one line per face."""

    slope: Floats  # (n,)
    shift: Floats  # (n,) years

    def of(self, answer: Numbers) -> Floats:
        """The corrected answers, (n,) years."""
        return self.slope * answer + self.shift


def lines_without_own_group(truth: Numbers, answer: Numbers, group: Integers) -> Line:
    """For each face the least squares line from answer to truth over the faces of all the other groups.

    If the answers there are all the same, only the shift is fitted. Raises ValueError for fewer than two groups.
    """
    _check(truth, answer)
    _, place = np.unique(group, return_inverse=True)
    if place.max() < 1:
        raise ValueError("there is one group only, so no others to fit a line to")
    middle = answer.astype(np.float64).mean()  # sums about it lose no digits
    x, y = answer.astype(np.float64) - middle, truth.astype(np.float64)
    count, sum_x, sum_y, sum_xx, sum_xy = (
        (total := np.bincount(place, weight)).sum() - total for weight in (np.ones_like(x), x, y, x * x, x * y)
    )
    spread = sum_xx - sum_x**2 / count
    usable = spread > 1e-9 * np.maximum(count, 1)
    slope = np.where(usable, (sum_xy - sum_x * sum_y / count) / np.where(usable, spread, 1), 1.0)
    shift = (sum_y - slope * sum_x) / count - slope * middle
    return Line(slope[place], shift[place])


def _difference(truth: Numbers, answer: Numbers) -> Floats:
    return np.asarray(answer, np.float64) - np.asarray(truth, np.float64)


def _check(truth: NDArray[np.generic], answer: NDArray[np.generic]) -> None:
    if truth.shape != answer.shape:
        raise ValueError(f"the truth is {truth.shape}, the answers are {answer.shape}")
    if not truth.size:
        raise ValueError("there is nothing to compare")
