"""Load the public mini-XCEPTION for FER2013 (arXiv 1710.07557) from its Keras file, as a teacher of expressions."""

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from faceanalytics.errors import ModelError
from workers.research.data.label_names import classes

SIDE = 64  # px
# our class, by the number of the network's class
CLASSES = classes("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
LUMA = (0.299, 0.587, 0.114)  # of R, G, B


class MiniXception(nn.Module):
    """Maps images (n, 3, h, w), RGB 0..255, to probabilities (n, 7) in the order of SwinFace."""

    def __init__(self, path: Path) -> None:
        """Raises ModelError for any other Keras file: only the layers of this network are known."""
        super().__init__()
        try:
            import h5py
        except ImportError as error:
            raise ModelError("h5py is not installed, which .hdf5 files need: pip install h5py") from error
        try:
            with h5py.File(path) as file:
                self._layers: list[dict[str, Any]] = json.loads(file.attrs["model_config"])["config"]["layers"]
                for layer in self._layers:
                    for name, tensor in _tensors(file["model_weights"], layer).items():
                        self.register_buffer(_key(layer, name), tensor)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise ModelError(f"{path} is no Keras file of mini-XCEPTION: {error}") from error
        self._luma: Tensor
        self.register_buffer("_luma", torch.tensor(LUMA).view(1, 3, 1, 1))
        self._order = sorted(CLASSES, key=lambda number: CLASSES[number])  # its class for each of ours
        if self(torch.zeros(1, 3, SIDE, SIDE)).shape != (1, len(CLASSES)):
            raise ModelError(f"{path} does not tell {len(CLASSES)} expressions apart")

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate((x * self._luma).sum(1, keepdim=True), (SIDE, SIDE), mode="bilinear") / 127.5 - 1
        given: dict[str, Tensor] = {}
        for layer in self._layers:
            inputs = [given[node[0]] for nodes in layer["inbound_nodes"] for node in nodes] or [x]
            given[layer["config"]["name"]] = x = self._computed(layer, inputs)
        return x[:, self._order]

    def _computed(self, layer: dict[str, Any], inputs: list[Tensor]) -> Tensor:
        kind, config, x = layer["class_name"], layer["config"], inputs[0]
        stride = config.get("strides", [1])[0]
        match kind:
            case "InputLayer":
                return x
            case "Conv2D":
                kernel = self._weight(layer, "kernel").permute(3, 2, 0, 1)
                bias = self._buffers.get(_key(layer, "bias"))
                return F.conv2d(_padded(x, kernel.shape[2], stride, config, 0.0), kernel, bias, stride)
            case "SeparableConv2D":
                kernel = self._weight(layer, "depthwise_kernel").permute(2, 3, 0, 1)
                padded = _padded(x, kernel.shape[2], stride, config, 0.0)
                x = F.conv2d(padded, kernel, None, stride, groups=x.shape[1])
                return F.conv2d(x, self._weight(layer, "pointwise_kernel").permute(3, 2, 0, 1))
            case "BatchNormalization":
                names = ("moving_mean", "moving_variance", "gamma", "beta")
                mean, variance, gamma, beta = (self._weight(layer, name) for name in names)
                return F.batch_norm(x, mean, variance, gamma, beta, eps=config["epsilon"])
            case "MaxPooling2D":
                size = config["pool_size"][0]
                return F.max_pool2d(_padded(x, size, stride, config, float("-inf")), size, stride)
            case "Add":
                return inputs[0] + inputs[1]
            case "GlobalAveragePooling2D":
                return x.mean((2, 3))
            case "Activation":
                return F.relu(x) if config["activation"] == "relu" else x.softmax(1)
        raise ModelError(f"mini-XCEPTION has no layer {kind}")

    def _weight(self, layer: dict[str, Any], name: str) -> Tensor:
        tensor = self._buffers[_key(layer, name)]
        if tensor is None:
            raise RuntimeError("a layer without its weights")
        return tensor


def _key(layer: dict[str, Any], name: str) -> str:
    return f"{layer['config']['name']}:{name}".replace(".", "_")


def _tensors(group: Any, layer: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a layer by the last part of their names, such as `gamma`."""
    inner = group[layer["config"]["name"]]
    return {
        str(name).rsplit("/", 1)[-1].split(":")[0]: torch.tensor(inner[name][()])
        for name in inner.attrs["weight_names"].astype(str)
    }


def _padded(x: Tensor, size: int, stride: int, config: dict[str, Any], value: float) -> Tensor:
    """Pad as TensorFlow's `same`: an odd remainder goes below and to the right."""
    if config["padding"] != "same":
        return x
    edges = []
    for length in (x.shape[3], x.shape[2]):
        more = max((-(-length // stride) - 1) * stride + size - length, 0)
        edges += [more // 2, more - more // 2]
    return F.pad(x, edges, value=value)
