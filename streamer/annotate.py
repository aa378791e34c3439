"""A video with what was found drawn into it, from the files of a recorded analysis, with the source's timestamps."""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from streamer.decode import TruncatedVideo, read_file
from streamer.errors import InputError
from streamer.values import Bytes, Frame

TIME_BASE = Fraction(1, 90_000)
COLOURS = ((80, 200, 80), (230, 150, 50), (80, 120, 240), (60, 210, 230), (200, 90, 200), (190, 190, 70))  # BGR


def annotate(video: Path, folder: Path, out: Path) -> int:
    """Draw the tracks.jsonl and observations.jsonl of `folder` into a copy of `video` (H.264); frames written."""
    labels = {record["track_id"]: _label(record) for record in _read(folder / "tracks.jsonl")}
    faces: dict[float, list[dict[str, Any]]] = defaultdict(list)
    for record in _read(folder / "observations.jsonl"):
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
            for face in faces.get(round(frame.media_time, 6), ()):
                _draw(pixels, face, labels.get(face["track_id"], ""))
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


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The records after the header."""
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                if record["type"] != "header":
                    yield record
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a result of `streamer analyze`: {error}") from error


def _label(track: dict[str, Any]) -> str:
    parts = [f"#{track['number']}"]
    if track["age"]:
        parts.append(f"{round(track['age']['years'])}+-{round(track['age']['spread_years'])} y")
    if track["expression"]:
        parts.append(f"appears {track['expression']['appears']}")
    parts += [reason.lower().replace("_", " ") for reason in track["reasons"]]
    if track["model_id"] == "untrained":
        parts.append("(UNTRAINED)")
    return " ".join(parts)


def _draw(pixels: Bytes, face: dict[str, Any], label: str) -> None:
    colour = COLOURS[face["number"] % len(COLOURS)]
    thick = max(1, round(pixels.shape[0] / 400))
    corner = face["box"]
    x1, y1 = round(corner["x"]), round(corner["y"])
    x2, y2 = round(corner["x"] + corner["width"]), round(corner["y"] + corner["height"])
    cv2.rectangle(pixels, (x1, y1), (x2, y2), colour, thick)
    for point in face["landmarks"].values():
        cv2.circle(pixels, (round(point["x"]), round(point["y"])), thick, colour, -1)
    scale = max(0.4, pixels.shape[0] / 1000)
    (width, height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    left = max(0, min(x1, pixels.shape[1] - width))
    base = y1 - 4 if y1 - height - 8 >= 0 else min(y2 + height + 6, pixels.shape[0] - 2)
    cv2.rectangle(pixels, (left, base - height - 3), (left + width, base + 4), colour, -1)
    cv2.putText(pixels, label, (left, base), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), thick, cv2.LINE_AA)
