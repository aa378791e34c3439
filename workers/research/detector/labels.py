"""Label all images of a training with the teachers, once, and keep the labels as Parquet in the run's folder."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import replacing
from faceanalytics.names import printable
from streamer.detect.letterbox import GREY
from streamer.source.images import IMAGES, decode_image, find_files
from streamer.values import Bytes, Floats
from workers.research.detector.config import DetectorConfig, Source
from workers.research.detector.teachers import SIDE, Agreement, Teacher, agree, find, open_teacher, usual_scales

log = logging.getLogger(__name__)

LARGEST = 1280  # px, longer side: larger images are stored in this size
SURE = 0.65  # mean score from which an agreement is a face: weaker ones are often dots, wheels or folds
MARGIN = 8  # pixels of grey around each of many images in one square

Encoded: TypeAlias = tuple[str, bytes]  # where an image is from, for messages, and its file


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """An image with its faces, in its pixels."""

    image: bytes | Bytes  # JPEG or PNG, or the image itself, BGR (h, w, 3)
    boxes: Floats  # (n, 4) x1 y1 x2 y2
    landmarks: Floats  # (n, 5, 2) x y
    unsure: Floats  # (m, 4) boxes that are neither faces nor background

    def decoded(self) -> Bytes:
        """The image, BGR (h, w, 3), not to be written to."""
        return decode_image(self.image, "a labelled image") if isinstance(self.image, bytes) else self.image


def label_all(config: DetectorConfig) -> None:
    """Label the sources and the held-out images that have no labels yet.

    Raises InputError, ConfigError, ModelError.
    """
    missing = {name: source for name, source in config.images_of.items() if not _place(config, name, source).exists()}
    if not missing:
        return
    teachers = [open_teacher(path) for path in config.teachers]
    for name, source in missing.items():
        if not source.path.exists():
            raise ConfigError(f"{name}: {source.path} does not exist")
        images = encoded_images(source)
        found = list(_label_tiles(images, teachers, source) if source.tile else _label(images, teachers))
        _write(found, _place(config, name, source))
        log.info("%s: %d images, %d faces", name, len(found), sum(len(item.boxes) for item in found))


def labelled(config: DetectorConfig, name: str, source: Source) -> list[Labelled]:
    """Return the labelled images of a source, after label_all."""
    return _read(_place(config, name, source))


def _place(config: DetectorConfig, name: str, source: Source) -> Path:
    """Return the file of a source's labels, which depends on every option that changes them."""
    recipe = [source.path, sorted(source.where.items()), source.part, source.every, source.tight, source.tile]
    recipe += [SURE, *(path.stem for path in config.teachers)]
    return config.out / "labels" / f"{name}-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:10]}.parquet"


def encoded_images(source: Source) -> Iterator[Encoded]:
    """Yield the chosen images of a source. Raises InputError."""
    path = source.path
    if path.is_dir():
        files = [file for file in find_files([path], IMAGES) if file != path]
        yield from ((printable(file), file.read_bytes()) for file in _chosen(files, source))
    elif path.suffix.lower() in IMAGES:
        yield printable(path), path.read_bytes()
    elif path.suffix == ".parquet":
        yield from _rows(source)
    else:
        yield from _frames(source)


def _chosen(items: Sequence[Any], source: Source) -> Sequence[Any]:
    first, last = (round(share * len(items)) for share in source.part)
    return items[first : last : source.every]


def _rows(source: Source) -> Iterator[Encoded]:
    from pyarrow import parquet

    table = parquet.read_table(source.path, columns=["image", *source.where])
    wanted = [
        row
        for row in range(table.num_rows)
        if all(table.column(column)[row].as_py() == value for column, value in source.where.items())
    ]
    images = table.column("image")
    yield from ((f"{source.path}: row {row}", bytes(images[row].as_py())) for row in _chosen(wanted, source))


def _frames(source: Source) -> Iterator[Encoded]:
    count = sum(1 for _ in _read_video(source.path))
    wanted = set(_chosen(range(count), source))
    for number, frame in enumerate(_read_video(source.path)):
        if number in wanted:
            yield f"{source.path}: frame {number}", _encoded(frame)


def _read_video(path: Path) -> Iterator[Bytes]:
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise InputError(f"{path} is neither an image nor a video that can be read")
    while True:
        there, frame = video.read()
        if not there:
            break
        yield np.asarray(frame, np.uint8)
    video.release()


