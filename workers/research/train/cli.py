"""`swinface train` and `swinface curves`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from faceanalytics.errors import ConfigError

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

TRAIN = """Train SwinFace as a YAML file says: recognition, age, gender, attributes and expression at once, or whichever
of them there are labels for. Writes checkpoints, the best weights by the validation sets, and scalars for TensorBoard.
A signal saves and stops; --resume last goes on, with the same losses as if nothing had happened."""
TRAIN_EXAMPLES = """examples:
  swinface train configs/train-small.yaml
  torchrun --nproc-per-node 4 --no-python swinface train configs/train-paper.yaml
  swinface train configs/train-small.yaml --resume last
  tensorboard --logdir runs/small/tensorboard"""
CURVES = """Draw the scalars of trainings as PNG: the losses and the validation by step."""


def add_train(commands: "Commands") -> None:
    """`swinface train` among the commands."""
    parser = commands.add_parser(
        "train",
        help="train the network",
        description=TRAIN,
        epilog=TRAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML, see docs/training.md")
    parser.add_argument("--resume", metavar="last|DIR", help="go on from the newest checkpoint of `out`, or from this")
    parser.add_argument(
        "--allow-changes", action="store_true", help="go on although the configuration is another one than before"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="in place of `out` of the file")
    parser.add_argument("--steps", type=int, metavar="N", help="in place of `steps` of the file")
    parser.add_argument("--seed", type=int, metavar="N", help="in place of `seed` of the file")
    parser.add_argument(
        "--leave-out-missing", action="store_true", help="train without the sets that are not there, and their tasks"
    )


def train(arguments: argparse.Namespace) -> int:
    """Run `swinface train`; the exit code."""
    if arguments.allow_changes and not arguments.resume:
        raise ConfigError("--allow-changes goes with --resume")
    given: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("out", "steps", "seed") if getattr(arguments, name) is not None
    }
    if arguments.leave_out_missing:
        given["missing_sets"] = "leave_out"
    from workers.research.train.config import load_train_config

    config = load_train_config(arguments.config, given)
    from workers.research.train.train import train as run  # after the configuration was checked: this imports torch

    return run(config, arguments.resume, arguments.allow_changes)


def add_curves(commands: "Commands") -> None:
    """`swinface curves` among the commands."""
    parser = commands.add_parser("curves", help="draw how a training went", description=CURVES)
    parser.add_argument("run", type=Path, metavar="DIR", help="`out` of the training")
    parser.add_argument("out", type=Path, metavar="FILE.png")


def curves(arguments: argparse.Namespace) -> int:
    """Run `swinface curves`; the exit code."""
    from workers.research.train.curves import draw

    draw(arguments.run, arguments.out)
    print(arguments.out)
    return 0
