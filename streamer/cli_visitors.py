"""The part of the command line about visitors and journeys."""

import argparse

from faceanalytics.commandline import Commands, add_command, add_subcommands
from streamer.cli_cameras import server_options
from streamer.cli_people import PERSON, TRACK_ID

VISITORS = """See and change the visitors of a running streamer: people who are not in the gallery, under pseudonyms,
over cameras and days. They are off unless the configuration has `visitors: {enabled: true}`. Each change is an entry of
the ledger and can be undone with `streamer people undo`, except an erasure."""
VISITORS_EXAMPLES = """
streamer visitors list --since 1d
streamer visitors count --since 1d --hours
streamer visitors name 01a22d02-aeaf-7f5e-8da5-1de129b0dbfd "Ada Lovelace"
"""
JOURNEYS = """Print the ways of people and visitors over the cameras of a running streamer, by the cameras' clocks.
A journey is a visit: its appearances lie less than visitors.visit_gap_s apart. The time between two cameras has the
uncertainty of their clocks beside it; it is unknown for files."""
JOURNEYS_EXAMPLES = """
streamer journeys --since 1d
streamer journeys --person "Ada Lovelace" --camera door
"""
VISITOR = "id of the visitor, see `streamer visitors list`"
# command -> summary, what it does, example
ACTIONS = {
    "list": ("list visitors", "List visitors, the last one seen first.", "list --since 2h --min-visits 2"),
    "show": ("show a visitor", "Show a visitor with the appearances.", "show ID"),
    "count": (
        "count visitors",
        "Count different visitors, between which numbers their true number lies, visits and dwell.",
        "count --since 2026-05-01 --hours --cameras",
    ),
    "merge": ("make two visitors one", "Make two visitors one. The first one keeps the id.", "merge ID OTHER"),
    "split": ("make two of a visitor", "Say that tracks of a visitor show somebody else.", "split ID TRACK"),
    "name": (
        "name a visitor",
        "Make a person of a visitor. The past tracks get the name, and later ones are recognised.",
        'name ID "Ada Lovelace"',
    ),
    "erase": (
        "erase a visitor",
        "Erase pseudonym, templates and pictures of a visitor. This cannot be undone.",
        "erase ID --yes",
    ),
    "same": ("say that two tracks are one face", "Say that two tracks show the same face.", "same TRACK OTHER"),
    "different": (
        "say that two tracks are two people",
        "Say that two tracks show two people.",
        "different TRACK OTHER",
    ),
    "regroup": ("group all tracks again", "Group all tracks again now, as it is done every night.", "regroup"),
}


def add_visitors(commands: Commands) -> None:
    """Add `streamer visitors` and its commands."""
    parser = add_command(commands, "visitors", "see and change unknown visitors", VISITORS, VISITORS_EXAMPLES)
    actions = add_subcommands(parser, "action")
    made = {
        name: add_command(actions, name, summary, text, f"streamer visitors {example}")
        for name, (summary, text, example) in ACTIONS.items()
    }
    for name in ("list", "count"):
        _period(made[name], "list only what was seen by this camera; may be repeated (default: all)")
    made["list"].add_argument("--min-visits", type=int, default=0, metavar="COUNT", help="least number of visits")
    made["list"].add_argument("--named", action="store_true", help="list those who were named, too")
    made["count"].add_argument("--hours", action="store_true", help="count each hour, too")
    made["count"].add_argument("--cameras", action="store_true", help="count each camera, too")
    for name in ("show", "merge", "split", "name", "erase"):
        made[name].add_argument("visitor", metavar="VISITOR", help=VISITOR)
    made["merge"].add_argument("other", metavar="OTHER", help="id of the visitor to merge into the first")
    made["split"].add_argument("tracks", nargs="+", metavar="TRACK", help="id of a track that shows somebody else")
    made["name"].add_argument("name", nargs="?", metavar="NAME", help="name of a new person (default: use --person)")
    made["name"].add_argument("--person", metavar="PERSON", help=f"{PERSON} of the gallery (default: a new person)")
    made["erase"].add_argument("--yes", action="store_true", help="do not ask")
    for name in ("same", "different"):
        made[name].add_argument("track", metavar="TRACK", help=TRACK_ID)
        made[name].add_argument("other", metavar="OTHER", help="id of the other track")
    for name in ("merge", "split", "name", "same", "different"):
        made[name].add_argument("--dry-run", action="store_true", help="change nothing; print what would change")
    for command in made.values():
        _server(command)


def add_journeys(commands: Commands) -> None:
    """Add `streamer journeys`."""
    parser = add_command(commands, "journeys", "show the ways of people over cameras", JOURNEYS, JOURNEYS_EXAMPLES)
    parser.add_argument(
        "--visitor", action="append", default=[], metavar="VISITOR", help=f"{VISITOR}; may be repeated (default: all)"
    )
    parser.add_argument(
        "--person", action="append", default=[], metavar="PERSON", help=f"{PERSON}; may be repeated (default: all)"
    )
    _period(parser, "show only journeys by this camera; may be repeated (default: all)")
    parser.add_argument(
        "--min-cameras", type=int, default=2, metavar="COUNT", help="least number of cameras (default: %(default)s)"
    )
    _server(parser)


def _period(command: argparse.ArgumentParser, camera: str) -> None:
    command.add_argument("--camera", action="append", default=[], metavar="ID", help=camera)
    command.add_argument(
        "--since", metavar="TIME", help="seen since: 2h, 7d, 2026-05-01 or 2026-05-01T08:30, local time (default: ever)"
    )
    command.add_argument("--before", metavar="TIME", help="seen before this time (default: now)")


def _server(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")
    server_options(command)
