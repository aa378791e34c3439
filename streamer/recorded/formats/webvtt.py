"""Write people and expressions as WebVTT: subtitles to read, and a metadata track with JSON in each cue."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from faceanalytics.files import replacing
from streamer.recorded.formats.stays import ADJECTIVES, Run, Stay, label, notice
from streamer.recorded.records import Record
from streamer.recorded.stored import Stored

READABLE_MS = 300
SUBTITLES, METADATA = "people.vtt", "people.metadata.vtt"


class _Cue(NamedTuple):
    start_ms: int
    end_ms: int
    person: Record
    stay: Stay
    run: Run


def write_webvtt(results: Stored, stays: Mapping[int, tuple[Stay, ...]], folder: Path) -> list[Path]:
    """Write both tracks into `folder` and return their paths; each run of an expression is a cue. Raises ConfigError.

    Cues of people who are in view together overlap in time, as WebVTT allows. The subtitles leave out cues without an
    expression that nobody could read.
    """
    cues = sorted(_cues(results, stays), key=lambda cue: (cue.start_ms, cue.end_ms, cue.person["number"]))
    subtitles, metadata = (["WEBVTT", "", *_note(results.header)] for _ in range(2))
    counts: dict[int, int] = {}
    for cue in cues:
        number = cue.person["number"]
        counts[number] = counts.get(number, 0) + 1
        begin = [f"person-{number}-{counts[number]}", f"{_time(cue.start_ms)} --> {_time(cue.end_ms)}"]
        metadata += [*begin, _payload(cue), ""]
        if not _is_flicker(cue):
            subtitles += [*begin, _sentence(cue), ""]
    for name, lines in ((SUBTITLES, subtitles), (METADATA, metadata)):
        with replacing(folder / name) as partial:
            partial.write_text("\n".join(lines), encoding="utf-8", newline="\n")
    return [folder / SUBTITLES, folder / METADATA]


def _is_flicker(cue: _Cue) -> bool:
    """Whether the cue is a short time without an expression, beside runs of the same stay that have one."""
    return cue.run.appears is None and cue.end_ms - cue.start_ms < READABLE_MS and len(cue.stay.runs) > 1


def _cues(results: Stored, stays: Mapping[int, tuple[Stay, ...]]) -> Iterator[_Cue]:
    for person in results.people:
        for stay in stays[person["number"]]:
            for run in stay.runs:
                start, end = (round(1000 * time) for time in (run.start_s, run.end_s))
                if start < end:
                    yield _Cue(start, end, person, stay, run)


def _note(header: Record) -> list[str]:
    """Return a comment that says where the track comes from."""
    source = header["source"]
    text = f"Faces of {source['name']}, sha256 {source['sha256']}, run {header['run_id']}. {notice(header)}"
    return [f"NOTE {' '.join(text.split())}".replace("-->", "->"), ""]


def _sentence(cue: _Cue) -> str:
    """Return "Anna appears happy", or the name alone where no expression is clear."""
    name = _escape(label(cue.person))
    return name if cue.run.appears is None else f"{name} appears {ADJECTIVES[cue.run.appears]}"


def _payload(cue: _Cue) -> str:
    """Return one line of JSON in the field names of people.jsonl; it never contains the arrow that ends a payload."""
    fields = ("number", "person_id", "name", "described", "undescribed_reasons", "age")
    payload = {name: cue.person[name] for name in fields}
    payload |= {
        "track_ids": cue.stay.track_ids,
        "appears": cue.run.appears,
        "confidence": cue.run.confidence,
        "start_s": round(cue.run.start_s, 6),
        "end_s": round(cue.run.end_s, 6),
    }
    return json.dumps(payload, separators=(",", ":"), allow_nan=False).replace(">", "\\u003e")


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(milliseconds: int) -> str:
    """Return hh:mm:ss.mmm; the hours have more digits from the hundredth on."""
    seconds, thousandths = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{thousandths:03}"
