"""The part of the command line about people: those of a running streamer, and those of recorded videos."""

import argparse
from pathlib import Path

from faceanalytics.commandline import Commands, add_command, add_subcommands
from streamer.cli_cameras import server_options
from streamer.cli_people_audit import AUDIT_ACTIONS, audit_arguments
from streamer.cli_people_more import MORE_ACTIONS, more_arguments

PEOPLE_ACROSS = """Find the people of many recordings: one list, with the recordings and times in which each appears.
The recordings must have been analysed by one model and with `streamer analyze --embeddings`, because people are
compared by the embeddings of their tracks. Several videos in one run of `streamer analyze` give the same list
without them."""
PEOPLE_ACROSS_EXAMPLES = """
streamer people-across monday/ tuesday/ --out people.jsonl
streamer people-across results/ --json
"""
NOTES = """Recordings of the same content count once. The exit code is 5 if some results cannot be read, and 3 if all of
them cannot."""


def add_people_across(commands: Commands) -> None:
    """Add `streamer people-across`."""
    parser = add_command(
        commands, "people-across", "find people across recordings", PEOPLE_ACROSS, PEOPLE_ACROSS_EXAMPLES, NOTES
    )
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folder that `streamer analyze` wrote, or one with such folders in it, at any depth",
    )
    parser.add_argument("--out", type=Path, metavar="FILE.jsonl", help="also write the list to this file")
    parser.add_argument("--json", action="store_true", help="print the list as JSON lines, not as a table")
    parser.add_argument("--config", type=Path, metavar="CONFIG", help="YAML file, see configs/ (default: all defaults)")


PEOPLE = """See and change the people whom a running streamer recognises. Each change is an entry of a ledger and can be
undone, except an erasure. A person is named by id, or by name if nobody else has it."""
PEOPLE_EXAMPLES = """
streamer people add "Ada Lovelace" ada1.jpg ada2.jpg
streamer people import people/
streamer people confirm 01a22d02-aeaf-7f5e-8da5-1de129b0dbfd "Ada Lovelace"
streamer people reject 01a22d02-aeaf-7f5e-8da5-1de129b0dbfd
streamer people undo 12
streamer people erase "Ada Lovelace" --yes
"""
PERSON = "id or name of the person"
FILES = "images, videos, zip archives, or folders with images and videos"
TRACK_ID = "id of the track, live or past, see `streamer watch --json`"
IMAGE_NOTES = "The exit code is 5 if some of the images are refused, and 3 if all of them are; the reasons are printed."
# command -> summary, what it does, example
ACTIONS = {
    "add": ("add a person", "Add a person, with images if they are given.", 'add "Ada Lovelace" ada.jpg'),
    "list": ("list people", "List people with their numbers of references.", "list --label staff"),
    "show": ("show a person", "Show a person with references and ledger.", 'show "Ada Lovelace"'),
    "enrol": (
        "add images to a person",
        "Add the faces of images to a person, and some good pictures of each video that shows nobody else.",
        "enrol Ada ada3.jpg photos.zip clip.mp4",
    ),
    "confirm": (
        "say whom a track shows",
        "Say that a track shows a person, its best candidate, or somebody new. Their face is learnt from it.",
        "confirm 01a22d02-aeaf-7f5e-8da5-1de129b0dbfd --new Ada",
    ),
    "reject": (
        "say whom a track does not show",
        "Say that a track does not show a person, or the one whom it is identified as.",
        "reject 01a22d02-aeaf-7f5e-8da5-1de129b0dbfd",
    ),
    "merge": ("make two people one", "Make two people one. The first one keeps the name.", "merge Ada Visitor"),
    "rename": ("rename a person", "Give a person another name, also in all past tracks.", "rename Visitor Ada"),
    "undo": ("undo an entry of the ledger", "Undo an entry of the ledger, which may be an undo.", "undo 12 --dry-run"),
    "ledger": ("list what was done", "List the entries of the ledger, newest first.", "ledger --limit 20"),
    "set-aside": ("compare no longer with a reference", "Keep a reference without comparing with it.", "set-aside ID"),
    "restore": ("compare with a reference again", "Compare with a reference again.", "restore ID"),
    "delete-reference": ("delete a reference", "Delete a reference. This cannot be undone.", "delete-reference ID"),
    "search": (
        "search for a face",
        "Search people, and past tracks with --past, for the face of an image or a track.",
        "search unknown.jpg --past",
    ),
    "erase": (
        "erase a person",
        "Erase a person and everything that identifies them, and print a report. This cannot be undone.",
        "erase Ada --yes",
    ),
    "import": (
        "add people from folders or an export",
        "Add a person for each sub-folder of a folder or zip archive, named after it, with the images and videos in "
        "it. Who has the name already gets the images that are missing. Or add everybody of a file that `streamer "
        "people export` has written.",
        "import people/",
    ),
}


