"""Pack regions of several frames into few small inputs of a detector, each at a scale of its own.

A detector's time goes with the area of its input, so the area is kept small; and a small face is found more often, and
its landmarks are better, if it is shown larger than in the whole frame. A region is cut out at whole pixels and scaled;
grey between the regions keeps a face from continuing in its neighbour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.config import Detect
from streamer.detect.letterbox import STRIDES
from streamer.values import Flags, Floats

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Size = tuple[int, int]  # width, height
Corners = list[tuple[int, int] | None]  # x, y

MULTIPLE = STRIDES[-1]  # px, of the sides of a canvas
GAP = 8  # px between two regions, one cell of the finest grid
CALL = 12_000  # px², area that takes as long as what a call of the detector costs apart from its input
FACE = 40.0  # px: wider faces are found no more often, and their landmarks are hardly better, as measured
SHARE = 0.4  # of the cost of the whole frame, up to which regions are enlarged
ROUNDS = 3  # of dividing it
PAYS = 0.8  # share of the cost of the whole frame from which regions do not pay
DENSITY = 0.75  # share of a canvas that regions cover, as measured; less if they are few
WIDTHS = 3  # widths of canvas that are tried closely
# width and height of canvases for a detector that is compiled for each size, in twentieths of `input_size`
FEW = (4, 4), (7, 5), (10, 8), (14, 10), (20, 12), (20, 20)
AS_LARGE_AS_ALLOWED = np.nan  # in place of a scale
_NO_BOXES, _NO_SCALES = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """Where each region lies. Rows are the regions of the frames that are not looked at whole, frame by frame."""

    whole: Flags  # (frames,) its regions would cost about as much as the frame itself: they are not packed
    canvases: tuple[Size, ...]  # px, multiples of MULTIPLE
    frame: Integers  # (n,) index of its frame
    crop: Integers  # (n, 4) x1 y1 x2 y2, frame pixels
    canvas: Integers  # (n,) index of its canvas
    tile: Integers  # (n, 4) x1 y1 x2 y2 in the canvas, px

    @property
    def scale(self) -> Doubles:
        """Scale (n, 2) in x and y from frame to canvas."""
        return np.asarray((self.tile[:, 2:] - self.tile[:, :2]) / (self.crop[:, 2:] - self.crop[:, :2]), np.float64)

    def to_canvas(self, rows: Integers, points: Floats) -> Floats:
        """Return points (m, k, 2) of frames in pixels of the canvas. `rows` (m,) are their regions."""
        crop, tile, scale = self.crop[rows, None, :2], self.tile[rows, None, :2], self.scale[rows, None]
        return np.asarray((points - crop) * scale + tile, np.float32)

    def to_frame(self, rows: Integers, points: Floats) -> Floats:
        """Return points (m, k, 2) of canvases in pixels of the frame. `rows` (m,) are their regions."""
        crop, tile, scale = self.crop[rows, None, :2], self.tile[rows, None, :2], self.scale[rows, None]
        return np.asarray((points - tile) / scale + crop, np.float32)


def pack(
    regions: Sequence[Floats],
    sizes: Sequence[Size],
    scales: Sequence[Floats],
    config: Detect,
    inputs: tuple[Size, ...] | None = None,
) -> Packing:
    """Pack the regions (n, 4) x1 y1 x2 y2, px, of frames of these sizes.

    `scales` (n,) are those wanted, or AS_LARGE_AS_ALLOWED; none is below that of the whole frame or above
    `max_upscale`. `inputs` are the sizes of canvases to choose from, with one of `input_size` squared; None: all.
    Whether a frame is looked at whole depends on the frames beside it only if all are.
    """
    limit = config.input_size
    square = inputs == ((limit, limit),)  # the detector takes no other image
    frame = np.repeat(np.arange(len(sizes)), [len(boxes) for boxes in regions])
    costs = np.array([whole_cost(size, config, square) for size in sizes], np.float64)
    crop = _whole_pixels(np.concatenate([_NO_BOXES, *regions]), np.array(sizes, np.float64).reshape(-1, 2)[frame])
    least = np.array([whole_scale(size, config) for size in sizes], np.float64)
    side = _sides(crop, frame, np.concatenate([_NO_SCALES, *scales]), least, costs, config)
    area = np.bincount(frame, (side + GAP).prod(axis=1), len(sizes)) / (1 if square else DENSITY) + CALL
    asked = np.bincount(frame, minlength=len(sizes)) > 0
    whole = asked & (area >= PAYS * costs)
    rows = np.flatnonzero(~whole[frame])
    canvases, places = _filled(side[rows].tolist(), limit, inputs)
    if canvases and sum(_cost(canvas) for canvas in canvases) >= costs[asked & ~whole].sum():
        whole, rows, canvases, places = asked, rows[:0], [], []
    corner = np.array(places, np.int64).reshape(-1, 3)
    tile = np.concatenate([corner[:, 1:], corner[:, 1:] + side[rows]], axis=1)
    return Packing(whole, tuple(canvases), frame[rows], crop[rows], corner[:, 0], tile)


def few_inputs(input_size: int) -> tuple[Size, ...]:
    """Return few sizes of canvases, smallest first, for a detector that is compiled for each size."""
    sizes = [(_multiple(width * input_size / 20), _multiple(height * input_size / 20)) for width, height in FEW]
    return tuple(dict.fromkeys(sizes))


def whole_scale(size: Size, config: Detect) -> float:
    """Return the scale of a whole frame in the input of the detector."""
    return min(config.input_size / max(size), config.max_upscale)


def whole_cost(size: Size, config: Detect, square: bool = False) -> float:
    """Return the cost of a whole frame, in px² of the detector's input."""
    if square:
        return _cost((config.input_size, config.input_size))
    scale = whole_scale(size, config)
    return _cost((_multiple(round(size[0] * scale)), _multiple(round(size[1] * scale))))


