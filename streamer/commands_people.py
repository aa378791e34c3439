"""The commands about people across recordings: options in, exit codes out."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from faceanalytics.commandline import complain
from faceanalytics.errors import PARTIAL_RESULT, InputError, UserError
from faceanalytics.files import writing
from streamer.config import People
from streamer.configfile import load_config

if TYPE_CHECKING:
    from streamer.recorded.writer import VideoResult


def people_across(arguments: argparse.Namespace) -> int:
    """Run `streamer people-across` and return its exit code."""
    from streamer.recorded.across import find_across, find_recordings, read_recording, table, write_across

    settings = load_config(arguments.config).people
    recordings, failure = [], 0
    for folder in find_recordings(arguments.results):
        try:
            recordings.append(read_recording(folder, settings))
        except InputError as error:
            failure = complain("streamer", error)
    if not recordings:
        return failure
    found = find_across(recordings, settings.false_join_rate, arguments.out.parent if arguments.out else None)
    for one, other in found.repeated:
        print(f"{one.folder}: left out, it has the same content as {other.folder}", file=sys.stderr)
    if arguments.out:
        write_across(arguments.out, found)
    lines = map(json.dumps, [found.header, *found.people]) if arguments.json else table(found)
    print("\n".join(lines))
    return PARTIAL_RESULT if failure else 0


def write_people(results: "Sequence[VideoResult]", out: Path, settings: People, quiet: bool) -> int:
    """Write the people of all videos of a run into one list in `out`; print how many unless `quiet`.

    A list of these very results is kept. Results of an earlier run that has ended count if they have embeddings;
    without them there is no list. Returns an exit code.
    """
    from streamer.recorded.across import find_across, is_of, read_recording, write_across
    from streamer.recorded.filenames import PEOPLE, TEMPLATES

    path = out / PEOPLE
    with_results = [one for one in results if one.frames]
    if all(one.finished_before for one in with_results) and is_of(path, [one.folder for one in with_results]):
        return 0
    try:
        with writing(path):
            path.unlink(missing_ok=True)  # of an earlier run
        if len(with_results) < 2:
            return 0
        recordings = [one.recording or read_recording(one.folder, settings) for one in with_results]
        found = find_across(recordings, settings.false_join_rate, out)
    except UserError as error:
        complain("streamer", error)
        print(f"{path} was not written", file=sys.stderr)
        return PARTIAL_RESULT
    write_across(path, found)
    if not any(one.stopped for one in results):  # else the run may go on, and compare them with others
        for one in with_results:
            with writing(templates := one.folder / TEMPLATES):
                templates.unlink(missing_ok=True)
    if not quiet:
        print(f"{len(found.people)} people in {len(recordings) - len(found.repeated)} videos -> {path}")
    return 0
