"""Find the landmarks of faces that are turned in the picture beyond what a detector was trained on.

The roll network says how far each face is turned. Where the landmarks contradict it, the detector looks again at
this part of the frame, turned upright.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.boxes import covered, iou
from streamer.detect.letterbox import GREY
from streamer.values import Bytes, Detections, Flags, Floats

Doubles = NDArray[np.float64]
Rows = NDArray[np.integer[Any]]  # indices of faces
Look = Callable[[Bytes], Detections]

DOUBT = 0.2  # confidence of the roll network from which a face is looked at upright
LIKELY = 0.6  # confidence below which the upright look must be clearly better; weak faces are looked at only above it
BETTER = 0.1  # score by which it is then
CERTAIN = 0.8  # confidence from which it is believed even if the face is not found then
CONTRADICTION_DEG = 40.0  # between the network's roll and that of the landmarks
FAR_DEG = 70.0  # the same if the network is not sure
TURNED_DEG = 50.0  # roll beyond which no contradiction is needed: the landmarks are rough there
TILTED_DEG = 35.0  # roll beyond which a weak score is enough
TILE = 320  # px, side of the part of a frame that is turned; four of them are one look
FACE = 100.0  # px, longer side of the face in it
SHIFT = 0.4  # largest distance of a face found in a tile from the tile's middle, in FACE
SIZES = 0.5, 2.0  # smallest and largest longer side of it, in FACE
UPRIGHT_DEG = 35.0  # largest roll of its landmarks there
SCORE = 0.5  # least score of it
SAME = 0.5  # IoU of two boxes of one face
INSIDE = 0.6  # share of a weak box inside a turned face from which it shows a part of it

# between the middle of the eyes and that of the mouth, weights of the five landmarks
_DOWN = np.array([-0.5, -0.5, 0, 0.5, 0.5])


@dataclass(frozen=True, slots=True, eq=False)
class _Tile:
    """A part of a frame, turned so that the face in its middle is upright."""

    pixels: Bytes  # (TILE, TILE, 3) BGR
    matrix: Doubles  # (2, 3) from the frame to it


def rolls_of(landmarks: Floats) -> Doubles:
    """Return the roll (n,) of faces in radians, clockwise, by their landmarks (n, 5, 2): eyes above the mouth is 0."""
    x, y = np.moveaxis(np.asarray(_DOWN @ landmarks, np.float64), -1, 0)
    return np.asarray(np.arctan2(-x, y), np.float64)


def suspects_of(directions: Floats, found: Detections) -> NDArray[np.bool_]:
    """Return the faces (n,) whose landmarks contradict the network's directions (n, 2), or may be rough."""
    roll, confidence = rolls(directions), np.hypot(*directions.T)
    between = _between(roll, rolls_of(found.landmarks))
    tilt = np.abs(np.degrees(roll))
    weak = found.scores < SCORE
    likely = (between > CONTRADICTION_DEG) | (tilt > TURNED_DEG) | ((tilt > TILTED_DEG) & weak)
    possible = (between > FAR_DEG) & ~weak
    return np.asarray(np.where(confidence >= LIKELY, likely, possible & (confidence >= DOUBT)), np.bool_)


def rolls(directions: Floats) -> Doubles:
    """Return the roll (n,) in radians of directions (n, 2)."""
    return np.asarray(np.arctan2(directions[:, 1], directions[:, 0]), np.float64)


def look_upright(frame: Bytes, faces: Detections, directions: Floats, look: Look) -> tuple[Detections, Flags]:
    """Look again at faces of a BGR frame (h, w, 3) that are turned in these directions (n, 2). `look` is the detector.

    Returns the faces in the same order, and which are found (n,). Of the others, those whose landmarks certainly
    contradict it are `turned`; the rest stay as they are.
    """
    tiles = [_tile(frame, box, angle) for box, angle in zip(faces.boxes, rolls(directions).tolist(), strict=True)]
    found = [seen for first in range(0, len(tiles), 4) for seen in _look_at(tiles[first : first + 4], look)]
    boxes, scores, landmarks = faces.boxes.copy(), faces.scores.copy(), faces.landmarks.copy()
    resolved = np.zeros(len(faces), np.bool_)
    confidence = np.hypot(*directions.T)
    least = np.where(confidence >= LIKELY, 0, scores + BETTER)
    for row, (tile, seen) in enumerate(zip(tiles, found, strict=True)):
        if seen is not None and seen.scores[0] >= least[row]:
            boxes[row], landmarks[row] = _to_frame(seen, tile)
            scores[row], resolved[row] = max(scores[row], seen.scores[0]), True
    limits = np.array([frame.shape[1], frame.shape[0]] * 2, np.float32)
    contradicted = _between(rolls(directions), rolls_of(faces.landmarks)) > CONTRADICTION_DEG
    turned = ~resolved & (confidence >= CERTAIN) & contradicted
    return Detections(boxes.clip(0, limits), scores, landmarks, turned), resolved