def _label(images: Iterator[Encoded], teachers: Sequence[Teacher]) -> Iterator[Labelled]:
    for where, encoded in images:
        image = decode_image(encoded, where)
        scale = LARGEST / max(image.shape[:2])
        agreed = agreement(teachers, image)
        if scale < 1:
            size = round(image.shape[1] * scale), round(image.shape[0] * scale)
            encoded = _encoded(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8))
        factor = np.float32(min(scale, 1.0))
        faces = agreed.faces
        yield Labelled(encoded, faces.boxes * factor, faces.landmarks * factor, agreed.unsure * factor)


def agreement(teachers: Sequence[Teacher], image: Bytes) -> Agreement:
    """Return the faces that the teachers agree on in a BGR image, seen at all usual scales."""
    scales = usual_scales(image)
    return agree([find(teacher, image, scales) for teacher in teachers], SURE)


def _label_tiles(images: Iterator[Encoded], teachers: Sequence[Teacher], source: Source) -> Iterator[Labelled]:
    """Label small images, many in one square."""
    pitch = (source.tile or SIDE) + 2 * MARGIN
    pending: list[Encoded] = []
    for encoded in images:
        pending.append(encoded)
        if len(pending) == (SIDE // pitch) ** 2:
            yield from _label_square(pending, teachers, pitch, source.tight)
            pending = []
    yield from _label_square(pending, teachers, pitch, source.tight)


def _label_square(
    images: Sequence[Encoded], teachers: Sequence[Teacher], pitch: int, tight: bool
) -> Iterator[Labelled]:
    """Label images side by side, `pitch` pixels apart. `tight`: leave out images without exactly one agreed face."""
    square, tile, row = np.full((SIDE, SIDE, 3), GREY, np.uint8), pitch - 2 * MARGIN, SIDE // pitch
    corners = [(place % row * pitch + MARGIN, place // row * pitch + MARGIN) for place in range(len(images))]
    scales = []
    for (where, encoded), (left, top) in zip(images, corners, strict=True):
        image = decode_image(encoded, where)
        scale = tile / max(image.shape[:2])
        width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
        square[top : top + height, left : left + width] = cv2.resize(image, (width, height))
        scales.append(scale)
    agreed = agree([find(teacher, square, (1.0,)) for teacher in teachers], SURE)
    faces = agreed.faces
    for (_, encoded), corner, scale in zip(images, corners, scales, strict=True):
        rows = _within(faces.boxes, corner, tile)
        if tight and (len(rows) != 1 or np.prod(faces.boxes[rows[0], 2:] - faces.boxes[rows[0], :2]) < tile**2 / 4):
            continue
        start = np.array(corner, np.float32)
        boxes, unsure = (
            ((found - np.tile(start, 2)) / scale).astype(np.float32)
            for found in (faces.boxes[rows], agreed.unsure[_within(agreed.unsure, corner, tile)])
        )
        yield Labelled(encoded, boxes, ((faces.landmarks[rows] - start) / scale).astype(np.float32), unsure)


def _within(boxes: Floats, corner: tuple[int, int], tile: int) -> Any:
    """Return the rows of the boxes whose centre is in the tile at `corner`."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - corner
    return np.flatnonzero((centres >= 0).all(axis=1) & (centres < tile).all(axis=1))


def _encoded(image: Bytes) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def _write(found: Sequence[Labelled], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = {
        "image": [item.image for item in found],
        "boxes": [item.boxes.ravel() for item in found],
        "landmarks": [item.landmarks.ravel() for item in found],
        "unsure": [item.unsure.ravel() for item in found],
    }
    numbers = pyarrow.list_(pyarrow.float32())
    kinds = {name: pyarrow.binary() if name == "image" else numbers for name in columns}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        parquet.write_table(pyarrow.table(columns, schema=pyarrow.schema(list(kinds.items()))), partial)


def _read(path: Path) -> list[Labelled]:
    from pyarrow import parquet

    table = parquet.read_table(path)
    return [
        Labelled(
            row["image"],
            np.array(row["boxes"], np.float32).reshape(-1, 4),
            np.array(row["landmarks"], np.float32).reshape(-1, 5, 2),
            np.array(row["unsure"], np.float32).reshape(-1, 4),
        )
        for row in table.to_pylist()
    ]
