"""The results of one video in its folder: tracks and people in memory, the rest read line by line when it is needed."""

import contextlib
import json
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faceanalytics.errors import InputError
from streamer.recorded.filenames import OBSERVATIONS, PEOPLE, SHOTS, SUMMARY, TRACKS
from streamer.recorded.records import SCHEMA_VERSION, Record


class Recording:
    """Reads the results in a folder. Raises InputError if they are missing, not finished, damaged, or of two runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with complaining(folder / SUMMARY):  # first: an analysis that has not finished lacks it
            self.summary: Record = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        self.header, self.tracks = self._read(TRACKS)
        if self.summary.get("run_id") != self.header["run_id"]:
            raise InputError(f"{folder}: {TRACKS} and {SUMMARY} are of different runs; analyse the video again")
        self.people = self._read(PEOPLE)[1]
        self.shots = self._read(SHOTS)[1]

    def _read(self, name: str) -> tuple[Record, list[Record]]:
        """Return the header of a file and its other lines."""
        lines = self._lines(name)
        header = next(lines)[1]
        return header, [record for _, record in lines]

    def _lines(self, name: str) -> Iterator[tuple[int, Record]]:
        """Yield each line of a file with its offset in bytes; the header, which comes first, is checked."""
        path = self.folder / name
        with complaining(path), path.open("rb") as file:
            offset = 0
            for line in file:
                record = json.loads(line)
                if not offset:
                    self._check_header(path, record)
                yield offset, record
                offset += len(line)
            if not offset:
                raise ValueError("it is empty")

    def _check_header(self, path: Path, header: Record) -> None:
        if header["type"] != "header":
            raise ValueError("it has no header")
        if header["schema_version"] != SCHEMA_VERSION:
            raise ValueError(
                f"it has schema_version {header['schema_version']}, this version reads {SCHEMA_VERSION}; "
                "analyse the video again"
            )
        if path.name != TRACKS and header["run_id"] != self.header["run_id"]:
            raise InputError(f"{path} is of another run than {TRACKS} beside it; analyse the video again")

    def frames(self) -> Iterator[tuple[Record, list[Record]]]:
        """Yield each analysed frame with its observations, in order."""
        frame: Record | None = None
        seen: list[Record] = []
        for _, record in self._lines(OBSERVATIONS):
            if record["type"] == "frame":
                if frame is not None:
                    yield frame, seen
                frame, seen = record, []
            elif record["type"] == "observation":
                seen.append(record)
        if frame is not None:
            yield frame, seen

    @contextlib.contextmanager
    def analyses(self, rank: Callable[[str], int]) -> Iterator["Analyses"]:
        """Yield the analyses of crops; `rank` gives the place of a track, by its id or that of a part, in any frame."""
        frames, ranks, offsets = array("q"), array("q"), array("q")
        with complaining(self.folder / OBSERVATIONS):
            for offset, record in self._lines(OBSERVATIONS):
                if record["type"] == "analysis":
                    frames.append(record["frame"])
                    ranks.append(rank(record["track_id"]))
                    offsets.append(offset)
        with (self.folder / OBSERVATIONS).open("rb") as file:
            yield Analyses(file, np.array(frames, np.int64), np.array(ranks, np.int64), np.array(offsets, np.int64))


class Analyses:
    """The analyses of the crops of a recording; only their places in the file are in memory."""

    def __init__(self, file: Any, frames: Any, ranks: Any, offsets: Any) -> None:
        """`frames`, `ranks`, `offsets` (n,): of each analysis the frame, the place of its track, and that in `file`."""
        self._file = file
        self._width = int(ranks.max()) + 1 if len(ranks) else 1
        keys = frames * self._width + ranks
        order = np.argsort(keys, kind="stable")
        self._keys, self._offsets = keys[order], offsets[order]

    def __iter__(self) -> Iterator[Record]:
        """Yield all, in the order of frame and track."""
        for offset in self._offsets.tolist():
            yield self._at(offset)

    def find(self, frame: int, rank: int) -> Record | None:
        """Return the analysis of a track's crop of a frame; None: there is none."""
        if rank >= self._width:
            return None
        key = frame * self._width + rank
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return None
        return self._at(int(self._offsets[place]))

    def _at(self, offset: int) -> Record:
        self._file.seek(offset)
        record: Record = json.loads(self._file.readline())
        return record


@contextlib.contextmanager
def complaining(path: Path) -> Iterator[Path]:
    """Yield `path`; turn what is wrong with that file of results into an InputError that says what to do."""
    try:
        yield path
    except FileNotFoundError as error:
        began = any(path.with_name(name).exists() for name in (f"{path.name}.partial", f"{TRACKS}.partial", TRACKS))
        why = "the analysis has not finished" if began else "this is not a folder that `streamer analyze` wrote"
        raise InputError(f"{path} does not exist: {why}") from error
    except KeyError as error:
        raise InputError(f"{path} was not written by `streamer analyze`: {error} is missing") from error
    except (OSError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path} was not written by `streamer analyze`: {error}") from error
