"""Files that take long to make: the first test process that needs them makes them, and all share them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.patience import WAIT_S


def shared_by_processes(factory: pytest.TempPathFactory) -> Path:
    """The folder of these files; pytest-xdist gives each process a temporary folder beside those of the others."""
    own = factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made-once"


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` has filled in one of the processes. Tests only read it; its path never changes."""
    folder = shared_by_processes(factory) / name
    folder.parent.mkdir(exist_ok=True)
    complete = folder.with_name(f"{name}.complete")
    with FileLock(folder.with_name(f"{name}.lock"), timeout=2 * WAIT_S):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that failed to make it
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder
