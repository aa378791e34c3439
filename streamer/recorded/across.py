"""Finds people across recordings: the people of each, joined by their tracks' templates into one list."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import JsonLines
from streamer.config import People
from streamer.identity.cluster import Links, Tracklet, cluster
from streamer.recorded.filenames import EMBEDDINGS, PEOPLE, TRACKS
from streamer.recorded.people import Recording, person_id
from streamer.recorded.records import SCHEMA_VERSION, Record
from streamer.values import Floats, ImpostorScores

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Across:
    """People across recordings, as records."""

    header: Record
    people: Sequence[Record]
    repeated: Sequence[tuple[Recording, Recording]]  # of the same content as another one, which counts


def read_recording(folder: Path, settings: People) -> Recording:
    """Read the results in `folder`. Raises InputError if they are not complete or have no embeddings."""
    header, people = _read_lines(folder / PEOPLE)
    same_run, tracks = _read_lines(folder / TRACKS)
    if same_run["run_id"] != header["run_id"]:
        raise InputError(f"{folder}: {PEOPLE} and {TRACKS} are of different runs; analyse the video again")
    if header["outputs"]["identity"] and not (folder / EMBEDDINGS).exists():
        raise InputError(
            f"{folder}: there are no embeddings to compare people by; analyse the video again with --embeddings"
        )
    templates, impostors = dict[str, Floats](), None
    if header["outputs"]["identity"]:
        templates, impostors = _read_embeddings(folder / EMBEDDINGS, header["run_id"])
    tracklets = []
    for track in tracks:
        identity, template = track["identity"], templates.get(track["track_id"])
        if identity is None or template is None:
            continue
        fits = identity["samples"] >= settings.min_samples and identity["best_quality"] >= settings.min_quality
        if fits and track["described"]:
            tracklets.append(Tracklet(track["track_id"], template, identity["best_quality"]))
    return Recording(folder, header, people, tracklets, impostors)


def find_across(recordings: Sequence[Recording], false_join_rate: float, base: Path | None) -> Across:
    """Join the people of these recordings. `base`: folders are named relative to it; None: as they are.

    Two people of one recording stay two. Recordings of the same content count once, the first. Where no recording has
    scores of strangers, people are joined by name only. Raises ConfigError if the models differ.
    """
    once: dict[str, Recording] = {}
    for one in recordings:
        once.setdefault(one.content, one)
    repeated = [(one, once[one.content]) for one in recordings if once[one.content] is not one]
    kept = list(once.values())
    models = sorted({one.header["model_id"] for one in kept})
    if len(models) > 1:
        raise ConfigError(
            f"faces of different models cannot be compared: the recordings were analysed by {', '.join(models)}. "
            "Analyse them again by one of these"
        )
    places = [(which, row) for which, one in enumerate(kept) for row in range(len(one.people))]
    tracks, links, owner = _tracks(kept, places)
    scores = [one.impostors for one in kept if one.impostors is not None]
    impostors = max(scores, key=lambda one: one.pairs) if scores else None
    groups = cluster(tracks, links, impostors, false_join_rate)
    joined = sorted(sorted({owner[row] for row in rows}) for rows in groups)
    header = {
        "type": "header",
        "schema_version": SCHEMA_VERSION,
        "version": version("faceanalytics"),
        "model_id": models[0] if models else None,
        "false_join_rate": false_join_rate,
        "recordings": [
            {
                "source": one.header["source"]["name"],
                "sha256": one.header["source"]["sha256"],
                "run_id": one.header["run_id"],
                "folder": _relative(one.folder, base),
                "people": len(one.people),
            }
            for one in kept
        ],
    }
    people = [
        _record(number, [places[member] for member in members], kept, base) for number, members in enumerate(joined, 1)
    ]
    return Across(header, people, repeated)


def is_list(path: Path) -> bool:
    """Return whether the file at `path` is a list of the people of several recordings, of any version."""
    try:
        with path.open(encoding="utf-8") as file:
            header = json.loads(next(file, "null"))
        return isinstance(header, dict) and header.get("type") == "header" and "recordings" in header
    except (OSError, ValueError):
        return False


def write_across(path: Path, found: Across) -> None:
    """Write the list as JSON lines, a header first. Raises ConfigError."""
    with JsonLines(path) as lines:
        lines.write(found.header)
        for record in found.people:
            lines.write(record)


def table(found: Across) -> Iterator[str]:
    """Yield the lines of a table to read: each person and where they appear."""
    yield f"{len(found.people)} people in {_recordings(len(found.header['recordings']))}"
    for one in found.people:
        mark = one["name"] or ("too poor to compare" if one.get("uncertain") else "")
        yield f"{one['number']:>5}  {one['seen_s']:>8.1f} s  {_recordings(one['files'])}  {mark}".rstrip()
        for part in one["appearances"]:
            yield (
                f"       {part['folder']}: person {part['person_number']}, "
                f"{part['first_seen_s']:.2f} to {part['last_seen_s']:.2f} s"
            )


def _recordings(count: int) -> str:
    return f"{count} recording" if count == 1 else f"{count} recordings"


def _tracks(
    recordings: Sequence[Recording], places: Sequence[tuple[int, int]]
) -> tuple[list[Tracklet], Links, list[int]]:
    """Return all tracks, their links and the place of each one's person. A person without a template is one track."""
    tracks: list[Tracklet] = []
    owner: list[int] = []
    same, apart = [], []
    heads: dict[int, list[str]] = {}  # first tracks of the people of each recording
    known = [{one.id: one for one in recording.tracklets} for recording in recordings]
    for place, (which, row) in enumerate(places):
        person = recordings[which].people[row]
        ids = [name for name in person["track_ids"] if name in known[which]] or person["track_ids"][:1]
        for name in ids:
            found = known[which].get(name)
            template, quality = (found.template, found.quality) if found is not None else (None, 0.0)
            tracks.append(Tracklet(f"{which} {name}", template, quality, person["name"] or ""))
            owner.append(place)
            same.append((f"{which} {ids[0]}", f"{which} {name}"))
        apart += [(other, f"{which} {ids[0]}") for other in heads.setdefault(which, [])]
        heads[which].append(f"{which} {ids[0]}")
    return tracks, Links(apart, same), owner


