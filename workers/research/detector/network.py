"""Build the detector's network: an ultralytics pose model with a lighter head."""

from importlib import import_module
from typing import Any

import torch
from torch import nn

from workers.research.detector.config import Network

KEYPOINTS = 5
NAMES = {0: "face"}


def build(network: Network) -> Any:
    """Build an untrained ultralytics PoseModel: one class, kpt_shape [5, 3], levels of stride 8, 16 and 32.

    The structure is YOLOv8's, of plain convolutions. Boxes are regressed without bins (reg_max 1, as in YOLO26), and
    each branch of the head has its own width, as landmarks need more channels than boxes. All layers come from
    ultralytics, so its tools can load, export and fine-tune the model.
    """
    from streamer.detect.offline import import_ultralytics

    import_ultralytics()
    conv: Any = import_module("ultralytics.nn.modules").Conv
    pose: Any = import_module("ultralytics.nn.tasks").PoseModel
    usual = conv.default_act
    conv.default_act = nn.ReLU()  # onnxruntime fuses it into the convolution; SiLU costs extra time
    try:
        model = pose(_layers(network), ch=3, nc=1, data_kpt_shape=(KEYPOINTS, 3), verbose=False)
        _lighten(model.model[-1], network, conv)
    finally:
        conv.default_act = usual
    model.names = NAMES
    return model


def _lighten(head: Any, network: Network, conv: Any) -> None:
    """Replace the branches of ultralytics' head by narrower ones."""
    for level in range(head.nl):
        width = head.cv2[level][0].conv.in_channels
        box, score, points = network.box_channels, network.score_channels, network.landmark_channels
        head.cv2[level] = nn.Sequential(conv(width, box, 3), nn.Conv2d(box, 4, 1))
        head.cv3[level] = nn.Sequential(conv(width, score, 3), nn.Conv2d(score, 1, 1))
        head.cv4[level] = nn.Sequential(
            conv(width, points, 3), conv(points, points, 3), nn.Conv2d(points, KEYPOINTS * 3, 1)
        )
    head.bias_init()


def _layers(network: Network) -> dict[str, Any]:
    """Return the model in the form of ultralytics' YAML: [from, repeats, module, arguments]."""
    first, second, third, fourth, fifth = network.channels
    two, three, four, five = network.depths
    up = ["nn.Upsample", ["None", 2, "nearest"]]
    return {
        "nc": 1,
        "kpt_shape": [KEYPOINTS, 3],
        "reg_max": 1,
        "end2end": False,
        "depth_multiple": 1.0,
        "width_multiple": 1.0,
        "backbone": [
            [-1, 1, "Conv", [first, 3, 2]],
            [-1, 1, "Conv", [second, 3, 2]],
            [-1, two, "C3", [second]],
            [-1, 1, "Conv", [third, 3, 2]],
            [-1, three, "C3", [third]],  # 4: stride 8
            [-1, 1, "Conv", [fourth, 3, 2]],
            [-1, four, "C3", [fourth]],  # 6: stride 16
            [-1, 1, "Conv", [fifth, 3, 2]],
            [-1, five, "C3", [fifth]],
            [-1, 1, "SPPF", [fifth, 5]],  # 9: stride 32
        ],
        "head": [
            [-1, 1, *up],
            [[-1, 6], 1, "Concat", [1]],
            [-1, 1, "C3", [fourth, False]],  # 12
            [-1, 1, *up],
            [[-1, 4], 1, "Concat", [1]],
            [-1, 1, "C3", [third, False]],  # 15: stride 8
            [-1, 1, "Conv", [third, 3, 2]],
            [[-1, 12], 1, "Concat", [1]],
            [-1, 1, "C3", [fourth, False]],  # 18: stride 16
            [-1, 1, "Conv", [fourth, 3, 2]],
            [[-1, 9], 1, "Concat", [1]],
            [-1, 1, "C3", [fifth, False]],  # 21: stride 32
            [[15, 18, 21], 1, "Pose", ["nc", "kpt_shape"]],
        ],
    }


def parameters(model: nn.Module) -> int:
    """Count the parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


class LandmarkLoss(nn.Module):
    """Logarithm of the landmarks' distance relative to the size of the box, a smooth Wing loss.

    Unlike that of ultralytics' 1 - OKS, its gradient still pulls distant landmarks, and near ones as a distance does.
    """

    SOFT = 0.05  # share of the side at which the gradient has halved

    def forward(
        self, found: torch.Tensor, wanted: torch.Tensor, seen: torch.Tensor, area: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean loss over the landmarks inside the image.

        `found`, `wanted`: (n, 5, 2 or 3) x y; `seen`: (n, 5) nonzero inside the image; `area`: (n, 1) of the box; in
        cells of the level.
        """
        gap = (found[..., :2] - wanted[..., :2]).square().sum(-1).add(1e-6).sqrt() / area.sqrt()
        result: torch.Tensor = (torch.log1p(gap / self.SOFT) * seen).sum() / seen.sum().clamp(min=1)
        return result
