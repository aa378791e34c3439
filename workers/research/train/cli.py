"""`swinface train` and `swinface curves`: their options."""

import argparse
from pathlib import Path
from typing import Any

from faceanalytics.commandline import Commands, add_command
from faceanalytics.errors import ConfigError

TRAIN = """Train SwinFace as a YAML file says: recognition, age, gender, attributes and expression together, or those of
them that have labels. Writes checkpoints, the weights that score best on the validation sets, and scalars for
TensorBoard.

A signal saves and stops; --resume last continues, with the same losses as if there had been no interruption."""
TRAIN_EXAMPLES = """
swinface train configs/train-small.yaml
torchrun --nproc-per-node 4 --no-python swinface train configs/train-paper.yaml
swinface train configs/train-small.yaml --set run.device=cpu --set streams.expression.batch=32
swinface train configs/train-small.yaml --resume last
swinface train configs/train-small.yaml --resume last --steps 20000
tensorboard --logdir runs/small/tensorboard
"""
CURVES = """Draw the losses and validation scores of a training by step, as a PNG image."""
CURVES_EXAMPLES = """
swinface curves runs/small curves.png
"""


def add_train(commands: Commands) -> None:
    """Add `swinface train`."""
    parser = add_command(commands, "train", "train the network", TRAIN, TRAIN_EXAMPLES)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file, see docs/training.md")
    continuing = parser.add_argument_group("continuing a training")
    continuing.add_argument(
        "--resume",
        metavar="last|DIR",
        help="continue from the newest checkpoint in `out`, or from the checkpoint DIR (default: start a new training)",
    )
    continuing.add_argument(
        "--allow-changes", action="store_true", help="continue even if the configuration has changed; needs --resume"
    )
    changes = parser.add_argument_group("changes to the configuration")
    changes.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: `out` of CONFIG)")
    changes.add_argument("--steps", type=int, metavar="N", help="number of steps (default: `steps` of CONFIG)")
    changes.add_argument("--seed", type=int, metavar="N", help="seed of the random numbers (default: `seed` of CONFIG)")
    changes.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="KEY=VALUE",
        help="another setting, such as optimiser.learning_rate=1e-3 or run.threads=2; may be repeated",
    )
    changes.add_argument(
        "--leave-out-missing", action="store_true", help="leave out sets whose files are missing, and their tasks"
    )


def train(arguments: argparse.Namespace) -> int:
    """Run `swinface train` and return its exit code. Raises UserError."""
    if arguments.allow_changes and not arguments.resume:
        raise ConfigError("--allow-changes needs --resume: add it, or remove --allow-changes")
    given: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("out", "steps", "seed") if getattr(arguments, name) is not None
    }
    if arguments.leave_out_missing:
        given["missing_sets"] = "leave_out"
    from workers.research.train.config import load_train_config

    config = load_train_config(arguments.config, given, arguments.changes)
    from workers.research.train.train import train as run  # after the configuration was checked: this imports torch

    return run(config, arguments.resume, arguments.allow_changes)


def add_curves(commands: Commands) -> None:
    """Add `swinface curves`."""
    parser = add_command(commands, "curves", "draw the scalars of a training", CURVES, CURVES_EXAMPLES)
    parser.add_argument("run", type=Path, metavar="DIR", help="folder of the training, its `out`")
    parser.add_argument("out", type=Path, metavar="FILE.png", help="file for the image")


def curves(arguments: argparse.Namespace) -> int:
    """Run `swinface curves` and return its exit code. Raises UserError."""
    from workers.research.train.curves import draw

    draw(arguments.run, arguments.out)
    print(arguments.out)
    return 0