def replaced(found: Detections, which: Rows, upright: Detections) -> Detections:
    """Return the faces with those at the indices `which` replaced by what `look_upright` gave for them."""
    boxes, scores, landmarks = found.boxes.copy(), found.scores.copy(), found.landmarks.copy()
    turned = found.turned.copy()
    boxes[which], scores[which], landmarks[which] = upright.boxes, upright.scores, upright.landmarks
    turned[which] = upright.turned
    return Detections(boxes, scores, landmarks, turned)


def survivors(found: Detections, resolved: Flags) -> Rows:
    """Return the faces to keep, highest score first: boxes on parts of a turned face become one.

    `resolved` (n,) are those that `look_upright` has found.
    """
    kept = np.ones(len(found), np.bool_)
    for row in sorted(np.flatnonzero(resolved).tolist(), key=lambda row: -found.scores[row]):
        if kept[row]:
            box = found.boxes[row : row + 1]
            same = (iou(found.boxes, box) >= SAME)[:, 0]
            part = (covered(found.boxes, box) >= INSIDE)[:, 0] & (found.turned | (found.scores < SCORE))
            kept &= ~(same | part)
            kept[row] = True
    rows = np.flatnonzero(kept)
    return rows[np.argsort(-found.scores[rows], kind="stable")]


def _tile(frame: Bytes, box: Floats, roll: float) -> _Tile:
    zoom = FACE / max(1.0, float((box[2:] - box[:2]).max()))
    centre = (box[:2] + box[2:]).astype(np.float64) / 2
    if zoom < 0.5:  # shrink first: warpAffine looks at four pixels only
        factor = ceil(0.5 / zoom)
        reach = round(TILE / zoom)
        x, y = (max(0, int(middle) - reach) for middle in centre)
        part = frame[y : int(centre[1]) + reach, x : int(centre[0]) + reach]
        size = max(1, part.shape[1] // factor), max(1, part.shape[0] // factor)
        frame = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        shrink = np.array([size[0] / part.shape[1], size[1] / part.shape[0]])
    else:
        x, y, shrink = 0, 0, np.ones(2)
    cos, sin = np.cos(-roll) * zoom, np.sin(-roll) * zoom
    matrix = np.array([[cos, -sin], [sin, cos]])
    whole = np.column_stack([matrix, TILE / 2 - matrix @ centre])
    # the same from the shrunk part
    part_matrix = np.column_stack([matrix / shrink, whole[:, 2] + matrix @ np.array([x, y])])
    grey = (GREY, GREY, GREY)
    pixels = cv2.warpAffine(frame, part_matrix, (TILE, TILE), flags=cv2.INTER_LINEAR, borderValue=grey)
    return _Tile(np.asarray(pixels, np.uint8), whole)


def _look_at(tiles: Sequence[_Tile], look: Look) -> list[Detections | None]:
    """Return the face in the middle of each of up to four tiles, in tile pixels, from one look."""
    sheet = np.full((2 * TILE, 2 * TILE, 3), GREY, np.uint8)
    corners = [(0, 0), (TILE, 0), (0, TILE), (TILE, TILE)][: len(tiles)]
    for tile, (x, y) in zip(tiles, corners, strict=True):
        sheet[y : y + TILE, x : x + TILE] = tile.pixels
    faces = look(sheet)
    return [_middle(faces, np.array(corner, np.float32)) for corner in corners]


def _middle(faces: Detections, corner: Floats) -> Detections | None:
    """Return the best upright face in the middle of a tile; None without one."""
    middle = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 - corner
    side = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1)
    fits = np.linalg.norm(middle - TILE / 2, axis=1) <= SHIFT * FACE
    fits &= (side >= SIZES[0] * FACE) & (side <= SIZES[1] * FACE) & (faces.scores >= SCORE)
    fits &= np.abs(np.degrees(rolls_of(faces.landmarks))) <= UPRIGHT_DEG
    rows = np.flatnonzero(fits)[:1]  # they are sorted by score
    if not len(rows):
        return None
    best = faces.rows(rows)
    return Detections(best.boxes - np.tile(corner, 2), best.scores, best.landmarks - corner)


def _to_frame(seen: Detections, tile: _Tile) -> tuple[Floats, Floats]:
    """Return box (4,) and landmarks (5, 2) in frame pixels of the one face in a tile."""
    back = np.linalg.inv(tile.matrix[:, :2])
    landmarks = (seen.landmarks[0] - tile.matrix[:, 2]) @ back.T
    box = seen.boxes[0].astype(np.float64)
    middle = back @ ((box[:2] + box[2:]) / 2 - tile.matrix[:, 2])
    half = np.hypot(*(back * (box[2:] - box[:2]) / 2).T)  # of the box around the turned oval in the upright one
    return np.concatenate([middle - half, middle + half]).astype(np.float32), landmarks.astype(np.float32)


def _between(first: Doubles, second: Doubles) -> Doubles:
    """Return the angle between two directions, given in radians, in degrees from 0 to 180."""
    return np.asarray(np.degrees(np.abs((first - second + np.pi) % (2 * np.pi) - np.pi)), np.float64)
