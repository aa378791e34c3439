"""Write a training's files atomically, with clear errors if the disk fails."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from faceanalytics.errors import ConfigError
from workers.research.train.process import Process


def save_tensors(content: Any, path: Path) -> None:
    """Write a file that torch.load can read without running code. Raises OSError."""
    try:
        torch.save(content, path)
    except RuntimeError as error:  # raised by torch if the disk is full
        raise OSError(f"{error} (is the disk full?)") from error


def write_together(process: Process, path: Path, write: Callable[[], None]) -> None:
    """Let each process write its part, and wait for all. Raises ConfigError in all processes if one fails."""
    failed = None
    try:
        write()
    except OSError as error:
        failed = error
    if process.sums([float(failed is not None)])[0]:
        reason = "another process failed to" if failed is None else failed.strerror or failed
        raise ConfigError(f"cannot write {path}: {reason}") from failed


def replace_folder(partial: Path, folder: Path) -> None:
    """Rename a complete folder to its final name once it is on the disk, safe against power loss. Raises OSError."""
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
    """Wait until a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
