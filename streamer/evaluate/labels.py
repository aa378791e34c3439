"""Labelled faces from files: JSON lines of `streamer detect`, dlib's XML with 68 landmarks, the text of WIDER FACE."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.names import original, printable
from streamer.evaluate.score import Truth
from streamer.values import LANDMARK_NAMES, Floats

NO_LANDMARKS = np.full((5, 2), np.nan, np.float32)
DLIB_POINTS = 68
WIDER_COLUMNS, WIDER_INVALID = 10, 7  # x y w h blur expression illumination invalid occlusion pose
Pixels = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    source: Path  # an image or a video
    media_time: float | None  # s, of a frame of a video, rounded to 6 digits; None: an image
    size: tuple[int, int] | None  # width, height in pixels, if the labels say
    truth: Truth


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Point(_Strict):
    x: Pixels
    y: Pixels


class _Landmarks(_Strict):
    left_eye: _Point
    right_eye: _Point
    nose: _Point
    mouth_left: _Point
    mouth_right: _Point


class _Face(_Strict):
    x: Pixels
    y: Pixels
    width: Size
    height: Size
    landmarks: _Landmarks | None = None
    ignore: bool = False
    score: float | None = None  # what a detector thought of it; labels are believed
    quality: float | None = None
    reasons: list[str] = []


class _Line(_Strict):
    source: str
    media_time_s: float | None = None
    frame_width: int | None = None
    frame_height: int | None = None
    faces: list[_Face]


def read_labels(path: Path, images: Path | None) -> list[LabelledImage]:
    """Read the labelled images of a file (.jsonl, .xml or .txt), in its order.

    Names of images are relative to the folder `images`; None: of JSON lines to the working directory, as they were
    written, of others to the folder of the file. Raises InputError with file and line, ConfigError for another kind.
    """
    readers = {".jsonl": _read_lines, ".xml": _read_dlib, ".txt": _read_wider}
    if path.suffix.lower() not in readers:
        known = "JSON lines (.jsonl), dlib's XML (.xml) or the text of WIDER FACE (.txt)"
        raise ConfigError(f"{path}: unknown kind of labels; use {known}")
    try:
        found = readers[path.suffix.lower()](path, images)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the labels cannot be read: {error}") from error
    if not found:
        raise InputError(f"{path}: no labelled images in it")
    seen = set()
    for image in found:
        if (key := (image.source, image.media_time)) in seen:
            when = "" if image.media_time is None else f" at {image.media_time:g} s"
            raise InputError(f"{path}: {printable(image.source)}{when} is labelled twice")
        seen.add(key)
    return found


def _read_lines(path: Path, images: Path | None) -> list[LabelledImage]:
    found = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = _Line.model_validate(json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{number}: not JSON: {error}") from error
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, item['loc'])) or 'the line'}: {item['msg']}" for item in error.errors()]
            raise InputError(f"{path}:{number}: {'; '.join(problems)}") from error
        time = None if line.media_time_s is None else round(line.media_time_s, 6)
        size = (line.frame_width, line.frame_height) if line.frame_width and line.frame_height else None
        boxes = [(face.x, face.y, face.width, face.height) for face in line.faces]
        points = [NO_LANDMARKS if face.landmarks is None else _array(face.landmarks) for face in line.faces]
        truth = _truth(boxes, [face.ignore for face in line.faces], points, f"{path}:{number}")
        found.append(LabelledImage((images or Path()) / original(line.source), time, size, truth))
    return found


def _array(landmarks: _Landmarks) -> Floats:
    points = [getattr(landmarks, name) for name in LANDMARK_NAMES]
    return np.array([(point.x, point.y) for point in points], np.float32)


def _read_dlib(path: Path, images: Path | None) -> list[LabelledImage]:
    """As dlib's imglab writes it: left, top, width, height of boxes; no landmarks, or 68 in the order of iBUG 300-W."""
    try:
        elements = list(ElementTree.parse(path).iter("image"))  # noqa: S314 - a file that the user wrote or chose
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not XML: {error}") from error
    found = []
    for element in elements:
        name = element.get("file")
        if name is None:
            raise InputError(f"{path}: an image without the name of its file")
        faces = list(element.iter("box"))
        try:
            boxes = [tuple(float(face.attrib[key]) for key in ("left", "top", "width", "height")) for face in faces]
            points = [_from_68(face.iter("part")) for face in faces]
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: {name}: a box or part is not usable: {error}") from error
        truth = _truth(boxes, [face.get("ignore") == "1" for face in faces], points, f"{path}: {name}")
        found.append(LabelledImage((images or path.parent) / name, None, None, truth))
    return found


