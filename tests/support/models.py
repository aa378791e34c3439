"""Small detector files for tests: ultralytics models with random weights, and a YOLOv8-lite with chosen answers."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from streamer.detect.offline import import_ultralytics

SIDE = 64  # px, input of the lite model
BINS = 16


def write_yolo(path: Path, keypoints: tuple[int, int] | None = (5, 3), classes: int = 1) -> Path:
    """An ultralytics checkpoint with random weights; without keypoints it is a plain detector."""
    import_ultralytics()
    import torch
    from ultralytics.nn.tasks import DetectionModel, PoseModel

    head = ["Detect", ["nc"]] if keypoints is None else ["Pose", ["nc", "kpt_shape"]]
    description = {
        "nc": classes,
        "kpt_shape": keypoints and list(keypoints),
        "scales": {"n": [1, 0.25, 1024]},
        "backbone": [[-1, 1, "Conv", [width, 3, 2]] for width in (16, 16, 32, 32, 32)],
        "head": [[[2, 3, 4], 1, *head]],
    }
    torch.manual_seed(0)
    model = (DetectionModel if keypoints is None else PoseModel)(description, ch=3, verbose=False)
    model.names = {number: f"class {number}" for number in range(classes)}
    torch.save({"model": model.half(), "train_args": {"task": "detect" if keypoints is None else "pose"}}, path)
    return path


def export_yolo(checkpoint: Path, size: int, dynamic: bool) -> Path:
    """The ONNX file that ultralytics makes of a checkpoint, beside it."""
    yolo = import_ultralytics().YOLO(str(checkpoint))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's
        return Path(yolo.export(format="onnx", imgsz=size, dynamic=dynamic, simplify=False))


Cell = tuple[int, int, int]  # stride, column, row


def write_lite(path: Path, answers: Mapping[Cell, tuple[float, Sequence[float], Sequence[float]]]) -> Path:
    """A YOLOv8-lite face model for images of 64 px that answers the same to each.

    Per cell: score as a logit; distances to left, top, right, bottom in cells (0..15); ten raw landmark numbers.
    """
    nodes, outputs = [], []
    for stride in (8, 16, 32):
        count = SIDE // stride
        raw = np.zeros((1, 80, count, count), np.float32)
        raw[:, 4 * BINS] = -20
        for (where, column, row), (score, distances, points) in answers.items():
            if where == stride:
                raw[0, :, row, column] = _cell(score, distances, points)
        name = f"grid{stride}"
        nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(raw, name)))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, raw.shape))
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "lite", [image], outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _cell(score: float, distances: Sequence[float], points: Sequence[float]) -> NDArray[np.float32]:
    values = np.full((4, BINS), -30, np.float32)
    for side, distance in enumerate(distances):  # the mean of two neighbouring bins
        if np.isnan(distance):
            values[side] = distance
            continue
        low = int(distance)
        values[side, low] = np.log(1 - (distance - low))
        if distance > low:
            values[side, low + 1] = np.log(distance - low)
    visible = np.concatenate([np.reshape(points, (5, 2)), np.ones((5, 1))], axis=1)
    return np.concatenate([values.ravel(), [score], visible.ravel()]).astype(np.float32)
