"""Grow moving cells to regions, and join regions that are near."""

import cv2
import numpy as np

from streamer.attention.places import Grid
from streamer.values import Flags, Floats

MARGIN = 1  # cells around what moves
MIN_CELLS = 2  # a single cell is noise
MAX_REGIONS = 8  # more are one: the whole frame
JOIN = 1.25  # regions are joined if that enlarges their common area by at most this factor
FACES_WIDE = 3.0  # width of the region of a track, in face sizes
MIN_SIDE = 1 / 8  # of the frame's longer side: width and height of a region, so that it shows what is around a face


def moving_regions(moving: Flags, size: tuple[int, int]) -> Floats:
    """Return boxes (n, 4) x1 y1 x2 y2, frame pixels, around connected moving cells, of a frame of `size`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(_near(moving).view(np.uint8), connectivity=8)
    if count == 1:
        return np.zeros((0, 4), np.float32)
    inside = np.bincount(labels[moving], minlength=count)[1:]
    left, top, width, height = stats[1:, :4].T
    boxes = np.stack([left, top, left + width, top + height], axis=1)[inside >= MIN_CELLS]
    return _pixels(boxes, size, (moving.shape[0], moving.shape[1]))


def track_regions(boxes: Floats, drift: Floats) -> Floats:
    """Return the region (n, 4) around each predicted face box (n, 4) that contains it, with `drift` (n,) face sizes."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    half = side * (FACES_WIDE / 2 + np.minimum(2 * drift, 1.0))
    return np.concatenate([middle - half[:, None], middle + half[:, None]], axis=1).astype(np.float32)


def joined(boxes: Floats, size: tuple[int, int]) -> Floats:
    """Enlarge the boxes (n, 4) to the smallest side, clip them to the frame of `size`, and join those that are near."""
    regions = [_fitted(box, size) for box in boxes.tolist()]
    number = 0
    while number < len(regions):
        for other in range(number):
            both = _around(regions[number], regions[other])
            if _area(both) <= JOIN * (_area(regions[number]) + _area(regions[other])):
                regions[other] = both
                del regions[number]
                number = other  # the joined one may reach others
                break
        else:
            number += 1
    return np.array(regions, np.float32).reshape(-1, 4)


def share(regions: Floats, size: tuple[int, int]) -> float:
    """Return the area of regions (n, 4) over that of the frame."""
    area = (regions[:, 2] - regions[:, 0]) * (regions[:, 3] - regions[:, 1])
    return float(area.sum()) / (size[0] * size[1])


def _near(moving: Flags) -> Flags:
    kernel = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)
    return np.asarray(cv2.dilate(moving.view(np.uint8), kernel)).view(np.bool_)


def _pixels(cells: np.ndarray, size: tuple[int, int], grid: Grid) -> Floats:
    scale = np.array([size[0] / grid[1], size[1] / grid[0]] * 2)
    return np.asarray(cells * scale, np.float32)


def _fitted(box: list[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    least = MIN_SIDE * max(size)
    sides = []
    for low, high, most in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        length = min(max(high - low, least), most)
        start = min(max((low + high - length) / 2, 0.0), most - length)
        sides.append((start, start + length))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


Box = tuple[float, float, float, float]


def _around(first: Box, second: Box) -> Box:
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
