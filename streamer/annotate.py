"""A video with what was found drawn into it, from the files of a recorded analysis, with the source's timestamps."""

import colorsys
import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from streamer.decode import TruncatedVideo, read_file
from streamer.errors import InputError
from streamer.records import hash_file
from streamer.values import Bytes, Frame

TIME_BASE = Fraction(1, 90_000)


def annotate(video: Path, folder: Path, out: Path) -> int:
    """Draw the tracks.jsonl and observations.jsonl of `folder` into a copy of `video` (H.264); frames written.

    Raises InputError if the results are those of another video.
    """
    header, *tracks = _read(folder / "tracks.jsonl")
    if header["source"]["sha256"] != hash_file(video):
        raise InputError(
            f"{folder}: the results are of {header['source']['name']}, which is another video than {video}"
        )
    labels = {record["track_id"]: _label(record) for record in tracks}
    notice = "SwinFace is UNTRAINED: ages and expressions are noise" if header["model_id"] == "untrained" else ""
    faces: dict[float, list[dict[str, Any]]] = defaultdict(list)
    for record in _read(folder / "observations.jsonl")[1:]:
        faces[record["media_time_s"]].append(record)
    frames = read_file(video, video.stem, 0)
    partial = out.with_name(out.name + ".partial")
    count = 0
    with av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", options={"crf": "20", "preset": "veryfast"})
        stream.time_base = TIME_BASE
        stream.codec_context.time_base = TIME_BASE
        stream.pix_fmt = "yuv420p"
        for frame in _until_it_breaks_off(frames):
            pixels = frame.pixels.copy()
            _draw(pixels, faces.get(round(frame.media_time, 6), ()), labels, notice)
            if count == 0:
                stream.width, stream.height = pixels.shape[1] & ~1, pixels.shape[0] & ~1  # H.264 wants even sides
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(pixels[: stream.height, : stream.width]), format="bgr24"
            )
            picture.pts = round(frame.media_time / TIME_BASE)
            picture.time_base = TIME_BASE
            container.mux(stream.encode(picture))
            count += 1
        container.mux(stream.encode(None))
    partial.replace(out)
    return count


def _until_it_breaks_off(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The frames that the analysis had, too; it has complained already."""
    with contextlib.suppress(TruncatedVideo):
        yield from frames


def _read(path: Path) -> list[dict[str, Any]]:
    """The records, the header first."""
    try:
        with path.open(encoding="utf-8") as file:
            records: list[dict[str, Any]] = [json.loads(line) for line in file]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no result of `streamer analyze`: {error}") from error
    if not records or records[0].get("type") != "header":
        raise InputError(f"{path} is no result of `streamer analyze`: it has no header")
    return records


def _label(track: dict[str, Any]) -> str:
    parts = [f"#{track['number']}"]
    if track["age"]:
        parts.append(f"{round(track['age']['years'])} y")
    if track["expression"]:
        parts.append(track["expression"]["appears"])
    parts += [reason.lower().replace("_", " ") for reason in track["reasons"]]
    return " ".join(parts)


def _draw(pixels: Bytes, faces: Sequence[dict[str, Any]], labels: dict[str, str], notice: str) -> None:
    """Labels first, so that none covers a face's box; what does not fit above a box goes below it."""
    thick = max(1, round(pixels.shape[0] / 500))
    scale = max(0.4, pixels.shape[0] / 1200)
    for face in faces:
        x, y = round(face["box"]["x"]), round(face["box"]["y"])
        text = labels.get(face["track_id"], "")
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
        left = max(0, min(x, pixels.shape[1] - width))
        below = round(face["box"]["y"] + face["box"]["height"]) + height + 6
        base = y - 4 if y - height - 8 >= 0 else min(below, pixels.shape[0] - 2)
        cv2.rectangle(pixels, (left, base - height - 3), (left + width, base + 4), _colour(face["number"]), -1)
        cv2.putText(pixels, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), thick, cv2.LINE_AA)
    for face in faces:
        corner = face["box"]
        start = round(corner["x"]), round(corner["y"])
        end = round(corner["x"] + corner["width"]), round(corner["y"] + corner["height"])
        cv2.rectangle(pixels, start, end, _colour(face["number"]), thick + 1)
        for point in face["landmarks"].values():
            cv2.circle(pixels, (round(point["x"]), round(point["y"])), thick, _colour(face["number"]), -1)
    if notice:
        place = (6, pixels.shape[0] - 8)
        cv2.putText(pixels, notice, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 3 * thick, cv2.LINE_AA)
        cv2.putText(pixels, notice, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (80, 80, 255), thick, cv2.LINE_AA)


def _colour(number: int) -> tuple[int, int, int]:
    """A bright colour (BGR) per track; neighbours differ most, by the golden ratio of the colour circle."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618 % 1, 0.55, 0.95)
    return round(255 * blue), round(255 * green), round(255 * red)
