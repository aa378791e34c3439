"""Files that are complete or not there, and what is written into them."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from streamer.errors import ConfigError, InputError

BLOCK = 1 << 20  # bytes, of a file that is read as a whole


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Trouble with the disk becomes a ConfigError that names `path`."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"--out: cannot write {path}: {error.strerror}") from error


class JsonLines:
    """One JSON object per line, flushed per line; called `path.partial` until it is closed without an error.

    Raises ConfigError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.parent / f"{path.name}.partial"
        with writing(path):
            self._file: TextIO = self._partial.open("w", encoding="utf-8", newline="\n")

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            with contextlib.suppress(OSError):  # the error under way says more
                self._file.close()
            return
        with writing(self._path):
            self._file.close()
            self._partial.replace(self._path)

    def write(self, record: dict[str, Any]) -> None:
        with writing(self._path):
            self._file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")
            self._file.flush()


def never() -> bool:
    """For what nobody stops."""
    return False


def hash_file(path: Path, stopped: Callable[[], bool] = never) -> str:
    """SHA-256 of the content, 64 hex digits. Raises InputError, also soon after `stopped` becomes true."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                if stopped():
                    raise InputError(f"{path}: stopped before it began")
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A file of its own, which is whole or not there."""
    partial = path.parent / f"{path.name}.partial"
    with writing(path):
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        partial.replace(path)
