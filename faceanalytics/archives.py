"""Zip archives as they come from anybody: their files one at a time, none larger than allowed, nothing on the disk.

Names in an archive are only names: nothing is unpacked into a folder, so paths that lead elsewhere and links do no
harm. What a file claims is checked before it is decompressed, and it is decompressed to that size at most.
"""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from faceanalytics.errors import InputError
from faceanalytics.names import printable

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # how archives begin
SUFFIX = ".zip"
ARCHIVES = frozenset({".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".jar"})
MOST_ENTRIES = 50_000
MOST_DIRECTORY = 32 << 20  # bytes of the list of entries
RATIO, RATIO_FROM = 200, 1 << 20  # times that a file may grow when it is decompressed, from this many bytes
_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES = 22, 20
_LONGEST_COMMENT = 0xFFFF
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError),
    *(ValueError, OverflowError, MemoryError),
)


@dataclass(frozen=True, slots=True)
class Packed:
    """A file in an archive. `read` raises Unreadable."""

    name: str  # with its folders, as it stands in the archive; printable, and never used as a path
    size: int  # bytes that it has when it is decompressed
    read: Callable[[], bytes]


class Unreadable(Exception):
    """Why a file of an archive is not read."""


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip archive, by how it begins."""
    try:
        with path.open("rb") as file:
            return file.read(4) in MAGIC
    except OSError:
        return False


def packed_files(path: Path, most_bytes: int) -> Iterator[Packed]:
    """Yield the files of a zip archive, sorted by name; folders and hidden files are left out.

    `most_bytes`: of one file. Raises InputError if the archive cannot be read, has too many entries, or if parts of it
    belong to several files at once, as in archives that are made to fill disks.
    """
    name = printable(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            _check_directory(file.seek, file.read, size, name)
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                if len(entries) > MOST_ENTRIES:
                    raise InputError(f"{name}: {len(entries)} entries, at most {MOST_ENTRIES} are read; divide it")
                if sum(one.compress_size for one in entries) > size:
                    raise InputError(f"{name}: its entries overlap, so it is not read")
                for one in sorted(entries, key=lambda each: each.filename):
                    if not one.is_dir() and not _is_hidden(one.filename):
                        yield Packed(printable(one.filename), one.file_size, _reader(archive, one, most_bytes))
    except InputError:
        raise
    except _DAMAGED as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"{name}: the archive cannot be read: {reason}") from error


def _reader(archive: zipfile.ZipFile, one: zipfile.ZipInfo, most_bytes: int) -> Callable[[], bytes]:
    def read() -> bytes:
        problem = _problem(one, most_bytes)
        if problem:
            raise Unreadable(problem)
        try:
            with archive.open(one) as file:
                return file.read(one.file_size + 1)
        except _DAMAGED as error:
            raise Unreadable(f"it cannot be decompressed: {str(error) or type(error).__name__}") from error

    return read


def _problem(one: zipfile.ZipInfo, most_bytes: int) -> str:
    """Return why an entry is not decompressed, by what the archive says of it; empty: it is."""
    if one.flag_bits & 1:
        return "it is encrypted: unpack the archive yourself"
    if stat.S_ISLNK(one.external_attr >> 16):
        return "it is a link"
    if PurePosixPath(one.filename).suffix.lower() in ARCHIVES:
        return "it is an archive within the archive: unpack it yourself"
    if one.file_size > most_bytes:
        return f"{one.file_size} bytes, at most {most_bytes >> 20} MiB are read"
    if one.file_size > RATIO_FROM and one.file_size > RATIO * max(one.compress_size, 1):
        return f"{one.compress_size} bytes would become {one.file_size}, as no picture does"
    return ""


def _is_hidden(name: str) -> bool:
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def _check_directory(seek: Callable[[int], int], read: Callable[[int], bytes], size: int, name: str) -> None:
    """Refuse an archive with too many entries before its list of them is read. Raises InputError.

    The list is described at the end: number of entries and bytes, in the form of 64 bits if they are many.
    """
    start = max(0, size - _END_BYTES - _LONGEST_COMMENT - _LOCATOR_BYTES)
    seek(start)
    tail = read(size - start)
    place = tail.rfind(_END)
    end = tail[place : place + _END_BYTES]
    if place < 0 or len(end) < _END_BYTES:
        raise InputError(f"{name}: the archive is cut off or damaged")
    count, length = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    locator = tail[max(0, place - _LOCATOR_BYTES) : place]
    if locator.startswith(_LOCATOR_64):
        seek(min(int.from_bytes(locator[8:16], "little"), size))
        large = read(56)
        if large.startswith(_END_64):
            count, length = int.from_bytes(large[32:40], "little"), int.from_bytes(large[40:48], "little")
    if count > MOST_ENTRIES or length > MOST_DIRECTORY:
        raise InputError(f"{name}: {count} entries, at most {MOST_ENTRIES} are read; divide the archive")
