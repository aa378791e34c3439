"""Temporary folders that do not pile up: those that a killed process has left are removed by the next one."""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "faceanalytics-"
LOCK = "in-use"  # file in the folder, locked by the process that made it; the kernel unlocks it when that one ends

log = logging.getLogger(__name__)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder in $TMPDIR, which is removed at the end. Raises OSError if it cannot be made."""
    _remove_left()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = Path(name)
        making = folder / f"{LOCK}.new"
        with making.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            making.rename(folder / LOCK)  # once it is locked: a file of this name without a lock is left over
            yield folder


def _remove_left() -> None:
    """Remove the folders of this user's processes that have ended without doing so."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # it belongs to another user, is in use, or has just gone
            if folder.stat().st_uid == os.getuid() and _is_left(folder / LOCK):
                shutil.rmtree(folder)
                log.info("removed the temporary folder %s of a process that was killed", folder)


def _is_left(lock: Path) -> bool:
    """Return whether no process holds the lock. Raises OSError, also where there is no such file."""
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
