"""Complete addresses of cameras on the command line, so that passwords stay out of shell history and process list."""

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from faceanalytics.errors import ConfigError
from faceanalytics.settings import expand_environment
from streamer.addresses import lacks_password, with_password
from streamer.config import redact


def complete(cameras: Sequence[tuple[str, str]], ask: bool, file: Path | None) -> list[tuple[str, str]]:
    """Return cameras (name, address) with ${NAME} replaced by the environment and missing passwords put in.

    `ask`: ask for the password of each camera that has a user name only; `file`: read one for all of them from a file.
    Raises ConfigError if a variable or the password is missing, or if no address needs one.
    """
    whole = [(name, str(expand_environment(address, "command line"))) for name, address in cameras]
    if not ask and file is None:
        return whole
    if not any(lacks_password(address) for _, address in whole):
        raise ConfigError(
            "no address has a user name without a password, for which one could be given: write rtsp://USER@HOST/PATH"
        )
    stored = _from_file(file) if file is not None else None

    def completed(name: str, address: str) -> str:
        if not lacks_password(address):
            return address
        return with_password(address, stored or _asked(f"Password for {name}, {redact(address)}: "))

    return [(name, completed(name, address)) for name, address in whole]


def _from_file(file: Path) -> str:
    try:
        password = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--password-file: cannot read {file}: {error}") from error
    if not password or "\n" in password:
        raise ConfigError(f"--password-file: {file} must contain one line, the password")
    return password


def _asked(prompt: str) -> str:
    """Ask on the terminal without showing the answer; without a terminal, read a line of standard input."""
    password = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ConfigError("--ask-password: no password was given")
    return password
