"""The files of a recorded analysis as other formats need them: people, tracks, shots, and the faces frame by frame."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceanalytics.errors import InputError
from faceanalytics.files import hash_file, never
from streamer.recorded.records import SCHEMA_VERSION

Record = dict[str, Any]
AGAIN = "analyse the video again"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """The results of one video; the faces are read from the disk on each pass, one frame at a time."""

    folder: Path
    header: Record
    people: tuple[Record, ...]  # by first appearance
    tracks: tuple[Record, ...]  # in the order of their end
    shots: tuple[Record, ...]

    def frames(self) -> Iterator[tuple[Record, list[Record]]]:
        """Yield the record of each analysed frame with those of its faces, in order. Raises InputError."""
        frame: Record | None = None
        faces: list[Record] = []
        for record in _read(self.folder / "observations.jsonl", self.header["run_id"]):
            if record["type"] == "frame":
                if frame is not None:
                    yield frame, faces
                frame, faces = record, []
            elif record["type"] == "observation":
                faces.append(record)
        if frame is not None:
            yield frame, faces

    def parts(self) -> dict[str, Record]:
        """Return the track that each track id belongs to: its own, or that of a track that was joined to it."""
        return {one["track_id"]: track for track in self.tracks for one in (*track["intervals"], track)}

    def persons(self) -> dict[str, Record]:
        """Return the person that each track id belongs to, also of tracks that were joined to another."""
        by_track = {track_id: person for person in self.people for track_id in person["track_ids"]}
        parts = {part: by_track.get(track["track_id"]) for part, track in self.parts().items()}
        return by_track | {part: person for part, person in parts.items() if person is not None}

    def check_video(self, video: Path, stopped: Callable[[], bool] = never) -> None:
        """Check that `video` is the one that was analysed. Raises InputError."""
        source = self.header["source"]
        if source["sha256"] != hash_file(video, stopped):
            raise InputError(
                f"{self.folder}: the results are those of {source['name']}, a different video than {video}"
            )


def read_stored(folder: Path) -> Stored:
    """Read the results in a folder. Raises InputError if they are missing, damaged, unfinished or of several runs."""
    if not (folder / "summary.json").is_file():
        raise InputError(f"{folder}: there is no summary.json: this is no folder of results, or they are not finished")
    with complaining(folder / "tracks.jsonl"):
        header, *tracks = _lines(folder / "tracks.jsonl")
        run_id = header["run_id"]
    people, shots = (tuple(_read(folder / name, run_id)) for name in ("people.jsonl", "shots.jsonl"))
    unknown = {one for person in people for one in person["track_ids"]} - {track["track_id"] for track in tracks}
    if unknown:
        raise InputError(f"{folder}: people.jsonl names tracks that tracks.jsonl lacks: {', '.join(sorted(unknown))}")
    return Stored(folder, header, people, tuple(tracks), shots)


def read_source(folder: Path) -> Record:
    """Return what the header of the results in a folder says about the video. Raises InputError."""
    with complaining(folder / "tracks.jsonl"):
        source: Record = next(_lines(folder / "tracks.jsonl"))["source"]
    return source


def _read(path: Path, run_id: str) -> Iterator[Record]:
    """Yield the records of a file after its header. Raises InputError, also if it is of another run than `run_id`."""
    with complaining(path):
        records = _lines(path)
        if next(records)["run_id"] != run_id:
            raise InputError(f"{path} is of another run than tracks.jsonl beside it; {AGAIN}")
        yield from records


def _lines(path: Path) -> Iterator[Record]:
    """Yield the header, checked, and the other records. Raises ValueError or OSError."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            record = json.loads(line)
            if number == 0:
                if record["type"] != "header":
                    raise ValueError("the header is missing")
                if record["schema_version"] != SCHEMA_VERSION:
                    version = record["schema_version"]
                    raise ValueError(f"it has schema_version {version}, this version reads {SCHEMA_VERSION}; {AGAIN}")
            yield record


@contextlib.contextmanager
def complaining(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file of results into an InputError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; {AGAIN}") from error
    except KeyError as error:
        raise InputError(f"{path} was not written by `streamer analyze`: {error} is missing") from error
    except (OSError, ValueError, TypeError, StopIteration) as error:
        raise InputError(f"{path} was not written by `streamer analyze`: {error}") from error
