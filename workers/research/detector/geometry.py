"""Transform boxes and landmarks along with their image: rotate, scale, mirror, clip."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.values import Bytes, Floats

Numbers: TypeAlias = NDArray[np.floating[Any]]

MIRRORED = [1, 0, 2, 4, 3]  # order of the landmarks after mirroring, which swaps left and right


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image and its faces."""

    image: Bytes  # (h, w, 3) BGR
    boxes: Floats  # (n, 4) x1 y1 x2 y2, pixels
    landmarks: Floats  # (n, 5, 2) x y, pixels


def similarity(scale: float, degrees: float, source: Numbers, target: Numbers, stretch: float = 1.0) -> Floats:
    """Return the matrix (2, 3) that scales, rotates clockwise and moves the point `source` to `target`.

    `stretch`: the factor by which x is scaled more than y.
    """
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([scale * stretch, scale])
    return np.concatenate([linear, (target - linear @ source)[:, None]], axis=1).astype(np.float32)


def moved(points: Floats, matrix: Floats) -> Floats:
    """Transform points (..., 2) by a matrix (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def moved_boxes(boxes: Floats, matrix: Floats) -> Floats:
    """Transform boxes (n, 4) by a matrix (2, 3): return those around the ellipses in them, as heads are round."""
    centres = moved(np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32), matrix)
    halves = (boxes[:, 2:] - boxes[:, :2]) / 2
    reach = np.sqrt(np.square(halves) @ np.square(matrix[:, :2]).T)  # extent of an ellipse along the axes
    return np.concatenate([centres - reach, centres + reach], axis=1).astype(np.float32)


def mirrored(scene: Scene) -> Scene:
    """Mirror a scene horizontally and reorder the landmarks, so that left stays left as seen in the image."""
    width = scene.image.shape[1]
    boxes, landmarks = scene.boxes.copy(), scene.landmarks[:, MIRRORED].copy()
    boxes[:, [0, 2]] = width - scene.boxes[:, [2, 0]]
    landmarks[..., 0] = width - landmarks[..., 0]
    return Scene(np.asarray(cv2.flip(scene.image, 1), np.uint8), boxes, landmarks)


def clipped(scene: Scene, min_px: float) -> Scene:
    """Clip the boxes to the image and drop faces outside of it or with a side below `min_px`; landmarks stay."""
    height, width = scene.image.shape[:2]
    boxes = scene.boxes.clip(0, np.array([width, height, width, height], np.float32))
    keep = visible(scene.boxes, width, height) > 0
    keep &= (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= min_px
    return replace(scene, boxes=boxes[keep], landmarks=scene.landmarks[keep])


def visible(boxes: Floats, width: int, height: int) -> Any:
    """Return the share (n,) of each box (n, 4) that is inside an image of this size in pixels."""
    inside = boxes.clip(0, np.array([width, height, width, height], np.float32))
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return (inside[:, 2:] - inside[:, :2]).prod(axis=1) / np.maximum(area, 1e-6)
