"""Assemble faces that were read one by one into a FaceSet."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceanalytics.errors import InputError
from workers.research.data.face_set import UNKNOWN, FaceSet, Images, Labels, Signs
from workers.research.data.images import Files, Names, number
from workers.research.data.options import Kind, SetOptions


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One image and its labels."""

    name: str  # below the folder of images, with forward slashes
    line: int = 0  # line of the label file, from 1
    identity: str | None = None
    age: float = math.nan  # years
    age_spread: float = math.nan
    gender: int = UNKNOWN
    expression: int = UNKNOWN
    attributes: Signs | None = None  # (40,)


def assemble(
    name: str,
    config: SetOptions,
    folder: Path,
    faces: Sequence[Face],
    kinds: Sequence[Kind],
    label_file: Path | None = None,
) -> FaceSet:
    """Build the set of these faces; their images are in `folder` unless the configuration names another folder.

    Identities are numbered in the order of their names. Raises InputError if there are no faces, if the folder is
    missing, or if an image is listed twice.
    """
    folder = config.images or folder
    if not folder.is_dir():
        raise InputError(f"{name}: there is no folder of images {folder}; set `images` if they are elsewhere")
    if not faces:
        raise InputError(f"{name}: no faces in {label_file or folder}")
    _refuse_repeated(name, faces, set(config.excluded()))
    return FaceSet(
        name,
        Files(folder, Names(face.name for face in faces)),
        labels_of(faces, kinds),
        number([face.identity for face in faces])[1] if "identity" in kinds else (),
        label_file,
        np.array([face.line for face in faces], np.int64) if label_file else None,
    )


def or_images(name: str, config: SetOptions, images: Images) -> Images:
    """Return the files with the same names in the folder `images` if configured, else `images`. Raises InputError."""
    if config.images is None:
        return images
    if not config.images.is_dir():
        raise InputError(f"{name}: there is no folder of images {config.images}")
    return Files(config.images, Names(images.name(index) for index in range(len(images))))


def labels_of(faces: Sequence[Face], kinds: Sequence[Kind]) -> Labels:
    """Return these kinds of labels as columns."""
    return Labels(
        identity=number([face.identity for face in faces])[0] if "identity" in kinds else None,
        age=np.array([face.age for face in faces], np.float32) if "age" in kinds else None,
        age_spread=np.array([face.age_spread for face in faces], np.float32) if "age_spread" in kinds else None,
        gender=np.array([face.gender for face in faces], np.int64) if "gender" in kinds else None,
        expression=np.array([face.expression for face in faces], np.int64) if "expression" in kinds else None,
        attributes=np.array([face.attributes for face in faces], np.int8) if "attributes" in kinds else None,
    )


def _refuse_repeated(name: str, faces: Sequence[Face], excluded: set[str]) -> None:
    counts = Counter(face.name for face in faces)
    if len(counts) == len(faces):
        return
    lines: dict[str, list[int]] = {}
    for face in faces:
        if counts[face.name] > 1 and face.name not in excluded:
            lines.setdefault(face.name, []).append(face.line)
    if lines:
        listed = "\n".join(f"  {image}: lines {', '.join(map(str, at))}" for image, at in lines.items())
        raise InputError(
            f"{name}: {len(lines)} images are listed more than once; correct the labels, or list them in `exclude`\n"
            f"{listed}"
        )
