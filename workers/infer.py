"""Pictures of single faces to a file of results: `swinface infer`."""

import csv
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.errors import ConfigError, InputError
from workers.swinface.labels import ATTRIBUTES, EXPRESSIONS, OUTPUTS

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from workers.serve.engine import Engine

Bytes = NDArray[np.uint8]
Chunks = Iterator[tuple[list[Path], Bytes]]  # paths of n pictures, and (n, 112, 112, 3) RGB
SIZE = (112, 112)  # px
PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
FORMATS = (".npz", ".jsonl", ".csv")

log = logging.getLogger(__name__)


def check_out(out: Path | None) -> None:
    """Raise ConfigError before any work is done for a file that cannot be written."""
    if out is None:
        return
    if out.suffix not in FORMATS:
        raise ConfigError(f"--out {out}: the name must end in {', '.join(FORMATS)}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and the pictures anywhere in the folders, by name. Raises InputError if there are none."""
    found: list[Path] = []
    for path in paths:
        inside = (
            sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES) if path.is_dir() else [path]
        )
        found += inside
    if not found:
        raise InputError(f"no pictures in {', '.join(str(path) for path in paths)} ({' '.join(sorted(PICTURES))})")
    return found


def read_face(path: Path) -> Bytes:
    """A picture as (112, 112, 3) RGB, resized as the published inference does. Raises InputError."""
    try:
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except cv2.error as error:
        raise InputError(f"{path}: {error.err}") from error
    if image is None:
        raise InputError(f"{path}: not a picture, or of an unknown or damaged format")
    resized = cv2.resize(image, SIZE, interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(resized, cv2.COLOR_BGR2RGB).astype(np.uint8)


def infer(
    paths: Sequence[Path], out: Path | None, weights: str, device: str, batch: int, threads: int | None
) -> list[InputError]:
    """Analyse the pictures and write the results; what could not be read. Raises InputError if that is all."""
    from workers.serve.engine import Engine

    engine = Engine(weights, device, threads=threads)
    started, failures = time.monotonic(), list[InputError]()
    chunks = _chunks(paths, batch, failures)
    if out is None:
        _write_lines(sys.stdout, engine, chunks)
    else:
        _write_file(out, engine, chunks)
    done, taken = len(paths) - len(failures), time.monotonic() - started
    _report(failures, len(paths))
    if not done:
        raise InputError("none of the pictures could be read")
    log.info("%d pictures in %.1f s, %.1f per second", done, taken, done / taken)
    return failures


def _chunks(paths: Sequence[Path], batch: int, failures: list[InputError]) -> Chunks:
    """The readable pictures, `batch` at a time; the others go to `failures`."""
    names: list[Path] = []
    faces: list[Bytes] = []
    for path in paths:
        try:
            faces.append(read_face(path))
        except InputError as error:
            failures.append(error)
            continue
        names.append(path)
        if len(faces) == batch:
            yield names, np.stack(faces)
            names, faces = [], []
    if faces:
        yield names, np.stack(faces)


def _write_file(out: Path, engine: "Engine", chunks: Chunks) -> None:
    """Write a new file, which replaces an old one only when it is complete and holds something."""
    partial = out.with_name(out.name + ".partial")
    try:
        if out.suffix == ".npz":
            count = _write_arrays(partial, engine, chunks)
        else:
            write = _write_lines if out.suffix == ".jsonl" else _write_table
            with partial.open("w", newline="") as file:
                count = write(file, engine, chunks)
        if count:
            partial.rename(out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_arrays(path: Path, engine: "Engine", chunks: Chunks) -> int:
    """Raw outputs: one array per slug, and the paths. Returns how many pictures."""
    names: list[str] = []
    columns: dict[str, list[NDArray[np.float32]]] = {slug: [] for slug in OUTPUTS}
    for paths, faces in chunks:
        names += [str(path) for path in paths]
        for slug, output in engine.outputs(faces).items():
            columns[slug].append(output)
    if names:
        arrays: dict[str, Any] = {slug: np.concatenate(parts) for slug, parts in columns.items()}
        with path.open("wb") as file:
            np.savez_compressed(file, path=np.array(names), model_id=np.array(engine.model_id), **arrays)
    return len(names)


def _write_lines(file: TextIO, engine: "Engine", chunks: Chunks) -> int:
    """One JSON object per picture. Returns how many."""
    count = 0
    for record in _records(engine, chunks):
        file.write(json.dumps(record) + "\n")
        count += 1
    return count


def _write_table(file: TextIO, engine: "Engine", chunks: Chunks) -> int:
    """A heading, then one line per picture. Returns how many."""
    count = 0
    for record in _records(engine, chunks):
        row = {
            **{key: value for key, value in record.items() if not isinstance(value, dict)},
            **{f"expression_{name}": score for name, score in record["expression"].items()},
            **record["attributes"],
        }
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if count == 0:
            writer.writeheader()
        writer.writerow(row)
        count += 1
    return count


def _records(engine: "Engine", chunks: Chunks) -> Iterator[dict[str, Any]]:
    """Scores by name, one picture after the other."""
    for paths, faces in chunks:
        found = engine.analyse(faces)
        for row, path in enumerate(paths):
            yield {
                "path": str(path),
                "model_id": engine.model_id,
                "age_years": _round(found.age[row]),
                "appears": EXPRESSIONS[int(found.expression[row].argmax())],
                "embedding_norm": _round(found.norms[row]),
                "expression": dict(zip(EXPRESSIONS, map(_round, found.expression[row]), strict=True)),
                "attributes": {
                    task.score: _round(score) for task, score in zip(ATTRIBUTES, found.attributes[row], strict=True)
                },
            }


def _round(value: np.float32) -> float:
    return round(float(value), 6)


def _report(failures: Sequence[InputError], total: int) -> None:
    if failures:
        lines = "\n".join(f"  {failure}" for failure in failures)
        print(f"{len(failures)} of {total} pictures could not be read:\n{lines}", file=sys.stderr)  # noqa: T201
