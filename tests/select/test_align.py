"""Alignment against the published transform, pose against known rotations, quality against real faces."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.transform import SimilarityTransform

from streamer.config import Crop, Detect
from streamer.detect.detector import Detector
from streamer.select.align import TEMPLATE, align, similarity
from streamer.select.quality import finish, geometry, head_pose, sharpness
from streamer.source.file import read_file
from streamer.values import Bytes, Floats, Quality, Reason

CONFIG = Crop()
HD = (1920, 1080)
# the head of crop.py: eye distances, x right, y down, z away from the camera
HEAD = np.array(
    [[-0.5, -0.559, 0.161], [0.5, -0.559, 0.161], [0, 0.034, -0.444], [-0.388, 0.542, 0.061], [0.388, 0.542, 0.061]]
)


def face(eye_distance: float = 40.0, centre: tuple[float, float] = (500, 400), roll: float = 0.0) -> Floats:
    """Landmarks of the template's shape, turned by `roll` degrees clockwise."""
    turn = np.exp(1j * math.radians(roll)) * eye_distance / 35.238
    points = (TEMPLATE - TEMPLATE.mean(axis=0)) @ np.array([1, 1j]) * turn + complex(*centre)
    return np.asarray(np.stack([points.real, points.imag], axis=1), np.float32)


