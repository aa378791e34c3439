"""The `swinface` command line. Nothing heavy is imported before a command needs it: `--help` answers at once."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from faceanalytics.errors import PARTIAL_RESULT, ConfigError, UserError
from faceanalytics.extras import require
from workers.research.data.cli import add_data, data
from workers.research.detector.cli import add_train_detector, train_detector
from workers.research.evaluate.cli import add_evaluate, evaluate
from workers.research.train.cli import add_curves, add_train, curves, train
from workers.swinface.labels import ATTRIBUTES, OUTPUTS
from workers.swinface.precisions import PRECISIONS
from workers.weights.cli import add_weights, weights

if TYPE_CHECKING:
    from workers.align import DetectorOptions

EPILOG = """exit codes: 0 done, 1 bug or lost dependency, 2 usage or configuration, 3 input unreadable,
4 model or device not usable, 5 partial result, 130/143 after a signal (what was under way is finished)"""
WORKER = """Take batches of face crops from streamers and answer with age, expression, attributes and embedding.
Streamers need not run yet, and may go away and come back."""
WORKER_EXAMPLES = """examples:
  swinface worker --config configs/worker.yaml
  swinface worker --connect tcp://10.0.0.7:5570 --weights checkpoint_step_79999_gpu_0.pt --device cuda:0
  swinface worker --connect ipc:///tmp/a.ipc --connect ipc:///tmp/b.ipc --weights untrained"""
INFER = """Analyse images of faces. Without --align each image is one face, resized to 112x112 pixels as it is, as
the published inference does. With --align the faces of each image are found and aligned as the streamer does it, and
each is one row, the strongest first."""
INFER_EXAMPLES = """examples:
  swinface infer --weights checkpoint_step_79999_gpu_0.pt face.jpg
  swinface infer --weights weights.safetensors --out faces.csv --heads age,expression photos/
  swinface infer --weights weights.safetensors --out raw.npz --align --detector face.onnx photos/

.npz holds the raw outputs: one array per task, `path` and `model_id`; with --align also `face` (place in its image),
`box` (x1 y1 x2 y2), `landmarks` and `detector_score`. .jsonl, .csv and standard output hold scores by name.
Images that cannot be read or show no face are listed at the end; then the exit code is 5."""
CONVERT = """Write the published checkpoint as .safetensors with a JSON card beside it. Such a file cannot hold code,
and its card says where the weights are from and under which terms. Weights of that form are copied with their card,
under what the options say anew; --half makes the file half as large."""
EXPORT = """Write the network as one ONNX file, with the weights in it. Input: `faces`, uint8 (batch, 112, 112, 3), RGB
and aligned, batches of any size. Outputs: the heads by name, raw. What was written is run in ONNX Runtime and compared
with torch: if they differ by more than 1e-4, no file is left and the exit code is 4."""
EXPORT_EXAMPLES = """examples:
  swinface export --format onnx --weights weights.safetensors swinface.onnx
  swinface export --format onnx --weights weights.safetensors --heads age,gender --opset 20 small.onnx"""
OPSETS = range(18, 26)  # the least that torch's exporter writes, the newest that onnxscript can convert to
WORKER_PACKAGES = ("torch", "safetensors")
NEEDS = {  # of commands: the extra of this project, and what must be there of it before they begin
    "worker": ("worker", *WORKER_PACKAGES),
    "infer": ("worker", *WORKER_PACKAGES),
    "convert": ("worker", *WORKER_PACKAGES),
    "export": ("export", *WORKER_PACKAGES),
    "data": ("evaluate", *WORKER_PACKAGES, "PIL", "pyarrow"),
    "evaluate": ("evaluate", *WORKER_PACKAGES, "PIL", "pyarrow"),
    "train": ("train", *WORKER_PACKAGES, "PIL", "pyarrow", "tensorboard", "timm"),
    "curves": ("train", "matplotlib"),
    "train-detector": ("train", *WORKER_PACKAGES, "PIL", "pyarrow", "ultralytics", "onnx"),
}
CHATTY = ("matplotlib", "onnx_ir", "onnxscript", "PIL", "torch.distributed")  # libraries whose news are not ours
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if not arguments.verbose:
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
    # torch's threads wait for each other by spinning unless told otherwise before it is imported; beside other busy
    # programs, such as a streamer, that makes an inference ten times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    commands = {
        "worker": _worker,
        "infer": _infer,
        "convert": _convert,
        "export": _export,
        "weights": weights,
        "data": data,
        "train": train,
        "curves": curves,
        "train-detector": train_detector,
        "evaluate": evaluate,
    }
    try:
        if arguments.command in NEEDS:
            extra, *packages = NEEDS[arguments.command]
            require(extra, *packages, use=arguments.command)
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
        description="SwinFace: age, expression, 40 attributes and an embedding of aligned faces; training, evaluation.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('faceanalytics')}")
    parser.add_argument("--verbose", action="store_true", help="log more")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_worker(commands)
    _add_infer(commands)
    _add_convert(commands)
    _add_export(commands)
    add_weights(commands)
    add_data(commands)
    add_train(commands)
    add_curves(commands)
    add_train_detector(commands)
    add_evaluate(commands)
    return parser


