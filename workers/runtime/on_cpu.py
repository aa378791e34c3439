"""Run SwinFace on a CPU as an OpenVINO graph with as few multiplications as possible.

It computes the same numbers as workers/swinface/model.py up to rounding. Constant factors are folded into the weights:
the normalisation of pixels, the affine part of each layer norm and batch norm, the scale of attention. Convolutions
use Winograd's algorithm. The letters in the shapes are those of model.py.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import ModelError
from workers.runtime import winograd
from workers.runtime.offline import openvino, ops
from workers.swinface.model import PatchMerging, Stage, SwinBlock, SwinFace, window_order

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Outputs = dict[str, Floats]
Node = Any  # node of the graph
MAX_INPUTS = 384  # inputs of a layer followed by GELU that are summed at once, see _summed
NAMES = {"bf16": "BF16", "fp16": "FP16"}  # OpenVINO's names among the capabilities of a CPU
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}  # OpenVINO's names as inference precision


def computes_in(precision: str) -> bool:
    """Return whether this CPU has arithmetic in this precision."""
    capabilities: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return precision == "fp32" or NAMES[precision] in capabilities


class CpuNetwork:
    """The compiled network."""

    def __init__(self, model: SwinFace, precision: str, threads: int | None) -> None:
        """Compile the network. Raises ModelError if this CPU does not compute in this precision."""
        if not computes_in(precision):
            raise ModelError(f"this CPU does not compute in {precision}: use precision fp32 or a GPU")
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "ENABLE_CPU_PINNING": False,  # pinned, several workers, or a worker and a streamer, share the same cores
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        self._tasks = [[task for task in model.tasks if task.subnet == subnet] for subnet in model.subnets]
        self._slugs = [task.slug for task in model.tasks] + ["recognition"] * model.recognises
        self._compiled = openvino.Core().compile_model(_Graph(model).model(), "CPU", options)

    def start(self, faces: NDArray[np.uint8]) -> Callable[[], Outputs]:
        """Start computing (n, 112, 112, 3) uint8 RGB; the returned function waits for the raw outputs by slug."""
        request = self._compiled.create_infer_request()
        request.start_async({0: faces})

        def finish() -> Outputs:
            request.wait()
            tensors = [request.get_output_tensor(index) for index in range(len(self._compiled.outputs))]
            return self._by_slug([tensor.data[: len(faces)].copy() for tensor in tensors])  # drop the rows of _twice

        return finish

    def _by_slug(self, results: Sequence[Floats]) -> Outputs:
        """Split the results of the graph, one per subnet and then the embedding, into outputs by slug."""
        outputs = {"recognition": results[-1]}
        for tasks, columns in zip(self._tasks, results, strict=False):
            ends = np.cumsum([task.width for task in tasks])
            outputs |= {task.slug: columns[:, end - task.width : end] for task, end in zip(tasks, ends, strict=True)}
        return {slug: outputs[slug] for slug in self._slugs}


class _Graph:
    """Builds the graph. Its methods take and return nodes; comments give their shapes."""

    def __init__(self, network: SwinFace) -> None:
        self._network = network
        self._config = network.config
        self._state = network.state_dict()

    def model(self) -> Any:
        size = self._config.image_size
        faces = ops.parameter([-1, size, size, 3], np.uint8, name="faces")
        levels, embedding = self._backbone(faces)
        outputs = self._analyse(levels) if self._network.tasks else []
        if self._network.recognises:
            outputs.append(embedding)
        return openvino.Model(outputs, [faces], "SwinFace")

    def _backbone(self, faces: Node) -> tuple[list[Node], Node]:
        levels = []
        x = self._patch_embed(faces)  # (B, 3136, 96)
        for index, stage in enumerate(cast("list[Stage]", list(self._network.backbone.layers))):
            name = f"backbone.layers.{index}"
            for number, block in enumerate(cast("list[SwinBlock]", list(stage.blocks))):
                x = self._block(x, block, f"{name}.blocks.{number}")
            if isinstance(stage.downsample, PatchMerging):
                x = self._gather(x, stage.downsample.order.numpy())
                x = self._reshape(x, [0, -1, 4 * self._config.channels[index]])
                weight, bias = self._after_norm(f"{name}.downsample.norm", f"{name}.downsample.reduction")
                x = self._linear(_normalise(x), weight, bias)  # (B, tokens, C)
            levels.append(x)
        return levels, self._embedding(x)

    def _patch_embed(self, faces: Node) -> Node:
        """Patches are 2x2 pixels of 3 channels: a linear layer on 12 values that includes pixel normalisation."""
        patch, size = self._config.patch_size, self._config.image_size
        side = size // patch
        pixels = np.arange(size * size).reshape(side, patch, side, patch).transpose(0, 2, 1, 3).reshape(side**2, -1)
        order = pixels[window_order(side, self._config.window, 0).numpy()].ravel()
        x = self._gather(self._reshape(faces, [0, size * size, 3]), order)
        x = ops.convert(self._reshape(x, [0, side * side, 3 * patch**2]), np.float32)  # (B, 3136, 12)
        weight = self._weight("backbone.patch_embed.proj.weight").transpose(0, 2, 3, 1).reshape(-1, 3 * patch**2)
        bias = self._weight("backbone.patch_embed.proj.bias") - weight.sum(1)
        x = _normalise(self._linear(x, weight * 2 / 255, bias))
        scale, shift = (self._weight(f"backbone.patch_embed.norm.{part}") for part in ("weight", "bias"))
        return ops.add(ops.multiply(x, _constant(scale)), _constant(shift))

    def _block(self, x: Node, block: SwinBlock, name: str) -> Node:
        first = name == "backbone.layers.0.blocks.0"  # the patches already have its order
        if block.order is not None and not first:
            x = self._gather(x, block.order.numpy())
        x = ops.add(x, self._attend(_normalise(x), block, name))
        weight, bias = self._after_norm(f"{name}.norm2", f"{name}.mlp.fc1")
        hidden = ops.gelu(self._summed(_normalise(x), weight, bias), "erf")
        return ops.add(x, self._linear(hidden, *self._pair(f"{name}.mlp.fc2")))

    def _attend(self, x: Node, block: SwinBlock, name: str) -> Node:
        heads, tokens = block.attn.heads, block.attn.tokens
        windows, masked = len(block.mask), bool(block.mask.any())
        weight, bias = self._after_norm(f"{name}.norm1", f"{name}.attn.qkv")
        channels = len(weight) // 3
        scale = (channels // heads) ** -0.5
        factors = np.repeat([scale, 1, 1], channels)
        weight, bias = weight * factors[:, None], bias * factors
        shape = [0, windows, tokens, heads, -1] if masked else [-1, tokens, heads, channels // heads]
        order = [0, 1, 3, 2, 4] if masked else [0, 2, 1, 3]
        q, k, v = (
            ops.transpose(self._reshape(self._linear(x, *part), shape), _constant(order, np.int64))
            for part in zip(np.split(weight, 3), np.split(bias, 3), strict=True)
        )  # (B, N, h, T, C/h), without a mask (B*N, h, T, C/h)
        added = block.attn.bias(block.mask).detach().numpy().reshape(windows, heads, tokens, tokens)
        scores = ops.add(ops.matmul(q, k, False, True), _constant(added if masked else added[0]))
        x = ops.matmul(ops.softmax(scores, -1), v, False, False)
        x = self._reshape(ops.transpose(x, _constant(order, np.int64)), [-1, windows * tokens, channels])
        return self._linear(x, *self._pair(f"{name}.attn.proj"))

    def _embedding(self, x: Node) -> Node:
        x = ops.reduce_mean(_normalise(x), _constant([1], np.int64))  # (B, 768)
        weight, bias = self._after_norm("backbone.norm", "backbone.feature.0")
        scale, shift = self._batch_norm("backbone.feature.1")
        x = self._linear(x, weight * scale[:, None], bias * scale + shift)
        scale, shift = self._batch_norm("backbone.feature.3")
        return self._linear(x, self._weight("backbone.feature.2.weight") * scale[:, None], shift)  # (B, 512)

    def _analyse(self, levels: Sequence[Node]) -> list[Node]:
        """Return the outputs of each subnet, (B, outputs)."""
        maps = [self._convolved(level, index) for index, level in enumerate(levels)]  # (B, 49, S*fused)
        mean = self._side_by_side([_twice(ops.reduce_mean(x, _constant([1], np.int64))) for x in maps])  # (S, B, 512)
        peak = self._side_by_side([_twice(ops.reduce_max(x, _constant([1], np.int64))) for x in maps])
        first, first_bias = self._parallel("fam.gate.0")
        hidden = (
            ops.relu(ops.add(ops.matmul(x, _constant(first), False, True), _constant(first_bias))) for x in (mean, peak)
        )
        second, second_bias = self._parallel("fam.gate.2")
        gate = ops.add(ops.matmul(ops.add(*hidden), _constant(second), False, True), _constant(2 * second_bias))
        x = ops.relu(ops.multiply(ops.sigmoid(gate), peak))  # (S, B, 512)
        scale, shift = (part.reshape(len(first), 1, -1) for part in self._batch_norm("fam.norm"))
        weight, bias = self._parallel("tss.0")
        bias = bias + shift @ weight.transpose(0, 2, 1)
        x = ops.relu(ops.add(ops.matmul(x, _constant(weight * scale), False, True), _constant(bias)))
        weight, bias = self._parallel("tss.3")
        x = ops.relu(ops.add(ops.matmul(x, _constant(weight), False, True), _constant(bias)))
        return [self._heads(x, row, subnet) for row, subnet in enumerate(self._network.subnets)]

    def _convolved(self, level: Node, index: int) -> Node:
        """Pool (B, tokens, C) to 7x7 and apply the convolutions of all subnets: (B, 49, S*fused)."""
        side, window = self._config.image_size // self._config.patch_size // 2 ** (index + 1), self._config.window
        channels = self._config.channels[min(index + 1, len(self._config.channels) - 1)]
        weight = winograd.transform_weights(self._state[f"fam.convs.{index}.weight"].numpy())  # (P, C, O)
        products, tiles = winograd.PRODUCTS, winograd.tiles(window)
        if side > window:
            level = ops.matmul(_constant(pooling(side, window)), level, False, False)  # (B, 49, C)
        x = ops.matmul(_constant(winograd.scatter(window)), level, False, False)  # (B, P*K, C)
        x = ops.transpose(self._reshape(x, [0, products, tiles, channels]), _constant([1, 0, 2, 3], np.int64))
        x = ops.matmul(self._reshape(x, [products, -1, channels]), _constant(weight), False, False)  # (P, B*K, O)
        x = ops.transpose(self._reshape(x, [products, -1, tiles, weight.shape[2]]), _constant([1, 0, 2, 3], np.int64))
        x = self._reshape(x, [-1, products * tiles, weight.shape[2]])
        return ops.matmul(_constant(winograd.gather(window)), x, False, False)

    def _side_by_side(self, levels: Sequence[Node]) -> Node:
        """Concatenate the levels, (B, S*fused) each, to (S, B, 512)."""
        subnets = len(self._network.subnets)
        x = ops.concat(
            [
                self._reshape(level, [-1, subnets, width])
                for level, width in zip(levels, self._config.fused_channels, strict=True)
            ],
            2,
        )
        return ops.transpose(x, _constant([1, 0, 2], np.int64))

    def _heads(self, x: Node, row: int, subnet: int) -> Node:
        slugs = [task.slug for task in self._network.tasks if task.subnet == subnet]
        weight = np.concatenate([self._weight(f"heads.{slug}.weight") for slug in slugs])
        bias = np.concatenate([self._weight(f"heads.{slug}.bias") for slug in slugs])
        features = ops.gather(x, _constant(row, np.int64), _constant(0, np.int64))  # (B, 512)
        return self._linear(features, weight, bias)

    def _linear(self, x: Node, weight: Doubles, bias: Doubles) -> Node:
        return ops.add(ops.matmul(x, _constant(weight), False, True), _constant(bias))

    def _summed(self, x: Node, weight: Doubles, bias: Doubles) -> Node:
        """Sum a linear layer over parts of its inputs: with more, OpenVINO rounds small batches differently."""
        count = -(-weight.shape[1] // MAX_INPUTS)
        if count == 1:
            return self._linear(x, weight, bias)
        pieces = ops.split(x, _constant(2, np.int64), count).outputs()
        first, *others = np.split(weight, count, axis=1)
        total = self._linear(pieces[0], first, bias)
        for piece, part in zip(pieces[1:], others, strict=True):
            total = ops.add(total, ops.matmul(piece, _constant(part), False, True))
        return total

    def _gather(self, x: Node, index: NDArray[np.int64]) -> Node:
        """Return x[:, index]."""
        return ops.gather(x, _constant(index, np.int64), _constant(1, np.int64))

    def _reshape(self, x: Node, shape: Sequence[int]) -> Node:
        return ops.reshape(x, _constant(shape, np.int64), special_zero=True)  # 0 keeps a dimension

    def _weight(self, name: str) -> Doubles:
        weight: Doubles = self._state[name].double().numpy()
        return weight

    def _pair(self, name: str) -> tuple[Doubles, Doubles]:
        return self._weight(f"{name}.weight"), self._weight(f"{name}.bias")

    def _after_norm(self, norm: str, linear: str) -> tuple[Doubles, Doubles]:
        """Return weight and bias of a linear layer with the affine part of the layer norm before it folded in."""
        scale, shift = self._pair(norm)
        weight = self._weight(f"{linear}.weight")
        return weight * scale, weight @ shift + (
            self._weight(f"{linear}.bias") if f"{linear}.bias" in self._state else 0
        )

    def _batch_norm(self, name: str) -> tuple[Doubles, Doubles]:
        """Return batch norm as a factor and an offset."""
        weight, bias = self._pair(name)
        factor = weight / np.sqrt(self._weight(f"{name}.running_var") + self._config.batch_norm_eps)
        return factor, bias - self._weight(f"{name}.running_mean") * factor

    def _parallel(self, name: str) -> tuple[Doubles, Doubles]:
        """Return weights (S, outputs, inputs) and biases (S, 1, outputs) of the linear layers of all subnets."""
        weight, bias = self._pair(name)
        subnets = len(self._network.subnets)
        return weight.reshape(subnets, -1, weight.shape[1]), bias.reshape(subnets, 1, -1)


def pooling(side: int, window: int) -> Doubles:
    """Return the matrix (window*window, side*side) that averages a map, row by row, over squares."""
    along = np.kron(np.eye(window), np.full(side // window, window / side, np.float64))
    both: Doubles = np.kron(along, along)
    return both


def _normalise(x: Node) -> Node:
    """Layer norm without its affine part."""
    return ops.mvn(x, _constant([-1], np.int64), True, 1e-5, "inside_sqrt")


def _twice(x: Node) -> Node:
    """(B, C) -> (2B, C). OpenVINO rounds a single row differently from one of several, so there are always two."""
    return ops.concat([x, x], 0)


def _constant(values: Any, dtype: Any = np.float32) -> Node:
    return ops.constant(np.asarray(values, dtype, order="C"))
