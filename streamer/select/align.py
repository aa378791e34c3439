"""Align a face of a frame for the network: 112x112 pixels, RGB, by its five landmarks.

This is the alignment of ArcFace: the similarity transform that brings the landmarks closest to a template. Points are
complex numbers here, x + iy: a similarity transform is then z -> turn * z + shift, and its least squares fit is one
division.
"""

from math import ceil, hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.values import CROP_SIZE, Bytes, Floats

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)  # (5, 2) px in the crop, in the order of LANDMARK_NAMES
_TO_COMPLEX = np.array([1, 1j])
_TEMPLATE_CENTRE = complex((TEMPLATE @ _TO_COMPLEX).mean())
_TEMPLATE_ARMS = TEMPLATE @ _TO_COMPLEX - _TEMPLATE_CENTRE  # (5,)
TEMPLATE_EYE_DISTANCE = float(abs(_TEMPLATE_ARMS[1] - _TEMPLATE_ARMS[0]))  # px, 35.2
_SHRINK_BELOW = 0.5  # scale below which bilinear sampling, with four neighbours, skips pixels of the frame


def similarity(landmarks: Floats) -> NDArray[np.float64]:
    """Fit the (2, 3) matrix from frame to crop pixels that brings landmarks (5, 2) closest to the template.

    This is the least squares fit of Umeyama 1991. Raises ValueError if the landmarks coincide.
    """
    turn, shift, _ = fit(landmarks)
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def align(frame: Bytes, landmarks: Floats) -> Bytes:
    """Crop the face at landmarks (5, 2) of a BGR frame (h, w, 3) to RGB (112, 112, 3), black outside the frame.

    Raises ValueError if the landmarks coincide.
    """
    matrix = similarity(landmarks)
    if hypot(matrix[0, 0], matrix[1, 0]) < _SHRINK_BELOW:
        frame, matrix = _shrink(frame, matrix)
    crop = cv2.warpAffine(frame, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), np.uint8)


def fit(landmarks: Floats) -> tuple[complex, complex, float]:
    """Fit turn and shift of landmarks (5, 2) onto the template; the third value is the RMS error in eye distances.

    Raises ValueError if the landmarks coincide.
    """
    points = landmarks @ _TO_COMPLEX
    centre = complex(points.mean())
    arms = points - centre
    spread = float(np.vdot(arms, arms).real)
    if not spread > 1e-6:
        raise ValueError("the landmarks coincide")
    turn = complex(np.vdot(arms, _TEMPLATE_ARMS)) / spread
    rest = _TEMPLATE_ARMS - turn * arms
    misfit = (float(np.vdot(rest, rest).real) / len(rest)) ** 0.5 / TEMPLATE_EYE_DISTANCE
    return turn, _TEMPLATE_CENTRE - turn * centre, misfit


def _shrink(frame: Bytes, matrix: NDArray[np.float64]) -> tuple[Bytes, NDArray[np.float64]]:
    """Cut out the part of the frame that a (2, 3) matrix shows, shrink it by a whole number, and adapt the matrix.

    Otherwise a face much larger than the crop would be sampled at few of its pixels, with their noise.
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
