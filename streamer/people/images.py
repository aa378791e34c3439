"""From a file to the face of a person: decoded, found, judged and aligned, in a thread with a detector of its own."""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import simplejpeg

from faceanalytics.names import printable
from streamer.config import Crop, Detect
from streamer.identity.references import FoundFace, Judgement, Unusable, image_reader
from streamer.values import Bytes

MOST_BYTES = 64 << 20  # of one file
MOST_PIXELS = 100_000_000  # of one image
LONGEST_NAME = 200  # characters of a file's name that are kept
ARCHIVE = b"PK\x03\x04"  # how zip archives begin
JPEG_QUALITY = 95  # percent, of the crops that are kept


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """The face in a file."""

    file: str
    digest: str  # SHA-256 of the file
    quality: float  # 0..1
    pixels: Bytes  # (112, 112, 3) RGB, aligned
    jpeg: bytes  # of the same
    media_time: float | None = None  # s, in a video; None: it is of an image


@dataclass(frozen=True, slots=True)
class Unfit:
    """A file that gives no reference."""

    file: str
    reason: str
    faces: tuple[FoundFace, ...] = field(default=())
    duplicate_of: str = ""  # id of the reference that is the same file


def shown_name(file: str, otherwise: str) -> str:
    """Return the name of a file as it is kept."""
    return printable(PurePosixPath(file).name)[:LONGEST_NAME] or otherwise


class Images:
    """Finds faces in files, one at a time. The detector is loaded with the first one."""

    def __init__(self, detect: Detect, crop: Crop) -> None:
        self._detect = detect
        self._crop = crop
        self._pool = ThreadPoolExecutor(1, "enrol")  # one detector, and one decoded image in memory
        self._reader: Callable[[bytes, str, int, Judgement], tuple[float, Bytes]] | None = None

    async def read(self, file: str, data: bytes, judgement: Judgement) -> Face | Unfit:
        """Return the face in an encoded image, or why no face is used. Raises ModelError."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, file, data, judgement)

    def close(self) -> None:
        """End the thread after the image that it reads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, file: str, data: bytes, judgement: Judgement) -> Face | Unfit:
        name = shown_name(file, "image")
        if self._reader is None:
            self._reader = image_reader(self._detect, self._crop)
        if data.startswith(ARCHIVE):
            return Unfit(name, "an archive: `streamer people enrol` unpacks it, or send the images in it")
        try:
            quality, pixels = self._reader(data, name, MOST_PIXELS, judgement)
        except Unusable as error:
            return Unfit(name, str(error), error.faces)
        jpeg = simplejpeg.encode_jpeg(pixels, quality=JPEG_QUALITY, colorspace="RGB")
        return Face(name, hashlib.sha256(data).hexdigest(), quality, pixels, jpeg)