def _from_68(parts: Iterable[ElementTree.Element]) -> Floats:
    """Eyes: the means of 36..41 and 42..47; nose 30; corners of the mouth 48 and 54, counted from 0."""
    places = {int(part.attrib["name"]): (float(part.attrib["x"]), float(part.attrib["y"])) for part in parts}
    if not places:
        return NO_LANDMARKS
    if sorted(places) != list(range(DLIB_POINTS)):
        raise ValueError(f"{len(places)} landmarks; only those of 68 points are understood")
    points = np.array([places[number] for number in range(DLIB_POINTS)], np.float32)
    return np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0), *points[[30, 48, 54]]])


def _read_wider(path: Path, images: Path | None) -> list[LabelledImage]:
    """As wider_face_val_bbx_gt.txt: the name of an image, the number of its faces, and a line of ten numbers for each.

    Faces that it calls invalid are ignored, those without a size are left out. An image without faces has one line of
    zeros.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    found, at = [], 0
    while at < len(lines):
        name, where = lines[at].strip(), f"{path}:{at + 1}"
        at += 1
        if not name:
            continue
        if at == len(lines) or not lines[at].strip().isdecimal():
            raise InputError(f"{where}: the name of an image, but the next line is no number of faces")
        count = int(lines[at])
        rows = [_wider_row(lines[at + 1 + row : at + 2 + row], f"{path}:{at + 2 + row}") for row in range(count)]
        at += 1 + count
        if not count and at < len(lines) and set(lines[at].split()) == {"0"}:
            at += 1
        kept = [row for row in rows if row[2] > 0 and row[3] > 0]
        boxes, ignored = [tuple(row[:4]) for row in kept], [row[WIDER_INVALID] != 0 for row in kept]
        truth = _truth(boxes, ignored, [NO_LANDMARKS] * len(kept), where)
        found.append(LabelledImage((images or path.parent) / name, None, None, truth))
    return found


def _wider_row(line: Sequence[str], where: str) -> list[float]:
    try:
        numbers = [float(one) for one in line[0].split()]
    except (IndexError, ValueError):
        numbers = []
    if len(numbers) != WIDER_COLUMNS:
        raise InputError(f"{where}: expected the {WIDER_COLUMNS} numbers of a face")
    return numbers


def _truth(boxes: Sequence[tuple[float, ...]], ignored: Sequence[bool], points: Sequence[Floats], where: str) -> Truth:
    """Boxes are (x, y, width, height)."""
    columns = np.array(boxes, np.float32).reshape(-1, 4)
    landmarks = np.array(points, np.float32).reshape(-1, 5, 2)
    if not (columns[:, 2:] > 0).all() or not np.isfinite(columns).all():
        raise InputError(f"{where}: a face without a size")
    if (landmarks[:, 0] == landmarks[:, 1]).all(axis=1).any():
        raise InputError(f"{where}: a face with both eyes at one place; landmark errors are shares of their distance")
    corners = np.concatenate([columns[:, :2], columns[:, :2] + columns[:, 2:]], axis=1)
    return Truth(corners, np.array(ignored, np.bool_), landmarks)