def _add_worker(commands: Commands) -> None:
    parser = _command(commands, "worker", "work for streamers until a signal", WORKER, WORKER_EXAMPLES)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML; the options below override it")
    parser.add_argument(
        "--connect", action="append", metavar="ENDPOINT", help="dispatch.bind of a streamer; may be repeated"
    )
    _weights_option(parser, default=None)
    parser.add_argument("--device", help="cpu or cuda:N, without fallback (default: cpu)")
    parser.add_argument("--precision", choices=PRECISIONS, help="what the network computes in (default: fp32)")
    parser.add_argument("--max-batch", type=int, metavar="N", help="largest batch it takes, crops (default: 64)")
    parser.add_argument(
        "--max-wait-ms", type=float, metavar="MS", help="wait so long for batches of other streamers (default: 5)"
    )
    _threads_option(parser)
    parser.add_argument("--metrics-listen", metavar="HOST:PORT", help="Prometheus endpoint (default: none)")
    parser.add_argument(
        "--exit-with-parent",
        type=_positive,
        metavar="PID",
        help="end when the process PID, which started this one, has gone",
    )


def _add_infer(commands: Commands) -> None:
    parser = _command(commands, "infer", "analyse images of faces", INFER, INFER_EXAMPLES)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE|DIR", help="folders are searched for images")
    _weights_option(parser, default="default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N, without fallback (default: %(default)s)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="what the network computes in (default: %(default)s)"
    )
    parser.add_argument("--batch", type=_positive, default=8, metavar="N", help="faces at once (default: %(default)s)")
    _threads_option(parser)
    _heads_option(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=".npz, .jsonl or .csv (default: JSON lines on standard output)"
    )
    _add_align(parser)


