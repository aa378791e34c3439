"""Run ultralytics pose models (.pt, or .onnx exported by ultralytics).

A .pt file is a pickle. It is loaded in the restricted mode of ultralytics, which builds known layers only. The
environment variable ULTRALYTICS_SAFE_LOAD=false lifts the restriction; the file can then run code of its own.
"""

import pickle
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faceanalytics.errors import ModelError
from faceanalytics.extras import require
from streamer.config import Detect
from streamer.detect.finite import refuse
from streamer.detect.letterbox import GREY
from streamer.detect.offline import import_ultralytics
from streamer.detect.session import threads
from streamer.values import LANDMARK_NAMES, Bytes, Detections

# raised by ultralytics for a file that contains something other than a model
NO_CHECKPOINT = (TypeError, ValueError, KeyError, AttributeError, RuntimeError, ImportError, pickle.UnpicklingError)


class PoseModel:
    """A pose model with one class and five keypoints. Raises ModelError if the file or the device is not usable."""

    def __init__(self, path: Path, config: Detect) -> None:
        self.inputs = ((config.input_size, config.input_size),)  # it scales smaller images to this size itself
        self._size, self._least_side = config.input_size, int(config.input_size / config.max_upscale)
        self._options = {
            "imgsz": config.input_size,
            "conf": config.min_score,
            "iou": config.max_overlap,
            "max_det": config.max_faces,
            "device": config.device,
            "verbose": False,
            "save": False,
        }
        require("ultralytics", "torch", "ultralytics", use=f"the face detector {path}")
        ultralytics = import_ultralytics()
        _check_device(config.device)
        # ultralytics interprets file names, and downloads those it knows: give it a neutral one
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / f"detector{path.suffix}"
            link.symlink_to(path)
            self._yolo = _open(ultralytics, link, path)
            self._run(
                [np.full((config.input_size, config.input_size, 3), GREY, np.uint8)]
            )  # reads the rest of the file
        _set_threads(config.device)

    def detect(self, frames: Sequence[Bytes], unscaled: bool = False) -> list[Detections]:
        """Detect faces, in frame pixels. Frames of the same size go in one call.

        Frames of several sizes in one call would be padded to squares, which changes what is found in each of them.
        """
        padded = [_pad(frame, self._size if unscaled else self._least_side) for frame in frames]
        found: dict[int, Detections] = {}
        for shape in dict.fromkeys(frame.shape for frame in padded):
            places = [place for place, frame in enumerate(padded) if frame.shape == shape]
            found.update(zip(places, self._run([padded[place] for place in places]), strict=True))
        return [found[place] for place in range(len(frames))]

    def _run(self, frames: list[Bytes]) -> list[Detections]:
        results = self._yolo.predict(frames, **self._options)
        return [
            Detections(
                result.boxes.xyxy.float().cpu().numpy(),
                result.boxes.conf.float().cpu().numpy(),
                result.keypoints.xy.float().cpu().numpy().reshape(-1, len(LANDMARK_NAMES), 2),
            )
            for result in results
        ]


def check_pose(path: Path, names: Any, keypoint_shape: Any) -> None:
    """Raise ModelError unless a model has one class (`names`) and five keypoints (`keypoint_shape`)."""
    needed = "A face detector needs one class and five keypoints: an ultralytics pose model with kpt_shape [5, 3]."
    if not keypoint_shape:
        raise ModelError(f"{path} detects boxes without keypoints, so faces cannot be aligned.\n{needed}")
    if tuple(keypoint_shape) not in ((5, 2), (5, 3)):
        raise ModelError(f"{path} detects {keypoint_shape[0]} keypoints.\n{needed}")
    if not names or len(names) != 1:
        raise ModelError(f"{path} has {len(names or ())} classes.\n{needed}")


def _check_device(device: str) -> None:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device != "cpu" and int(device.removeprefix("cuda:")) >= count:
        available = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise ModelError(f"detect.device {device} is not usable: PyTorch {torch.__version__} has {available} here")


def _open(ultralytics: Any, link: Path, path: Path) -> Any:
    """Load the ultralytics model in the file `path`, to which `link` points. Raises ModelError."""
    if path.suffix == ".onnx":
        return ultralytics.YOLO(str(link), task="pose")
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is not a PyTorch checkpoint, or it is cut off")
    try:
        yolo = ultralytics.YOLO(str(link))
        names, head = yolo.model.names, yolo.model.model[-1]
    except NO_CHECKPOINT as error:
        raise ModelError(
            f"{path} is not an ultralytics checkpoint, or has parts that ultralytics does not know.\n"
            f"If you trust its origin, set ULTRALYTICS_SAFE_LOAD=false to let it run code of its own."
        ) from error
    check_pose(path, names, getattr(head, "kpt_shape", None))
    state = yolo.model.state_dict().items()
    refuse(path, ((name, tensor.float().numpy()) for name, tensor in state if tensor.is_floating_point()))
    return yolo


def _set_threads(device: str) -> None:
    import torch

    if device == "cpu":
        torch.set_num_threads(threads())  # ultralytics leaves one CPU unused, even of two


def _pad(frame: Bytes, min_side: int) -> Bytes:
    """Pad a small frame (h, w, 3) with grey on its right or below it, so that it is not enlarged beyond the limit."""
    height, width = frame.shape[:2]
    if max(height, width) >= min_side:
        return frame
    below, beside = (min_side - height, 0) if height > width else (0, min_side - width)
    padded = cv2.copyMakeBorder(frame, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY))
    return np.asarray(padded, np.uint8)
