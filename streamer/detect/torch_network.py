"""Run the network of an ONNX file with torch, for one size of its input: on a GPU, where onnxruntime has no CUDA.

What depends on sizes only is computed once. The operations are those of ultralytics' detectors.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from faceanalytics.errors import ModelError
from streamer.detect.onnx_file import TYPES, Graph, Node

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Operation = Callable[..., "Tensor | tuple[Tensor, ...]"]  # attributes, then the operands
# operands that say how and not what: they stay on the CPU, where they can be read
STATIC: dict[str, tuple[int, ...]] = {
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "Unsqueeze": (1,),
    "Squeeze": (1,),
    "Expand": (1,),
    "Resize": (1, 2, 3),
    "Split": (1,),
    "Gather": (1,),
}


class _Step(NamedTuple):
    operation: Operation
    attributes: dict[str, Any]
    operands: tuple[Any, ...]  # names of values, tensors, or None
    results: tuple[str, ...]
    last: tuple[str, ...]  # names of values that no later step needs


class TorchNetwork:
    """A network with one input of images and one output. Raises ModelError if it has another operation."""

    def __init__(self, graph: Graph, shape: Sequence[int], device: "torch.device", dtype: "torch.dtype") -> None:
        """`shape`: (n, 3, h, w) of the input. `dtype`: of the convolutions, whose outputs are not converted back."""
        (self._input,), (self._output,) = graph.inputs, graph.outputs
        self._steps = _steps(graph, shape, device, dtype)

    def __call__(self, images: "Tensor") -> "Tensor":
        """Compute the output of images of the stated shape on the stated device."""
        values: dict[str, Any] = {self._input: images}
        for step in self._steps:
            operands = [values[each] if isinstance(each, str) else each for each in step.operands]
            found = step.operation(step.attributes, *operands)
            values.update(zip(step.results, found if isinstance(found, tuple) else (found,), strict=False))
            for name in step.last:
                del values[name]
        output: Tensor = values[self._output]
        return output


def _steps(graph: Graph, shape: Sequence[int], device: "torch.device", dtype: "torch.dtype") -> list[_Step]:
    """Return the operations that depend on the content of the images; all else is computed here, and on sizes only."""
    import torch

    (name,), (output,) = graph.inputs, graph.outputs
    operations = _operations()
    values: dict[str, Any] = {key: torch.from_numpy(np.array(array)) for key, array in graph.weights.items()}
    values[name] = torch.empty(tuple(shape), device="meta")  # a size without content
    steps: list[_Step] = []
    placed: dict[str, Tensor] = {}
    for node in graph.nodes:
        operation = operations.get(node.kind)
        if operation is None:
            raise ModelError(f"the operation {node.kind} is not supported on a GPU without onnxruntime-gpu")
        operands = [values[each] if each else None for each in node.inputs]
        live = any(each is not None and each.is_meta for each in operands) and node.kind != "Shape"
        static = STATIC.get(node.kind, ())
        if live:
            places = zip(node.inputs, operands, strict=True)
            bound = [
                each if value is not None and value.is_meta
                else value if index in static or value is None
                else placed.setdefault(each, _placed(node, index, value, device, dtype))
                for index, (each, value) in enumerate(places)
            ]  # fmt: skip
            steps.append(_Step(operation, node.attributes, tuple(bound), node.outputs, ()))
            operands = [
                each if each is None or index in static else each.to("meta") for index, each in enumerate(operands)
            ]
        found = operation(node.attributes, *operands)
        values.update(zip(node.outputs, found if isinstance(found, tuple) else (found,), strict=False))
    return _with_last_uses(steps, output)


def _placed(node: Node, index: int, value: "Tensor", device: "torch.device", dtype: "torch.dtype") -> "Tensor":
    import torch

    if node.kind != "Conv":
        return value.to(device)
    if index == 1:
        return value.to(device, dtype).contiguous(memory_format=torch.channels_last)
    return value.to(device, dtype)


def _with_last_uses(steps: list[_Step], output: str) -> list[_Step]:
    seen, finished = {output}, []
    for step in reversed(steps):
        names = {each for each in step.operands if isinstance(each, str)} | set(step.results)
        finished.append(step._replace(last=tuple(sorted(names - seen))))
        seen |= names
    return finished[::-1]


def _operations() -> dict[str, Operation]:
    """Return how torch computes each operation of ONNX."""
    import torch
    import torch.nn.functional as F  # noqa: N812 - its usual name

    kinds = {number: torch.from_numpy(np.zeros(1, kind)).dtype for number, kind in TYPES.items()}

    def pads(a: dict[str, Any]) -> list[int]:
        top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
        if (top, left) != (bottom, right):
            raise ModelError("padding that differs from side to side is not supported on a GPU")
        return [top, left]

    def conv(a: dict[str, Any], x: "Tensor", weight: "Tensor", bias: "Tensor | None" = None) -> "Tensor":
        x = x.to(weight.dtype)
        return F.conv2d(x, weight, bias, a.get("strides", 1), pads(a), a.get("dilations", 1), a.get("group", 1))

    def resize(a: dict[str, Any], x: "Tensor", *how: "Tensor | None") -> "Tensor":
        scales = how[1].tolist() if len(how) > 1 and how[1] is not None and how[1].numel() else None
        if a["mode"] != "nearest" or scales is None or scales[:2] != [1, 1] or any(each % 1 for each in scales):
            raise ModelError("a Resize other than the repetition of pixels is not supported on a GPU")
        return F.interpolate(x, scale_factor=scales[2:], mode="nearest")

    def cut(_: dict[str, Any], x: "Tensor", starts: "Tensor", ends: "Tensor", *rest: "Tensor") -> "Tensor":
        axes = rest[0].tolist() if rest else range(len(starts))
        steps = rest[1].tolist() if len(rest) > 1 else [1] * len(starts)
        for axis, start, end, step in zip(axes, starts.tolist(), ends.tolist(), steps, strict=True):
            where = [slice(None)] * x.dim()
            where[axis] = slice(start, end, step)
            x = x[tuple(where)]
        return x

    def reshape(_: dict[str, Any], x: "Tensor", shape: "Tensor") -> "Tensor":
        return x.reshape([x.shape[place] if side == 0 else side for place, side in enumerate(shape.tolist())])

    def gather(a: dict[str, Any], x: "Tensor", indices: "Tensor") -> "Tensor":
        axis = a.get("axis", 0)
        if indices.dim() == 0:
            return x.select(axis, int(indices))
        return x.index_select(axis, indices.to(x.device))

    def split(a: dict[str, Any], x: "Tensor", sizes: "Tensor | None" = None) -> "tuple[Tensor, ...]":
        given = a.get("split") if sizes is None else sizes.tolist()
        if given is None:
            raise ModelError("a Split without sizes is not supported on a GPU")
        parts: tuple[Tensor, ...] = torch.split(x, given, a.get("axis", 0))
        return parts

    def divide(_: dict[str, Any], x: "Tensor", y: "Tensor") -> "Tensor":
        whole = not x.is_floating_point() and not y.is_floating_point()
        return torch.div(x, y, rounding_mode="trunc" if whole else None)

    def unsqueeze(_: dict[str, Any], x: "Tensor", axes: "Tensor") -> "Tensor":
        for axis in sorted(axes.tolist()) if min(axes.tolist()) >= 0 else axes.tolist():
            x = x.unsqueeze(axis)
        return x

    def mean(a: dict[str, Any], x: "Tensor") -> "Tensor":
        whole = bool(a.get("count_include_pad"))
        return F.avg_pool2d(x, a["kernel_shape"], a.get("strides", 1), pads(a), count_include_pad=whole)

    def pool(a: dict[str, Any], x: "Tensor") -> "Tensor":
        return F.max_pool2d(x, a["kernel_shape"], a.get("strides", 1), pads(a), ceil_mode=bool(a.get("ceil_mode")))

    return {
        "Add": lambda _, x, y: x + y,
        "AveragePool": mean,
        "Cast": lambda a, x: x.to(kinds[a["to"]]),
        "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
        "Constant": lambda a: torch.from_numpy(np.array(a["value"])),
        "ConstantOfShape": lambda a, shape: torch.from_numpy(np.full(shape.tolist(), a["value"][0])),
        "Conv": conv,
        "Div": divide,
        "Expand": lambda _, x, shape: x.expand(shape.tolist()),
        "Gather": gather,
        "Identity": lambda _, x: x,
        "MatMul": lambda _, x, y: x @ y,
        "MaxPool": pool,
        "Mul": lambda _, x, y: x * y,
        "Range": lambda _, start, end, step: torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype),
        "Relu": lambda _, x: x.relu(),
        "Reshape": reshape,
        "Resize": resize,
        "Shape": lambda _, x: torch.tensor(x.shape, dtype=torch.int64),
        "Sigmoid": lambda _, x: x.sigmoid(),
        "Slice": cut,
        "Softmax": lambda a, x: x.softmax(a.get("axis", -1)),
        "Split": split,
        "Squeeze": lambda _, x, axes: x.squeeze(tuple(axes.tolist())),
        "Sub": lambda _, x, y: x - y,
        "Transpose": lambda a, x: x.permute(a["perm"]),
        "Unsqueeze": unsqueeze,
    }
