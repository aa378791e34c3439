"""Ultralytics pose models exported to ONNX for one image of a fixed size, run by onnxruntime alone.

Ultralytics would run them too, but takes about as long around the network as the network itself does.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamer.config import Detect
from streamer.detect.letterbox import letterboxed, suppressed
from streamer.values import LANDMARK_NAMES, Bytes, Detections

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

STRIDES = (8, 16, 32)
POINTS = len(LANDMARK_NAMES)


class PoseOnnxModel:
    """One class, five keypoints; each cell has centre and size of a box, a score, and x, y (and visibility) of each."""

    def __init__(self, session: "InferenceSession", config: Detect) -> None:
        self._session, self._config = session, config
        self._input = session.get_inputs()[0].name

    @classmethod
    def understands(cls, session: "InferenceSession") -> bool:
        """Whether a model takes one square image and has one raw row for each cell: not yet suppressed."""
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
            return False
        batch, channels, height, width = inputs[0].shape
        if batch != 1 or channels != 3 or not isinstance(width, int) or height != width:
            return False
        cells = sum((width // stride) ** 2 for stride in STRIDES)
        return outputs[0].shape in ([1, 5 + POINTS * 2, cells], [1, 5 + POINTS * 3, cells])

    def detect(self, frames: Sequence[Bytes]) -> list[Detections]:
        """Faces in frame pixels, not yet clipped. One call per frame: the file takes one at a time."""
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: Bytes) -> Detections:
        image, scale, offset = letterboxed(frame, self._config)
        blob = cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True)
        values = self._session.run(None, {self._input: blob})[0][0]
        values = values[:, values[4] >= self._config.min_score].T
        values = values[np.isfinite(values).all(axis=1)]  # a box that is none would suppress all others
        boxes = np.concatenate([values[:, :2] - values[:, 2:4] / 2, values[:, :2] + values[:, 2:4] / 2], axis=1)
        rows = suppressed(boxes, values[:, 4], self._config)
        landmarks = values[rows, 5:].reshape(len(rows), POINTS, (values.shape[1] - 5) // POINTS)[:, :, :2]
        boxes = np.asarray((boxes[rows] - np.tile(offset, 2)) / np.tile(scale, 2), np.float32)
        return Detections(boxes, values[rows, 4], (landmarks - offset) / scale)