def _cost(canvas: Size) -> float:
    return canvas[0] * canvas[1] + CALL


def _multiple(side: float) -> int:
    return int(-(-side // MULTIPLE) * MULTIPLE)


def _whole_pixels(boxes: Floats, limits: Doubles) -> Integers:
    """Return the regions (n, 4) extended to whole pixels, at least one, inside frames of width and height (n, 2)."""
    low = np.clip(np.floor(boxes[:, :2]), 0, limits - 1)
    high = np.minimum(np.maximum(np.ceil(boxes[:, 2:]), low + 1), limits)
    return np.asarray(np.concatenate([low, high], axis=1), np.int64)


def _sides(crop: Integers, frame: Integers, wanted: Floats, least: Doubles, costs: Doubles, config: Detect) -> Integers:
    """Return width and height (n, 2) of each region in its canvas. `least` scale and `costs` (frames,) are of the
    whole frames.
    """
    sides = (crop[:, 2:] - crop[:, :2]).astype(np.float64)
    areas = sides.prod(axis=1)
    budget = np.maximum(SHARE * costs * DENSITY - CALL, 1)
    free = np.isnan(wanted)
    scales = np.where(free, 0, np.clip(wanted, least[frame], config.max_upscale))
    spent = np.bincount(frame, areas * scales**2, len(costs))
    for _ in range(ROUNDS):  # those that are at the lower limit already leave the others less
        if (spent <= budget).all():
            break
        excess = np.sqrt(np.maximum(spent / budget, 1))
        scales = np.where(free, 0, np.maximum(scales / excess[frame], least[frame]))
        spent = np.bincount(frame, areas * scales**2, len(costs))
    if free.any():
        spare = np.maximum(budget - spent, 0)
        zoom = np.sqrt(spare / np.maximum(np.bincount(frame[free], areas[free], len(costs)), 1))
        scales[free] = zoom.clip(least, config.max_upscale)[frame[free]]
    scales = np.minimum(scales, config.input_size / sides.max(axis=1, initial=1))
    return np.asarray(np.maximum(np.rint(sides * scales[:, None]), 1), np.int64)


def _filled(
    sides: list[list[int]], limit: int, inputs: tuple[Size, ...] | None
) -> tuple[list[Size], list[tuple[int, int, int]]]:
    """Return canvases for regions of these sides, and number of the canvas, x and y of each region."""
    order = sorted(range(len(sides)), key=lambda row: (-sides[row][1], -sides[row][0], row))
    canvases: list[Size] = []
    places = [(0, 0, 0)] * len(sides)
    while order:
        tiles = [(sides[row][0] + GAP, sides[row][1] + GAP) for row in order]
        canvas, corners = _best(tiles, limit) if inputs is None else _first(tiles, inputs)
        for row, corner in zip(order, corners, strict=True):
            if corner is not None:
                places[row] = len(canvases), *corner
        canvases.append(canvas)
        order = [row for row, corner in zip(order, corners, strict=True) if corner is None]
    return canvases, places


def _best(tiles: list[Size], limit: int) -> tuple[Size, Corners]:
    """Return the smallest canvas for the tiles; where all do not fit, the largest with as many as do."""
    widest, area = max(width for width, _ in tiles), sum(width * height for width, height in tiles)
    widths = range(_multiple(max(widest, area / (limit + GAP)) - GAP), limit + 1, MULTIPLE)
    sizes = sorted((width * _multiple(_shelves(tiles, width + GAP) - GAP), width) for width in widths)
    best: tuple[int, Size, Corners] | None = None
    for _, width in sizes[:WIDTHS]:
        bottom, corners = _skyline(tiles, width + GAP, limit + GAP)
        canvas = width, _multiple(bottom - GAP)
        if None not in corners and (best is None or canvas[0] * canvas[1] < best[0]):
            best = canvas[0] * canvas[1], canvas, corners
    return best[1:] if best else ((limit, limit), _skyline(tiles, limit + GAP, limit + GAP)[1])


def _first(tiles: list[Size], inputs: tuple[Size, ...]) -> tuple[Size, Corners]:
    """Return the smallest of the canvases in which the tiles fit; the largest with as many as fit if they do not."""
    area = sum((width - GAP) * (height - GAP) for width, height in tiles)
    corners: Corners = []
    for width, height in inputs:
        if area <= width * height or (width, height) == inputs[-1]:
            corners = _skyline(tiles, width + GAP, height + GAP)[1]
            if None not in corners:
                return (width, height), corners
    return inputs[-1], corners


def _shelves(tiles: list[Size], width: int) -> int:
    """Return the height of the tiles, highest first, in rows, each in the first row that has room."""
    rows: list[list[int]] = []  # width taken, height
    top = 0
    for wide, high in tiles:
        for row in rows:
            if row[0] + wide <= width:
                row[0] += wide
                break
        else:
            rows.append([wide, high])
            top += high
    return top


def _skyline(tiles: list[Size], width: int, limit: int) -> tuple[int, Corners]:
    """Place each tile as near to the top as the tiles before it allow: height and upper left corners.

    None for those that would end below `limit`.
    """
    starts, tops, ends = [0], [0], [width]  # of the steps of the outline below which nothing lies yet
    corners: Corners = []
    bottom = 0
    for wide, high in tiles:
        best = limit + 1, 0, 0
        for first, start in enumerate(starts):
            end = start + wide
            if end > width:
                break
            last, top = first, tops[first]
            while ends[last] < end:
                last += 1
                top = max(top, tops[last])
            if top < best[0]:
                best = top, first, last
        top, first, last = best
        if top + high > limit:
            corners.append(None)
            continue
        start = starts[first]
        end = start + wide
        corners.append((start, top))
        bottom = max(bottom, top + high)
        rest = ([], [], []) if ends[last] == end else ([end], [tops[last]], [ends[last]])
        starts[first : last + 1] = [start, *rest[0]]
        tops[first : last + 1] = [top + high, *rest[1]]
        ends[first : last + 1] = [end, *rest[2]]
    return bottom, corners
