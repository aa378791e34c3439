"""A face that fills the picture is one face."""

import numpy as np
import pytest

from streamer.boxes import iou
from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.detect.large import combined
from streamer.detect.stills import StillDetector
from streamer.detect.watch import LARGE_S, Watch
from streamer.values import Detections
from tests.detect.test_turned import Counted, frame
from tests.support.photographs import FACE, read_portrait
from tests.support.turning import close_up

SQUARE = np.zeros((640, 640, 3), np.uint8)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(Detect())


def faces(*rows: tuple[float, float, float, float, float]) -> Detections:
    """Faces x1 y1 x2 y2 score."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4], np.zeros((len(rows), 5, 2), np.float32))


@pytest.mark.parametrize("share", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2])
@pytest.mark.parametrize("size", [(640, 640), (1280, 720), (480, 640), (720, 1280), (240, 240)])
def test_a_face_is_found_once_whatever_share_of_the_picture_it_fills(
    share: float, size: tuple[int, int], detector: Detector
) -> None:
    picture, box = close_up(read_portrait(), FACE, share, size)
    (found,) = StillDetector(detector, 0.5).detect([picture])
    assert len(found) == 1
    assert iou(found.boxes, box[None])[0, 0] > 0.6


def test_a_camera_with_a_face_close_up_takes_about_one_look_at_each_frame(detector: Detector) -> None:
    picture, box = close_up(read_portrait(), FACE, 0.9, (640, 640))
    counted = Counted(detector)
    watch = Watch(counted)  # type: ignore[arg-type]
    for number in range(50):
        (found,) = watch.detect([frame(picture, number / 25)])
        assert (found.scores >= 0.5).sum() == 1
        assert iou(found.boxes[:1], box[None])[0, 0] > 0.6
    assert counted.looks <= 50 + 2 / LARGE_S + 1


def test_the_face_of_a_camera_that_goes_away_is_found_at_once_by_the_first_look(detector: Detector) -> None:
    near, _ = close_up(read_portrait(), FACE, 0.9, (640, 640))
    far, box = close_up(read_portrait(), FACE, 0.15, (640, 640))
    watch = Watch(detector)
    for number in range(3):
        watch.detect([frame(near, number / 25)])
    (found,) = watch.detect([frame(far, 0.12)])
    assert iou(found.boxes[:1], box[None])[0, 0] > 0.6


def test_an_empty_scene_is_seldom_looked_at_twice(detector: Detector) -> None:
    counted = Counted(detector)
    watch = Watch(counted)  # type: ignore[arg-type]
    for number in range(100):
        assert not (watch.detect([frame(SQUARE, number / 25)])[0].scores >= 0.5).any()
    assert counted.looks <= 100 + 3


def test_boxes_on_parts_of_a_large_face_become_one() -> None:
    first = faces((100, 60, 380, 400, 0.8), (180, 200, 450, 560, 0.6), (20, 300, 60, 350, 0.7))
    second = faces((80, 40, 520, 600, 0.9))
    both = combined(first, second, SQUARE, Detect())
    assert both.boxes.tolist() == [[80, 40, 520, 600], [20, 300, 60, 350]]


def test_a_face_in_front_of_a_large_one_stays_if_both_looks_show_it() -> None:
    first = faces((300, 380, 420, 520, 0.8), (150, 100, 230, 200, 0.6))
    second = faces((80, 40, 520, 600, 0.9), (305, 385, 415, 515, 0.7))
    both = combined(first, second, SQUARE, Detect())
    assert both.boxes.tolist() == [[80, 40, 520, 600], [300, 380, 420, 520]]


def test_the_first_look_stays_as_it_is_if_the_second_agrees() -> None:
    first = faces((100, 60, 330, 340, 0.8), (400, 300, 440, 350, 0.7))
    assert combined(first, faces((105, 62, 332, 345, 0.9)), SQUARE, Detect()) is first
    assert combined(first, Detections.none(), SQUARE, Detect()) is first
