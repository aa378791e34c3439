"""The face of one image, found, aligned by the streamer's own crop code and written: what each process does."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import numpy as np

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import replacing
from workers.align import DetectorOptions, FaceFinder, Found
from workers.research.data.align_log import ALIGNED, FACELESS, UNALIGNABLE, UNREADABLE, Line
from workers.research.data.face_set import Bytes, Images
from workers.research.data.images import is_image

Choice = Literal["centre", "largest", "strongest"]
BORDERS = (0.0, 0.5, 1.0)  # of the image's size on each side, tried in turn: detectors miss faces that fill an image
QUALITY = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".jpeg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an image becomes a crop."""

    detector: DetectorOptions
    out: Path  # folder of the crops
    choose: Choice = "centre"


@dataclass(frozen=True, slots=True)
class Aligner:
    """What a process needs to align any image of a set."""

    recipe: Recipe
    images: Images
    finder: FaceFinder

    def __call__(self, index: int) -> Line:
        """Write the crop of an image; what became of it, for the log. Raises ConfigError if it cannot be written."""
        name = self.images.name(index)
        try:
            image = cv2.cvtColor(self.images.read(index), cv2.COLOR_RGB2BGR).astype(np.uint8)
        except InputError as error:
            return {"name": name, "result": UNREADABLE, "why": str(error)}
        for border in BORDERS:
            if faces := find(self.finder, image, border):
                return {"name": name, **self._write(name, image, faces), "border": border}
        return {"name": name, "result": FACELESS}

    def _write(self, name: str, image: Bytes, faces: Sequence[tuple[Found, Bytes | None]]) -> Line:
        usable = [(face, crop) for face, crop in faces if crop is not None]
        if not usable:
            return {"result": UNALIGNABLE, "why": "the landmarks are all at one place", "faces": len(faces)}
        height, width = image.shape[:2]
        face, crop = usable[choose([face for face, _ in usable], (width, height), self.recipe.choose)]
        write_crop(self.recipe.out / crop_name(name), crop)
        return {
            "result": ALIGNED,
            "crop": crop_name(name),
            "box": [round(value, 2) for value in face.box.tolist()],
            "landmarks": [[round(value, 2) for value in point] for point in face.landmarks.tolist()],
            "score": round(face.score, 4),
            "faces": len(faces),
        }


def start(recipe: Recipe, images: Images) -> Callable[[int], Line]:
    """What a process of many does with an image's number. Raises ModelError and ConfigError of the detector."""
    cv2.setNumThreads(1)
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # the detectors take a thread for each CPU that they see
    finder = FaceFinder(recipe.detector)
    os.sched_setaffinity(0, cpus)
    return Aligner(recipe, images, finder)


def find(finder: FaceFinder, image: Bytes, border: float) -> list[tuple[Found, Bytes | None]]:
    """The faces of a BGR image (h, w, 3), strongest first, in its pixels, and their crops; `border`: see BORDERS."""
    height, width = image.shape[:2]
    above, beside = round(border * height), round(border * width)
    # black, as what a crop shows beyond the image is anyway
    padded = cv2.copyMakeBorder(image, above, above, beside, beside, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    shift = np.array([beside, above], np.float32)
    return [
        (Found(face.box - np.tile(shift, 2), face.landmarks - shift, face.score), crop)
        for face, crop in finder.find(np.asarray(padded, np.uint8))
    ]


def choose(faces: Sequence[Found], size: tuple[int, int], choice: Choice) -> int:
    """Which of the faces of an image, strongest first, of `size` (width, height) px is its subject."""
    if choice == "strongest":
        return 0
    if choice == "largest":
        return max(range(len(faces)), key=lambda place: _area(faces[place]))
    return min(range(len(faces)), key=lambda place: _off_centre(faces[place], size))


def crop_name(name: str) -> str:
    """Of an image's crop, below the folder of crops: the same, with .jpg added to names without an image's suffix.

    images.Files looks for it there. Raises ConfigError if it would lie elsewhere.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise ConfigError(f"{name!r} is not a name below a folder: its crop has no place")
    return name if is_image(name) else f"{name}.jpg"


def write_crop(path: Path, crop: Bytes) -> None:
    """Write RGB (112, 112, 3), complete or not at all, in the form that the suffix says. Raises ConfigError."""
    suffix = path.suffix.lower()
    quality = [QUALITY[suffix], 95] if suffix in QUALITY else []
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), quality)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    with replacing(path) as partial:
        partial.write_bytes(encoded.tobytes())


def _area(face: Found) -> float:
    left, top, right, bottom = face.box.tolist()
    return float((right - left) * (bottom - top))


def _off_centre(face: Found, size: tuple[int, int]) -> float:
    """Distance of a face's middle from the image's, in sides of the face."""
    left, top, right, bottom = face.box.tolist()
    return hypot((left + right - size[0]) / 2, (top + bottom - size[1]) / 2) / sqrt(_area(face))
