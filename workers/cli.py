"""The `swinface` command line: its commands and options.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceanalytics.commandline import (
    Commands,
    Options,
    add_command,
    device_option,
    positive,
    program,
    run_command,
    set_up_logging,
    weights_option,
)
from faceanalytics.errors import PARTIAL_RESULT, ConfigError
from faceanalytics.extras import require
from faceanalytics.files import writing
from workers.options import DETECTOR_NAMES, detector_group, precision_option, threads_option
from workers.research.data.cli import add_data, data
from workers.research.detector.cli import (
    add_quantise_detector,
    add_train_detector,
    quantise_detector,
    train_detector,
)
from workers.research.evaluate.cli import add_evaluate, evaluate
from workers.research.train.cli import add_curves, add_train, curves, train
from workers.swinface.labels import ATTRIBUTES, OUTPUTS
from workers.weights.cli import add_weights, weights

if TYPE_CHECKING:
    from workers.align import DetectorOptions

DESCRIPTION = """SwinFace reads age, expression, 40 attributes and an identity embedding from aligned faces. Serve it to
streamers, run it on images, train it and measure it."""
EXAMPLES = """
swinface infer face.jpg
swinface worker --connect tcp://10.0.0.7:5570 --keys gpu1.key
swinface weights list
swinface train configs/train-small.yaml
"""
WORKER = """Take batches of face crops from streamers and answer with age, expression, attributes and embedding, until a
signal. Start it before or after the streamers: it reconnects whenever one comes back."""
WORKER_EXAMPLES = """
swinface worker
swinface worker --config configs/worker.yaml
swinface worker --connect tcp://10.0.0.7:5570 --keys gpu1.key --weights checkpoint_step_79999_gpu_0.pt --device cuda:0
swinface worker --connect ipc:///tmp/a.ipc --connect ipc:///tmp/b.ipc
"""
INFER = """Analyse images of faces. Without --align, each image is one face and is resized as a whole to 112x112 pixels,
as in the published inference code. With --align, the faces of each image are detected and aligned as in the streamer,
and each face is one row, highest score first."""
INFER_EXAMPLES = """
swinface infer face.jpg
swinface infer --weights weights.safetensors --out faces.csv --heads age,expression photos/
swinface infer --out raw.npz --align --detector face.onnx photos/
"""
INFER_NOTES = """All forms have the same columns, named as in the tables of `streamer export`: input (the image),
model_id, age_years, expression (the one with the highest score), a score per expression, embedding_norm, and
attribute_NAME; with --align also face (its rank in the image), FaceScore, quality, reasons, FaceRectX to
FaceRectHeight, and x and y of five landmarks. A .npz file also holds the raw outputs: age_years_output (n, 1),
expression_logits (n, 7), attribute_NAME_logits (n, 2), embedding (n, 512) and landmarks (n, 5, 2).

