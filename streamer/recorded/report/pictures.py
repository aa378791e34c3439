"""Pictures for the report, cut from the video in one pass: the best face of each track, and a frame of each shot."""

import base64
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

from faceanalytics.errors import InputError
from streamer.recorded.report.reading import Recording
from streamer.recorded.report.rows import Row, best_first
from streamer.source.file import TruncatedVideo, decode_file
from streamer.values import Bytes

FACE_PX, SHOT_PX = 112, 192  # largest sides
MARGIN = 0.4  # around a face, in sides of its box: hair and chin are in the picture
QUALITY = 72  # of the JPEGs
PER_PERSON = 6  # pictures of different tracks of one person
MOST_FACES, MOST_SHOTS = 420, 150  # per report: about 2.5 MB


class Moment(NamedTuple):
    """What a picture shows."""

    key: str
    media_time_s: float
    box: tuple[float, float, float, float] | None  # x y width height, px; None: the whole frame


def moments(
    recording: Recording, rows: Sequence[Row], faces: int = MOST_FACES, shots: int = MOST_SHOTS
) -> list[Moment]:
    """Return the pictures that the report shows, at most this many `faces` and `shots`: those of people first."""
    people = [
        [found for track in best_first(row) if (found := _face(recording, track["track_id"])) is not None]
        for row in rows
    ]
    other = [found for track in recording.tracks if (found := _face(recording, track["track_id"])) is not None]
    wanted: dict[str, Moment] = {}
    for place in range(PER_PERSON):  # the best of each person, then the second best ...
        wanted.update({one[place].key: one[place] for one in people if place < len(one)})
        if place == 0:
            wanted.update({one.key: one for one in other if one.key not in wanted and _unknown(one, people)})
    chosen = list(wanted.values())[:faces]
    longest = sorted(recording.shots, key=lambda shot: shot["start_s"] - shot["end_s"])[:shots]
    for shot in longest:
        chosen.append(Moment(f"shot {shot['shot']}", (shot["start_s"] + shot["end_s"]) / 2, None))
    return chosen


def cut_pictures(
    video: Path, video_stream: int, wanted: Sequence[Moment], stopped: Callable[[], bool]
) -> dict[str, str]:
    """Return the wanted pictures by key, as data URIs of JPEGs; moments that cannot be decoded are missing.

    Each is of the first frame at or after its time. Raises InputError if the video cannot be read, and soon after
    `stopped` becomes true.
    """
    left = sorted(wanted, key=lambda one: one.media_time_s, reverse=True)
    found: dict[str, str] = {}
    frames = decode_file(video, video.stem, warn=False, video_stream=video_stream)
    try:
        while left and (frame := next(frames, None)) is not None:
            if stopped():
                raise InputError(f"{video}: stopped before its pictures were cut out")
            pixels = None
            while left and left[-1].media_time_s <= round(frame.media_time, 6):
                pixels = frame.pixels() if pixels is None else pixels
                if pixels is None:  # damaged: take the next frame
                    break
                one = left.pop()
                found[one.key] = _encoded(pixels if one.box is None else _around(pixels, one.box), one.box is None)
    except TruncatedVideo:
        pass  # what was analysed came before its end
    return found


def _face(recording: Recording, track_id: str) -> Moment | None:
    """Return where a track is seen best."""
    faces = recording.seen.tracks[track_id]
    sighting = faces.at_best or faces.best
    return None if sighting is None else Moment(track_id, sighting.media_time_s, sighting.box)


def _unknown(one: Moment, people: Iterable[Sequence[Moment]]) -> bool:
    return all(one.key != known.key for each in people for known in each)


def _around(pixels: Bytes, box: tuple[float, float, float, float]) -> Bytes:
    """Cut out a square around a box; at the border of the frame it moves inwards."""
    x, y, width, height = box
    rows, columns = pixels.shape[:2]
    side = max(1, min(round(max(width, height) * (1 + 2 * MARGIN)), rows, columns))
    left = min(max(0, round(x + (width - side) / 2)), columns - side)
    top = min(max(0, round(y + (height - side) / 2)), rows - side)
    return pixels[top : top + side, left : left + side]


def _encoded(pixels: Bytes, whole: bool) -> str:
    largest = SHOT_PX if whole else FACE_PX
    scale = min(1.0, largest / max(pixels.shape[:2]))
    if scale < 1:
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), QUALITY, "BGR")
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
