"""Files of a training: complete or not there, and trouble with the disk said as such."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from faceanalytics.errors import ConfigError
from workers.research.train.process import Process


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises ConfigError for what the disk refuses inside."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def save_tensors(content: Any, path: Path) -> None:
    """Write what torch.load reads again without running code. Raises OSError."""
    try:
        torch.save(content, path)
    except RuntimeError as error:  # what torch makes of a full disk
        raise OSError(f"{error} (is the disk full?)") from error


def all_write(process: Process, path: Path, write: Callable[[], None]) -> None:
    """Let each process write its part, and wait for all. Raises ConfigError in all if one could not."""
    failed = None
    try:
        write()
    except OSError as error:
        failed = error
    if process.sums([float(failed is not None)])[0]:
        reason = "another process could not" if failed is None else failed.strerror or failed
        raise ConfigError(f"cannot write {path}: {reason}") from failed


def take_place(partial: Path, folder: Path) -> None:
    """Give a complete folder its name, once all of it is on the disk: machines lose their power. Raises OSError."""
    for path in partial.iterdir():
        _sync(path)
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
