"""SwinFace as the published code computes it: 44 convolutions, one subnet after the other, attention written out.

The oracle of the tests and the baseline of the benchmarks. Modules have the published names, so that a published
checkpoint loads strictly, without any renaming of ours. Written from the network's description, not from our model.
"""

# mypy: disable-error-code=no-any-return

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from tests.support.swinface_files import WIDTHS, Checkpoint

FUSED = (47, 93, 186, 186)  # channels that a subnet makes of each level
LEVELS = (192, 384, 768, 768)
SUBNETS = 11
# subnet and head of each output, in the order of the outputs
OUTPUT_HEADS = (1, 5, 6, 7, 8, 0, 9, 10, 4, 2, *range(11, 42), 3)
HEAD_SUBNETS = (0, 1, 1, 2, 2, *[3] * 6, *[4] * 10, *[5] * 5, *[6] * 2, *[7] * 4, *[8] * 6, *[9] * 2, *[10] * 2)


class Attention(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros(169, heads))
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", torch.zeros(49, 49, dtype=torch.int64))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # (windows, 49, C)
        windows, tokens, channels = x.shape
        with torch.autocast(x.device.type, torch.float16, enabled=x.is_cuda):  # as published
            qkv = self.qkv(x).reshape(windows, tokens, 3, self.heads, 32).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.float().unbind(0)
        scores = (q * 32**-0.5) @ k.transpose(2, 3)  # (windows, heads, 49, 49)
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)].view(tokens, tokens, -1)
        scores = scores + bias.permute(2, 0, 1).contiguous()[None]
        if mask is not None:
            count = len(mask)
            scores = scores.view(-1, count, self.heads, tokens, tokens) + mask[None, :, None]
            scores = scores.view(-1, self.heads, tokens, tokens)
        x = (scores.softmax(-1) @ v).transpose(1, 2).reshape(windows, tokens, channels)
        with torch.autocast(x.device.type, torch.float16, enabled=x.is_cuda):
            return self.proj(x)


class Mlp(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, channels: int, heads: int, side: int, shift: int) -> None:
        super().__init__()
        self.side, self.shift = side, shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)
        self.attn_mask: Tensor | None
        self.register_buffer("attn_mask", torch.zeros((side // 7) ** 2, 49, 49) if shift else None)

    def forward(self, x: Tensor) -> Tensor:  # (B, tokens, C)
        batch, tokens, channels = x.shape
        side, windows = self.side, self.side // 7
        shortcut = x
        x = self.norm1(x).view(batch, side, side, channels)
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        x = x.view(batch, windows, 7, windows, 7, channels).permute(0, 1, 3, 2, 4, 5).reshape(-1, 49, channels)
        x = self.attn(x, self.attn_mask).view(batch, windows, windows, 7, 7, channels)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(batch, side, side, channels)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        x = shortcut + x.reshape(batch, tokens, channels)
        with torch.autocast(x.device.type, torch.float16, enabled=x.is_cuda):
            return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(x.shape[0], self.side, self.side, -1)
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.reduction(self.norm(x.flatten(1, 2)))


class Layer(nn.Module):
    def __init__(self, channels: int, heads: int, side: int, depth: int, last: bool) -> None:
        super().__init__()
        shifts = [3 if number % 2 and side > 7 else 0 for number in range(depth)]
        self.blocks = nn.ModuleList(Block(channels, heads, side, shift) for shift in shifts)
        if not last:
            self.downsample = PatchMerging(channels, side)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x) if hasattr(self, "downsample") else x


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 96, 2, stride=2), "norm": nn.LayerNorm(96)})
        self.layers = nn.ModuleList(
            Layer(96 * 2**index, 3 * 2**index, 56 // 2**index, depth, index == 3)
            for index, depth in enumerate((2, 2, 6, 2))
        )
        self.norm = nn.LayerNorm(768)
        self.head = nn.Linear(768, 512)  # in every checkpoint, never used
        self.feature = nn.Sequential(
            nn.Linear(768, 768, bias=False),
            nn.BatchNorm1d(768, eps=2e-5),
            nn.Linear(768, 512, bias=False),
            nn.BatchNorm1d(512, eps=2e-5),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.patch_embed["norm"](self.patch_embed["proj"](x).flatten(2).transpose(1, 2))
        pooled = []
        for layer in self.layers:
            x = layer(x)
            side = int(x.shape[1] ** 0.5)
            level = x.float().transpose(1, 2).reshape(x.shape[0], -1, side, side)
            pooled.append(F.avg_pool2d(level, side // 7))
        embedding = self.feature(self.norm(x.float()).mean(1))
        return torch.cat(pooled, 1), embedding  # (B, 2112, 7, 7), (B, 512)


class Convs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False) for inputs, outputs in zip(LEVELS, FUSED, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(x, list(LEVELS), 1)
        return torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], 1)


class ChannelAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 512))

    def forward(self, x: Tensor) -> Tensor:
        gate = self.mlp(F.avg_pool2d(x, 7)) + self.mlp(F.max_pool2d(x, 7))
        return x * torch.sigmoid(gate)[:, :, None, None].expand_as(x)


