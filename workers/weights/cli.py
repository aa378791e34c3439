"""`swinface weights`: list, download, check and locate weights by name."""

import argparse

from faceanalytics.commandline import Commands, add_command, add_subcommands
from faceanalytics.errors import ModelError

WEIGHTS = """List, download and check weights that have a name: those bundled with the project, and known public ones.
Wherever --weights is accepted, so is the name of a face model. For a detector, give --detector "$(swinface weights path
NAME)"."""
EXAMPLES = """
swinface weights list
swinface weights pull yolov8n-face
streamer detect --detector "$(swinface weights path yolov8n-face)" image.jpg
swinface weights pull swinface-official --url https://files.example.com/checkpoint_step_79999_gpu_0.pt
swinface infer --weights swinface-official face.jpg
"""
NOTES = """Downloads go to ~/.cache/faceanalytics/weights, or to the folder $FACEANALYTICS_WEIGHTS. If the source of a
file states its sha256, the file must match it. If not, the sha256 of the first download is recorded beside the file
(.sha256), and the file and later downloads must match that one: it reveals a change, but does not vouch for the first
download."""
LIST = """List all weights that have a name: their licence, their source, and whether they are on this machine."""
PULL = """Download weights and check their sha256."""
PULL_EXAMPLES = """
swinface weights pull yolov8n-face
swinface weights pull swinface-official --url https://files.example.com/checkpoint_step_79999_gpu_0.pt
"""
VERIFY = """Compare files with their sha256. The exit code is 4 if one of them does not match."""
VERIFY_EXAMPLES = """
swinface weights verify
swinface weights verify yolov8n-face
"""
PATH = """Print the path of the file of downloaded or bundled weights, after checking its sha256."""
PATH_EXAMPLES = """
swinface weights path yolov8n-face
streamer detect --detector "$(swinface weights path yolov8n-face)" image.jpg
"""
NAME = "name that `swinface weights list` shows"


def add_weights(commands: Commands) -> None:
    """Add `swinface weights` and its actions."""
    parser = add_command(commands, "weights", "list, download and check weights by name", WEIGHTS, EXAMPLES, NOTES)
    actions = add_subcommands(parser, "action", "ACTION")
    add_command(actions, "list", "list all weights that have a name", LIST, "swinface weights list")
    pull = add_command(actions, "pull", "download weights", PULL, PULL_EXAMPLES, NOTES)
    pull.add_argument("name", metavar="NAME", help=NAME)
    pull.add_argument("--url", help="https address of the same file elsewhere (default: the known source)")
    verify = add_command(actions, "verify", "compare files with their sha256", VERIFY, VERIFY_EXAMPLES, NOTES)
    verify.add_argument("names", nargs="*", metavar="NAME", help=f"{NAME} (default: all bundled and downloaded ones)")
    path = add_command(actions, "path", "print where a file is", PATH, PATH_EXAMPLES)
    path.add_argument("name", metavar="NAME", help=NAME)


def weights(arguments: argparse.Namespace) -> int:
    """Run an action and return its exit code. Raises UserError."""
    actions = {"list": _list, "pull": _pull, "verify": _verify, "path": _path}
    return actions[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    from workers.weights.registry import registry

    del arguments
    for name, entry in registry().items():
        place = "bundled" if entry.bundled else "downloaded"
        print(f"{name}: {entry.what}, {place if entry.path.exists() else 'not on this machine'}")
        print(f"  terms: {entry.terms}\n  source: {entry.source}")
        if not entry.bundled:
            print(f"  sha256: {entry.sha256 or 'not stated by its source, that of the first download is recorded'}")
    return 0


def _pull(arguments: argparse.Namespace) -> int:
    from workers.weights.pull import pull
    from workers.weights.registry import entry

    outcome = pull(arguments.name, arguments.url)
    chosen = entry(arguments.name)
    print(f"{chosen.path}: {outcome}\nterms: {chosen.terms}; {chosen.source}")
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
