"""Command lines of both programs: parsers with examples and defaults, logging, and errors as messages with exit codes.

Only light modules are imported here, so that `--help` answers at once.
"""

import argparse
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import NoReturn, TypeAlias

from faceanalytics.errors import ConfigError, UserError, user_error_in
from faceanalytics.logs import FORMATS, log_to_stderr, logs_json
from faceanalytics.names import print_any_name

EXIT_CODES = """exit codes: 0 done, 1 bug or lost dependency, 2 usage or configuration, 3 input unreadable,
4 model or device not usable, 5 partial result, 130/143 stopped by a signal, with the outputs completed."""
WEIGHTS = (
    "SwinFace weights: a .safetensors file, the published checkpoint (.pt), or a name that `swinface weights list` "
    "shows; `default` is the bundled model, and `untrained` (random) is for tests only"
)
LOG_FORMAT = "FACEANALYTICS_LOG_FORMAT"
LOG_LEVEL = "FACEANALYTICS_LOG_LEVEL"  # set by a parent process that is to be quiet: warning
LOG_HELP = f"log lines of text or of JSON objects (default: ${LOG_FORMAT}, else text)"
BLAS_THREADS = "OPENBLAS_NUM_THREADS"
DETECTOR = "face detector weights, a .onnx or .pt file"
DETECTOR_DEFAULT = "$FACEANALYTICS_DETECTOR, else the bundled model"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Options: TypeAlias = "argparse._ActionsContainer"  # a parser or a group of its options


class HelpFormatter(argparse.HelpFormatter):
    """Wrap paragraphs, keep those that contain an indented line as they are, and append the default of each option."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            paragraph if "\n  " in paragraph else super(HelpFormatter, self)._fill_text(paragraph, width, indent)
            for paragraph in paragraphs
        )

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        unset = action.default is None or action.default is False or action.default in ([], (), argparse.SUPPRESS)
        return text if unset or "(default:" in text else f"{text} (default: %(default)s)"


class _Parser(argparse.ArgumentParser):
    """A parser whose messages hold no password of an address."""

    def error(self, message: str) -> NoReturn:
        super().error(hide_passwords(message))


def hide_passwords(message: str) -> str:
    """Mask user and password of addresses, also of mistyped ones, wherever a message quotes them."""
    return re.sub(r"(\w:/+)(?!/*USER:)[^\s@]*:\S*@", r"\1***@", message)


def program(name: str, description: str, examples: str) -> tuple[argparse.ArgumentParser, Commands]:
    """Build the parser of a program, with --version and --verbose, and the place to add its commands to."""
    parser: argparse.ArgumentParser = _Parser(
        prog=name, description=description, epilog=_epilog(examples, EXIT_CODES), formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('faceanalytics')}")
    parser.add_argument("--verbose", action="store_true", help="log debug messages")
    parser.add_argument("--log-format", choices=FORMATS, default=_log_format(name), help=LOG_HELP)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    return parser, commands


def add_command(
    commands: Commands, name: str, summary: str, description: str, examples: str, notes: str = ""
) -> argparse.ArgumentParser:
    """Add a command. `summary` stands in the list of commands; `examples` has one command line per line."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=_epilog(examples, notes),
        formatter_class=HelpFormatter,
    )
    # also accepted behind the command; SUPPRESS keeps what was given before it
    parser.add_argument("--log-format", choices=FORMATS, default=argparse.SUPPRESS, help=LOG_HELP)
    return parser


def _log_format(program: str) -> str:
    """Return the default of --log-format, which a parent process sets."""
    form = os.environ.get(LOG_FORMAT, FORMATS[0])
    if form not in FORMATS:
        raise SystemExit(complain(program, ConfigError(f"${LOG_FORMAT} is {form!r}: set it to text or json")))
    return form


def add_subcommands(parser: argparse.ArgumentParser, destination: str, metavar: str = "COMMAND") -> Commands:
    """Add subcommands to a command; the name of the chosen one is stored as `destination`."""
    return parser.add_subparsers(dest=destination, metavar=metavar, required=True, title="commands")


def _epilog(examples: str, notes: str) -> str:
    lines = "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines())
    return f"examples:\n{lines}" + (f"\n\n{notes}" if notes else "")


def positive(text: str) -> int:
    """Parse a whole number of at least 1: a `type` of argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


positive.__name__ = "whole number"  # argparse prints the name: "invalid whole number value: 'x'"


def set_up_logging(arguments: argparse.Namespace, quiet: Sequence[str] = (), serves: bool = False) -> None:
    """Log to standard error as the options say. `serves`: the command runs for days, so repeated lines are summed up.

    Without --verbose, the loggers named in `quiet` report warnings only. Child processes inherit the format.
    """
    verbose: bool = arguments.verbose
    os.environ[LOG_FORMAT] = arguments.log_format
    usual = logging.WARNING if os.environ.get(LOG_LEVEL) == "warning" else logging.INFO
    log_to_stderr(logging.DEBUG if verbose else usual, arguments.log_format, sum_up=serves)
    if not verbose:
        for name in quiet:
            logging.getLogger(name).setLevel(logging.WARNING)


def run_command(name: str, command: Callable[[], int]) -> int:
    """Run a command of the program `name` and return its exit code; a UserError becomes one message."""
    print_any_name()
    try:
        return command()
    except UserError as one:
        return complain(name, one)
    except BaseExceptionGroup as group:
        error = user_error_in(group)
        if error is None:
            raise
        return complain(name, error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of the output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def complain(name: str, error: UserError) -> int:
    """Print the error of the program `name` to standard error, or log it as JSON, and return its exit code."""
    message = hide_passwords(str(error))
    if logs_json():
        logging.getLogger(name).error("%s", message)
    else:
        sys.stderr.write(f"{name}: {message}\n")
    return error.exit_code


def weights_option(parser: Options, default: str | None = "default", required: bool = False) -> None:
    """Add --weights, of SwinFace."""
    text = WEIGHTS if required or default else f"{WEIGHTS} (default: default)"
    parser.add_argument("--weights", default=default, required=required, metavar="WEIGHTS", help=text)


def device_option(parser: Options, default: str | None = "cpu", flag: str = "--device", user: str = "SwinFace") -> None:
    """Add the option for the device that `user` computes on. `default` None: what a configuration says, or cpu."""
    text = f"device for {user}: cpu or cuda:N; a device that cannot be used is an error"
    parser.add_argument(flag, default=default, metavar="DEVICE", help=text if default else f"{text} (default: cpu)")


def detector_option(parser: Options, default: str = DETECTOR_DEFAULT) -> None:
    """Add --detector. `default` says in words what is used without it."""
    parser.add_argument("--detector", metavar="FILE", help=f"{DETECTOR} (default: {default})")


def number_of(count: int, one: str, many: str = "") -> str:
    """Return a number with what it counts: "1 track", "2 tracks"; `many` is the plural, without it that with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"
