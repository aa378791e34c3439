"""Folders with images of people: the people, and the one face of each image, aligned like faces of a video.

Nothing is guessed. An image is left out, with the reason, if it has no face, several faces of which none stands out, or
a face of too low quality to be analysed in a video. A person without any usable image is an error.
"""

import enum
import logging
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.folders import Skipped, folders_in, walk
from faceanalytics.names import printable
from streamer.config import Crop, Detect
from streamer.detect.detector import Detector
from streamer.detect.stills import WEAK, StillDetector
from streamer.select.align import align
from streamer.select.quality import finish, geometry
from streamer.source.images import decode_image, read_image
from streamer.values import Bytes, Detections, Floats, Quality

DOMINATES = 2.0  # of the subject's width times score times quality to the next one's, at least
SHOWN = 6  # faces listed in a message
MOST_FACES = 50  # of an image, given as values beside the message
STRICT_QUALITY = 0.6  # least quality for Judgement.STRICT
MARGIN = 0.5  # of the image's size, added around an image without a face: it may end at the chin and the hair

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The aligned face in one image of a person."""

    person: str
    name: str  # of the file, below the folder, printable
    quality: float  # 0..1
    pixels: Bytes  # (112, 112, 3) RGB


class Judgement(enum.StrEnum):
    """How much is asked of an image of a person."""

    OFF = "off"  # a face, whatever its quality; of several the most prominent one
    STANDARD = "standard"  # good enough to be analysed in a video; of several, one that stands out
    STRICT = "strict"  # of high quality, and the only face


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face in an image that is left out."""

    box: tuple[float, float, float, float]  # x1 y1 x2 y2, pixels of the image
    score: float  # 0..1, of the detector
    quality: float  # 0..1
    number: int = 0  # of the person in a video, from 1; 0: it is of an image, and the rest is not known
    frame: int = 0  # of the video with this box, from 0
    media_time: float = 0.0  # s, of that frame
    first_seen: float = 0.0  # s, media time
    last_seen: float = 0.0  # s


class Unusable(Exception):
    """The reason for which an image is left out."""

    def __init__(self, reason: str, faces: Sequence[FoundFace] = ()) -> None:
        """`faces`: those that were found, if that explains the reason, the most prominent first."""
        super().__init__(reason)
        self.faces = tuple(faces)


def image_reader(detect: Detect, crop: Crop) -> Callable[[bytes, str, int, Judgement], tuple[float, Bytes]]:
    """Load a detector, for use by one thread, and return what reads the face in an encoded image.

    It takes the image, its name for messages, the most pixels that it may have and the judgement, and returns quality
    and aligned pixels (112, 112, 3) RGB. It raises Unusable. Raises ModelError.
    """
    weak = detect.model_copy(update={"min_score": min(WEAK, detect.min_score)})
    stills = StillDetector(Detector(weak), crop.min_score)

    def read(data: bytes, name: str, max_pixels: int, judgement: Judgement) -> tuple[float, Bytes]:
        try:
            image = decode_image(data, name, max_pixels)
        except InputError as error:
            raise Unusable(str(error).removeprefix(f"{name}: ")) from error
        return face_of(image, stills, crop, judgement)

    return read


def read_people(
    folder: Path, setting: str, detector: Detector, config: Crop, stopped: Callable[[], bool]
) -> list[Reference]:
    """Read the faces of all people in `folder`, sorted by person and file; messages call the folder `setting`.

    Logs the images that are left out. Raises ConfigError if there are no people or one has no usable image, InputError
    if a folder cannot be read. Soon after `stopped` becomes true it returns the faces read so far.
    """
    stills = StillDetector(detector, config.min_score)
    references: list[Reference] = []
    without: list[str] = []
    left_out = 0
    skipped = Skipped()
    people = _people(folder, setting, skipped)
    for person, place in people.items():
        before = len(references)
        for file in walk(folder / place, skipped):
            if stopped():
                return references
            name = printable(f"{place}/{file}")
            try:
                quality, pixels = face_of(_read(folder / place / file), stills, config)
            except Unusable as reason:
                left_out += 1
                log.warning("%s: %s left out: %s", setting, name, reason)
                continue
            references.append(Reference(person, name, quality, pixels))
        if len(references) == before:
            without.append(person)
    skipped.report()
    if without:
        raise ConfigError(
            f"{setting}: there is no usable image of {', '.join(without)}. Give each one with a single, sharp face "
            "that looks at the camera, or remove the folder; the reasons stand above"
        )
    log.info("%s: %d people, %d images, %d left out", setting, len(people), len(references), left_out)
    return references


