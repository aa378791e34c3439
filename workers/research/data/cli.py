"""`swinface data check`, `align` and `embed`: their arguments. Nothing heavy is imported before it is needed."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from faceanalytics.errors import ConfigError

if TYPE_CHECKING:
    from workers.research.data.face_set import FaceSet

DATA = """Sets of faces with labels, on which SwinFace is trained and measured. A configuration names them under
`sets`: where they lie, and in which layout."""
CHECK = """Count the faces and labels of the sets of a configuration, read their images, and list every problem:
labels that cannot be true, images that cannot be read, names that stand twice. If there is one the exit code is 3.
The contact sheets show faces with their labels in words: look at them, a wrong order of labels is seen nowhere else."""
CHECK_EXAMPLES = """examples:
  swinface data check configs/train-paper.yaml --sheets sheets/ --out report.json
  swinface data check sets.yaml --set celeba --images 2000
  swinface data check sets.yaml --set celeba --exclude-out celeba-exclude.txt

FILE of --exclude-out is what the set's option `exclude` takes: one name per line, # before the reason. What is in it
already is kept."""
ALIGN = """Find the face of each image with the streamer's detector and write it as the streamer crops it, aligned,
112x112 pixels, under the same name below OUT: a set with the option `images: OUT` and the same labels reads them.
Crops are encoded as their name says, JPEG with quality 95; a name without a suffix, as of a record, gets .jpg.
An image without a face is tried again with a border around it, as detectors miss faces that fill an image."""
ALIGN_EXAMPLES = """examples:
  swinface data align --detector face.onnx RAF-DB/original/ RAF-DB/aligned-here/
  swinface data align --detector face.onnx --config sets.yaml --set morph morph-aligned/

OUT/aligned.jsonl has one line per image: its result, and box, landmarks (pixels of the image; left eye, right eye,
nose, mouth left, mouth right), score, number of faces, and the border that was needed. The same command goes on where
a former one ended, however it ended. Exit code 5: some images have no crop, the log says which and why; `swinface
data check --exclude-out` writes their names for the set's option `exclude`.

On a GPU each process has a detector of its own there: a few, such as --workers 4, are enough."""
EMBED = """Compute what other networks make of every face of a set, for a training that learns it (distillation): the
embeddings of a recogniser, the probabilities of expressions, or both. The set's option `teacher` then names FILE, and a
stream learns `embedding` or `expression_scores`. The faces must be aligned, as for training."""
EMBED_EXAMPLES = """examples:
  swinface data embed configs/train-small.yaml --set lfw_train --recogniser recogniser.onnx lfw.npz
  swinface data embed sets.yaml --set casia --recogniser swinface.pt --expressions swinface.pt casia.npz

