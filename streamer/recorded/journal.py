"""Keeps what the models have answered, so that an analysis that was killed goes on where it was.

Everything behind the models is computed again in a moment and comes out the same. What the detector, the network for
turned faces and the workers have answered is appended to a file as it comes. A run that goes on asks the file first,
call by call, and the models where the file ends.
"""

import contextlib
import json
import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from faceanalytics.files import sync, writing

Array: TypeAlias = NDArray[Any]
Record: TypeAlias = tuple["Kind", int, int, bytes]  # kind, number of the call, checksum of its input, answer


MAGIC = b"faceanalytics journal 1\n"
SYNC_S = 5.0  # a power cut costs at most about this much work; a killed process loses nothing
LARGEST = 1 << 28  # bytes; a record that states more is damaged
_CHECKED = struct.Struct("<BQI")  # kind, number of the call, checksum of its input; length and CRC-32 precede it

log = logging.getLogger(__name__)


class Kind(IntEnum):
    """Whose answer a record is."""

    HEADER = 0
    FACES = 1  # of the detector
    ROLLS = 2  # of the network for turned faces
    ANALYSES = 3  # of the workers


class Journal:
    """The journal of one run. Any thread may use it."""

    def __init__(self, path: Path, header: dict[str, Any], go_on: bool) -> None:
        """Open the journal in `path`. `go_on`: recall what it holds, else begin an empty one.

        Raises ConfigError if it cannot be written.
        """
        self._path = path
        self._lock = threading.Lock()
        self._places: dict[Kind, dict[int, int]] = {kind: {} for kind in Kind}  # number of a call -> offset
        self._synced = time.monotonic()
        self.recalls = False  # the last call of the detector was answered from the file
        with writing(path):
            if go_on:
                self._file: IO[bytes] = path.open("r+b", buffering=0)
                self._end = self._index()
                self._file.truncate(self._end)
            else:
                # it holds embeddings, as the memory of the process does
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
                self._file = os.fdopen(descriptor, "r+b", buffering=0)
                self._end = 0
                self._append(MAGIC)
        if not go_on:
            self._write(Kind.HEADER, 0, 0, json.dumps(header).encode())

    def kept_words(self) -> str:
        """Return how much can be recalled, in words."""
        searches, batches = len(self._places[Kind.FACES]), len(self._places[Kind.ANALYSES])
        return f"{searches} searches for faces and {batches} batches of faces are done"

    def recall(self, kind: Kind, number: int, checksum: int) -> list[Array] | None:
        """Return the answer to a call, if there is one to the same input. Each can be recalled once."""
        with self._lock:
            place = self._places[kind].pop(number, None)
            record = None if place is None else _read(self._file, place)
        recalled = record is not None and record[2] == checksum
        if kind is Kind.FACES:
            self.recalls = recalled
        return unpacked(record[3]) if record is not None and recalled else None

    def keep(self, kind: Kind, number: int, checksum: int, arrays: Sequence[Array]) -> list[Array]:
        """Append the answer to a call. Returns it as it would be recalled. Raises ConfigError."""
        body = packed(arrays)
        self._write(kind, number, checksum, body)
        if kind is Kind.FACES:  # this thread may wait for the disk: the one of the workers' socket may not
            self._sync()
        return unpacked(body)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._file.close()

    def remove(self) -> None:
        """Remove the file: the run has finished. Raises ConfigError."""
        with writing(self._path), contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _write(self, kind: Kind, number: int, checksum: int, body: bytes) -> None:
        checked = _CHECKED.pack(kind, number, checksum) + body
        record = struct.pack("<II", len(checked), zlib.crc32(checked)) + checked
        with self._lock, writing(self._path):
            if self._file.closed:  # an answer that nobody waits for
                return
            self._append(record)

    def _append(self, record: bytes) -> None:
        view = memoryview(record)
        self._file.seek(self._end)
        while view:
            view = view[self._file.write(view) or 0 :]
        self._end += len(record)

    def _sync(self) -> None:
        now = time.monotonic()
        if now - self._synced > SYNC_S:
            self._synced = now
            with writing(self._path):
                sync(self._file)

    def _index(self) -> int:
        """Note where the answers are. Returns the end of the last whole record."""
        whole = 0  # bytes
        for place, end, (kind, number, _, _) in _records(self._file):
            whole = end
            if kind is not Kind.HEADER:
                self._places[kind][number] = place
        size = os.fstat(self._file.fileno()).st_size
        if size > whole:
            log.warning("%s: only %d of %d bytes are whole; the rest is analysed again", self._path, whole, size)
        return whole


def journal_header(path: Path) -> dict[str, Any] | None:
    """Return the header of a journal; None if there is no readable one. Raises ConfigError."""
    try:
        with path.open("rb", buffering=0) as file:
            record = next((record for _, _, record in _records(file)), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        with writing(path):
            raise error
    if record is None or record[0] is not Kind.HEADER:
        return None
    header = json.loads(record[3])
    return header if isinstance(header, dict) else None


def packed(arrays: Sequence[Array]) -> bytes:
    """Return arrays as bytes, with type and shape."""
    parts = [struct.pack("<H", len(arrays))]
    for array in arrays:
        kind = array.dtype.str.encode()
        parts.append(struct.pack("<BB", len(kind), array.ndim) + kind + struct.pack(f"<{array.ndim}I", *array.shape))
        parts.append(array.tobytes())
    return b"".join(parts)


def unpacked(body: bytes) -> list[Array]:
    """Return what `packed` was given, in memory of its own: one layout, whatever that of the model's output was."""
    (count,), at = struct.unpack_from("<H", body), 2
    arrays = []
    for _ in range(count):
        length, ndim = struct.unpack_from("<BB", body, at)
        kind = np.dtype(body[at + 2 : at + 2 + length].decode())
        at += 2 + length
        shape = struct.unpack_from(f"<{ndim}I", body, at)
        at += 4 * ndim
        size = int(np.prod(shape, dtype=np.int64))
        arrays.append(np.frombuffer(body, kind, size, at).reshape(shape).copy())
        at += size * kind.itemsize
    return arrays


def _records(file: IO[bytes]) -> Iterator[tuple[int, int, Record]]:
    """Yield begin, end and content of each record up to the first that is not whole."""
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        return
    at = len(MAGIC)
    while (record := _read(file, at)) is not None:
        begin, at = at, at + 8 + _CHECKED.size + len(record[3])
        yield begin, at, record


def _read(file: IO[bytes], place: int) -> Record | None:
    """Return kind, number, checksum and body of a record; None if it is cut off or damaged."""
    file.seek(place)
    head = file.read(8)
    if len(head) < 8:
        return None
    length, expected = struct.unpack("<II", head)
    if not _CHECKED.size <= length <= LARGEST:
        return None
    checked = file.read(length)
    if len(checked) < length or zlib.crc32(checked) != expected:
        return None
    kind, number, checksum = _CHECKED.unpack_from(checked)
    return (Kind(kind), number, checksum, checked[_CHECKED.size :]) if kind in tuple(Kind) else None
