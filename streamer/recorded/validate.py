"""Checks the results of a video: every line against its schema, and the files against each other.

A problem is a text that begins with the file and the line. Results of an analysis that has not finished are checked
as far as they go.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from faceanalytics.files import partial_name
from streamer.recorded.filenames import EXPLANATION, OBSERVATIONS, PEOPLE, SHOTS, SUMMARY, TRACKS
from streamer.recorded.people import at_least
from streamer.recorded.records import Record
from streamer.recorded.schema import FILES, SUMMARY_TYPE, explained
from streamer.recorded.validate_tables import check_tables

REQUIRED = (TRACKS, OBSERVATIONS)
SLACK_S = 1e-6  # times are rounded to this


@dataclass(slots=True)
class Findings:
    """What was found in one folder."""

    folder: Path
    finished: bool = False
    run_id: str | None = None
    attributes: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what could not be checked
    counts: Counter[str] = field(default_factory=Counter)  # of frames, tracks, people, shots, analyses, ...
    tracks: dict[str, Record] = field(default_factory=dict)  # by id
    parts: dict[str, str] = field(default_factory=dict)  # id of a track by that of each of its parts
    last_s: float | None = None  # media time of the last frame

    def complain(self, path: Path, line: int | None, what: str) -> None:
        """Note a problem of a line (from 1), or of a whole file."""
        self.problems.append(f"{path}{'' if line is None else f':{line}'}: {what}")


def validate(folder: Path) -> Findings:
    """Check the results in a folder and return what was found; no problem means that they are valid."""
    found = Findings(folder, finished=(folder / SUMMARY).exists())
    if not found.finished:
        found.complain(folder / SUMMARY, None, "is missing: the analysis has not finished, or was stopped")
    headers = {name: _first(folder, name) for name in FILES}
    for name in REQUIRED:
        if headers[name] is None:
            found.complain(folder / name, None, "is missing")
    _check_headers(found, headers)
    _check_tracks(found)
    _check_observations(found)
    _check_shots(found)
    _check_people(found)
    for _ in _records(found, EXPLANATION):
        pass
    if found.finished:
        _check_summary(found)
        check_tables(found)
    return found


def _path(folder: Path, name: str) -> Path | None:
    """Return the path of a file, or of its part so far; None: there is neither."""
    path = folder / name
    return next((one for one in (path, partial_name(path)) if one.exists()), None)


def _first(folder: Path, name: str) -> Record | None:
    """Return the first line of a file; None: there is none that can be read."""
    path = _path(folder, name)
    if path is None:
        return None
    with path.open("rb") as file:
        try:
            record = json.loads(file.readline())
        except ValueError:
            return {}
    return record if isinstance(record, dict) else {}


def _check_headers(found: Findings, headers: dict[str, Record | None]) -> None:
    usual = headers[TRACKS] or {}
    found.run_id = usual.get("run_id")
    outputs = usual.get("outputs")
    found.attributes = tuple(outputs.get("attributes", ())) if isinstance(outputs, dict) else ()
    for name, header in headers.items():
        path = _path(found.folder, name)
        if header is None or path is None or header == usual:
            continue
        if header.get("run_id") != found.run_id:
            found.complain(path, 1, f"run_id: it is of another run than {TRACKS}")
        else:
            found.complain(path, 1, f"the header is not that of {TRACKS}")


def _records(found: Findings, name: str) -> Iterator[tuple[int, Path, Record]]:
    """Yield the valid records of a file after its header with their lines; the others become problems."""
    path = _path(found.folder, name)
    if path is None:
        return
    kinds = FILES[name]
    with path.open("rb") as file:
        number = 0
        for number, line in enumerate(file, 1):
            record = _checked(found, path, number, line, kinds)
            if record is not None and number > 1:
                yield number, path, record
        if not number:
            found.complain(path, None, "is empty")


def _checked(
    found: Findings, path: Path, number: int, line: bytes, kinds: dict[str, TypeAdapter[Any]]
) -> Record | None:
    """Return the record of a line if it is valid."""
    try:
        record = json.loads(line)
    except ValueError as error:
        found.complain(path, number, f"is no JSON: {error}")
        return None
    kind = record.get("type") if isinstance(record, dict) else None
    if (kind == "header") != (number == 1) or kind not in kinds:
        wanted = "header" if number == 1 else " or ".join(one for one in kinds if one != "header")
        found.complain(path, number, f"has type {kind!r}, expected {wanted}")
        return None
    wrong = explained(kinds[kind], line)
    for one in wrong:
        found.complain(path, number, one)
    return None if wrong else record


def _check_tracks(found: Findings) -> None:
    for number, path, track in _records(found, TRACKS):
        found.counts["tracks"] += 1
        found.counts[_kind(track)] += 1
        if track["track_id"] in found.tracks:
            found.complain(path, number, f"track_id: {track['track_id']} is that of an earlier line too")
        if track["first_seen_s"] > track["last_seen_s"]:
            found.complain(path, number, "first_seen_s is after last_seen_s")
        found.tracks[track["track_id"]] = track
        parts = track["intervals"]
        found.parts |= {part["track_id"]: track["track_id"] for part in parts} | {track["track_id"]: track["track_id"]}
        times = [time for part in parts for time in (part["first_seen_s"], part["last_seen_s"])]
        if times != sorted(times):
            found.complain(path, number, "intervals: they are not in the order of time, or overlap")


def _kind(track: Record) -> str:
    """Return the count of the summary that a track belongs to."""
    if track["described"]:
        return "described_tracks"
    return "false_faces" if "FALSE_FACE" in track["undescribed_reasons"] else "undescribed_tracks"


def _check_observations(found: Findings) -> None:
    frame, due, place, where = None, 0, 0, (0, Path())
    for number, path, record in _records(found, OBSERVATIONS):
        kind, where = record["type"], (number, path)
        found.counts[kind] += 1
        if kind == "frame":
            if due > 0:
                found.complain(path, number, f"frame {place - 1} lacks {due} of its observations")
            if record["frame"] != place:
                found.complain(path, number, f"frame: {record['frame']}, expected {place}")
            if frame is not None and record["media_time_s"] <= frame["media_time_s"]:
                found.complain(path, number, "media_time_s is not after that of the frame before")
            if frame is not None and record["shot"] < frame["shot"]:
                found.complain(path, number, "shot is before that of the frame before")
            frame, due, place, found.last_s = record, record["faces"], record["frame"] + 1, record["media_time_s"]
            found.counts["rows"] += max(1, record["faces"])
            continue
        if kind == "observation":
            due -= 1
            _check_observation(found, path, number, record, frame, due)
        elif frame is None or record["frame"] > frame["frame"]:
            found.complain(path, number, "frame: it has not come yet")
        else:
            found.counts["lost_crops"] += record["analysis"] is None
        _check_known(found, path, number, record["track_id"])
    if due > 0 and found.finished:
        found.complain(where[1], where[0], f"the last frame lacks {due} of its observations")


def _check_observation(
    found: Findings, path: Path, number: int, record: Record, frame: Record | None, due: int
) -> None:
    if frame is None or (record["frame"], record["media_time_s"]) != (frame["frame"], frame["media_time_s"]):
        found.complain(path, number, "frame and media_time_s are not those of the frame record before")
    elif due < 0:
        found.complain(path, number, f"frame {frame['frame']} has more observations than its {frame['faces']} faces")


def _check_known(found: Findings, path: Path, number: int, track_id: str) -> None:
    if found.finished and track_id not in found.parts:  # before that, tracks.jsonl lacks those that have not ended
        found.complain(path, number, f"track_id: {track_id} is not in {TRACKS}")


def _check_shots(found: Findings) -> None:
    end = -1
    for number, path, shot in _records(found, SHOTS):
        found.counts["shots"] += 1
        if shot["shot"] != found.counts["shots"]:
            found.complain(path, number, f"shot: {shot['shot']}, expected {found.counts['shots']}")
        if shot["start_frame"] != end + 1 or shot["end_frame"] < shot["start_frame"]:
            found.complain(path, number, f"the shot does not begin where the one before ended, at frame {end}")
        end = shot["end_frame"]
        _check_inside(found, path, number, shot["end_s"])
    if end >= 0 and found.finished and end != found.counts["frame"] - 1:
        found.complain(found.folder / SHOTS, None, f"it ends at frame {end} of {found.counts['frame']} frames")


def _check_people(found: Findings) -> None:
    owners: dict[str, int] = {}
    people: list[Record] = []
    last = 0.0
    for number, path, person in _records(found, PEOPLE):
        people.append(person)
        if person["number"] != len(people):
            found.complain(path, number, f"number: {person['number']}, expected {len(people)}")
        if person["first_seen_s"] < last:
            found.complain(path, number, "first_seen_s: people are not in the order of their first appearance")
        last = person["first_seen_s"]
        for track_id in person["track_ids"]:
            if track_id not in found.tracks:
                found.complain(path, number, f"track_ids: {track_id} is not in {TRACKS}")
            elif track_id in owners:
                found.complain(path, number, f"track_ids: {track_id} is one of person {owners[track_id]} too")
            owners[track_id] = person["number"]
        if person["described"] and not any(_is_described(found, one) for one in person["track_ids"]):
            found.complain(path, number, "described: not one of the person's tracks is")
        for part in person["intervals"]:
            if found.parts.get(part["track_id"]) not in person["track_ids"]:
                found.complain(path, number, f"intervals: {part['track_id']} is none of the person's tracks")
            _check_inside(found, path, number, part["end_s"])
    found.counts["people"] = at_least(people)
    if _path(found.folder, PEOPLE) is not None and found.finished:
        for track_id, track in found.tracks.items():
            if track_id not in owners and track["described"]:
                found.complain(found.folder / PEOPLE, None, f"described track {track_id} is that of no person")


def _is_described(found: Findings, track_id: str) -> bool:
    return track_id not in found.tracks or bool(found.tracks[track_id]["described"])


def _check_inside(found: Findings, path: Path, number: int, time: float) -> None:
    if found.last_s is not None and time > found.last_s + SLACK_S:
        found.complain(path, number, f"{time} s is after the last frame, at {found.last_s} s")


def _check_summary(found: Findings) -> None:
    path = found.folder / SUMMARY
    text = path.read_bytes()
    wrong = explained(SUMMARY_TYPE, text)
    for one in wrong:
        found.complain(path, None, one)
    if wrong:
        return
    summary = json.loads(text)
    if summary["run_id"] != found.run_id:
        found.complain(path, None, f"run_id: it is of another run than {TRACKS}")
    counted = {
        "frames": found.counts["frame"],
        "crops": found.counts["analysis"],
        **{name: found.counts[name] for name in ("tracks", "lost_crops", "people", "shots")},
        **{name: found.counts[name] for name in ("described_tracks", "undescribed_tracks", "false_faces")},
    }
    for name, count in counted.items():
        if name in summary and summary[name] != count:
            found.complain(path, None, f"{name}: {summary[name]}, but there are {count}")
    for track_id, track in found.tracks.items():
        if found.last_s is not None and track["last_seen_s"] > found.last_s + SLACK_S:
            found.complain(found.folder / TRACKS, None, f"track {track_id} ends after the last frame")
