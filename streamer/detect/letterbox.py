"""Steps that detectors share: the grey border around a frame, and the suppression of repeated boxes."""

import cv2
import numpy as np

from streamer.config import Detect
from streamer.values import Bytes, Floats

GREY = 114  # around an image, as in the training of YOLO models
STRIDES = (8, 16, 32)  # px, of the grids of cells of all YOLO models here


def letterboxed(
    frame: Bytes, config: Detect, square: bool = True, unscaled: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Scale a BGR frame (h, w, 3) to `input_size` and put it in the middle of grey.

    Returns the input of a network, (1, 3, height, width) RGB from 0 to 1, and scale and offset (x, y) of the frame in
    it. Without `square`, the sides are the next multiples of the largest stride, so that little is grey. `unscaled`:
    the frame is such an image already.
    """
    image, scale, offset = canvas(frame, config, square, unscaled)
    return planes(image), scale, offset


def canvas(frame: Bytes, config: Detect, square: bool = True, unscaled: bool = False) -> tuple[Bytes, Floats, Floats]:
    """Return the image in `letterboxed` as BGR (height, width, 3), with scale and offset.

    A frame that has its size is returned itself, so the image is not to be written to.
    """
    size, (height, width) = config.input_size, frame.shape[:2]
    if unscaled and not (square and (height, width) != (size, size)):
        return frame, np.ones(2, np.float32), np.zeros(2, np.float32)
    scale = 1.0 if unscaled else min(size / max(width, height), config.max_upscale)
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    outer_width, outer_height = (size, size) if square else (_whole(inner_width), _whole(inner_height))
    left, top = (outer_width - inner_width) // 2, (outer_height - inner_height) // 2
    exact = np.array([inner_width / width, inner_height / height], np.float32)
    offset = np.array([left, top], np.float32)
    if (height, width) == (outer_height, outer_width):
        return frame, exact, offset
    image = np.empty((outer_height, outer_width, 3), np.uint8)
    below, right = top + inner_height, left + inner_width
    image[:top], image[below:], image[top:below, :left], image[top:below, right:] = GREY, GREY, GREY, GREY
    inner = image[top:below, left:right]
    if (height, width) == (inner_height, inner_width):
        inner[:] = frame
    else:
        cv2.resize(frame, (inner_width, inner_height), dst=inner, interpolation=cv2.INTER_LINEAR)
    return image, exact, offset


def planes(image: Bytes) -> Floats:
    """Return a BGR image (h, w, 3) as the input of a network, (1, 3, h, w) RGB from 0 to 1.

    The values are those of `cv2.dnn.blobFromImage`, which takes twenty times as long.
    """
    planes = np.empty((1, 3, *image.shape[:2]), np.float32)
    for plane, channel in zip(planes[0], reversed(cv2.split(image)), strict=True):
        plane[:] = channel  # by itself: numpy converts within a product in small pieces
        plane *= np.float32(1 / 255)
    return planes


def _whole(side: int) -> int:
    """Return the next multiple of the largest stride."""
    return -(-side // STRIDES[-1]) * STRIDES[-1]


def suppressed(boxes: Floats, scores: Floats, min_score: float, max_overlap: float) -> list[int]:
    """Return the rows of boxes (n, 4) that remain after non-maximum suppression, strongest first."""
    corner_and_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    rows = cv2.dnn.NMSBoxes(corner_and_size.tolist(), scores.tolist(), min_score, max_overlap)
    return [int(row) for row in rows]
