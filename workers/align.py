"""Faces in an image, found and aligned by the streamer's own stages: for `swinface infer --align` and nothing else."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

import faceanalytics.errors
from faceanalytics.errors import ConfigError, ModelError
from streamer.config import Crop, Detect
from streamer.detect.detector import Detector, find_weights
from streamer.select.align import align
from streamer.values import LANDMARK_NAMES, Bytes, Floats

OPTIONS = {  # field of the streamer's section `detect` -> what it is called here
    "weights": "--detector",
    "device": "--detector-device",
    "input_size": "--detector-size",
    "min_score": "--min-score",
}


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """Which detector finds the faces, and how; None: as the streamer does without a configuration."""

    weights: str | None = None  # path
    device: str | None = None  # cpu or cuda:N
    input_size: int | None = None  # px, side of the square that an image is scaled into
    min_score: float | None = None  # 0..1, weaker faces are not taken; None: what the streamer analyses


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Where a face is in its image."""

    box: Floats  # (4,) x1 y1 x2 y2, pixels of the image
    landmarks: Floats  # (5, 2) x y, pixels of the image, in the order of LANDMARK_NAMES
    score: float  # 0..1, detector

    def points(self) -> dict[str, tuple[float, float]]:
        """The landmarks by name."""
        return {name: (float(x), float(y)) for name, (x, y) in zip(LANDMARK_NAMES, self.landmarks, strict=True)}


class FaceFinder:
    """A detector and the alignment of what it finds. Raises ModelError if it cannot be used, ConfigError."""

    def __init__(self, options: DetectorOptions) -> None:
        config = _settings(options)
        try:
            self._detector = Detector(config)
        except faceanalytics.errors.ModelError as error:
            raise ModelError(_translated(str(error))) from error

    def find(self, image: Bytes) -> list[tuple[Found, Bytes | None]]:
        """The faces of a BGR image (h, w, 3), strongest first, and each aligned as RGB (112, 112, 3).

        Without a crop are those that cannot be aligned, because their landmarks are all at one place.
        """
        faces = self._detector.detect([image])[0]
        return [
            (Found(box, landmarks, float(score)), _crop(image, landmarks))
            for box, landmarks, score in zip(faces.boxes, faces.landmarks, faces.scores, strict=True)
        ]


def detector_file(options: DetectorOptions) -> Path:
    """The weights that are loaded for these options. Raises ModelError."""
    try:
        return find_weights(_settings(options).weights)
    except faceanalytics.errors.ModelError as error:
        raise ModelError(_translated(str(error))) from error


def _settings(options: DetectorOptions) -> Detect:
    given = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    try:
        return Detect(**{"min_score": Crop().min_score, **given})
    except ValidationError as error:
        lines = [f"{OPTIONS[str(item['loc'][0])]}: {item['msg']}" for item in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _crop(image: Bytes, landmarks: Floats) -> Bytes | None:
    try:
        return align(image, landmarks)
    except ValueError:
        return None


def _translated(message: str) -> str:
    """The streamer's message with the names of our options in place of its settings."""
    for field, option in OPTIONS.items():
        message = message.replace(f"detect.{field}", option)
    return message
