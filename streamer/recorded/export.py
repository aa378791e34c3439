"""Makes other files of the results of a video, beside them: `streamer export`, and options of `streamer analyze`.

Each form has a module of its own. It takes the folder of the results and returns the paths of the files that it wrote.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from faceanalytics.errors import InputError
from streamer.recorded.filenames import TABLES_FOLDER, TRACKS
from streamer.recorded.formats.files import OF_THE_VIDEO, Formats, write_formats
from streamer.recorded.tables import check_formats, write_tables


@dataclass(frozen=True, slots=True)
class Exports:
    """The files to make of the results of a video."""

    tables: tuple[str, ...] = ()  # forms, see tables.FORMATS
    formats: Formats = field(default_factory=Formats)

    def __bool__(self) -> bool:
        return bool(self.tables or self.formats)

    def without_pictures(self) -> "Exports":
        """Return those that are made of the results alone."""
        names = tuple(name for name in self.formats.names if name not in OF_THE_VIDEO)
        return replace(self, formats=replace(self.formats, names=names))


def check(wanted: Exports) -> None:
    """Raise MissingPackage if a package that is needed for these files is missing: before the video is analysed."""
    check_formats(wanted.tables)


def export(folder: Path, wanted: Exports, video: Path | None = None, temporary: bool = False) -> list[Path]:
    """Make the files of the results in `folder` and return their paths. Raises InputError and ConfigError.

    `video`: the one that was analysed, if it is at hand; `temporary`: it will not stay there.
    """
    written: list[Path] = []
    if wanted.tables:
        written += write_tables(folder, wanted.tables)
    if wanted.formats:
        written += write_formats(folder, wanted.formats, video, temporary)
    return written


def result_folders(folders: Sequence[Path], *names: str) -> list[Path]:
    """Return those that hold results (a file of `names`, usually tracks.jsonl), and of the others the folders below.

    Raises InputError for a folder without any.
    """
    names = names or (TRACKS,)
    found: dict[Path, None] = {}
    for folder in folders:
        holding = {path.parent for name in names for path in folder.rglob(name) if path.is_file()}
        # the tables of results have files of the same names
        below = sorted(one for one in holding if one.name != TABLES_FOLDER or one.parent not in holding)
        if folder in below:
            below = [folder]
        if not below:
            raise InputError(f"{folder}: no results of `streamer analyze` are there (no {' or '.join(names)})")
        found |= dict.fromkeys(below)
    return list(found)
