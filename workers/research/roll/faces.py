"""Read the upright faces to learn from, and the images without any."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from faceanalytics.errors import InputError
from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.values import Bytes, Floats
from workers.research.roll.config import Source

SHARP = 0.6  # least score of the detector


@dataclass(frozen=True, slots=True, eq=False)
class Upright:
    """An upright face."""

    pixels: Bytes  # (h, w) grey
    box: Floats  # (4,) x1 y1 x2 y2 of the face, px
    tight: bool  # the image ends where the face does


def read_source(source: Source) -> list[Upright]:
    """Read the faces of a source. Images in which the detector finds no face are left out. Raises InputError."""
    detector = Detector(Detect(min_score=SHARP)) if source.box is None else None
    return [face for pixels in _images(source) if (face := _face(pixels, source, detector)) is not None]


def read_backgrounds(index: Path) -> list[Bytes]:
    """Read the images (h, w) grey that show no face. Raises InputError."""
    with index.open(newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if int(row["faces"]) == 0]
    found = [cv2.imread(str(index.parent / name), cv2.IMREAD_GRAYSCALE) for name in names]
    images = [np.asarray(image, np.uint8) for image in found if image is not None]
    if not images or len(images) < len(names):
        raise InputError(f"{index}: {len(images)} of {len(names)} images without a face can be read")
    return images


def _images(source: Source) -> Iterator[Bytes]:
    """Yield the images (h, w, 3) BGR."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not source.path.is_file():
        raise InputError(f"there is no file {source.path}")
    table = pq.read_table(source.path)
    for column, value in source.where.items():
        table = table.filter(pc.equal(table[column], value))
    rows = np.linspace(0, len(table) - 1, min(source.rows or len(table), len(table))).astype(int)
    for image in table["image"].take(rows).to_pylist():
        encoded = image if isinstance(image, bytes) else image["bytes"]
        yield np.asarray(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _face(pixels: Bytes, source: Source, detector: Detector | None) -> Upright | None:
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
    if detector is None:
        return Upright(grey, np.array(source.box, np.float32), tight=True)
    (found,) = detector.detect([pixels])
    return Upright(grey, found.boxes[0], tight=False) if len(found) else None
