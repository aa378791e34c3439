"""Detectors for tests that are real model files: networks, set by hand, that find magenta squares of 64 pixels.

They go through the same loading, inference and post-processing as trained ones, so that all stages can be tested on
machines that have no face detector. One is a pose model of ultralytics, one a YOLOv8-lite, which is loaded in a tenth
of the time. `paint` draws what they find.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 640  # px, input
FACE = 64  # px, size of what it finds
STRIDE = 4  # px between two places it looks at
# left eye, right eye, nose, mouth left, mouth right: the ArcFace template scaled to the square
POINTS = np.array([(0.34, 0.46), (0.66, 0.46), (0.50, 0.64), (0.37, 0.82), (0.63, 0.82)]) * FACE


def paint(frame: NDArray[np.uint8], left: int, top: int) -> None:
    """Draw a `face` with sharp features into a BGR frame."""
    square = frame[top : top + FACE, left : left + FACE]
    square[:] = (255, 0, 255)
    for x, y in POINTS.astype(int):
        square[y - 3 : y + 3, x - 3 : x + 3] = (200, 60, 200)


def write_patch_detector(path: Path) -> Path:
    """Write the model as ultralytics exports one: (1, 3, 640, 640) RGB 0..1 -> (1, 4 + 1 + 15, places)."""
    steps = SIDE // STRIDE
    centres = np.arange(steps) * STRIDE + STRIDE / 2
    x, y = (grid.ravel() for grid in np.meshgrid(centres, centres))
    boxes = np.stack([x, y, np.full_like(x, FACE), np.full_like(x, FACE)])
    points = [row for dx, dy in POINTS - FACE / 2 for row in (x + dx, y + dy, np.ones_like(x))]
    constants: dict[str, NDArray[Any]] = {
        "boxes": boxes[None].astype(np.float32),
        "points": np.stack(points)[None].astype(np.float32),
        "floor": np.array(0.7, np.float32),
        "slope": np.array(3.3, np.float32),
        "score_shape": np.array([1, 1, steps * steps], np.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["steep", "score_shape"], ["scores"]),
        helper.make_node("Relu", ["scores"], ["score"]),
        helper.make_node("Concat", ["boxes", "score", "points"], ["output0"], axis=1),
    ]
    model = _model(STRIDE, nodes, constants, {"output0": [1, 20, steps * steps]})
    metadata = {
        "task": "pose", "names": "{0: 'face'}", "stride": "32", "imgsz": f"[{SIDE}, {SIDE}]", "batch": "1",
        "kpt_shape": "[5, 3]", "channels": "3", "args": "{'dynamic': False, 'nms': False}", "end2end": "False",
    }  # fmt: skip
    for name, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, value
    return _save(model, path)


def write_lite_patch_detector(path: Path) -> Path:
    """Write the model as YOLOv8-lite is published: (1, 3, 640, 640) RGB 0..1 -> three grids (1, 80, rows, columns).

    Only the finest grid, of 8 pixels, ever finds something, so that places are exact to 4 pixels.
    """
    stride, steps, bins = 8, SIDE // 8, 16
    reach = np.full((4, bins), -30)
    reach[:, FACE // 2 // stride] = 30
    points = np.column_stack([((POINTS - FACE / 2) / stride + 0.5) / 2, np.ones(5)])
    constants: dict[str, NDArray[Any]] = {
        "reach": np.broadcast_to(reach.reshape(1, -1, 1, 1), (1, 4 * bins, steps, steps)).astype(np.float32),
        "points": np.broadcast_to(points.reshape(1, -1, 1, 1), (1, 15, steps, steps)).astype(np.float32),
        "floor": np.array(0.8, np.float32),
        "slope": np.array(60, np.float32),
    }
    for coarse in (16, 32):
        constants[f"grid{coarse}"] = np.full((1, 4 * bins + 16, SIDE // coarse, SIDE // coarse), -20, np.float32)
    nodes = [
        helper.make_node("Concat", ["reach", "steep", "points"], ["output8"], axis=1),
        helper.make_node("Identity", ["grid16"], ["output16"]),
        helper.make_node("Identity", ["grid32"], ["output32"]),
    ]
    shapes = {f"output{size}": [1, 80, SIDE // size, SIDE // size] for size in (8, 16, 32)}
    return _save(_model(stride, nodes, constants, shapes), path)


def _model(
    stride: int, nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]], shapes: dict[str, list[int]]
) -> onnx.ModelProto:
    """`nodes` after those that compute `steep` (1, 1, rows, columns): the share of magenta in the square around each
    place, `stride` pixels from the next, less `floor`, times `slope`; so only places close to a square's centre count.
    """
    block = stride // 2
    looks = [
        helper.make_node("Conv", ["images", "magenta"], ["colour"]),
        helper.make_node("Relu", ["colour"], ["positive"]),
        _mean("positive", "blocks", block, block, 0),  # the mean of means takes a tenth of the time
        _mean("blocks", "share", FACE // block, stride // block, (FACE - stride) // 2 // block),
        helper.make_node("Sub", ["share", "floor"], ["above"]),
        helper.make_node("Mul", ["above", "slope"], ["steep"]),
    ]
    constants = {"magenta": np.array([0.5, -1.0, 0.5], np.float32).reshape(1, 3, 1, 1), **constants}
    graph = helper.make_graph(
        looks + nodes,
        "patches",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _mean(given: str, made: str, side: int, stride: int, pad: int) -> onnx.NodeProto:
    return helper.make_node(
        "AveragePool", [given], [made], kernel_shape=[side] * 2, strides=[stride] * 2, pads=[pad] * 4
    )


def _save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def make_patch_video(path: Path, seconds: float = 4.0, fps: int = 25, faces: int = 2, speed: float = 60.0) -> Path:
    """640x480 H.264: each face moves to and fro at `speed` px/s in a row of its own, and is there all the time."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "g": "25", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for index in range(round(seconds * fps)):
            pixels = np.full((480, 640, 3), 90, np.uint8)
            shift = abs((speed * index / fps + 300) % 600 - 300)  # px, there and back
            for row in range(faces):
                paint(pixels, 40 + row * 100 + round(shift), 30 + row * 140)
            image = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            image.pts, image.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return path
