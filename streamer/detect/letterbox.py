"""Steps that detectors share: the grey square around a frame, and the suppression of repeated boxes."""

import cv2
import numpy as np

from streamer.config import Detect
from streamer.values import Bytes, Floats

GREY = 114  # around an image, as in the training of YOLO models


def letterboxed(frame: Bytes, config: Detect) -> tuple[Bytes, Floats, Floats]:
    """Put a frame in the middle of a grey square; return it, and scale and offset (x, y) of the frame in it."""
    size, (height, width) = config.input_size, frame.shape[:2]
    scale = min(size / max(width, height), config.max_upscale)
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - inner_width) // 2, (size - inner_height) // 2
    image = np.full((size, size, 3), GREY, np.uint8)
    inner = cv2.resize(frame, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR)
    image[top : top + inner_height, left : left + inner_width] = inner
    exact = np.array([inner_width / width, inner_height / height], np.float32)
    return image, exact, np.array([left, top], np.float32)


def suppressed(boxes: Floats, scores: Floats, min_score: float, max_overlap: float) -> list[int]:
    """Return the rows of boxes (n, 4) that remain after non-maximum suppression, strongest first."""
    corner_and_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    rows = cv2.dnn.NMSBoxes(corner_and_size.tolist(), scores.tolist(), min_score, max_overlap)
    return [int(row) for row in rows]
