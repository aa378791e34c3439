"""The part of the command line that splits people, and moves a gallery into a file and back."""

import argparse
from pathlib import Path

# command -> summary, what it does, example
MORE_ACTIONS = {
    "split": (
        "split a person who mixes two",
        "Give some references of a person, and what was said about some tracks, to another person or a new one. Past "
        "tracks are decided again.",
        'split Ada --new "Eve" --reference 01a22d02-aeaf-7f5e-8da5-1de129b0dbfd',
    ),
    "export": (
        "write people into an encrypted file",
        "Write people with their references into one file, encrypted with a passphrase: everybody, or those who are "
        "named and those with a label. People of gallery.folder are not in it. The streamer keeps who has made it and "
        "when, and lists it when somebody in it is erased.",
        "export gallery.fagallery --passphrase-file secret.txt",
    ),
}


def more_arguments(made: dict[str, argparse.ArgumentParser]) -> None:
    """Add the options of these commands, and of `import` and `enrol`."""
    split = made["split"]
    split.add_argument("person", metavar="PERSON", help="id or name of the person who mixes two")
    split.add_argument("--new", metavar="NAME", help="add a person of this name for them (default: use --to)")
    split.add_argument("--to", metavar="OTHER", help="id or name of the person who gets them (default: use --new)")
    split.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="ID",
        help="reference that goes, see `streamer people show`; may be repeated",
    )
    split.add_argument(
        "--track", action="append", default=[], metavar="TRACK", help="track that shows the other one; may be repeated"
    )
    made["export"].add_argument("file", type=Path, metavar="FILE", help="file to write, such as gallery.fagallery")
    for option, dest, what in (
        ("--person", "people", "id or name of somebody to write; may be repeated (default: everybody)"),
        ("--label", "labels", "write those who have this label; may be repeated (default: everybody)"),
    ):
        metavar = option[2:].upper()
        made["export"].add_argument(option, dest=dest, action="append", default=[], metavar=metavar, help=what)
    for name in ("export", "import"):
        made[name].add_argument(
            "--passphrase-file",
            type=Path,
            metavar="FILE",
            help="file with the passphrase of an encrypted gallery (default: ask for it)",
        )
    for name in ("add", "enrol"):
        made[name].add_argument(
            "--track",
            dest="use",
            type=int,
            metavar="NUMBER",
            help="which face to use of a video that shows several people, by its number in the refusal (default: "
            "refuse such videos)",
        )
