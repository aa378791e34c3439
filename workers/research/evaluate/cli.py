"""`swinface evaluate`: its protocols and their options.

Nothing heavy is imported before a command needs it.
"""

import argparse
from pathlib import Path

from faceanalytics.commandline import (
    Commands,
    Options,
    add_command,
    add_subcommands,
    device_option,
    positive,
    weights_option,
)
from faceanalytics.errors import PARTIAL_RESULT, ConfigError
from workers.options import precision_option, set_options, threads_option

EVALUATE = """Measure weights by a protocol of the paper, and print each number beside the paper's. --out writes one
JSON file with the checksums of the weights and of the data; the same inputs give the same file."""
EVALUATE_EXAMPLES = """
swinface evaluate lfw --weights weights.safetensors --bin faces_emore/lfw.bin --out lfw.json
swinface evaluate ijbc --weights weights.safetensors --data IJBC/ --device cuda:0 --precision bf16 --batch 256
swinface evaluate raf-db --weights weights.safetensors --config sets.yaml --set raf-db-test
swinface evaluate faces --weights weights.safetensors --config sets.yaml --set utkface
"""
EVALUATE_NOTES = """`swinface evaluate PROTOCOL --help` describes what each protocol needs. Exit code 5 means that
images which cannot be read were left out (--skip-unreadable)."""
VERIFICATION = """{title}: ten-fold accuracy (the best threshold of nine folds is applied to the tenth) and
VAL@FAR=1e-3, with embeddings f(x) + f(mirrored x).

The pairs come from a .bin file of insightface, or from a list with pairs of images in a folder: the pairs.txt of LFW
(name/name_0001.jpg), or lines `path path 0|1 [fold]`, separated by tabs if paths contain blanks. A list without folds
is divided into ten, in order. Images of 112x112 pixels are used as they are; others are resized as a whole, so align
them first."""
VERIFICATION_EXAMPLES = """
swinface evaluate {name} --weights weights.safetensors --bin faces_emore/{name}.bin --out {name}.json
swinface evaluate {name} --weights weights.safetensors --pairs pairs.txt --images {name}-aligned/
"""
IJB = """{title}: 1:1 TAR@FAR; 1:N rank-1, rank-5 and TPIR@FPIR as the mean of the two galleries.

The folder holds loose_crop/ and meta/ as insightface distributes them: {name}_face_tid_mid.txt and
{name}_name_5pts_score.txt; for 1:1 {name}_template_pair_label.txt; for 1:N {name}_1N_gallery_{first}.csv,
{name}_1N_gallery_{second}.csv and {name}_1N_probe_mixed.csv.

Faces are aligned by the five points. The embedding of an image is f(x) + f(mirrored x) times the detector's score; that
of a template is the mean within each medium, summed over the media."""
IJB_EXAMPLES = """
swinface evaluate {name} --weights weights.safetensors --data {folder}/ --device cuda:0 --batch 256
swinface evaluate {name} --weights weights.safetensors --data {folder}/ --task 1:1 --out {name}.json
"""
FACES = {
    "raf-db": "RAF-DB: accuracy of the expression over all faces (as in the paper), and the mean over the seven "
    "classes.",
    "celeba": "CelebA: accuracy of each of the 40 attributes, and their mean.",
    "clap2015": "CLAP2015 (ChaLearn LAP): mean absolute error and epsilon-error of apparent age, and CS@5.",
    "fg-net": """FG-NET: mean absolute error of age over faces and over persons, and CS@5.

The published code has one model for all persons. Leave-one-person-out means a model fine-tuned without each person.
--leave-one-out does not do that: it corrects the ages of each person by a line age' = a * age + b that was fitted to
the faces of all others.""",
    "faces": """Any set: every measurement that its labels and the outputs of the weights allow. A measurement that is
not possible is named with the reason.

Age: mean absolute error, CS@5 and epsilon-error. Gender and attributes: accuracy. Expression: accuracy, and the mean
over classes. Persons: ten-fold accuracy of at most 6000 pairs drawn by the rule of LFW (balanced, folds without common
persons), and rank-1 against the first face of each person, with embeddings f(x) + f(mirrored x).""",
}
FACES_EXAMPLES = """
swinface evaluate {name} --weights weights.safetensors --config sets.yaml --set {set}
swinface evaluate {name} --weights default --config sets.yaml --set {set} --out {name}.json --skip-unreadable
"""
IMPOSTORS = """Measure how similar strangers are: the cosines of all pairs of different people of a set, compared as a
gallery compares them. The streamer derives its thresholds for a given false-accept rate from this table if the card of
the weights contains it (--card).

Use people whom the weights were not trained on, and many of them: a rate R for a gallery of N people needs 10 N / R
pairs, that is sqrt(20 N / R) people. At most 3000 people with 5 images each are used."""
IMPOSTORS_EXAMPLES = """
swinface evaluate impostors --weights weights.safetensors --config sets.yaml --set lfw_test --card
"""
SETS = "\n\nCONFIG describes the set and its images under `sets`; let it select the test part there."
TITLES = {"lfw": "LFW", "cfp_fp": "CFP-FP", "agedb_30": "AgeDB-30", "calfw": "CALFW", "cplfw": "CPLFW"}
IJBS = {"ijbb": ("IJB-B", "S1", "S2"), "ijbc": ("IJB-C", "G1", "G2")}
TASKS = {"1:1": ("1:1",), "1:N": ("1:N",), "both": ("1:1", "1:N")}
DEGRADED = ("small-24", "small-32", "blurred", "dark")  # repeated from evaluate.degrade, which imports cv2
LARGEST_BATCH = 1024


