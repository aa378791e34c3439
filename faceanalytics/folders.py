"""The one walk over folders of images, videos and data: what people put there, not what systems leave there."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from faceanalytics.errors import InputError
from faceanalytics.names import printable

# of macOS archives, Synology, QNAP and Windows; names that begin with a dot are skipped too
LEFT_BY_SYSTEMS = frozenset(
    {
        "__macosx", "@eadir", "@recycle", "@recently-snapshot", "#recycle", "$recycle.bin", "system volume information",
        "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini",
    }
)  # fmt: skip
EXAMPLES = 3  # names in one log line

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Skipped:
    """What a walk left out, by path."""

    hidden: list[str] = field(default_factory=list)  # files and whole folders
    loops: list[str] = field(default_factory=list)  # links to a folder that they are in
    special: list[str] = field(default_factory=list)  # sockets, pipes and devices

    def report(self) -> None:
        """Log how many there are of each kind, with some of their names."""
        for found, what in (
            (self.hidden, "hidden files and folders"),
            (self.loops, "links to a folder above them"),
            (self.special, "entries that are neither files nor folders"),
        ):
            if found:
                shown = ", ".join(map(printable, found[:EXAMPLES])) + (", ..." if len(found) > EXAMPLES else "")
                log.info("%s, skipped: %d (%s)", what, len(found), shown)


def is_hidden(name: str) -> bool:
    """Return whether a name in a folder is skipped: hidden, or left behind by a system or an editor."""
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS


def walk(folder: Path, skipped: Skipped) -> Iterator[str]:
    """Yield the names of all files below a folder, with forward slashes, folder by folder in the order of names.

    Hidden entries are added to `skipped`; links to folders are followed, but not in circles. A link to nothing is
    yielded, so that reading it reports the error. Raises InputError if a folder cannot be read.
    """
    above = frozenset(_identity(str(place)) for place in (folder, *folder.resolve().parents))
    yield from _walk(str(folder), "", skipped, above)


def folders_in(folder: Path, skipped: Skipped) -> list[str]:
    """Return the sorted names of the folders in a folder. Raises InputError if it cannot be read."""
    return [entry.name for entry in _entries(str(folder), skipped) if entry.is_dir()]


def files_in(folder: Path, skipped: Skipped) -> list[str]:
    """Return the sorted names of the files in a folder, not below it. Raises InputError if it cannot be read."""
    return [entry.name for entry in _entries(str(folder), skipped) if not entry.is_dir()]


def _walk(folder: str, below: str, skipped: Skipped, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """`above`: the identities of this folder and of all that it is in."""
    for entry in _entries(folder, skipped):
        if entry.is_dir():
            identity = _identity(entry.path)
            if identity in above:
                skipped.loops.append(entry.path)
            else:
                yield from _walk(entry.path, f"{below}{entry.name}/", skipped, above | {identity})
        elif entry.is_file() or entry.is_symlink():
            yield below + entry.name
        else:
            skipped.special.append(entry.path)


def _entries(folder: str, skipped: Skipped) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{printable(folder)}: {error.strerror}") from error
    skipped.hidden += [entry.path for entry in entries if is_hidden(entry.name)]
    return [entry for entry in entries if not is_hidden(entry.name)]


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder)  # noqa: PTH116 - a walk over millions of files does without Path
    except OSError as error:
        raise InputError(f"{printable(folder)}: {error.strerror}") from error
    return status.st_dev, status.st_ino
