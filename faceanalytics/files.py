"""Files that are complete or absent: written under the name `*.partial` and renamed at the end."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from faceanalytics.errors import ConfigError, InputError

BLOCK = 1 << 20  # bytes read at once


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn trouble with the disk into a ConfigError that names `path`."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the name to write under. What is there at the end replaces `path`; after an error nothing does.

    Raises ConfigError if it cannot be written.
    """
    with writing(path), complete_or_absent(path) as partial:
        yield partial


@contextlib.contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Do the same as `replacing`, but raise OSError if it cannot be written."""
    partial = partial_name(path)
    try:
        yield partial
        if partial.exists():
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # usually because it has got its name
            partial.unlink()


@contextlib.contextmanager
def exclusive(folder: Path, refusal: str) -> Iterator[None]:
    """Lock a folder. Raises ConfigError with `refusal` while another process holds the lock, and OSError if the folder
    cannot be opened; a killed process releases it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(refusal) from error
        yield
    finally:
        os.close(descriptor)


class JsonLines:
    """One JSON object per line, flushed per line. After an error the `.partial` file stays, with whole lines only.

    Raises ConfigError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0  # bytes of the whole lines
        with writing(path):
            self._file: IO[bytes] = partial_name(path).open("wb")

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            with contextlib.suppress(OSError):  # the error under way says more
                self._file.close()
            with contextlib.suppress(OSError):
                os.truncate(partial_name(self._path), self._size)  # a full disk cuts the last line
            return
        self.sync()
        with writing(self._path):
            self._file.close()
            partial_name(self._path).replace(self._path)

    def write(self, record: dict[str, Any]) -> None:
        line = _line(record)
        with writing(self._path):
            self._file.write(line)
            self._file.flush()
        self._size += len(line)

    def replace_first(self, record: dict[str, Any]) -> None:
        """Replace the first record; the others stay."""
        partial = partial_name(self._path)
        with writing(self._path), complete_or_absent(partial) as other:
            self._file.close()
            with partial.open("rb") as old, other.open("wb") as new:
                old.readline()
                new.write(_line(record))
                shutil.copyfileobj(old, new)
                sync(new)
                size = new.tell()
        with writing(self._path):
            self._file = partial.open("ab")
        self._size = size

    def sync(self) -> None:
        """Wait until the lines are on the disk."""
        with writing(self._path):
            sync(self._file)


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def sync(file: IO[Any]) -> None:
    """Wait until a file is on the disk: some file systems report only then that it is full. Raises OSError."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: no file of a disk, such as a pipe
            raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write one JSON object, indented. Raises ConfigError if it cannot be written."""
    with replacing(path) as partial:
        write_json_to(partial, content)


def write_json_to(path: Path, content: dict[str, Any]) -> None:
    """Write one JSON object under this very name. Raises OSError if it cannot be written."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(content, indent=1, allow_nan=False) + "\n")
        sync(file)


def never() -> bool:
    """The `stopped` of work that nobody stops."""
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


def partial_name(path: Path) -> Path:
    """Return the name that a file has until it is complete."""
    return path.parent / f"{path.name}.partial"
