"""`swinface train-detector`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

TRAIN = """Train the face detector as a YAML file says: public detectors label the images, two of them must agree on a
face; scenes are composed from those faces, and a small ultralytics pose model learns them. Writes last.pt, best.pt (an
ultralytics checkpoint), scalars.jsonl and in the end yolo-face-nano.onnx into `out`. A signal saves and stops;
--resume last goes on."""
EXAMPLES = """examples:
  DATA=/folder/of/images swinface train-detector configs/train-detector.yaml
  DATA=/folder/of/images swinface train-detector configs/train-detector.yaml --resume last"""


def add_train_detector(commands: "Commands") -> None:
    """`swinface train-detector` among the commands."""
    parser = commands.add_parser(
        "train-detector",
        help="train the face detector",
        description=TRAIN,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML, see configs/train-detector.yaml")
    parser.add_argument("--resume", choices=["last"], help="go on from last.pt of `out`")
    parser.add_argument("--out", type=Path, metavar="DIR", help="in place of `out` of the file")
    parser.add_argument("--images", type=int, metavar="N", help="in place of `images` of the file")


def train_detector(arguments: argparse.Namespace) -> int:
    """Run `swinface train-detector`; the exit code."""
    given: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("out", "images") if getattr(arguments, name) is not None
    }
    from workers.research.detector.config import load_detector_config

    config = load_detector_config(arguments.config, given)
    from workers.research.detector.train import (
        train_detector as run,  # after the configuration was checked: this imports torch
    )

    return run(config, arguments.resume is not None)
