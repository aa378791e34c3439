"""Formulas of classes, attributes and ages, on cases worked out by hand and beside scikit-learn."""

from math import exp

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from workers.research.evaluate.metrics import (
    accuracy,
    attribute_accuracies,
    class_accuracies,
    confusion_matrix,
    cumulative_score,
    epsilon_error,
    lines_without_own_group,
    mean_absolute_error,
    mean_class_accuracy,
    mean_over_groups,
)

TRUTH = np.array([0, 0, 0, 0, 1, 1, 2])
ANSWER = np.array([0, 0, 0, 1, 1, 0, 2])


def test_accuracy_counts_faces_and_mean_class_accuracy_counts_classes() -> None:
    assert accuracy(TRUTH, ANSWER) == pytest.approx(5 / 7)
    assert mean_class_accuracy(TRUTH, ANSWER, 3) == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    assert confusion_matrix(TRUTH, ANSWER, 3).tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_a_class_without_faces_has_no_accuracy_and_does_not_count_in_the_mean() -> None:
    assert class_accuracies(TRUTH, ANSWER, 4).tolist()[:3] == [0.75, 0.5, 1.0]
    assert np.isnan(class_accuracies(TRUTH, ANSWER, 4)[3])
    assert mean_class_accuracy(TRUTH, ANSWER, 4) == mean_class_accuracy(TRUTH, ANSWER, 3)


def test_classes_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth, answer = random.integers(0, 7, 500), random.integers(0, 7, 500)
    assert (confusion_matrix(truth, answer, 7) == sklearn_confusion_matrix(truth, answer)).all()
    assert mean_class_accuracy(truth, answer, 7) == pytest.approx(balanced_accuracy_score(truth, answer))


def test_a_class_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        confusion_matrix(TRUTH, ANSWER, 2)


def test_nothing_to_compare_is_an_error_and_not_a_number() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        accuracy(np.array([], np.int64), np.array([], np.int64))
    with pytest.raises(ValueError, match=r"\(2,\), the answers \(3,\)"):
        mean_absolute_error(np.zeros(2), np.zeros(3))


def test_attributes_are_judged_one_by_one_where_they_are_known() -> None:
    truth = np.array([[1, 0, -1], [0, -1, -1], [1, 1, -1], [0, 0, -1]])
    answer = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 0], [0, 0, 1]])
    found = attribute_accuracies(truth, answer)
    assert found[:2].tolist() == pytest.approx([3 / 4, 2 / 3])
    assert np.isnan(found[2])


def test_ages_are_judged_by_mean_error_and_by_the_share_within_five_years() -> None:
    truth, answer = np.array([20.0, 30, 40, 50]), np.array([25.0, 24.9, 40, 51])
    assert mean_absolute_error(truth, answer) == pytest.approx((5 + 5.1 + 0 + 1) / 4)
    assert cumulative_score(truth, answer, 5) == 0.75  # five years are within five years


def test_epsilon_error_is_that_of_chalearn() -> None:
    truth, spread, answer = np.array([30.0, 40, 50]), np.array([2.0, 4, 5]), np.array([30.0, 44, 40])
    expected = 1 - (1 + exp(-(4**2) / (2 * 4**2)) + exp(-(10**2) / (2 * 5**2))) / 3
    assert epsilon_error(truth, spread, answer) == pytest.approx(expected)


def test_where_all_people_agreed_an_age_is_right_or_wrong() -> None:
    zero = np.zeros(4)
    assert epsilon_error(np.array([30.0, 30, 30, 30]), zero, np.array([30.0, 30.001, 29, 99])) == pytest.approx(0.75)


def test_a_person_with_many_faces_counts_as_much_as_one_with_few() -> None:
    assert mean_over_groups(np.array([1.0, 1, 1, 5]), np.array([7, 7, 7, 9])) == 3.0


def test_each_person_is_corrected_by_a_line_through_the_others() -> None:
    random = np.random.default_rng(1)
    group = np.repeat([3, 5, 8, 9], [4, 7, 3, 6])
    truth = random.uniform(0, 70, len(group))
    answer = truth * 0.7 + 9 + random.normal(0, 3, len(group))
    corrected = lines_without_own_group(truth, answer, group).of(answer)
    for person in np.unique(group):
        own = group == person
        fitted = LinearRegression().fit(answer[~own, None], truth[~own])
        assert corrected[own] == pytest.approx(fitted.predict(answer[own, None]))


def test_answers_that_are_all_the_same_are_only_shifted() -> None:
    truth, group = np.array([10.0, 20, 30, 60]), np.array([0, 0, 1, 1])
    corrected = lines_without_own_group(truth, np.full(4, 33.0), group).of(np.full(4, 33.0))
    assert corrected == pytest.approx([45, 45, 15, 15])


def test_a_line_needs_another_person() -> None:
    with pytest.raises(ValueError, match="only one group"):
        lines_without_own_group(np.array([1.0, 2]), np.array([1.0, 2]), np.array([4, 4]))
