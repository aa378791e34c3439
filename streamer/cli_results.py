"""The part of the command line that reads the results of recorded videos: other files made of them, and checks."""

import argparse
from functools import partial
from pathlib import Path

from faceanalytics.commandline import Commands, Options, add_command, add_subcommands

TABLES = ("parquet", "csv", "jsonl")
FORMATS = ("mot", "webvtt", "eaf", "faces", "contact-sheet")
EXPORT = """Make other files of the results of `streamer analyze`, beside them: tables for pandas, polars, DuckDB and
spreadsheets; MOT text, WebVTT and ELAN annotations; pictures of the people. The options are those of `streamer
analyze`, which makes the same files at once."""
EXPORT_EXAMPLES = """
streamer export results/ --tables parquet
streamer export results/ --tables parquet,csv,jsonl --formats webvtt,eaf
streamer export results/ --formats mot --mot-ids people
streamer export results/ --formats faces,contact-sheet --video clip.mp4
"""
RESULTS = """Check results against their schema, or print the JSON Schema of every record and table."""
RESULTS_EXAMPLES = """
streamer results validate results/
streamer results schema > results.schema.json
"""
VALIDATE = """Check every line of results against the JSON Schema, and the files against each other: one run, frames in
order, counts, known tracks and people. The exit code is 0 if all is well, else 3."""
VALIDATE_EXAMPLES = """
streamer results validate results/
streamer results validate monday/ tuesday/
"""
SCHEMA = """Print the JSON Schema of the records that `streamer analyze` writes and of the rows of the tables, with
units and descriptions."""
SCHEMA_EXAMPLES = """
streamer results schema > results.schema.json
"""
FOLDERS = "folder that `streamer analyze` wrote, or one with such folders in it"


def export_options(parser: Options, mot_ids: bool = True) -> None:
    """Add the options that name files to make of the results. `mot_ids`: also the one that says how MOT text counts."""
    parser.add_argument(
        "--tables",
        type=partial(_names, TABLES),
        default=(),
        metavar="FORMATS",
        help="also write the tables frames, tracks, people and analyses to the folder tables/, as parquet, csv or "
        "jsonl, or several of them separated by commas",
    )
    parser.add_argument(
        "--formats",
        type=partial(_names, FORMATS),
        default=(),
        metavar="FORMATS",
        help="also write mot (MOTChallenge text, folder mot/), webvtt (people.vtt, and people.metadata.vtt with JSON), "
        "eaf (people.eaf for ELAN), faces (a picture of each person, folder faces/) or contact-sheet (all people on "
        "contact-sheet.jpg), or several of them separated by commas",
    )
    if not mot_ids:
        return
    parser.add_argument(
        "--mot-ids",
        choices=("tracks", "people"),
        default="tracks",
        help="ids of the MOT text: numbers of tracks, or of people, who keep theirs when they return (default: tracks)",
    )


def add_export(commands: Commands) -> None:
    """Add `streamer export`."""
    parser = add_command(commands, "export", "make tables and other files of results", EXPORT, EXPORT_EXAMPLES)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help=FOLDERS)
    files = parser.add_argument_group("files")
    export_options(files)
    files.add_argument(
        "--video",
        action="append",
        type=Path,
        default=[],
        metavar="VIDEO|DIR",
        help="the video that was analysed, for faces and contact-sheet; with results of several videos, the folder "
        "with them; may be repeated",
    )


def add_results(commands: Commands) -> None:
    """Add `streamer results` with its commands."""
    parser = add_command(commands, "results", "check results, print their schema", RESULTS, RESULTS_EXAMPLES)
    actions = add_subcommands(parser, "action")
    validate = add_command(actions, "validate", "check results", VALIDATE, VALIDATE_EXAMPLES)
    validate.add_argument("results", nargs="+", type=Path, metavar="DIR", help=FOLDERS)
    add_command(actions, "schema", "print the JSON Schema of results", SCHEMA, SCHEMA_EXAMPLES)


def _names(known: tuple[str, ...], text: str) -> tuple[str, ...]:
    """Parse names separated by commas, and return them in the order of those that are known."""
    wanted = {name.strip() for name in text.split(",")}
    if unknown := wanted - set(known):
        names = ", ".join(sorted(map(repr, unknown)))
        raise argparse.ArgumentTypeError(f"{names}: choose from {', '.join(known)}")
    return tuple(name for name in known if name in wanted)
