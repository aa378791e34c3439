"""The public mini-XCEPTION for FER2013 (arXiv 1710.07557), read from its Keras file, as a teacher of expressions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray
from torch import Tensor

from workers.data.face_set import Bytes
from workers.data.words import classes
from workers.errors import ModelError

SIDE = 64  # px
CLASSES = classes("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # ours, by its number


def mini_xception(path: Path) -> Callable[[Bytes], NDArray[np.float32]]:
    """A function from uint8 (n, h, w, 3) RGB to probabilities (n, 7) in SwinFace's order. Raises ModelError.

    Only layers that this network has are known; any other Keras file is refused.
    """
    try:
        import h5py
    except ImportError as error:
        raise ModelError("h5py is not installed, which .hdf5 files need: pip install h5py") from error
    try:
        with h5py.File(path) as file:
            layers = json.loads(file.attrs["model_config"])["config"]["layers"]
            weights = {layer["config"]["name"]: _tensors(file["model_weights"], layer) for layer in layers}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path} is no Keras file of mini-XCEPTION: {error}") from error

    def scores(faces: Bytes) -> NDArray[np.float32]:
        grey = [cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (SIDE, SIDE)) for face in faces]
        given: dict[str, Tensor] = {}
        x = torch.from_numpy(np.stack(grey)).float()[:, None] / 127.5 - 1
        with torch.inference_mode():
            for layer in layers:
                name = layer["config"]["name"]
                inputs = [given[node[0]] for nodes in layer["inbound_nodes"] for node in nodes] or [x]
                given[name] = x = _layer(layer, weights[name], inputs)
        ours = np.empty(x.shape, np.float32)
        ours[:, [CLASSES[number] for number in range(len(CLASSES))]] = x.numpy()
        return ours

    if scores(np.zeros((1, SIDE, SIDE, 3), np.uint8)).shape != (1, len(CLASSES)):
        raise ModelError(f"{path} does not tell {len(CLASSES)} expressions apart")
    return scores


def _tensors(group: Any, layer: dict[str, Any]) -> dict[str, Tensor]:
    """A layer's weights by the last part of their names, such as `gamma`."""
    inner = group[layer["config"]["name"]]
    return {
        str(name).rsplit("/", 1)[-1].split(":")[0]: torch.from_numpy(np.array(inner[name]))
        for name in inner.attrs["weight_names"].astype(str)
    }


def _layer(layer: dict[str, Any], weights: dict[str, Tensor], inputs: list[Tensor]) -> Tensor:
    kind, config, x = layer["class_name"], layer["config"], inputs[0]
    stride = config.get("strides", [1])[0]
    match kind:
        case "InputLayer":
            return x
        case "Conv2D":
            kernel = weights["kernel"].permute(3, 2, 0, 1)
            return F.conv2d(_padded(x, kernel.shape[2], stride, config, 0.0), kernel, weights.get("bias"), stride)
        case "SeparableConv2D":
            depthwise = weights["depthwise_kernel"].permute(2, 3, 0, 1)
            x = F.conv2d(
                _padded(x, depthwise.shape[2], stride, config, 0.0), depthwise, None, stride, groups=x.shape[1]
            )
            return F.conv2d(x, weights["pointwise_kernel"].permute(3, 2, 0, 1))
        case "BatchNormalization":
            mean, variance, gamma, beta = (
                weights[name] for name in ("moving_mean", "moving_variance", "gamma", "beta")
            )
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


def _padded(x: Tensor, size: int, stride: int, config: dict[str, Any], value: float) -> Tensor:
    """TensorFlow's padding `same`: one more below and on the right where it cannot be even."""
    if config["padding"] != "same":
        return x
    edges = []
    for length in (x.shape[3], x.shape[2]):
        more = max((-(-length // stride) - 1) * stride + size - length, 0)
        edges += [more // 2, more - more // 2]
    return F.pad(x, edges, value=value)
