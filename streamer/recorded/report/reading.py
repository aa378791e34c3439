"""Reads a folder of results for the report: small files as they are, the observations as counts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamer.recorded.filenames import EXPLANATION, OBSERVATIONS, PEOPLE, SHOTS, SUMMARY, TRACKS
from streamer.recorded.recording import complaining
from streamer.recorded.records import SCHEMA_VERSION, Record
from streamer.recorded.report.seen import Seen


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The results of one video."""

    folder: Path
    header: Record
    summary: Record
    tracks: list[Record]  # in the order of their first appearance
    people: list[Record]
    shots: list[Record]
    seen: Seen

    @property
    def name(self) -> str:
        """Return the name of the video."""
        return str(self.header["source"]["name"])

    @property
    def end_s(self) -> float:
        """Return the media time of the last frame, above 0."""
        return max(0.04, self.seen.last_s, *(float(track["last_seen_s"]) for track in self.tracks))


def read_recording(folder: Path) -> Recording:
    """Read the results in `folder`. Raises InputError if they are missing, unfinished, damaged or of several runs."""
    with complaining(folder / SUMMARY):
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        run_id = summary["run_id"]
    with complaining(folder / TRACKS) as path:
        lines = _lines(path, run_id)
        header = next(lines)
        tracks = sorted(lines, key=lambda track: (track["first_seen_s"], track["number"]))
    people, shots = _read(folder / PEOPLE, run_id), _read(folder / SHOTS, run_id)
    with complaining(folder / PEOPLE):
        seen = Seen(tracks, [person["best"] for person in people if person["best"]])
    with complaining(folder / OBSERVATIONS) as path:
        for record in _lines(path, run_id):
            seen.add(record)
    if (folder / EXPLANATION).exists():
        with complaining(folder / EXPLANATION) as path:
            for record in _lines(path, run_id):
                seen.explain(record)
    return Recording(folder, header, summary, tracks, people, shots, seen)


def _read(path: Path, run_id: str) -> list[Record]:
    """Return the records of a file without its header."""
    with complaining(path):
        return list(_lines(path, run_id))[1:]


def _lines(path: Path, run_id: str) -> Iterator[Record]:
    """Yield the header and the other records of a file of this run."""
    lines = read_lines(path)
    header = next(lines)
    if header["run_id"] != run_id:
        raise ValueError(f"it is of another run than {SUMMARY}; analyse the video again")
    yield header
    yield from lines


def read_lines(path: Path) -> Iterator[Record]:
    """Yield the header and the other records of a file; use it within `complaining`. Raises ValueError, OSError."""
    with path.open(encoding="utf-8") as file:
        header = json.loads(next(file, "null"))
        if not header or header["type"] != "header":
            raise ValueError("the header is missing")
        if header["schema_version"] != SCHEMA_VERSION:
            raise ValueError(
                f"it has schema_version {header['schema_version']}, this version reads {SCHEMA_VERSION}; "
                "analyse the video again"
            )
        yield header
        for line in file:
            yield json.loads(line)
