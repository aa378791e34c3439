"""Images from files: decoded alike whatever set they belong to."""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import overload

import cv2
import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import InputError
from workers.research.data.face_set import Bytes, Integers

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
START_OF_SCAN, END_OF_JPEG = b"\xff\xda", b"\xff\xd9"


def decode(data: bytes, where: str) -> Bytes:
    """An encoded image as (h, w, 3) uint8 RGB; grey becomes RGB, transparency and bits beyond eight are dropped.

    The orientation of EXIF is honoured: faces stand as a person sees them. Raises InputError that begins with `where`
    if it is no image or one that was cut off. Damage inside the compressed data of a JPEG or WebP, or in the pixels
    of a BMP or TIFF, cannot be told from an image and decodes to wrong pixels; PNG has checksums.
    """
    if not data:
        raise InputError(f"{where}: the image is empty (0 bytes)")
    if data.startswith(b"\xff\xd8") and _cut_off(data):
        raise InputError(f"{where}: the JPEG is cut off: its end marker is missing after {len(data)} bytes")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{where}: cannot be decoded: {error.err}") from error
    if image is None:
        raise InputError(f"{where}: not an image, or of an unknown or damaged format ({len(data)} bytes)")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _cut_off(jpeg: bytes) -> bool:
    """Some versions of OpenCV fill what is missing with grey. Neither marker can occur in compressed data, and the
    end marker of a thumbnail comes before the scans of the image."""
    return jpeg.rfind(END_OF_JPEG) < max(jpeg.rfind(START_OF_SCAN), 0)


def read(path: Path) -> Bytes:
    """The image in a file as (h, w, 3) uint8 RGB. Raises InputError that names it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    return decode(data, str(path))


class Names(Sequence[str]):
    """Many texts in two arrays: millions of them cost their letters, and go to other processes as two blocks."""

    def __init__(self, names: Iterable[str]) -> None:
        letters, ends = bytearray(), array("q", [0])
        for name in names:
            letters += name.encode("utf-8", "surrogateescape")
            ends.append(len(letters))
        self._letters, self._ends = bytes(letters), np.array(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._letters[self._ends[place] : self._ends[place + 1]].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[place] for place in range(len(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """Images that are files below one folder. A name without an image's suffix is that of a .jpg file, as
    `swinface data align` writes the crops of a set whose images are no files."""

    folder: Path
    names: Sequence[str]  # (n,) below the folder, with forward slashes

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Bytes:
        name = self.names[index]
        return read(self.folder / (name if PurePosixPath(name).suffix.lower() in SUFFIXES else f"{name}.jpg"))

    def name(self, index: int) -> str:
        return self.names[index]


def find_files(folder: Path) -> Iterator[str]:
    """Names of the images anywhere below a folder, with forward slashes, folder by folder in the order of names.

    Raises InputError if the folder cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from error
    for entry in entries:
        if entry.is_dir():
            yield from (f"{entry.name}/{name}" for name in find_files(Path(entry.path)))
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122  # millions of them
            yield entry.name


def number(names: Sequence[str | None]) -> tuple[Integers, tuple[str, ...]]:
    """Identities numbered in the order of their names: (n,) numbers, UNKNOWN for None, and the name of each number."""
    known = sorted({name for name in names if name is not None})
    places = {name: place for place, name in enumerate(known)}
    numbers: NDArray[np.int64] = np.array([-1 if name is None else places[name] for name in names], np.int64)
    return numbers, tuple(known)
