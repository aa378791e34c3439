"""Image and video files as BGR pixels, and the files of folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from faceanalytics.errors import InputError
from streamer.source.file import read_file
from streamer.values import Bytes

IMAGES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
VIDEOS = {".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"}


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths` as they are, and in place of a folder the images and videos in and below it, sorted.

    In a folder the name's ending decides, and what begins with a dot is left out. A folder without any stays in the
    list, so that it is complained about when it is read.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(place for place in path.rglob("*") if _is_wanted(place, path)) if path.is_dir() else []
        found += inside or [path]
    return found


def _is_wanted(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in IMAGES | VIDEOS and path.is_file()


def read_images(path: Path) -> Iterator[tuple[float | None, Bytes]]:
    """Media time in s (None: an image has none) and BGR pixels (h, w, 3). Raises InputError.

    Images are turned as their EXIF orientation says, so that pixels are those that a viewer shows.
    """
    if path.is_dir():
        raise InputError(f"{path}: no image or video in this folder")
    if path.is_file() and path.suffix.lower() != ".gif" and cv2.haveImageReader(str(path)):
        yield None, _read_image(path)
        return
    for frame in read_file(path, "", 0):
        yield frame.media_time, frame.pixels


def _read_image(path: Path) -> Bytes:
    try:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)  # turns it by its EXIF orientation
    except cv2.error as error:  # larger than OpenCV takes
        raise InputError(f"{path}: the image cannot be decoded: {error.err}") from error
    if pixels is None:
        raise InputError(f"{path}: the image cannot be decoded")
    return np.asarray(pixels, np.uint8)
