"""Where boxes and landmarks go when an image is turned, scaled, mirrored and cut."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.values import Bytes, Floats

Numbers: TypeAlias = NDArray[np.floating[Any]]

MIRRORED = [1, 0, 2, 4, 3]  # landmarks after mirroring: the left eye is the right one then


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image and the faces in it."""

    image: Bytes  # (h, w, 3) BGR
    boxes: Floats  # (n, 4) x1 y1 x2 y2, pixels
    landmarks: Floats  # (n, 5, 2) x y, pixels


def similarity(scale: float, degrees: float, source: Numbers, target: Numbers, stretch: float = 1.0) -> Floats:
    """The matrix (2, 3) that scales, turns clockwise and moves the point `source` to `target`; `stretch`: x over y."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([scale * stretch, scale])
    return np.concatenate([linear, (target - linear @ source)[:, None]], axis=1).astype(np.float32)


def moved(points: Floats, matrix: Floats) -> Floats:
    """Points (..., 2) under a matrix (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def moved_boxes(boxes: Floats, matrix: Floats) -> Floats:
    """Boxes (n, 4) of what fills the ellipse in each box, as a head does, under a matrix (2, 3)."""
    centres = moved(np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32), matrix)
    halves = (boxes[:, 2:] - boxes[:, :2]) / 2
    reach = np.sqrt(np.square(halves) @ np.square(matrix[:, :2]).T)  # of an ellipse along the axes
    return np.concatenate([centres - reach, centres + reach], axis=1).astype(np.float32)


def mirrored(scene: Scene) -> Scene:
    """The same from left to right; landmarks change their places, so that left stays left as seen in the image."""
    width = scene.image.shape[1]
    boxes, landmarks = scene.boxes.copy(), scene.landmarks[:, MIRRORED].copy()
    boxes[:, [0, 2]] = width - scene.boxes[:, [2, 0]]
    landmarks[..., 0] = width - landmarks[..., 0]
    return Scene(np.asarray(cv2.flip(scene.image, 1), np.uint8), boxes, landmarks)


def clipped(scene: Scene, min_px: float) -> Scene:
    """The faces that are large enough and not mostly outside, their boxes cut at the border; landmarks stay."""
    height, width = scene.image.shape[:2]
    boxes = scene.boxes.clip(0, np.array([width, height, width, height], np.float32))
    keep = visible(scene.boxes, width, height) > 0
    keep &= (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= min_px
    return replace(scene, boxes=boxes[keep], landmarks=scene.landmarks[keep])


def visible(boxes: Floats, width: int, height: int) -> Any:
    """Share of each box (n,) that is inside an image."""
    inside = boxes.clip(0, np.array([width, height, width, height], np.float32))
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return (inside[:, 2:] - inside[:, :2]).prod(axis=1) / np.maximum(area, 1e-6)