def _people(folder: Path, setting: str, skipped: Skipped) -> dict[str, str]:
    """Return the folder of each person by the name that results have: printable, with accents in one form (NFC)."""
    try:
        found = folders_in(folder, skipped)
    except InputError as error:
        raise ConfigError(f"{setting}: cannot read the folder {error}") from error
    if not found:
        raise ConfigError(
            f"{setting}: {printable(folder)} has no sub-folders; it takes one for each person, with images in it"
        )
    people: dict[str, str] = {}
    for place in found:
        person = unicodedata.normalize("NFC", printable(place))
        if person in people:
            raise ConfigError(
                f"{setting}: two folders are called {person}, with accents that are stored in two ways: join or "
                "rename them"
            )
        people[person] = place
    return people


def face_of(
    image: Bytes, detector: StillDetector, config: Crop, judgement: Judgement = Judgement.STANDARD
) -> tuple[float, Bytes]:
    """Return quality and aligned pixels (112, 112, 3) RGB of the one face in a BGR image (h, w, 3). Raises Unusable."""
    faces = detector.detect([image])[0]
    if not len(faces):
        image = _with_margin(image)
        faces = detector.detect([image])[0]
    if not len(faces):
        raise Unusable("no face is found in it")
    judged = [_judged(image, faces, row, config) for row in range(len(faces))]
    row = subject_of(faces, [quality for quality, _ in judged], judgement)
    quality, pixels = judged[row]
    reasons = list(quality.reasons) if judgement is not Judgement.OFF else []
    if pixels is None or reasons:
        raise Unusable(
            "its face is not good enough: " + ", ".join(reason.value for reason in quality.reasons),
            _found(faces, [quality for quality, _ in judged], [row]),
        )
    if judgement is Judgement.STRICT and quality.value < STRICT_QUALITY:
        raise Unusable(
            f"its face has quality {quality.value:.2f}, and strict asks for {STRICT_QUALITY}",
            _found(faces, [quality for quality, _ in judged], [row]),
        )
    return quality.value, pixels


def _judged(image: Bytes, faces: Detections, row: int, config: Crop) -> tuple[Quality, Bytes | None]:
    """Return the quality of a face and its aligned pixels; None if its landmarks coincide."""
    points, size = faces.landmarks[row], (image.shape[1], image.shape[0])
    rough = geometry(float(faces.scores[row]), points, size, config, bool(faces.turned[row]))
    try:
        pixels = align(image, points)
    except ValueError:
        return rough, None
    return finish(rough, pixels, config), pixels


def subject_of(faces: Detections, qualities: Sequence[Quality], judgement: Judgement = Judgement.STANDARD) -> int:
    """Return the face that the image shows: no other is wider, nor nearly as wide, sure and clear. Raises Unusable."""
    widths = faces.boxes[:, 2] - faces.boxes[:, 0]
    weights = widths * faces.scores * np.array([quality.value for quality in qualities])
    row, *others = np.lexsort((-widths * faces.scores, -weights)).tolist()
    if not others or judgement is Judgement.OFF:
        return int(row)
    if judgement is Judgement.STRICT:
        reason = "strict asks for a single one"
    elif weights[row] <= DOMINATES * weights[others[0]] or widths[row] < widths[others].max():
        reason = "none is much larger and clearer than the others"
    else:
        return int(row)
    shown = ", ".join(
        f"{_box(faces.boxes[each])} score {faces.scores[each]:.2f} quality {qualities[each].value:.2f}"
        for each in [row, *others][:SHOWN]
    )
    raise Unusable(
        f"{len(faces)} faces, and {reason}: cut it down to one. "
        f"x, y, width x height in pixels: {shown}{', ...' if len(faces) > SHOWN else ''}",
        _found(faces, qualities, [row, *others]),
    )


def _found(faces: Detections, qualities: Sequence[Quality], rows: Sequence[int]) -> list[FoundFace]:
    found = []
    for row in rows[:MOST_FACES]:
        x1, y1, x2, y2 = faces.boxes[row].tolist()
        found.append(FoundFace((x1, y1, x2, y2), float(faces.scores[row]), qualities[row].value))
    return found


def _box(box: Floats) -> str:
    x1, y1, x2, y2 = (round(value) for value in box.tolist())
    return f"{x1}, {y1}, {x2 - x1}x{y2 - y1}"


def _read(path: Path) -> Bytes:
    """Read an image as BGR (h, w, 3), turned upright. Raises Unusable."""
    try:
        return read_image(path)
    except InputError as error:
        raise Unusable(str(error).removeprefix(f"{printable(path)}: ")) from error


def _with_margin(image: Bytes) -> Bytes:
    height, width = (round(MARGIN * side) for side in image.shape[:2])
    grey = (127, 127, 127)
    bordered = cv2.copyMakeBorder(image, height, height, width, width, cv2.BORDER_CONSTANT, value=grey)
    return np.asarray(bordered, np.uint8)