class Subnet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = Convs()
        self.channel_attention = ChannelAttention()
        self.norm = nn.BatchNorm1d(512, eps=2e-5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.channel_attention(self.conv(x)))
        return self.norm(F.adaptive_max_pool2d(x, 1).flatten(1))


class Specific(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.feature = nn.Sequential(
            nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.feature(x)


class PublishedForm(nn.Module):
    """Images (B, 3, 112, 112) in -1..1 to the 43 raw outputs in their published order."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.fam = nn.ModuleDict({"nets": nn.ModuleList(Subnet() for _ in range(SUBNETS))})
        self.tss = nn.ModuleDict({"nets": nn.ModuleList(Specific() for _ in range(SUBNETS))})
        self.om = nn.ModuleDict({"output_fcs": nn.ModuleList(nn.Linear(512, width) for width in WIDTHS)})
        for part in ("backbone", "fam", "tss", "om"):
            self.get_submodule(part).load_state_dict(checkpoint[f"state_dict_{part}"], strict=True)
        for module in self.modules():  # constants, of which our seeded checkpoints hold nothing sensible
            if isinstance(module, Attention):
                module.relative_position_index = position_index()
            if isinstance(module, Block) and module.attn_mask is not None:
                module.attn_mask = region_mask(module.side)
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features, embedding = self.backbone(x)
        seen = [self.subnet(number, features) for number in range(SUBNETS)]
        heads = zip(self.om.get_submodule("output_fcs").children(), HEAD_SUBNETS, strict=True)
        outputs = [head(seen[subnet]) for head, subnet in heads]
        return (*(outputs[head] for head in OUTPUT_HEADS), embedding)

    def subnet(self, number: int, features: Tensor) -> Tensor:
        """(B, 2112, 7, 7) to what the heads of one subnet see, (B, 512)."""
        fam, tss = self.fam.get_submodule(f"nets.{number}"), self.tss.get_submodule(f"nets.{number}")
        return tss(fam(features))


def position_index() -> Tensor:
    place = [(row, column) for row in range(7) for column in range(7)]
    return torch.tensor([[(r - row + 6) * 13 + c - column + 6 for row, column in place] for r, c in place])


def region_mask(side: int) -> Tensor:
    regions = torch.zeros(side, side)
    parts = (slice(0, -7), slice(-7, -3), slice(-3, None))
    for number, (rows, columns) in enumerate((r, c) for r in parts for c in parts):
        regions[rows, columns] = number
    windows = regions.view(side // 7, 7, side // 7, 7).permute(0, 2, 1, 3).reshape(-1, 49)
    return torch.where(windows[:, None, :] != windows[:, :, None], -100.0, 0.0)


def normalised(faces: Tensor) -> Tensor:
    """(B, 112, 112, 3) uint8 RGB -> (B, 3, 112, 112), -1..1."""
    return (faces.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
