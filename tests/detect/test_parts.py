"""Faces in regions of frames are those of the whole frames: at the same place, once, and never cut."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.boxes import areas, iou
from streamer.config import Detect
from streamer.detect.aiming import prepared
from streamer.detect.detector import Detector
from streamer.detect.mounted import MountedWatch
from streamer.detect.mounting import turned, turned_back, turned_boxes
from streamer.detect.packing import FACE, pack
from streamer.detect.parts import composed, gathered, look_at_parts, once
from streamer.detect.region import LimitedWatch, Region
from streamer.detect.roll import RollNetwork
from streamer.detect.watch import CHECK_S, Watch
from streamer.values import Bytes, ClockSource, Detections, Floats, Frame
from tests.support.patch_detector import FACE as PATCH
from tests.support.patch_detector import paint, write_lite_patch_detector
from tests.support.photographs import read_portrait

NONE = np.zeros((0, 4), np.float32)
SIZE = (640, 360)
PLACES = [(10, 10), (230, 150), (480, 220), (420, 20)]  # px, of the upper left corners of four portraits
WIDTHS = [44, 30, 24, 36]  # px, of the faces in them
CLOSE = 1.5  # px; the detector's own answers change by as much when a picture is moved by a few pixels


class Counted:
    """A detector that notes the sizes of the images it looks at."""

    def __init__(self, detector: Detector) -> None:
        self.config, self.model_id, self.inputs = detector.config, detector.model_id, detector.inputs
        self.looks: list[tuple[int, int]] = []
        self._detector = detector

    def detect(self, frames: Sequence[Bytes], unscaled: bool = False) -> list[Detections]:
        self.looks += [(frame.shape[1], frame.shape[0]) for frame in frames]
        return self._detector.detect(frames, unscaled)


class CountedRolls:
    """The network for turned faces, which counts the faces it is asked about."""

    def __init__(self) -> None:
        self.asked, self._rolls = 0, RollNetwork()

    def directions(self, frame: Bytes, boxes: Floats) -> Floats:
        self.asked += len(boxes)
        return self._rolls.directions(frame, boxes)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(Detect())


@pytest.fixture(scope="module")
def picture() -> Bytes:
    """Four portraits of several sizes in front of grey."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 96, np.uint8)
    for (left, top), width in zip(PLACES, WIDTHS, strict=True):
        small = cv2.resize(read_portrait(), None, fx=width / 94, fy=width / 94, interpolation=cv2.INTER_AREA)
        part = small[: SIZE[1] - top, : SIZE[0] - left]
        pixels[top : top + part.shape[0], left : left + part.shape[1]] = part
    return pixels


def frame(pixels: Bytes, time: float = 0.0, camera: str = "cam") -> Frame:
    return Frame(camera, 1, time, None, ClockSource.FILE_PTS, 0.0, pixels)


def strong(faces: Detections) -> Detections:
    return faces.rows(np.flatnonzero(faces.scores >= 0.5))


