"""What public detectors agree on, from constructed faces."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from faceanalytics.errors import ModelError
from streamer.values import Bytes, Detections
from workers.research.detector.teachers import SIDE, Agreement, Teacher, agree, find, open_teacher, usual_scales


def faces(*entries: tuple[tuple[float, float, float, float], float]) -> Detections:
    """Faces with these boxes and scores; each landmark in the middle of its box."""
    boxes = np.array([box for box, _ in entries], np.float32).reshape(-1, 4)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    scores = np.array([score for _, score in entries], np.float32)
    return Detections(boxes, scores, np.repeat(middle[:, None], 5, axis=1))


def test_two_teachers_make_a_face_and_one_alone_makes_it_unsure() -> None:
    one = faces(((10, 10, 50, 50), 0.9), ((100, 100, 140, 140), 0.8))
    other = faces(((14, 10, 54, 50), 0.6), ((300, 300, 340, 340), 0.9))
    found: Agreement = agree([one, other, Detections.none()])
    # by hand: x1 = (10 * 0.9 + 14 * 0.6) / 1.5
    np.testing.assert_allclose(found.faces.boxes, [[11.6, 10, 51.6, 50]], rtol=1e-5)
    np.testing.assert_allclose(found.faces.landmarks[0], np.full((5, 2), (31.6, 30)), rtol=1e-5)
    np.testing.assert_allclose(found.faces.scores, [0.75], rtol=1e-5)
    assert sorted(found.unsure[:, 0]) == [100, 300]


def test_neighbours_are_not_one_face_and_weak_agreement_is_unsure() -> None:
    one = faces(((0, 0, 40, 40), 0.9), ((200, 0, 240, 40), 0.4))
    other = faces(((30, 0, 70, 40), 0.9), ((200, 0, 240, 40), 0.4))
    found = agree([one, other])
    assert len(found.faces) == 0
    assert sorted(found.unsure[:, 0]) == [0, 30, 200]


def test_a_large_image_is_looked_at_in_squares_without_losing_or_doubling_a_face() -> None:
    image = np.zeros((900, 1500, 3), np.uint8)
    wanted = [(30, 40), (600, 420), (900, 500), (1380, 790)]
    for left, top in wanted:
        image[top : top + 60, left : left + 60] = 255

    def look(square: Bytes) -> Detections:
        """Every white spot of the square."""
        _, _, stats, _ = cv2.connectedComponentsWithStats((square[:, :, 0] > 200).astype(np.uint8))
        return faces(*(((left, top, left + width, top + height), 0.9) for left, top, width, height, _ in stats[1:]))

    found = find(Teacher("spots", look), image, (SIDE / 1500, 1.0))
    assert len(found) == len(wanted)
    for left, top in wanted:
        near = np.abs(found.boxes - (left, top, left + 60, top + 60)).max(axis=1)
        assert near.min() <= 3


def test_scales_show_an_image_whole_and_close() -> None:
    assert usual_scales(np.zeros((100, 200, 3), np.uint8)) == (1.0, 2.0)
    assert usual_scales(np.zeros((1080, 1920, 3), np.uint8)) == pytest.approx((1 / 6, 1 / 3, 2 / 3, 1.0))


def test_a_file_that_is_no_teacher_is_refused_with_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        open_teacher(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="not an ONNX model"):
        open_teacher(tmp_path / "broken.onnx")
