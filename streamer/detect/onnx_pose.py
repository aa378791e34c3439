"""Ultralytics pose models exported to ONNX, run by onnxruntime alone.

Ultralytics can run them, too, but spends about as long around the network as in it. A model that takes images of any
size sees each frame with little grey around it: two thirds of the square for 16:9.
"""

from ast import literal_eval
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from streamer.config import Detect
from streamer.detect.letterbox import STRIDES, canvas, suppressed
from streamer.detect.network import Network, SessionNetwork, beside
from streamer.detect.packing import few_inputs
from streamer.values import LANDMARK_NAMES, Bytes, Detections, Floats

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

POINTS = len(LANDMARK_NAMES)


class PoseOnnxModel:
    """One class and five keypoints. Each cell has centre and size of a box, a score, and x, y (visibility) of each."""

    def __init__(self, session: "InferenceSession", config: Detect, network: Network | None = None) -> None:
        """`session` describes the model; `network` computes it. None: the session does."""
        self._config, self._network = config, network or SessionNetwork(session)
        self._square = isinstance(session.get_inputs()[0].shape[3], int)
        side = config.input_size
        self.inputs = ((side, side),) if self._square else few_inputs(side) if self._network.by_size else None
        self._pool = ThreadPoolExecutor(self._network.lanes, "detect")

    @classmethod
    def understands(cls, session: "InferenceSession") -> bool:
        """Return whether a model takes one square image, or images of any size, and gives cells before suppression."""
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
            return False
        batch, channels, height, width = inputs[0].shape
        if batch not in (1, "batch") or channels != 3:
            return False
        if not isinstance(width, int) and not isinstance(height, int):
            return gives_cells(session.get_modelmeta().custom_metadata_map)
        cells = sum((width // stride) ** 2 for stride in STRIDES) if height == width else 0
        return batch == 1 and outputs[0].shape in ([1, 5 + POINTS * 2, cells], [1, 5 + POINTS * 3, cells])

    def detect(self, frames: Sequence[Bytes], unscaled: bool = False) -> list[Detections]:
        """Find faces, in frame pixels, not yet clipped.

        Several frames are computed at the same time, each on one thread: as one input of the network they take longer.
        `unscaled` images are few and of several sizes.
        """
        count = 0 if unscaled else beside(len(frames), self._network.lanes)
        found = list(self._pool.map(partial(self._detect_one, self._network.compute_beside), frames[:count]))
        return found + [self._detect_one(self._network.compute, frame, unscaled) for frame in frames[count:]]

    def _detect_one(self, compute: Callable[[Bytes], Floats], frame: Bytes, unscaled: bool = False) -> Detections:
        image, scale, offset = canvas(frame, self._config, self._square, unscaled)
        return decode_pose(compute(image), scale, offset, self._config)


def gives_cells(metadata: Mapping[str, str]) -> bool:
    """Return whether an export for any size neither suppresses boxes itself nor has another grid than STRIDES."""
    try:
        options = literal_eval(metadata.get("args", "{}"))
        return not options.get("nms") and literal_eval(metadata.get("end2end", "False")) is False
    except (ValueError, SyntaxError, AttributeError):
        return False


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
