"""Degrade training images at random the way cameras do.

The steps follow the order of the real process: misalignment, occlusion, defocus, motion, resolution, light, noise,
colour, compression. Each has its own probability. Some faces stay clean, because a network that never sees clean
images is worse on them.
"""

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from workers.research.data.face_set import FACE_SIZE, Bytes

Floats = NDArray[np.float32]
# probabilities
MIRRORED = 0.5
CLEAN = 0.3  # nothing but mirroring
MISALIGNED = 0.6
COVERED = 0.1
LIT = 0.5
BLURRED = 0.15
MOVED = 0.1
SMALL = 0.3
NOISY = 0.25
GREY = 0.25
TINTED = 0.3
COMPRESSED = 0.4
TURN = 10.0  # degrees at most
SHIFT = 5.0  # px at most
SCALES = (0.9, 1.15)
SMALLEST = 20  # px, smallest side of the simulated original crop


def camera(face: Bytes, random: Generator) -> Bytes:
    """Degrade a face (112, 112, 3) uint8 RGB; the result has the same shape."""
    if random.random() < MIRRORED:
        face = np.ascontiguousarray(face[:, ::-1])
    if random.random() < CLEAN:
        return face
    if random.random() < MISALIGNED:
        face = _misaligned(face, random)
    if random.random() < COVERED:
        face = _covered(face, random)
    if random.random() < BLURRED:
        face = np.asarray(cv2.GaussianBlur(face, (0, 0), random.uniform(0.5, 2.2)), np.uint8)
    if random.random() < MOVED:
        face = _moved(face, random)
    small = random.random() < SMALL
    if small:  # before noise and compression, which happen at this size
        side = round(math.exp(random.uniform(math.log(SMALLEST), math.log(FACE_SIZE))))
        face = np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    if random.random() < LIT:
        face = _lit(face, random)
    if random.random() < NOISY:
        face = _noisy(face, random)
    if random.random() < GREY:
        face = np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2)
    elif random.random() < TINTED:
        face = _apply_curves(face, [_curve(gain=random.uniform(0.85, 1.15)) for _ in range(3)])
    if random.random() < COMPRESSED:
        face = _compressed(face, random)
    if small:
        interpolation = cv2.INTER_LINEAR if random.random() < 0.7 else cv2.INTER_CUBIC
        face = np.asarray(cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=interpolation), np.uint8)
    return face


def _misaligned(face: Bytes, random: Generator) -> Bytes:
    """Rotate, scale and shift, as inaccurate landmarks do."""
    middle = (FACE_SIZE - 1) / 2
    turn, scale = random.uniform(-TURN, TURN), random.uniform(*SCALES)
    matrix = np.asarray(cv2.getRotationMatrix2D((middle, middle), turn, scale), np.float64)
    matrix[:, 2] += random.uniform(-SHIFT, SHIFT, 2)
    edge = cv2.BORDER_REPLICATE if random.random() < 0.5 else cv2.BORDER_CONSTANT  # crops are black beyond the frame
    return np.asarray(cv2.warpAffine(face, matrix, (FACE_SIZE, FACE_SIZE), borderMode=edge), np.uint8)


def _covered(face: Bytes, random: Generator) -> Bytes:
    """Draw a rectangle of one colour, for a hand, a microphone or another head."""
    height, width = random.integers(FACE_SIZE // 8, FACE_SIZE // 2, 2)
    top, left = random.integers(0, FACE_SIZE - height), random.integers(0, FACE_SIZE - width)
    covered = face.copy()
    covered[top : top + height, left : left + width] = random.integers(0, 256, 3)
    return covered


def _moved(face: Bytes, random: Generator) -> Bytes:
    """Blur along a line."""
    length, angle = int(random.integers(3, 10)), random.uniform(0, math.pi)
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    along = np.linspace(-middle, middle, 2 * length)
    rows, columns = middle + along * math.sin(angle), middle + along * math.cos(angle)
    kernel[np.rint(rows).astype(int), np.rint(columns).astype(int)] = 1
    return np.asarray(cv2.filter2D(face, -1, kernel / kernel.sum()), np.uint8)


def _lit(face: Bytes, random: Generator) -> Bytes:
    """Change brightness and contrast; make a fifth of the faces very dark."""
    gamma = math.exp(random.uniform(-0.5, 0.5))
    gain, contrast, lift = random.uniform(0.7, 1.3), random.uniform(0.6, 1.25), random.uniform(-20, 20)
    if random.random() < 0.2:
        gain, lift = random.uniform(0.2, 0.6), 0.0
    return _apply_curves(face, [_curve(gamma, gain, contrast, lift)])


def _curve(gamma: float = 1.0, gain: float = 1.0, contrast: float = 1.0, lift: float = 0.0) -> Bytes:
    """Return the new value of each pixel value, (256,)."""
    values = (np.arange(256, dtype=np.float32) / 255) ** gamma * 255 * gain
    middle = 127.5 * gain
    return np.clip((values - middle) * contrast + middle + lift, 0, 255).astype(np.uint8)


def _apply_curves(face: Bytes, curves: list[Bytes]) -> Bytes:
    """Apply one curve per channel, or the same curve to all channels."""
    table = np.stack(curves * (3 // len(curves)), 1)[None]  # (1, 256, 3)
    return np.asarray(cv2.LUT(face, table), np.uint8)


def _noisy(face: Bytes, random: Generator) -> Bytes:
    """Add sensor noise, the same in the three channels or independent."""
    shape = face.shape if random.random() < 0.5 else (*face.shape[:2], 1)
    noise = random.standard_normal(shape, np.float32) * random.uniform(2, 14)
    return np.asarray(np.clip(face + noise, 0, 255), np.uint8)


def _compressed(face: Bytes, random: Generator) -> Bytes:
    """Compress as JPEG of low to good quality."""
    _, encoded = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(15, 85))])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)  # the order of the channels does not matter
