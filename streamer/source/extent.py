"""How long a file should be by the sizes that its container states, to find files that were cut off."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

TS_PACKETS = (188, 192, 204)  # bytes: plain, with a time code (M2TS), with error correction
TS_SYNC = 0x47
ASF_OBJECTS = [
    bytes.fromhex(guid)
    for guid in (
        "3026b2758e66cf11a6d900aa0062ce6c",  # header
        "3626b2758e66cf11a6d900aa0062ce6c",  # data
        "90080033b1e5cf1189f400a0c90349cb",  # indices
        "d329e2d6da35d111903400a0c90349be",
        "f803b1fead12644c840f2a1d2f7ad48c",
    )
]
EBML_ELEMENTS = [b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"]  # header, segment
MP4_FIRST = (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip")
FLV_TAG = 11  # bytes of a tag's header


def is_cut_off(path: Path) -> bool | None:
    """Return whether a video file is shorter than its container states, or None if the container does not say.

    Raises OSError.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        end = _stated_end(file, size)
    return None if end is None else end > size


def is_joined(path: Path) -> bool:
    """Return whether an MP4 or ASF file is followed by another in the same file, of which FFmpeg loses a part or all.

    Raises OSError.
    """
    size, parts = path.stat().st_size, []

    def noted(read: Callable[[BinaryIO], int | None], file: BinaryIO) -> int | None:
        start = file.tell()
        head = file.read(16)
        parts.append(head if read is _asf_object else head[4:8])
        file.seek(start)
        return read(file)

    with path.open("rb") as file:
        head = file.read(16)
        if head[4:8] in MP4_FIRST:
            _walk(file, size, partial(noted, _mp4_box))
            return parts.count(b"moov") > 1
        if head == ASF_OBJECTS[0]:
            _walk(file, size, partial(noted, _asf_object))
            return parts.count(ASF_OBJECTS[0]) > 1
    return False


def _stated_end(file: BinaryIO, size: int) -> int | None:
    head = file.read(3 * TS_PACKETS[-1])
    if head[4:8] in MP4_FIRST:
        return _walk(file, size, _mp4_box)
    if head[:4] == b"RIFF":
        return _walk(file, size, _riff_chunk)
    if head[:4] == EBML_ELEMENTS[0]:
        return _walk(file, size, _ebml_element)
    if head[:16] == ASF_OBJECTS[0]:
        return _walk(file, size, _asf_object)
    if head[:3] == b"FLV":
        return _flv_end(file, size)
    if head[:4] == b"GIF8":
        return _gif_end(file, size)
    for length in TS_PACKETS:
        first = length - TS_PACKETS[0] if length == TS_PACKETS[1] else 0  # the time code comes before the packet
        if len(head) > first + 2 * length and all(head[first + i * length] == TS_SYNC for i in range(3)):
            return -(-size // length) * length
    return None


def _walk(file: BinaryIO, size: int, read: Callable[[BinaryIO], int | None]) -> int | None:
    """Return where the last part at the top level ends, or None if that is not stated.

    `read` returns the length of the part at the position: None if it is not stated, 0 if other bytes follow.
    """
    position = 0
    while position < size:
        file.seek(position)
        length = read(file)
        if length is None:
            return None
        if length == 0:
            break
        position += length
    return position


def _mp4_box(file: BinaryIO) -> int | None:
    head = file.read(16)
    if len(head) < 8:
        return 8  # the head of a box that has been cut off
    if not head[4:8].isalnum():
        return 0
    length = int.from_bytes(head[:4], "big")
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    return length if length >= 8 else None  # 0: up to the end of the file


def _riff_chunk(file: BinaryIO) -> int | None:
    head = file.read(8)
    if head[:4] != b"RIFF":
        return 0
    length = int.from_bytes(head[4:], "little")
    return 8 + length + length % 2 if 0 < length < 0xFFFF_FFFF else None  # else it was never completed


def _asf_object(file: BinaryIO) -> int | None:
    head = file.read(24)
    if head[:16] not in ASF_OBJECTS:
        return None  # the length of the data was not known when it was written
    return int.from_bytes(head[16:], "little")


def _ebml_element(file: BinaryIO) -> int | None:
    """Read an id of four bytes, then a length, which begins with its own length in leading zero bits."""
    head = file.read(12)
    if head[:4] not in EBML_ELEMENTS or len(head) < 12 or head[4] == 0:
        return 0
    digits = 9 - head[4].bit_length()
    unknown = (1 << 7 * digits) - 1
    length = int.from_bytes(head[4 : 4 + digits], "big") & unknown
    return None if length == unknown else 4 + digits + length


def _flv_end(file: BinaryIO, size: int) -> int:
    """Each tag is followed by its length, so the last four bytes lead to the start of the last tag."""
    if size > FLV_TAG + 4:
        file.seek(size - 4)
        length = int.from_bytes(file.read(4), "big")
        if FLV_TAG <= length <= size - 4:
            file.seek(size - 4 - length)
            tag = file.read(4)
            if FLV_TAG + int.from_bytes(tag[1:], "big") == length:
                return size
    return size + 1


def _gif_end(file: BinaryIO, size: int) -> int:
    """Follow the blocks up to the last one, as nothing states the length; some files lack the end mark."""
    file.seek(10)
    file.seek(13 + _gif_colours(file.read(1)))
    while (kind := file.read(1)) in {b"!", b","}:
        if kind == b",":  # an image: its place, its colours, and the width of its codes
            place = file.read(9)
            file.seek(_gif_colours(place[8:]) + 1, os.SEEK_CUR)
        else:
            file.seek(1, os.SEEK_CUR)
        while (length := int.from_bytes(file.read(1) or b"\1")) and file.tell() <= size:
            file.seek(length, os.SEEK_CUR)
    return max(size, file.tell())


def _gif_colours(flags: bytes) -> int:
    """Return the bytes of a colour table."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0
