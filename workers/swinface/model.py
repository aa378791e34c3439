"""SwinFace (arXiv 2308.11509): Swin-T for faces, eleven analysis subnets on its four levels, 42 heads and an embedding.

Letters in the shapes: B faces, H W rows and columns, C channels, N windows, T = 49 tokens of a window, h heads,
S = 11 subnets. The network computes exactly what the published implementation does; where the form differs (all
subnets are computed side by side), a comment explains why the result is the same.
"""

# mypy: disable-error-code=no-any-return
# (calling a module returns Any)

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from workers.swinface.labels import EMBEDDING, OUTPUTS, TASKS


@dataclass(frozen=True, slots=True)
class SwinFaceConfig:
    image_size: int = 112  # px
    patch_size: int = 2  # px
    channels: tuple[int, ...] = (96, 192, 384, 768)  # of each stage
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks of each stage
    head_channels: int = 32  # of one attention head, everywhere
    window: int = 7  # tokens
    mlp_ratio: int = 4
    drop_path: float = 0.1  # probability of skipping the last block in training; grows linearly from 0
    fused_channels: tuple[int, ...] = (47, 93, 186, 186)  # channels of a subnet from each level; their sum is its width
    gate_reduction: int = 16
    dropout: float = 0.5  # of the subnets, in training
    embedding: int = 512
    batch_norm_eps: float = 2e-5


class PatchEmbed(nn.Module):
    def __init__(self, config: SwinFaceConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.channels[0], config.patch_size, stride=config.patch_size)
        self.norm = nn.LayerNorm(config.channels[0])

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x).float()  # (B, 3, 112, 112) -> (B, C, 56, 56)
        return self.norm(x.flatten(2).transpose(1, 2))  # (B, 3136, C), tokens row by row


