"""The people of a recording as rows of its timeline: when each was seen, and how the face appeared meanwhile."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from faceanalytics.errors import InputError
from streamer.recorded.records import Record
from streamer.recorded.report import words
from streamer.recorded.report.reading import Recording

MOST_STRETCHES = 10_000  # per report; beyond it, short ones are merged
FINEST = 4000  # steps of time over a recording, when stretches have to be merged for the first time


class Stretch(NamedTuple):
    """A stretch of time with one expression."""

    start_s: float
    end_s: float
    expression: str


@dataclass(slots=True)
class Span:
    """A stretch of time in which a person was seen as one track."""

    start_s: float
    end_s: float
    track: Record
    why_not: str  # why this track is not described, in words; empty: it is
    stretches: list[Stretch]


@dataclass(slots=True)
class Row:
    """A person of a recording."""

    id: str  # unique in the page, for links
    person: Record
    title: str  # the name from the gallery, or "Person 3"
    tracks: list[Record]
    spans: list[Span]  # in the order of time, coarse enough for the page
    shots: list[int]
    why_not: str  # why the person is not described, in words; empty: he or she is


def rows(recording: Recording, prefix: str, budget: int = MOST_STRETCHES) -> list[Row]:
    """Return the people in the order of their first appearance; `prefix` makes their ids unique."""
    by_part = {one["track_id"]: track for track in recording.tracks for one in (*track["intervals"], track)}
    made = [_row(recording, person, by_part, prefix) for person in recording.people]
    step_s = recording.end_s / FINEST
    while sum(len(span.stretches) + 1 for row in made for span in row.spans) > budget and step_s < recording.end_s:
        for row in made:
            row.spans = _merged(row.spans, step_s)
        step_s *= 1.5
    return made


def undescribed(track: Record) -> str:
    """Return in words why a track is not described; empty if it is."""
    if track["described"]:
        return ""
    return words.reasons(track["undescribed_reasons"])


def best_first(row: Row) -> list[Record]:
    """Return the tracks of a person: first that of the best crop, then the others by their quality."""
    owner = {part["track_id"]: track["track_id"] for track in row.tracks for part in (*track["intervals"], track)}
    best = row.person["best"]
    first = owner.get(best["track_id"]) if best else None
    return sorted(row.tracks, key=lambda track: (track["track_id"] != first, -track["quality"]))


def pictured_tracks(row: Row, pictures: Mapping[str, str]) -> list[str]:
    """Return the ids of the tracks of a person of which there are pictures, the best first."""
    return [track["track_id"] for track in best_first(row) if track["track_id"] in pictures]


def _row(recording: Recording, person: Record, by_part: dict[str, Record], prefix: str) -> Row:
    spans = []
    for one in sorted(person["intervals"], key=lambda one: (one["start_s"], one["end_s"])):
        if one["track_id"] not in by_part:
            lacks = f"people.jsonl names the track {one['track_id']}, which tracks.jsonl lacks"
            raise InputError(f"{recording.folder}: {lacks}; analyse the video again")
        track = by_part[one["track_id"]]
        start_s, end_s = one["start_s"], one["end_s"]
        spans.append(Span(start_s, end_s, track, undescribed(track), _stretches(track, start_s, end_s)))
    tracks = {span.track["track_id"]: span.track for span in spans}
    why_not = "" if person["described"] else words.reasons(person["undescribed_reasons"] or ["NOT_ANALYSED"])
    title = person["name"] or f"Person {person['number']}"
    row_id = f"{prefix}p{person['number']}"
    return Row(row_id, person, title, list(tracks.values()), spans, _shots(recording.shots, spans), why_not)


def _stretches(track: Record, start_s: float, end_s: float) -> list[Stretch]:
    """Return the expressions of a track between two times."""
    timeline = track["expression"]["timeline"] if track["expression"] else []
    cut = [Stretch(max(one["start_s"], start_s), min(one["end_s"], end_s), one["appears"]) for one in timeline]
    return [one for one in cut if one.end_s > one.start_s]


def _shots(shots: Sequence[Record], spans: Sequence[Span]) -> list[int]:
    return [
        shot["shot"]
        for shot in shots
        if any(span.start_s <= shot["end_s"] and span.end_s >= shot["start_s"] for span in spans)
    ]


def _merged(spans: list[Span], step_s: float) -> list[Span]:
    """Join spans with shorter gaps than `step_s`, and let each step of time show the expression that lasted longest."""
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and span.start_s - last.end_s < step_s and bool(span.why_not) == bool(last.why_not):
            last.end_s = max(last.end_s, span.end_s)
            last.stretches.extend(span.stretches)
        else:
            joined.append(Span(span.start_s, span.end_s, span.track, span.why_not, list(span.stretches)))
    for span in joined:
        span.stretches = _coarse(span.stretches, step_s)
    return joined


def _coarse(stretches: Sequence[Stretch], step_s: float) -> list[Stretch]:
    if all(one.end_s - one.start_s >= step_s for one in stretches):
        return list(stretches)
    lasting: dict[int, Counter[str]] = {}
    for one in stretches:
        for place in range(int(one.start_s / step_s), int(one.end_s / step_s) + 1):
            shared = min(one.end_s, (place + 1) * step_s) - max(one.start_s, place * step_s)
            if shared > 0:
                lasting.setdefault(place, Counter())[one.expression] += shared  # type: ignore[assignment]
    first, last = stretches[0].start_s, max(one.end_s for one in stretches)
    found: list[Stretch] = []
    for place, shares in sorted(lasting.items()):
        longest = max(shares, key=lambda name: (shares[name], name))
        start_s, end_s = max(place * step_s, first), min((place + 1) * step_s, last)
        if found and found[-1].expression == longest and start_s - found[-1].end_s < 1e-9:
            found[-1] = Stretch(found[-1].start_s, end_s, longest)
        else:
            found.append(Stretch(start_s, end_s, longest))
    return found
