"""Find faces that are larger than those a detector was trained on, by a second look at a smaller scale.

At the first look such a face is missed, or gives several boxes on its parts. The second look decides.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from streamer.boxes import covered, iou
from streamer.config import Detect
from streamer.detect.letterbox import GREY
from streamer.values import Bytes, Detections, Flags, Floats

LARGE = 0.42  # of the detector's input: a box with a longer side asks for a second look
SHRINK = 2.5  # how much smaller the second look is
COUNTS = 0.3  # of the input: faces from this size on are taken from the second look
BEYOND = 0.55  # of the input: larger boxes of the first look are not trusted
SAME = 0.4  # IoU of two boxes of one face
AGREED = 0.6  # IoU from which both looks say the same
INSIDE = 0.6  # share of a box inside a large face from which it shows a part of it, unless both looks have it


@dataclass(frozen=True, slots=True, eq=False)
class Shrunk:
    """A frame for the second look."""

    pixels: Bytes  # (input_size, input_size, 3) BGR, the frame in its upper left corner
    scale: Floats  # (2,) of the frame in it

    def to_frame(self, seen: Detections, frame: Bytes) -> Detections:
        """Return faces found in it in pixels of the frame (h, w, 3), boxes clipped to it."""
        limits = np.array([frame.shape[1], frame.shape[0]] * 2, np.float32)
        boxes = (seen.boxes / np.tile(self.scale, 2)).clip(0, limits)
        faces = Detections(boxes, seen.scores, np.asarray(seen.landmarks / self.scale, np.float32))
        return faces.rows(np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1)))


def relative_sides(boxes: Floats, frame: Bytes, config: Detect) -> Floats:
    """Return the longer side of each box (n, 4) at the first look, in sides of the detector's input."""
    scale = min(config.input_size / max(frame.shape[:2]), config.max_upscale)
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * scale / config.input_size, np.float32)


def has_large(found: Detections, frame: Bytes, config: Detect) -> bool:
    """Return whether a face of the first look is so large that a second look is needed."""
    return bool((relative_sides(found.boxes, frame, config) >= LARGE).any())


def shrunk(frame: Bytes, config: Detect) -> Shrunk:
    """Prepare the second look at a frame (h, w, 3)."""
    size, (height, width) = config.input_size, frame.shape[:2]
    scale = min(size / max(width, height), config.max_upscale) / SHRINK
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.full((size, size, 3), GREY, np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(frame, inner, interpolation=cv2.INTER_AREA)
    return Shrunk(canvas, np.array([inner[0] / width, inner[1] / height], np.float32))


def combined(found: Detections, second: Detections, frame: Bytes, config: Detect) -> Detections:
    """Combine both looks at a frame: large faces from the second; others from the first, but no parts of large ones.

    Returns `found` itself if the second look changes nothing.
    """
    is_large = _counts(second, frame, config)
    large, rest = second.rows(np.flatnonzero(is_large)), second.rows(np.flatnonzero(~is_large))
    if not len(large):
        return found
    moderate = relative_sides(found.boxes, frame, config) < BEYOND
    overlap = iou(found.boxes, large.boxes)
    trusted = (overlap >= AGREED) & moderate[:, None]  # the first look, which is sharper, has it too
    part = (covered(found.boxes, large.boxes) >= INSIDE).any(axis=1)
    seen_twice = (iou(found.boxes, rest.boxes) >= SAME).any(axis=1)  # a smaller face in front of a large one
    doubted = ((overlap >= SAME).any(axis=1) | (part & ~seen_twice)) & ~trusted.any(axis=1)
    new = ~trusted.any(axis=0)
    if not new.any() and not doubted.any():
        return found
    return large.rows(np.flatnonzero(new)).joined(found.rows(np.flatnonzero(~doubted))).by_score()


def large_only(found: Detections, frame: Bytes, config: Detect) -> Detections:
    """Return the large faces of a frame (h, w, 3)."""
    return found.rows(np.flatnonzero(_counts(found, frame, config)))


def _counts(found: Detections, frame: Bytes, config: Detect) -> Flags:
    return np.asarray(relative_sides(found.boxes, frame, config) >= COUNTS, np.bool_)
