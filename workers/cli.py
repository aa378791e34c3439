"""The `swinface` command line. Nothing heavy is imported before a command needs it: `--help` answers at once."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from workers.errors import PARTIAL_RESULT, ConfigError, UserError

EPILOG = """exit codes: 0 done, 1 bug or lost dependency, 2 usage or configuration, 3 input unreadable,
4 model or device not usable, 5 partial result, 130/143 after a signal (what was under way is finished)"""
WORKER = """Take batches of face crops from streamers and answer with age, expression, attributes and embedding.
Streamers need not run yet, and may go away and come back."""
WORKER_EXAMPLES = """examples:
  swinface worker --config configs/worker.yaml
  swinface worker --connect tcp://10.0.0.7:5570 --weights checkpoint_step_79999_gpu_0.pt --device cuda:0
  swinface worker --connect ipc:///tmp/a.ipc --connect ipc:///tmp/b.ipc --weights untrained"""
INFER = """Analyse pictures of one face each. They are resized to 112x112 pixels as they are, without detection or
alignment, as the published inference does; `streamer detect` finds and aligns faces."""
INFER_EXAMPLES = """examples:
  swinface infer --weights checkpoint_step_79999_gpu_0.pt face.jpg
  swinface infer --weights weights.safetensors --out faces.csv photos/

.npz holds the raw outputs: one array per task and `path`. .jsonl, .csv and standard output hold scores by name."""
CONVERT = """Write the published checkpoint as .safetensors with a JSON card beside it. Such a file cannot hold code,
and its card says where the weights are from and under which terms."""
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    # torch's threads wait for each other by spinning unless told otherwise before it is imported; beside other busy
    # programs, such as a streamer, that makes an inference ten times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    commands = {"worker": _worker, "infer": _infer, "convert": _convert}
    try:
        return commands[arguments.command](arguments)
    except UserError as error:
        print(f"swinface: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swinface",
        description="SwinFace: age, expression, 40 attributes and an embedding of aligned faces.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('faceanalytics')}")
    parser.add_argument("--verbose", action="store_true", help="log more")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_worker(commands)
    _add_infer(commands)
    _add_convert(commands)
    return parser


def _add_worker(commands: Commands) -> None:
    parser = _command(commands, "worker", "work for streamers until a signal", WORKER, WORKER_EXAMPLES)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML; the options below override it")
    parser.add_argument(
        "--connect", action="append", metavar="ENDPOINT", help="dispatch.bind of a streamer; may be repeated"
    )
    _weights_option(parser, required=False)
    parser.add_argument("--device", help="cpu or cuda:N, without fallback (default: cpu)")
    parser.add_argument("--precision", choices=["fp32"], help="what the network computes in (default: fp32)")
    parser.add_argument("--max-batch", type=int, metavar="N", help="largest batch it takes, crops (default: 64)")
    _threads_option(parser)
    parser.add_argument("--metrics-listen", metavar="HOST:PORT", help="Prometheus endpoint (default: none)")
    parser.add_argument(
        "--exit-with-parent",
        type=_positive,
        metavar="PID",
        help="end when the process PID, which started this one, has gone",
    )


def _add_infer(commands: Commands) -> None:
    parser = _command(commands, "infer", "analyse pictures of faces", INFER, INFER_EXAMPLES)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE|DIR", help="folders are searched for pictures")
    _weights_option(parser, required=True)
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N, without fallback (default: %(default)s)")
    parser.add_argument(
        "--batch", type=_positive, default=8, metavar="N", help="pictures at once (default: %(default)s)"
    )
    _threads_option(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=".npz, .jsonl or .csv (default: JSON lines on standard output)"
    )


def _add_convert(commands: Commands) -> None:
    parser = _command(commands, "convert", "published checkpoint to .safetensors", CONVERT, "")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--source", metavar="TEXT", help="where the weights are from (default: the file's name)")
    parser.add_argument("--licence", default="not stated", metavar="TEXT", help="under which terms they may be used")


def _command(commands: Commands, name: str, help_: str, description: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=help_,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _weights_option(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--weights",
        required=required,
        metavar="FILE",
        help="published checkpoint (.pt) or .safetensors; `untrained` for tests of the plumbing only",
    )


def _threads_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=_positive, metavar="N", help="CPU threads (default: one per core)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _worker(arguments: argparse.Namespace) -> int:
    parent = arguments.exit_with_parent
    from workers.serve.config import load_config

    names = ("connect", "weights", "device", "precision", "max_batch", "threads", "metrics_listen")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    config = load_config(arguments.config, given)
    from workers.serve.worker import serve  # after the configuration was checked: this imports torch

    return serve(config, parent)


def _infer(arguments: argparse.Namespace) -> int:
    from workers.infer import check_out, find_images, infer

    check_out(arguments.out)
    paths = find_images(arguments.images)
    failed = infer(paths, arguments.out, arguments.weights, arguments.device, arguments.batch, arguments.threads)
    return PARTIAL_RESULT if failed else 0


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.out.suffix != ".safetensors" or not arguments.out.parent.is_dir():
        raise ConfigError(f"{arguments.out}: must be a name ending in .safetensors, in a folder that exists")
    from workers.swinface.checkpoint import load_official, save_own, sha256

    model = load_official(arguments.checkpoint)
    source = {"name": arguments.source or arguments.checkpoint.name, "sha256": sha256(arguments.checkpoint)}
    save_own(model, arguments.out, {"source": source, "licence": arguments.licence})
    print(arguments.out)
    return 0
