"""The part of the command line that reads the results of recorded videos: other files made of them, and checks."""

import argparse
from pathlib import Path

from faceanalytics.commandline import Commands, Options, add_command, add_subcommands

TABLES = ("parquet", "csv", "jsonl")
EXPORT = """Make other files of the results of `streamer analyze`, beside them: tables for pandas, polars, DuckDB and
spreadsheets. The options are those of `streamer analyze`, which makes the same files at once."""
EXPORT_EXAMPLES = """
streamer export results/ --tables parquet
streamer export results/ --tables parquet,csv,jsonl
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


def export_options(parser: Options) -> None:
    """Add the options that name files to make of the results."""
    parser.add_argument(
        "--tables",
        type=_formats,
        default=(),
        metavar="FORMATS",
        help="also write the tables frames, tracks, people and analyses to the folder tables/, as parquet, csv or "
        "jsonl, or several of them separated by commas",
    )


def add_export(commands: Commands) -> None:
    """Add `streamer export`."""
    parser = add_command(commands, "export", "make tables and other files of results", EXPORT, EXPORT_EXAMPLES)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help=FOLDERS)
    export_options(parser.add_argument_group("files"))


def add_results(commands: Commands) -> None:
    """Add `streamer results` with its commands."""
    parser = add_command(commands, "results", "check results, print their schema", RESULTS, RESULTS_EXAMPLES)
    actions = add_subcommands(parser, "action")
    validate = add_command(actions, "validate", "check results", VALIDATE, VALIDATE_EXAMPLES)
    validate.add_argument("results", nargs="+", type=Path, metavar="DIR", help=FOLDERS)
    add_command(actions, "schema", "print the JSON Schema of results", SCHEMA, SCHEMA_EXAMPLES)


def _formats(text: str) -> tuple[str, ...]:
    """Parse names of forms of tables, separated by commas, in the order in which they are listed here."""
    wanted = {name.strip() for name in text.split(",")}
    if unknown := wanted - set(TABLES):
        names = ", ".join(sorted(map(repr, unknown)))
        raise argparse.ArgumentTypeError(f"{names}: choose from {', '.join(TABLES)}")
    return tuple(name for name in TABLES if name in wanted)
