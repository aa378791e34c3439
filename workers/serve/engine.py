"""Crops in, analyses out, on one device: the network behind numpy."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.errors import ModelError
from workers.swinface.checkpoint import load
from workers.swinface.model import scores

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
CROP_SHAPE = (112, 112, 3)  # rows, columns, RGB


class InferenceError(Exception):
    """One batch could not be analysed, the next one may be: the device had not enough memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Analyses:
    """What SwinFace says about n crops, as columns."""

    age: Floats  # (n,) years
    expression: Floats  # (n, 7) softmax, in the order of labels.EXPRESSIONS
    attributes: Floats  # (n, 40) softmax of "present", in the order of labels.ATTRIBUTES
    embeddings: Floats  # (n, 512) unit length
    norms: Floats  # (n,) length of the embeddings before normalising

    def __len__(self) -> int:
        return len(self.age)


class Engine:
    """SwinFace on one device. Raises ModelError if the weights or the device are not usable: there is no fallback."""

    def __init__(
        self, weights: str, device: str = "cpu", precision: Literal["fp32"] = "fp32", threads: int | None = None
    ) -> None:
        self._device = usable_device(device)
        self.device = str(self._device)
        self.precision = precision
        if threads is not None:
            torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False  # else convolutions on a GPU are not fp32, by torch's default
        model, self.model_id = load(weights)
        try:
            self._model = model.to(self._device)
            self.analyse(np.zeros((1, *CROP_SHAPE), np.uint8))  # libraries and kernels load now, not in the first batch
        except (InferenceError, RuntimeError) as error:
            raise ModelError(f"SwinFace cannot run on {device}: {error}") from error

    def analyse(self, crops: Bytes) -> Analyses:
        """Analyse (n, 112, 112, 3) uint8 RGB aligned crops. Raises InferenceError, ModelError if the device is lost."""
        with self._inference(len(crops)):
            found = scores(self._model(self._faces(crops)))
            return Analyses(
                age=_array(found.age),
                expression=_array(found.expression),
                attributes=_array(found.attributes),
                embeddings=_array(found.embedding),
                norms=_array(found.embedding_norm),
            )

    def outputs(self, crops: Bytes) -> dict[str, Floats]:
        """The raw outputs by slug, in the order of labels.OUTPUTS. Raises as `analyse` does."""
        with self._inference(len(crops)):
            return {slug: _array(output) for slug, output in self._model(self._faces(crops)).items()}

    def _faces(self, crops: Bytes) -> Tensor:
        if crops.ndim != 4 or crops.shape[1:] != CROP_SHAPE or len(crops) == 0 or crops.dtype != np.uint8:
            raise ValueError(f"crops are {crops.dtype} {crops.shape}, expected uint8 (n, 112, 112, 3) with n > 0")
        return torch.from_numpy(np.require(crops, requirements=["C", "W"])).to(self._device)

    @contextmanager
    def _inference(self, count: int) -> Iterator[None]:
        """Sort what torch raises into trouble of this batch, trouble of the device, and bugs."""
        try:
            with torch.inference_mode():
                yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise InferenceError(f"not enough memory on {self.device} for {count} crops") from error
        except torch.AcceleratorError as error:
            raise ModelError(f"the device {self.device} has failed: {error}") from error
        except RuntimeError as error:
            if "can't allocate memory" not in str(error):  # how torch says it on the CPU
                raise
            raise InferenceError(f"not enough memory for {count} crops") from error


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


def _array(tensor: Tensor) -> Floats:
    array: Floats = tensor.float().cpu().numpy()
    return array
