"""What teachers make of all faces of a set, written as the file that the set's option `teacher` names."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from workers.data.face_set import FACE_SIZE, Bytes, FaceSet, fitted
from workers.data.progress import counted
from workers.data.teacher import Lesson, write
from workers.errors import ConfigError, ModelError
from workers.swinface.labels import EMBEDDING

Floats = NDArray[np.float32]
Teacher: TypeAlias = Callable[[Bytes], Floats]  # uint8 (n, 112, 112, 3) RGB -> (n, width)
BATCH = 16

log = logging.getLogger(__name__)


def embed(faces: FaceSet, weights: Path | None, expressions: Path | None, out: Path) -> None:
    """Write what a recogniser and a teacher of expressions, or one of them, make of each face.

    Raises UserError; `out` is complete or not there.
    """
    teachers: dict[str, Teacher] = {}
    if weights is not None:
        teachers["embedding"] = recogniser(weights)
    if expressions is not None:
        teachers["expression_scores"] = expression_teacher(expressions)
    found: dict[str, list[Floats]] = {kind: [] for kind in teachers}
    crops: list[Bytes] = []
    for row in counted(range(len(faces)), len(faces), faces.name):
        crops.append(fitted(faces.pictures.read(row)))
        if len(crops) == BATCH or row == len(faces) - 1:
            for kind, teach in teachers.items():
                found[kind].append(teach(np.stack(crops)))
            crops = []
    names = [faces.pictures.name(row) for row in range(len(faces))]
    columns = {kind: np.concatenate(parts) for kind, parts in found.items()}
    for kind, values in columns.items():
        wrong = ~np.isfinite(values).all(1) | (np.abs(values).max(1) == 0)
        if wrong.any():
            named = names[int(np.flatnonzero(wrong)[0])]
            raise ModelError(f"there is no {kind} of {int(wrong.sum())} faces of {faces.name}, such as {named}")
    described = ", ".join(f"{path.name} {_digest(path)[:12]}" for path in (weights, expressions) if path is not None)
    write(out, Lesson(names, described, **columns))
    log.info("%s of %d faces by %s in %s", " and ".join(columns), len(names), described, out)


def recogniser(weights: Path) -> Teacher:
    """By the file's suffix: SwinFace's own (.safetensors, .pt), ONNX (.onnx), ncnn (.param, beside its .bin).

    Raises ModelError for weights that cannot be used, ConfigError for another suffix.
    """
    if not weights.is_file():
        raise ModelError(f"no recogniser at {weights}: there is no such file")
    match weights.suffix:
        case ".safetensors" | ".pt":
            return _swinface(weights)
        case ".onnx":
            return _onnx(weights)
        case ".param":
            return _ncnn(weights)
    raise ConfigError(f"{weights}: a recogniser is a .safetensors, .pt or .onnx, or a .param beside its .bin")


def expression_teacher(weights: Path) -> Teacher:
    """SwinFace's own (.safetensors, .pt) or mini-XCEPTION as Keras wrote it (.hdf5). Raises ModelError, ConfigError."""
    if not weights.is_file():
        raise ModelError(f"no teacher of expressions at {weights}: there is no such file")
    match weights.suffix:
        case ".safetensors" | ".pt":
            logits = _swinface(weights, "expression")
            return lambda crops: softmax(logits(crops), axis=1)
        case ".hdf5":
            from workers.data.mini_xception import mini_xception

            return mini_xception(weights)
    raise ConfigError(f"{weights}: a teacher of expressions is a .safetensors or .pt, or the .hdf5 of mini-XCEPTION")


def _swinface(weights: Path, slug: str = EMBEDDING) -> Teacher:
    """One output of a network of ours, as it is."""
    import torch

    from workers.swinface.checkpoint import chosen_heads, load
    from workers.swinface.model import reduced

    model, _ = load(str(weights))
    network = reduced(model, chosen_heads(str(weights), model, [slug]))

    def output(crops: Bytes) -> Floats:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(crops))[slug].numpy(), np.float32)

    return output


def _onnx(weights: Path) -> Teacher:
    """Takes (n, 3, 112, 112) RGB in -1..1 and gives (n, width), as insightface's do."""
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


def _ncnn(weights: Path) -> Teacher:
    """Takes RGB of 0..255, which it scales itself, and gives one vector."""
    try:
        import ncnn
    except ImportError as error:
        raise ModelError("ncnn is not installed, which .param files need: pip install ncnn") from error
    net = ncnn.Net()
    net.opt.num_threads = 1
    if net.load_param(str(weights)) or net.load_model(str(weights.with_suffix(".bin"))):
        raise ModelError(f"ncnn cannot use {weights} with {weights.with_suffix('.bin').name}")
    taken, given = net.input_names(), net.output_names()
    if len(taken) != 1 or len(given) != 1:
        raise ModelError(f"{weights} is no recogniser of one picture: it takes {taken} and gives {given}")

    def one(crop: Bytes) -> Floats:
        pixels: Any = ncnn.Mat.from_pixels(crop, ncnn.Mat.PixelType.PIXEL_RGB, FACE_SIZE, FACE_SIZE)
        extractor = net.create_extractor()
        extractor.input(taken[0], pixels)
        failed, vector = extractor.extract(given[0])
        if failed:
            raise ModelError(f"{weights} gives nothing for a face of {FACE_SIZE}x{FACE_SIZE} pixels")
        return np.array(vector, np.float32).reshape(-1)

    return lambda crops: np.stack([one(np.ascontiguousarray(crop)) for crop in crops])


def _digest(weights: Path) -> str:
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
