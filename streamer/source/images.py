"""Image files as BGR pixels, read alike by every command, and the images and videos of folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from faceanalytics.errors import InputError
from streamer.values import Bytes

IMAGES = frozenset({".avif", ".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
VIDEOS = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"})
START_OF_JPEG, START_OF_SCAN, END_OF_JPEG = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


def decode_image(data: bytes, where: str) -> Bytes:
    """Decode an image file to BGR (h, w, 3), turned upright as its EXIF orientation says.

    Grey images get three equal channels; transparency and bits beyond eight are dropped. Raises InputError that begins
    with `where` if the data is not an image or was cut off. Damage inside the compressed data of a JPEG or WebP, or in
    the pixels of a BMP or TIFF, cannot be detected and gives wrong pixels; PNG has checksums.
    """
    if not data:
        raise InputError(f"{where}: the image is empty (0 bytes)")
    if data.startswith(START_OF_JPEG) and _is_cut_off(data):
        raise InputError(f"{where}: the JPEG is cut off: its end marker is missing after {len(data)} bytes")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # such as an image larger than OpenCV accepts
        raise InputError(f"{where}: the image cannot be decoded: {error.err}") from error
    if pixels is None:
        raise InputError(f"{where}: not an image, or of an unknown or damaged format ({len(data)} bytes)")
    return np.asarray(pixels, np.uint8)


def read_image(path: Path) -> Bytes:
    """Read an image file as `decode_image` does. Raises InputError that begins with the path."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    return decode_image(data, str(path))


def read_images(path: Path) -> Iterator[tuple[float | None, Bytes]]:
    """Yield media time in s (None for an image) and BGR pixels (h, w, 3) of an image or of each frame of a video.

    Raises InputError.
    """
    if path.is_dir():
        raise InputError(f"{path}: no image or video in this folder")
    if _is_image(path):
        yield None, read_image(path)
        return
    from streamer.source.file import read_file  # PyAV, which a reader of images does not need

    for frame in read_file(path, "", 0):
        yield frame.media_time, frame.pixels


def find_files(paths: Sequence[Path]) -> list[Path]:
    """List files as they are given, and for each folder the images and videos in and below it, sorted.

    In a folder the suffix decides, and names that begin with a dot are skipped. A folder without images or videos stays
    in the list, so that reading it reports the error.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(place for place in path.rglob("*") if _is_wanted(place, path)) if path.is_dir() else []
        found += inside or [path]
    return found


def _is_cut_off(jpeg: bytes) -> bool:
    """Some versions of OpenCV fill missing rows with grey. Neither marker can occur in compressed data, and the
    end marker of a thumbnail comes before the scans of the image."""
    return jpeg.rfind(END_OF_JPEG) < max(jpeg.rfind(START_OF_SCAN), 0)


def _is_image(path: Path) -> bool:
    """Decide by the suffix of images, else by the content. A GIF is a video, of which OpenCV reads one frame."""
    suffix = path.suffix.lower()
    return suffix in IMAGES or (suffix != ".gif" and path.is_file() and cv2.haveImageReader(str(path)))


def _is_wanted(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in IMAGES | VIDEOS and path.is_file()
