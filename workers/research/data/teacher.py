"""Outputs of teachers for the faces of a set, embeddings and expressions: their file, and adding them to a set."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import replacing
from workers.research.data.face_set import FaceSet

SHOWN = 5  # names in one error message


@dataclass(frozen=True, slots=True, eq=False)
class TeacherOutputs:
    """Outputs of teachers for n images; None: no output of this kind."""

    names: Sequence[str]  # (n,) of the images in their set, all different
    teachers: str  # their files and the beginnings of the sha256
    embedding: NDArray[np.floating] | None = None  # (n, width)
    expression_scores: NDArray[np.floating] | None = None  # (n, 7) probabilities


def with_teacher(faces: FaceSet, path: Path | None) -> FaceSet:
    """Add the outputs in a file to the set; without a file return the set as it is.

    Raises ConfigError if the file lacks some of its images: it may be the file of another set.
    """
    if path is None:
        return faces
    outputs = read(path)
    place = {name: row for row, name in enumerate(outputs.names)}
    names = [faces.images.name(index) for index in range(len(faces))]
    if missing := [name for name in names if name not in place]:
        shown = ", ".join(missing[:SHOWN])
        raise ConfigError(
            f"{faces.name}: teacher: {path} lacks {len(missing)} of {len(names)} images, such as {shown}: "
            "write it again for this set, with `swinface data embed`"
        )
    rows = [place[name] for name in names]
    embedding, scores = (
        None if values is None else values[rows].astype(np.float16)
        for values in (outputs.embedding, outputs.expression_scores)
    )
    return replace(faces, labels=replace(faces.labels, embedding=embedding, expression_scores=scores))


def read(path: Path) -> TeacherOutputs:
    """Read a file that `write` wrote. Raises InputError if it does not exist or holds anything else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
            outputs = TeacherOutputs(
                found["names"].tolist(),
                str(found["teachers"]),
                found.get("embedding"),
                found.get("expression_scores"),
            )
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; `swinface data embed` writes it") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a file that `swinface data embed` wrote: {error}") from error
    for kind, values in (("embedding", outputs.embedding), ("expression_scores", outputs.expression_scores)):
        if values is None:
            continue
        if values.ndim != 2 or len(values) != len(outputs.names) or values.dtype.kind != "f":
            raise InputError(f"{path}: {kind} is {values.shape} of {values.dtype} for {len(outputs.names)} names")
        exact = values.astype(np.float32)
        total = np.linalg.norm(exact, axis=1) if kind == "embedding" else exact.sum(1)
        if not np.allclose(total, 1, atol=0.01):
            raise InputError(
                f"{path}: not every row of {kind} has {'the length' if kind == 'embedding' else 'the sum'} 1"
            )
    return outputs


def write(path: Path, outputs: TeacherOutputs) -> None:
    """Write the file that `read` reads, with embeddings of unit length. Raises ConfigError."""
    found: dict[str, Any] = {"names": np.array(outputs.names), "teachers": np.array(outputs.teachers)}
    if outputs.embedding is not None:
        unit = outputs.embedding / np.linalg.norm(outputs.embedding, axis=1, keepdims=True)
        found["embedding"] = unit.astype(np.float16)
    if outputs.expression_scores is not None:
        found["expression_scores"] = outputs.expression_scores.astype(np.float16)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **found)
