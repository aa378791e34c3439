"""Refuse detectors whose weights hold NaN or infinity: they would find nothing, or anything, without an error."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from faceanalytics.errors import ModelError

SHOWN = 5  # tensors in one error message
NUMBERS = {1: "<f4", 10: "<f2", 11: "<f8"}  # of TensorProto.data_type, as raw_data stores them
# The part of onnx.proto (https://github.com/onnx/onnx) that holds weights: message -> field -> number, kind
ONNX: dict[str, dict[str, tuple[int, str]]] = {
    "Model": {"graph": (7, "Graph")},
    "Graph": {"initializer": (5, "Tensor*")},
    "Tensor": {"data_type": (2, "int32"), "float_data": (4, "float*"), "name": (8, "string"), "raw_data": (9, "bytes")},
}


def check_onnx(path: Path) -> None:
    """Raise ModelError if a weight of an ONNX file is NaN or infinity. A single infinite number may be a bound."""
    model = _message()()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise ModelError(f"{path} is not an ONNX model: {error}") from error
    refuse(path, ((tensor.name, _numbers(tensor)) for tensor in model.graph.initializer))


def refuse(path: Path, tensors: Iterable[tuple[str, NDArray[Any]]]) -> None:
    """Raise ModelError that names the tensors with NaN or infinity."""
    spoilt = [name for name, tensor in tensors if _is_spoilt(tensor)]
    if spoilt:
        more = f" and {len(spoilt) - SHOWN} more" if len(spoilt) > SHOWN else ""
        raise ModelError(f"{path} holds NaN or infinity in {', '.join(spoilt[:SHOWN])}{more}")


def _is_spoilt(tensor: NDArray[Any]) -> bool:
    return bool(np.isnan(tensor).any() or (tensor.size > 1 and np.isinf(tensor).any()))


def _numbers(tensor: Any) -> NDArray[Any]:
    """Return the numbers of a floating-point tensor, none of another one."""
    if tensor.raw_data and tensor.data_type in NUMBERS:
        return np.frombuffer(tensor.raw_data, NUMBERS[tensor.data_type])
    return np.array(tensor.float_data, np.float32)


@cache
def _message() -> Any:
    """Return the class that parses a model, without the weight of the package onnx."""
    package = "faceanalytics.onnx"
    file = descriptor_pb2.FileDescriptorProto(name="faceanalytics/onnx_weights.proto", package=package)
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in ONNX.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = described.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            if kind in ONNX:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Model"))
