"""When each person was in view, and what the face appeared to show: for subtitles and annotation tiers."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streamer.recorded.records import Record
from streamer.recorded.stored import Stored

ADJECTIVES = {
    "surprise": "surprised",
    "fear": "fearful",
    "disgust": "disgusted",
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
    "neutral": "neutral",
}
UNTRAINED = "SwinFace is UNTRAINED: ages and expressions are noise"


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of time in which a face appeared to show one expression, or nothing clear."""

    start_s: float  # media time
    end_s: float  # media time; not included
    appears: str | None  # the expression; None: not clear, or not described
    confidence: float | None  # 0..1, not calibrated


@dataclass(frozen=True, slots=True)
class Stay:
    """A stretch of time in which a person was in view; the runs fill it without gaps."""

    start_s: float  # media time of the first frame
    end_s: float  # media time of the first frame without the person
    track_ids: tuple[str, ...]
    runs: tuple[Run, ...]


class Clock:
    """The media times (s) of the analysed frames, to say when what a frame shows ends: with the next frame."""

    def __init__(self, times: Sequence[float]) -> None:
        self._times = times
        steps = sorted(after - before for before, after in pairwise(self._times))
        self._step = steps[len(steps) // 2] if steps else 0.04

    def __len__(self) -> int:
        return len(self._times)

    @property
    def step_s(self) -> float:
        """Return the median time from one frame to the next."""
        return self._step

    def after(self, time: float) -> float:
        """Return the media time (s) of the frame after the one at `time`, or one step later at the end."""
        place = bisect_right(self._times, time)
        return self._times[place] if place < len(self._times) else time + self._step


def clock_of(results: Stored) -> Clock:
    """Read the times of the frames."""
    return Clock([float(frame["media_time_s"]) for frame, _ in results.frames()])


def find_stays(results: Stored, clock: Clock) -> dict[int, tuple[Stay, ...]]:
    """Return when each person was in view, by its number: in the order of time, without overlap."""
    tracks = {track["track_id"]: track for track in results.tracks}
    found = {}
    for person in results.people:
        spans = [
            (float(one["start_s"]), clock.after(float(one["end_s"])), str(one["track_id"]))
            for one in person["intervals"]
        ]
        found[person["number"]] = join(spans, [run for name in person["track_ids"] for run in _runs(tracks[name])])
    return found


def join(spans: Iterable[tuple[float, float, str]], runs: Iterable[Run]) -> tuple[Stay, ...]:
    """Join spans (start s, end s, track id) that follow each other at once or overlap, and fill them with the runs."""
    ordered = sorted(runs, key=lambda run: run.start_s)
    stays: list[tuple[float, float, tuple[str, ...]]] = []
    for start, end, track_id in sorted(spans):
        if stays and start <= stays[-1][1]:
            first, last, ids = stays.pop()
            stays.append((first, max(last, end), ids if track_id in ids else (*ids, track_id)))
        else:
            stays.append((start, end, (track_id,)))
    return tuple(Stay(start, end, ids, _fill(start, end, ordered)) for start, end, ids in stays)


def _runs(track: Record) -> list[Run]:
    """Return the timeline of a track's expression; it is empty if the track is not described."""
    expression = track["expression"]
    if expression is None:
        return []
    return [
        Run(float(one["start_s"]), float(one["end_s"]), one["appears"], one["confidence"])
        for one in expression["timeline"]
    ]


def _fill(start: float, end: float, runs: Sequence[Run]) -> tuple[Run, ...]:
    """Return what the runs, in the order of their start, leave from `start` to `end`, with empty runs between them."""
    filled: list[Run] = []
    at = start
    for run in runs:
        first, last = max(run.start_s, at), min(run.end_s, end)
        if last <= first:
            continue
        if first > at:
            filled.append(Run(at, first, None, None))
        filled.append(Run(first, last, run.appears, run.confidence))
        at = last
    if at < end:
        filled.append(Run(at, end, None, None))
    return tuple(filled)


def label(person: Record) -> str:
    """Return the name of a person on one line, or "person 3"."""
    name = " ".join(str(person["name"] or "").split())
    return name or f"person {person['number']}"


def age_text(age: Record | None) -> str:
    """Return "34 years (28-41)", the interval of 80 % probability in brackets; empty if the age is not known."""
    if age is None:
        return ""
    return f"{age['years']:.0f} years ({age['low_years']:.0f}-{age['high_years']:.0f})"


def reasons_text(person: Record) -> str:
    """Return "not described: low quality" with all reasons; empty if the person is described."""
    if person["described"]:
        return ""
    reasons = ", ".join(reason.lower().replace("_", " ") for reason in person["undescribed_reasons"])
    return f"not described: {reasons}" if reasons else "not described"


def notice(header: Record) -> str:
    """Return a warning that everybody who sees the results must see; usually empty."""
    return UNTRAINED if header["model_id"] == "untrained" else ""
