"""Options that several commands of `swinface` share, so that each has one wording."""

import argparse
from pathlib import Path

from faceanalytics.commandline import Options, detector_option, device_option, positive
from workers.swinface.precisions import PRECISIONS

PRECISION = "arithmetic of the network; bf16 and fp16, on devices that support them, are faster and less exact"
THREADS = "CPU threads (default: one per core)"
SETS = "YAML file that names sets under `sets`, see docs/training.md"
DETECTOR_NAMES = ("detector", "detector_device", "detector_size", "min_score")  # what `detector_group` stores


def precision_option(parser: Options, default: str | None = "fp32") -> None:
    """Add --precision. `default` None: what a configuration says, or fp32."""
    text = PRECISION if default else f"{PRECISION} (default: fp32)"
    parser.add_argument("--precision", choices=PRECISIONS, default=default, help=text)


def threads_option(parser: Options) -> None:
    """Add --threads."""
    parser.add_argument("--threads", type=positive, metavar="N", help=THREADS)


def set_options(parser: Options, required: bool = True) -> None:
    """Add --config and --set, which choose one set of faces."""
    without = "" if required else " (default: the images of SOURCE)"
    parser.add_argument("--config", type=Path, required=required, metavar="CONFIG", help=SETS + without)
    parser.add_argument("--set", required=required, metavar="NAME", help=f"name of the set in CONFIG{without}")


def detector_group(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    """Add the options for face detection. If it is `optional`, --align turns it on."""
    group = parser.add_argument_group("face detection")
    if optional:
        group.add_argument(
            "--align",
            action="store_true",
            help="detect the faces of each image and align them; the options below need it",
        )
    detector_option(group)
    device_option(group, default=None, flag="--detector-device", user="the detector")
    group.add_argument(
        "--detector-size",
        type=positive,
        metavar="PX",
        help="scale images to fit a square with this side, in pixels; larger finds smaller faces (default: 640)",
    )
    group.add_argument(
        "--min-score", type=float, metavar="SCORE", help="ignore detections with a lower score (default: 0.5)"
    )
