"""A face of a frame as the recognition model wants it: aligned, 112x112, RGB; and how well it can be analysed.

Alignment is the ArcFace one: the similarity transform that brings five landmarks nearest to a template.
Points are complex numbers here, x + iy: a similarity transform is then z -> turn * z + shift, and its least
squares fit is one division. Quality is a product of factors in 0..1, so what the geometry alone gives bounds
the whole from above, and most faces never need their pixels.
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
_SHRINK_BELOW = 0.5  # scale under which four neighbours per pixel no longer see all of the frame's pixels


def similarity(landmarks: Floats) -> NDArray[np.float64]:
    """The (2, 3) matrix from frame to crop pixels that brings landmarks (5, 2) nearest to the template (Umeyama 1991).

    Raises ValueError if they are all at one place.
    """
    turn, shift, _ = fit(landmarks)
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


def fit(landmarks: Floats) -> tuple[complex, complex, float]:
    """Turn and shift of landmarks (5, 2) onto the template, and how far off they stay (rms) in eye distances."""
    points = landmarks @ _TO_COMPLEX
    centre = complex(points.mean())
    arms = points - centre
    spread = float(np.vdot(arms, arms).real)
    if not spread > 1e-6:
        raise ValueError("the landmarks are all at one place")
    turn = complex(np.vdot(arms, _TEMPLATE_ARMS)) / spread
    rest = _TEMPLATE_ARMS - turn * arms
    misfit = (float(np.vdot(rest, rest).real) / len(rest)) ** 0.5 / TEMPLATE_EYE_DISTANCE
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