def head(yaw: float, pitch: float, roll: float = 0.0, eye_distance: float = 40.0) -> Floats:
    """Landmarks of a head that looks to the right of the image by `yaw` and down by `pitch` degrees, then rolled."""
    y, p, r = (math.radians(angle) for angle in (yaw, pitch, roll))
    # the nose points to -z: turning it to +x is a turn by -yaw about y, to +y a turn by pitch about x
    about_y = np.array([[math.cos(y), 0, -math.sin(y)], [0, 1, 0], [math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    seen = HEAD @ (about_z @ about_y @ about_x).T
    return np.asarray(seen[:, :2] * eye_distance + (500, 400), np.float32)


def plane(width: int, height: int) -> Bytes:
    """A BGR image whose blue grows with x, green with y; red is constant."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x * 255 / width, y * 255 / height, np.full_like(x, 77.0)], axis=2).astype(np.uint8)


def reasons(quality: Quality) -> set[Reason]:
    return set(quality.reasons)


def test_the_similarity_is_the_one_of_scikit_image() -> None:
    random = np.random.default_rng(1)
    for _ in range(200):
        landmarks = face(random.uniform(5, 300), tuple(random.uniform(0, 2000, 2)), random.uniform(-180, 180))
        landmarks += random.normal(0, 0.1 * np.ptp(landmarks), (5, 2)).astype(np.float32)
        expected = SimilarityTransform.from_estimate(landmarks.astype(np.float64), TEMPLATE).params[:2]
        np.testing.assert_allclose(similarity(landmarks), expected, rtol=1e-9, atol=1e-6)


def test_landmarks_like_the_template_are_brought_onto_it() -> None:
    landmarks = face(83, (700, 300), roll=35)
    matrix = similarity(landmarks)
    np.testing.assert_allclose(landmarks @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-3)


@pytest.mark.parametrize("eye_distance", [12, 35.238, 60, 75, 150, 330])
@pytest.mark.parametrize("roll", [0, 27])
def test_a_crop_shows_each_place_of_the_frame_where_the_similarity_puts_it(eye_distance: float, roll: float) -> None:
    landmarks = face(eye_distance, (960, 540), roll)
    crop = align(plane(*HD), landmarks).astype(float)
    inverse = cv2.invertAffineTransform(similarity(landmarks))
    u, v = np.meshgrid(np.arange(112), np.arange(112))
    x = u * inverse[0, 0] + v * inverse[0, 1] + inverse[0, 2]
    y = u * inverse[1, 0] + v * inverse[1, 1] + inverse[1, 2]
    inside = (x > 12) & (x < HD[0] - 12) & (y > 12) & (y < HD[1] - 12)  # up to a crop pixel is lost at the frame's end
    assert abs(crop[..., 2] - x * 255 / HD[0])[inside].max() < 1.5  # RGB: blue comes last
    assert abs(crop[..., 1] - y * 255 / HD[1])[inside].max() < 1.5
    assert (crop[..., 0][inside] == 77).all()


@pytest.mark.parametrize("eye_distance", [30, 200])
def test_a_crop_is_black_where_the_frame_ends(eye_distance: float) -> None:
    frame = np.full((400, 400, 3), 200, np.uint8)
    crop = align(frame, face(eye_distance, (0, 200)))
    assert (crop[:, :50] == 0).all()
    assert (crop[56, 70:100] == 200).all()


def test_a_face_outside_the_frame_gives_a_black_crop() -> None:
    frame = np.full((400, 400, 3), 200, np.uint8)
    assert not align(frame, face(200, (-3000, -3000))).any()


def test_a_large_face_is_averaged_not_sampled() -> None:
    frame = np.random.default_rng(4).integers(0, 256, (*HD[::-1], 3), np.uint8)  # deviation 74
    assert align(frame, face(200, (960, 540))).std() < 74 / 4


def test_landmarks_at_one_place_cannot_be_aligned() -> None:
    nowhere = np.full((5, 2), 50, np.float32)
    with pytest.raises(ValueError, match="coincide"):
        align(np.zeros((100, 100, 3), np.uint8), nowhere)
    quality = geometry(0.9, nowhere, (100, 100), CONFIG)
    assert quality.value == 0
    assert reasons(quality) == {Reason.SMALL_BOUNDING_BOX}


@pytest.mark.parametrize("yaw", [-70, -30, 0, 20, 60])
@pytest.mark.parametrize("pitch", [-35, 0, 25])
@pytest.mark.parametrize("roll", [0, -40, 90])
def test_the_pose_of_a_distant_head_is_exact(yaw: float, pitch: float, roll: float) -> None:
    assert head_pose(head(yaw, pitch, roll)) == pytest.approx((yaw, pitch, roll), abs=0.01)


def test_noise_of_three_percent_of_the_eye_distance_disturbs_the_pose_by_less_than_four_degrees() -> None:
    random = np.random.default_rng(2)
    errors = []
    for _ in range(300):
        yaw, pitch = random.uniform(-45, 45), random.uniform(-25, 25)
        noisy = head(yaw, pitch) + random.normal(0, 0.03 * 40, (5, 2)).astype(np.float32)
        errors.append(np.abs(np.subtract(head_pose(noisy), (yaw, pitch, 0))))
    assert np.mean(errors, axis=0).max() < 4


@pytest.mark.parametrize(
    ("landmarks", "score", "expected"),
    [
        (face(), 0.9, set()),
        (face(11), 0.9, set()),
        (face(9), 0.9, {Reason.SMALL_BOUNDING_BOX}),
        (face(), 0.4, {Reason.LOW_CONFIDENCE}),
        (head(0, 0), 0.9, set()),
        (head(40, 0), 0.9, set()),
        (head(-58, 0), 0.9, {Reason.EXTREME_POSE}),
        (head(0, -38), 0.9, {Reason.EXTREME_POSE}),
        (head(70, 0, eye_distance=15), 0.3, {Reason.SMALL_BOUNDING_BOX, Reason.LOW_CONFIDENCE, Reason.EXTREME_POSE}),
    ],
)
def test_each_violated_floor_is_a_reason(landmarks: Floats, score: float, expected: set[Reason]) -> None:
    assert reasons(geometry(score, landmarks, HD, CONFIG)) == expected


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (geometry(0.8, face(40), HD, CONFIG), geometry(0.8, face(15), HD, CONFIG)),
        (geometry(0.8, head(5, 0), HD, CONFIG), geometry(0.8, head(35, 0), HD, CONFIG)),
        (geometry(0.8, head(0, 0), HD, CONFIG), geometry(0.8, head(0, 25), HD, CONFIG)),
        (geometry(0.8, face(), HD, CONFIG), geometry(0.6, face(), HD, CONFIG)),
        (geometry(0.8, face(), HD, CONFIG), geometry(0.8, face(centre=(20, 400)), HD, CONFIG)),
    ],
    ids=["size", "yaw", "pitch", "score", "inside"],
)
def test_the_better_face_has_the_higher_quality(better: Quality, worse: Quality) -> None:
    assert 1 > better.value > 1.2 * worse.value > 0


def test_small_faces_of_cameras_are_poor_but_not_worthless() -> None:
    assert geometry(0.8, face(10), HD, CONFIG).value > 0.2
    assert geometry(0.8, face(30), HD, CONFIG).value > 0.8


def texture(seed: int = 3) -> Bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (112, 112), np.uint8)
    return np.repeat(cv2.GaussianBlur(noise, (0, 0), 1)[..., None], 3, axis=2)


def test_pixels_only_lower_the_quality() -> None:
    rough = geometry(0.8, face(), HD, CONFIG)
    for crop in (texture(), np.zeros((112, 112, 3), np.uint8), np.full((112, 112, 3), 255, np.uint8)):
        assert finish(rough, crop, CONFIG).value <= rough.value


def test_finishing_keeps_the_geometry_and_adds_what_the_pixels_lack() -> None:
    rough = geometry(0.4, face(), HD, CONFIG)
    dark = finish(rough, np.full((112, 112, 3), 8, np.uint8), CONFIG)
    assert reasons(dark) == {Reason.LOW_CONFIDENCE, Reason.LOW_SHARPNESS, Reason.LOW_BRIGHTNESS}
    assert (dark.eye_distance, dark.yaw, dark.pitch) == (rough.eye_distance, rough.yaw, rough.pitch)
    assert reasons(finish(rough, texture(), CONFIG)) == {Reason.LOW_CONFIDENCE}


def test_blur_lowers_sharpness_and_contrast_does_not() -> None:
    grey = texture()[..., 0]
    blurred = np.asarray(cv2.GaussianBlur(grey, (0, 0), 3), np.uint8)
    assert sharpness(blurred, 40) < sharpness(grey, 40) / 10
    assert sharpness((grey // 2 + 30).astype(np.uint8), 40) == pytest.approx(sharpness(grey, 40), rel=0.2)


def test_a_small_face_is_not_blurred_for_being_small() -> None:
    small = cv2.resize(texture()[..., 0], (56, 56), interpolation=cv2.INTER_AREA)
    enlarged = np.asarray(cv2.resize(small, (112, 112), interpolation=cv2.INTER_LINEAR), np.uint8)
    assert sharpness(enlarged, 35.238 / 2) > 4 * sharpness(enlarged, 35.238)


# ---- real faces


def qualities(shared: Path, clip: str, every: int = 4) -> list[Quality]:
    weights = shared / "data/weights/yolov8-lite-t-face.onnx"
    detector = Detector(Detect(weights=str(weights), min_score=0.5))
    found = []
    for number, frame in enumerate(read_file(shared / "data/clips" / clip, "", 0)):
        if number % every == 0:
            faces = detector.detect([frame.pixels])[0]
            for score, landmarks in zip(faces.scores.tolist(), faces.landmarks, strict=True):
                rough = geometry(score, landmarks, frame.size, CONFIG)
                found.append(finish(rough, align(frame.pixels, landmarks), CONFIG))
    return found


@pytest.mark.shared
def test_the_faces_at_the_back_of_a_class_room_are_too_small(shared: Path) -> None:
    found = qualities(shared, "classroom.gif")
    assert len(found) == 12 * 4
    assert all(Reason.SMALL_BOUNDING_BOX in quality.reasons for quality in found)


@pytest.mark.shared
def test_people_who_walk_to_the_camera_are_analysed(shared: Path) -> None:
    found = qualities(shared, "face-demographics-walking-and-pause.gif")
    assert len(found) == 11 * 3
    assert not [quality for quality in found if quality.reasons]
    assert min(quality.value for quality in found) > 0.25


@pytest.mark.shared
def test_a_head_that_turns_is_refused_at_the_extremes_only(shared: Path) -> None:
    found = qualities(shared, "head-pose-face-detection-female.gif", every=1)
    extreme = [quality for quality in found if quality.reasons]
    assert {reason for quality in extreme for reason in quality.reasons} == {Reason.EXTREME_POSE}
    assert 0.05 < len(extreme) / len(found) < 0.5
    assert max(quality.value for quality in extreme) < 0.15 < max(quality.value for quality in found)


@pytest.mark.shared
def test_blurring_a_real_face_makes_it_unfit(shared: Path) -> None:
    weights = shared / "data/weights/yolov8-lite-t-face.onnx"
    image = np.asarray(cv2.imread(str(shared / "data/stills/group-of-6.jpg")), np.uint8)
    faces = Detector(Detect(weights=str(weights))).detect([image])[0]

    def judge(pixels: NDArray[np.uint8]) -> list[Quality]:
        size = (image.shape[1], image.shape[0])
        rough = [
            geometry(float(score), points, size, CONFIG)
            for score, points in zip(faces.scores, faces.landmarks, strict=True)
        ]
        return [finish(q, align(pixels, points), CONFIG) for q, points in zip(rough, faces.landmarks, strict=True)]

    assert not [quality for quality in judge(image) if quality.reasons]
    blurred = judge(np.asarray(cv2.GaussianBlur(image, (0, 0), 4), np.uint8))
    assert all(Reason.LOW_SHARPNESS in quality.reasons for quality in blurred)
