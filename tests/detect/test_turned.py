"""Faces turned in the plane get the landmarks of a turned face, in images and in videos, or are known to have wrong
ones."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from streamer.config import Crop, Detect
from streamer.configfile import parse_config
from streamer.detect.detector import Detector
from streamer.detect.stills import StillDetector
from streamer.detect.turned import look_upright, replaced, rolls_of, survivors
from streamer.detect.watch import UPRIGHT_S, Watch
from streamer.observe import Observer
from streamer.select.align import TEMPLATE, align, fit
from streamer.select.quality import geometry
from streamer.track.keys import recorded_keys
from streamer.values import Bytes, ClockSource, Detections, Floats, Frame, Reason
from tests.support.photographs import read_portrait
from tests.support.turning import moved, turned

ANGLES = (0, 20, 60, 90, 120, 150, 180, 210, 240, 300, 345)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(Detect())


@pytest.fixture(scope="module")
def upright(detector: Detector) -> Detections:
    return detector.detect([read_portrait()])[0].rows(np.array([0]))


def error(landmarks: Floats, truth: Floats) -> float:
    """The mean distance of landmarks (5, 2), in eye distances."""
    return float(np.linalg.norm(landmarks - truth, axis=1).mean() / np.linalg.norm(truth[0] - truth[1]))


def frame(pixels: Bytes, time: float, camera: str = "cam", epoch: int = 1) -> Frame:
    return Frame(camera, epoch, time, None, ClockSource.FILE_PTS, 0.0, pixels)


def difference(crop: Bytes, other: Bytes) -> float:
    """The mean difference of two crops, 0..255, without their fine detail."""
    return float(np.abs(cv2.blur(crop, (5, 5)).astype(np.float32) - cv2.blur(other, (5, 5))).mean())


class Counted:
    """A detector that counts the images it looks at."""

    def __init__(self, detector: Detector) -> None:
        self.config, self.looks, self._detector = detector.config, 0, detector

    def detect(self, images: list[Bytes]) -> list[Detections]:
        self.looks += len(images)
        return self._detector.detect(images)


@pytest.mark.parametrize("degrees", ANGLES)
def test_the_landmarks_of_a_turned_portrait_turn_with_it(degrees: int, detector: Detector, upright: Detections) -> None:
    pixels, matrix = turned(read_portrait(), degrees)
    (found,) = StillDetector(detector, 0.6).detect([pixels])  # a second, false face scores 0.49 to 0.59
    assert len(found) == 1
    assert not found.turned[0]
    assert error(found.landmarks[0], moved(upright.landmarks[0], matrix)) < 0.15
    turn, _, _ = fit(found.landmarks[0])
    assert abs((np.degrees(np.angle(turn)) + degrees + 180) % 360 - 180) < 12
    middle = (found.boxes[0, :2] + found.boxes[0, 2:]) / 2
    assert np.linalg.norm(middle - moved((upright.boxes[0, :2] + upright.boxes[0, 2:]) / 2, matrix)) < 20


def test_the_crop_of_a_turned_portrait_is_that_of_the_upright_one(detector: Detector, upright: Detections) -> None:
    straight = align(read_portrait(), upright.landmarks[0])
    pixels, _ = turned(read_portrait(), 180)
    (found,) = StillDetector(detector, 0.5).detect([pixels])
    crop = align(pixels, found.landmarks[0])
    assert difference(crop, straight) < 20
    assert difference(np.ascontiguousarray(crop[::-1, ::-1]), straight) > 40


def test_a_turned_face_in_a_video_is_corrected_at_few_further_looks(detector: Detector, upright: Detections) -> None:
    pixels, matrix = turned(read_portrait(), 140)
    counted = Counted(detector)
    watch = Watch(counted)  # type: ignore[arg-type]
    given = [watch.detect([frame(pixels, number / 25)])[0] for number in range(25)]
    for found in given:
        assert (found.scores >= 0.5).sum() == 1
        assert error(found.landmarks[0], moved(upright.landmarks[0], matrix)) < 0.15
    usable = [number for number, found in enumerate(given) if not found.turned[0]]
    assert usable[0] == 0
    assert np.diff(usable).max() <= round(25 * UPRIGHT_S) + 1
    assert counted.looks <= 25 + 1 / UPRIGHT_S + 2


@pytest.mark.parametrize("degrees", [90, 180])
def test_the_crop_sent_of_a_turned_face_in_a_video_is_upright(
    degrees: int, detector: Detector, upright: Detections
) -> None:
    straight = align(read_portrait(), upright.landmarks[0])
    pixels, _ = turned(read_portrait(), degrees)
    observer = Observer(parse_config({"track": {"confirm_hits": 2}}, "test"), detector, recorded_keys("content"))
    crops = [crop for number in range(20) for crop in observer.observe([frame(pixels, number / 10)])[0].crops]
    assert crops
    for crop in crops:
        assert crop.quality.value > 0.4
        assert difference(crop.pixels, straight) < 20


def test_upright_faces_in_a_video_are_exactly_those_of_the_detector(detector: Detector) -> None:
    pixels, _ = turned(read_portrait(), 15)
    counted = Counted(detector)
    watch = Watch(counted)  # type: ignore[arg-type]
    (plain,) = detector.detect([pixels])
    for number in range(30):
        (found,) = watch.detect([frame(pixels, number / 10)])
        for name in ("boxes", "scores", "landmarks"):
            np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
        assert not found.turned.any()
    assert counted.looks <= 30 + 4  # weak boxes that may be turned faces


def test_a_camera_that_is_forgotten_or_connects_again_starts_from_nothing(detector: Detector) -> None:
    pixels, _ = turned(read_portrait(), 140)
    watch = Watch(detector)
    assert not watch.detect([frame(pixels, 0.0)])[0].turned[0]
    assert watch.detect([frame(pixels, 0.04)])[0].turned[0]  # moved from the frame before
    assert not watch.detect([frame(pixels, 0.08, epoch=2)])[0].turned[0]
    watch.forget("cam")
    assert not watch.detect([frame(pixels, 0.1, epoch=2)])[0].turned[0]
    assert not watch.detect([frame(pixels, 0.0, camera="other")])[0].turned[0]


def test_a_turned_face_that_is_not_found_again_is_an_extreme_pose_of_no_quality(upright: Detections) -> None:
    for confidence, turned_then in ((1.0, True), (0.7, False)):
        down = np.array([[-confidence, 0]], np.float32)
        faces, found = look_upright(read_portrait(), upright, down, lambda _: Detections.none())
        assert (found.tolist(), faces.turned.tolist()) == ([False], [turned_then])
        np.testing.assert_array_equal(faces.landmarks, upright.landmarks)
    good = geometry(0.9, upright.landmarks[0], (512, 512), Crop())
    bad = geometry(0.9, upright.landmarks[0], (512, 512), Crop(), turned=True)
    assert good.reasons == ()
    assert good.value > 0.5
    assert (bad.value, bad.reasons) == (0.0, (Reason.EXTREME_POSE,))


@pytest.mark.parametrize("degrees", range(-180, 180, 45))
def test_the_roll_of_landmarks_is_clockwise_in_the_picture(degrees: int) -> None:
    turn = np.exp(1j * np.radians(degrees))
    points = (TEMPLATE @ [1, 1j]) * turn
    (roll,) = rolls_of(np.stack([points.real, points.imag], axis=1)[None].astype(np.float32))
    assert abs((np.degrees(roll) - degrees + 180) % 360 - 180) < 1


def test_boxes_on_parts_of_a_turned_face_become_one_and_other_faces_stay() -> None:
    boxes = np.array([[0, 0, 100, 100], [50, 10, 90, 60], [60, 60, 140, 150], [5, 5, 100, 95]], np.float32)
    found = Detections(boxes, np.array([0.6, 0.2, 0.9, 0.3], np.float32), np.zeros((4, 5, 2), np.float32))
    again = replace(found.rows(np.array([0])), scores=np.array([0.8], np.float32))
    kept = survivors(replaced(found, np.array([0]), again), np.array([True, False, False, False]))
    assert kept.tolist() == [2, 0]
