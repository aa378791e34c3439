"""Look at parts of frames: the regions of several frames in one input of the detector, and the faces back in each."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from streamer.boxes import covered, iou
from streamer.detect.aiming import prepared
from streamer.detect.detector import FindsFaces
from streamer.detect.large import LARGE
from streamer.detect.letterbox import GREY
from streamer.detect.packing import Integers, Packing, Size, pack
from streamer.values import Bytes, Detections, Flags, Floats

EDGE = 2.0  # px of the canvas: a box that comes as close to the edge of a region may be cut by it
NEAR = 0.12  # the same, of its longer side
AGAIN = 1.2  # of the longer side of the part of a face that is seen, around it when it is looked at again
SAME = 0.4  # IoU of two boxes of one face in two regions
SHOWN = 0.5  # share of the box of a cut face inside that of a whole one from which both are one face
STRONG = 0.5  # score from which a face that is cut is looked at again; weaker ones are left out


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What was found in a frame, and where it was looked for."""

    faces: Detections
    looked: Floats | None  # (n, 4) x1 y1 x2 y2, px of the frame, whole pixels; None: all of it


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The faces in the regions of a frame, each once, in frame pixels, highest score first."""

    whole: Detections
    cut: Detections  # surely faces, cut by the edge of a region, and whole in no other region
    large: bool  # a face is too large for the detector at the scale of its region
    looked: Floats  # (n, 4) the regions, whole pixels


def look_at_parts(
    detector: FindsFaces, frames: Sequence[Bytes], regions: Sequence[Floats], known: Sequence[Floats]
) -> list[Sight | None]:
    """Look at regions (n, 4), px, of BGR frames, where the faces `known` (k, 4) were seen before.

    None in place of those that must be looked at as a whole: that costs no more, or a face does not fit in a region. A
    cut face is never given; where a region has cut one, it is looked for again in a region around it.
    """
    first = _look(detector, frames, regions, known)
    sights = [None if found is None or found.large else Sight(found.whole, found.looked) for found in first]
    cut = {
        number: found.cut.boxes for number, found in enumerate(first) if found and not found.large and len(found.cut)
    }
    if cut:
        known = [np.concatenate([known[number], boxes]) for number, boxes in cut.items()]
        around = [_around(boxes) for boxes in cut.values()]
        second = _look(detector, [frames[number] for number in cut], around, known)
        for (number, boxes), more in zip(cut.items(), second, strict=True):
            sights[number] = _both(sights[number], boxes, more)
    return sights


def composed(packing: Packing, frames: Sequence[Bytes]) -> list[Bytes]:
    """Return the canvases (h, w, 3) of a packing of BGR frames, with the regions as `letterboxed` scales frames."""
    canvases = [np.full((height, width, 3), GREY, np.uint8) for width, height in packing.canvases]
    rows = packing.frame.tolist(), packing.crop.tolist(), packing.canvas.tolist(), packing.tile.tolist()
    for frame, (x1, y1, x2, y2), canvas, (left, top, right, bottom) in zip(*rows, strict=True):
        tile = canvases[canvas][top:bottom, left:right]
        cv2.resize(frames[frame][y1:y2, x1:x2], (right - left, bottom - top), tile, interpolation=cv2.INTER_LINEAR)
    return canvases


def gathered(
    packing: Packing, found: Sequence[Detections], sizes: Sequence[Size], large_px: float, max_faces: int
) -> list[Found]:
    """Return the faces in each frame from those found in the canvases. Boxes are clipped to the frame.

    Faces whose centre lies in no region are dropped. `large_px` of a canvas are too large for the detector.
    """
    parts = [_in_regions(packing, canvas, faces) for canvas, faces in enumerate(found)]
    row = np.concatenate([np.zeros(0, np.int64), *(row for row, _ in parts)])
    seen = Detections.none()
    for _, faces in parts:
        seen = seen.joined(faces)
    limits = np.array(sizes, np.int64).reshape(-1, 2)[packing.frame[row]]
    cut = _cut(packing, row, seen.boxes, limits)
    large = (seen.boxes[:, 2:] - seen.boxes[:, :2]).max(axis=1, initial=0) >= large_px
    boxes = packing.to_frame(row, seen.boxes.reshape(-1, 2, 2)).clip(0, limits[:, None]).reshape(-1, 4)
    landmarks = packing.to_frame(row, seen.landmarks)
    faces = Detections(np.asarray(boxes, np.float32), seen.scores, landmarks, seen.turned)
    results = []
    for number in range(len(sizes)):
        rows = np.flatnonzero(packing.frame[row] == number)
        whole, broken = once(faces.rows(rows), row[rows], cut[rows])
        broken = broken.rows(np.flatnonzero(broken.scores >= STRONG))
        looked = packing.crop[packing.frame == number].astype(np.float32)
        is_large = bool((large[rows] & (seen.scores[rows] >= STRONG)).any())
        results.append(Found(whole.rows(np.arange(len(whole))[:max_faces]), broken, is_large, looked))
    return results


def once(faces: Detections, region: Integers, cut: Flags) -> tuple[Detections, Detections]:
    """Return each face of a frame once, of those found in several regions: the whole ones, and those always cut.

    `region` (n,) is that of each face. The order of the faces does not matter.
    """
    order = np.lexsort((*faces.boxes.T[::-1], -faces.scores, cut))
    faces, region, cut = faces.rows(order), region[order], cut[order]
    elsewhere = region[:, None] != region
    same = (iou(faces.boxes, faces.boxes) >= SAME) & elsewhere
    shown = (covered(faces.boxes, faces.boxes) >= SHOWN) & elsewhere & cut[:, None]
    later = np.tri(len(faces), k=-1, dtype=np.bool_).T
    repeats = (same | shown.T) & later
    kept = np.ones(len(faces), np.bool_)
    for row in range(len(faces)):
        if kept[row]:
            kept &= ~repeats[row]
    return faces.rows(np.flatnonzero(kept & ~cut)), faces.rows(np.flatnonzero(kept & cut))


def _look(
    detector: FindsFaces, frames: Sequence[Bytes], regions: Sequence[Floats], known: Sequence[Floats]
) -> list[Found | None]:
    """Look at regions once. None: the frame is better looked at as a whole."""
    config, sizes = detector.config, [(frame.shape[1], frame.shape[0]) for frame in frames]
    plans = [prepared(boxes, faces, size) for boxes, faces, size in zip(regions, known, sizes, strict=True)]
    packing = pack([boxes for boxes, _ in plans], sizes, [scales for _, scales in plans], config, detector.inputs)
    canvases = composed(packing, frames)
    seen = detector.detect(canvases, unscaled=True) if canvases else []
    found = gathered(packing, seen, sizes, LARGE * config.input_size, config.max_faces)
    return [None if whole else one for whole, one in zip(packing.whole, found, strict=True)]


def _both(sight: Sight | None, cut: Floats, more: Found | None) -> Sight | None:
    """Return what was found in a frame at both looks; None if a face that the first one cut (n, 4) is cut again."""
    if sight is None or sight.looked is None or more is None or more.large:
        return None
    if (covered(cut, more.cut.boxes) >= SHOWN).any():
        return None
    faces = sight.faces.joined(more.whole)
    look = np.arange(len(faces)) >= len(sight.faces)
    return Sight(
        once(faces, look.astype(np.int64), np.zeros(len(faces), np.bool_))[0],
        np.concatenate([sight.looked, more.looked]),
    )


def _around(boxes: Floats) -> Floats:
    """Return a region (n, 4) around each face (n, 4) of which a part is not seen."""
    room = AGAIN * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)[:, None]
    return np.concatenate([boxes[:, :2] - room, boxes[:, 2:] + room], axis=1)


def _in_regions(packing: Packing, canvas: int, faces: Detections) -> tuple[Integers, Detections]:
    """Return the faces of a canvas whose centre lies in a region, and the row (n,) of that region."""
    rows = np.flatnonzero(packing.canvas == canvas)
    tiles, centres = packing.tile[rows], (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    inside = ((centres[:, None] >= tiles[:, :2]) & (centres[:, None] < tiles[:, 2:])).all(axis=2)  # (faces, regions)
    kept, which = np.nonzero(inside)  # the regions of a canvas do not overlap
    return rows[which], faces.rows(kept)


def _cut(packing: Packing, row: Integers, boxes: Floats, limits: Integers) -> Flags:
    """Return which boxes (n, 4) of a canvas reach an edge of their region that is not one of the frame's.

    `row` (n,) is the region of each, `limits` (n, 2) width and height of its frame.
    """
    tile, crop = packing.tile[row], packing.crop[row]
    margin = np.concatenate([boxes[:, :2] - tile[:, :2], tile[:, 2:] - boxes[:, 2:]], axis=1)
    inner = np.concatenate([crop[:, :2] > 0, crop[:, 2:] < limits], axis=1)
    near = np.maximum(EDGE, NEAR * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0))
    return np.asarray((inner & (margin < near[:, None])).any(axis=1), np.bool_)
