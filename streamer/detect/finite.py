"""Refuse detectors whose weights hold NaN or infinity: they would find nothing, or anything, without an error."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import ModelError
from streamer.detect.onnx_file import numbers_of, parse_onnx

SHOWN = 5  # tensors in one error message
FLOATING = (1, 10, 11)  # of TensorProto.data_type


def check_onnx(path: Path) -> None:
    """Raise ModelError if a weight of an ONNX file is NaN or infinity. A single infinite number may be a bound."""
    tensors = parse_onnx(path).graph.initializer
    refuse(path, ((tensor.name, numbers_of(tensor)) for tensor in tensors if tensor.data_type in FLOATING))


def refuse(path: Path, tensors: Iterable[tuple[str, NDArray[Any]]]) -> None:
    """Raise ModelError that names the tensors with NaN or infinity."""
    spoilt = [name for name, tensor in tensors if _is_spoilt(tensor)]
    if spoilt:
        more = f" and {len(spoilt) - SHOWN} more" if len(spoilt) > SHOWN else ""
        raise ModelError(f"{path} holds NaN or infinity in {', '.join(spoilt[:SHOWN])}{more}")


def _is_spoilt(tensor: NDArray[Any]) -> bool:
    return bool(np.isnan(tensor).any() or (tensor.size > 1 and np.isinf(tensor).any()))