def around(boxes: Floats, times: float = 2.0) -> Floats:
    """Squares (n, 4) around boxes, `times` as long as their longer side."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, times / 2 * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)[:, None]
    return np.concatenate([centre - half, centre + half], axis=1)


def assert_same(found: Detections, expected: Detections, px: float) -> None:
    """The same faces, whatever their order, with boxes and landmarks at most `px` apart in the mean."""
    assert len(found) == len(expected)
    for row in range(len(expected)):
        other = int(iou(expected.boxes[row : row + 1], found.boxes)[0].argmax())
        assert np.abs(found.boxes[other] - expected.boxes[row]).mean() < px
        assert np.linalg.norm(found.landmarks[other] - expected.landmarks[row], axis=1).mean() < px


def test_the_faces_of_regions_lie_where_those_of_the_whole_frame_do(detector: Detector, picture: Bytes) -> None:
    whole = strong(detector.detect([picture])[0])
    assert len(whole) == len(WIDTHS)
    counted = Counted(detector)
    (sight,) = look_at_parts(counted, [picture], [around(whole.boxes)], [whole.boxes])
    assert sight is not None
    assert_same(strong(sight.faces), whole, CLOSE)
    ((width, height),) = counted.looks
    assert width * height < 0.4 * 640 * 384


def test_small_faces_gain(detector: Detector, picture: Bytes) -> None:
    wide = np.full((2160, 3840, 3), 96, np.uint8)  # in the whole frame, the faces have widths of 4 to 7 px
    wide[: SIZE[1], : SIZE[0]] = picture
    expected = strong(detector.detect([picture])[0])
    assert not len(strong(detector.detect([wide])[0]))
    (sight,) = look_at_parts(detector, [wide], [around(expected.boxes)], [NONE])
    assert sight is not None
    assert_same(strong(sight.faces), expected, CLOSE)


def test_several_cameras_share_one_look(detector: Detector, picture: Bytes) -> None:
    whole = strong(detector.detect([picture])[0])
    counted = Counted(detector)
    watch = MountedWatch(counted)
    frames = [frame(np.roll(picture, 8 * number, axis=1), 0.0, f"cam{number}") for number in range(4)]
    first = watch.detect(frames)
    counted.looks.clear()
    regions = [around(strong(faces).boxes) for faces in first]
    sights = watch.look([replace(one, media_time=0.1) for one in frames], regions)
    assert len(counted.looks) == 1
    for faces, sight in zip(first, sights, strict=True):
        assert len(strong(faces)) == len(whole)
        assert sight.looked is not None
        assert_same(strong(sight.faces), strong(faces), CLOSE)


def test_a_face_at_the_border_of_the_frame_is_not_cut(detector: Detector, picture: Bytes) -> None:
    view = np.ascontiguousarray(picture[:, 104:])  # through the first portrait's face
    whole = strong(detector.detect([view])[0])
    first = int(whole.boxes[:, 0].argmin())
    assert whole.boxes[first, 0] < 1
    (sight,) = look_at_parts(detector, [view], [around(whole.boxes[first : first + 1], 1.5)], [NONE])
    assert sight is not None
    assert_same(strong(sight.faces), whole.rows(np.array([first])), 2 * CLOSE)


@pytest.mark.parametrize("share", [0.5, 0.6, 0.7, 0.8, 0.9, 0.97])
@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("is_known", [False, True])
def test_a_face_that_a_region_cuts_is_given_whole(
    share: float, side: int, is_known: bool, detector: Detector, picture: Bytes
) -> None:
    whole = strong(detector.detect([picture])[0])
    largest = int(areas(whole.boxes).argmax())
    box = whole.boxes[largest]
    region = around(box[None], 2.5)[0]
    inner = box[side] + (1 - share) * (box[(side + 2) % 4] - box[side])
    region[side] = inner
    counted = Counted(detector)
    (sight,) = look_at_parts(counted, [picture], [region[None]], [whole.boxes if is_known else NONE])
    assert sight is not None
    assert_same(strong(sight.faces), whole.rows(np.array([largest])), 1.5 * CLOSE)
    assert len(counted.looks) <= (1 if is_known else 2)


def test_a_face_of_which_a_region_shows_little_is_not_given(detector: Detector, picture: Bytes) -> None:
    whole = strong(detector.detect([picture])[0])
    x1, y1, x2, y2 = whole.boxes[int(areas(whole.boxes).argmax())]
    region = np.array([[x1 + 0.85 * (x2 - x1), y1 - 20, x2 + 80, y2 + 20]], np.float32)
    (sight,) = look_at_parts(detector, [picture], [region], [whole.boxes])
    assert sight is not None
    assert not len(strong(sight.faces))


def test_a_face_in_two_regions_is_given_once(detector: Detector, picture: Bytes) -> None:
    whole = strong(detector.detect([picture])[0])
    box = whole.boxes[int(areas(whole.boxes).argmax())]
    beyond = np.array([[-90, -8, 8, 8], [-8, -8, 150, 8], [-8, -30, 8, 150]], np.float32)
    regions = box + beyond
    (sight,) = look_at_parts(detector, [picture], [regions], [NONE])
    assert sight is not None
    assert sight.looked is not None
    assert len(prepared(regions, NONE, SIZE)[0]) == 2
    assert (iou(box[None], strong(sight.faces).boxes) > 0.3).sum() == 1


def test_repeats_are_merged_whatever_their_order() -> None:
    boxes = np.array(
        [[0, 0, 20, 20], [1, 0, 21, 20], [0, 0, 12, 20], [40, 0, 60, 20], [46, 0, 66, 20], [100, 0, 120, 20]],
        np.float32,
    )  # a face in three regions, which the third one cuts; two neighbours in one region; a face that is always cut
    scores = np.array([0.8, 0.7, 0.9, 0.6, 0.5, 0.7], np.float32)
    region, cut = np.array([0, 1, 2, 1, 1, 2]), np.array([False, False, True, False, False, True])
    faces = Detections(boxes, scores, np.zeros((6, 5, 2), np.float32))
    for order in permutations(range(6)):
        rows = np.array(order)
        whole, broken = once(faces.rows(rows), region[rows], cut[rows])
        assert whole.boxes.tolist() == boxes[[0, 3, 4]].tolist()
        assert broken.boxes.tolist() == boxes[[5]].tolist()


def test_a_region_is_scaled_as_a_frame_is(picture: Bytes) -> None:
    crop = np.array([[100, 50, 301, 151]], np.float32)
    packing = pack([crop], [SIZE], [np.array([0.8], np.float32)], Detect())
    (canvas,) = composed(packing, [picture])  # the scale of the whole frame is 1
    assert canvas.shape == (128, 224, 3)
    expected = cv2.resize(picture[50:151, 100:301], (201, 101), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(canvas[:101, :201], expected)
    assert (canvas[101:] == 114).all()
    assert (canvas[:, 201:] == 114).all()


def test_a_face_in_the_grey_is_dropped() -> None:
    packing = pack([np.array([[0, 0, 50, 50]], np.float32)], [SIZE], [np.ones(1, np.float32)], Detect())
    boxes = np.array([[10, 10, 30, 30], [40, 40, 62, 62]], np.float32)
    found = Detections(boxes, np.ones(2, np.float32), np.zeros((2, 5, 2), np.float32))
    (frame_found,) = gathered(packing, [found], [SIZE], 300, 10)
    assert frame_found.whole.boxes.tolist() == [[10, 10, 30, 30]]


def test_regions_take_in_known_faces_and_show_them_at_the_best_size() -> None:
    known = np.array([[100, 100, 130, 140]], np.float32)
    boxes, scales = prepared(np.array([[90, 90, 120, 150], [400, 200, 500, 300]], np.float32), known, SIZE)
    assert boxes.tolist() == [[90, 90, 136, 150], [400, 200, 500, 300]]
    assert scales[0] == pytest.approx(FACE / 30)
    assert np.isnan(scales[1])


def test_regions_outside_the_frame_or_without_area_are_left_out() -> None:
    odd = np.array([[-50, -50, -10, -10], [5, 5, 5, 50], [60, 60, 50, 50], [-10, -10, 30, 30]], np.float32)
    assert prepared(odd, NONE, SIZE)[0].tolist() == [[0, 0, 30, 30]]


def test_nothing_is_seen_where_it_is_not_looked(detector: Detector, picture: Bytes) -> None:
    counted = Counted(detector)
    watch = MountedWatch(counted)
    watch.detect([frame(picture)])
    counted.looks.clear()
    (sight,) = watch.look([frame(picture, 0.1)], [NONE])
    assert (len(sight.faces), counted.looks) == (0, [])
    assert sight.looked is not None
    assert sight.looked.shape == (0, 4)


def test_the_first_frame_and_a_frame_that_regions_cover_are_looked_at_whole(detector: Detector, picture: Bytes) -> None:
    watch, part = MountedWatch(detector), np.array([[0, 0, 100, 100]], np.float32)
    most = np.array([[0, 0, 600, 350]], np.float32)
    looked = [
        watch.look([frame(picture, 0.1 * number)], [part if number < 2 else most])[0].looked for number in range(3)
    ]
    assert [one is None for one in looked] == [True, False, True]
    watch.forget("cam")
    assert watch.look([frame(picture, 1.0)], [part])[0].looked is None


def test_what_is_known_of_faces_outside_the_regions_stays(detector: Detector, picture: Bytes) -> None:
    rolls = CountedRolls()
    watch = Watch(detector, rolls)
    (whole,) = watch.detect([frame(picture)])
    boxes = strong(whole).boxes
    assert rolls.asked == len(boxes)
    for number, box in enumerate(boxes):
        (sight,) = watch.look([frame(picture, 0.1 * number)], [around(box[None])])
        assert sight.looked is not None
        assert len(strong(sight.faces)) == 1
    assert rolls.asked == len(boxes)  # no face was taken for a new one
    for number, box in enumerate(boxes):
        watch.look([frame(picture, CHECK_S + 0.1 * number)], [around(box[None])])
    assert rolls.asked == 2 * len(boxes)


def test_a_face_that_is_gone_from_a_region_is_forgotten(detector: Detector, picture: Bytes) -> None:
    rolls = CountedRolls()
    watch = Watch(detector, rolls)
    (whole,) = watch.detect([frame(picture)])
    boxes, asked = strong(whole).boxes, rolls.asked
    watch.look([frame(np.full_like(picture, 96), 0.1)], [around(boxes[:1])])
    watch.look([frame(picture, 0.2)], [around(boxes[:2])])
    assert rolls.asked == asked + 1


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_regions_of_a_turned_picture_are_turned_with_it(turn: int, detector: Detector, picture: Bytes) -> None:
    lying = turned(picture, turn)
    watch = MountedWatch(detector)
    (whole,) = watch.detect([frame(lying)])
    expected = turned_back(strong(detector.detect([picture])[0]), 4 - turn, lying)
    assert_same(strong(whole), expected, 0.01)
    (sight,) = watch.look([frame(lying, 0.1)], [around(expected.boxes)])
    assert sight.looked is not None
    assert_same(strong(sight.faces), expected, CLOSE)
    centres = (expected.boxes[:, :2] + expected.boxes[:, 2:]) / 2
    inside = ((centres[:, None] > sight.looked[:, :2]) & (centres[:, None] < sight.looked[:, 2:])).all(axis=2)
    assert np.any(inside, axis=1).all()


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_boxes_turn_with_the_picture(turn: int) -> None:
    pixels = np.zeros((90, 160, 3), np.uint8)
    pixels[20:30, 100:120] = 255
    ys, xs = np.nonzero(turned(pixels, turn)[:, :, 0])
    boxes = np.array([[100, 20, 120, 30]], np.float32)
    assert turned_boxes(boxes, turn, pixels).tolist() == [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]


def test_regions_are_limited_to_the_part_that_is_analysed(detector: Detector, picture: Bytes) -> None:
    whole = strong(detector.detect([picture])[0])
    watch = LimitedWatch(MountedWatch(detector), Region.parse("0,0,50%,100%"), 0)
    left = strong(watch.detect([frame(picture)])[0])
    assert 0 < len(left) < len(whole)
    (sight,) = watch.look([frame(picture, 0.1)], [around(whole.boxes)])
    assert sight.looked is not None
    assert sight.looked[:, 2].max() <= SIZE[0] / 2
    assert_same(strong(sight.faces), left, CLOSE)


def test_a_detector_of_squares_looks_at_the_regions_of_several_cameras_at_once(tmp_path: Path) -> None:
    path = write_lite_patch_detector(tmp_path / "lite.onnx")
    counted = Counted(Detector(Detect(weights=str(path), max_upscale=1)))
    watch = MountedWatch(counted)
    frames = []
    for number in range(3):
        pixels = np.full((480, 640, 3), 90, np.uint8)
        paint(pixels, 40 + 100 * number, 30 + 80 * number)
        frames.append(frame(pixels, 0.0, f"cam{number}"))
    whole = watch.detect(frames)
    counted.looks.clear()
    regions = [around(faces.boxes[:1], 1.8) for faces in whole]
    found = watch.detect([replace(one, media_time=0.1) for one in frames], regions)
    assert counted.looks == [(640, 640)]
    for number, faces in enumerate(found):
        corner = faces.boxes[0, :2]
        assert np.abs(corner - (40 + 100 * number, 30 + 80 * number)).max() <= 8
        assert faces.boxes[0, 2] - corner[0] == pytest.approx(PATCH, abs=1)
