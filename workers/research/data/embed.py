"""Write the outputs of teachers for all faces of a set: the file for the set's option `teacher`."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from faceanalytics.errors import ModelError
from faceanalytics.progress import counted
from workers.research.data.embed_progress import progress
from workers.research.data.face_set import FACE_SIZE, Bytes, FaceSet, fitted
from workers.research.data.teacher import TeacherOutputs, write
from workers.research.data.teachers import TeacherNetwork, open_teacher

Floats = NDArray[np.float32]
Teacher: TypeAlias = Callable[[Bytes], Floats]  # uint8 (n, 112, 112, 3) RGB -> (n, width)
BATCH = 16

log = logging.getLogger(__name__)


def embed(faces: FaceSet, weights: Path | None, expressions: Path | None, out: Path) -> None:
    """Write the outputs of a recogniser, a teacher of expressions, or both, for each face.

    An interrupted run goes on where it was, and gives the same file. Raises UserError; `out` is complete or absent.
    """
    teachers: dict[str, Teacher] = {}
    if weights is not None:
        teachers["embedding"] = recogniser(weights)
    if expressions is not None:
        teachers["expression_scores"] = expression_teacher(expressions)
    names = [faces.images.name(row) for row in range(len(faces))]
    described = ", ".join(f"{path.name} {_digest(path)[:12]}" for path in (weights, expressions) if path is not None)
    with progress(out, [described, *teachers, *names], len(teachers)) as done:
        begin = min(len(done.batches) * BATCH, len(faces))
        if begin:
            log.info("%s: going on after %d of %d faces", faces.name, begin, len(faces))
        crops: list[Bytes] = []
        for row in counted(range(begin, len(faces)), len(faces) - begin, faces.name):
            crops.append(fitted(faces.images.read(row)))
            if len(crops) == BATCH or row == len(faces) - 1:
                done.add([teach(np.stack(crops)) for teach in teachers.values()])
                crops = []
        parts = zip(*done.batches, strict=True)
        columns = {kind: np.concatenate(values) for kind, values in zip(teachers, parts, strict=True)}
        try:
            _check(columns, names, faces.name)
        except ModelError:
            done.forget()
            raise
        write(out, TeacherOutputs(names, described, **columns))
    log.info("%s of %d faces by %s in %s", " and ".join(columns), len(names), described, out)


def _check(columns: Mapping[str, Floats], names: Sequence[str], source: str) -> None:
    """Raise ModelError if an output of a face is zero or not a number."""
    for kind, values in columns.items():
        wrong = ~np.isfinite(values).all(1) | (np.abs(values).max(1) == 0)
        if wrong.any():
            named = names[int(np.flatnonzero(wrong)[0])]
            raise ModelError(f"there is no {kind} of {int(wrong.sum())} faces of {source}, such as {named}")


def recogniser(weights: Path) -> Teacher:
    """Open an .onnx file, or one that teachers.open_teacher reads. Raises ModelError, ConfigError."""
    if weights.suffix == ".onnx" and weights.is_file():
        return _onnx(weights)
    return _by_torch(open_teacher("recogniser", weights))


def expression_teacher(weights: Path) -> Teacher:
    """Open a file that teachers.open_teacher reads. Raises ModelError, ConfigError."""
    return _by_torch(open_teacher("expressions", weights))


def _by_torch(network: TeacherNetwork) -> Teacher:
    return lambda crops: np.asarray(network(torch.from_numpy(crops)).numpy(), np.float32)


def _onnx(weights: Path) -> Teacher:
    """Open a network from (n, 3, 112, 112) RGB in -1..1 to (n, width), like insightface's. Raises ModelError."""
    from onnxruntime import InferenceSession, SessionOptions
    from onnxruntime.capi.onnxruntime_pybind11_state import OrtException

    try:
        session = InferenceSession(str(weights), SessionOptions(), providers=["CPUExecutionProvider"])
        taken, given = session.get_inputs(), session.get_outputs()
        shapes = [taken[0].shape, given[0].shape]
        if len(taken) != 1 or shapes[0][1:] != [3, FACE_SIZE, FACE_SIZE] or len(shapes[1]) != 2:
            raise ModelError(f"{weights} is no recogniser of faces (n, 3, 112, 112): it takes and gives {shapes}")
    except (OrtException, RuntimeError) as error:
        raise ModelError(f"cannot use {weights}: {error}") from error

    def recognise(crops: Bytes) -> Floats:
        scaled = (crops.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5
        at_once = crops if isinstance(shapes[0][0], str) else crops[:1]
        parts = [scaled[row : row + len(at_once)] for row in range(0, len(scaled), len(at_once))]
        return np.concatenate([np.asarray(session.run(None, {taken[0].name: part})[0], np.float32) for part in parts])

    return recognise


def _digest(weights: Path) -> str:
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