A face with reasons would not be analysed by the streamer with its default settings: do not rely on its answers. It is
also listed at the end. Images that cannot be read or show no face are listed too; the exit code is then 5."""
CONVERT = """Write the published checkpoint as a .safetensors file with a JSON card beside it. Such a file cannot
contain code, and its card states the source and the licence of the weights. A .safetensors file can be converted too:
its card is copied, and the options replace entries of it."""
CONVERT_EXAMPLES = """
swinface convert checkpoint_step_79999_gpu_0.pt swinface.safetensors
swinface convert swinface.safetensors swinface-half.safetensors --half --metrics lfw.json
"""
EXPORT = """Write the network with its weights as one ONNX file. Its input `faces` is uint8 (batch, 112, 112, 3), RGB
and aligned, of any batch size; its outputs are the raw heads by name. The file is run in ONNX Runtime and compared with
torch: if they differ by more than 1e-4, the file is deleted and the exit code is 4."""
EXPORT_EXAMPLES = """
swinface export --format onnx swinface.onnx
swinface export --format onnx --weights weights.safetensors --heads age,gender --opset 20 small.onnx
"""
OPSETS = range(18, 26)  # from the oldest that torch's exporter writes to the newest that onnxscript converts to
WORKER_PACKAGES = ("torch", "safetensors")
NEEDS = {  # of a command: the extra of this project, and its packages that must be installed before it begins
    "worker": ("worker", *WORKER_PACKAGES),
    "infer": ("worker", *WORKER_PACKAGES),
    "convert": ("worker", *WORKER_PACKAGES),
    "export": ("export", *WORKER_PACKAGES),
    "data": ("evaluate", *WORKER_PACKAGES, "pyarrow"),
    "evaluate": ("evaluate", *WORKER_PACKAGES, "pyarrow"),
    "train": ("train", *WORKER_PACKAGES, "pyarrow", "tensorboard", "timm"),
    "curves": ("train", "matplotlib"),
    "train-detector": ("train", *WORKER_PACKAGES, "pyarrow", "ultralytics", "onnx"),
    "quantise-detector": ("quantise", *WORKER_PACKAGES, "nncf", "onnx", "pyarrow"),
}
CHATTY = ("matplotlib", "onnx_ir", "onnxscript", "PIL", "torch.distributed")  # their progress messages help nobody here


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(argv)
    set_up_logging(arguments, CHATTY, serves=arguments.command == "worker")
    # Unless this is set before torch is imported, its threads spin while they wait for each other; beside other busy
    # programs, such as a streamer, that makes an inference ten times slower.
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
        "quantise-detector": quantise_detector,
        "evaluate": evaluate,
    }

    def run() -> int:
        if arguments.command in NEEDS:
            extra, *packages = NEEDS[arguments.command]
            require(extra, *packages, use=arguments.command)
        return commands[arguments.command](arguments)

    return run_command("swinface", run)


def parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    parser, commands = program("swinface", DESCRIPTION, EXAMPLES)
    _add_worker(commands)
    _add_infer(commands)
    _add_convert(commands)
    _add_export(commands)
    add_weights(commands)
    add_data(commands)
    add_train(commands)
    add_curves(commands)
    add_train_detector(commands)
    add_quantise_detector(commands)
    add_evaluate(commands)
    return parser


def _add_worker(commands: Commands) -> None:
    parser = add_command(commands, "worker", "analyse faces for streamers", WORKER, WORKER_EXAMPLES)
    parser.add_argument("--config", type=Path, metavar="CONFIG", help="YAML file (default: all defaults)")
    streamers = parser.add_argument_group("streamers")
    streamers.add_argument(
        "--connect",
        action="append",
        metavar="ENDPOINT",
        help="endpoint of a streamer (its dispatch.bind), ipc://PATH or tcp://HOST:PORT; may be repeated "
        "(default: ipc:///tmp/faceanalytics-workers.ipc)",
    )
    streamers.add_argument(
        "--keys",
        action="append",
        metavar="FILE",
        help="file of keys that `streamer keys new --worker NAME` made, which a streamer on another machine needs; may "
        "be repeated, one for each --connect (default: no keys)",
    )
    streamers.add_argument(
        "--insecure", action="store_true", default=None, help="connect to streamers on other machines without keys"
    )
    streamers.add_argument("--max-batch", type=int, metavar="N", help="largest batch to accept, in crops (default: 64)")
    streamers.add_argument(
        "--max-wait-ms",
        type=float,
        metavar="MS",
        help="longest time that a batch waits for batches of other streamers, in milliseconds (default: 5)",
    )
    network = parser.add_argument_group("network")
    weights_option(network, default=None)
    device_option(network, default=None)
    precision_option(network, default=None)
    threads_option(network)
    operation = parser.add_argument_group("operation")
    operation.add_argument(
        "--metrics-listen", metavar="HOST:PORT", help="address of the Prometheus endpoint (default: no endpoint)"
    )
    operation.add_argument(
        "--metrics-certificate", metavar="FILE", help="PEM file of the endpoint's certificate (default: no TLS)"
    )
    operation.add_argument("--metrics-key", metavar="FILE", help="PEM file of its private key (default: no TLS)")
    operation.add_argument(
        "--metrics-client-ca",
        metavar="FILE",
        help="PEM file of authorities whose clients alone may read the metrics (default: all clients)",
    )
    operation.add_argument(
        "--metrics-token-file",
        metavar="FILE",
        help="file of the token that clients of the endpoint must send (default: none)",
    )
    operation.add_argument(
        "--metrics-insecure",
        action="store_true",
        default=None,
        help="let other machines read the metrics without certificate and token",
    )
    operation.add_argument(
        "--tracing-endpoint",
        metavar="HOST:PORT",
        help="collector of OpenTelemetry, for batches that their streamer traces (default: no tracing)",
    )
    operation.add_argument(
        "--exit-with-parent",
        type=positive,
        metavar="PID",
        help="exit when the process PID, which started this one, has ended",
    )


def _add_infer(commands: Commands) -> None:
    parser = add_command(commands, "infer", "analyse images of faces", INFER, INFER_EXAMPLES, INFER_NOTES)
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGE|DIR",
        help="image; folders are searched for images at any depth",
    )
    results = parser.add_argument_group("results")
    results.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file for the results, .npz, .jsonl or .csv (default: JSON lines on standard output)",
    )
    _heads_option(results)
    network = parser.add_argument_group("network")
    weights_option(network)
    device_option(network)
    precision_option(network)
    network.add_argument("--batch", type=positive, default=8, metavar="N", help="faces per batch")
    threads_option(network)
    detector_group(parser, optional=True)


def _add_convert(commands: Commands) -> None:
    parser = add_command(commands, "convert", "convert weights to .safetensors", CONVERT, CONVERT_EXAMPLES)
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="published checkpoint (.pt) or .safetensors file"
    )
    parser.add_argument("out", type=Path, metavar="FILE.safetensors", help="file for the converted weights")
    parser.add_argument(
        "--half", action="store_true", help="store matrices in 16 bits, for half the size; computation stays in 32 bits"
    )
    card = parser.add_argument_group("card")
    card.add_argument(
        "--source", metavar="TEXT", help="source of the weights (default: that of the card, else the file's name)"
    )
    card.add_argument(
        "--licence", metavar="TEXT", help="licence of the weights (default: that of the card, else `not stated`)"
    )
    card.add_argument(
        "--metrics",
        type=Path,
        metavar="FILE.json",
        help="JSON object with results measured with the weights (default: those of the card)",
    )


def _add_export(commands: Commands) -> None:
    parser = add_command(commands, "export", "write the network as ONNX", EXPORT, EXPORT_EXAMPLES)
    parser.add_argument("out", type=Path, metavar="FILE.onnx", help="file for the network")
    parser.add_argument("--format", required=True, choices=["onnx"], help="format of the file")
    weights_option(parser)
    _heads_option(parser)
    parser.add_argument(
        "--opset",
        type=int,
        choices=OPSETS,
        default=OPSETS[-1],
        metavar="N",
        help=f"version of the ONNX operators, {OPSETS[0]} to {OPSETS[-1]}",
    )


def _heads_option(parser: Options) -> None:
    parser.add_argument(
        "--heads",
        metavar="NAME,...",
        help="compute only these outputs, such as age,expression; `attributes` stands for all 40 (default: every "
        "output of the weights)",
    )


def _worker(arguments: argparse.Namespace) -> int:
    parent = arguments.exit_with_parent
    from workers.serve.config import load_config
    from workers.weights.registry import find

    names = (
        "connect",
        "keys",
        "insecure",
        "weights",
        "device",
        "precision",
        "max_batch",
        "max_wait_ms",
        "threads",
        "metrics_listen",
        "metrics_certificate",
        "metrics_key",
        "metrics_client_ca",
        "metrics_token_file",
        "metrics_insecure",
        "tracing_endpoint",
    )
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
    """Return the options for --align, or None without it. Raises ConfigError for options that need --align."""
    given = [name for name in DETECTOR_NAMES if getattr(arguments, name) is not None]
    if given and not arguments.align:
        raise ConfigError(f"--{given[0].replace('_', '-')} is for face detection: add --align, or remove it")
    if not arguments.align:
        return None
    from workers.align import DetectorOptions

    return DetectorOptions(*(getattr(arguments, name) for name in DETECTOR_NAMES))


def _heads(text: str | None) -> tuple[str, ...] | None:
    """Parse the names of outputs, and return them in the order of OUTPUTS; None for None. Raises ConfigError."""
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
        raise ConfigError(f"{arguments.out}: must end in .safetensors and be in an existing folder")
    from workers.swinface.checkpoint import load_official, load_own, save_own, sha256

    metrics = _read_metrics(arguments.metrics)
    card: dict[str, Any]
    if arguments.checkpoint.suffix == ".safetensors":
        model, card = load_own(arguments.checkpoint)
        source = {**card["source"], **({"name": arguments.source} if arguments.source else {})}
    else:
        model, card = load_official(arguments.checkpoint), {"licence": "not stated", "metrics": {}}
        source = {"name": arguments.source or arguments.checkpoint.name, "sha256": sha256(arguments.checkpoint)}
    card = {**card, "source": source, "licence": arguments.licence or card.get("licence", "not stated")}
    with writing(arguments.out):
        save_own(model, arguments.out, {**card, "metrics": metrics or card.get("metrics", {})}, arguments.half)
    print(arguments.out)
    return 0


def _read_metrics(path: Path | None) -> dict[str, object]:
    """Read measured results. Raises ConfigError if the file is not a JSON object."""
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
