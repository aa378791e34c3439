"""Multiplies 8-bit integers on the CPU: ONNX Runtime has the instructions for it, and numpy does not.

The model of three nodes is written in protobuf's wire format, which is shorter than a dependency on the onnx package.
Field numbers are those of onnx.proto.
"""

import numpy as np
from numpy.typing import NDArray

from streamer.values import Bytes

Int8s = NDArray[np.int8]
Int32s = NDArray[np.int32]

GROUP = 64  # rows whose largest product is found
ZERO = 128  # what stands for 0 in rows of unsigned bytes
LIMIT = 63  # largest query value: CPUs without VNNI add two products in 16 bits, which 2 x 255 x 63 does not overflow

_UINT8, _INT8, _INT32, _INT64 = 2, 3, 6, 7  # TensorProto.DataType
_IR_VERSION, _OPSET = 9, 18


class Int8Product:
    """Multiplies rows by queries, and finds the largest product of each group of rows. Threads may share it."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the callers are the threads
        self._session = onnxruntime.InferenceSession(model(), options, providers=["CPUExecutionProvider"])

    def __call__(self, rows: Bytes, queries: Int8s) -> tuple[Int32s, Int32s]:
        """Return the products (n, m) of rows (n, d) less ZERO with queries (d, m), and their maxima (n / GROUP, m).

        n is a multiple of GROUP, and no value of the queries is beyond LIMIT.
        """
        shape = np.array([-1, GROUP, queries.shape[1]], np.int64)
        products, maxima = self._session.run(None, {"rows": rows, "queries": queries, "shape": shape})
        return products, maxima


def model() -> bytes:
    """Return the ONNX model: MatMulInteger, then Reshape to groups and ReduceMax over each."""
    graph = b"".join(
        (
            _sub(1, _node("MatMulInteger", ("rows", "queries", "zero"), "products")),
            _sub(1, _node("Reshape", ("products", "shape"), "groups")),
            _sub(1, _node("ReduceMax", ("groups", "axes"), "maxima") + _sub(5, _zero_attribute("keepdims"))),
            _text(2, "int8_product"),
            _sub(5, _tensor("zero", _UINT8, bytes([ZERO]))),
            _sub(5, _int(1, 1) + _tensor("axes", _INT64, (1).to_bytes(8, "little"))),
            *(_sub(11, _value(name, kind, 2)) for name, kind in (("rows", _UINT8), ("queries", _INT8))),
            _sub(11, _value("shape", _INT64, 1)),
            *(_sub(12, _value(name, _INT32, 2)) for name in ("products", "maxima")),
        )
    )
    return _int(1, _IR_VERSION) + _sub(7, graph) + _sub(8, _int(2, _OPSET))


def _node(operator: str, inputs: tuple[str, ...], output: str) -> bytes:
    return b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, operator)


def _zero_attribute(name: str) -> bytes:
    """Return an attribute with the integer 0."""
    return _text(1, name) + _int(3, 0) + _int(20, 2)


def _tensor(name: str, kind: int, values: bytes) -> bytes:
    return _int(2, kind) + _text(8, name) + _sub(9, values)


def _value(name: str, kind: int, axes: int) -> bytes:
    shape = axes * _sub(1, b"")  # of any length
    return _text(1, name) + _sub(2, _sub(1, _int(1, kind) + _sub(2, shape)))


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _sub(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _sub(field, text.encode())


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
