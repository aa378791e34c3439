"""A photograph with one face, turned in the plane or cut down to the face."""

from math import cos, radians, sin
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.values import Bytes, Floats

GREY = (114.0, 114.0, 114.0)


def turned(pixels: Bytes, degrees: float) -> tuple[Bytes, NDArray[np.float64]]:
    """The whole picture turned clockwise on a grey canvas that holds it, and the matrix (2, 3) from the picture."""
    height, width = pixels.shape[:2]
    c, s = cos(radians(degrees)), sin(radians(degrees))
    size = round(abs(width * c) + abs(height * s)), round(abs(width * s) + abs(height * c))
    turn = np.array([[c, -s], [s, c]])
    matrix = np.column_stack([turn, np.array(size) / 2 - turn @ np.array([width / 2, height / 2])])
    return np.asarray(cv2.warpAffine(pixels, matrix, size, borderValue=GREY), np.uint8), matrix


def moved(points: NDArray[np.floating[Any]], matrix: NDArray[np.float64]) -> Floats:
    """Points (..., 2) of the picture in the turned one."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def close_up(
    pixels: Bytes, box: tuple[float, float, float, float], share: float, size: tuple[int, int]
) -> tuple[Bytes, Floats]:
    """A picture of this size (width, height) around a box, whose longer side is `share` of the shorter side of it.

    Returns the picture and the box (4,) in it, cut off at its border.
    """
    x1, y1, x2, y2 = box
    zoom = share * min(size) / max(x2 - x1, y2 - y1)
    shift = np.array(size) / 2 - zoom * np.array([x1 + x2, y1 + y2]) / 2
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    picture = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    there = (np.array(box).reshape(2, 2) * zoom + shift).clip(0, size).reshape(4)
    return np.asarray(picture, np.uint8), there.astype(np.float32)