def _add_align(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("faces in images")
    group.add_argument("--align", action="store_true", help="find the faces of each image and align them")
    group.add_argument(
        "--detector",
        metavar="FILE",
        help="face detector weights (default: $FACEANALYTICS_DETECTOR, then the bundled model)",
    )
    group.add_argument("--detector-device", metavar="DEVICE", help="cpu or cuda:N, without fallback (default: cpu)")
    group.add_argument(
        "--detector-size", type=_positive, metavar="PX", help="side of the square it sees images in (default: 640)"
    )
    group.add_argument(
        "--min-score",
        type=float,
        metavar="SCORE",
        help="weaker detections are not taken (default: 0.5, as the streamer analyses)",
    )


def _add_convert(commands: Commands) -> None:
    parser = _command(commands, "convert", "published checkpoint, or weights of our own, to .safetensors", CONVERT, "")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--source", metavar="TEXT", help="where the weights are from (default: the file's name)")
    parser.add_argument(
        "--licence", metavar="TEXT", help="under which terms they may be used (default: what is known, or not stated)"
    )
    parser.add_argument(
        "--half", action="store_true", help="matrices in 16 bits; they are computed with in 32 bits all the same"
    )
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE", help="JSON object of what was measured with the weights"
    )


def _add_export(commands: Commands) -> None:
    parser = _command(commands, "export", "the network for other programs", EXPORT, EXPORT_EXAMPLES)
    parser.add_argument("out", type=Path, metavar="OUT.onnx")
    parser.add_argument("--format", required=True, choices=["onnx"], help="of the file")
    _weights_option(parser, default="default")
    _heads_option(parser)
    parser.add_argument(
        "--opset",
        type=int,
        choices=OPSETS,
        default=OPSETS[-1],
        metavar="N",
        help=f"version of ONNX's operators, {OPSETS[0]} to {OPSETS[-1]} (default: %(default)s, the newest)",
    )


def _command(commands: Commands, name: str, help_: str, description: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=help_,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _weights_option(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--weights",
        default=default,
        metavar="WEIGHTS",
        help="published checkpoint (.pt), .safetensors, or a name that `swinface weights list` shows; `untrained` for "
        "tests of the plumbing only (default: the small model that comes with the project)",
    )


def _threads_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=_positive, metavar="N", help="CPU threads (default: one per core)")


def _heads_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--heads",
        metavar="NAME,...",
        help="only these outputs, such as age,expression; `attributes` means all 40 (default: all that it has)",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _worker(arguments: argparse.Namespace) -> int:
    parent = arguments.exit_with_parent
    from workers.serve.config import load_config
    from workers.weights.registry import find

    names = ("connect", "weights", "device", "precision", "max_batch", "max_wait_ms", "threads", "metrics_listen")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    config = load_config(arguments.config, given)
    config = config.model_copy(update={"weights": find(config.weights)})
    from workers.serve.worker import serve  # after the configuration was checked: this imports torch

    return serve(config, parent)


def _infer(arguments: argparse.Namespace) -> int:
    heads = _heads(arguments.heads)
    align = _detector_options(arguments)
    from workers.infer import Request, check_out, find_images, infer
    from workers.weights.registry import find

    check_out(arguments.out)
    paths = find_images(arguments.images)
    request = Request(
        weights=find(arguments.weights),
        out=arguments.out,
        device=arguments.device,
        precision=arguments.precision,
        threads=arguments.threads,
        heads=heads,
        batch=arguments.batch,
        align=align,
    )
    return PARTIAL_RESULT if infer(paths, request) else 0


def _detector_options(arguments: argparse.Namespace) -> "DetectorOptions | None":
    """What --align is to be done with; None without it. Raises ConfigError for options that need it."""
    names = ("detector", "detector_device", "detector_size", "min_score")
    given = [name for name in names if getattr(arguments, name) is not None]
    if given and not arguments.align:
        raise ConfigError(f"--{given[0].replace('_', '-')} says how to find faces: add --align, or leave it out")
    if not arguments.align:
        return None
    from workers.align import DetectorOptions

    return DetectorOptions(*(getattr(arguments, name) for name in names))


def _heads(text: str | None) -> tuple[str, ...] | None:
    """The outputs named in `text`, in their order; None without one. Raises ConfigError."""
    if text is None:
        return None
    names = {name.strip() for name in text.split(",")}
    if "attributes" in names:
        names = names - {"attributes"} | {task.slug for task in ATTRIBUTES}
    if unknown := sorted(names - set(OUTPUTS)):
        raise ConfigError(
            f"--heads: there is no output {', '.join(map(repr, unknown))}. "
            f"Known are attributes (all 40), {', '.join(sorted(OUTPUTS))}"
        )
    return tuple(slug for slug in OUTPUTS if slug in names)


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.out.suffix != ".safetensors" or not arguments.out.parent.is_dir():
        raise ConfigError(f"{arguments.out}: must be a name ending in .safetensors, in a folder that exists")
    from workers.swinface.checkpoint import load_official, load_own, save_own, sha256

    metrics = _read_metrics(arguments.metrics)
    card: dict[str, Any]
    if arguments.checkpoint.suffix == ".safetensors":
        model, card = load_own(arguments.checkpoint)
        source = {**card["source"], **({"name": arguments.source} if arguments.source else {})}
    else:
        model, card = load_official(arguments.checkpoint), {"licence": "not stated", "metrics": {}}
        source = {"name": arguments.source or arguments.checkpoint.name, "sha256": sha256(arguments.checkpoint)}
    card = {**card, "source": source, "licence": arguments.licence or card["licence"]}
    save_own(model, arguments.out, {**card, "metrics": metrics or card["metrics"]}, arguments.half)
    print(arguments.out)
    return 0


def _read_metrics(path: Path | None) -> dict[str, object]:
    """Raises ConfigError if the file is no JSON object."""
    if path is None:
        return {}
    try:
        metrics = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"--metrics {path}: {error}") from error
    if not isinstance(metrics, dict):
        raise ConfigError(f"--metrics {path}: expected a JSON object of measured results")
    return metrics


def _export(arguments: argparse.Namespace) -> int:
    heads = _heads(arguments.heads)
    from workers.swinface.export import export_onnx
    from workers.weights.registry import find

    written, difference = export_onnx(find(arguments.weights), arguments.out, heads, arguments.opset)
    print(f"{arguments.out}: {len(written)} outputs, differs from torch by at most {difference:.2g}")
    return 0
