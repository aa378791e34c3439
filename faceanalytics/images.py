"""Images as callers have them, as the pixels that the stages take."""

from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from faceanalytics.errors import InputError
from faceanalytics.names import printable
from streamer.source.images import read_images
from streamer.values import Bytes, Frame

Channels: TypeAlias = Literal["BGR", "RGB"]
Image: TypeAlias = Bytes | Frame | Path | str


def to_bgr(image: Image, channels: Channels) -> Bytes:
    """The BGR pixels (h, w, 3) of an array in the order `channels`, of a Frame, or of an image file.

    A file is turned as its EXIF orientation says. Raises InputError for a file that is not an image, ValueError for an
    array of another shape, type or order.
    """
    if isinstance(image, Frame):
        return image.pixels
    if isinstance(image, str | Path):
        return _read(Path(image))
    if channels not in ("BGR", "RGB"):
        raise ValueError(f"channels is {channels!r}, expected 'BGR' or 'RGB'")
    if not isinstance(image, np.ndarray):
        raise ValueError(f"an image is an array, a Frame or a path, not {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"the image is {image.dtype} {image.shape}, expected uint8 (height, width, 3)")
    return np.ascontiguousarray(image[:, :, ::-1] if channels == "RGB" else image)


def _read(path: Path) -> Bytes:
    time, pixels = next(read_images(path))
    if time is not None:
        raise InputError(f"{printable(path)}: this is a video: read its frames with read_video, or use analyze")
    return pixels
