"""`swinface weights`: which weights have a name, and their files."""

import argparse
from typing import TypeAlias

from faceanalytics.errors import ModelError

WEIGHTS = """Weights that have a name: those that come with the project, and known public ones. The name of a face model
may stand wherever --weights is asked for; for a detector give --detector "$(swinface weights path NAME)"."""
EXAMPLES = """examples:
  swinface weights list
  swinface weights pull yolov8n-face
  streamer detect --detector "$(swinface weights path yolov8n-face)" image.jpg
  swinface weights pull swinface-official --url https://files.example.com/checkpoint_step_79999_gpu_0.pt
  swinface infer --weights swinface-official face.jpg

Downloads go to ~/.cache/faceanalytics/weights, or to the folder $FACEANALYTICS_WEIGHTS. A file whose source states its
sha256 must have it. Where it states none, that of the first download is recorded beside the file (.sha256), and from
then on the file and later downloads must have it: that shows a change, it does not vouch for the first one."""
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_weights(commands: Commands) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser(
        "weights",
        help="weights that have a name: list, download, check them",
        description=WEIGHTS,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="what there is, on which terms, and whether it is here")
    pull = actions.add_parser("pull", help="download one")
    pull.add_argument("name", metavar="NAME")
    pull.add_argument("--url", help="another https address of the same file")
    verify = actions.add_parser("verify", help="compare files with their sha256")
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here, and the bundled ones")
    path = actions.add_parser("path", help="print where the file of one is")
    path.add_argument("name", metavar="NAME")


def weights(arguments: argparse.Namespace) -> int:
    """Do one of the actions, and return the exit code. Raises UserError."""
    actions = {"list": _list, "pull": _pull, "verify": _verify, "path": _path}
    return actions[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    from workers.weights.registry import registry

    del arguments
    for name, entry in registry().items():
        place = "comes with the project" if entry.bundled else "downloaded"
        print(f"{name}: {entry.what}, {place if entry.path.exists() else 'not here'}")
        print(f"  terms: {entry.terms}\n  source: {entry.source}")
        if not entry.bundled:
            print(f"  sha256: {entry.sha256 or 'not stated by its source, that of the first download counts'}")
    return 0


def _pull(arguments: argparse.Namespace) -> int:
    from workers.weights.pull import pull
    from workers.weights.registry import entry

    told = pull(arguments.name, arguments.url)
    chosen = entry(arguments.name)
    print(f"{chosen.path}: {told}\nterms: {chosen.terms}; {chosen.source}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from workers.weights.registry import registry, verify

    here = [name for name, entry in registry().items() if entry.bundled or entry.path.exists()]
    wrong = 0
    for name in arguments.names or here:
        try:
            print(f"{name}: {verify(name)}")
        except ModelError as error:
            print(f"{name}: WRONG, {error}")
            wrong += 1
    return ModelError.exit_code if wrong else 0


def _path(arguments: argparse.Namespace) -> int:
    from workers.weights.registry import entry, verify

    verify(arguments.name)
    print(entry(arguments.name).path)
    return 0
