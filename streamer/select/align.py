"""A face of a frame as the recognition model wants it: aligned, 112x112, RGB; and how well it can be analysed.

Alignment is the ArcFace one: the similarity transform that brings five landmarks nearest to a template.
Points are complex numbers here, x + iy: a similarity transform is then z -> turn * z + shift, and its least
squares fit is one division. Quality is a product of factors in 0..1, so what the geometry alone gives bounds
the whole from above, and most faces never need their pixels.
"""

from dataclasses import replace
from math import atan2, ceil, degrees, exp, hypot, prod

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.config import Crop
from streamer.values import CROP_SIZE, Bytes, Floats, Quality, Reason

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)  # (5, 2) px in the crop, in the order of LANDMARK_NAMES
_TO_COMPLEX = np.array([1, 1j])
_TEMPLATE_CENTRE = complex((TEMPLATE @ _TO_COMPLEX).mean())
_TEMPLATE_ARMS = TEMPLATE @ _TO_COMPLEX - _TEMPLATE_CENTRE  # (5,)
_TEMPLATE_EYES = float(abs(_TEMPLATE_ARMS[1] - _TEMPLATE_ARMS[0]))  # px, 35.2

# A head in units of its eye distance: x right, y down, z away from the camera (MediaPipe's canonical face, Apache-2.0).
_HEAD = np.array(
    [[-0.5, -0.559, 0.161], [0.5, -0.559, 0.161], [0, 0.034, -0.444], [-0.388, 0.542, 0.061], [0.388, 0.542, 0.061]]
)
_TO_AXES = np.linalg.pinv(_HEAD - _HEAD.mean(axis=0))  # (3, 5)

_SHRINK_BELOW = 0.5  # scale under which four neighbours per pixel no longer see all of the frame's pixels
_SHARPNESS_SIDE = 32  # px, the least that can tell sharp from blurred


def similarity(landmarks: Floats) -> NDArray[np.float64]:
    """The (2, 3) matrix from frame to crop pixels that brings landmarks (5, 2) nearest to the template (Umeyama 1991).

    Raises ValueError if they are all at one place.
    """
    turn, shift, _ = _fit(landmarks)
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def align(frame: Bytes, landmarks: Floats) -> Bytes:
    """The face at landmarks (5, 2) of a BGR frame (h, w, 3) as RGB (112, 112, 3); black where the frame ends.

    Raises ValueError if the landmarks are all at one place.
    """
    matrix = similarity(landmarks)
    if hypot(matrix[0, 0], matrix[1, 0]) < _SHRINK_BELOW:
        frame, matrix = _shrink(frame, matrix)
    crop = cv2.warpAffine(frame, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), np.uint8)


def geometry(score: float, landmarks: Floats, frame_size: tuple[int, int], config: Crop) -> Quality:
    """What of the quality needs no pixels, never below the finished one; `landmarks` (5, 2) frame pixels."""
    left, right = landmarks[0].tolist(), landmarks[1].tolist()
    eye_distance = hypot(right[0] - left[0], right[1] - left[1])
    try:
        turn, shift, misfit = _fit(landmarks)
    except ValueError:
        return Quality(0.0, (Reason.SMALL_BOUNDING_BOX,), eye_distance)
    yaw, pitch = head_pose(landmarks)
    factors = {
        "size": _rise(eye_distance, middle=16, width=6),
        "score": _rise(score, middle=0.5, width=0.1),
        "pose": exp(-((yaw / 60) ** 2) - (pitch / 45) ** 2),
        "fit": exp(-((misfit / 0.25) ** 2)),
        "inside": _share_inside(turn, shift, frame_size),
    }
    broken = (
        (eye_distance < config.min_eye_distance_px, Reason.SMALL_BOUNDING_BOX),
        (abs(yaw) > config.max_yaw_deg or abs(pitch) > config.max_pitch_deg, Reason.EXTREME_POSE),
        (score < config.min_score, Reason.LOW_CONFIDENCE),
    )
    reasons = tuple(reason for is_broken, reason in broken if is_broken)
    return Quality(prod(factors.values()), reasons, eye_distance, yaw, pitch, factors=factors)


def finish(quality: Quality, crop: Bytes, config: Crop) -> Quality:
    """The quality of a face from its geometry and its aligned crop (112, 112, 3) RGB: adds sharpness and brightness."""
    grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)
    sharp = sharpness(grey, quality.eye_distance)
    reasons = list(quality.reasons)
    if sharp < config.min_sharpness:
        reasons.append(Reason.LOW_SHARPNESS)
    if cv2.mean(grey)[0] < config.min_brightness:
        reasons.append(Reason.LOW_BRIGHTNESS)
    factors = {**quality.factors, "sharpness": sharp / (sharp + 0.01)}
    return replace(quality, value=prod(factors.values()), reasons=tuple(reasons), sharpness=sharp, factors=factors)


