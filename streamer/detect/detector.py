"""Detect faces in frames: boxes, scores and five landmarks.

The content of the weights file decides which model runs: an ultralytics pose model (ultralytics_pose.py, or, exported
to ONNX, onnx_pose.py and on a GPU torch_pose.py) or the published YOLOv8-lite face model (onnx_lite.py). Nothing is
downloaded.
"""

import hashlib
import logging
import os
import re
from ast import literal_eval
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from faceanalytics.errors import ModelError
from streamer.config import Detect
from streamer.detect.bundled import DEFAULT, bundled_detector
from streamer.detect.finite import check_onnx
from streamer.detect.letterbox import GREY
from streamer.detect.network import Network, SessionNetwork
from streamer.detect.onnx_file import read_graph
from streamer.detect.onnx_lite import LiteModel
from streamer.detect.onnx_pose import PoseOnnxModel
from streamer.detect.openvino_network import OpenVinoNetwork
from streamer.detect.packing import few_inputs
from streamer.detect.session import open_session
from streamer.detect.torch_pose import TorchPoseModel
from streamer.detect.ultralytics_pose import PoseModel, check_pose
from streamer.values import LANDMARK_NAMES, Bytes, Detections

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

WEIGHTS_VARIABLE = "FACEANALYTICS_DETECTOR"
WHAT_WEIGHTS = f"""\
A YOLO face model with five keypoints ({", ".join(LANDMARK_NAMES)}) is needed: an ultralytics
pose model with one class and kpt_shape [5, 3], trained on images of faces, or a published YOLOv8-lite face model
(.onnx). Name the file in detect.weights or in the environment variable {WEIGHTS_VARIABLE}; without either, or
with {DEFAULT!r}, the bundled model is used. Nothing is downloaded."""

log = logging.getLogger(__name__)


class FindsFaces(Protocol):
    """A detector, or what answers in its place."""

    config: Detect
    model_id: str
    inputs: tuple[tuple[int, int], ...] | None

    def detect(self, frames: Sequence[Bytes], unscaled: bool = False) -> list[Detections]:
        """Detect faces as `Detector.detect` does."""


class Detector:
    """A loaded detector, for use by one thread. Raises ModelError if its weights or the device cannot be used."""

    def __init__(self, config: Detect) -> None:
        path = find_weights(config.weights, config.precision)
        if not re.fullmatch(r"cpu|cuda:\d+", config.device):
            raise ModelError(f"detect.device {config.device!r} is neither cpu nor cuda:N, such as cuda:0")
        self.config = config
        _check_precision(path, config)
        self._model = PoseModel(path, config) if path.suffix == ".pt" else _load_onnx(path, config)
        # width and height of the prepared images to choose from; None: all multiples of 32
        self.inputs: tuple[tuple[int, int], ...] | None = self._model.inputs
        if self.inputs is None and config.precision != "fp32":  # OpenVINO compiles a network for each size
            self.inputs = few_inputs(config.input_size)
        self.model_id = f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        if config.precision != "fp32":
            self.model_id += f"-{config.precision}"
            log.info("face detector %s: computed in %s by OpenVINO", path.stem, config.precision)

    @classmethod
    def ready(cls, config: Detect) -> "Detector":
        """Load a detector for live cameras: what it compiles for prepared images is compiled now."""
        detector = cls(config)
        if config.attention.enabled:
            for width, height in detector.inputs or ():
                detector.detect([np.full((height, width, 3), GREY, np.uint8)], unscaled=True)
        return detector

    def detect(self, frames: Sequence[Bytes], unscaled: bool = False) -> list[Detections]:
        """Detect the faces of each BGR frame (h, w, 3), highest score first, boxes clipped to it. Sizes may differ.

        The result for a frame does not depend on the frames beside it. `unscaled`: they are prepared images, of one of
        the sizes in `inputs`, or with sides that are multiples of 32 up to `input_size`.
        """
        found = self._model.detect(frames, unscaled)
        return [_tidy(faces, frame, self.config) for faces, frame in zip(found, frames, strict=True)]


def find_weights(weights: str, precision: str = "fp32") -> Path:
    """Return the file to load: `weights`, or for "default" $FACEANALYTICS_DETECTOR, else the bundled detector.

    Raises ModelError if the file cannot be loaded.
    """
    if weights == DEFAULT and (named := os.environ.get(WEIGHTS_VARIABLE)):
        log.info("face detector %s, from $%s", named, WEIGHTS_VARIABLE)
        weights = named
    if weights == DEFAULT:
        return bundled_detector(precision)
    try:
        path = Path(weights).expanduser()
        exists = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~ of an unknown user
        raise ModelError(f"the face detector {weights!r} cannot be opened: {error}.\n{WHAT_WEIGHTS}") from error
    if not exists:
        raise ModelError(f"the face detector {path} does not exist.\n{WHAT_WEIGHTS}")
    if not os.access(path, os.R_OK):
        raise ModelError(f"no permission to read the face detector {path}")
    if path.suffix not in (".pt", ".onnx"):
        raise ModelError(f"the face detector {path} is neither a .pt nor an .onnx file.\n{WHAT_WEIGHTS}")
    return path.resolve()