def add_people(commands: Commands) -> None:
    """Add `streamer people` and its commands."""
    parser = add_command(commands, "people", "see and change whom a streamer recognises", PEOPLE, PEOPLE_EXAMPLES)
    actions = add_subcommands(parser, "action")
    made = {
        name: add_command(actions, name, summary, text, f"streamer people {example}")
        for name, (summary, text, example) in {**ACTIONS, **AUDIT_ACTIONS, **MORE_ACTIONS}.items()
    }
    _people_arguments(made)
    audit_arguments(made)
    more_arguments(made)
    for name in ("add", "enrol", "import"):
        made[name].epilog = f"{made[name].epilog}\n\n{IMAGE_NOTES}"
        made[name].add_argument(
            "--judgement",
            choices=("off", "standard", "strict"),
            default="standard",
            help="how much is asked of an image: off takes any face, strict a single one of high quality",
        )
    for name in ("confirm", "reject", "merge", "split", "undo"):
        made[name].add_argument("--dry-run", action="store_true", help="change nothing; print what would change")
    for command in made.values():
        command.add_argument("--json", action="store_true", help="print JSON")
        server_options(command)


def _people_arguments(made: dict[str, argparse.ArgumentParser]) -> None:
    made["add"].add_argument("name", metavar="NAME", help="name of the person")
    made["add"].add_argument("images", nargs="*", type=Path, metavar="FILE", help=FILES)
    for name in ("add", "list"):
        made[name].add_argument("--label", action="append", default=[], metavar="TEXT", help="label; may be repeated")
    made["add"].add_argument(
        "--data", action="append", default=[], metavar="KEY=VALUE", help="further data; may be repeated"
    )
    made["list"].add_argument("--name", default="", metavar="NAME", help="list only people of this name (default: all)")
    made["list"].add_argument(
        "--text", default="", metavar="TEXT", help="list only people with this in the name or a label (default: all)"
    )
    for name in ("show", "enrol", "erase", "merge", "rename"):
        made[name].add_argument("person", metavar="PERSON", help=PERSON)
    made["enrol"].add_argument("images", nargs="+", type=Path, metavar="FILE", help=FILES)
    made["merge"].add_argument("other", metavar="OTHER", help="id or name of the person to merge into the first")
    made["rename"].add_argument("name", metavar="NAME", help="the new name")
    for name in ("confirm", "reject"):
        made[name].add_argument("track", metavar="TRACK", help=TRACK_ID)
    made["confirm"].add_argument(
        "person", nargs="?", metavar="PERSON", help=f"{PERSON} (default: the best candidate of the track)"
    )
    made["confirm"].add_argument("--new", metavar="NAME", help="add a person of this name (default: nobody is added)")
    made["reject"].add_argument(
        "person", nargs="?", metavar="PERSON", help=f"{PERSON} (default: whom the track is identified as)"
    )
    made["undo"].add_argument(
        "entry", type=int, metavar="ENTRY", help="number of the entry, see `streamer people ledger`"
    )
    made["ledger"].add_argument(
        "--limit", type=int, default=50, metavar="COUNT", help="print at most this many entries"
    )
    for name in ("set-aside", "restore", "delete-reference"):
        made[name].add_argument("reference", metavar="ID", help="id of the reference, see `streamer people show`")
    made["search"].add_argument("image", nargs="?", type=Path, metavar="IMAGE", help="an image (default: use --track)")
    made["search"].add_argument("--track", metavar="TRACK", help=f"{TRACK_ID} (default: use the image)")
    made["search"].add_argument("--past", action="store_true", help="search past tracks, too")
    made["search"].add_argument(
        "--limit", type=int, default=10, metavar="COUNT", help="print at most this many of each"
    )
    made["erase"].add_argument("--yes", action="store_true", help="do not ask")
    made["import"].add_argument(
        "folder", type=Path, metavar="PLACE", help="folder or zip archive with one sub-folder per person, or an export"
    )
