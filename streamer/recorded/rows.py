"""Makes the rows of the tables of results from records: nested records in, one flat row per frame and face out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamer.recorded.wall_clock import timecode, wall_clock

Record = Mapping[str, Any]
Row = dict[str, Any]
# the analysis of a crop by its frame and the rank of its track; None: there is none
FindAnalysis = Callable[[int, int], Record | None]


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """A track and its person."""

    track: Record
    person: Record | None
    rank: int  # place among the tracks of the recording, by number

    def names(self) -> Row:
        """Return the columns that name the track and its person."""
        return {
            "face_id": self.track["number"],
            "track_id": self.track["track_id"],
            "person": self.person["number"] if self.person else None,
            "person_name": self.person["name"] if self.person else None,
        }

    def expression(self, time: float) -> str | None:
        """Return the expression that the track appears to show at a media time (s)."""
        found = self.track["expression"]
        timeline = found["timeline"] if found else ()
        return next((one["appears"] for one in timeline if one["start_s"] <= time < one["end_s"]), None)


class Rows:
    """Makes the rows of one recording. Raises KeyError for a record of a track that is not there."""

    def __init__(self, header: Record, tracks: Sequence[Record], people: Sequence[Record]) -> None:
        start = header["start_time"]
        self._input: str = header["source"]["name"]
        self._start = None if start is None else datetime.fromisoformat(start)
        self._size = {"frame_width": header["source"]["width"], "frame_height": header["source"]["height"]}
        self._tracks = tracks
        self._people = people
        persons = {track_id: person for person in people for track_id in person["track_ids"]}
        self._known: dict[str, Described] = {}  # by the id of each part of a track
        for rank, track in enumerate(sorted(tracks, key=lambda track: (track["number"], track["track_id"]))):
            one = Described(track, persons.get(track["track_id"]), rank)
            self._known |= {part["track_id"]: one for part in track["intervals"]} | {track["track_id"]: one}

    def rank(self, track_id: str) -> int:
        """Return the place of a track, by its id or that of a part, among the tracks of the recording."""
        return self._known[track_id].rank

    def frames(self, frames: Iterable[tuple[Record, Sequence[Record]]], find: FindAnalysis) -> Iterator[Row]:
        """Yield the rows of each frame and its observations, by number of the track; one row if it has none."""
        for frame, observations in frames:
            time = frame["media_time_s"]
            common = {
                **self._moment(frame),
                "shot": frame["shot"],
                **self._frame_size(frame),
                "time_estimated": frame.get("time_estimated", False),
            }
            if not observations:
                yield {**common, "success": False, "analysed": False, "interpolated": False, "skipped": []}
            known = [(self._known[one["track_id"]], one) for one in observations]
            for one, record in sorted(known, key=lambda pair: pair[0].rank):
                found = find(frame["frame"], one.rank)
                yield {**common, "success": True, **self._face(one, record, time), **_scores(one, found)}

    def _face(self, one: Described, record: Record, time: float) -> Row:
        age = one.track["age"]
        return {
            **one.names(),
            **_box(record["box"]),
            "FaceScore": record["detection_score"],
            **{f"{name}_{axis}": point[axis] for name, point in record["landmarks"].items() for axis in "xy"},
            **{name: record[name] for name in ("yaw_deg", "pitch_deg", "roll_deg", "quality")},
            "interpolated": record.get("interpolated", False),
            "skipped": list(record.get("skipped", ())),
            "described": _described(one.track),
            "expression": one.expression(time),
            "track_age_years": age["years"] if age else None,
        }

    def tracks(self) -> Iterator[Row]:
        """Yield a row for each track, by its beginning."""
        for track in sorted(self._tracks, key=lambda track: (track["first_seen_s"], track["number"])):
            one, identity = self._known[track["track_id"]], track["identity"]
            yield {
                "input": self._input,
                **one.names(),
                "identity_status": track["decision"]["status"] if track["decision"] else None,
                **self._presence(track),
                "seen_s": _length(track["intervals"], "first_seen_s", "last_seen_s"),
                **{
                    name: track[name]
                    for name in ("end_reason", "quality", "samples", "model_id", "split_from", "final")
                },
                "reasons": list(track["reasons"]),
                **_estimates(track),
                "consistency": identity["consistency"] if identity else None,
                "outliers": identity["outliers"] if identity else None,
                **_box(track["box"]),
                **self._frame_size(track),
            }

    def people(self) -> Iterator[Row]:
        """Yield a row for each person, by first appearance."""
        for person in self._people:
            best = person["best"] or {}
            yield {
                "input": self._input,
                "person": person["number"],
                "person_id": person["person_id"],
                "person_name": person["name"],
                "track_ids": list(person["track_ids"]),
                **self._presence(person),
                "seen_s": person["seen_s"],
                "appearances": len(person["intervals"]),
                "uncertain": person.get("uncertain", False),
                **_estimates(person),
                "samples": person["samples"],
                "best_quality": person["best_quality"],
                "best_frame": best.get("frame"),
                "best_timestamp": best.get("media_time_s"),
                "best_track_id": best.get("track_id"),
            }

    def analyses(self, records: Iterable[Record]) -> Iterator[Row]:
        """Yield a row for each analysed crop; the records must be in the order of frame and track."""
        for record in records:
            one, answer = self._known[record["track_id"]], record["analysis"] or {}
            scores = answer.get("expression")
            yield {
                **self._moment(record),
                **one.names(),
                "quality": record["quality"],
                "answered": record["analysis"] is not None,
                "described": _described(one.track),
                "age_years": answer.get("age_years"),
                "expression": max(scores, key=scores.__getitem__) if scores else None,
                **(scores or {}),
                "embedding_norm": answer.get("embedding_norm"),
                **_prefixed("attribute", answer.get("attributes")),
            }

    def _moment(self, record: Record) -> Row:
        time = record["media_time_s"]
        return {
            "input": self._input,
            "frame": record["frame"],
            "timestamp": time,
            "timecode": timecode(time),
            "wall_clock": self._at(time),
        }

    def _presence(self, record: Record) -> Row:
        first, last = record["first_seen_s"], record["last_seen_s"]
        times = {"first_seen_s": first, "last_seen_s": last}
        return times | {"first_seen_at": self._at(first), "last_seen_at": self._at(last)}

    def _at(self, time: float) -> datetime | None:
        return None if self._start is None else wall_clock(self._start, time)

    def _frame_size(self, record: Record) -> Row:
        return {name: record.get(name, usual) for name, usual in self._size.items()}


def _box(box: Record) -> Row:
    return {f"FaceRect{side.capitalize()}": box[side] for side in ("x", "y", "width", "height")}


def _scores(one: Described, found: Record | None) -> Row:
    """Return what the analysis of one face in one frame says; without its scores if the track is not described."""
    answer = (found["analysis"] or {}) if found and _described(one.track) else {}
    scores = answer.get("expression") or {}
    return {"analysed": found is not None, **scores, "age_years": answer.get("age_years")}


def _estimates(record: Record) -> Row:
    """Return the age, the expressions and the attributes of a track or a person."""
    age, expression, attributes = record["age"] or {}, record["expression"], record["attributes"] or {}
    shares = _shares(expression)
    return {
        "described": _described(record),
        "undescribed_reasons": list(record["undescribed_reasons"]),
        "age_years": age.get("years"),
        "age_low_years": age.get("low_years"),
        "age_high_years": age.get("high_years"),
        "expression": max(shares, key=shares.__getitem__) if shares else None,
        **_prefixed("expression", shares),
        **_prefixed("attribute", attributes.get("scores")),
        **_prefixed("presence", attributes.get("presence")),
    }


def _shares(expression: Record | None) -> Mapping[str, float]:
    """Return the share of the time of each expression, of a track or a person; empty: it is not known."""
    if expression is None:
        return {}
    found: Mapping[str, float] = expression["distribution"] if "distribution" in expression else expression["shares"]
    return found


def _described(record: Record) -> bool:
    return bool(record["described"])


def _length(intervals: Iterable[Record], start: str, end: str) -> float:
    return round(sum(float(one[end]) - float(one[start]) for one in intervals), 6)


def _prefixed(prefix: str, values: Mapping[str, Any] | None) -> Row:
    return {f"{prefix}_{name}": value for name, value in (values or {}).items()}
