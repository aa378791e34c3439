"""SwinFace (arXiv 2308.11509): Swin-T for faces, eleven analysis subnets on its four levels, 42 heads and an embedding.

Letters in the shapes: B faces, H W rows and columns, C channels, N windows, T = 49 tokens of a window, h heads,
S = 11 subnets. All of it computes exactly what the published implementation does; where the form differs (the subnets
are computed side by side), the comment says why it is the same.
"""

# mypy: disable-error-code=no-any-return
# (calling a module gives Any)

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from workers.swinface.labels import ATTRIBUTES, EMBEDDING, SUBNETS, TASKS


@dataclass(frozen=True, slots=True)
class SwinFaceConfig:
    image_size: int = 112  # px
    patch_size: int = 2  # px
    channels: tuple[int, ...] = (96, 192, 384, 768)  # of each stage
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks of each stage
    head_channels: int = 32  # of one attention head, everywhere
    window: int = 7  # tokens
    mlp_ratio: int = 4
    drop_path: float = 0.1  # chance to skip the last block in training; grows linearly from 0
    fused_channels: tuple[int, ...] = (47, 93, 186, 186)  # what a subnet makes of each level, together its width
    gate_reduction: int = 16
    dropout: float = 0.5  # in the subnets, in training
    embedding: int = 512
    batch_norm_eps: float = 2e-5


class PatchEmbed(nn.Module):
    def __init__(self, config: SwinFaceConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.channels[0], config.patch_size, stride=config.patch_size)
        self.norm = nn.LayerNorm(config.channels[0])

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)  # (B, 3, 112, 112) -> (B, C, 56, 56)
        return self.norm(x.permute(0, 2, 3, 1))  # (B, 56, 56, C); channels stay last through all of Swin


