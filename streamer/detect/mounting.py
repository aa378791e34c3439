"""Find by how many quarter turns a picture is turned, by the faces in it: cameras on their side or upside down.

A detector of upright faces misses most of those that lie on their side, so looking again at what it has found is not
enough. The picture as a whole is looked at in all four positions, at half the scale, in one look.
"""

from collections.abc import Callable

import cv2
import numpy as np

from streamer.config import Detect
from streamer.detect.letterbox import GREY
from streamer.detect.roll import EstimatesRolls
from streamer.values import Bytes, Detections, Floats

SCORE = 0.5  # least score of a face that says how the picture is turned
SURE = 0.6  # least confidence of the roll network about it
UPRIGHT_DEG = 45.0  # largest roll of it: beyond, it is nearer to upright in the next position
CLEARLY_DEG = 30.0  # largest roll of a face with which other positions need not be looked at
BETTER = 1.5  # how much more weight the faces of another position need than those of the picture as it is
MOST = 32  # faces asked about, highest score first
_TURNS = {1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}


def turned(pixels: Bytes, turn: int) -> Bytes:
    """Return a picture (h, w, 3) turned clockwise by `turn` quarter turns, 0 to 3."""
    return np.asarray(cv2.rotate(pixels, _TURNS[turn]), np.uint8) if turn else pixels


def turned_back(faces: Detections, turn: int, pixels: Bytes) -> Detections:
    """Return faces found in `turned(pixels, turn)` in pixels of the picture (h, w, 3) itself."""
    if not turn:
        return faces
    return Detections(
        _corners(faces.boxes, turn, pixels), faces.scores, _back(faces.landmarks, turn, pixels), faces.turned
    )


def turned_boxes(boxes: Floats, turn: int, pixels: Bytes) -> Floats:
    """Return boxes (n, 4) of a picture (h, w, 3) in pixels of `turned(pixels, turn)`."""
    return _corners(boxes, -turn % 4, turned(pixels, turn)) if turn else boxes


def boxes_back(boxes: Floats, turn: int, pixels: Bytes) -> Floats:
    """Return boxes (n, 4) of `turned(pixels, turn)` in pixels of the picture (h, w, 3) itself."""
    return _corners(boxes, turn, pixels) if turn else boxes


def has_upright(pixels: Bytes, faces: Detections, rolls: EstimatesRolls) -> bool:
    """Return whether a picture (h, w, 3) shows a face that is surely one and clearly upright."""
    return bool((_uprightness(pixels, faces, rolls) >= np.cos(np.radians(CLEARLY_DEG))).any())


def turn_of(pixels: Bytes, look: Callable[[Bytes], Detections], rolls: EstimatesRolls, config: Detect) -> int | None:
    """Return the quarter turns clockwise after which most faces of a picture (h, w, 3) are upright.

    None if no face is surely upright in any position. `look` is the detector.
    """
    tile, (height, width) = config.input_size // 2, pixels.shape[:2]
    scale = min(tile / max(height, width), config.max_upscale)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    sheet = np.full((2 * tile, 2 * tile, 3), GREY, np.uint8)
    for turn in range(4):
        view = turned(small, turn)
        x, y = tile * (turn % 2), tile * (turn // 2)
        sheet[y : y + view.shape[0], x : x + view.shape[1]] = view
    faces = look(sheet)
    column, row = (((faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2) // tile).astype(np.int64).clip(0, 1).T
    upright = _uprightness(sheet, faces, rolls)
    weights = [float((faces.scores * upright)[column + 2 * row == turn].sum()) for turn in range(4)]
    weights[0] *= BETTER
    return int(np.argmax(weights)) if any(weights) else None


def _uprightness(pixels: Bytes, faces: Detections, rolls: EstimatesRolls) -> Floats:
    """Return the cosine (n,) of the roll of each face; 0 if it is large, or if the face or its roll is not sure."""
    result = np.zeros(len(faces), np.float32)
    rows = np.flatnonzero(faces.scores >= SCORE)[:MOST]
    directions = rolls.directions(pixels, faces.boxes[rows])
    confidence = np.hypot(*directions.T)
    cosine = directions[:, 0] / np.maximum(confidence, 1e-6)
    result[rows] = np.where((confidence >= SURE) & (cosine >= np.cos(np.radians(UPRIGHT_DEG))), cosine, 0)
    return result


def _corners(boxes: Floats, turn: int, pixels: Bytes) -> Floats:
    corners = _back(boxes.reshape(-1, 2, 2), turn, pixels)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _back(points: Floats, turn: int, pixels: Bytes) -> Floats:
    """Return points (..., 2) of the turned picture in pixels of the picture (h, w, 3) itself."""
    height, width = pixels.shape[:2]
    u, v = points[..., 0], points[..., 1]
    x, y = {1: (v, height - u), 2: (width - u, height - v), 3: (width - v, u)}[turn]
    return np.stack([x, y], axis=-1).astype(np.float32)
