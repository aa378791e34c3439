"""The part of the command line that has recordings analysed by a running streamer."""

import argparse
from pathlib import Path

from faceanalytics.commandline import Commands, add_command, add_subcommands
from streamer.cli_analyze import file_options, made_options, part_options
from streamer.cli_cameras import server_options
from streamer.cli_results import export_options

JOBS = """Have recordings analysed by a running streamer, with its workers and settings, while it follows its cameras,
which go first. The results are the files of `streamer analyze`. Jobs go on after a restart of the streamer."""
JOBS_EXAMPLES = """
streamer jobs add clip.mp4
streamer jobs add clip.mp4 --report --out results/ --server 10.0.0.7 --token-file me.token
streamer jobs list
streamer jobs results 019ad7f2c1d4a17b3cb26d10 --out results/
"""
ADD = """Upload a recording, or name one on the streamer's machine, and add a job for it. Prints the id of the job."""
ADD_EXAMPLES = """
streamer jobs add clip.mp4
streamer jobs add clip.mp4 --effort 3 --tables parquet --watch
streamer jobs add --path /srv/videos/monday.mp4 --request-id monday --out results/
"""
LIST = "List the jobs with their states and progress, oldest first."
LIST_EXAMPLES = """
streamer jobs list
streamer jobs list --state running --state queued --json
"""
WATCH = """Show the progress of a job until it ends. The exit code is 0 if it succeeded, 3 if it failed and 5 if it was
cancelled."""
CANCEL = "Stop jobs, and remove what they have written."
DELETE = "Remove jobs that have ended, with their results."
RESULTS = """List the files that a job has made, or with --out fetch them. A file that is there and whole is not fetched
again; one that was cut off is continued."""
RESULTS_EXAMPLES = """
streamer jobs results 019ad7f2c1d4a17b3cb26d10
streamer jobs results 019ad7f2c1d4a17b3cb26d10 --out results/
"""
STATES = ("queued", "running", "succeeded", "failed", "cancelled")
EXAMPLE = "019ad7f2c1d4a17b3cb26d10"


def add_jobs(commands: Commands) -> None:
    """Add `streamer jobs` and its commands."""
    parser = add_command(commands, "jobs", "have recordings analysed by a running streamer", JOBS, JOBS_EXAMPLES)
    actions = add_subcommands(parser, "action")
    _adding(add_command(actions, "add", "add a job", ADD, ADD_EXAMPLES))
    listing = add_command(actions, "list", "list the jobs", LIST, LIST_EXAMPLES)
    listing.add_argument(
        "--state", action="append", choices=STATES, default=[], help="only jobs in this state; may be repeated"
    )
    watching = add_command(actions, "watch", "show the progress of a job", WATCH, f"streamer jobs watch {EXAMPLE}")
    watching.add_argument("jobs", nargs=1, metavar="JOB", help="id of the job")
    for name, summary, text in (("cancel", "stop jobs", CANCEL), ("delete", "remove jobs", DELETE)):
        command = add_command(actions, name, summary, text, f"streamer jobs {name} {EXAMPLE}")
        command.add_argument("jobs", nargs="+", metavar="JOB", help="id of a job")
    fetching = add_command(actions, "results", "list or fetch the results of a job", RESULTS, RESULTS_EXAMPLES)
    fetching.add_argument("jobs", nargs=1, metavar="JOB", help="id of the job")
    fetching.add_argument(
        "--out", type=Path, metavar="DIR", help="write the files into this folder (default: list them)"
    )
    for parser in actions.choices.values():
        parser.add_argument("--json", action="store_true", help="print JSON")
        server_options(parser)


def _adding(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", type=Path, metavar="FILE", help="recording to upload")
    source.add_argument(
        "--path",
        metavar="PATH",
        help="recording on the streamer's machine, below one of its jobs.inputs (default: upload FILE)",
    )
    parser.add_argument(
        "--request-id",
        metavar="ID",
        help="id of this request: with the same one, a repeated command gets the same job (default: a new job)",
    )
    file_options(parser)
    part_options(parser)
    results = parser.add_argument_group("results")
    results.add_argument(
        "--annotate", action="store_true", help="also write annotated.mp4, with what was known at each moment"
    )
    made_options(results)
    export_options(results, mot_ids=False)
    parser.add_argument("--watch", action="store_true", help="show its progress until it ends")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="wait until it ends and write its results into this folder (default: do not wait)",
    )
