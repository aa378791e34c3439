"""The command `streamer aggregates`: what cameras have counted whose tracks are not published."""

import argparse

from faceanalytics.commandline import Commands, add_command
from streamer.cli_cameras import server_options
from streamer.commands_cameras import connect, with_port

AGGREGATES = """List what cameras in the privacy mode aggregate_only have counted, one line per camera and interval:
tracks, their ages, expressions and time in view. Ages and the rest are left out if there were few tracks
(privacy.min_tracks)."""
AGGREGATES_EXAMPLES = """
streamer aggregates
streamer aggregates --stream door --hours 24 --json
"""


def add_aggregates(commands: Commands) -> None:
    """Add `streamer aggregates`."""
    text = "list the counts of cameras that publish no tracks"
    parser = add_command(commands, "aggregates", text, AGGREGATES, AGGREGATES_EXAMPLES)
    parser.add_argument(
        "--stream",
        action="append",
        default=[],
        metavar="NAME",
        help="only this camera; may be repeated (default: all)",
    )
    parser.add_argument(
        "--hours", type=float, metavar="HOURS", help="only the last hours (default: everything that is kept)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object per line")
    server_options(parser)


def aggregates(arguments: argparse.Namespace) -> int:
    """Run `streamer aggregates` and return its exit code."""
    from streamer.tools.aggregates import show

    server, names = with_port(arguments.server), arguments.stream
    return show(server, names, arguments.hours, arguments.json, connect(arguments))
