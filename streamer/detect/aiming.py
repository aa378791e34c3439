"""Decide where in a frame to look exactly, and how closely, from the regions asked for and the faces known there."""

import numpy as np

from streamer.boxes import areas, covered
from streamer.detect.packing import AS_LARGE_AS_ALLOWED, FACE, Size
from streamer.values import Floats

ABOUT = 25.0  # a region is about faces if its area is up to this many times that of the squares around them
AROUND = 0.15  # of a face's longer side, left around it in a region
PART = 0.2  # share of a known face in a region from which the region takes in all of it
GROWTHS = 4  # times that taking in a face may make a region reach the next one
UNKNOWN = 1.0  # scale supposed of a region whose content is not known, when regions are joined


def prepared(regions: Floats, known: Floats, size: Size) -> tuple[Floats, Floats]:
    """Return the regions (m, 4) to look at, and the scale (m,) wanted for each, from those asked for (n, 4), px.

    Faces `known` (k, 4) of the frame that lie in a region in part are taken in whole. Regions that overlap become one
    where that is less to look at. A scale is that at which the smallest face has the size that is found best, if the
    region is about faces.
    """
    limits = np.array([*size, *size], np.float32)
    boxes = np.asarray(regions, np.float32).reshape(-1, 4).clip(0, limits)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    boxes = _joined(_grown(boxes, known).clip(0, limits), known)
    return boxes, _scales(boxes, known)


def _scales(boxes: Floats, known: Floats) -> Floats:
    """Return the scale (n,) wanted for regions (n, 4)."""
    inside = covered(known, boxes) > 1 - 1e-3  # (k, n)
    squares = (inside * (known[:, 2:] - known[:, :2]).max(axis=1)[:, None] ** 2).sum(axis=0)
    widths = np.where(inside, (known[:, 2] - known[:, 0])[:, None], np.inf).min(axis=0, initial=np.inf)
    return np.where(areas(boxes) <= ABOUT * squares, FACE / np.maximum(widths, 1), AS_LARGE_AS_ALLOWED).astype(
        np.float32
    )


def _grown(boxes: Floats, known: Floats) -> Floats:
    """Return the regions (n, 4), each with the known faces (k, 4) that it shows in part."""
    if not len(boxes) or not len(known):
        return boxes
    room = AROUND * (known[:, 2:] - known[:, :2]).max(axis=1)[:, None]
    outer = np.concatenate([known[:, :2] - room, known[:, 2:] + room], axis=1)
    for _ in range(GROWTHS):
        shown = covered(known, boxes)[:, :, None] >= PART  # (k, n, 1)
        low = np.where(shown, outer[:, None, :2], np.inf).min(axis=0)
        high = np.where(shown, outer[:, None, 2:], -np.inf).max(axis=0)
        grown = np.concatenate([np.minimum(boxes[:, :2], low), np.maximum(boxes[:, 2:], high)], axis=1)
        if np.array_equal(grown, boxes):
            break
        boxes = grown.astype(np.float32)
    return boxes


def _joined(boxes: Floats, known: Floats) -> Floats:
    """Return the regions (n, 4) after joining pairs whose common rectangle is less to look at than both."""
    while len(boxes) > 1:
        wanted = _scales(boxes, known)
        zoom = np.where(np.isnan(wanted), UNKNOWN, wanted) ** 2
        low = np.minimum(boxes[:, None, :2], boxes[None, :, :2])
        high = np.maximum(boxes[:, None, 2:], boxes[None, :, 2:])
        cost = areas(boxes) * zoom
        gain = cost[:, None] + cost - (high - low).prod(axis=2) * np.maximum(zoom[:, None], zoom)
        np.fill_diagonal(gain, -1)
        first, second = np.unravel_index(gain.argmax(), gain.shape)
        if gain[first, second] < 0:
            break
        joined = np.concatenate([low[first, second], high[first, second]])[None]
        boxes = np.concatenate([np.delete(boxes, [first, second], axis=0), joined])
    return boxes