def add_evaluate(commands: Commands) -> None:
    """Add `swinface evaluate` and its protocols."""
    parser = add_command(
        commands, "evaluate", "measure weights by a protocol", EVALUATE, EVALUATE_EXAMPLES, EVALUATE_NOTES
    )
    protocols = add_subcommands(parser, "protocol", "PROTOCOL")
    for name, title in TITLES.items():
        _add_verification(protocols, name, title)
    for name in IJBS:
        _add_ijb(protocols, name)
    for name in FACES:
        _add_faces(protocols, name)
    _add_impostors(protocols)


def evaluate(arguments: argparse.Namespace) -> int:
    """Run a protocol and return the exit code. Raises UserError."""
    _check(arguments)
    from workers.research.evaluate.inference import InferenceOptions
    from workers.research.evaluate.report import check_out
    from workers.research.evaluate.run import Request, run_bin, run_faces, run_ijb, run_impostors, run_pairs
    from workers.weights.registry import find

    check_out(arguments.out)
    request = Request(
        protocol=arguments.protocol,
        weights=find(arguments.weights),
        device=arguments.device,
        precision=arguments.precision,
        threads=arguments.threads,
        options=InferenceOptions(batch=arguments.batch, skip_unreadable=arguments.skip_unreadable),
        out=arguments.out,
        part=getattr(arguments, "part", None),
        degraded=getattr(arguments, "degraded", None),
        groups=getattr(arguments, "groups", False),
    )
    if arguments.protocol in FACES:
        leave_one_out = getattr(arguments, "leave_one_out", False)
        result = run_faces(request, arguments.config, arguments.set, leave_one_out)
    elif arguments.protocol in IJBS:
        result = run_ijb(request, arguments.data, TASKS[arguments.task])
    elif arguments.protocol == "impostors":
        result = run_impostors(request, arguments.config, arguments.set, arguments.source, arguments.card)
    elif arguments.bin is not None:
        result = run_bin(request, arguments.bin)
    else:
        result = run_pairs(request, arguments.pairs, arguments.images)
    return PARTIAL_RESULT if result.unreadable else 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for options that exclude or need each other."""
    if arguments.protocol not in TITLES:
        return
    if (arguments.pairs is None) != (arguments.images is None):
        raise ConfigError("--pairs and --images go together: a list of pairs, and the folder of its images")
    if (arguments.bin is None) == (arguments.pairs is None):
        raise ConfigError("give either --bin FILE, or --pairs FILE --images DIR")


def _add_verification(protocols: Commands, name: str, title: str) -> None:
    description, examples = VERIFICATION.format(title=title), VERIFICATION_EXAMPLES.format(name=name)
    parser = add_command(protocols, name, f"{title}: pairs of faces", description, examples)
    data = parser.add_argument_group("data (--bin, or --pairs with --images)")
    data.add_argument(
        "--bin", type=Path, metavar="FILE.bin", help=f"the {name}.bin of insightface (default: use --pairs)"
    )
    data.add_argument("--pairs", type=Path, metavar="FILE.txt", help="list of pairs (default: use --bin)")
    data.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder that the paths in the list are relative to (default: use --bin)",
    )
    _common_options(parser)


def _add_ijb(protocols: Commands, name: str) -> None:
    title, first, second = IJBS[name]
    description = IJB.format(title=title, name=name, first=first, second=second)
    examples = IJB_EXAMPLES.format(name=name, folder=name.upper())
    parser = add_command(protocols, name, f"{title}: templates of faces", description, examples)
    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with loose_crop/ and meta/")
    data.add_argument("--task", choices=TASKS, default="both", help="what to measure")
    _common_options(parser)


def _add_faces(protocols: Commands, name: str) -> None:
    title = FACES[name].partition(":")[0]
    summary = "all that the labels of a set allow" if name == "faces" else f"{title}: labelled faces"
    examples = FACES_EXAMPLES.format(name=name, set="utkface" if name == "faces" else f"{name}-test")
    parser = add_command(protocols, name, summary, FACES[name] + SETS, examples)
    data = parser.add_argument_group("data")
    set_options(data)
    data.add_argument(
        "--degraded",
        choices=DEGRADED,
        metavar="HOW",
        help=f"degrade the faces first: {', '.join(DEGRADED)} (default: as they are)",
    )
    if name == "clap2015":
        data.add_argument(
            "--part",
            choices=("val", "test"),
            default="test",
            help="part that the set is, which selects the paper's numbers to print beside the results",
        )
    if name == "fg-net":
        data.add_argument(
            "--leave-one-out",
            action="store_true",
            help="also measure after the line fitted to all other persons; the network is the same for all",
        )
    if name == "faces":
        data.add_argument("--groups", action="store_true", help="also measure by age, gender and lightness of the face")
    _common_options(parser)


def _add_impostors(protocols: Commands) -> None:
    parser = add_command(
        protocols, "impostors", "similarity of strangers, for the card", IMPOSTORS + SETS, IMPOSTORS_EXAMPLES
    )
    data = parser.add_argument_group("data")
    set_options(data)
    data.add_argument("--source", metavar="TEXT", help="source of the images, for the table (default: NAME of --set)")
    data.add_argument("--card", action="store_true", help="also write the table into the card beside the weights")
    _common_options(parser)


def _common_options(parser: argparse.ArgumentParser) -> None:
    results = parser.add_argument_group("results")
    results.add_argument(
        "--out", type=Path, metavar="FILE.json", help="also write the result to a file (default: only print it)"
    )
    results.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="leave out images that cannot be read; they are listed, and the exit code is 5",
    )
    network: Options = parser.add_argument_group("network")
    weights_option(network, default=None, required=True)
    device_option(network)
    precision_option(network)
    network.add_argument("--batch", type=_batch, default=32, metavar="N", help="faces per batch")
    threads_option(network)


def _batch(text: str) -> int:
    number = positive(text)
    if number > LARGEST_BATCH:
        raise argparse.ArgumentTypeError(f"{number} is more than {LARGEST_BATCH}")
    return number


_batch.__name__ = positive.__name__
