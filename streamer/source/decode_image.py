"""Encoded images to upright BGR pixels: JPEG by libjpeg-turbo, all other formats by Pillow.

Pillow is imported where it is used: most images are JPEG.
"""

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np

from faceanalytics.errors import InputError
from streamer.source.jpeg import START, JpegError, decode_jpeg, read_header
from streamer.values import Bytes

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 250_000_000  # 0.75 GB when decoded; a file of some kilobytes can claim to hold far more
FORMATS = ("BMP", "GIF", "PNG", "PPM", "TIFF", "WEBP")  # of Pillow, in every installation
PNG_END = b"IEND\xaeB`\x82"
START_OF_CODESTREAM = b"\xff\x4f\xff\x51"  # of JPEG 2000
JPEG2000 = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", START_OF_CODESTREAM)  # how its two kinds of files begin
STILLS = re.compile(rb"\xff\xd8\xff|\x89PNG|BM|II\*\0|MM\0\*|P[1-6]\s|RIFF....WEBP", re.DOTALL)
AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
GREY = (127, 127, 127, 255)  # behind transparent pixels, RGBA
ORIENTATION = 0x0112  # tag of EXIF
# What Pillow raises for damaged files: which one depends on the bytes.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    cv2.error,
)


def decode_image(data: bytes, where: str, max_pixels: int = MAX_PIXELS) -> Bytes:
    """Decode an image file to BGR (h, w, 3), upright as its EXIF, or irot and imir of AVIF and HEIC, say.

    Grey images get three equal channels, of 16 bits the upper eight are kept, CMYK is converted without its profile,
    and transparent pixels are composed on grey. Of several images in one file it is the first. Raises InputError that
    begins with `where` if the data is not an image, is cut off or damaged, or has more than `max_pixels`.
    """
    if not data:
        raise InputError(f"{where}: the image is empty (0 bytes)")
    try:
        return _decode_jpeg(data, max_pixels) if data.startswith(START) else _decode_other(data, max_pixels)
    except (_Refused, JpegError) as refusal:
        raise InputError(f"{where}: {refusal}") from refusal


def is_still(start: bytes) -> bool:
    """Return whether a file that begins like this is an image. A GIF is a video."""
    return STILLS.match(start) is not None or _container(start) is not None


class _Refused(Exception):
    """The reason for which an image is not decoded."""


def _decode_jpeg(data: bytes, max_pixels: int) -> Bytes:
    header = read_header(data)
    _check_size(header.width, header.height, max_pixels)
    pixels = decode_jpeg(data, header)
    if pixels.shape[2] == 4:
        from PIL import Image

        ink = np.ascontiguousarray(255 - pixels if header.adobe else pixels)
        pixels = _bgr(Image.fromarray(ink, "CMYK"))
    return _upright(pixels, _orientation(header.exif))


def _decode_other(data: bytes, max_pixels: int) -> Bytes:
    """Decode any other format. Raises _Refused."""
    from PIL import Image, UnidentifiedImageError

    formats = _formats(data)
    if Image.MAX_IMAGE_PIXELS is not None:  # it refuses twice as much
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS // 2)
    try:
        with _without_warnings(), Image.open(BytesIO(data), formats=formats) as image:
            _check_size(*image.size, max_pixels)
            if image.format == "PNG":
                _verify(data)
            if image.format == "JPEG2000" and _bits(data) > 8 and image.mode != "I;16":
                return _bgr(_deep(data))
            image.load()
            orientation = int(image.getexif().get(ORIENTATION, 1))
            return _upright(_bgr(image), orientation)
    except Image.DecompressionBombError as error:
        raise _Refused(f"more than {MAX_PIXELS // 10**6} megapixels: scale the image down") from error
    except UnidentifiedImageError as error:
        raise _Refused(f"not an image, or of an unknown or damaged format ({len(data)} bytes)") from error
    except _DAMAGED as error:
        raise _Refused(
            f"the image is damaged or cut off: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def _formats(data: bytes) -> tuple[str, ...]:
    """Return the formats of Pillow that the data may have. Raises _Refused for one that must be installed."""
    from PIL import features

    container = _container(data)
    if container is None:
        return FORMATS
    if container == "HEIF":
        if find_spec("pillow_heif") is None:
            raise _Refused("HEIC images need pillow-heif, which is not installed: pip install 'faceanalytics[images]'")
        import pillow_heif

        pillow_heif.register_heif_opener()
    elif not features.check({"AVIF": "avif", "JPEG2000": "jpg_2000"}[container]):
        raise _Refused(f"the installed Pillow was built without {container}: pip install --upgrade pillow")
    return (container,)


def _container(data: bytes) -> str | None:
    """Return the format of Pillow by the first bytes, where it may have to be installed."""
    if data.startswith(JPEG2000):
        return "JPEG2000"
    if data[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(data[:4]), 128)
    brands = {data[place : place + 4] for place in (8, *range(16, length, 4))}
    if brands & AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & HEIC_BRANDS else None


def _verify(png: bytes) -> None:
    """Compare the checksums of a PNG, which Pillow skips when it decodes one. Raises one of _DAMAGED."""
    from PIL import Image

    with Image.open(BytesIO(png), formats=("PNG",)) as image:
        image.verify()
    if PNG_END not in png:
        raise ValueError("its last bytes are missing")


def _bits(jpeg2000: bytes) -> int:
    """Return the bits of the first channel by the header of the compressed data."""
    size = jpeg2000.find(START_OF_CODESTREAM)
    return (jpeg2000[size + 42] & 127) + 1 if 0 <= size < len(jpeg2000) - 42 else 0


def _deep(jpeg2000: bytes) -> "Image":
    """Decode colours of more than eight bits, where Pillow turns white to black. Raises ValueError, cv2.error."""
    from PIL import Image

    pixels = cv2.imdecode(np.frombuffer(jpeg2000, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("broken data stream")
    eight = (np.asarray(pixels, np.uint16) >> (_bits(jpeg2000) - 8)).astype(np.uint8)
    if eight.ndim == 2 or eight.shape[2] < 3:
        return Image.fromarray(eight.reshape(*eight.shape[:2], -1)[:, :, 0])
    order = [2, 1, 0, 3][: eight.shape[2]]
    return Image.fromarray(np.ascontiguousarray(eight[:, :, order]))


def _bgr(image: "Image") -> Bytes:
    """Return the pixels of an image in any mode of Pillow as BGR (h, w, 3). Raises _Refused, ValueError."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise _Refused("its pixels are numbers of 32 bits, whose white is not known: save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, GREY), image)
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def _orientation(exif: bytes) -> int:
    """Return the orientation in the segment of a JPEG, 1 if there is none."""
    if not exif:
        return 1
    from PIL.Image import Exif

    tags = Exif()
    try:
        with _without_warnings():
            tags.load(exif)
            return int(tags.get(ORIENTATION, 1))
    except _DAMAGED:
        return 1  # the image itself is whole


def _upright(pixels: Bytes, orientation: int) -> Bytes:
    """Turn and mirror (h, w, 3) pixels as an EXIF orientation says; values outside 2 to 8 change nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Drop what Pillow guesses about a file: the outcome decides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise _Refused(f"{width}x{height} pixels are more than {max_pixels // 10**6} megapixels: scale the image down")
    if not width * height:
        raise _Refused(f"it has no pixels: {width}x{height}")
