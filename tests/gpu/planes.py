"""Frames that stay where they were decoded: their planes as torch tensors, scaled pictures and crops of them."""

from functools import cache
from math import ceil, hypot
from typing import NamedTuple

import av
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from streamer.detect.torch_pose import _Sampler
from streamer.select.align import similarity
from streamer.values import CROP_SIZE, Floats

BT709 = 1  # of AVFrame.colorspace
FULL = 2  # of AVFrame.color_range
LEAST_SCALE = 0.5  # below it several pixels are averaged


class Planes(NamedTuple):
    """A frame of NV12 on a device."""

    y: Tensor  # (h, w) uint8
    uv: Tensor  # (h / 2, w / 2, 2) uint8
    colours: Tensor  # (3, 4) from Y U V 1 to R G B, 0..255

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height."""
        return self.y.shape[1], self.y.shape[0]


def planes_of(frame: av.VideoFrame, device: torch.device) -> Planes:
    """Copy a decoded frame on its device; on the CPU it becomes NV12 first."""
    colours = _colours(frame.colorspace == BT709, frame.color_range == FULL, device)
    if device.type == "cpu":
        return Planes(*_copies(frame.reformat(format="nv12")), colours)
    decoders = torch.cuda.default_stream(device)
    with torch.cuda.stream(decoders):  # after the decoder's own work
        y, uv = _copies(frame)
    decoders.synchronize()  # the decoder may overwrite the frame from now on
    return Planes(y, uv, colours)


def _copies(frame: av.VideoFrame) -> tuple[Tensor, Tensor]:
    y, uv = (torch.from_dlpack(plane.__dlpack__()).clone() for plane in frame.planes)  # type: ignore[attr-defined]
    return y, uv


@cache
def _colours(bt709: bool, full: bool, device: torch.device) -> Tensor:
    red, blue = (0.2126, 0.0722) if bt709 else (0.299, 0.114)  # else BT.601, as swscale has it
    black, white, span = (0, 255, 255) if full else (16, 219, 224)
    gain, chroma = 255 / white, 255 / span
    v_red, u_blue = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
    green = 1 - red - blue
    u_green, v_green = -u_blue * blue / green, -v_red * red / green
    rows = [[gain, 0, v_red], [gain, u_green, v_green], [gain, u_blue, 0]]
    return torch.tensor([[*row, -row[0] * black - 128 * (row[1] + row[2])] for row in rows], device=device)


class PlaneScaler:
    """Scales frames of one size as `letterboxed` does, without making a picture of their full size."""

    def __init__(self, size: tuple[int, int], inner: tuple[int, int], device: torch.device) -> None:
        self._luma = _Sampler(size, inner, device)
        self._chroma = _Sampler((size[0] // 2, size[1] // 2), inner, device)

    def __call__(self, frames: list[Planes]) -> Tensor:
        """Return (n, 3, h, w) RGB 0..1."""
        y = self._luma(torch.stack([frame.y for frame in frames])[..., None])
        uv = self._chroma(torch.stack([frame.uv for frame in frames]))
        return _rgb(torch.cat([y, uv], 1).float(), torch.stack([frame.colours for frame in frames])) / 255


def crops_of(frame: Planes, landmarks: Floats) -> Tensor:
    """Return the faces at landmarks (n, 5, 2) as `align` cuts them: (n, 112, 112, 3) uint8 RGB, on the device."""
    matrices = [similarity(points) for points in landmarks]
    factors = [max(1, ceil(LEAST_SCALE / hypot(matrix[0, 0], matrix[1, 0]))) for matrix in matrices]
    crops = torch.zeros((len(matrices), CROP_SIZE, CROP_SIZE, 3), dtype=torch.uint8, device=frame.y.device)
    for factor in sorted(set(factors)):
        rows = [row for row, each in enumerate(factors) if each == factor]
        back = np.stack([np.linalg.inv(np.vstack([matrices[row], [0, 0, 1]]))[:2] for row in rows])
        crops[rows] = _sampled(frame, torch.from_numpy(back).float().to(frame.y.device), factor)
    return crops


def _sampled(frame: Planes, back: Tensor, factor: int) -> Tensor:
    """Return crops (m, 112, 112, 3) by matrices (m, 2, 3) from crop to frame; the mean of factor^2 samples a pixel."""
    steps = (torch.arange(CROP_SIZE * factor, device=back.device) + 0.5) / factor - 0.5
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    places = torch.stack([columns, rows, torch.ones_like(rows)], -1)  # (side, side, 3)
    size = torch.tensor(frame.size, device=back.device)
    grid = (2 * torch.einsum("mrc,yxc->myxr", back, places) + 1) / size - 1
    planes = (frame.y[None], frame.uv.permute(2, 0, 1))
    sampled = [
        F.grid_sample(plane.float().expand(len(back), -1, -1, -1), grid, padding_mode="border", align_corners=False)
        for plane in planes
    ]
    inside = (grid.abs() <= 1).all(-1)[:, None]
    colours = frame.colours.expand(len(back), -1, -1)
    picture = F.avg_pool2d(_rgb(torch.cat(sampled, 1), colours) * inside, factor)
    return picture.round().to(torch.uint8).permute(0, 2, 3, 1)


def _rgb(yuv: Tensor, colours: Tensor) -> Tensor:
    """Return (n, 3, h, w) of 0..255 from YUV, by matrices (n, 3, 4)."""
    found = torch.einsum("nrc,nchw->nrhw", colours[:, :, :3], yuv) + colours[:, :, 3, None, None]
    return found.clamp(0, 255)
