"""Detect faces in images and videos, to try a detector or to see why a face would not be analysed."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2

from faceanalytics.errors import PARTIAL_RESULT, ConfigError, InputError
from faceanalytics.files import JsonLines
from faceanalytics.names import printable
from faceanalytics.progress import counted
from streamer.config import Crop, StreamerConfig
from streamer.detect.stills import StillDetector
from streamer.recorded.records import box, landmarks
from streamer.select.align import align
from streamer.select.quality import finish, geometry
from streamer.source.images import find_files, read_images
from streamer.values import Bytes, Detections, Quality

GOOD, POOR = (80, 220, 80), (60, 140, 255)  # BGR, colours of faces that would be analysed and of others

log = logging.getLogger(__name__)


def detect_files(files: Sequence[Path], config: StreamerConfig, out: Path | None, draw: Path | None) -> int:
    """Write one JSON line per image or video frame to `out` (None: standard output), and images to the folder `draw`.

    Folders are searched at any depth. Files that cannot be read are logged and skipped. Returns the exit code: 0, 5 if
    some files failed, 3 if all did. Raises ModelError, and ConfigError if the results cannot be written.
    """
    detector = StillDetector.load(config.detect)
    paths = find_files(files)
    images = faces = failures = 0
    with ExitStack() as stack:
        try:
            write = stack.enter_context(JsonLines(out)).write if out else _print
            drawings = _Drawings(draw) if draw else None
        except OSError as error:
            raise ConfigError(f"--draw: cannot write into {printable(draw or '')}: {error.strerror}") from error
        for path in counted(paths, len(paths), "images"):
            try:
                for media_time, pixels in read_images(path):
                    faces += _detect(path, media_time, pixels, detector, config.crop, write, drawings)
                    images += 1
            except InputError as error:
                failures += 1
                log.error("%s", error)
    if failures and len(paths) > 1:
        log.error("%d of %d files could not be read completely", failures, len(paths))
    if out:
        print(f"{printable(out)}: {images} images, {faces} faces")
    if not failures:
        return 0
    return PARTIAL_RESULT if images else InputError.exit_code


def _print(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")


def _detect(
    path: Path,
    media_time: float | None,
    pixels: Bytes,
    detector: StillDetector,
    config: Crop,
    write: Callable[[dict[str, Any]], None],
    drawings: "_Drawings | None",
) -> int:
    """Write the faces of one image or frame, and return their number."""
    faces = detector.detect([pixels])[0]
    qualities = [_quality(faces, row, pixels, config) for row in range(len(faces))]
    write(
        {
            "source": printable(path),
            "media_time_s": None if media_time is None else round(media_time, 6),
            "frame_width": pixels.shape[1],
            "frame_height": pixels.shape[0],
            "faces": [_record(faces, row, quality) for row, quality in enumerate(qualities)],
        }
    )
    if drawings:
        drawings.write(path, media_time, pixels, faces, qualities)
    return len(faces)


def _quality(faces: Detections, row: int, pixels: Bytes, config: Crop) -> Quality:
    points = faces.landmarks[row]
    rough = geometry(
        float(faces.scores[row]), points, (pixels.shape[1], pixels.shape[0]), config, bool(faces.turned[row])
    )
    if not rough.value:  # its landmarks may coincide
        return rough
    return finish(rough, align(pixels, points), config)


def _record(faces: Detections, row: int, quality: Quality) -> dict[str, Any]:
    return {
        **box(faces.boxes[row]),
        "score": round(float(faces.scores[row]), 4),
        "landmarks": landmarks(faces.landmarks[row]),
        "quality": round(quality.value, 4),
        "reasons": [reason.value for reason in quality.reasons],
    }


class _Drawings:
    """Writes images with boxes and landmarks into a folder. Raises OSError if the folder cannot be made."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._written: set[Path] = set()

    def write(
        self, path: Path, media_time: float | None, pixels: Bytes, faces: Detections, qualities: Sequence[Quality]
    ) -> None:
        """Write one image. Raises InputError if it cannot be written."""
        drawn = pixels.copy()
        for row, quality in enumerate(qualities):
            _draw(drawn, faces, row, quality)
        stem = printable(path.stem) if media_time is None else f"{printable(path.stem)}-{media_time:010.3f}s"
        place = self._folder / f"{stem}.jpg"
        number = 2
        while place in self._written:  # files with the same name in several folders
            place, number = self._folder / f"{stem}-{number}.jpg", number + 1
        self._written.add(place)
        _, encoded = cv2.imencode(".jpg", drawn)
        try:
            place.write_bytes(encoded.tobytes())
        except OSError as error:
            raise InputError(f"cannot write {printable(place)}: {error.strerror}") from error


def _draw(pixels: Bytes, faces: Detections, row: int, quality: Quality) -> None:
    colour = POOR if quality.reasons else GOOD
    thickness = max(1, round(max(pixels.shape) / 800))
    x1, y1, x2, y2 = (round(value) for value in faces.boxes[row].tolist())
    cv2.rectangle(pixels, (x1, y1), (x2, y2), colour, thickness)
    for x, y in faces.landmarks[row].tolist():
        cv2.circle(pixels, (round(x), round(y)), thickness, colour, cv2.FILLED)
    lines = [f"{faces.scores[row]:.2f} q{quality.value:.2f}", *(reason.value for reason in quality.reasons)]
    for number, text in enumerate(lines):
        below = y2 + (14 * number + 12) * thickness
        cv2.putText(pixels, text, (x1, below), cv2.FONT_HERSHEY_SIMPLEX, 0.4 * thickness, colour, thickness)
