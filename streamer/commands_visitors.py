"""The commands about visitors and journeys: options in, exit codes out."""

import argparse

from faceanalytics.errors import ConfigError
from streamer.commands_cameras import connect, with_port


def visitors(arguments: argparse.Namespace) -> int:
    """Run a command of `streamer visitors` and return its exit code."""
    from streamer.tools.visitors import run

    if arguments.action == "name" and bool(arguments.name) == bool(arguments.person):
        raise ConfigError("visitors name: give a name or --person")
    return run(with_port(arguments.server), connect(arguments), arguments)


def journeys(arguments: argparse.Namespace) -> int:
    """Run `streamer journeys` and return its exit code."""
    from streamer.tools.visitors import journeys as show

    return show(with_port(arguments.server), connect(arguments), arguments)
