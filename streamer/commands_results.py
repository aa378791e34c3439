"""The commands that read the results of recorded videos: options in, exit codes out."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from faceanalytics.commandline import complain
from faceanalytics.errors import PARTIAL_RESULT, ConfigError, InputError, UserError

if TYPE_CHECKING:
    from streamer.recorded.export import Exports

MOST = 50  # problems printed of one folder
COUNTED = {"frame": "frames", "observation": "observations", "analysis": "analyses", "tracks": "tracks"}


def exports(arguments: argparse.Namespace) -> "Exports":
    """Return the files that the options ask for. Raises ConfigError if a package for them is missing."""
    from streamer.recorded.export import Exports, check
    from streamer.recorded.formats.files import Formats

    formats = Formats(arguments.formats, mot_people=arguments.mot_ids == "people")
    wanted = Exports(tables=arguments.tables, formats=formats)
    check(wanted)
    return wanted


def export(arguments: argparse.Namespace) -> int:
    """Run `streamer export` and return its exit code."""
    from streamer.recorded.export import export as make_files
    from streamer.recorded.export import result_folders
    from streamer.recorded.videos import Videos

    wanted = exports(arguments)
    if not wanted:
        raise ConfigError("nothing to make: add --tables or --formats")
    if wanted.formats.needs_video and not arguments.video:
        raise ConfigError("faces and contact-sheet are made of the video: add --video")
    videos = Videos(arguments.video)
    folders = result_folders(arguments.results)
    failures = []
    for folder in folders:
        try:
            for path in make_files(folder, wanted, videos.of(folder)):
                print(path)
        except UserError as error:  # the others are made all the same
            failures.append(complain("streamer", error))
    return (failures[0] if len(failures) == len(folders) else PARTIAL_RESULT) if failures else 0


def results(arguments: argparse.Namespace) -> int:
    """Run a command of `streamer results` and return its exit code."""
    if arguments.action == "schema":
        from streamer.recorded.schema import published_schema

        print(json.dumps(published_schema(), indent=1))
        return 0
    return _validate(arguments.results)


def _validate(folders: Sequence[Path]) -> int:
    """Check results, print what is wrong with them, and return the exit code."""
    from streamer.recorded.export import result_folders
    from streamer.recorded.filenames import TRACKS
    from streamer.recorded.validate import validate

    wrong = 0
    for folder in result_folders(folders, TRACKS, f"{TRACKS}.partial"):
        found = validate(folder)
        for note in found.notes:
            print(note, file=sys.stderr)
        for problem in found.problems[:MOST]:
            print(problem)
        if len(found.problems) > MOST:
            print(f"{folder}: and {len(found.problems) - MOST} more")
        counts = ", ".join(f"{found.counts[kind]} {name}" for kind, name in COUNTED.items())
        print(f"{folder}: {len(found.problems) or 'no'} problem{'s' * (len(found.problems) != 1)} in {counts}")
        wrong += bool(found.problems)
    return InputError.exit_code if wrong else 0
