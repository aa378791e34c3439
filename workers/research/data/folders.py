"""Read sets that have one folder of images per person or per expression."""

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from faceanalytics.errors import InputError
from faceanalytics.folders import Skipped, files_in, folders_in
from faceanalytics.names import printable
from workers.research.data.assemble import Face, assemble
from workers.research.data.face_set import FaceSet, Labels
from workers.research.data.images import Files, Names, find_files, is_image
from workers.research.data.label_names import EXPRESSION_NAMES
from workers.research.data.options import SetOptions

LOG_EVERY = 1_000_000  # images between two log lines
log = logging.getLogger(__name__)


class PeopleFolders(SetOptions):
    """Folders of people, as LFW, CASIA-WebFace, VGGFace2 and others unpack: `path/person/image.jpg`."""

    format: Literal["folders"]


class ExpressionFolders(SetOptions):
    """FER2013 as images: `path/train/happy/image.jpg`, with folders named by any common word for the expression.

    Layout: https://www.kaggle.com/datasets/msambare/fer2013
    """

    format: Literal["fer2013_folders"]
    parts: Annotated[tuple[str, ...], Field(min_length=1)] = ("train",)
    """Folders of `path` to use; published are train and test."""


def open_people(name: str, config: PeopleFolders) -> FaceSet:
    """Open the images in all people's folders; identities are numbered in the order of the folders' names.

    Raises InputError for images outside people's folders.
    """
    root = config.images or config.path
    skipped = Skipped()
    people = folders_in(root, skipped)
    _refuse_look_alikes(name, people)
    if stray := [file for file in files_in(root, Skipped()) if is_image(file)]:
        listed = "\n".join(f"  {printable(file)}" for file in stray)
        raise InputError(f"{name}: {len(stray)} images in {root} are not in a person's folder\n{listed}")
    counts: list[int] = []
    images = Names(_images(name, root, people, counts, skipped))
    skipped.report()
    if not len(images):
        raise InputError(f"{name}: no images in folders of {root}")
    if empty := [person for person, count in zip(people, counts, strict=True) if not count]:
        listed = ", ".join(map(printable, empty[:20])) + (" ..." if len(empty) > 20 else "")
        log.warning("%s: no images in %d of %d folders: %s", name, len(empty), len(people), listed)
    owners = np.repeat(np.arange(len(people) - len(empty)), [count for count in counts if count])
    identities = tuple(printable(person) for person, count in zip(people, counts, strict=True) if count)
    return FaceSet(name, Files(root, images), Labels(identity=owners), identities)


def _refuse_look_alikes(name: str, people: Sequence[str]) -> None:
    """Raise InputError for names that differ only in how their accents are stored: two folders of one person."""
    folders: dict[str, list[str]] = {}
    for person in people:
        folders.setdefault(unicodedata.normalize("NFC", person), []).append(person)
    if alike := [printable(person) for person, found in folders.items() if len(found) > 1]:
        raise InputError(f"{name}: several folders look the same to readers: {', '.join(alike)}; join or rename them")


def _images(name: str, root: Path, people: Sequence[str], counts: list[int], skipped: Skipped) -> Iterator[str]:
    """Yield the names of all images, and append each person's number of images to `counts`."""
    total = 0
    for person in people:
        before = total
        for file in find_files(root / person, skipped):
            total += 1
            if total % LOG_EVERY == 0:
                log.info("%s: %d images found", name, total)
            yield f"{person}/{file}"
        counts.append(total - before)


def open_expressions(name: str, config: ExpressionFolders) -> FaceSet:
    """Open the set. Raises InputError for a folder that is not named after one of SwinFace's expressions."""
    root = config.images or config.path
    faces = []
    skipped = Skipped()
    for part in config.parts:
        for folder in folders_in(root / part, skipped):
            if folder.lower() not in EXPRESSION_NAMES:
                known = ", ".join(EXPRESSION_NAMES)
                raise InputError(f"{root / part / folder}: the folder's name is not an expression; known are {known}")
            expression = EXPRESSION_NAMES[folder.lower()]
            names = (f"{part}/{folder}/{file}" for file in find_files(root / part / folder, skipped))
            faces += [Face(file, expression=expression) for file in names]
    skipped.report()
    return assemble(name, config, root, faces, ["expression"])
