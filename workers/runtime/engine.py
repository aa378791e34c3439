"""Run SwinFace on one device, with numpy arrays in and out."""

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
OUT_OF_MEMORY = re.compile("out of memory|alloc", re.IGNORECASE)  # wording of OpenVINO, CUDA and its libraries


class InferenceError(Exception):
    """The device lacked the memory to analyse one batch; the next batch may succeed."""


@dataclass(frozen=True, slots=True, eq=False)
class Analyses:
    """SwinFace's results for n crops, as columns; None for outputs that the weights were not trained for."""

    age: Floats | None  # (n,) years
    expression: Floats | None  # (n, 7) softmax, in the order of labels.EXPRESSIONS
    attributes: Floats  # (n, k) probabilities of the k trained attributes, in the order of labels.ATTRIBUTES
    embeddings: Floats | None  # (n, 512) unit length
    norms: Floats | None  # (n,) length of the embeddings before normalising

    def __len__(self) -> int:
        return len(self.attributes)


class Pending:
    """A batch that is being computed."""

    def __init__(self, engine: "Engine", count: int, finish: Callable[[], dict[str, Floats]]) -> None:
        self._engine, self._count, self._finish = engine, count, finish

    def outputs(self) -> dict[str, Floats]:
        """Wait for the raw outputs by slug, (n, width) each. Raises the errors of Engine.analyse."""
        with self._engine.translating_errors(self._count):
            return self._finish()


class Engine:
    """SwinFace on one device. Raises ModelError if the weights or the device cannot be used: there is no fallback.

    The results for a crop do not depend on the other crops of the batch.
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
        """Load the weights and run one crop, so that the first batch is not slow.

        `heads`: slugs of labels.OUTPUTS to compute; None: all that the weights were trained for.
        `threads`: CPU threads; None: one per core.
        `largest_batch`: largest batch to prepare a GPU for; larger batches are computed in parts.
        """
        torch_device = usable_device(device)
        self.device, self.precision = str(torch_device), precision
        model, self.model_id = load(weights)
        self.licence = licence(weights)
        self.impostor_scores = impostor_scores(weights)
        self.heads = chosen_heads(weights, model, heads)
        model = reduced(model, self.heads)
        try:
            self._network = _network(model, torch_device, precision, threads, largest_batch)
            self.outputs(np.zeros((1, *CROP_SHAPE), np.uint8))  # load libraries and kernels now, not in the first batch
        except (InferenceError, RuntimeError) as error:
            raise ModelError(f"SwinFace cannot run on {device}: {error}") from error

    def analyse(self, crops: Bytes) -> Analyses:
        """Analyse aligned crops (n, 112, 112, 3) uint8 RGB. Raises InferenceError, ModelError if the device failed."""
        outputs = self.outputs(crops)
        attributes = [softmax(outputs[task.slug])[:, 1] for task in ATTRIBUTES if task.slug in outputs]
        embeddings = outputs.get(EMBEDDING)
        norms = None if embeddings is None else np.linalg.norm(embeddings, axis=1)
        return Analyses(
            age=outputs["age"][:, 0] if "age" in outputs else None,
            expression=softmax(outputs["expression"]) if "expression" in outputs else None,
            attributes=np.stack(attributes, 1) if attributes else np.zeros((len(crops), 0), np.float32),
            embeddings=None if embeddings is None or norms is None else embeddings / np.maximum(norms, 1e-12)[:, None],
            norms=norms,
        )

    def outputs(self, crops: Bytes) -> dict[str, Floats]:
        """Return the raw outputs by slug, in the order of labels.OUTPUTS. Raises the errors of `analyse`."""
        return self.submit(crops).outputs()

    def submit(self, crops: Bytes) -> Pending:
        """Start computing. The caller may prepare the next crops meanwhile but must not change these."""
        if crops.ndim != 4 or crops.shape[1:] != CROP_SHAPE or len(crops) == 0 or crops.dtype != np.uint8:
            raise ValueError(f"crops are {crops.dtype} {crops.shape}, expected uint8 (n, 112, 112, 3) with n > 0")
        with self.translating_errors(len(crops)):
            return Pending(self, len(crops), self._network.start(np.ascontiguousarray(crops)))

    @contextmanager
    def translating_errors(self, count: int) -> Iterator[None]:
        """Raise InferenceError if memory runs out, ModelError if the device fails; let any other error pass."""
        shortage = None
        try:
            with torch.inference_mode():
                yield
        except RuntimeError as error:  # base class of torch's memory and device errors
            if not isinstance(error, torch.OutOfMemoryError) and not OUT_OF_MEMORY.search(str(error)):
                if isinstance(error, torch.AcceleratorError):
                    raise ModelError(f"the device {self.device} has failed: {error}") from error
                raise
            shortage = str(error).splitlines()[0]
        if shortage is not None:  # outside the handler, where the traceback would keep the allocated memory alive
            if self.device != "cpu":
                torch.cuda.empty_cache()
            raise InferenceError(f"not enough memory on {self.device} for {count} crops: {shortage}")


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
    """Return the device of this name. Raises ModelError if this machine does not have it."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"there is no device {name!r}: use cpu or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ModelError(f"device {name!r} is not supported: use cpu or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device {name!r} cannot be used: torch finds {torch.cuda.device_count()} CUDA GPUs here. "
            "Check the driver (nvidia-smi) and that torch is built for CUDA, or use --device cpu"
        )
    return device


def softmax(logits: Floats) -> Floats:
    """Return the softmax along the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities: Floats = powers / powers.sum(-1, keepdims=True)
    return probabilities
