"""A folder of images as a camera: the images in it one after the other, or those that are added while it is watched."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faceanalytics.errors import InputError
from faceanalytics.folders import Skipped, walk
from streamer import metrics
from streamer.source.images import IMAGES, read_image
from streamer.source.luma import luma_of
from streamer.values import Bytes

IMAGES_CODEC = "images"  # stands for the codec of a folder of images
POLL_S = 0.5  # interval between two looks at a followed folder
ATTEMPTS = 20  # looks at an image that cannot be read before it is given up: its writer may be slow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class FolderFrame:
    """One image, as a frame of the camera."""

    image: Bytes  # (h, w, 3) BGR, upright
    media_time: float  # s

    codec = IMAGES_CODEC
    decoder = f"{IMAGES_CODEC} on cpu"
    time_estimated = False

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]

    def pixels(self) -> Bytes:
        """Return the image as BGR (h, w, 3)."""
        return self.image

    def luma(self) -> Bytes:
        """Return the image small and grey (rows, columns), its longer side LUMA_SIDE px."""
        return luma_of(self.image)


def show_folder(folder: Path, camera: str, interval_s: float) -> Iterator[FolderFrame]:
    """Yield the images in and below a folder in the order of their numbers or dates, `interval_s` apart.

    An image that cannot be read is logged, counted as a dropped frame and leaves its moment empty. Raises InputError if
    there is no image, or none that can be read.
    """
    images = images_of(folder, report=True)
    if not images:
        raise InputError(f"{folder}: no image in this folder")
    shown = 0
    for place, path in enumerate(images):
        image = _read(path, camera)
        if image is not None:
            shown += 1
            yield FolderFrame(image, place * interval_s)
    if not shown:
        raise InputError(f"{folder}: none of its {len(images)} images can be read")


def follow_folder(folder: Path, camera: str, wait: Callable[[float], bool]) -> Iterator[FolderFrame]:
    """Yield the newest image in or below a folder, then each one that is added, until `wait` returns True.

    They are timed by their arrival. A file is read once its size has stopped changing; one that cannot be read for a
    while is logged and counted.
    """
    began, waiting = time.monotonic(), dict[Path, tuple[int, int]]()
    known = set(images_of(folder, report=True)[:-1])
    while not wait(POLL_S):
        try:
            present = images_of(folder)
        except (InputError, OSError):  # a folder of a network drive or a card that is away for a moment
            continue
        known &= set(present)  # what was deleted may come again, and must not be remembered for ever
        for path in present:
            if path in known:
                continue
            size, (before, tries) = _size(path), waiting.get(path, (-1, 0))
            if size <= 0 or size != before:
                waiting[path] = size, 0
                continue
            image = _read(path, camera, quiet=tries < ATTEMPTS)
            if image is None and tries < ATTEMPTS:
                waiting[path] = size, tries + 1
                continue
            known.add(path)
            if image is not None:
                yield FolderFrame(image, time.monotonic() - began)
        waiting = {path: state for path, state in waiting.items() if path not in known and path.exists()}


def images_of(folder: Path, report: bool = False) -> list[Path]:
    """Return the images in and below a folder, in order. `report`: log what is skipped, which polling would repeat."""
    skipped = Skipped()
    names = [name for name in walk(folder, skipped) if Path(name).suffix.lower() in IMAGES]
    if report:
        skipped.report()
    return [folder / name for name in sorted(names, key=_natural)]


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts 9 before 10, and dates written with the year first by time."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone again
        return -1


def _read(path: Path, camera: str, quiet: bool = False) -> Bytes | None:
    try:
        image = read_image(path)
    except InputError as error:
        if not quiet:
            log.warning("camera %s: %s", camera, error)
            metrics.frames_dropped.labels(camera, "corrupt").inc()
        return None
    metrics.frames_decoded.labels(camera).inc()
    return image
