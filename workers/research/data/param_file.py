"""Load face recognisers from ncnn's format (.param and .bin) into torch, to run them on any device and in batches.

ncnn itself computes one image after the other, on a CPU. Only the layers of such recognisers are known.
Format: ncnn's wiki, param-and-model-file-structure.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray
from torch import Tensor, nn

from faceanalytics.errors import ModelError

MAGIC = "7767517"
HALF = 0x01306B47  # tag of weights in fp16; 0: fp32
MIN_EPS = 1e-12  # torch does not accept 0


@dataclass(frozen=True, slots=True)
class _Layer:
    kind: str
    name: str
    taken: list[str]  # names of its inputs
    given: list[str]  # names of its outputs
    numbers: dict[int, float]  # its settings by ncnn's keys

    def whole(self, key: int, default: int = 0) -> int:
        return int(self.numbers.get(key, default))


class ParamNetwork(nn.Module):
    """Maps images (n, 3, h, w), RGB 0..255, to embeddings (n, width); the network normalises them itself."""

    def __init__(self, path: Path) -> None:
        """Raises ModelError for files that are missing or cut off, and for unknown layers."""
        super().__init__()
        try:
            self._layers = _parsed(path.read_text("ascii"))
            weights = _Weights(np.fromfile(path.with_suffix(".bin"), np.uint8))
            found = {layer.name: _read(layer, weights) for layer in self._layers}
            if weights.left:
                raise ValueError(f"{weights.left} bytes of the .bin belong to no layer")
        except (OSError, ValueError, IndexError) as error:
            raise ModelError(f"cannot use {path} with {path.with_suffix('.bin').name}: {error}") from error
        self._layers = _folded(self._layers, found)
        for layer in self._layers:
            for name, tensor in found[layer.name].items():
                self.register_buffer(_key(layer, name), tensor)

    def forward(self, x: Tensor) -> Tensor:
        found: dict[str, Tensor] = {}
        for layer in self._layers:
            if layer.kind != "Input":
                x = self._computed(layer, [found[name] for name in layer.taken])
            found.update(dict.fromkeys(layer.given, x))
        return x

    def _computed(self, layer: _Layer, inputs: list[Tensor]) -> Tensor:
        x = inputs[0]
        match layer.kind:
            case "Split":
                return x
            case "BinaryOp":
                other = layer.numbers.get(2, 0.0) if layer.whole(1) else inputs[1]
                return (x + other, x - other, x * other)[layer.whole(0)]
            case "Convolution" | "ConvolutionDepthWise":
                edges = (layer.whole(14, layer.whole(4)), layer.whole(4))
                steps = (layer.whole(13, layer.whole(3, 1)), layer.whole(3, 1))
                weight, bias = self._weight(layer, "weight"), self._weight(layer, "bias")
                return F.conv2d(x, _there(weight), bias, steps, edges, groups=layer.whole(7, 1))
            case "BatchNorm":
                slope, mean, variance, bias = (_there(self._weight(layer, name)) for name in BATCH_NORM)
                return F.batch_norm(x, mean, variance, slope, bias, eps=_eps(layer))
            case "PReLU":
                return F.prelu(x, _there(self._weight(layer, "slope")))
        return F.linear(x.flatten(1), _there(self._weight(layer, "weight")), self._weight(layer, "bias"))

    def _weight(self, layer: _Layer, name: str) -> Tensor | None:
        return self._buffers.get(_key(layer, name))


PRODUCTS = ("Convolution", "ConvolutionDepthWise", "InnerProduct")
BATCH_NORM = ("slope", "mean", "variance", "bias")  # in the order of the file


class _Weights:
    """Reads the .bin from its beginning."""

    def __init__(self, content: NDArray[np.uint8]) -> None:
        self._content, self._place = content, 0

    @property
    def left(self) -> int:
        return len(self._content) - self._place

    def plain(self, count: int) -> Tensor:
        """Read fp32 numbers."""
        return torch.from_numpy(self._bytes(4 * count).view(np.float32).copy())

    def tagged(self, count: int) -> Tensor:
        """Read fp32 or fp16 numbers, as the tag before them says."""
        tag = int(self._bytes(4).view(np.uint32)[0])
        if tag == HALF:
            values = self._bytes(-(-2 * count // 4) * 4).view(np.float16)[:count]
            return torch.from_numpy(values.astype(np.float32))
        if tag:
            raise ValueError("its weights are quantised, which is not read here")
        return self.plain(count)

    def _bytes(self, count: int) -> NDArray[np.uint8]:
        if count > self.left:
            raise ValueError("the .bin is too short")
        self._place += count
        return self._content[self._place - count : self._place]


def _parsed(text: str) -> list[_Layer]:
    """Raises ValueError."""
    magic, _, *lines = text.splitlines()
    if magic.strip() != MAGIC:
        raise ValueError("it is no .param file of ncnn")
    layers = []
    for line in filter(None, map(str.strip, lines)):
        kind, name, takes, gives, *rest = line.split()
        names, settings = rest[: int(takes) + int(gives)], rest[int(takes) + int(gives) :]
        numbers = {int(key): float(value) for key, _, value in (setting.partition("=") for setting in settings)}
        layers.append(_Layer(kind, name, names[: int(takes)], names[int(takes) :], numbers))
    return layers


def _read(layer: _Layer, weights: _Weights) -> dict[str, Tensor]:
    """Read the weights of a layer, by name. Raises ValueError."""
    outputs = layer.whole(0)
    match layer.kind:
        case "Input" | "Split":
            return {}
        case "BinaryOp" if outputs <= 2:
            return {}
        case "Convolution" | "ConvolutionDepthWise" if layer.whole(2, 1) == 1:
            width, height = layer.whole(1), layer.whole(11, layer.whole(1))
            found = {"weight": weights.tagged(layer.whole(6)).view(outputs, -1, height, width)}
            return {**found, "bias": weights.plain(outputs)} if layer.whole(5) else found
        case "BatchNorm":
            return {name: weights.plain(outputs) for name in BATCH_NORM}
        case "PReLU":
            return {"slope": weights.plain(outputs)}
        case "InnerProduct":
            found = {"weight": weights.tagged(layer.whole(2)).view(outputs, -1)}
            return {**found, "bias": weights.plain(outputs)} if layer.whole(1) else found
    raise ValueError(f"a layer like {layer.name}, {layer.kind}, is not known here")


def _folded(layers: list[_Layer], weights: dict[str, dict[str, Tensor]]) -> list[_Layer]:
    """Fold each batch norm that directly follows a product into the weights of the product."""
    kept: list[_Layer] = []
    for layer in layers:
        before = kept[-1] if kept else layer
        follows = before.kind in PRODUCTS and layer.kind == "BatchNorm" and before.given == layer.taken
        if not follows:
            kept.append(layer)
            continue
        slope, mean, variance, bias = (weights[layer.name][name] for name in BATCH_NORM)
        factor = slope / (variance + _eps(layer)).sqrt()
        own = weights[before.name]
        own["weight"] = own["weight"] * factor.view(-1, *[1] * (own["weight"].dim() - 1))
        own["bias"] = bias + factor * (own.get("bias", torch.zeros(())) - mean)
        kept[-1] = replace(before, given=layer.given)
    return kept


def _eps(layer: _Layer) -> float:
    return max(layer.numbers.get(1, 0.0), MIN_EPS)


def _key(layer: _Layer, name: str) -> str:
    return f"{layer.name}:{name}".replace(".", "_")


def _there(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise RuntimeError("a layer without its weights")
    return tensor
