"""Write the trained detector as files that ultralytics and the streamer read."""

import copy
import shutil
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from faceanalytics.files import replacing
from streamer.detect.offline import import_ultralytics

SIDE = 640  # px, longer side of the images


def save_pose(model: Any, path: Path) -> None:
    """Write a PoseModel as an ultralytics checkpoint in fp16. Raises ConfigError."""
    plain = copy.deepcopy(model).cpu().half()
    plain.args = {"task": "pose", "imgsz": SIDE}
    content = {
        "epoch": -1,
        "model": plain,
        "ema": None,
        "optimizer": None,
        "train_args": plain.args,
        "date": datetime.now(UTC).isoformat(),
        "version": import_ultralytics().__version__,
    }
    with replacing(path) as partial:
        torch.save(content, partial)


def write_onnx(checkpoint: Path, path: Path) -> None:
    """Export an ultralytics checkpoint as ONNX for images of any size. Raises ConfigError."""
    ultralytics = import_ultralytics()
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "detector.pt"
        shutil.copyfile(checkpoint, copied)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ultralytics calls torch's older exporter
            written = ultralytics.YOLO(str(copied)).export(
                format="onnx", imgsz=SIDE, dynamic=True, simplify=False, opset=17, verbose=False
            )
        with replacing(path) as partial:
            shutil.copyfile(written, partial)
