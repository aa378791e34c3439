"""The roll network: five convolutions and two linear layers, about 100,000 parameters."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from faceanalytics.files import replacing
from streamer.detect.roll import SIDE

CHANNELS = (16, 32, 48, 64)  # of the convolutions that halve the side
HIDDEN = 48


class RollNet(nn.Module):
    """Takes grey crops (n, 1, 64, 64), 0..255; returns directions (n, 2), whose length is the confidence."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for width in CHANNELS:
            layers += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.features = nn.Sequential(*layers)
        side = SIDE // 2 ** len(CHANNELS)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.1), nn.Linear(before * side * side, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2)
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Return the directions."""
        mean = crops.mean((1, 2, 3), keepdim=True)
        centred = crops - mean
        spread = (centred * centred).mean((1, 2, 3), keepdim=True).sqrt()
        found: Tensor = self.head(self.features(centred / (spread + 4)))
        return found


def write_onnx(model: RollNet, path: Path) -> None:
    """Write the network for any number of crops, with its normalisations folded into the convolutions."""
    model = model.cpu().eval()
    layers: list[nn.Module] = []
    for layer in model.features:
        if isinstance(layer, nn.BatchNorm2d):
            last = layers.pop()
            assert isinstance(last, nn.Conv2d)  # by construction
            layers.append(fuse_conv_bn_eval(last, layer))
        else:
            layers.append(layer)
    folded = RollNet().eval()
    folded.features, folded.head = nn.Sequential(*layers), model.head
    with replacing(path) as partial:
        torch.onnx.export(
            folded,
            (torch.zeros(1, 1, SIDE, SIDE),),
            str(partial),
            input_names=["crops"],
            output_names=["directions"],
            dynamic_axes={"crops": {0: "n"}, "directions": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )
