"""How much boxes overlap: the only place that computes intersection over union (IoU).

A box is x1 y1 x2 y2 in pixels. Tables compare each of n boxes (n, 4) with each of m boxes (m, 4).
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Numbers = TypeVar("Numbers", NDArray[np.float32], NDArray[np.float64], NDArray[np.floating[Any]])

TINY = 1e-9  # px², divides in place of the area of nothing, so that boxes without area overlap nothing


def areas(boxes: Numbers) -> Numbers:
    """Return the area (n,) of each box (n, 4)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def iou(first: Numbers, second: Numbers) -> Numbers:
    """Return the table (n, m) of intersection over union, 0..1."""
    return iou_of_pairs(first.T[:, :, None], second.T[:, None, :])


def covered(first: Numbers, second: Numbers) -> Numbers:
    """Return the table (n, m) of the share, 0..1, of each first box that the second one covers."""
    common = _common(first.T[:, :, None], second.T[:, None, :])
    common /= np.maximum(areas(first), TINY)[:, None]
    return common


def iou_of_pairs(first: Numbers, second: Numbers) -> Numbers:
    """Return the intersection over union (...) of boxes whose coordinates are rows: (4, ...), which broadcast."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = first, second
    common = _common(first, second)
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - common
    common /= np.maximum(union, TINY, out=union)
    return common


def _common(first: Numbers, second: Numbers) -> Numbers:
    """Return the area (...) that boxes (4, ...) share, px²."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = first, second  # row by row: a table of both sides at once is slower
    common: Numbers = np.minimum(x2, u2) - np.maximum(x1, u1)
    np.maximum(common, 0, out=common)
    height = np.minimum(y2, v2) - np.maximum(y1, v1)
    np.maximum(height, 0, out=height)
    common *= height
    return common