def _record(
    number: int, members: Sequence[tuple[int, int]], recordings: Sequence[Recording], base: Path | None
) -> Record:
    people = [(recordings[which], recordings[which].people[row]) for which, row in members]
    names = [person["name"] for _, person in people if person["name"]]
    record: Record = {
        "type": "person",
        "person_id": person_id(people[0][1]["person_id"]),
        "number": number,
        "name": names[0] if names else None,
        "files": len({which for which, _ in members}),
        "seen_s": round(sum(person["seen_s"] for _, person in people), 6),
        "samples": sum(person["samples"] for _, person in people),
        "best_quality": max(person["best_quality"] for _, person in people),
        "appearances": [
            {
                "source": one.header["source"]["name"],
                "sha256": one.header["source"]["sha256"],
                "folder": _relative(one.folder, base),
                "person_id": person["person_id"],
                "person_number": person["number"],
                **{key: person[key] for key in ("track_ids", "intervals", "first_seen_s", "last_seen_s", "seen_s")},
            }
            for one, person in people
        ],
    }
    if all(person.get("uncertain") for _, person in people):
        record["uncertain"] = True
    return record


def _relative(folder: Path, base: Path | None) -> str:
    return Path(os.path.relpath(folder, base)).as_posix() if base is not None else folder.as_posix()


def _read_lines(path: Path) -> tuple[Record, list[Record]]:
    """Return the header and the records of a file. Raises InputError."""
    try:
        with path.open(encoding="utf-8") as file:
            header, *records = (json.loads(line) for line in file)
        version_found = header["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} was not written by `streamer analyze`, or is not complete: {error}") from error
    if version_found != SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema_version {version_found}, this version reads {SCHEMA_VERSION}; analyse the video again"
        )
    return header, records


def _read_embeddings(path: Path, run_id: str) -> tuple[dict[str, Floats], ImpostorScores | None]:
    """Return the templates by track id, and the scores of strangers. Raises InputError."""
    try:
        with np.load(path) as arrays:
            found = dict(zip(arrays["track_id"].tolist(), arrays["embedding"], strict=True))
            same = str(arrays["run_id"]) == run_id
            impostors = None
            if "impostor_shares" in arrays:
                impostors = ImpostorScores(
                    int(arrays["impostor_pairs"]),
                    int(arrays["impostor_people"]),
                    arrays["impostor_shares"],
                    arrays["impostor_cosines"],
                    str(arrays["impostor_source"]),
                )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} was not written by `streamer analyze`: {error}") from error
    if not same:
        raise InputError(f"{path} is of another run than the files beside it; analyse the video again")
    return found, impostors
