"""`swinface train-detector` and `swinface quantise-detector`: their options."""

import argparse
from pathlib import Path
from typing import Any

from faceanalytics.commandline import Commands, add_command

TRAIN = """Train the face detector as a YAML file says. Public detectors label the images, and a face counts if two of
them agree on it; scenes are composed from these faces, and a small ultralytics pose model learns them. Writes last.pt,
best.pt (an ultralytics checkpoint), scalars.jsonl and finally yolo-face-nano.onnx to `out`.

A signal saves and stops; --resume last continues."""
EXAMPLES = """
DATA=/folder/of/images swinface train-detector configs/train-detector.yaml
DATA=/folder/of/images swinface train-detector configs/train-detector.yaml --resume last
"""

QUANTISE = """Quantise a trained detector to int8 for `detect.precision: int8` of the streamer. The ranges of the layers
are those on images of the training that the YAML file lists; held-out images are not looked at."""
QUANTISE_EXAMPLES = """
DATA=/folder/of/images swinface quantise-detector configs/train-detector.yaml face.onnx face-int8.onnx
"""


def add_train_detector(commands: Commands) -> None:
    """Add `swinface train-detector`."""
    parser = add_command(commands, "train-detector", "train the face detector", TRAIN, EXAMPLES)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file, see configs/train-detector.yaml")
    parser.add_argument(
        "--resume", choices=["last"], help="continue from last.pt in `out` (default: start a new training)"
    )
    changes = parser.add_argument_group("changes to the configuration")
    changes.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: `out` of CONFIG)")
    changes.add_argument(
        "--images", type=int, metavar="N", help="number of images to train on (default: `images` of CONFIG)"
    )


def train_detector(arguments: argparse.Namespace) -> int:
    """Run `swinface train-detector` and return its exit code. Raises UserError."""
    given: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("out", "images") if getattr(arguments, name) is not None
    }
    from workers.research.detector.config import load_detector_config

    config = load_detector_config(arguments.config, given)
    from workers.research.detector.train import (
        train_detector as run,  # after the configuration was checked: this imports torch
    )

    return run(config, arguments.resume is not None)


def add_quantise_detector(commands: Commands) -> None:
    """Add `swinface quantise-detector`."""
    parser = add_command(
        commands, "quantise-detector", "quantise the face detector to int8", QUANTISE, QUANTISE_EXAMPLES
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file, see configs/train-detector.yaml")
    parser.add_argument("weights", type=Path, metavar="FILE.onnx", help="detector of `swinface train-detector`")
    parser.add_argument("out", type=Path, metavar="OUT.onnx", help="file for the quantised detector")


def quantise_detector(arguments: argparse.Namespace) -> int:
    """Run `swinface quantise-detector` and return its exit code. Raises UserError."""
    from workers.research.detector.config import load_detector_config

    config = load_detector_config(arguments.config, {})
    from workers.research.detector.quantise import quantise_detector as run

    return run(config, arguments.weights, arguments.out)
