"""Define FaceSet, the common result of all readers: images of faces with their labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceanalytics.names import printable
from workers.swinface.labels import ATTRIBUTES, EXPRESSIONS

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Integers = NDArray[np.int64]
Signs = NDArray[np.int8]

UNKNOWN = -1  # value of an unknown whole-number label; an unknown age is nan
OLDEST = 120.0  # years
FACE_SIZE = 112  # px
FROM_TEACHER = ("embedding", "expression_scores")
LABELLED = ("identity", "age", "age_spread", "gender", "attributes", "expression")


class Images(Protocol):
    """The images of a set, read one by one on demand. Must be picklable."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Bytes:
        """Return an image (h, w, 3) uint8 RGB as stored, not resized. Raises InputError that names it."""

    def name(self, index: int) -> str:
        """Return the name of an image, unique in the set and the same on every machine.

        It is a path below the folder of images with forward slashes, or the key of a record.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The labels of n faces. None: the set has no labels of this kind; UNKNOWN or nan: this face has none."""

    identity: Integers | None = None  # (n,) 0..number of identities - 1
    age: Floats | None = None  # (n,) years
    age_spread: Floats | None = None  # (n,) years, standard deviation of the guesses of several people
    gender: Integers | None = None  # (n,) 0 female, 1 male
    attributes: Signs | None = None  # (n, 40) 0 absent, 1 present, in the order of labels.ATTRIBUTES
    expression: Integers | None = None  # (n,) index into labels.EXPRESSIONS
    embedding: Halves | None = None  # (n, width) embeddings by a teacher, unit length; see data/teacher.py
    expression_scores: Halves | None = None  # (n, 7) probabilities by a teacher

    def at(self, rows: Integers) -> "Labels":
        """Return the labels of these faces."""
        return Labels(**{name: column[rows] for name, column in self.columns()})

    def only(self, kinds: Sequence[str]) -> "Labels":
        """Return only these kinds of labels, given by field name."""
        return replace(self, **{name: None for name, _ in self.columns() if name not in kinds})

    def columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield name and values of the kinds that the set has."""
        for field in fields(self):
            column = getattr(self, field.name)
            if column is not None:
                yield field.name, column

    def count(self) -> dict[str, int]:
        """Return the number of faces with a known label, by kind."""
        return {name: int(_known(column).sum()) for name, column in self.columns()}


@dataclass(frozen=True, slots=True, eq=False)
class FaceSet:
    """Images of faces and their labels. The constructor raises ValueError if the shapes do not match."""

    name: str  # from the configuration
    images: Images
    labels: Labels
    identities: Sequence[str] = ()  # names of the identities, if labelled
    label_file: Path | None = None  # the file of all labels, if there is one
    lines: Integers | None = None  # (n,) line of each face in label_file, from 1

    def __post_init__(self) -> None:
        for name, column in self.labels.columns():
            shape: tuple[int, ...] = (len(self.images),)
            if name == "attributes":
                shape = (*shape, len(ATTRIBUTES))
            elif name in FROM_TEACHER:
                shape = (*shape, column.shape[-1] if name == "embedding" else len(EXPRESSIONS))
            if column.shape != shape:
                raise ValueError(f"{self.name}: {name} is {column.shape}, expected {shape}")

    def __len__(self) -> int:
        return len(self.images)

    def at(self, rows: Integers) -> "FaceSet":
        """Return the set with only these faces; identities keep their numbers."""
        lines = None if self.lines is None else self.lines[rows]
        return replace(self, images=Subset(self.images, rows), labels=self.labels.at(rows), lines=lines)

    def where(self, index: int) -> str:
        """Return where the labels of a face are found: the line of the label file, and the image."""
        name = printable(self.images.name(index))
        if self.label_file is None or self.lines is None:
            return f"{self.name}: {name}"
        return f"{self.label_file}:{self.lines[index]}: {name}"


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """Some of the images of a set."""

    images: Images
    rows: Integers

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> Bytes:
        return self.images.read(int(self.rows[index]))

    def name(self, index: int) -> str:
        return self.images.name(int(self.rows[index]))


def fitted(image: Bytes) -> Bytes:
    """Scale a whole image (h, w, 3) to the network's input, (112, 112, 3), as the published evaluation does.

    Training uses the same scaling; the published training cropped the middle of images that are not square.
    """
    if image.shape[:2] == (FACE_SIZE, FACE_SIZE):
        return image
    return np.array(Image.fromarray(image).resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BILINEAR), np.uint8)


def impossible(faces: FaceSet) -> list[tuple[int, str]]:
    """Return every impossible label as the row of its face and one line that says where it is and why."""
    problems = []
    for name, column in faces.labels.only(LABELLED).columns():
        for row in np.flatnonzero(_is_impossible(name, column, faces)):
            value = column[row] if column.ndim == 1 else sorted(set(column[row].tolist()) - {UNKNOWN, 0, 1})
            problems.append((int(row), f"{faces.where(int(row))}: {name} {value} is not {_allowed(name, faces)}"))
    return sorted(problems)


def _is_impossible(name: str, column: NDArray[Any], faces: FaceSet) -> NDArray[np.bool_]:
    """Return which labels (n,) cannot be true."""
    if name == "age":
        return np.asarray((column < 0) | (column > OLDEST) | np.isinf(column))
    if name == "age_spread":
        return np.asarray((column < 0) | np.isinf(column))
    highest = {"gender": 1, "attributes": 1, "expression": len(EXPRESSIONS) - 1, "identity": len(faces.identities) - 1}
    wrong = (column < UNKNOWN) | (column > highest[name])
    return np.asarray(wrong if wrong.ndim == 1 else wrong.any(1))


def _allowed(name: str, faces: FaceSet) -> str:
    return {
        "age": f"within 0..{OLDEST:.0f} years",
        "age_spread": "a finite number of years from 0",
        "gender": "0 (female) or 1 (male)",
        "attributes": "0 (absent) or 1 (present)",
        "expression": f"within 0..{len(EXPRESSIONS) - 1} ({' '.join(EXPRESSIONS)})",
        "identity": f"within 0..{len(faces.identities) - 1}",
    }[name]


def _known(column: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which faces (n,) have a known label."""
    known = ~np.isnan(column) if column.dtype.kind == "f" else column != UNKNOWN
    return np.asarray(known if known.ndim == 1 else known.any(1))
