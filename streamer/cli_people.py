"""The part of the command line that finds people across the results of recorded videos."""

from pathlib import Path

from faceanalytics.commandline import Commands, add_command

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
