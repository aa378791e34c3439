"""Images of data sets as RGB, read by the streamer's reader.

The reader is imported where it is used, so that the streamer is not loaded together with a training.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import cv2
import numpy as np
from numpy.typing import NDArray

from faceanalytics.folders import Skipped, walk
from faceanalytics.names import printable
from workers.research.data.face_set import Bytes, Integers


def decode(data: bytes, where: str) -> Bytes:
    """Decode an image file to RGB (h, w, 3) as the streamer does. Raises InputError that begins with `where`."""
    from streamer.source.images import decode_image

    return np.asarray(cv2.cvtColor(decode_image(data, where), cv2.COLOR_BGR2RGB), np.uint8)


def read(path: Path) -> Bytes:
    """Read an image file as RGB (h, w, 3). Raises InputError that begins with the path."""
    from streamer.source.images import read_image

    return np.asarray(cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB), np.uint8)


def is_image(name: str) -> bool:
    """Return whether a file name has the suffix of an image."""
    from streamer.source import images

    return images.is_image(name)


class Names(Sequence[str]):
    """Texts in two arrays: millions of them take little more than their letters, and pickle as two blocks."""

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
    """Images in files below one folder.

    A name without the suffix of an image gets .jpg, as `swinface data align` does for sets whose images are not files.
    """

    folder: Path
    names: Sequence[str]  # (n,) below the folder, with forward slashes

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Bytes:
        name = self.names[index]
        return read(self.folder / (name if is_image(name) else f"{name}.jpg"))

    def name(self, index: int) -> str:
        return self.names[index]


def find_files(folder: Path, skipped: Skipped | None = None) -> Iterator[str]:
    """Yield the names of all images below a folder, with forward slashes, folder by folder in the order of names.

    What is hidden is added to `skipped`, or logged at the end. Raises InputError if a folder cannot be read.
    """
    left_out = Skipped() if skipped is None else skipped
    yield from filter(is_image, walk(folder, left_out))
    if skipped is None:
        left_out.report()


def number(names: Sequence[str | None]) -> tuple[Integers, tuple[str, ...]]:
    """Number identities in the order of their names. Returns numbers (n,), UNKNOWN for None, and their names."""
    known = sorted({name for name in names if name is not None})
    places = {name: place for place, name in enumerate(known)}
    numbers: NDArray[np.int64] = np.array([-1 if name is None else places[name] for name in names], np.int64)
    return numbers, tuple(map(printable, known))