def sharpness(grey: Bytes, eye_distance: float) -> float:
    """Variance of the Laplacian over that of the grey values (112, 112), at the size the face had in the frame.

    Measured after undoing the crop's enlargement, because a small face is not a blurred one; `eye_distance` in
    frame px. A constant under the fraction keeps the noise of flat pictures from counting as sharpness.
    """
    side = min(CROP_SIZE, max(_SHARPNESS_SIDE, round(CROP_SIZE * eye_distance / _TEMPLATE_EYES)))
    if side < CROP_SIZE:
        grey = np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    edges = cv2.Laplacian(grey, cv2.CV_16S)[1:-1, 1:-1]
    return _variance(edges) / (_variance(grey) + 25)


def head_pose(landmarks: Floats) -> tuple[float, float]:
    """Yaw and pitch in degrees against the ray to the face: yaw > 0 looks to the right of the image, pitch > 0 down.

    Closed form of POS (DeMenthon and Davis 1995): under weak perspective the landmarks (5, 2) are a linear map
    of the head, whose two rows are the camera's axes seen from the head.
    """
    axes = (_TO_AXES @ (landmarks - landmarks.mean(axis=0))).T.tolist()
    across, down = _unit(axes[0]), _unit(axes[1])
    # Noise leaves the axes askew. Their bisectors are at right angles, and at 45 degrees to the nearest true axes.
    plus = _unit([a + b for a, b in zip(across, down, strict=True)])
    minus = _unit([a - b for a, b in zip(across, down, strict=True)])
    x, y, z = _cross(minus, plus)
    return degrees(atan2(x, hypot(y, z))), degrees(atan2(y, z))


def _fit(landmarks: Floats) -> tuple[complex, complex, float]:
    """Turn and shift of landmarks (5, 2) onto the template, and how far off they stay (rms) in eye distances."""
    points = landmarks @ _TO_COMPLEX
    centre = complex(points.mean())
    arms = points - centre
    spread = float(np.vdot(arms, arms).real)
    if not spread > 1e-6:
        raise ValueError("the landmarks are all at one place")
    turn = complex(np.vdot(arms, _TEMPLATE_ARMS)) / spread
    rest = _TEMPLATE_ARMS - turn * arms
    misfit = (float(np.vdot(rest, rest).real) / len(rest)) ** 0.5 / _TEMPLATE_EYES
    return turn, _TEMPLATE_CENTRE - turn * centre, misfit


def _shrink(frame: Bytes, matrix: NDArray[np.float64]) -> tuple[Bytes, NDArray[np.float64]]:
    """The part of the frame that a (2, 3) matrix shows, reduced by a whole number, and the matrix for it.

    Without it a face much larger than the crop would be sampled at a few of its pixels, noise and all.
    """
    factor = ceil(_SHRINK_BELOW / hypot(matrix[0, 0], matrix[1, 0]))
    corners = np.array([[0, CROP_SIZE, 0, CROP_SIZE], [0, 0, CROP_SIZE, CROP_SIZE]]) - matrix[:, 2:]
    seen = np.linalg.solve(matrix[:, :2], corners)  # (2, 4) frame pixels
    height, width = frame.shape[:2]
    x, y = (max(0, int(low) - factor) for low in seen.min(axis=1))
    columns = (min(width, int(seen[0].max()) + factor) - x) // factor
    rows = (min(height, int(seen[1].max()) + factor) - y) // factor
    if columns < 1 or rows < 1:  # the face lies outside the frame
        return frame, matrix
    part = frame[y : y + rows * factor, x : x + columns * factor]
    small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    middle = np.array([x, y]) + (factor - 1) / 2  # of the first block
    shift = matrix[:, :2] @ middle + matrix[:, 2]
    return np.asarray(small, np.uint8), np.column_stack([matrix[:, :2] * factor, shift])


def _share_inside(turn: complex, shift: complex, frame_size: tuple[int, int]) -> float:
    """About how much of the crop lies inside the frame, 0..1, as if the crop stood upright."""
    centre = ((1 + 1j) * CROP_SIZE / 2 - shift) / turn
    half = CROP_SIZE / 2 / abs(turn)
    share = 1.0
    for middle, size in ((centre.real, frame_size[0]), (centre.imag, frame_size[1])):
        share *= max(0.0, min(middle + half, size) - max(middle - half, 0)) / (2 * half)
    return share


def _rise(value: float, middle: float, width: float) -> float:
    """Logistic step from 0 to 1."""
    return 1 / (1 + exp((middle - value) / width))


def _unit(vector: list[float]) -> list[float]:
    length = hypot(*vector)
    return [value / length for value in vector] if length else [0.0, 0.0, 0.0]


def _cross(a: list[float], b: list[float]) -> tuple[float, float, float]:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _variance(picture: cv2.typing.MatLike) -> float:
    """Variance of one channel (numpy takes five times as long)."""
    return float(cv2.meanStdDev(picture)[1][0, 0]) ** 2
