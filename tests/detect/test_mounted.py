"""Pictures that are turned as a whole, by cameras on their side or upside down, show their faces like upright ones."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.detect.mounted import CHECK_S, KEPT_S, RECHECK_S, MountedWatch
from streamer.detect.mounting import turned, turned_back
from streamer.detect.stills import StillDetector
from streamer.values import Bytes, ClockSource, Detections, Frame
from tests.support.photographs import read_portrait


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(Detect())


@pytest.fixture(scope="module")
def room() -> Bytes:
    """A picture (360, 640, 3) with a face of moderate size, which the detector misses on its side."""
    face = cv2.resize(read_portrait(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)[:300, :300]
    picture = np.full((360, 640, 3), 96, np.uint8)
    picture[40 : 40 + face.shape[0], 230 : 230 + face.shape[1]] = face
    return picture


def frame(pixels: Bytes, time: float, epoch: int = 1) -> Frame:
    return Frame("cam", epoch, time, None, ClockSource.FILE_PTS, 0.0, pixels)


def right(found: Detections, expected: Detections) -> bool:
    """Whether the first face has the expected landmarks, up to a quarter of the eye distance, and is said to."""
    if not len(found) or found.turned[0]:
        return False
    eyes = float(np.linalg.norm(expected.landmarks[0, 0] - expected.landmarks[0, 1]))
    return bool(np.linalg.norm(found.landmarks[0] - expected.landmarks[0], axis=1).mean() < eyes / 4)


def strongest(detector: Detector, picture: Bytes) -> Detections:
    return detector.detect([picture])[0].rows(np.array([0]))


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_points_return_to_their_place_in_the_picture(turn: int) -> None:
    picture = np.zeros((90, 160, 3), np.uint8)
    picture[20:30, 100:120] = 255
    seen = turned(picture, turn)
    ys, xs = np.nonzero(seen[:, :, 0])
    box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
    faces = Detections(box, np.ones(1, np.float32), np.repeat(box[:, None, :2], 5, axis=1))
    assert turned_back(faces, turn, picture).boxes.tolist() == [[100, 20, 120, 30]]


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_every_frame_of_a_turned_video_has_the_right_landmarks(detector: Detector, room: Bytes, turn: int) -> None:
    watch, picture = MountedWatch(detector), turned(room, turn)
    expected = turned_back(strongest(detector, room), 4 - turn, picture)
    found = [watch.detect([frame(picture, number / 10)])[0] for number in range(12)]
    assert [right(faces, expected) for faces in found] == [True] * 12


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_an_image_on_its_side_is_seen_upright(detector: Detector, room: Bytes, turn: int) -> None:
    picture = turned(room, turn)
    expected = turned_back(strongest(detector, room), 4 - turn, picture)
    found = StillDetector(detector, 0.5).detect([picture])[0]
    assert len(found) == 1
    assert right(found, expected)


def test_upright_frames_keep_what_the_detector_gives(detector: Detector, room: Bytes) -> None:
    watch, expected = MountedWatch(detector), detector.detect([room])[0]
    for number in range(8):
        found = watch.detect([frame(room, number / 2)])[0]
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.landmarks, expected.landmarks)


def test_a_camera_that_is_turned_back_is_followed(detector: Detector, room: Bytes) -> None:
    watch, expected = MountedWatch(detector), strongest(detector, room)
    watch.detect([frame(turned(room, 1), 0.0)])
    assert right(watch.detect([frame(room, RECHECK_S)])[0], expected)


def test_a_position_is_given_up_after_a_long_time_without_faces(detector: Detector, room: Bytes) -> None:
    watch, empty = MountedWatch(detector), np.full_like(room, 96)
    watch.detect([frame(turned(room, 1), 0.0)])
    for number in range(1, round(2 * KEPT_S) + 2):
        assert not (watch.detect([frame(turned(empty, 1), number / 2)])[0].scores >= 0.5).any()
    upright = watch.detect([frame(room, KEPT_S + 0.6)])[0]
    assert right(upright, strongest(detector, room))


def test_a_face_that_comes_later_is_found_soon(detector: Detector, room: Bytes) -> None:
    watch, picture = MountedWatch(detector), turned(room, 3)
    watch.detect([frame(np.full_like(picture, 96), 0.0)])
    expected = turned_back(strongest(detector, room), 1, picture)
    assert right(watch.detect([frame(picture, CHECK_S)])[0], expected)


def test_a_new_epoch_begins_with_the_picture_as_it_is(detector: Detector, room: Bytes) -> None:
    watch = MountedWatch(detector)
    watch.detect([frame(turned(room, 2), 5.0)])
    first = watch.detect([replace(frame(room, 0.0), epoch=2)])[0]
    np.testing.assert_array_equal(first.boxes, detector.detect([room])[0].boxes)
