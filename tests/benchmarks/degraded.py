"""Real faces as a camera may see them: small, blurred, dark, noisy, half turned; found and judged as in a stream.

Sixteen faces are put into one image, each made worse at random, the detector finds them with its own errors of place,
and the crop and its quality come from the very functions that a streamer uses. A turned head is only hinted at, by
narrowing the face. What the detector does not find is not there for anybody.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from streamer.config import Crop
from streamer.detect.detector import Detector
from streamer.select.align import TEMPLATE, align
from streamer.select.quality import finish, geometry
from streamer.values import CROP_SIZE, Bytes, Detections, Quality

CELLS, SIDE = 4, 640  # an image of 4 x 4 cells, px
CELL = SIDE // CELLS


@dataclass(frozen=True, slots=True, eq=False)
class SeenFace:
    """One face as a stream would send it."""

    image: int  # which of the images it shows
    score: float  # 0..1, of the detector
    quality: Quality
    crop: Bytes  # (112, 112, 3) RGB


def seen(
    images: Sequence[Bytes], detector: Detector, seed: int, worse: bool = True, aligned: bool = True
) -> Iterator[SeenFace]:
    """Each image (112, 112, 3) RGB, made worse at random or (`worse=False`) as it is, if it is found.

    `aligned=False`: the images are not aligned to the template; their crops are what was put in.
    """
    dice = np.random.default_rng(seed)
    for first in range(0, len(images), CELLS * CELLS):
        some = images[first : first + CELLS * CELLS]
        frame = np.full((SIDE, SIDE, 3), 110, np.uint8)
        boxes = []
        for place, image in enumerate(some):
            x, y = CELL * (place % CELLS), CELL * (place // CELLS)
            cell, size = _worse(image, dice) if worse else (_placed(image, CROP_SIZE, CROP_SIZE), (CROP_SIZE,) * 2)
            frame[y : y + CELL, x : x + CELL] = cell
            boxes.append((x + (CELL - size[0]) / 2, y + (CELL - size[1]) / 2, *size))
        frame = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), np.uint8)
        (found,) = detector.detect([frame])
        for place, box in enumerate(boxes):
            row = _nearest(found, box)
            if row is not None:
                quality, crop = _judged(frame, found, row)
                crop = crop if aligned else _cut(frame, box)
                yield SeenFace(first + place, float(found.scores[row]), quality, crop)


def _worse(image: Bytes, dice: np.random.Generator) -> tuple[Bytes, tuple[float, float]]:
    """A cell with the image made worse, and the image's width and height in it (px)."""
    side = float(np.exp(dice.uniform(np.log(24), np.log(CROP_SIZE))))  # px: eyes 8 to 35 px apart
    width = side * float(np.cos(np.radians(dice.choice([0, dice.uniform(0, 55)]))))
    cell = _placed(image, width, side)
    if dice.random() < 0.5:
        cell = np.asarray(cv2.GaussianBlur(cell, (0, 0), dice.uniform(0.3, 3.0)), np.uint8)
    if dice.random() < 0.3:  # moved
        size = int(dice.integers(3, 10))
        kernel = np.zeros((size, size), np.float32)
        kernel[size // 2] = 1 / size
        cell = np.asarray(cv2.filter2D(cell, -1, kernel), np.uint8)
    light = float(dice.choice([1.0, dice.uniform(0.15, 1.0)]))
    noise = dice.normal(0, dice.uniform(0, 8), cell.shape)
    return np.clip(cell * light + noise, 0, 255).astype(np.uint8), (width, side)


def _placed(image: Bytes, width: float, height: float) -> Bytes:
    """The image at this size (px) in the middle of a cell."""
    x, y = (CELL - width) / 2, (CELL - height) / 2
    across, down = width / CROP_SIZE, height / CROP_SIZE
    smooth = max(across, down) < 0.7  # so that small faces are averaged, not sampled
    source = cv2.GaussianBlur(image, (0, 0), 0.4 / max(across, down)) if smooth else image
    matrix = np.array([[across, 0, x], [0, down, y]])
    cell = cv2.warpAffine(source, matrix, (CELL, CELL), flags=cv2.INTER_LINEAR, borderValue=(110, 110, 110))
    return np.asarray(cell, np.uint8)


def _cut(frame: Bytes, box: tuple[float, float, float, float]) -> Bytes:
    """What stands in a box (x, y, width, height) of a BGR frame, as an RGB crop."""
    x, y, width, height = box
    across, down = CROP_SIZE / width, CROP_SIZE / height
    matrix = np.array([[across, 0, -x * across], [0, down, -y * down]])
    crop = cv2.warpAffine(frame, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), np.uint8)


def _nearest(found: Detections, box: tuple[float, float, float, float]) -> int | None:
    """The detection whose eyes are nearest to where an image in a box has them, if within a third of a cell."""
    if not len(found):
        return None
    x, y, width, height = box
    middle = np.array([x, y]) + np.array([width, height]) * TEMPLATE[:2].mean(axis=0) / CROP_SIZE
    distance = np.linalg.norm(found.landmarks[:, :2].mean(axis=1) - middle, axis=1)
    row = int(np.argmin(distance))
    return row if distance[row] < CELL / 3 else None


def _judged(frame: Bytes, found: Detections, row: int) -> tuple[Quality, Bytes]:
    landmarks = found.landmarks[row]
    pixels = align(frame, landmarks)
    return finish(geometry(float(found.scores[row]), landmarks, (SIDE, SIDE), Crop()), pixels, Crop()), pixels
