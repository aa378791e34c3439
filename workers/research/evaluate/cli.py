"""`swinface evaluate`: its arguments. Nothing heavy is imported before it is needed."""

import argparse
from pathlib import Path
from typing import TypeAlias

from faceanalytics.errors import PARTIAL_RESULT, ConfigError
from workers.swinface.precisions import PRECISIONS

EVALUATE = """Measure weights by a protocol of the paper, and print each number beside the paper's. --out writes one
JSON file with the checksums of the weights and of the data; the same inputs give the same file."""
EVALUATE_EXAMPLES = """examples:
  swinface evaluate lfw --weights weights.safetensors --bin faces_emore/lfw.bin --out lfw.json
  swinface evaluate ijbc --weights weights.safetensors --data IJBC/ --device cuda:0 --precision bf16 --batch 256
  swinface evaluate raf-db --weights weights.safetensors --config sets.yaml --set raf-db-test
  swinface evaluate faces --weights weights.safetensors --config sets.yaml --set utkface

Exit codes: 0 done, 2 usage or configuration, 3 data unreadable, 4 weights or device not usable, 5 measured without
the images that could not be read (--skip-unreadable). `swinface evaluate PROTOCOL --help` says what each needs."""
VERIFICATION = """{title}: ten-fold accuracy (best threshold of nine folds judged on the tenth) and
VAL@FAR=1e-3, embeddings f(x) + f(mirrored x). A .bin file of insightface has images and pairs; otherwise a list
names pairs of images in a folder: LFW's pairs.txt (name/name_0001.jpg), or lines `path path 0|1 [fold]`, with tabs
if there are blanks in paths. Without folds in it the list is parted into ten, in order.
Images of 112x112 pixels are taken as they are, others are resized whole: align them before."""
IJB = """{title}: 1:1 TAR@FAR; 1:N rank-1, rank-5 and TPIR@FPIR, the mean of the two galleries. DIR has
loose_crop/ and meta/ as insightface distributes them: {name}_face_tid_mid.txt, {name}_name_5pts_score.txt;
1:1 {name}_template_pair_label.txt; 1:N {name}_1N_gallery_{first}.csv, {name}_1N_gallery_{second}.csv and
{name}_1N_probe_mixed.csv. Faces are aligned by the five points; features of one image: f(x) + f(mirrored x), times
the detector's score; of a template: mean in each medium, sum over media."""
FACES = {
    "raf-db": "RAF-DB: accuracy of the expression over all faces (the paper's), and the mean over the seven classes.",
    "celeba": "CelebA: accuracy of each of the 40 attributes, and their mean.",
    "clap2015": "CLAP2015 (ChaLearn LAP): mean absolute error and epsilon-error of apparent age, and CS@5.",
    "fg-net": """FG-NET: mean absolute error of age over faces and over persons, and CS@5. The published code has one
model for all persons. Leave-one-person-out means a model finetuned without each person: --leave-one-out does not do
that, but judges each person after a line age' = a * age + b that was fitted on the faces of all the others.""",
    "faces": """Any set: all that its labels and the weights' outputs allow. Age: mean absolute error, CS@5,
epsilon-error. Gender, attributes: accuracy. Expression: accuracy, mean over classes. Persons: ten-fold accuracy of at
most 6000 pairs drawn by LFW's rule (balanced, persons disjoint between folds), rank-1 against the first face of each
person; embeddings f(x) + f(mirrored x). What cannot be measured is said.""",
}
IMPOSTORS = """How similar strangers are: the cosines of everybody of a set with everybody else, compared as a gallery
compares them. The streamer's thresholds for a stated false-accept rate follow from this table, if the weights' card
has it (--card); so take people whom the weights were not trained on, and many: a rate R for a gallery of N people takes
10 N / R pairs, that is sqrt(20 N / R) people. At most 3000 people and 5 images of each are taken."""
SETS = "\nThe set and its images are what --config says under `sets`; choose its test part there."
TITLES = {"lfw": "LFW", "cfp_fp": "CFP-FP", "agedb_30": "AgeDB-30", "calfw": "CALFW", "cplfw": "CPLFW"}
IJBS = {"ijbb": ("IJB-B", "S1", "S2"), "ijbc": ("IJB-C", "G1", "G2")}
TASKS = {"1:1": ("1:1",), "1:N": ("1:N",), "both": ("1:1", "1:N")}
DEGRADED = ("small-24", "small-32", "blurred", "dark")  # those of evaluate.degrade, which imports cv2
LARGEST_BATCH = 1024
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_evaluate(commands: Commands) -> None:
    """Add `evaluate` with its protocols to the commands of `swinface`."""
    parser = _command(commands, "evaluate", "measure weights by a protocol", EVALUATE, EVALUATE_EXAMPLES)
    protocols = parser.add_subparsers(dest="protocol", metavar="PROTOCOL", required=True)
    for name, title in TITLES.items():
        _add_verification(protocols, name, title)
    for name in IJBS:
        _add_ijb(protocols, name)
    for name in FACES:
        _add_faces(protocols, name)
    _add_impostors(protocols)


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure, and return the exit code. Raises UserError."""
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
    """Raise ConfigError for options that do not fit each other."""
    if arguments.protocol not in TITLES:
        return
    if (arguments.pairs is None) != (arguments.images is None):
        raise ConfigError("--pairs and --images go together: the list, and the folder of its images")
    if (arguments.bin is None) == (arguments.pairs is None):
        raise ConfigError("give either --bin FILE, or --pairs FILE --images DIR")


def _add_verification(protocols: Commands, name: str, title: str) -> None:
    parser = _command(protocols, name, f"{title}: pairs of faces", VERIFICATION.format(title=title), "")
    parser.add_argument("--bin", type=Path, metavar="FILE", help=f"insightface's {name}.bin")
    parser.add_argument("--pairs", type=Path, metavar="FILE", help="list of pairs")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder that the paths of the list are below")
    _common_options(parser)


def _add_ijb(protocols: Commands, name: str) -> None:
    title, first, second = IJBS[name]
    description = IJB.format(title=title, name=name, first=first, second=second)
    parser = _command(protocols, name, f"{title}: templates of faces", description, "")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of loose_crop/ and meta/")
    parser.add_argument("--task", choices=TASKS, default="both", help="what is measured (default: %(default)s)")
    _common_options(parser)


def _add_faces(protocols: Commands, name: str) -> None:
    title = FACES[name].partition(":")[0]
    help_ = "whatever the labels of a set allow" if name == "faces" else f"{title}: labelled faces"
    parser = _command(protocols, name, help_, FACES[name] + SETS, "")
    parser.add_argument("--config", type=Path, required=True, metavar="CONFIG", help="YAML with sets")
    parser.add_argument("--set", required=True, metavar="NAME", help="which set of it")
    if name == "clap2015":
        parser.add_argument(
            "--part",
            choices=("val", "test"),
            default="test",
            help="which part the set is, so which of the paper's numbers stand beside (default: %(default)s)",
        )
    if name == "fg-net":
        parser.add_argument(
            "--leave-one-out",
            action="store_true",
            help="also after a line fitted on all other persons; the network itself is the same for all",
        )
    if name == "faces":
        parser.add_argument("--groups", action="store_true", help="also by age, gender and lightness of the face")
    parser.add_argument("--degraded", choices=DEGRADED, metavar="HOW", help=f"faces made worse: {', '.join(DEGRADED)}")
    _common_options(parser)


def _add_impostors(protocols: Commands) -> None:
    parser = _command(protocols, "impostors", "how similar strangers are, for the card", IMPOSTORS + SETS, "")
    parser.add_argument("--config", type=Path, required=True, metavar="CONFIG", help="YAML with sets")
    parser.add_argument("--set", required=True, metavar="NAME", help="which set of it")
    parser.add_argument("--source", metavar="TEXT", help="whose images they are, for messages (default: NAME)")
    parser.add_argument("--card", action="store_true", help="also write the table into the card beside the weights")
    _common_options(parser)


def _common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        required=True,
        metavar="WEIGHTS",
        help="published checkpoint (.pt), .safetensors, or a name that `swinface weights list` shows, `default` for "
        "the small model that comes with the project; `untrained` for tests of the plumbing only",
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the result (default: only print it)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N, without fallback (default: %(default)s)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="what the network computes in (default: %(default)s)"
    )
    parser.add_argument("--batch", type=_batch, default=32, metavar="N", help="faces at once (default: %(default)s)")
    parser.add_argument("--threads", type=_positive, metavar="N", help="CPU threads (default: one per core)")
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="measure without images that cannot be read; they are listed, and the exit code is 5",
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


def _batch(text: str) -> int:
    number = _positive(text)
    if number > LARGEST_BATCH:
        raise argparse.ArgumentTypeError(f"{number} is more than {LARGEST_BATCH}")
    return number
