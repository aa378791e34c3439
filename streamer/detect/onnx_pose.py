"""Ultralytics pose models exported to ONNX for one image of a fixed size, run by onnxruntime alone.

Ultralytics can run them, too, but spends about as long around the network as in it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamer.config import Detect
from streamer.detect.letterbox import letterboxed, suppressed
from streamer.values import LANDMARK_NAMES, Bytes, Detections, Floats

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

STRIDES = (8, 16, 32)
POINTS = len(LANDMARK_NAMES)


class PoseOnnxModel:
    """One class and five keypoints. Each cell has centre and size of a box, a score, and x, y (visibility) of each."""

    def __init__(self, session: "InferenceSession", config: Detect) -> None:
        self._session, self._config = session, config
        self._input = session.get_inputs()[0].name

    @classmethod
    def understands(cls, session: "InferenceSession") -> bool:
        """Return whether a model takes one square image and gives raw cells, before suppression."""
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
            return False
        batch, channels, height, width = inputs[0].shape
        if batch != 1 or channels != 3 or not isinstance(width, int) or height != width:
            return False
        cells = sum((width // stride) ** 2 for stride in STRIDES)
        return outputs[0].shape in ([1, 5 + POINTS * 2, cells], [1, 5 + POINTS * 3, cells])

    def detect(self, frames: Sequence[Bytes]) -> list[Detections]:
        """Find faces, in frame pixels, not yet clipped. Frame by frame, because the file takes one at a time."""
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: Bytes) -> Detections:
        image, scale, offset = letterboxed(frame, self._config)
        blob = cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True)
        return decode_pose(self._session.run(None, {self._input: blob})[0][0], scale, offset, self._config)


def decode_pose(values: Floats, scale: Floats, offset: Floats, config: Detect) -> Detections:
    """Decode raw outputs (5 + 10 or 15, cells) of a pose model to faces in frame pixels, not yet clipped.

    `scale` and `offset` (2,) are those of the frame in the image that the model saw.
    """
    values = values[:, values[4] >= config.min_score].T
    values = values[np.isfinite(values).all(axis=1)]  # a box of NaN would suppress all others
    boxes = np.concatenate([values[:, :2] - values[:, 2:4] / 2, values[:, :2] + values[:, 2:4] / 2], axis=1)
    rows = suppressed(boxes, values[:, 4], config.min_score, config.max_overlap)
    landmarks = values[rows, 5:].reshape(len(rows), POINTS, (values.shape[1] - 5) // POINTS)[:, :, :2]
    boxes = np.asarray((boxes[rows] - np.tile(offset, 2)) / np.tile(scale, 2), np.float32)
    return Detections(boxes, values[rows, 4], (landmarks - offset) / scale)
