"""Analyse images of faces and write a file of results: `swinface infer`."""

import csv
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import ConfigError, InputError, ModelError
from faceanalytics.files import replacing
from faceanalytics.names import no_formula, printable
from faceanalytics.progress import counted
from workers.swinface.labels import ATTRIBUTES, EMBEDDING, EXPRESSIONS

if TYPE_CHECKING:  # they import torch and the streamer's detector, which takes seconds
    from workers.align import DetectorOptions, FaceFinder, Found
    from workers.runtime.engine import Engine, Pending
    from workers.swinface.precisions import Precision

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
SIZE = (112, 112)  # px
FORMATS = (".npz", ".jsonl", ".csv")
# names of the raw outputs by slug: those of the columns that are made of them, where that is possible
RAW_NAMES = {
    "age": "age_years_output",  # of an age below zero, the column age_years has 0
    "expression": "expression_logits",
    EMBEDDING: "embedding",
    **{task.slug: f"attribute_{task.score}_logits" for task in ATTRIBUTES},
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """The model for the images, and the place of the results."""

    weights: str
    out: Path | None = None  # None: JSON lines on standard output
    device: str = "cpu"
    precision: "Precision" = "fp32"
    threads: int | None = None  # of a CPU; None: one per core
    heads: Sequence[str] | None = None  # slugs; None: all that the weights were trained for
    batch: int = 8  # faces
    align: "DetectorOptions | None" = None  # None: each image is a face as it is


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face to be analysed: one row of the results."""

    path: Path
    crop: Bytes  # (112, 112, 3) RGB
    number: int = 0  # in its image, the strongest first
    found: "Found | None" = None  # with alignment only


@dataclass(slots=True)
class Missing:
    """Images and faces that are not in the results, or not to be relied on, one line each."""

    unreadable: list[str] = field(default_factory=list)
    faceless: list[str] = field(default_factory=list)
    unaligned: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)  # in the results, with reasons: not missing

    def __len__(self) -> int:
        return len(self.unreadable) + len(self.faceless) + len(self.unaligned)


Take: TypeAlias = Callable[[Path], list[Face]]  # raises InputError
Analysed: TypeAlias = Iterator[tuple[list[Face], dict[str, Floats]]]  # n faces, raw outputs (n, width) by slug


def check_out(out: Path | None) -> None:
    """Raise ConfigError for a file that cannot be written, before any work is done."""
    if out is None:
        return
    if out.suffix not in FORMATS:
        raise ConfigError(f"--out {out}: the name must end in {', '.join(FORMATS)}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")


def find_images(paths: Sequence[Path]) -> list[Path]:
    """List files as they are given, and for each folder the images in and below it, by name.

    Raises InputError if there are none.
    """
    from streamer.source.images import IMAGES, find_files

    found = [file for file in find_files(paths, IMAGES) if file not in paths or not file.is_dir()]
    if not found:
        raise InputError(f"no images in {', '.join(map(printable, paths))} ({' '.join(sorted(IMAGES))})")
    return found


def read_face(path: Path) -> Bytes:
    """Read an image as (112, 112, 3) RGB, resized as the published inference does. Raises InputError."""
    from streamer.source.images import read_image

    resized = cv2.resize(read_image(path), SIZE, interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(resized, cv2.COLOR_BGR2RGB).astype(np.uint8)


def infer(paths: Sequence[Path], request: Request) -> Missing:
    """Analyse the images, write the results and return what is missing. Raises InputError if all are missing."""
    from workers.runtime.engine import Engine, InferenceError

    missing = Missing()
    take = _taker(request.align, missing)
    engine = Engine(request.weights, request.device, request.precision, request.threads, request.heads, request.batch)
    started = time.monotonic()
    try:
        counted_paths = counted(paths, len(paths), "images", shown=_has_terminal(request.out))
        faces = _faces(counted_paths, take, missing)
        count = _write(request.out, engine, _analysed(engine, _batches(faces, request.batch)))
    except InferenceError as error:
        raise ModelError(f"{error}: choose a smaller --batch than {request.batch}") from error
    _report(missing, len(paths))
    if not count:
        raise InputError("no image could be read" if request.align is None else "no face was found")
    read, taken = len(paths) - len(missing.unreadable), time.monotonic() - started
    log.info("%d faces of %d images in %.1f s, %.1f images per second", count, read, taken, read / taken)
    return missing


def _taker(align: "DetectorOptions | None", missing: Missing) -> Take:
    """Return the function that makes faces of an image."""
    if align is None:
        return lambda path: [Face(path, read_face(path))]
    from workers.align import FaceFinder

    finder = FaceFinder(align)
    return lambda path: _find(path, finder, missing)


def _find(path: Path, finder: "FaceFinder", missing: Missing) -> list[Face]:
    from streamer.source.images import read_image

    found = finder.find(read_image(path))
    if not found:
        missing.faceless.append(printable(path))
    faces = []
    for number, (place, crop) in enumerate(found):
        if crop is None:
            missing.unaligned.append(f"{printable(path)}: face {number}: {', '.join(place.reasons)}")
        else:
            if place.reasons:
                missing.doubtful.append(f"{printable(path)}: face {number}: {', '.join(place.reasons)}")
            faces.append(Face(path, crop, number, place))
    return faces


def _faces(paths: Iterable[Path], take: Take, missing: Missing) -> Iterator[Face]:
    for path in paths:
        try:
            yield from take(path)
        except InputError as error:
            missing.unreadable.append(str(error))


def _batches(faces: Iterable[Face], size: int) -> Iterator[list[Face]]:
    batch: list[Face] = []
    for face in faces:
        batch.append(face)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _analysed(engine: "Engine", batches: Iterable[list[Face]]) -> Analysed:
    """Yield the outputs of each batch; while one is computed, the next is read and the last one written."""
    under_way: tuple[list[Face], Pending] | None = None
    for batch in batches:
        done, under_way = under_way, (batch, engine.submit(np.stack([face.crop for face in batch])))
        if done:
            yield done[0], _finite(*done)
    if under_way:
        yield under_way[0], _finite(*under_way)


def _finite(faces: list[Face], pending: "Pending") -> dict[str, Floats]:
    """Return the outputs of a batch. Raises ModelError for NaN or infinity, which no result can hold."""
    outputs = pending.outputs()
    for slug, output in outputs.items():
        if spoilt := np.flatnonzero(~np.isfinite(output).all(axis=1)).tolist():
            image = printable(faces[spoilt[0]].path)
            raise ModelError(f"{image}: the network's {slug} is not a number: try --precision fp32")
    return outputs


def _write(out: Path | None, engine: "Engine", analysed: Analysed) -> int:
    """Write a file that replaces an old one only when it is complete and not empty. Returns the number of faces."""
    if out is None:
        return _write_lines(sys.stdout, engine, analysed)
    with replacing(out) as partial:
        if out.suffix == ".npz":
            count = _write_arrays(partial, engine, analysed)
        else:
            write = _write_lines if out.suffix == ".jsonl" else _write_table
            with partial.open("w", newline="") as file:
                count = write(file, engine, analysed)
        if not count:
            partial.unlink(missing_ok=True)
    return count


def _write_arrays(path: Path, engine: "Engine", analysed: Analysed) -> int:
    """Write each column of the table as an array (n,), and the raw outputs. Returns the number of faces."""
    columns: dict[str, list[Any]] = {}
    raw: dict[str, list[Floats]] = {}
    count = 0
    for faces, outputs in analysed:
        count += len(faces)
        for record in _records(engine, faces, outputs):
            for name, value in record.items():
                columns.setdefault(name, []).append(" ".join(value) if isinstance(value, list) else value)
        named = {RAW_NAMES[slug]: output for slug, output in outputs.items()}
        if placed := [face.found.landmarks for face in faces if face.found]:
            named["landmarks"] = np.array(placed, np.float32)
        for name, output in named.items():
            raw.setdefault(name, []).append(output)
    if count:
        arrays: dict[str, Any] = {name: np.array(values) for name, values in columns.items()}
        arrays |= {name: np.concatenate(parts) for name, parts in raw.items()}
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)
    return count


def _write_lines(file: TextIO, engine: "Engine", analysed: Analysed) -> int:
    """Write one JSON object per face. Returns the number of faces."""
    count = 0
    for faces, outputs in analysed:
        for record in _records(engine, faces, outputs):
            file.write(json.dumps(record, allow_nan=False) + "\n")
            count += 1
    return count


def _write_table(file: TextIO, engine: "Engine", analysed: Analysed) -> int:
    """Write a heading, then one line per face. Returns the number of faces."""
    writer = csv.writer(file, lineterminator="\n")
    count = 0
    for faces, outputs in analysed:
        for record in _records(engine, faces, outputs):
            if count == 0:
                writer.writerow(record)
            texts = (" ".join(value) if isinstance(value, list) else value for value in record.values())
            writer.writerow([no_formula(one) if isinstance(one, str) else one for one in texts])
            count += 1
    return count


def _records(engine: "Engine", faces: list[Face], outputs: dict[str, Floats]) -> Iterator[dict[str, Any]]:
    """Yield a row for each face: the same columns in every form, named as in the tables of `streamer export`."""
    for face, scores in zip(faces, _scores(outputs), strict=True):
        yield {"input": printable(face.path), **_place(face), "model_id": engine.model_id, **scores}


def _place(face: Face) -> dict[str, Any]:
    """Return the place of a face; empty without alignment."""
    if face.found is None:
        return {}
    x1, y1, x2, y2 = map(float, face.found.box)
    box = {"FaceRectX": x1, "FaceRectY": y1, "FaceRectWidth": x2 - x1, "FaceRectHeight": y2 - y1}
    points = {f"{name}_{axis}": at["xy".index(axis)] for name, at in face.found.points().items() for axis in "xy"}
    return {
        "face": face.number,
        "FaceScore": _round(face.found.score),
        "quality": _round(face.found.quality),
        "reasons": list(face.found.reasons),
        **{name: _pixels(value) for name, value in (box | points).items()},
    }


def _scores(outputs: dict[str, Floats]) -> Iterator[dict[str, Any]]:
    """Yield the scores in the raw outputs of n faces, one face after the other; only of the outputs that exist."""
    from workers.runtime.engine import softmax

    tasks = [task for task in ATTRIBUTES if task.slug in outputs]
    attributes = {task.score: softmax(outputs[task.slug])[:, 1] for task in tasks}
    expression = softmax(outputs["expression"]) if "expression" in outputs else None
    norms = np.linalg.norm(outputs[EMBEDDING], axis=1) if EMBEDDING in outputs else None
    for row in range(len(next(iter(outputs.values())))):
        scores: dict[str, Any] = {}
        if "age" in outputs:
            scores["age_years"] = _round(max(0.0, outputs["age"][row, 0]))
        if expression is not None:
            scores["expression"] = EXPRESSIONS[int(expression[row].argmax())]
            scores |= zip(EXPRESSIONS, map(_round, expression[row]), strict=True)
        if norms is not None:
            scores["embedding_norm"] = _round(norms[row])
        scores |= {f"attribute_{name}": _round(column[row]) for name, column in attributes.items()}
        yield scores


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), 6)


def _pixels(value: float | np.floating[Any]) -> float:
    return round(float(value), 2)


def _report(missing: Missing, total: int) -> None:
    """Print what is missing, each image by name."""
    for lines, what in (
        (missing.unreadable, f"of {total} images could not be read"),
        (missing.faceless, f"of {total} images show no face that the detector finds"),
        (missing.unaligned, "faces could not be aligned and are not in the results"),
        (missing.doubtful, "faces would not be analysed by the streamer: do not rely on their answers"),
    ):
        if lines:
            sys.stderr.write(f"{len(lines)} {what}:\n" + "".join(f"  {line}\n" for line in lines))


def _has_terminal(out: Path | None) -> bool:
    """Return whether a bar can be drawn that does not end up in the results."""
    return sys.stderr.isatty() and (out is not None or not sys.stdout.isatty())
