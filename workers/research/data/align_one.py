"""Find, align and write the face of one image, in each process of `swinface data align`."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
BORDERS = (0.0, 0.5, 1.0)  # border per side relative to the image, tried in turn: detectors miss faces that fill images
WRITTEN_AS_JPEG = (".heic", ".heif", ".jfif")
QUALITY = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".jpeg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings by which an image becomes a crop."""

    detector: DetectorOptions
    out: Path  # folder of the crops
    choose: Choice = "centre"


@dataclass(frozen=True, slots=True)
class Aligner:
    """Aligns any image of a set."""

    recipe: Recipe
    images: Images
    finder: FaceFinder

    def __call__(self, index: int) -> Line:
        """Write the crop of an image and return its line for the log. Raises ConfigError if it cannot be written."""
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
            return {"result": UNALIGNABLE, "why": "no face has usable landmarks", "faces": len(faces)}
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
    """Return the function that a process applies to the index of each image. Raises ModelError, ConfigError."""
    cv2.setNumThreads(1)
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # detectors start one thread per CPU that they see
    finder = FaceFinder(recipe.detector)
    os.sched_setaffinity(0, cpus)
    return Aligner(recipe, images, finder)


def find(finder: FaceFinder, image: Bytes, border: float) -> list[tuple[Found, Bytes | None]]:
    """Return the faces of a BGR image (h, w, 3), highest score first, and their crops; `border`: see BORDERS."""
    height, width = image.shape[:2]
    above, beside = round(border * height), round(border * width)
    # black, like the parts of a crop beyond the image
    padded = cv2.copyMakeBorder(image, above, above, beside, beside, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    shift = np.array([beside, above], np.float32)
    return [
        (replace(face, box=face.box - np.tile(shift, 2), landmarks=face.landmarks - shift), crop)
        for face, crop in finder.find(np.asarray(padded, np.uint8))
    ]


def choose(faces: Sequence[Found], size: tuple[int, int], choice: Choice) -> int:
    """Return the index of the image's subject among its faces, highest score first; `size` (width, height) px."""
    if choice == "strongest":
        return 0
    if choice == "largest":
        return max(range(len(faces)), key=lambda index: _area(faces[index]))
    return min(range(len(faces)), key=lambda index: _off_centre(faces[index], size))


def crop_name(name: str) -> str:
    """Return the name of an image's crop, the image's own with .jpg added if it has no image suffix.

    images.Files applies the same rule. Raises ConfigError if the crop would be outside the folder of crops.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise ConfigError(f"{name!r} is not a name below a folder: its crop would be outside OUT")
    return name if is_image(name) else f"{name}.jpg"


def write_crop(path: Path, crop: Bytes) -> None:
    """Write an RGB crop (112, 112, 3) atomically in the format of the suffix, JPEG instead of HEIC.

    Readers decide by the content. Raises ConfigError.
    """
    suffix = ".jpg" if path.suffix.lower() in WRITTEN_AS_JPEG else path.suffix.lower()
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
    """Return the distance of a face's centre from the image's centre, relative to the size of the face."""
    left, top, right, bottom = face.box.tolist()
    return hypot((left + right - size[0]) / 2, (top + bottom - size[1]) / 2) / sqrt(_area(face))
