"""Cut faces out of the video that was analysed: one pass over it, whatever the number of faces."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from faceanalytics.errors import InputError
from faceanalytics.files import never
from streamer.recorded.records import Record
from streamer.recorded.stored import Stored
from streamer.source.file import TruncatedVideo, decode_file
from streamer.values import Bytes

PART_S = 1.0  # s, pictures over time are about as far apart
MARGIN = 0.45  # around a face, in widths of its box: hair and chin are in the picture
Key = TypeVar("Key", bound=Hashable)


class Moment(NamedTuple):
    """One face in one frame."""

    media_time_s: float
    box: tuple[float, float, float, float]  # x y width height, px of the frame
    value: tuple[float, float]  # how good the picture is: quality, then detection score, 0..1


@dataclass(frozen=True, slots=True)
class Chosen:
    """The moments at which faces are seen best."""

    tracks: dict[str, Moment]  # the best one of each track, by the track id of its faces
    people: dict[int, Moment]  # the best one of each person, by its number
    over_time: dict[int, tuple[Moment, ...]]  # of each person, in the order of time: the best ones of parts of its time


def choose_moments(results: Stored, most: int = 1) -> Chosen:
    """Choose the best moments, and up to `most` of each person over time, at least about PART_S apart.

    The best moment of a person is the one that people.jsonl names, or else the one with the best value.
    """
    persons = results.persons()
    parts = {person["number"]: _Parts(person, most) for person in results.people}
    named = {person["number"]: person.get("best") for person in results.people}
    chosen = Chosen({}, {}, {})
    over_time: dict[tuple[int, int], Moment] = {}
    fixed: dict[int, Moment] = {}
    for frame, faces in results.frames():
        for face in faces:
            track_id, moment = face["track_id"], _moment(frame, face)
            _keep_better(chosen.tracks, track_id, moment)
            if track_id not in persons:
                continue
            number = persons[track_id]["number"]
            _keep_better(chosen.people, number, moment)
            _keep_better(over_time, (number, parts[number].of(moment.media_time_s)), moment)
            best = named[number]
            if best is not None and (best["track_id"], best["frame"]) == (track_id, frame["frame"]):
                fixed[number] = moment
    chosen.people.update(fixed)
    for number, place in sorted(over_time):
        chosen.over_time[number] = (*chosen.over_time.get(number, ()), over_time[number, place])
    return chosen


class _Parts:
    """Divides the time in which a person was in view into parts of equal length."""

    def __init__(self, person: Record, most: int) -> None:
        self._intervals = sorted((float(one["start_s"]), float(one["end_s"])) for one in person["intervals"])
        self._seen = sum(end - start for start, end in self._intervals)
        self._count = max(1, min(most, round(self._seen / PART_S)))

    def of(self, time: float) -> int:
        """Return the part in which a media time (s) is, from 0."""
        before = sum(min(max(time - start, 0.0), end - start) for start, end in self._intervals)
        return min(self._count - 1, int(self._count * before / self._seen)) if self._seen else 0


def _keep_better(moments: dict[Key, Moment], key: Key, moment: Moment) -> None:
    if key not in moments or moment.value > moments[key].value:
        moments[key] = moment


def _moment(frame: Record, face: Record) -> Moment:
    box = face["box"]
    place = box["x"], box["y"], box["width"], box["height"]
    return Moment(frame["media_time_s"], place, (face["quality"] or 0.0, face["detection_score"]))


def thumbnails(
    video: Path,
    results: Stored,
    wanted: Mapping[Key, Moment],
    largest: int,
    stopped: Callable[[], bool] = never,
) -> dict[Key, Bytes]:
    """Return the face at each wanted moment as a square picture (n, n, 3) BGR with a margin, n at most `largest` px.

    `video` is that of the results (`Stored.check_video`). Frames that nobody wants are decoded but not converted.
    Raises InputError if the video lacks one of the moments, and soon after `stopped` becomes true.
    """
    missing: dict[float, list[Key]] = {}
    for key, moment in wanted.items():
        missing.setdefault(round(moment.media_time_s, 6), []).append(key)
    found: dict[Key, Bytes] = {}
    stream = results.header["source"]["video_stream"]
    frames = decode_file(video, video.stem, warn=False, video_stream=stream)
    try:
        while missing and (frame := next(frames, None)) is not None:
            if stopped():
                raise InputError(f"{video}: stopped before its faces were cut out")
            keys = missing.get(round(frame.media_time, 6))
            pixels = frame.pixels() if keys is not None else None
            if keys is None or pixels is None:
                continue
            del missing[round(frame.media_time, 6)]
            found |= {key: fit(cut(pixels, wanted[key].box), largest) for key in keys}
    except TruncatedVideo:
        pass  # what was analysed came before its end
    if missing:
        raise InputError(f"{video}: the frame at {min(missing):.3f} s, in which a face was found, cannot be decoded")
    return {key: found[key] for key in wanted}


def cut(pixels: Bytes, box: Iterable[float]) -> Bytes:
    """Cut out a square around a box (x y width height, px); at the border of the frame it moves inwards."""
    x, y, width, height = box
    rows, columns = pixels.shape[:2]
    side = max(1, min(round(max(width, height) * (1 + 2 * MARGIN)), rows, columns))
    left = min(max(0, round(x + width / 2 - side / 2)), columns - side)
    top = min(max(0, round(y + height / 2 - side / 2)), rows - side)
    return pixels[top : top + side, left : left + side]


def fit(pixels: Bytes, largest: int) -> Bytes:
    """Scale a square picture down to `largest` px; a smaller one stays as it is. The result is a copy."""
    if len(pixels) <= largest:
        return pixels.copy()
    return np.asarray(cv2.resize(pixels, (largest, largest), interpolation=cv2.INTER_AREA), np.uint8)
