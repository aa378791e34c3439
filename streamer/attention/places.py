"""Boxes in pixels of the frame, and the cells of the motion map that they cover."""

import numpy as np
from numpy.typing import NDArray

from streamer.values import Flags, Floats

Grid = tuple[int, int]  # rows, columns of cells
Spans = NDArray[np.intp]  # (n, 4) cells x1 y1 x2 y2, the last ones not included


def spans(boxes: Floats, size: tuple[int, int], grid: Grid) -> Spans:
    """Return the cells that each box (n, 4) touches, in a frame of `size` (width, height)."""
    cells = boxes * np.array([grid[1] / size[0], grid[0] / size[1]] * 2, np.float32)
    limits = np.array([grid[1], grid[0]] * 2)
    return np.concatenate([np.floor(cells[:, :2]), np.ceil(cells[:, 2:])], axis=1).clip(0, limits).astype(np.intp)


def cells_of(boxes: Floats, size: tuple[int, int], grid: Grid) -> Flags:
    """Mark the cells that any of the boxes (n, 4) touches."""
    marked = np.zeros(grid, np.bool_)
    for x1, y1, x2, y2 in spans(boxes, size, grid).tolist():
        marked[y1:y2, x1:x2] = True
    return marked


def means(cells: NDArray[np.generic], where: Spans, among: Flags | None = None) -> Floats:
    """Return the mean (n,) of the cells in each span, of those marked in `among` only if it is given; else 0."""
    answer = np.zeros(len(where), np.float32)
    for row, (x1, y1, x2, y2) in enumerate(where.tolist()):
        part = cells[y1:y2, x1:x2]
        if among is not None:
            part = part[among[y1:y2, x1:x2]]
        if part.size:
            answer[row] = part.mean()
    return answer


def sides(boxes: Floats) -> Floats:
    """Return the size (n,) of each face: the smaller side of its box."""
    return np.asarray(np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]))


def enlarged(boxes: Floats, margins: float | Floats) -> Floats:
    """Enlarge boxes (n, 4) by margins in face sizes: one for all sides, or (4,) to the left, top, right and bottom."""
    outward = np.array([-1, -1, 1, 1], np.float32) * np.float32(margins)
    return np.asarray(boxes + sides(boxes)[:, None] * outward, np.float32)


def apart(first: Floats, second: Floats) -> Floats:
    """Return the distance (n,) of the centres of boxes (n, 4), in sizes of the first."""
    centres = (first[:, :2] + first[:, 2:] - second[:, :2] - second[:, 2:]) / 2
    return np.asarray(np.hypot(centres[:, 0], centres[:, 1]) / np.maximum(sides(first), 1), np.float32)
