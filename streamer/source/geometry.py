"""How a stored picture is shown: its pixels made square, then mirrored and turned upright."""

import math
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.values import Bytes

SQUARE = Fraction(1)
MAX_STRETCH = 4  # a pixel longer than this is an error of the header; the longest of the standards is 32:11
MIN_STRETCH = 1.01  # below this, stretching would blur the picture without changing a face

QUARTERS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


@dataclass(frozen=True, slots=True)
class Geometry:
    """From stored to shown: stretch to square pixels, exchange left and right if `mirrored`, turn."""

    stored: tuple[int, int]  # width and height, px
    aspect: Fraction = SQUARE  # sample aspect ratio: width / height of a stored pixel
    mirrored: bool = False
    turns: int = 0  # quarter turns counter-clockwise, 0 to 3

    @property
    def square(self) -> tuple[int, int]:
        """Return width and height in square pixels before turning. The shorter side of a pixel grows, none shrinks."""
        width, height = self.stored
        if self.aspect >= 1:
            return round(width * self.aspect), height
        return width, round(height / self.aspect)

    @property
    def shown(self) -> tuple[int, int]:
        """Return width and height of the upright picture in square pixels."""
        width, height = self.square
        return (height, width) if self.turns % 2 else (width, height)

    def upright(self, pixels: Bytes) -> Bytes:
        """Mirror and turn a picture (h, w, 3) of size `square`."""
        if self.mirrored:
            pixels = np.asarray(cv2.flip(pixels, 1), np.uint8)
        code = QUARTERS[self.turns]
        return pixels if code is None else np.asarray(cv2.rotate(pixels, code), np.uint8)

    def to_stored(self) -> NDArray[np.float64]:
        """Return the matrix (2, 3) that takes shown x, y, 1 to stored x, y (px, 0 at the left and upper edge)."""
        (stored_width, stored_height), (width, height) = self.stored, self.square
        unturn = {
            0: ((1, 0, 0), (0, 1, 0)),
            1: ((0, -1, width), (1, 0, 0)),
            2: ((-1, 0, width), (0, -1, height)),
            3: ((0, 1, 0), (-1, 0, height)),
        }[self.turns]
        matrix = np.array(unturn, np.float64)
        if self.mirrored:
            matrix[0] = (0, 0, width) - matrix[0]
        scale: NDArray[np.float64] = np.array([[stored_width / width], [stored_height / height]])
        return matrix * scale


def orientation(matrix: tuple[int, ...]) -> tuple[bool, int]:
    """Return (mirrored, quarter turns counter-clockwise), nearest to a display matrix of FFmpeg (9 values).

    Its layout is a b u, c d v, x y w; it takes stored x, y to a x + c y, b x + d y with y downwards. A negative
    determinant mirrors.
    """
    a, b, _, c, d, *_ = matrix
    if a * d == b * c:  # no picture would be left
        return False, 0
    return a * d < b * c, round(math.atan2(c, d) / (math.pi / 2)) % 4


def credible(aspect: Fraction | None) -> Fraction | None:
    """Return a sample aspect ratio, 1 for nearly square pixels or without one, or None if it cannot be true."""
    if not aspect or aspect < 0:  # 0: not stated
        return SQUARE
    stretch = max(aspect, 1 / aspect)
    if stretch > MAX_STRETCH:
        return None
    return aspect if stretch >= MIN_STRETCH else SQUARE
