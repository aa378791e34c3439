"""The bundled detector on this device: the faces of the CPU within a pixel of its input, and frames per second."""

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from streamer.boxes import iou
from streamer.config import Detect
from streamer.detect.bundled import bundled_detector
from streamer.detect.detector import Detector
from streamer.detect.offline import import_onnxruntime
from streamer.detect.onnx_file import read_graph
from streamer.detect.onnx_pose import PoseOnnxModel
from streamer.detect.session import open_session
from streamer.detect.torch_pose import TorchPoseModel
from streamer.values import Bytes, Detections
from tests.gpu.run import Run
from tests.gpu.timing import Call, medians
from tests.support.photographs import photographs

BATCHES = (1, 8, 32)
QUICK = (1,)
SIZE = (1920, 1080)
GOAL = 2_000  # frames/s
STRONG = 0.3  # score of the faces that are compared
LIMIT_PX = 1.0  # of the input


class Finds(Protocol):
    """A detector, or the model in one."""

    def detect(self, frames: Sequence[Bytes]) -> list[Detections]: ...


def measure(run: Run) -> None:
    frames = photographs()[:2] if run.quick else photographs()
    expected = Detector(Detect()).detect(frames)
    graph, config = read_graph(bundled_detector()), Detect(device=run.device)
    run.add("default", type(Detector(config)._model).__name__)
    by_torch = {"torch fp32": TorchPoseModel(graph, config), "torch fp16": TorchPoseModel(graph, config, half=True)}
    engines: dict[str, Finds] = {**by_torch, **_onnxruntime(run)}
    for name, engine in engines.items():
        run.check(f"{name}: faces against the CPU's, px of the input", _farthest(expected, engine, frames), LIMIT_PX)
    frame = np.asarray(cv2.resize(frames[-1], SIZE, interpolation=cv2.INTER_AREA), np.uint8)
    if run.quick:
        del by_torch["torch fp16"], engines["torch fp16"]  # seconds per frame on a CPU
    for batch in QUICK if run.quick else BATCHES:
        some = [frame.copy() for _ in range(batch)]
        calls: dict[str, Call] = {
            name: lambda engine=engine, some=some: engine.detect(some)  # type: ignore[misc]
            for name, engine in engines.items()
        }
        for name, engine in by_torch.items():
            width, height = engine.place(SIZE).inner
            images = torch.rand((batch, 3, height, width), device=run.device)
            calls[f"{name}, frames on the device"] = lambda engine=engine, images=images: engine.look(images, SIZE)  # type: ignore[misc]
        seconds = medians(calls, run.device, 0.3 if run.quick else 5, least=1 if run.quick else 3)
        run.add(f"batch_{batch}", {name: batch / value for name, value in seconds.items()})
    if run.on_gpu:
        run.goal("detector, frames/s from the host", max(run.figures[f"batch_{BATCHES[-1]}"].values()), GOAL)
        _tensorrt(run, expected, frames, frame)
    else:
        run.note("CUDA graphs, ONNX Runtime's CUDA and TensorRT need a GPU")


def _onnxruntime(run: Run) -> dict[str, Finds]:
    """Return ONNX Runtime on this device, if it can."""
    if run.on_gpu and "CUDAExecutionProvider" not in import_onnxruntime().get_available_providers():
        run.note("ONNX Runtime's CUDA: onnxruntime-gpu is not installed")
        return {}
    return {"onnxruntime": PoseOnnxModel(open_session(bundled_detector(), run.device), Detect(device=run.device))}


def _tensorrt(run: Run, expected: list[Detections], frames: list[Bytes], frame: Bytes) -> None:
    """Measure TensorRT in fp16, if ONNX Runtime has it: last, because building it can take long."""
    onnxruntime = import_onnxruntime()
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        run.note("TensorRT: not installed")
        return
    options = {"device_id": int(run.device.removeprefix("cuda:")), "trt_fp16_enable": True}
    providers = [("TensorrtExecutionProvider", options), "CUDAExecutionProvider"]
    session = onnxruntime.InferenceSession(str(bundled_detector()), providers=providers)
    model = PoseOnnxModel(session, Detect(device=run.device))
    run.check("TensorRT fp16: faces against the CPU's, px of the input", _farthest(expected, model, frames), LIMIT_PX)
    run.add("tensorrt_fp16_batch_1", 1 / medians({"one": lambda: model.detect([frame])}, run.device, 2)["one"])


def _farthest(expected: list[Detections], engine: Finds, frames: list[Bytes]) -> float:
    """Return how far boxes and landmarks are from those expected, in pixels of the input; infinite without faces."""
    far = 0.0
    for one, other, frame in zip(expected, engine.detect(frames), frames, strict=True):
        scale = min(Detect().input_size / max(frame.shape[:2]), 1)
        rows = np.flatnonzero(one.scores > STRONG)
        if len(rows) and not len(other):
            return float("inf")
        match = iou(one.boxes[rows], other.boxes).argmax(axis=1)
        boxes = np.abs(one.boxes[rows] - other.boxes[match].clip(0)).max(initial=0)
        points = np.abs(one.landmarks[rows] - other.landmarks[match]).max(initial=0)
        far = max(far, scale * float(points), scale * float(boxes))
    return far


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as text."""
    found = [f"frames of {SIZE[0]}x{SIZE[1]} on the host, unless stated otherwise; default: {figures.get('default')}"]
    for name, row in figures.items():
        if name.startswith("batch_"):
            rates = "; ".join(f"{engine} {rate:,.0f}" for engine, rate in row.items())
            found.append(f"{name.replace('_', ' ')}, frames/s: {rates}")
    if "tensorrt_fp16_batch_1" in figures:
        found.append(f"TensorRT fp16, batch 1: {figures['tensorrt_fp16_batch_1']:,.0f} frames/s")
    return found
