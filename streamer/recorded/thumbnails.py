"""Cut faces out of the video that was analysed: one pass over it, whatever the number of faces."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from faceanalytics.errors import InputError
from faceanalytics.files import never
from streamer.recorded.stored import Record, Stored
from streamer.source.file import TruncatedVideo, decode_file
from streamer.values import Bytes

MARGIN = 0.45  # around a face, in widths of its box: hair and chin are in the picture
Key = TypeVar("Key", bound=Hashable)


class Moment(NamedTuple):
    """One face in one frame."""

    media_time_s: float
    box: tuple[float, float, float, float]  # x y width height, px of the frame
    quality: float  # 0..1


def best_moments(results: Stored) -> dict[str, Moment]:
    """Return when the face of each track id was seen best: by quality, then by detection score."""
    best: dict[str, tuple[float, float]] = {}
    moments: dict[str, Moment] = {}
    for frame, faces in results.frames():
        for face in faces:
            value = face["quality"] or 0.0, face["detection_score"]
            if value > best.get(face["track_id"], (-1.0, -1.0)):
                best[face["track_id"]] = value
                moments[face["track_id"]] = _moment(frame, face)
    return moments


def _moment(frame: Record, face: Record) -> Moment:
    box = face["box"]
    corners = box["x"], box["y"], box["width"], box["height"]
    return Moment(frame["media_time_s"], corners, face["quality"] or 0.0)


def best_of_people(results: Stored, moments: Mapping[str, Moment]) -> dict[int, list[Moment]]:
    """Return the moments of each person, by its number: one per track, best first."""
    found: dict[int, list[Moment]] = {person["number"]: [] for person in results.people}
    persons = results.persons()
    for track_id, moment in moments.items():
        if track_id in persons:
            found[persons[track_id]["number"]].append(moment)
    return {number: sorted(those, key=lambda one: (-one.quality, one.media_time_s)) for number, those in found.items()}


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
