"""The commands that read the results of recorded videos: options in, exit codes out."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from faceanalytics.errors import ConfigError

if TYPE_CHECKING:
    from streamer.recorded.export import Exports


def exports(arguments: argparse.Namespace) -> "Exports":
    """Return the files that the options ask for. Raises ConfigError if a package for them is missing."""
    from streamer.recorded.export import Exports, check
    from streamer.recorded.formats.files import Formats

    formats = Formats(arguments.formats, mot_people=arguments.mot_ids == "people")
    wanted = Exports(tables=arguments.tables, formats=formats)
    check(wanted)
    return wanted


def make_files(folder: Path, wanted: "Exports", video: Path | None, temporary: bool = False) -> list[Path]:
    """Make the files that are wanted of the results in a folder. Raises InputError and ConfigError.

    `video`: the one that was analysed, if it is at hand; `temporary`: it will not stay there.
    """
    from streamer.recorded.export import export

    return export(folder, wanted, video, temporary)


def export(arguments: argparse.Namespace) -> int:
    """Run `streamer export` and return its exit code."""
    from streamer.recorded.export import result_folders
    from streamer.recorded.videos import Videos

    wanted = exports(arguments)
    if not wanted:
        raise ConfigError("nothing to make: add --tables or --formats")
    if wanted.formats.needs_video and not arguments.video:
        raise ConfigError("faces and contact-sheet are made of the video: add --video")
    videos = Videos(arguments.video)
    for folder in result_folders(arguments.results):
        for path in make_files(folder, wanted, videos.of(folder)):
            print(path)
    return 0


def results(arguments: argparse.Namespace) -> int:
    """Run a command of `streamer results` and return its exit code."""
    raise NotImplementedError