class WindowAttention(nn.Module):
    """Self-attention among the tokens of each window, with a learnt bias for each relative position."""

    def __init__(self, config: SwinFaceConfig, channels: int) -> None:
        super().__init__()
        self.heads, self.tokens = channels // config.head_channels, config.window**2
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * config.window - 1) ** 2, self.heads))
        self.relative_position_index: Tensor
        self.register_buffer("relative_position_index", relative_position_index(config.window), persistent=False)
        self.fixed_bias: Tensor | None  # precomputed bias, for weights that no longer change
        self.register_buffer("fixed_bias", None, persistent=False)

    def bias(self, mask: Tensor) -> Tensor:
        """Return the bias that is added to the scores, (N*h, T, T); `mask` (N, 1, T, T)."""
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)  # (h, T, T)
        return (bias + mask).flatten(0, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # (B, N*T, C), (N, 1, T, T)
        batch, length, channels = x.shape
        qkv = self.qkv(x).view(batch, len(mask), self.tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind(0)  # each (B, N*h, T, C/h)
        bias = self.bias(mask) if self.fixed_bias is None else self.fixed_bias  # (N*h, T, T)
        x = attention(q, k, v, bias[None])  # (B, N*h, T, C/h)
        x = x.view(batch, len(mask), self.heads, self.tokens, -1).transpose(2, 3)  # (B, N, T, h, C/h)
        return self.proj(x.reshape(batch, length, channels))


class SwinBlock(nn.Module):
    """Attention within windows, then an MLP; every second block of a stage shifts the windows by half their size.

    Tokens are ordered window by window, so a block rearranges them only once, into its own order.
    """

    def __init__(self, config: SwinFaceConfig, channels: int, side: int, before: Tensor, shift: int, drop: float):
        """`before`: row-by-row positions of the incoming tokens. `drop`: probability of being skipped."""
        super().__init__()
        self.drop = drop
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(config, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(channels, config.mlp_ratio * channels))
        self.mlp.add_module("act", nn.GELU())
        self.mlp.add_module("fc2", nn.Linear(config.mlp_ratio * channels, channels))
        self.mask: Tensor
        self.register_buffer("mask", shift_mask(side, config.window, shift), persistent=False)
        self.order: Tensor | None
        order = reordering(before, window_order(side, config.window, shift))
        unchanged = bool((order == torch.arange(len(order), device="cpu")).all())
        self.register_buffer("order", None if unchanged else order, persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, tokens, C)
        if self.order is not None:
            x = x[:, self.order]
        x = x + self._skip(self.attn(self.norm1(x), self.mask))
        return x + self._skip(self.mlp(self.norm2(x)))

    def _skip(self, x: Tensor) -> Tensor:
        """Apply stochastic depth: in training, skip the branch for some faces and scale it up for the others."""
        if not self.training or self.drop == 0:
            return x
        keep = x.new_empty(x.shape[0], 1, 1).bernoulli_(1 - self.drop)
        return x * keep / (1 - self.drop)


class PatchMerging(nn.Module):
    """Merges four neighbouring tokens into one with twice the channels."""

    def __init__(self, channels: int, side: int, before: Tensor) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)
        rows = torch.arange(side * side, device="cpu").view(side // 2, 2, side // 2, 2)
        self.order: Tensor  # four tokens for each new one: upper left, lower left, upper right, lower right
        self.register_buffer("order", reordering(before, rows.permute(0, 2, 3, 1).flatten()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, tokens, C)
        x = x[:, self.order].view(x.shape[0], -1, 4 * x.shape[2])
        return self.reduction(self.norm(x)).float()  # (B, tokens / 4, 2C), row by row; the residual stream stays fp32


class Stage(nn.Module):
    def __init__(self, config: SwinFaceConfig, index: int) -> None:
        super().__init__()
        channels, first = config.channels[index], sum(config.depths[:index])
        side = config.image_size // config.patch_size // 2**index  # tokens
        half = config.window // 2 if side > config.window else 0
        rise = config.drop_path / (sum(config.depths) - 1)
        order = torch.arange(side * side, device="cpu")
        blocks = []
        for number in range(config.depths[index]):
            shift = half if number % 2 else 0
            blocks.append(SwinBlock(config, channels, side, order, shift, rise * (first + number)))
            order = window_order(side, config.window, shift)
        self.blocks = nn.Sequential(*blocks)
        last = index == len(config.depths) - 1  # one window: its order is row by row
        self.downsample = nn.Identity() if last else PatchMerging(channels, side, order)

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
        x = self.patch_embed(x)  # (B, 3136, 96)
        for stage in self.layers:
            x = stage(x)  # (B, 784, 192), (B, 196, 384), (B, 49, 768), (B, 49, 768)
            levels.append(x)
        with torch.autocast(x.device.type, enabled=False):  # in half precision embeddings would lose digits
            return levels, self.feature(self.norm(x.float()).mean(1))  # embedding (B, 512), not normalised


class ParallelLinear(nn.Module):
    """S linear layers side by side, one for each subnet."""

    def __init__(self, subnets: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.subnets = subnets
        self.weight = nn.Parameter(torch.empty(subnets * outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(subnets * outputs))

    def forward(self, x: Tensor) -> Tensor:  # (B, S, inputs)
        weight = self.weight.view(self.subnets, -1, x.shape[2])  # (S, outputs, inputs)
        return torch.einsum("bsi,soi->bso", x, weight) + self.bias.view(self.subnets, -1)  # (B, S, outputs)


class ParallelConv(nn.Module):
    """S convolutions 3x3 of the same input side by side, one for each subnet."""

    def __init__(self, subnets: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.subnets = subnets
        self.weight = nn.Parameter(torch.empty(subnets * outputs, inputs, 3, 3))

    def forward(self, x: Tensor) -> Tensor:  # (B, inputs, H, W)
        # On a CPU one convolution per subnet is faster than one for all: its weights fit into the cache.
        if x.is_cuda:
            x = F.conv2d(x, self.weight, padding=1)
        else:
            x = torch.cat([F.conv2d(x, weight, padding=1) for weight in self.weight.chunk(self.subnets)], 1)
        return x.view(x.shape[0], self.subnets, -1, x.shape[2] * x.shape[3])  # (B, S, outputs, H*W)


class FeatureAttention(nn.Module):
    """Computes each subnet's features from the four levels: convolution, gate per channel, maximum over the face."""

    def __init__(self, config: SwinFaceConfig, subnets: int) -> None:
        super().__init__()
        self.window, self.subnets = config.window, subnets
        width = sum(config.fused_channels)
        level_channels = (*config.channels[1:], config.channels[-1])
        self.convs = nn.ModuleList(
            ParallelConv(subnets, channels, fused)
            for channels, fused in zip(level_channels, config.fused_channels, strict=True)
        )
        self.gate = nn.Sequential(
            ParallelLinear(subnets, width, width // config.gate_reduction),
            nn.ReLU(),
            ParallelLinear(subnets, width // config.gate_reduction, width),
        )
        self.norm = nn.BatchNorm1d(subnets * width, eps=config.batch_norm_eps)

    def forward(self, levels: list[Tensor]) -> Tensor:
        means, peaks = [], []
        for conv, level in zip(self.convs, levels, strict=True):
            x = conv(self._pooled(level)).float()  # (B, S, fused, 49)
            means.append(x.mean(3))
            peaks.append(x.amax(3))
        mean, peak = torch.cat(means, 2), torch.cat(peaks, 2)  # (B, S, 512)
        with torch.autocast(mean.device.type, enabled=False):
            gate = torch.sigmoid(self.gate(mean) + self.gate(peak))  # (B, S, 512)
            # Published: multiply the whole map by the gate, ReLU, then the maximum. The gate is positive and all three
            # are monotone, so taking the maximum first gives the same number without another pass over the map.
            x = F.relu(gate * peak)
            return self.norm(x.flatten(1)).view(x.shape)  # (B, S, 512)

    def _pooled(self, level: Tensor) -> Tensor:
        """Pool (B, tokens, C) to (B, C, 7, 7)."""
        side = isqrt(level.shape[1])
        level = level.view(level.shape[0], side, side, -1).permute(0, 3, 1, 2)
        return F.avg_pool2d(level, side // self.window)


class SwinFace(nn.Module):
    """Maps aligned faces, uint8 RGB (B, 112, 112, 3), to raw outputs by slug, in the order of labels.OUTPUTS.

    `age` (B, 1) in years; `expression` (B, 7) and the attributes (B, 2) logits; `recognition` (B, 512) not normalised.
    With fewer `outputs` it has only the subnets that they need.
    """

    def __init__(self, config: SwinFaceConfig, outputs: Sequence[str] = OUTPUTS) -> None:
        super().__init__()
        self.config = config
        self.tasks = tuple(task for task in TASKS if task.slug in outputs)
        self.subnets = sorted({task.subnet for task in self.tasks})
        self.recognises = EMBEDDING in outputs
        self.backbone = Backbone(config)
        self.heads = nn.ModuleDict()
        if self.tasks:
            width = sum(config.fused_channels)
            self.fam = FeatureAttention(config, len(self.subnets))
            self.tss = nn.Sequential(
                ParallelLinear(len(self.subnets), width, width),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                ParallelLinear(len(self.subnets), width, width),
                nn.ReLU(),
                nn.Dropout(config.dropout),
            )
            self.heads.update({task.slug: nn.Linear(width, task.width) for task in self.tasks})
        self.apply(_initialise)

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        x = faces.permute(0, 3, 1, 2).to(self.backbone.norm.weight.dtype)
        x = (x / 255 - 0.5) / 0.5  # (B, 3, 112, 112), -1..1
        levels, embedding = self.backbone(x)
        outputs = self._analyse(levels) if self.tasks else {}
        return {**outputs, EMBEDDING: embedding} if self.recognises else outputs

    def _analyse(self, levels: list[Tensor]) -> dict[str, Tensor]:
        x = self.fam(levels)
        with torch.autocast(x.device.type, enabled=False):
            x = self.tss(x)  # (B, S, 512)
            return {task.slug: self.heads[task.slug](x[:, self.subnets.index(task.subnet)]) for task in self.tasks}


def output_slugs(model: SwinFace) -> tuple[str, ...]:
    """Return the slugs of the network's outputs, in the order of labels.OUTPUTS."""
    return (*(task.slug for task in model.tasks), *([EMBEDDING] * model.recognises))


def reduced(model: SwinFace, outputs: Sequence[str]) -> SwinFace:
    """Return the same network on the CPU, for inference, with only these outputs (slugs)."""
    if set(outputs) == set(output_slugs(model)):
        return model
    with torch.device("meta"):
        small = SwinFace(model.config, outputs).eval()
    kept = [model.subnets.index(subnet) for subnet in small.subnets]
    state = model.state_dict()
    weights = {name: state[name] for name in small.state_dict()}
    for name, tensor in weights.items():
        if name.startswith(("fam.", "tss.")) and tensor.dim():
            weights[name] = tensor.unflatten(0, (len(model.subnets), -1))[kept].flatten(0, 1)
    small.load_state_dict(weights, assign=True)
    return small


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(width) + bias) v of (..., T, width)."""
    # torch's CPU kernel cannot be exported to ONNX, and is slower than this when the bias needs a gradient.
    if torch.compiler.is_exporting() or (bias.requires_grad and not q.is_cuda):
        return (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1) + bias).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def window_order(side: int, window: int, shift: int) -> Tensor:
    """Return the row-by-row position of each token, window by window, (tokens,); windows wrap around at the edges."""
    position = torch.arange(side * side, device="cpu").view(side, side).roll((-shift, -shift), (0, 1))
    count = side // window
    return position.view(count, window, count, window).transpose(1, 2).flatten()


def reordering(before: Tensor, after: Tensor) -> Tensor:
    """Return the index that brings tokens from one order into another, x[:, index]; orders as in window_order."""
    position = torch.empty_like(before)
    position[before] = torch.arange(len(before), device="cpu")
    return position[after]


def relative_position_index(window: int) -> Tensor:
    """Return the row of the bias table for the offset of each pair of tokens of a window, (T, T)."""
    position = torch.arange(window**2, device="cpu")  # a constant, needed even while the weights are on the meta device
    row, column = position // window, position % window
    rows = row[:, None] - row[None, :] + window - 1
    columns = column[:, None] - column[None, :] + window - 1
    return rows * (2 * window - 1) + columns


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    """Return the mask (N, 1, T, T): -100 between tokens that share a window only by wrapping around, else 0."""
    position = torch.arange(side, device="cpu")
    band = (position >= side - window).long() + (position >= side - shift).long()  # 0, 1, 2 along one shifted axis
    region = (band[:, None] * 3 + band[None, :]).flatten()[window_order(side, window, 0)].view(-1, window * window)
    return (region[:, None, :] != region[:, :, None]).float()[:, None] * -100  # regions (N, T)


def _initialise(module: nn.Module) -> None:
    """Initialise as published: linear layers and bias tables narrow normal, convolutions by torch's default.

    The published normal is cut off at 100 standard deviations, which is the same and takes four times as long.
    """
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return  # it has no numbers, and torch would import its compiler for a normal distribution
    if isinstance(module, nn.Linear | ParallelLinear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.normal_(module.relative_position_bias_table, std=0.02)
    elif isinstance(module, ParallelConv):
        nn.init.kaiming_uniform_(module.weight, a=5**0.5)
