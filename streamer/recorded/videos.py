"""Finds the videos that results belong to, among files and in folders."""

from collections.abc import Sequence
from pathlib import Path

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import hash_file
from faceanalytics.names import printable
from streamer.recorded.stored import read_source
from streamer.source.images import VIDEOS, find_files


class Videos:
    """Videos by name; where several have one name, the content decides."""

    def __init__(self, given: Sequence[Path]) -> None:
        """`given`: files, and folders that are searched at any depth. Raises InputError if one does not exist."""
        self._given = given
        self._by_name: dict[str, list[Path]] = {}
        for path in given:
            if not path.exists():
                raise InputError(f"{path}: no such file or folder")
            found = [path] if path.is_file() else [one for one in find_files([path]) if one.suffix.lower() in VIDEOS]
            for one in found:
                self._by_name.setdefault(printable(one.name), []).append(one)

    def of(self, folder: Path) -> Path | None:
        """Return the video of the results in a folder; None: no video was given. Raises InputError, ConfigError.

        A single file is returned whatever its name: who uses it compares the content.
        """
        if not self._given:
            return None
        source = read_source(folder)
        if len(self._given) == 1 and self._given[0].is_file():
            return self._given[0]
        found = self._by_name.get(source["name"], [])
        if len(found) > 1:
            found = [one for one in found if hash_file(one) == source["sha256"]]
        if not found:
            raise ConfigError(f"--video: {source['name']}, whose results are in {folder}, is not there")
        return found[0]
