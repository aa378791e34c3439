"""Measure how well a face can be analysed: its geometry, sharpness and brightness, and the reasons against it.

Quality is a product of factors in 0..1. The factors of the geometry alone bound it from above, so most faces never need
their pixels.
"""

from dataclasses import replace
from math import atan2, degrees, exp, hypot, prod

import cv2
import numpy as np

from streamer.config import Crop
from streamer.select.align import TEMPLATE_EYE_DISTANCE, fit
from streamer.values import CROP_SIZE, Bytes, Floats, Quality, Reason

# A head in units of its eye distance: x right, y down, z away from the camera (MediaPipe's canonical face, Apache-2.0).
_HEAD = np.array(
    [[-0.5, -0.559, 0.161], [0.5, -0.559, 0.161], [0, 0.034, -0.444], [-0.388, 0.542, 0.061], [0.388, 0.542, 0.061]]
)

_TO_AXES = np.linalg.pinv(_HEAD - _HEAD.mean(axis=0))  # (3, 5)

_SHARPNESS_SIDE = 32  # px, the smallest side at which sharp and blurred differ


def geometry(
    score: float, landmarks: Floats, frame_size: tuple[int, int], config: Crop, turned: bool = False
) -> Quality:
    """Return the quality without the factors that need pixels, an upper bound; `landmarks` (5, 2) in frame pixels.

    `turned`: the landmarks are wrong because the face is turned, so the quality is 0 (EXTREME_POSE).
    """
    left, right = landmarks[0].tolist(), landmarks[1].tolist()
    eye_distance = hypot(right[0] - left[0], right[1] - left[1])
    try:
        turn, shift, misfit = fit(landmarks)
    except ValueError:
        return Quality(0.0, (Reason.SMALL_BOUNDING_BOX,), eye_distance)
    yaw, pitch, roll = head_pose(landmarks)
    factors = {
        "size": _rise(eye_distance, middle=16, width=6),
        "score": _rise(score, middle=0.5, width=0.1),
        "pose": exp(-((yaw / 60) ** 2) - (pitch / 45) ** 2),
        "fit": exp(-((misfit / 0.25) ** 2)),
        "inside": _share_inside(turn, shift, frame_size),
    }
    if turned:
        factors["turned"] = 0.0
    broken = (
        (eye_distance < config.min_eye_distance_px, Reason.SMALL_BOUNDING_BOX),
        (turned or abs(yaw) > config.max_yaw_deg or abs(pitch) > config.max_pitch_deg, Reason.EXTREME_POSE),
        (score < config.min_score, Reason.LOW_CONFIDENCE),
    )
    reasons = tuple(reason for is_broken, reason in broken if is_broken)
    return Quality(prod(factors.values()), reasons, eye_distance, yaw, pitch, roll, factors=factors)


def finish(quality: Quality, crop: Bytes, config: Crop) -> Quality:
    """Complete the quality from `geometry` with sharpness and brightness of the aligned crop (112, 112, 3) RGB."""
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
    """Return the variance of the Laplacian over that of the grey values (112, 112), at the face's size in the frame.

    The enlargement of the crop is undone first, because a small face is not a blurred one; `eye_distance` is in frame
    pixels. A constant in the denominator keeps the noise of flat images from counting as sharpness.
    """
    side = min(CROP_SIZE, max(_SHARPNESS_SIDE, round(CROP_SIZE * eye_distance / TEMPLATE_EYE_DISTANCE)))
    if side < CROP_SIZE:
        grey = np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    edges = cv2.Laplacian(grey, cv2.CV_16S)[1:-1, 1:-1]
    return _variance(edges) / (_variance(grey) + 25)


def head_pose(landmarks: Floats) -> tuple[float, float, float]:
    """Estimate yaw, pitch and roll in degrees to the viewing ray.

    Yaw > 0 looks to the right of the image, pitch > 0 down, roll > 0 is turned clockwise in the image. The head is
    turned by pitch first, then by yaw, then by roll: Rz(roll) Ry(-yaw) Rx(pitch), x right, y down, z away.
    This is POS in closed form (DeMenthon and Davis 1995): under weak perspective the landmarks (5, 2) are a linear map
    of the head, whose two rows are the camera's axes seen from the head.
    """
    axes = (_TO_AXES @ (landmarks - landmarks.mean(axis=0))).T.tolist()
    across, down = _unit(axes[0]), _unit(axes[1])
    # Noise skews the axes. Their bisectors are at right angles, and at 45 degrees to the nearest true axes.
    plus = _unit([a + b for a, b in zip(across, down, strict=True)])
    minus = _unit([a - b for a, b in zip(across, down, strict=True)])
    x, y, z = _cross(minus, plus)
    roll = atan2(plus[0] - minus[0], plus[0] + minus[0])  # where the head's x axis points in the image
    return degrees(atan2(x, hypot(y, z))), degrees(atan2(y, z)), degrees(roll)


def _share_inside(turn: complex, shift: complex, frame_size: tuple[int, int]) -> float:
    """Approximate the share (0..1) of the crop inside the frame, as if the crop were upright."""
    centre = ((1 + 1j) * CROP_SIZE / 2 - shift) / turn
    half = CROP_SIZE / 2 / abs(turn)
    share = 1.0
    for middle, size in ((centre.real, frame_size[0]), (centre.imag, frame_size[1])):
        share *= max(0.0, min(middle + half, size) - max(middle - half, 0)) / (2 * half)
    return share


def _rise(value: float, middle: float, width: float) -> float:
    """Return a logistic step from 0 to 1."""
    return 1 / (1 + exp((middle - value) / width))


def _unit(vector: list[float]) -> list[float]:
    length = hypot(*vector)
    return [value / length for value in vector] if length else [0.0, 0.0, 0.0]


def _cross(a: list[float], b: list[float]) -> tuple[float, float, float]:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _variance(image: cv2.typing.MatLike) -> float:
    """Return the variance of one channel (numpy takes five times as long)."""
    return float(cv2.meanStdDev(image)[1][0, 0]) ** 2