Only the faces that the set's options leave are computed, so what `split` and `where` hold out is not in FILE either. A
recogniser is SwinFace (.safetensors, .pt), an ONNX file that takes (n, 3, 112, 112) RGB in -1..1 as insightface's do,
or a .param of ncnn beside its .bin that takes 112x112 RGB in 0..255. A teacher of expressions is
SwinFace, or the Keras file of the public mini-XCEPTION for FER2013 (.hdf5; pip install h5py)."""
CHOICES = ("centre", "largest", "strongest")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_data(commands: Commands) -> None:
    """Add `data` with its own commands to those of `swinface`."""
    parser = _command(commands, "data", "look at sets of faces, and align them", DATA, "")
    inner = parser.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    _add_check(inner)
    _add_align(inner)
    _add_embed(inner)


def data(arguments: argparse.Namespace) -> int:
    """Run one of them and return its exit code. Raises UserError."""
    return {"check": _check, "align": _align, "embed": _embed}[arguments.data_command](arguments)


def _add_check(commands: Commands) -> None:
    parser = _command(commands, "check", "count, show and check sets", CHECK, CHECK_EXAMPLES)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML with sets")
    parser.add_argument("--set", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="write a contact sheet of each set, DIR/NAME.png")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the same report as JSON")
    parser.add_argument(
        "--images",
        type=_how_many,
        metavar="all|N|none",
        help="read all, so many drawn at random, always the same ones, or none (default: all)",
    )
    parser.add_argument(
        "--exclude-out", type=Path, metavar="FILE", help="write the names of images with problems (one set only)"
    )
    _workers_option(parser)


def _add_align(commands: Commands) -> None:
    parser = _command(commands, "align", "images of faces to aligned crops", ALIGN, ALIGN_EXAMPLES)
    parser.usage = "%(prog)s [options] SOURCE OUT\n       %(prog)s [options] --config CONFIG --set NAME OUT"
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="SOURCE, which is searched for images at any depth, and OUT; OUT alone with --config",
    )
    parser.add_argument("--config", type=Path, metavar="CONFIG", help="YAML with sets; its images are the source")
    parser.add_argument("--set", metavar="NAME", help="which set of it")
    parser.add_argument(
        "--choose",
        choices=CHOICES,
        default="centre",
        help="which of several faces: nearest to the middle in sizes of the face, largest, or of the best score "
        "(default: %(default)s)",
    )
    _workers_option(parser)
    _add_detector(parser)


def _add_embed(commands: Commands) -> None:
    parser = _command(commands, "embed", "what a teacher says of a set, to learn from", EMBED, EMBED_EXAMPLES)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML with sets")
    parser.add_argument("--set", required=True, metavar="NAME", help="which set of it")
    parser.add_argument("--recogniser", type=Path, metavar="WEIGHTS", help="whose embeddings are to be learnt")
    parser.add_argument("--expressions", type=Path, metavar="WEIGHTS", help="whose probabilities are to be learnt")
    parser.add_argument("out", type=Path, metavar="FILE.npz", help="what the set's option `teacher` is to name")


def _add_detector(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("faces in images")
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
        "--min-score", type=float, metavar="SCORE", help="weaker detections are not taken (default: 0.5)"
    )


def _workers_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=_positive, metavar="N", help="processes, of one thread each (default: one per core)"
    )


def _command(commands: Commands, name: str, help_: str, description: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=help_,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _how_many(text: str) -> int | None:
    """None: all."""
    if text in ("all", "none"):
        return None if text == "all" else 0
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither all nor none nor a number")
    return _positive(text)


def _check(arguments: argparse.Namespace) -> int:
    from workers.research.data.check import Request, check
    from workers.research.data.parallel import cores
    from workers.research.data.sets import load_sets

    request = Request(
        sheets=arguments.sheets,
        out=arguments.out,
        images=arguments.images,
        exclude_out=arguments.exclude_out,
        processes=arguments.workers or cores(),
    )
    configs = load_sets(arguments.config)
    names = list(configs) if arguments.set is None else list(dict.fromkeys(arguments.set))
    for name in names:
        _known(name, list(configs), arguments.config)
    check({name: configs[name] for name in names}, request)
    return 0


def _align(arguments: argparse.Namespace) -> int:
    source, out = _source_and_out(arguments)
    from workers.align import DetectorOptions
    from workers.research.data.align import align_all, find_images
    from workers.research.data.align_one import Recipe
    from workers.research.data.parallel import cores

    options = ("detector", "detector_device", "detector_size", "min_score")
    detector = DetectorOptions(*(getattr(arguments, name) for name in options))
    recipe = Recipe(detector, out, arguments.choose)
    if source is None:
        origin = f"{arguments.set} of {arguments.config.resolve()}"
        images = _open(arguments.config, arguments.set).images
    else:
        origin, images = str(source.resolve()), find_images(source)
    return align_all(origin, images, recipe, arguments.workers or cores())


def _embed(arguments: argparse.Namespace) -> int:
    from workers.research.data.embed import embed

    if arguments.recogniser is None and arguments.expressions is None:
        raise ConfigError("nothing to compute: say --recogniser, --expressions or both")
    faces = _open(arguments.config, arguments.set, teacher=False)
    embed(faces, arguments.recogniser, arguments.expressions, arguments.out)
    return 0


def _source_and_out(arguments: argparse.Namespace) -> tuple[Path | None, Path]:
    """Without a source the images are those of --config and --set. Raises ConfigError."""
    folders = arguments.folders
    if (arguments.config is None) != (arguments.set is None):
        raise ConfigError("--config and --set go together: the images of that set are aligned")
    needed = ["SOURCE", "OUT"] if arguments.config is None else ["OUT"]
    if len(folders) != len(needed):
        raise ConfigError(f"{len(folders)} folders are given, needed are {' and '.join(needed)}")
    return (None if arguments.config else folders[0]), folders[-1]


def _open(config: Path, name: str, teacher: bool = True) -> "FaceSet":
    """The set; without `teacher` its file of embeddings need not be there yet."""
    from workers.research.data.sets import load_sets, open_set

    configs = load_sets(config)
    _known(name, list(configs), config)
    chosen = configs[name] if teacher else configs[name].model_copy(update={"teacher": None})
    return open_set(name, chosen)


def _known(name: str, names: list[str], config: Path) -> None:
    if name not in names:
        raise ConfigError(f"--set {name}: {config} has no such set. It has {', '.join(names) or 'none'}")
