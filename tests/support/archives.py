"""Archives that nobody should unpack, made here: bombs, paths that lead elsewhere, entries that overlap."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_zip(path: Path, files: Mapping[str, bytes], **options: int) -> Path:
    """An archive of these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, **options)
    return path


def write_bomb(path: Path, name: str = "bomb.bmp", megabytes: int = 60) -> Path:
    """An archive of some kilobytes with a file that fills memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(name, bytes(megabytes << 20))
    return path


def write_many(path: Path, count: int) -> Path:
    """An archive with very many entries, all empty."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number}.jpg", b"")
    return path


def overlapping(path: Path) -> Path:
    """Let all entries of an archive be the same bytes, as in archives that are made to fill disks."""
    data = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", data, data.find(b"PK\x01\x02") + 42)[0]
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        data[place + 42 : place + 46] = struct.pack("<I", first)
        place = data.find(b"PK\x01\x02", place + 4)
    path.write_bytes(data)
    return path


def with_flag(path: Path, flag: int) -> Path:
    """Set a flag of all entries, such as 1: encrypted."""
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(magic)
        while place >= 0:
            data[place + offset] |= flag
            place = data.find(magic, place + 4)
    path.write_bytes(data)
    return path