class WindowAttention(nn.Module):
    """Self-attention among the tokens of each window, with a learnt bias for each relative position."""

    def __init__(self, config: SwinFaceConfig, channels: int) -> None:
        super().__init__()
        self.heads = channels // config.head_channels
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * config.window - 1) ** 2, self.heads))
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", relative_position_index(config.window), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        windows, tokens, channels = x.shape  # (B*N, T, C)
        qkv = self.qkv(x).view(windows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (3, B*N, h, T, C/h)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]  # (1, h, T, T)
        if mask is not None:
            bias = (bias + mask).repeat(windows // len(mask), 1, 1, 1)  # (B*N, h, T, T)
        q, k, v = qkv.unbind(0)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (B*N, h, T, C/h), scaled by (C/h)^-0.5
        return self.proj(x.transpose(1, 2).reshape(windows, tokens, channels))


class SwinBlock(nn.Module):
    """Attention within windows, then an MLP; every second block of a stage shifts the windows by half their size."""

    def __init__(self, config: SwinFaceConfig, channels: int, side: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.window, self.shift, self.drop_path = config.window, shift, drop_path
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(config, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(channels, config.mlp_ratio * channels))
        self.mlp.add_module("act", nn.GELU())
        self.mlp.add_module("fc2", nn.Linear(config.mlp_ratio * channels, channels))
        self.mask: Tensor | None
        self.register_buffer("mask", shift_mask(side, config.window, shift) if shift else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C)
        x = x + self._skip(self._attend(self.norm1(x)))
        return x + self._skip(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor) -> Tensor:
        side = x.shape[1]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        x = from_windows(self.attn(to_windows(x, self.window), self.mask), self.window, side)
        return x.roll((self.shift, self.shift), (1, 2)) if self.shift else x

    def _skip(self, x: Tensor) -> Tensor:
        """Stochastic depth: in training the branch is left out for some faces, and scaled up for the others."""
        if not self.training or self.drop_path == 0:
            return x
        keep = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - self.drop_path)
        return x * keep / (1 - self.drop_path)


class PatchMerging(nn.Module):
    """Four neighbouring tokens become one of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C)
        quarters = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
        return self.reduction(self.norm(torch.cat(quarters, 3)))  # (B, H/2, W/2, 2C)


class Stage(nn.Module):
    def __init__(self, config: SwinFaceConfig, index: int) -> None:
        super().__init__()
        channels, first = config.channels[index], sum(config.depths[:index])
        side = config.image_size // config.patch_size // 2**index  # tokens
        shift = config.window // 2 if side > config.window else 0
        rise = config.drop_path / (sum(config.depths) - 1)
        self.blocks = nn.Sequential(
            *(
                SwinBlock(config, channels, side, shift if number % 2 else 0, rise * (first + number))
                for number in range(config.depths[index])
            )
        )
        last = index == len(config.depths) - 1
        self.downsample = nn.Identity() if last else PatchMerging(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.blocks(x))


class Backbone(nn.Module):
    """Swin-T with patches of two pixels: four levels of features, and the embedding for recognition."""

    def __init__(self, config: SwinFaceConfig) -> None:
        super().__init__()
        last = config.channels[-1]
        self.patch_embed = PatchEmbed(config)
        self.layers = nn.ModuleList(Stage(config, index) for index in range(len(config.depths)))
        self.norm = nn.LayerNorm(last)
        self.feature = nn.Sequential(
            nn.Linear(last, last, bias=False),
            nn.BatchNorm1d(last, eps=config.batch_norm_eps),
            nn.Linear(last, config.embedding, bias=False),
            nn.BatchNorm1d(config.embedding, eps=config.batch_norm_eps),
        )

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        levels = []
        x = self.patch_embed(x)  # (B, 56, 56, 96)
        for stage in self.layers:
            x = stage(x)  # (B, 28, 28, 192), (B, 14, 14, 384), (B, 7, 7, 768), (B, 7, 7, 768)
            levels.append(x.permute(0, 3, 1, 2))  # (B, C, H, W)
        x = self.norm(x).mean((1, 2))  # (B, 768)
        return levels, self.feature(x)  # embedding (B, 512), not normalised


class ParallelLinear(nn.Module):
    """S linear layers side by side, one for each subnet."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(SUBNETS * outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(SUBNETS * outputs))

    def forward(self, x: Tensor) -> Tensor:  # (B, S, inputs)
        weight = self.weight.view(SUBNETS, -1, x.shape[2])  # (S, outputs, inputs)
        return torch.einsum("bsi,soi->bso", x, weight) + self.bias.view(SUBNETS, -1)  # (B, S, outputs)


class ParallelConv(nn.Module):
    """S convolutions 3x3 of the same input side by side, one for each subnet."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(SUBNETS * outputs, inputs, 3, 3))

    def forward(self, x: Tensor) -> Tensor:  # (B, inputs, H, W)
        # One convolution would do, but on a CPU eleven are faster: the weights of each fit into the cache.
        maps = [F.conv2d(x, weight, padding=1) for weight in self.weight.chunk(SUBNETS)]
        return torch.stack(maps, 1)  # (B, S, outputs, H, W)


class FeatureAttention(nn.Module):
    """What each subnet sees of the four levels: convolved, gated channel by channel, the maximum over the face."""

    def __init__(self, config: SwinFaceConfig) -> None:
        super().__init__()
        width = sum(config.fused_channels)
        level_channels = (*config.channels[1:], config.channels[-1])
        self.convs = nn.ModuleList(
            ParallelConv(channels, fused) for channels, fused in zip(level_channels, config.fused_channels, strict=True)
        )
        self.gate = nn.Sequential(
            ParallelLinear(width, width // config.gate_reduction),
            nn.ReLU(),
            ParallelLinear(width // config.gate_reduction, width),
        )
        self.norm = nn.BatchNorm1d(SUBNETS * width, eps=config.batch_norm_eps)

    def forward(self, levels: list[Tensor]) -> Tensor:
        means, peaks = [], []
        for conv, level in zip(self.convs, levels, strict=True):
            level = F.avg_pool2d(level.contiguous(), level.shape[2] // 7)  # (B, C, 7, 7)
            x = conv(level)  # (B, S, fused, 7, 7)
            means.append(x.mean((3, 4)))
            peaks.append(x.amax((3, 4)))
        mean, peak = torch.cat(means, 2), torch.cat(peaks, 2)  # (B, S, 512)
        gate = torch.sigmoid(self.gate(mean) + self.gate(peak))  # (B, S, 512)
        # Published: multiply the whole map by the gate, ReLU, then the maximum. The gate is positive and all three
        # are monotone, so the maximum may come first: the same number, without touching the map again.
        x = F.relu(gate * peak)
        return self.norm(x.flatten(1)).unflatten(1, (SUBNETS, -1))  # (B, S, 512)


class SwinFace(nn.Module):
    """Aligned faces, uint8 RGB (B, 112, 112, 3), to the raw outputs by slug, in the order of labels.OUTPUTS.

    `age` (B, 1) in years; `expression` (B, 7) and the attributes (B, 2) logits; `recognition` (B, 512) not normalised.
    """

    def __init__(self, config: SwinFaceConfig) -> None:
        super().__init__()
        self.config = config
        width = sum(config.fused_channels)
        self.backbone = Backbone(config)
        self.fam = FeatureAttention(config)
        self.tss = nn.Sequential(
            ParallelLinear(width, width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            ParallelLinear(width, width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        )
        self.heads = nn.ModuleDict({task.slug: nn.Linear(width, task.width) for task in TASKS})
        self.apply(_initialise)

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        x = faces.permute(0, 3, 1, 2).to(self.backbone.norm.weight.dtype)
        x = (x / 255 - 0.5) / 0.5  # (B, 3, 112, 112), -1..1
        levels, embedding = self.backbone(x)
        x = self.tss(self.fam(levels))  # (B, S, 512)
        outputs = {task.slug: self.heads[task.slug](x[:, task.subnet]) for task in TASKS}
        return {**outputs, EMBEDDING: embedding}


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the raw outputs say about B faces."""

    age: Tensor  # (B,) years
    expression: Tensor  # (B, 7) softmax, in the order of labels.EXPRESSIONS
    attributes: Tensor  # (B, 40) softmax of "present", in the order of labels.ATTRIBUTES
    embedding: Tensor  # (B, 512) unit length
    embedding_norm: Tensor  # (B,) length before normalising


def scores(outputs: dict[str, Tensor]) -> Scores:
    logits = torch.stack([outputs[task.slug] for task in ATTRIBUTES], 1)  # (B, 40, 2)
    embedding = outputs[EMBEDDING]
    return Scores(
        age=outputs["age"][:, 0],
        expression=outputs["expression"].softmax(1),
        attributes=logits.softmax(2)[:, :, 1],
        embedding=F.normalize(embedding, dim=1),
        embedding_norm=embedding.norm(dim=1),
    )


def to_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B*N, T, C), windows row by row."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def from_windows(x: Tensor, window: int, side: int) -> Tensor:
    """(B*N, T, C) -> (B, H, W, C), the way back."""
    count = side // window
    x = x.view(-1, count, count, window, window, x.shape[2])  # (B, H/7, W/7, 7, 7, C)
    return x.transpose(2, 3).reshape(-1, side, side, x.shape[5])


def relative_position_index(window: int) -> Tensor:
    """(T, T): for each pair of tokens of a window the row of the bias table that belongs to their offset."""
    place = torch.arange(window**2, device="cpu")  # a constant: also there while the weights are still to be loaded
    row, column = place // window, place % window
    rows = row[:, None] - row[None, :] + window - 1
    columns = column[:, None] - column[None, :] + window - 1
    return rows * (2 * window - 1) + columns


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    """(N, 1, T, T): -100 between tokens that only the cyclic shift has brought into one window, else 0."""
    place = torch.arange(side, device="cpu")
    band = (place >= side - window).long() + (place >= side - shift).long()  # 0, 1, 2 along one axis
    region = band[:, None] * 3 + band[None, :]  # (H, W)
    tokens = to_windows(region[None, :, :, None], window)[:, :, 0]  # (N, T)
    return (tokens[:, None, :] != tokens[:, :, None]).float()[:, None] * -100


def _initialise(module: nn.Module) -> None:
    """As published: linear layers and bias tables from a narrow normal distribution, convolutions as torch does."""
    if isinstance(module, nn.Linear | ParallelLinear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)
    elif isinstance(module, ParallelConv):
        nn.init.kaiming_uniform_(module.weight, a=5**0.5)
