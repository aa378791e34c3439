"""JPEG decoded by libjpeg-turbo, which reports damage that other readers fill up with grey."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg

from streamer.values import Bytes

START, END = b"\xff\xd8", b"\xff\xd9"
HUFFMAN_TABLES, SCAN, APP1, APP14 = 0xC4, 0xDA, 0xE1, 0xEE  # markers
FRAMES = frozenset(range(0xC0, 0xD0)) - {HUFFMAN_TABLES, 0xC8, 0xCC}  # markers of the segment with the size
SEQUENTIAL = (0xC0, 0xC1)
ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a segment
OF_FLAT_AREAS = (0x00, 0xF0)  # symbols of a Huffman table: the end of a block, and sixteen zeros
HOLE = bytes(128)  # zeros in compressed data, as a failed download or disk leaves them
STRAY_BYTES = 16  # before the end marker, which cameras leave in whole images
BEFORE_SCANS = frozenset(f"{marker:02x}" for marker in (0xC0, 0xC1, 0xC2, 0xDB, *range(0xE0, 0xF0), 0xFE))
UNUSUAL = "Could not determine subsampling level"
HARMLESS = re.compile(
    r"Invalid SOS parameters|Unknown Adobe color transform|"
    r"Corrupt JPEG data: (?P<stray>\d+) extraneous bytes before marker 0x(?P<marker>..)"
)


class JpegError(ValueError):
    """The JPEG is damaged or of an unknown kind; the message says how."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the segments before the compressed data say."""

    width: int
    height: int
    channels: int
    exif: bytes  # empty if there is none
    adobe: bool  # by a program of Adobe, whose CMYK is inverted: 255 is no ink
    holes_show: bool  # a run of zeros in the compressed data cannot belong to an image
    end: int  # where the compressed data begins


def read_header(data: bytes) -> Header:
    """Read the segments before the first scan. Raises JpegError."""
    size: tuple[int, int, int] | None = None
    exif, adobe, sequential, uneven = b"", False, False, False
    for marker, content, end in _segments(data):
        if marker in FRAMES and len(content) >= 6:
            height, width, channels = struct.unpack_from(">HHB", content, 1)
            size, sequential = (width, height, channels), marker in SEQUENTIAL
        elif marker == HUFFMAN_TABLES:
            uneven = uneven or any(symbol not in OF_FLAT_AREAS for symbol in _zero_symbols(content))
        elif marker == APP1 and not exif and content.startswith(b"Exif\0"):
            exif = content
        elif marker == APP14:
            adobe = adobe or content.startswith(b"Adobe")
        elif marker == SCAN and size is not None:
            interleaved = content[:1] == bytes([size[2]])  # so that every table is used in every few bytes
            return Header(*size, exif, adobe, sequential and interleaved and uneven, end)
    raise JpegError("the JPEG is cut off or damaged before its compressed data")


def decode_jpeg(data: bytes, header: Header) -> Bytes:
    """Decode to BGR (h, w, 3), or to CMYK (h, w, 4) as it is stored; EXIF is not applied. Raises JpegError.

    A JPEG whose colours are sampled in an unusual way is decoded by OpenCV, which detects only a missing end.
    """
    hole = data.find(HOLE, header.end) if header.holes_show else -1
    if hole >= 0 and data.find(END, header.end, hole) < 0:
        raise JpegError(f"the JPEG is damaged: from byte {hole} its compressed data is filled with zeros")
    colours = "CMYK" if header.channels == 4 else "BGR"
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colours), np.uint8)
    except ValueError as error:
        problem = str(error)
    if UNUSUAL in problem:
        return _decode_unusual(data)
    if "Premature end" in problem:
        raise JpegError(f"the JPEG is cut off: its end marker is missing after {len(data)} bytes")
    if not _is_harmless(problem, data, header):
        raise JpegError(f"the JPEG is damaged: {problem.removeprefix('Corrupt JPEG data: ')}")
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colours, strict=False), np.uint8)
    except ValueError as error:
        raise JpegError(f"the JPEG cannot be decoded: {error}") from error


def _decode_unusual(data: bytes) -> Bytes:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise JpegError(f"the JPEG cannot be decoded: {error.err}") from error
    if pixels is None:
        raise JpegError("the JPEG is damaged, cut off or of an unknown kind")
    return np.asarray(pixels, np.uint8)


def _is_harmless(problem: str, data: bytes, header: Header) -> bool:
    """libjpeg reports only the first problem: behind one in the header, at least the end must be there."""
    found = HARMLESS.search(problem)
    if found is None or data.find(END, header.end) < 0:
        return False
    stray, marker = found["stray"], found["marker"]
    return stray is None or marker in BEFORE_SCANS or (marker == "d9" and int(stray) <= STRAY_BYTES)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, content and end of each segment up to the first scan, or up to where the file is damaged."""
    place = len(START)
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        marker = data[place + 1]
        if marker in (0x00, 0xFF) or marker in ALONE:  # filling, or stray bytes
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        yield marker, data[place + 4 : end], end
        if marker == SCAN:
            return
        place = end


def _zero_symbols(tables: bytes) -> Iterator[int]:
    """Yield, of each table of a segment that codes other than mean values, the symbol whose code is all zeros."""
    place = 0
    while place + 17 < len(tables):
        if tables[place] >> 4:
            yield tables[place + 17]
        place += 17 + sum(tables[place + 1 : place + 17])
