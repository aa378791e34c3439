"""Detections against labelled faces, by cases computed by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from streamer.evaluate.score import (
    FALSE_HIT,
    IGNORED,
    Match,
    Truth,
    average_precision,
    by_height,
    curve,
    landmark_errors,
    match,
    summarise,
)
from streamer.values import Detections, Floats

Box = tuple[float, float, float]  # left, top, side


def corners(boxes: Sequence[Box]) -> Floats:
    return np.array([(x, y, x + side, y + side) for x, y, side in boxes], np.float32).reshape(-1, 4)


def truth(*boxes: Box, ignored: Sequence[int] = ()) -> Truth:
    return Truth(
        corners(boxes), np.isin(np.arange(len(boxes)), ignored), np.full((len(boxes), 5, 2), np.nan, np.float32)
    )


def found(*boxes: Box, scores: Sequence[float] = ()) -> Detections:
    return Detections(
        corners(boxes),
        np.array(scores or [0.9] * len(boxes), np.float32),
        np.zeros((len(boxes), 5, 2), np.float32),
    )


@pytest.mark.parametrize(
    ("labelled", "detections", "expected"),
    [
        (truth(), found(), []),
        (truth((0, 0, 40)), found(), []),
        (truth(), found((0, 0, 40)), [FALSE_HIT]),
        # two thirds of each box common: an IoU of 1/2 is a hit, less is not
        (truth((0, 0, 30)), found((10, 0, 30)), [0]),
        (truth((0, 0, 30)), found((11, 0, 30)), [FALSE_HIT]),
        # each face once: the second detection of it is false, however well it fits
        (truth((0, 0, 40)), found((4, 0, 40), (0, 0, 40), scores=[0.9, 0.8]), [0, FALSE_HIT]),
        # the strongest chooses first, the face it overlaps most; the weaker one takes what is left
        (truth((0, 0, 40), (12, 0, 40)), found((4, 0, 40), (5, 0, 40), scores=[0.5, 0.9]), [1, 0]),
        # in an ignored face there is nothing to win or lose, but a face that counts goes before it
        (truth((0, 0, 40), ignored=[0]), found((0, 0, 40), (2, 0, 40)), [IGNORED, IGNORED]),
        (truth((0, 0, 40), (5, 0, 40), ignored=[0]), found((0, 0, 40)), [1]),
        # half of it inside an ignored region is enough
        (truth((0, 0, 400), ignored=[0]), found((380, 0, 40), (381, 0, 40)), [IGNORED, FALSE_HIT]),
        # too small to count: the label, and a detection that is of nothing labelled
        (truth((0, 0, 20)), found((0, 0, 26), (90, 90, 20), (90, 90, 24)), [IGNORED, IGNORED, FALSE_HIT]),
        # but a small detection of a face that counts is its detection
        (truth((0, 0, 24)), found((0, 0, 22)), [0]),
    ],
)
def test_which_detection_is_which_face(labelled: Truth, detections: Detections, expected: list[int]) -> None:
    assert match(labelled, detections, 24).faces.tolist() == expected


def test_the_curve_takes_equal_scores_together_and_its_area_is_that_of_its_envelope() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.7, 0.6], np.float32)
    hits = np.array([True, False, True, True, False])
    levels, precision, recall = curve(scores, hits, 4)
    np.testing.assert_allclose(levels, [0.9, 0.8, 0.7, 0.6])
    np.testing.assert_allclose(precision, [1, 1 / 2, 3 / 4, 3 / 5])
    np.testing.assert_allclose(recall, [1 / 4, 1 / 4, 3 / 4, 3 / 4])
    # 1 up to a recall of 1/4, then 3/4 up to 3/4, nothing beyond
    assert average_precision(precision, recall) == pytest.approx(1 / 4 + 3 / 4 * 2 / 4)
    assert average_precision(*curve(np.zeros(0, np.float32), np.zeros(0, np.bool_), 4)[1:]) == 0


def test_landmark_errors_are_shares_of_the_labelled_eye_distance() -> None:
    points = np.array([[(10, 10), (40, 50), (30, 60), (20, 80), (40, 80)]], np.float32)  # eyes 50 apart
    moved = points + np.array([(3, 4), (0, 0), (10, 0), (0, -5), (0, 1)], np.float32)
    np.testing.assert_allclose(landmark_errors(points, moved), [[0.1, 0, 0.2, 0.1, 0.02]], rtol=1e-5)


def two_images() -> list[Match]:
    """Five faces that count; at 0.5 three of them found, one false hit; a fourth at 0.2 beside another false hit."""
    points = np.array([[(10, 10), (30, 10), (20, 20), (12, 30), (28, 30)]], np.float32)
    first = truth((0, 0, 40), (100, 0, 100), (300, 0, 14), (400, 0, 8))
    first.landmarks[0] = points
    detections = found(
        (0, 0, 40), (100, 0, 100), (300, 0, 14), (500, 0, 60), (400, 0, 8), scores=[0.95, 0.5, 0.2, 0.9, 0.99]
    )
    detections.landmarks[0] = points + np.float32(2 / np.sqrt(2))  # 2 px off, eyes 20 px apart
    second = truth((0, 0, 30), (100, 0, 30))
    return [
        match(first, detections, 12),
        match(second, found((100, 0, 30), (200, 0, 30), scores=[0.85, 0.1]), 12),
    ]


def test_many_images_are_summed_up() -> None:
    score = summarise(two_images(), min_score=0.5, precision=0.8)
    assert (score.images, score.ignored) == (2, 1)
    assert (score.at_score.faces, score.at_score.hits, score.at_score.false_hits) == (5, 3, 1)
    assert (score.at_score.recall, score.at_score.precision) == (3 / 5, 3 / 4)
    assert {name: (counts.faces, counts.hits, counts.false_hits) for name, counts in score.by_size.items()} == {
        "12-24 px": (1, 0, 0),
        "24-48 px": (3, 2, 0),
        "48-96 px": (0, 0, 1),  # a false hit is counted by its own width
        ">= 96 px": (1, 1, 0),
    }
    assert score.by_size["48-96 px"].recall is None
    assert score.by_size["12-24 px"].precision is None
    assert {
        level: (counts.hits, counts.false_hits) for level, counts in score.levels.items() if level in (0.1, 0.2)
    } == {
        0.1: (4, 2),
        0.2: (4, 1),
    }
    # strongest first: hit, false, hit, hit, hit, false: 4/5 at the score of 0.2
    assert score.recall_at_precision == 4 / 5
    assert score.score_at_precision == pytest.approx(0.2)
    assert score.average_precision == pytest.approx(1 / 5 + 3 / 5 * 4 / 5)
    assert score.landmarks is not None
    assert score.landmarks.faces == 1
    assert (score.landmarks.mean, score.landmarks.worst) == pytest.approx((0.1, 0.1))
    assert score.landmarks.each == pytest.approx(dict.fromkeys(score.landmarks.each, 0.1))


def test_levels_are_counted_as_by_wider_face() -> None:
    faces = truth((0, 0, 60), (100, 0, 60), (200, 0, 35), (300, 0, 12), (400, 0, 60), ignored=[4])
    looks = found(
        *((0, 0, 60), (2, 0, 60), (200, 0, 35), (300, 0, 12), (400, 0, 60), (500, 0, 11)),
        scores=[0.9, 0.8, 0.7, 0.6, 0.95, 0.5],
    )
    levels = by_height([match(faces, looks, 12)])
    assert {name: one.faces for name, one in levels.items()} == {"easy": 2, "medium": 3, "hard": 4}
    # in order: right, a second one of that face: false, of another level; the tiny one behind them is false as well
    assert levels["easy"].average_precision == pytest.approx(1 / 2)
    # right, false, right: precision 1 and 2/3 at recall 1/3 and 2/3
    assert levels["medium"].average_precision == pytest.approx((1 + 2 / 3) / 3)
    assert levels["hard"].average_precision == pytest.approx((1 + 3 / 4 + 3 / 4) / 4)
    nobody = by_height([match(truth(), looks, 12)])["easy"]
    assert (nobody.faces, nobody.average_precision) == (0, None)


def test_a_precision_that_is_never_reached_and_nothing_labelled_are_not_a_number() -> None:
    wrong = match(truth((0, 0, 40)), found((100, 0, 40)), 12)
    assert summarise([wrong], 0.5, 0.97).recall_at_precision is None
    score = summarise([match(truth(), found(), 12)], 0.5, 0.97)
    assert (score.at_score.recall, score.at_score.precision, score.average_precision) == (None, None, None)
    assert score.landmarks is None
    assert score.by_size == {}


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        Truth(corners([(0, 0, 4)]), np.zeros(2, np.bool_), np.zeros((1, 5, 2), np.float32))
