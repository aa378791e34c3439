"""Compose one training crop: a face turned by a known angle, seen as badly as a detector's box may show it."""

from collections.abc import Sequence
from math import cos, hypot, pi, sin, tau

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamer.detect.roll import MARGIN, SIDE
from streamer.values import Bytes, Floats
from workers.research.detector.degrade import blurred
from workers.research.roll.config import RollConfig
from workers.research.roll.faces import Upright

BORDERS = (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101, cv2.BORDER_CONSTANT)


class Composer:
    """Draws crops (64, 64) grey and the direction (cos, sin) of each face's roll, (0, 0) if there is no face."""

    def __init__(
        self, config: RollConfig, sources: Sequence[tuple[Sequence[Upright], float]], backgrounds: Sequence[Bytes]
    ) -> None:
        self._config, self._backgrounds = config, backgrounds
        self._faces = [faces for faces, _ in sources]
        weights = np.array([weight for _, weight in sources])
        self._weights = weights / weights.sum()

    def draw(self, draw: Generator) -> tuple[Bytes, Floats]:
        """Draw one crop and its direction."""
        if draw.random() < self._config.nobody:
            return degraded(self._background(draw), draw), np.zeros(2, np.float32)
        faces = self._faces[int(draw.choice(len(self._faces), p=self._weights))]
        face = faces[int(draw.integers(len(faces)))]
        roll = draw.uniform(-40, 40) * pi / 180 if draw.random() < self._config.upright else draw.uniform(-pi, pi)
        crop = self._turned(face, roll, draw)
        return degraded(crop, draw), np.array([cos(roll), sin(roll)], np.float32)

    def _turned(self, face: Upright, roll: float, draw: Generator) -> Bytes:
        flip = draw.random() < 0.5
        pixels = np.ascontiguousarray(face.pixels[:, ::-1]) if flip else face.pixels
        box = face.box.copy()
        if flip:
            box[[0, 2]] = pixels.shape[1] - box[[2, 0]]
        shift = np.clip(draw.normal(0, 0.1, 2), -0.25, 0.25)
        scale = float(np.exp(np.clip(draw.normal(0, 0.15), -0.35, 0.35)))
        stretch = float(np.exp(draw.normal(0, 0.06)))
        matrix = crop_matrix(box, roll, scale, (float(shift[0]), float(shift[1])), stretch)
        border = BORDERS[int(draw.integers(len(BORDERS)))]
        value = float(draw.uniform(0, 255))
        crop = cv2.warpAffine(pixels, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=border, borderValue=value)
        if draw.random() < (0.9 if face.tight else 0.25):
            # the border of an image turns with it and would give the angle away: cut an oval out
            mask = self._oval(box, matrix, draw)[..., None]
            crop = (crop[..., None] * mask + self._background(draw)[..., None] * (1 - mask))[..., 0]
        return np.asarray(crop, np.uint8)

    def _oval(self, box: Floats, matrix: NDArray[np.float64], draw: Generator) -> Floats:
        """Draw a soft oval (64, 64) 0..1 around the face, or around the face and part of its surroundings."""
        middle = matrix[:, :2] @ ((box[:2] + box[2:]) / 2) + matrix[:, 2]
        zoom = hypot(matrix[0, 0], matrix[1, 0])
        axes = (box[2:] - box[:2]) / 2 * zoom * draw.uniform(1.0, 1.35, 2)
        angle = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
        mask = np.zeros((SIDE, SIDE), np.float32)
        whole = (round(float(middle[0])), round(float(middle[1])))
        cv2.ellipse(mask, whole, (round(float(axes[0])), round(float(axes[1]))), float(angle), 0, 360, 1.0, cv2.FILLED)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), float(draw.uniform(0.6, 3))), np.float32)

    def _background(self, draw: Generator) -> Bytes:
        """Cut out a part of an image without a face, turned at random."""
        image = self._backgrounds[int(draw.integers(len(self._backgrounds)))]
        height, width = image.shape
        span = float(np.exp(draw.uniform(np.log(24), np.log(max(25, min(height, width))))))
        x, y = draw.uniform(0, width), draw.uniform(0, height)
        box = np.array([x - span / 2, y - span / 2, x + span / 2, y + span / 2], np.float32)
        matrix = crop_matrix(box, draw.uniform(0, tau), 1.0)
        if span > 2 * SIDE:
            image = np.asarray(cv2.blur(image, (int(span / SIDE), int(span / SIDE))), np.uint8)
        cut = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(cut, np.uint8)


def crop_matrix(
    box: Floats, roll: float, scale: float, shift: tuple[float, float] = (0.0, 0.0), stretch: float = 1.0
) -> NDArray[np.float64]:
    """Return the matrix (2, 3) from an image to a crop that shows the box turned clockwise by `roll` radians.

    `scale` enlarges the face, `shift` moves it, as shares of the crop's side; `stretch` widens it in the crop.
    """
    zoom = scale * SIDE / (MARGIN * float((box[2:] - box[:2]).max()))
    turn = zoom * np.array([[cos(roll) * stretch, -sin(roll) * stretch], [sin(roll), cos(roll)]])
    centre = (box[:2] + box[2:]) / 2
    target = SIDE / 2 + SIDE * np.array(shift)
    return np.column_stack([turn, target - turn @ centre])


def degraded(crop: Bytes, draw: Generator) -> Bytes:
    """Change light, sharpness and noise of a crop (64, 64), and hide parts of a few."""
    if draw.random() < 0.25:
        x, y, w, h = (int(value) for value in draw.integers((0, 0, 6, 6), (SIDE, SIDE, 34, 34)))
        crop = crop.copy()
        crop[y : y + h, x : x + w] = int(draw.integers(256))
    if draw.random() < 0.4:
        crop = blurred(crop, draw, most=1.6)
    crop = relit(crop, draw)
    if draw.random() < 0.3:
        crop = np.asarray((crop + draw.normal(0, draw.uniform(2, 16), crop.shape)).clip(0, 255), np.uint8)
    return crop


def relit(crop: Bytes, draw: Generator) -> Bytes:
    """Change gamma and contrast, and let light fall from one side."""
    values = np.power(crop.astype(np.float32) / 255, np.exp(draw.normal(0, 0.35)))
    if draw.random() < 0.3:
        angle, strength = draw.uniform(0, tau), draw.uniform(0, 0.7)
        along = np.linspace(-0.5, 0.5, SIDE, dtype=np.float32)
        values = values * (1 + strength * (along[None] * cos(angle) + along[:, None] * sin(angle)))
    values = values * np.exp(draw.normal(0, 0.3)) + draw.normal(0, 0.08)
    return np.asarray((values * 255).clip(0, 255), np.uint8)
