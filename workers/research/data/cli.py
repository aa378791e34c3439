"""`swinface data check`, `align` and `embed`: their options.

Nothing heavy is imported before a command needs it.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from faceanalytics.commandline import Commands, add_command, add_subcommands, positive
from faceanalytics.errors import ConfigError
from workers.options import DETECTOR_NAMES, SETS, detector_group, set_options

if TYPE_CHECKING:
    from workers.research.data.face_set import FaceSet

DATA = """Check, align and embed the sets of labelled faces on which SwinFace is trained and measured. A configuration
names the sets under `sets`, with their folders and their layouts."""
EXAMPLES = """
swinface data check configs/train-paper.yaml
swinface data align RAF-DB/original/ RAF-DB/aligned-here/
swinface data embed sets.yaml --set casia --recogniser recogniser.onnx casia.npz
"""
CHECK = """Count the faces and labels of sets, read their images, and list every problem: labels that cannot be true,
images that cannot be read, names that occur twice. The exit code is 3 if there is one. Look at the contact sheets: they
show faces with their labels in words, and only there does a wrong order of labels become visible."""
CHECK_EXAMPLES = """
swinface data check configs/train-paper.yaml --sheets sheets/ --out report.json
swinface data check sets.yaml --set celeba --images 2000
swinface data check sets.yaml --set celeba --exclude-out celeba-exclude.txt
"""
CHECK_NOTES = """The file of --exclude-out is for the set's option `exclude`: one name per line, then # and the reason.
Names that are already in the file are kept."""
ALIGN = """Detect the face of each image with the streamer's detector and write it as the streamer crops it: aligned, in
112x112 pixels, under the same name below OUT. A set with the option `images: OUT` reads the crops with the same labels.

Crops are encoded as their name says, JPEG with quality 95; a name without a suffix gets .jpg. An image without a face
is tried again with a border around it, because detectors miss faces that fill the image."""
ALIGN_EXAMPLES = """
swinface data align RAF-DB/original/ RAF-DB/aligned-here/
swinface data align --detector face.onnx --config sets.yaml --set morph morph-aligned/
"""
ALIGN_NOTES = """OUT/aligned.jsonl has one line per image: the result, box, landmarks (pixels of the image; left eye,
right eye, nose, mouth left, mouth right), score, number of faces, and the border that was needed. Run the same command
again to continue after an interruption.

Exit code 5 means that some images have no crop; the log says which and why, and `swinface data check --exclude-out`
writes their names for the set's option `exclude`.

On a GPU every process loads the detector: a few processes, such as --workers 4, are enough."""
EMBED = """Compute the outputs of other networks (teachers) for every face of a set, so that a training can learn them
(distillation): embeddings of a recogniser, probabilities of expressions, or both. Name the file in the set's option
`teacher`, and let a stream learn `embedding` or `expression_scores`. The faces must be aligned, as for training."""
EMBED_EXAMPLES = """
swinface data embed configs/train-small.yaml --set lfw_train --recogniser recogniser.onnx lfw.npz
swinface data embed sets.yaml --set casia --recogniser swinface.pt --expressions swinface.pt casia.npz
"""
EMBED_NOTES = """Only the faces that the set's options select are computed, so the file holds nothing of what `split`
and `where` hold out.

