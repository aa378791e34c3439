"""Read ONNX files without the package onnx, which running them does not need."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from faceanalytics.errors import ModelError

Array = NDArray[Any]
TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}  # of TensorProto.data_type
# The part of onnx.proto (https://github.com/onnx/onnx) that is read: message -> field -> number, kind
ONNX: dict[str, dict[str, tuple[int, str]]] = {
    "Model": {"graph": (7, "Graph"), "metadata_props": (14, "Entry*")},
    "Entry": {"key": (1, "string"), "value": (2, "string")},
    "Graph": {
        "node": (1, "Node*"),
        "initializer": (5, "Tensor*"),
        "input": (11, "Value*"),
        "output": (12, "Value*"),
    },
    "Value": {"name": (1, "string"), "type": (2, "Type")},
    "Type": {"tensor_type": (1, "TensorType")},
    "TensorType": {"elem_type": (1, "int32"), "shape": (2, "Shape")},
    "Shape": {"dim": (1, "Dimension*")},
    "Dimension": {"dim_value": (1, "int64"), "dim_param": (2, "string")},
    "Node": {
        "input": (1, "string*"),
        "output": (2, "string*"),
        "op_type": (4, "string"),
        "attribute": (5, "Attribute*"),
    },
    "Attribute": {
        "name": (1, "string"),
        "f": (2, "float"),
        "i": (3, "int64"),
        "s": (4, "bytes"),
        "t": (5, "Tensor"),
        "floats": (7, "float*"),
        "ints": (8, "int64*"),
        "type": (20, "int32"),
    },
    "Tensor": {
        "dims": (1, "int64*"),
        "data_type": (2, "int32"),
        "float_data": (4, "float*"),
        "int32_data": (5, "int32*"),
        "int64_data": (7, "int64*"),
        "name": (8, "string"),
        "raw_data": (9, "bytes"),
    },
}
ATTRIBUTES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints"}  # field by Attribute.type


@dataclass(frozen=True, slots=True)
class Node:
    """One operation."""

    kind: str  # such as Conv
    inputs: tuple[str, ...]  # names of values; empty: not given
    outputs: tuple[str, ...]
    attributes: dict[str, Any]  # float, int, str, array, or list of numbers


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A network: its operations in order, and its weights."""

    nodes: tuple[Node, ...]
    weights: dict[str, Array]
    inputs: dict[str, tuple[int | None, ...]]  # shape by name, without the weights; None: any
    outputs: dict[str, tuple[int | None, ...]]
    metadata: dict[str, str]


def read_graph(path: Path) -> Graph:
    """Read an ONNX file. Raises ModelError."""
    model = parse_onnx(path)
    weights = {tensor.name: _weight(tensor, path) for tensor in model.graph.initializer}
    return Graph(
        tuple(_node(node, path) for node in model.graph.node),
        weights,
        {value.name: _shape(value) for value in model.graph.input if value.name not in weights},
        {value.name: _shape(value) for value in model.graph.output},
        {entry.key: entry.value for entry in model.metadata_props},
    )


def parse_onnx(path: Path) -> Any:
    """Parse an ONNX file to a protobuf message with the fields of ONNX. Raises ModelError."""
    model = _message()()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise ModelError(f"{path} is not an ONNX model: {error}") from error
    return model


def numbers_of(tensor: Any) -> Array:
    """Return the numbers of a tensor, (n,); none if they are of a type that is not in TYPES, or in another file."""
    kind = TYPES.get(tensor.data_type)
    if kind is None:
        return np.zeros(0, np.float32)
    if tensor.raw_data:
        return np.frombuffer(tensor.raw_data, kind)
    if kind == "<f2":  # as bits
        return np.array(tensor.int32_data, "<u2").view(kind)
    return np.array(tensor.float_data or tensor.int64_data or tensor.int32_data, kind)


def _weight(tensor: Any, path: Path) -> Array:
    numbers = numbers_of(tensor)
    try:
        return numbers.reshape(tensor.dims)
    except ValueError as error:
        raise ModelError(
            f"{path}: the weights {tensor.name!r} have {numbers.size} numbers for shape {tuple(tensor.dims)}"
        ) from error


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(None if each.dim_param else each.dim_value for each in value.type.tensor_type.shape.dim)


def _node(node: Any, path: Path) -> Node:
    attributes = {each.name: _attribute(each, path) for each in node.attribute}
    return Node(node.op_type, tuple(node.input), tuple(node.output), attributes)


def _attribute(attribute: Any, path: Path) -> Any:
    field = ATTRIBUTES.get(attribute.type)
    if field is None:
        return None
    value: Any = getattr(attribute, field)
    if field == "t":
        return _weight(value, path)
    if field == "s":
        return value.decode()
    return list(value) if field in ("floats", "ints") else value


@cache
def _message() -> Any:
    """Return the class that parses a model."""
    package = "faceanalytics.onnx"
    file = descriptor_pb2.FileDescriptorProto(name="faceanalytics/onnx_part.proto", package=package)
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