def _check_precision(path: Path, config: Detect) -> None:
    """Raise ModelError if this kind of file or device is not computed in `detect.precision`."""
    if config.precision == "fp32":
        return
    if path.suffix == ".pt":
        raise ModelError(f"{path} is computed in fp32 only: export it as .onnx for detect.precision {config.precision}")
    if config.device != "cpu":
        raise ModelError(f"detect.precision {config.precision} is for the CPU: on {config.device}, set fp32")


def _network(path: Path, session: "InferenceSession", config: Detect) -> Network:
    """Return what computes a pose model. Raises ModelError."""
    if config.precision != "fp32":
        network = OpenVinoNetwork(path, config.precision)
        network.compute(np.zeros((config.input_size, config.input_size, 3), np.uint8))  # errors at the start
        return network
    return SessionNetwork(session, partial(open_session, path, "cpu", 1) if config.device == "cpu" else None)


def _load_onnx(path: Path, config: Detect) -> PoseModel | PoseOnnxModel | LiteModel | TorchPoseModel:
    """Load the model in an ONNX file; its outputs and metadata decide the kind. Raises ModelError."""
    if config.device != "cpu" and (on_gpu := _with_torch(path, config)) is not None:
        return on_gpu
    session = open_session(path, config.device)
    outputs = [entry.shape for entry in session.get_outputs()]
    if LiteModel.understands(session):
        _check_size(path, session.get_inputs()[0].shape, config)
        if config.precision != "fp32":
            raise ModelError(f"{path} is computed in fp32 only; detect.precision is {config.precision}")
        return LiteModel(session, config)
    metadata = session.get_modelmeta().custom_metadata_map
    if len(outputs) == 1 and len(outputs[0]) == 3 and "task" in metadata:
        check_pose(path, _read(metadata, "names"), _read(metadata, "kpt_shape"))
        _check_size(path, session.get_inputs()[0].shape, config)
        if PoseOnnxModel.understands(session):
            return PoseOnnxModel(session, config, _network(path, session, config))
        if config.precision != "fp32":
            raise ModelError(f"{path} is run by ultralytics, in fp32 only; detect.precision is {config.precision}")
        return PoseModel(path, config)
    raise ModelError(
        f"{path} is not a face detector of a known layout: {len(outputs)} output(s), the first of shape {outputs[0]}.\n"
        f"Supported are pose models exported by ultralytics (one output, with metadata) and YOLOv8-lite face (three\n"
        f"outputs of 80 channels). YuNet, SCRFD and others are not supported."
    )


def _with_torch(path: Path, config: Detect) -> TorchPoseModel | None:
    """Load a pose model for a GPU; None if torch is not installed or it is another model. Raises ModelError."""
    if find_spec("torch") is None:
        return None
    graph = read_graph(path)
    if not TorchPoseModel.understands(graph):
        return None
    check_onnx(path)
    check_pose(path, _read(graph.metadata, "names"), _read(graph.metadata, "kpt_shape"))
    _check_size(path, next(iter(graph.inputs.values())), config)
    return TorchPoseModel(graph, config)


def _check_size(path: Path, shape: Sequence[int | str | None], config: Detect) -> None:
    height, width = shape[2:]
    if isinstance(height, int) and (height, width) != (config.input_size, config.input_size):
        advice = f"set detect.input_size to {width}" if height == width else "export it for a square"
        raise ModelError(
            f"{path} takes images of {width}x{height} only, but detect.input_size is {config.input_size}: {advice}"
        )


def _read(metadata: Mapping[str, str], key: str) -> Any:
    """Parse a Python literal in the metadata; None without one."""
    try:
        return literal_eval(metadata[key])
    except (KeyError, ValueError, SyntaxError):
        return None


def _tidy(faces: Detections, frame: Bytes, config: Detect) -> Detections:
    """Select the usable faces (finite, inside the frame, above the minimum score), highest score first."""
    height, width = frame.shape[:2]
    finite = np.isfinite(faces.boxes).all(axis=1) & np.isfinite(faces.landmarks).all(axis=(1, 2))
    boxes = faces.boxes.clip(0, np.array([width, height, width, height], np.float32))
    with np.errstate(invalid="ignore"):
        sound = finite & (faces.scores >= config.min_score) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    rows = np.flatnonzero(sound)
    rows = rows[np.argsort(-faces.scores[rows], kind="stable")][: config.max_faces]
    return Detections(boxes[rows], faces.scores[rows], faces.landmarks[rows])
