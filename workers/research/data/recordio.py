"""Read record files of MXNet and insightface: records of bytes, found by key.

Format: dmlc-core include/dmlc/recordio.h. A record is one part or several; a part is the magic number, a word of
flag (upper 3 bits: 0 whole, 1 first, 2 middle, 3 last part) and length (lower 29 bits), the bytes, and zeros up to a
multiple of four. Where the magic number stands in the data at a multiple of four, the record is split there, and the
four bytes themselves are left out. An .idx file has lines `key<TAB>offset`.
"""

import logging
import mmap
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import InputError
from workers.research.data.face_set import Integers

MAGIC = 0xCED7230A
WORD = struct.pack("<I", MAGIC)
LENGTH = (1 << 29) - 1
WHOLE, FIRST, MIDDLE, LAST = range(4)
LOG_EVERY = 1_000_000  # records between two log lines

log = logging.getLogger(__name__)


class RecordFile:
    """A memory-mapped .rec file; a process that it is sent to opens it again."""

    def __init__(self, path: Path) -> None:
        """Map the file. Raises InputError if it cannot be read."""
        self.path = path
        try:
            with path.open("rb") as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return (RecordFile, (self.path,))

    def __len__(self) -> int:
        """Return the size of the file in bytes."""
        return len(self.data)

    def words(self) -> NDArray[np.uint32]:
        """Return the file as words of four bytes, to which records are aligned, (length // 4,), without a copy."""
        return np.frombuffer(self.data, "<u4", len(self.data) // 4)

    def record(self, offset: int, key: int) -> bytes:
        """Return the record at an offset. Raises InputError with file, key and offset if it is damaged."""
        start = offset
        flag, part, offset = self._part(start, key)
        if flag == WHOLE:
            return part
        if flag != FIRST:
            raise self.fail(key, start, f"begins with a part of kind {flag}, expected {WHOLE} or {FIRST}")
        parts = [part]
        while flag != LAST:
            start = offset
            flag, part, offset = self._part(offset, key)
            if flag not in (MIDDLE, LAST):
                raise self.fail(key, start, f"goes on with a part of kind {flag}")
            parts.append(part)
        return WORD.join(parts)

    def _part(self, offset: int, key: int) -> tuple[int, bytes, int]:
        """Return flag and bytes of one part, and the offset of the next one."""
        if not 0 <= offset <= len(self.data) - 8:
            raise self.fail(key, offset, f"starts beyond the end of the file ({len(self.data)} bytes)")
        magic, word = struct.unpack_from("<II", self.data, offset)
        if magic != MAGIC:
            raise self.fail(key, offset, f"begins with {magic:#010x} instead of the magic number {MAGIC:#010x}")
        start, length = offset + 8, word & LENGTH
        if start + length > len(self.data):
            raise self.fail(key, offset, f"of {length} bytes ends beyond the end of the file ({len(self.data)} bytes)")
        return word >> 29, self.data[start : start + length], start + (length + 3) // 4 * 4

    def fail(self, key: int, offset: int, reason: str) -> InputError:
        """Return the error to raise for a record."""
        return InputError(f"{self.path}: record {key} at byte {offset} {reason}")


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The offset of each record."""

    keys: Integers  # (n,)
    offsets: Integers  # (n,) bytes


def read_index(path: Path) -> Index:
    """Read an .idx file. Raises InputError with the number of a line that is not two whole numbers."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    table = _whole_numbers(text)
    if table is None or len(table) != 2 * (text.count(b"\n") + (text[-1:] not in (b"", b"\n"))):
        raise _wrong_line(path, text)
    keys, offsets = table.reshape(-1, 2).T
    if len(np.unique(keys)) != len(keys):
        raise InputError(f"{path}: a key is listed twice")
    return Index(keys.copy(), offsets.copy())


def _whole_numbers(text: bytes) -> Integers | None:
    """Return all whole numbers of a text, or None if it has anything else. Millions of lines take a second."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy reports unreadable text as a warning
            return np.fromstring(text, np.int64, sep=" ")
    except (ValueError, DeprecationWarning):
        return None


def _wrong_line(path: Path, text: bytes) -> InputError:
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.split()
        if len(cells) != 2 or not all(cell.isdigit() for cell in cells):
            found = line.decode("utf-8", "replace")
            return InputError(f"{path}:{number}: expected a key and an offset, found {found!r}")
    return InputError(f"{path}: not lines of a key and an offset")


def scan(file: RecordFile) -> Index:
    """Build the index of a file without one, with keys from 0. Raises InputError at the first damaged record."""
    offsets: list[int] = []
    offset, size = 0, len(file)
    while offset < size:
        if size - offset < 8:
            raise file.fail(len(offsets), offset, f"is cut off by the end of the file ({size} bytes)")
        magic, word = struct.unpack_from("<II", file.data, offset)
        if magic != MAGIC:
            raise file.fail(
                len(offsets), offset, f"begins with {magic:#010x} instead of the magic number {MAGIC:#010x}"
            )
        if word >> 29 in (WHOLE, FIRST):
            offsets.append(offset)
            if len(offsets) % LOG_EVERY == 0:
                log.info("%s: %d records found", file.path, len(offsets))
        offset += 8 + ((word & LENGTH) + 3) // 4 * 4
    if offset - size > 3:  # the padding of the last record may be missing
        raise file.fail(len(offsets) - 1, offsets[-1], f"ends beyond the end of the file ({size} bytes)")
    return Index(np.arange(len(offsets)), np.array(offsets, np.int64))