A recogniser is SwinFace (.safetensors, .pt), an ONNX file that takes (n, 3, 112, 112) RGB in -1..1 as those of
insightface do, or an ncnn .param file with its .bin beside it that takes 112x112 RGB in 0..255. A teacher of
expressions is SwinFace, or the Keras file of the public mini-XCEPTION for FER2013 (.hdf5; pip install h5py)."""
CHOICES = ("centre", "largest", "strongest")


def add_data(commands: Commands) -> None:
    """Add `swinface data` and its commands."""
    parser = add_command(commands, "data", "check, align and embed sets of faces", DATA, EXAMPLES)
    inner = add_subcommands(parser, "data_command")
    _add_check(inner)
    _add_align(inner)
    _add_embed(inner)


def data(arguments: argparse.Namespace) -> int:
    """Run a command of `swinface data` and return its exit code. Raises UserError."""
    return {"check": _check, "align": _align, "embed": _embed}[arguments.data_command](arguments)


def _add_check(commands: Commands) -> None:
    parser = add_command(commands, "check", "count and check sets", CHECK, CHECK_EXAMPLES, CHECK_NOTES)
    parser.add_argument("config", type=Path, metavar="CONFIG", help=SETS)
    parser.add_argument("--set", action="append", metavar="NAME", help="check only this set of CONFIG; may be repeated")
    parser.add_argument(
        "--images",
        type=_how_many,
        metavar="all|N|none",
        help="images to read of each set: all, N drawn at random (the same in every run), or none (default: all)",
    )
    _workers_option(parser)
    results = parser.add_argument_group("results")
    results.add_argument("--sheets", type=Path, metavar="DIR", help="write a contact sheet of each set to DIR/NAME.png")
    results.add_argument("--out", type=Path, metavar="FILE.json", help="also write the report as JSON")
    results.add_argument(
        "--exclude-out",
        type=Path,
        metavar="FILE",
        help="write the names of images with problems; needs exactly one set",
    )


def _add_align(commands: Commands) -> None:
    parser = add_command(commands, "align", "write aligned crops of images", ALIGN, ALIGN_EXAMPLES, ALIGN_NOTES)
    parser.usage = "%(prog)s [options] SOURCE OUT\n       %(prog)s [options] --config CONFIG --set NAME OUT"
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="SOURCE, which is searched for images at any depth, and OUT; with --config only OUT",
    )
    source = parser.add_argument_group("source")
    set_options(source, required=False)
    source.add_argument(
        "--choose",
        choices=CHOICES,
        default="centre",
        help="face to take if there are several: the one nearest to the centre relative to its size, the largest, or "
        "the one with the highest score",
    )
    _workers_option(parser)
    detector_group(parser)


def _add_embed(commands: Commands) -> None:
    parser = add_command(commands, "embed", "compute what teachers give for a set", EMBED, EMBED_EXAMPLES, EMBED_NOTES)
    parser.add_argument("config", type=Path, metavar="CONFIG", help=SETS)
    parser.add_argument("out", type=Path, metavar="FILE.npz", help="file for the outputs of the teachers")
    parser.add_argument("--set", required=True, metavar="NAME", help="name of the set in CONFIG")
    teachers = parser.add_argument_group("teachers (at least one)")
    teachers.add_argument("--recogniser", type=Path, metavar="WEIGHTS", help="teacher of embeddings (default: none)")
    teachers.add_argument("--expressions", type=Path, metavar="WEIGHTS", help="teacher of expressions (default: none)")


def _workers_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="processes, each with one thread (default: one per core)"
    )


def _how_many(text: str) -> int | None:
    """Parse a number of images; None for all."""
    if text in ("all", "none"):
        return None if text == "all" else 0
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, all or none")
    return positive(text)


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

    detector = DetectorOptions(*(getattr(arguments, name) for name in DETECTOR_NAMES))
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
        raise ConfigError("nothing to compute: give --recogniser, --expressions or both")
    faces = _open(arguments.config, arguments.set, teacher=False)
    embed(faces, arguments.recogniser, arguments.expressions, arguments.out)
    return 0


def _source_and_out(arguments: argparse.Namespace) -> tuple[Path | None, Path]:
    """Return the folders; the source is None if --config and --set name the images. Raises ConfigError."""
    folders = arguments.folders
    if (arguments.config is None) != (arguments.set is None):
        raise ConfigError("--config and --set go together: they name the set whose images are aligned")
    needed = ["SOURCE", "OUT"] if arguments.config is None else ["OUT"]
    if len(folders) != len(needed):
        raise ConfigError(f"give {' and '.join(needed)}, not {len(folders)} folder(s)")
    return (None if arguments.config else folders[0]), folders[-1]


def _open(config: Path, name: str, teacher: bool = True) -> "FaceSet":
    """Open a set. Without `teacher`, its file of teacher outputs need not exist yet."""
    from workers.research.data.sets import load_sets, open_set

    configs = load_sets(config)
    _known(name, list(configs), config)
    chosen = configs[name] if teacher else configs[name].model_copy(update={"teacher": None})
    return open_set(name, chosen)


def _known(name: str, names: list[str], config: Path) -> None:
    if name not in names:
        raise ConfigError(f"--set {name}: {config} has no such set. It has {', '.join(names) or 'no sets'}")
