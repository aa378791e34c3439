"""Image files as BGR pixels, read alike by every command, and the images and videos of folders."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from faceanalytics.commandline import hide_passwords
from faceanalytics.errors import InputError
from faceanalytics.folders import Skipped, walk
from faceanalytics.names import printable
from streamer.source.decode_image import decode_image, is_still
from streamer.values import Bytes

__all__ = ["IMAGES", "VIDEOS", "decode_image", "find_files", "is_image", "read_image", "read_images"]

IMAGES = frozenset(
    {
        ".avif", ".bmp", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
        ".ppm", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
VIDEOS = frozenset(
    {
        ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".dav", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264",
        ".h265", ".hevc", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
        ".mts", ".mxf", ".nut", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
    }
)  # fmt: skip
START_BYTES = 256  # of a file, by which its kind is known
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # a Path keeps one slash only


def read_image(path: Path) -> Bytes:
    """Read an image file as `decode_image` does. Raises InputError that begins with the path."""
    try:
        data = path.read_bytes()
    except OSError as error:
        _refuse_address(path)
        raise InputError(f"{printable(path)}: {error.strerror}") from error
    return decode_image(data, printable(path))


def read_images(path: Path) -> Iterator[tuple[float | None, Bytes]]:
    """Yield media time in s (None for an image) and BGR pixels (h, w, 3) of an image or of each frame of a video.

    Raises InputError that begins with the path.
    """
    if not path.exists():
        _refuse_address(path)
    if path.is_dir():
        raise InputError(f"{printable(path)}: no image or video in this folder")
    if _is_image(path):
        yield None, read_image(path)
        return
    from streamer.source.file import read_file  # PyAV, which a reader of images does not need

    try:
        for frame in read_file(path, "", 0):
            yield frame.media_time, frame.pixels
    except InputError as error:
        if str(error).startswith(printable(path)):
            raise
        raise InputError(f"{printable(path)}: {error}") from error


def find_files(paths: Sequence[Path], suffixes: frozenset[str] = IMAGES | VIDEOS) -> list[Path]:
    """List files as they are given, and for each folder the files with these suffixes in and below it, sorted.

    Hidden files are skipped and counted in the log. A folder without such files stays in the list, so that reading it
    reports the error. Raises InputError if a folder cannot be read.
    """
    found: list[Path] = []
    skipped = Skipped()
    for path in paths:
        inside = (
            [path / name for name in walk(path, skipped) if Path(name).suffix.lower() in suffixes]
            if path.is_dir()
            else []
        )
        found += inside or [path]
    skipped.report()
    return found


def is_image(name: str) -> bool:
    """Return whether a file name has the suffix of an image."""
    return os.path.splitext(name)[1].lower() in IMAGES  # noqa: PTH122 - asked for millions of names


def _refuse_address(path: Path) -> None:
    """Raise InputError, without its password, for an address in the place of a file."""
    shown = printable(path)
    if _ADDRESS.match(shown):
        address = hide_passwords(shown.partition("?")[0])
        raise InputError(f"{address}: this is an address: images are read from files and folders")


def _is_image(path: Path) -> bool:
    """Decide by the suffix, else by the content."""
    suffix = path.suffix.lower()
    if suffix in IMAGES or suffix in VIDEOS or not path.is_file():
        return suffix in IMAGES
    try:
        with path.open("rb") as file:
            return is_still(file.read(START_BYTES))
    except OSError:
        return False  # opening it as a video reports the error
