"""Detect and align the faces of an image with the streamer's own detector and crop code."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

import faceanalytics.errors
from faceanalytics.errors import ConfigError, ModelError
from streamer.config import Crop, Detect
from streamer.detect.detector import find_weights
from streamer.detect.stills import StillDetector
from streamer.select.align import align
from streamer.select.quality import finish, geometry
from streamer.values import LANDMARK_NAMES, Bytes, Detections, Floats, Quality

OPTIONS = {  # field of the streamer's section `detect` -> option of our command line
    "weights": "--detector",
    "device": "--detector-device",
    "input_size": "--detector-size",
    "min_score": "--min-score",
}


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """The face detector and its settings; None means the streamer's default."""

    weights: str | None = None  # path
    device: str | None = None  # cpu or cuda:N
    input_size: int | None = None  # px, side of the square that images are scaled to
    min_score: float | None = None  # 0..1, faces with a lower score are ignored; None: the streamer's crop.min_score


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A detected face: its box, landmarks and score, and how well the streamer could analyse it."""

    box: Floats  # (4,) x1 y1 x2 y2, pixels of the image
    landmarks: Floats  # (5, 2) x y, pixels of the image, in the order of LANDMARK_NAMES
    score: float  # 0..1, by the detector
    quality: float = 0.0  # 0..1
    reasons: tuple[str, ...] = ()  # why the streamer would not analyse it, with its default settings; empty: it would

    def points(self) -> dict[str, tuple[float, float]]:
        """Return the landmarks by name, (x, y) in pixels."""
        return {name: (float(x), float(y)) for name, (x, y) in zip(LANDMARK_NAMES, self.landmarks, strict=True)}


class FaceFinder:
    """Detects faces and aligns them. Raises ModelError if the detector cannot be used, ConfigError for bad options."""

    def __init__(self, options: DetectorOptions) -> None:
        config = _detect_config(options)
        try:
            self._detector = StillDetector.load(config)
        except faceanalytics.errors.ModelError as error:
            raise ModelError(_with_option_names(str(error))) from error

    def find(self, image: Bytes) -> list[tuple[Found, Bytes | None]]:
        """Return the faces of a BGR image (h, w, 3), highest score first, each with its RGB crop (112, 112, 3).

        The crop is None if a face cannot be aligned: its landmarks are all at the same point, or they are wrong
        because the face is turned.
        """
        faces = self._detector.detect([image])[0]
        return [_found(image, faces, row) for row in range(len(faces))]


def detector_file(options: DetectorOptions) -> Path:
    """Return the file of the detector's weights. Raises ModelError if there is none."""
    try:
        return find_weights(_detect_config(options).weights)
    except faceanalytics.errors.ModelError as error:
        raise ModelError(_with_option_names(str(error))) from error


def _detect_config(options: DetectorOptions) -> Detect:
    settings = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    try:
        return Detect(**{"min_score": Crop().min_score, **settings})
    except ValidationError as error:
        lines = [f"{OPTIONS[str(item['loc'][0])]}: {item['msg']}" for item in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _found(image: Bytes, faces: Detections, row: int) -> tuple[Found, Bytes | None]:
    landmarks, score, turned, config = faces.landmarks[row], float(faces.scores[row]), bool(faces.turned[row]), Crop()
    quality = geometry(score, landmarks, (image.shape[1], image.shape[0]), config, turned)
    try:
        crop = align(image, landmarks)
    except ValueError:
        return Found(faces.boxes[row], landmarks, score, quality.value, _names(quality)), None
    quality = finish(quality, crop, config)
    return Found(faces.boxes[row], landmarks, score, quality.value, _names(quality)), None if turned else crop


def _names(quality: Quality) -> tuple[str, ...]:
    return tuple(reason.value for reason in quality.reasons)


def _with_option_names(message: str) -> str:
    """Replace the streamer's setting names in a message by our option names."""
    for field, option in OPTIONS.items():
        message = message.replace(f"detect.{field}", option)
    return message
