"""Small pictures of frames, and how much of one cannot be explained by another."""

import cv2
import numpy as np

from streamer.values import Bytes, Floats

SIZE = (64, 48)  # width and height of a small picture, whatever the aspect of the frame
ROWS = 90  # the frame is subsampled to about this many rows before it is averaged
REACH = 1  # small pixels that anything may move between two pictures
LEVELS, STEP = 16, 16  # curves of tone have one point in each of 16 steps of 16 grey levels
SATURATED = 250  # grey levels from which a pixel no longer follows the light
MIN_SHARE = 0.3  # of the picture that must be left to compare
MIN_CONTRAST = 0.2  # of the other picture's, without which tones cannot be compared

_SUM = np.full((1, 3), 1 / 3, np.float32)


def small(pixels: Bytes) -> Floats:
    """Reduce a frame (h, w, 3), or luma (h, w), to a small picture (48, 64, 3) of grey levels per channel."""
    if pixels.ndim == 2:  # the luma of a preview: all channels are alike
        grey = cv2.resize(pixels, SIZE, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.merge([grey] * 3), np.float32)
    step = max(1, pixels.shape[0] // ROWS)
    thin = np.ascontiguousarray(pixels[::step, ::step])
    return np.asarray(cv2.resize(thin, SIZE, interpolation=cv2.INTER_AREA), np.float32)


def change(first: Floats, second: Floats) -> float:
    """Return the mean difference in grey levels that movement by REACH small pixels does not explain."""
    return float(difference(first, second).mean())


def change_of_content(first: Floats, second: Floats, enough: float) -> float:
    """Return the part of `change` that neither other light nor a movement of the whole picture explains.

    Below `enough`, it is not searched further for what explains more.
    """
    least = change(first, second)
    if least < enough:
        return least
    moved, still = _aligned(first, second)
    if moved.size >= MIN_SHARE * first.size:
        least = min(least, change(moved, still))
    if least < enough:
        return least
    contrast = sorted((float(first.std()), float(second.std())))
    if contrast[0] >= MIN_CONTRAST * contrast[1]:
        clear = np.maximum(first, second).max(axis=2) < SATURATED
        if clear.mean() < MIN_SHARE:
            clear[:] = True
        least = min(least, *(_unlike(one, other, clear) for one, other in ((first, second), (second, first))))
    return least


def _unlike(first: Floats, second: Floats, clear: np.ndarray) -> float:
    return float(difference(_in_tones_of(first, second), second)[clear].mean())


def difference(first: Floats, second: Floats) -> Floats:
    """Return for each small pixel the least mean difference of its channels within REACH, in grey levels."""
    height, width = second.shape[:2]
    wide = cv2.copyMakeBorder(first, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE)
    least = np.full((height, width), np.inf, np.float32)
    for down in range(2 * REACH + 1):
        for across in range(2 * REACH + 1):
            apart = cv2.transform(cv2.absdiff(wide[down : down + height, across : across + width], second), _SUM)
            cv2.min(least, apart, dst=least)
    return least


def _in_tones_of(first: Floats, second: Floats) -> Floats:
    """Return the first picture with each channel mapped by the curve that brings it closest to the second."""
    mapped = np.empty_like(first)
    for channel in range(first.shape[2]):
        before, after = first[..., channel].ravel(), second[..., channel].ravel()
        level = (before / STEP).astype(np.intp)
        counts = np.bincount(level, minlength=LEVELS)
        used = counts > 0
        x, y = (np.bincount(level, values, LEVELS)[used] / counts[used] for values in (before, after))
        mapped[..., channel] = np.interp(before, x, y).reshape(first.shape[:2])
    return mapped


def _aligned(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return the parts of both pictures that show the same if the whole picture has moved."""
    grey = [cv2.transform(one, _SUM) for one in (first, second)]
    window = cv2.createHanningWindow((first.shape[1], first.shape[0]), cv2.CV_32F)
    (across, down), _ = cv2.phaseCorrelate(grey[0] - grey[0].mean(), grey[1] - grey[1].mean(), window)
    rows, columns = _overlap(round(down), first.shape[0]), _overlap(round(across), first.shape[1])
    return first[rows[0], columns[0]], second[rows[1], columns[1]]


def _overlap(moved: int, length: int) -> tuple[slice, slice]:
    """Return the parts of a line in the first and in the second picture that show the same."""
    return slice(max(-moved, 0), length - max(moved, 0)), slice(max(moved, 0), length - max(-moved, 0))
