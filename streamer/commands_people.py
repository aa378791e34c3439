"""The commands about people, of a running streamer and across recordings: options in, exit codes out."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from faceanalytics.commandline import complain, number_of
from faceanalytics.errors import PARTIAL_RESULT, ConfigError, InputError, UserError
from streamer.commands_cameras import connect, with_port
from streamer.commands_people_audit import audit_folder
from streamer.config import People
from streamer.configfile import load_config

if TYPE_CHECKING:
    from streamer.recorded.writer import VideoResult


def people(arguments: argparse.Namespace) -> int:
    """Run a command of `streamer people` and return its exit code."""
    from streamer.tools.people import run

    if arguments.action == "confirm" and arguments.new and arguments.person:
        raise ConfigError("people confirm: give a person or --new, not both")
    if arguments.action == "search" and (arguments.image is None) == (arguments.track is None):
        raise ConfigError("people search: give an image or --track")
    if arguments.action == "audit":
        from streamer.tools.people_audit import check

        check(arguments)
        if arguments.folder is not None:
            return audit_folder(arguments)
    return run(with_port(arguments.server), connect(arguments), arguments)


def people_across(arguments: argparse.Namespace) -> int:
    """Run `streamer people-across` and return its exit code."""
    from streamer.recorded.across import find_across, read_recording, table, write_across
    from streamer.recorded.export import result_folders

    settings = load_config(arguments.config).people
    recordings, failure = [], 0
    for folder in result_folders(arguments.results):
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
        refuse_to_replace(arguments.out)
        write_across(arguments.out, found)
    lines = map(json.dumps, [found.header, *found.people]) if arguments.json else table(found)
    print("\n".join(lines))
    return PARTIAL_RESULT if failure else 0


def refuse_to_replace(path: Path) -> None:
    """Raise ConfigError if there is a file at `path` that is not a list of people of several recordings."""
    from streamer.recorded.across import is_list

    if path.exists() and not is_list(path):
        raise ConfigError(f"--out: {path} is not a list of the people of several recordings; choose another place")


def write_people(results: "Sequence[VideoResult]", out: Path, settings: People, quiet: bool) -> int:
    """Write the people of all videos of a run into one list in `out`; print how many unless `quiet`.

    A list of an earlier run stays if this one has fewer than two results. Returns an exit code.
    """
    from streamer.recorded.across import find_across, read_recording, write_across
    from streamer.recorded.filenames import PEOPLE

    path = out / PEOPLE
    there = [one for one in results if one.frames]
    if len(there) < 2:
        return 0
    try:
        recordings = [one.recording or read_recording(one.folder, settings) for one in there]
        found = find_across(recordings, settings.false_join_rate, out)
        write_across(path, found)
    except UserError as error:
        print(f"{path} was not written", file=sys.stderr)
        return complain("streamer", error)
    for one, other in found.repeated:
        print(f"{one.folder}: left out of {path}, it has the same content as {other.folder}", file=sys.stderr)
    if not quiet:
        videos = len(recordings) - len(found.repeated)
        print(f"{number_of(len(found.people), 'person', 'people')} in {number_of(videos, 'video')} -> {path}")
    return 0
