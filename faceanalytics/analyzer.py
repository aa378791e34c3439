"""Faces of images, described in this process: detector, alignment and SwinFace one after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from faceanalytics.detection import Detector
from faceanalytics.errors import ModelError
from faceanalytics.extras import require
from faceanalytics.images import Channels, Image, to_bgr
from streamer.config import Crop
from streamer.select.align import align
from streamer.select.quality import finish, geometry
from streamer.values import Bytes, Detections, Floats, Quality
from workers.swinface.labels import ATTRIBUTES, EXPRESSIONS

if TYPE_CHECKING:
    from workers.runtime.engine import Analyses, Engine


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face of an image. What the weights were not trained for is None, or missing among the attributes."""

    box: Floats  # (4,) x1 y1 x2 y2, pixels of the image
    landmarks: Floats  # (5, 2) x y, pixels: left eye, right eye (as seen in the image), nose, corners of the mouth
    score: float  # 0..1, detector
    quality: float  # 0..1, how well the face can be analysed
    reasons: tuple[str, ...]  # why its analysis cannot be relied on, such as SMALL_BOUNDING_BOX; empty: it can
    age: float | None  # years
    expression: Mapping[str, float] | None  # probability of each of the seven; they sum to 1
    attributes: Mapping[str, float]  # score of "present", 0..1, by name, such as `male`; not calibrated
    embedding: Floats | None  # (512,) unit length: the dot product of two is their cosine similarity, -1..1
    crop: Bytes | None  # (112, 112, 3) RGB, aligned, as it was analysed; None: it cannot be aligned, nor analysed

    @property
    def appears(self) -> str | None:
        """The most probable expression."""
        return max(self.expression, key=self.expression.__getitem__) if self.expression else None


class FaceAnalyzer:
    """Finds and describes the faces of images. Use one in one thread."""

    def __init__(
        self,
        device: str = "cpu",
        weights: Path | str = "default",
        detector: Detector | Path | str = "default",
        *,
        min_score: float = 0.5,
        batch: int = 16,
    ) -> None:
        """Load a detector and SwinFace.

        `device`: cpu or cuda:N for SwinFace, without fallback; `weights`: a file, a name that `swinface weights list`
        shows, or "default" for the small bundled model; `detector`: a Detector, or its weights, which run on the CPU;
        `min_score`: drop weaker detections, 0..1 (a Detector has its own); `batch`: analyse this many faces at once.

        Raises ModelError if weights or a device cannot be used, ConfigError if the extra [worker] is missing.
        """
        require("worker", "torch", "safetensors", use="FaceAnalyzer")
        from workers.runtime.engine import Engine
        from workers.weights.registry import find

        if batch < 1:
            raise ValueError(f"batch is {batch}, expected at least 1")
        self._detector = detector if isinstance(detector, Detector) else Detector(detector, min_score=min_score)
        self._engine = Engine(find(str(weights)), device, largest_batch=batch)
        self._batch = batch
        self._attributes = [task.score for task in ATTRIBUTES if task.slug in self._engine.heads]
        self.model_id = self._engine.model_id

    @property
    def engine(self) -> "Engine":
        """SwinFace, which analyses aligned crops."""
        return self._engine

    def __call__(self, image: Image, *, channels: Channels = "BGR") -> list[Face]:
        """Describe the faces of one image, highest score first.

        `image`: uint8 (h, w, 3) in the order `channels`, a Frame, or the path of an image. OpenCV and `read_video` give
        BGR; Pillow, scikit-image and Matplotlib give RGB. Raises InputError for a file that cannot be read.
        """
        return self.analyze_batch([image], channels=channels)[0]

    def analyze_batch(self, images: Sequence[Image], *, channels: Channels = "BGR") -> list[list[Face]]:
        """Describe the faces of several images: the same as one by one, but faster on a GPU."""
        found = [self._find(to_bgr(image, channels)) for image in images]
        said = iter(self._describe([face.crop for faces in found for face in faces if face.crop is not None]))
        return [[_joined(face, _NOTHING if face.crop is None else next(said)) for face in faces] for faces in found]

    def _find(self, pixels: Bytes) -> list["_Found"]:
        faces = self._detector(pixels)
        return [_found(pixels, faces, row) for row in range(len(faces))]

    def _describe(self, crops: Sequence[Bytes]) -> list["_Description"]:
        from workers.runtime.engine import InferenceError

        described: list[_Description] = []
        for start in range(0, len(crops), self._batch):
            part = np.stack(crops[start : start + self._batch])
            try:
                described += _descriptions(self._engine.analyse(part), self._attributes)
            except InferenceError as error:
                raise ModelError(f"{error}: choose a smaller batch than {self._batch}") from error
        return described


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A face before its analysis."""

    box: Floats
    landmarks: Floats
    score: float
    quality: Quality
    crop: Bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class _Description:
    """What SwinFace says of a crop."""

    age: float | None
    expression: Mapping[str, float] | None
    attributes: Mapping[str, float]
    embedding: Floats | None


_NOTHING = _Description(None, None, {}, None)


def _found(pixels: Bytes, faces: Detections, row: int) -> _Found:
    landmarks, score, config = faces.landmarks[row], float(faces.scores[row]), Crop()
    quality = geometry(score, landmarks, (pixels.shape[1], pixels.shape[0]), config, bool(faces.turned[row]))
    try:
        crop = align(pixels, landmarks)
    except ValueError:  # its landmarks are all at one place
        return _Found(faces.boxes[row], landmarks, score, quality, None)
    return _Found(faces.boxes[row], landmarks, score, finish(quality, crop, config), crop)


def _descriptions(analyses: "Analyses", attributes: Sequence[str]) -> list[_Description]:
    return [
        _Description(
            age=max(0.0, float(analyses.age[row])) if analyses.age is not None else None,
            expression=None if analyses.expression is None else _named(EXPRESSIONS, analyses.expression[row]),
            attributes=_named(attributes, analyses.attributes[row]),
            embedding=None if analyses.embeddings is None else analyses.embeddings[row],
        )
        for row in range(len(analyses))
    ]


def _named(names: Sequence[str], values: Floats) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _joined(found: _Found, said: _Description) -> Face:
    return Face(
        box=found.box,
        landmarks=found.landmarks,
        score=found.score,
        quality=found.quality.value,
        reasons=tuple(reason.value for reason in found.quality.reasons),
        age=said.age,
        expression=said.expression,
        attributes=said.attributes,
        embedding=said.embedding,
        crop=found.crop,
    )
