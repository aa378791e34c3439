"""Crops in, analyses out, on one device: the network behind numpy."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from faceanalytics.errors import ModelError
from faceanalytics.extras import require
from workers.swinface.checkpoint import chosen_heads, impostor_scores, licence, load
from workers.swinface.labels import ATTRIBUTES, EMBEDDING
from workers.swinface.model import SwinFace, reduced
from workers.swinface.precisions import Precision

if TYPE_CHECKING:
    from workers.runtime.on_cpu import CpuNetwork
    from workers.runtime.on_gpu import GpuNetwork

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
CROP_SHAPE = (112, 112, 3)  # rows, columns, RGB
LARGEST_BATCH = 256  # crops
NO_MEMORY = re.compile("out of memory|alloc", re.IGNORECASE)  # what OpenVINO, CUDA and its libraries say


class InferenceError(Exception):
    """One batch could not be analysed, the next one may be: the device had not enough memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Analyses:
    """What SwinFace says about n crops, as columns; None for what it was not trained for."""

    age: Floats | None  # (n,) years
    expression: Floats | None  # (n, 7) softmax, in the order of labels.EXPRESSIONS
    attributes: Floats  # (n, k) softmax of "present", of the attributes that it has in the order of labels.ATTRIBUTES
    embeddings: Floats | None  # (n, 512) unit length
    norms: Floats | None  # (n,) length of the embeddings before normalising

    def __len__(self) -> int:
        return len(self.attributes)


class Pending:
    """A batch under way."""

    def __init__(self, engine: "Engine", count: int, finish: Callable[[], dict[str, Floats]]) -> None:
        self._engine, self._count, self._finish = engine, count, finish

    def outputs(self) -> dict[str, Floats]:
        """Wait for the raw outputs by slug, (n, width) each. Raises as Engine.analyse does."""
        with self._engine.sorting_errors(self._count):
            return self._finish()


class Engine:
    """SwinFace on one device. Raises ModelError if the weights or the device are not usable: there is no fallback.

    What it says about a crop does not depend on the crops beside it.
    """

    def __init__(
        self,
        weights: str,
        device: str = "cpu",
        precision: Precision = "fp32",
        threads: int | None = None,
        heads: Sequence[str] | None = None,
        largest_batch: int = LARGEST_BATCH,
    ) -> None:
        """`heads`: slugs of labels.OUTPUTS, only these are computed; None: all that the weights were trained for.

        `threads`: of a CPU, None: one per core.
        `largest_batch`: up to here a GPU is prepared beforehand; larger ones are computed in parts.
        """
        where = usable_device(device)
        self.device, self.precision = str(where), precision
        model, self.model_id = load(weights)
        self.licence = licence(weights)
        self.impostor_scores = impostor_scores(weights)
        self.heads = chosen_heads(weights, model, heads)
        model = reduced(model, self.heads)
        try:
            self._network = _network(model, where, precision, threads, largest_batch)
            self.outputs(np.zeros((1, *CROP_SHAPE), np.uint8))  # libraries and kernels load now, not in the first batch
        except (InferenceError, RuntimeError) as error:
            raise ModelError(f"SwinFace cannot run on {device}: {error}") from error

    def analyse(self, crops: Bytes) -> Analyses:
        """Analyse (n, 112, 112, 3) uint8 RGB aligned crops. Raises InferenceError, ModelError if the device is lost."""
        found = self.outputs(crops)
        attributes = [softmax(found[task.slug])[:, 1] for task in ATTRIBUTES if task.slug in found]
        embeddings = found.get(EMBEDDING)
        norms = None if embeddings is None else np.linalg.norm(embeddings, axis=1)
        return Analyses(
            age=found["age"][:, 0] if "age" in found else None,
            expression=softmax(found["expression"]) if "expression" in found else None,
            attributes=np.stack(attributes, 1) if attributes else np.zeros((len(crops), 0), np.float32),
            embeddings=None if embeddings is None or norms is None else embeddings / np.maximum(norms, 1e-12)[:, None],
            norms=norms,
        )

    def outputs(self, crops: Bytes) -> dict[str, Floats]:
        """The raw outputs of the heads by slug, in the order of labels.OUTPUTS. Raises as `analyse` does."""
        return self.submit(crops).outputs()

    def submit(self, crops: Bytes) -> Pending:
        """Begin to compute: the caller may prepare the next crops meanwhile, and must not change these."""
        if crops.ndim != 4 or crops.shape[1:] != CROP_SHAPE or len(crops) == 0 or crops.dtype != np.uint8:
            raise ValueError(f"crops are {crops.dtype} {crops.shape}, expected uint8 (n, 112, 112, 3) with n > 0")
        with self.sorting_errors(len(crops)):
            return Pending(self, len(crops), self._network.start(np.ascontiguousarray(crops)))

    @contextmanager
    def sorting_errors(self, count: int) -> Iterator[None]:
        """Sort what is raised into trouble of this batch, trouble of the device, and bugs."""
        lacking = None
        try:
            with torch.inference_mode():
                yield
        except RuntimeError as error:  # also torch's errors of memory and device
            if not isinstance(error, torch.OutOfMemoryError) and not NO_MEMORY.search(str(error)):
                if isinstance(error, torch.AcceleratorError):
                    raise ModelError(f"the device {self.device} has failed: {error}") from error
                raise
            lacking = str(error).splitlines()[0]
        if lacking is not None:  # here, not above: the error's traceback holds what had been allocated
            if self.device != "cpu":
                torch.cuda.empty_cache()
            raise InferenceError(f"not enough memory on {self.device} for {count} crops: {lacking}")


def _network(
    model: SwinFace, device: torch.device, precision: str, threads: int | None, largest_batch: int
) -> "CpuNetwork | GpuNetwork":
    if device.type == "cuda":
        from workers.runtime.on_gpu import GpuNetwork

        return GpuNetwork(model, device, precision, largest_batch)
    require("worker", "openvino", use="SwinFace on a CPU")
    from workers.runtime.on_cpu import CpuNetwork

    return CpuNetwork(model, precision, threads)


def usable_device(name: str) -> torch.device:
    """The device of that name. Raises ModelError if it does not exist here."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"there is no device {name!r}: use cpu or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ModelError(f"device {name!r} is not supported: use cpu or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device {name!r} cannot be used: torch finds {torch.cuda.device_count()} CUDA GPUs here. "
            "Check the driver (nvidia-smi) and that torch is built for CUDA, or say --device cpu"
        )
    return device


def softmax(logits: Floats) -> Floats:
    """Along the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    found: Floats = powers / powers.sum(-1, keepdims=True)
    return found
