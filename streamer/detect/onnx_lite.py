"""The published YOLOv8-lite face model (.onnx with three raw outputs), run by onnxruntime."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from streamer.config import Detect
from streamer.detect.letterbox import STRIDES, letterboxed, suppressed
from streamer.values import Bytes, Detections, Floats

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class LiteModel:
    """YOLOv8-lite face. Each cell has 16 bins of distance for each side, a score, and 5 x (x, y, visibility)."""

    BINS = 16
    CHANNELS = 4 * BINS + 1 + 5 * 3

    def __init__(self, session: "InferenceSession", config: Detect) -> None:
        self._session, self._config = session, config
        self.inputs = ((config.input_size, config.input_size),)
        self._input = session.get_inputs()[0].name

    @classmethod
    def understands(cls, session: "InferenceSession") -> bool:
        """Return whether a model takes one square image and gives three raw grids of 80 channels."""
        inputs = [entry.shape for entry in session.get_inputs()]
        outputs = [entry.shape[1:] for entry in session.get_outputs()]
        if len(inputs) != 1 or len(inputs[0]) != 4 or not isinstance(inputs[0][3], int):
            return False
        return outputs == [[cls.CHANNELS, inputs[0][3] // stride, inputs[0][3] // stride] for stride in STRIDES]

    def detect(self, frames: Sequence[Bytes], unscaled: bool = False) -> list[Detections]:
        """Find faces, in frame pixels, not yet clipped. Frame by frame: the published file takes one at a time."""
        return [self._detect_one(frame, unscaled) for frame in frames]

    def _detect_one(self, frame: Bytes, unscaled: bool) -> Detections:
        blob, scale, offset = letterboxed(frame, self._config, unscaled=unscaled)
        outputs = self._session.run(None, {self._input: blob})
        levels = [self._decode(output[0], stride) for output, stride in zip(outputs, STRIDES, strict=True)]
        boxes, scores, landmarks = (np.concatenate(parts) for parts in zip(*levels, strict=True))
        finite = np.isfinite(boxes).all(axis=1)  # a box of NaN would suppress all others
        boxes, scores, landmarks = boxes[finite], scores[finite], landmarks[finite]
        rows = suppressed(boxes, scores, self._config.min_score, self._config.max_overlap)
        boxes = (boxes[rows] - np.tile(offset, 2)) / np.tile(scale, 2)
        return Detections(boxes, scores[rows], (landmarks[rows] - offset) / scale)

    def _decode(self, output: Floats, stride: int) -> tuple[Floats, Floats, Floats]:
        """Return boxes (n, 4), scores (n,), landmarks (n, 5, 2) in image pixels of the strong cells of (80, h, w)."""
        columns = output.shape[2]
        output = output.reshape(self.CHANNELS, -1)
        scores = np.exp(-np.logaddexp(0, -output[4 * self.BINS]))  # the sigmoid, without overflow at any logit
        cells = np.flatnonzero(scores >= self._config.min_score)
        values = output[:, cells].T
        corner = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
        bins = values[:, : 4 * self.BINS].reshape(-1, 4, self.BINS)
        bins = np.exp(bins - bins.max(axis=2, keepdims=True))
        reach = bins @ np.arange(self.BINS, dtype=np.float32) / bins.sum(axis=2)  # (n, 4) cells, the mean
        centre = corner + np.float32(0.5)
        boxes = np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], axis=1)
        # unlike boxes, landmarks count from the corner of the cell
        points = values[:, 4 * self.BINS + 1 :].reshape(-1, 5, 3)[:, :, :2] * 2 + corner[:, None]
        return boxes * stride, scores[cells], points * stride
