"""Checkpoints in the published layout, written from its description and not from our renaming of it; small weights."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from workers.swinface.checkpoint import save_own
from workers.swinface.model import SwinFace, SwinFaceConfig

Shapes = dict[str, tuple[int, ...]]
Checkpoint = dict[str, dict[str, Tensor]]

CHANNELS, HEADS, DEPTHS = (96, 192, 384, 768), (3, 6, 12, 24), (2, 2, 6, 2)
WINDOWS = (64, 16, 4, 1)  # of each stage
WIDTHS = [2, 1, 2, 7] + [2] * 38  # outputs of the 42 heads


def save_small(path: Path, *outputs: str, embedding: int = 16, licence: str = "none") -> Path:
    """Weights of our own form, of a small network with these outputs; they are random, and the same each time."""
    config = SwinFaceConfig(channels=(16, 32, 64, 128), depths=(1, 1, 1, 1), head_channels=16, embedding=embedding)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SwinFace(config, outputs).eval()
    save_own(model, path, {"source": "tests", "licence": licence, "metrics": {}})
    return path


def published_shapes() -> dict[str, Shapes]:
    """The 473 tensors of the four parts."""
    return {"backbone": dict(_backbone()), "fam": dict(_fam()), "tss": dict(_tss()), "om": dict(_om())}


def seeded_checkpoint(seed: int = 0) -> Checkpoint:
    """Weights that keep the signal's size from layer to layer, so that every one of them matters."""
    generator = torch.Generator().manual_seed(seed)
    return {
        f"state_dict_{part}": {name: _seeded(name, shape, generator) for name, shape in shapes.items()}
        for part, shapes in published_shapes().items()
    }


def hollow_checkpoint() -> Checkpoint:
    """The right names and shapes over a single stored number each: a small file, for tests of what is refused."""
    return {
        f"state_dict_{part}": {
            name: torch.zeros((), dtype=torch.int64 if _is_integer(name) else torch.float32).expand(shape)
            for name, shape in shapes.items()
        }
        for part, shapes in published_shapes().items()
    }


def save(checkpoint: object, path: Path) -> Path:
    torch.save(checkpoint, path)
    return path


def _seeded(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if _is_integer(name):
        return torch.zeros(shape, dtype=torch.int64)
    noise = torch.randn(shape, generator=generator)
    if name.endswith("running_var"):
        return noise.abs() + 0.5
    if name.endswith(("bias", "running_mean")):
        return 0.1 * noise
    if name.endswith("relative_position_bias_table"):
        return 0.2 * noise
    return 1 + 0.1 * noise if len(shape) == 1 else noise * 1.5 / (noise[0].numel() ** 0.5)


def _is_integer(name: str) -> bool:
    return name.endswith(("num_batches_tracked", "relative_position_index"))


def _linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)


def _batch_norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _norm(name, channels)
    yield f"{name}.running_mean", (channels,)
    yield f"{name}.running_var", (channels,)
    yield f"{name}.num_batches_tracked", ()


def _block(name: str, stage: int, number: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    channels = CHANNELS[stage]
    if stage < 3 and number % 2:
        yield f"{name}.attn_mask", (WINDOWS[stage], 49, 49)
    yield from _norm(f"{name}.norm1", channels)
    yield f"{name}.attn.relative_position_bias_table", (169, HEADS[stage])
    yield f"{name}.attn.relative_position_index", (49, 49)
    yield from _linear(f"{name}.attn.qkv", 3 * channels, channels)
    yield from _linear(f"{name}.attn.proj", channels, channels)
    yield from _norm(f"{name}.norm2", channels)
    yield from _linear(f"{name}.mlp.fc1", 4 * channels, channels)
    yield from _linear(f"{name}.mlp.fc2", channels, 4 * channels)


def _backbone() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "patch_embed.proj.weight", (96, 3, 2, 2)
    yield "patch_embed.proj.bias", (96,)
    yield from _norm("patch_embed.norm", 96)
    for stage, (channels, depth) in enumerate(zip(CHANNELS, DEPTHS, strict=True)):
        for number in range(depth):
            yield from _block(f"layers.{stage}.blocks.{number}", stage, number)
        if stage < 3:
            yield f"layers.{stage}.downsample.reduction.weight", (2 * channels, 4 * channels)
            yield from _norm(f"layers.{stage}.downsample.norm", 4 * channels)
    yield from _norm("norm", 768)
    yield from _linear("head", 512, 768)
    yield "feature.0.weight", (768, 768)
    yield from _batch_norm("feature.1", 768)
    yield "feature.2.weight", (512, 768)
    yield from _batch_norm("feature.3", 512)


def _fam() -> Iterator[tuple[str, tuple[int, ...]]]:
    for net in range(11):
        for level, (outputs, inputs) in enumerate([(47, 192), (93, 384), (186, 768), (186, 768)]):
            yield f"nets.{net}.conv.convs.{level}.weight", (outputs, inputs, 3, 3)
        yield from _linear(f"nets.{net}.channel_attention.mlp.1", 32, 512)
        yield from _linear(f"nets.{net}.channel_attention.mlp.3", 512, 32)
        yield from _batch_norm(f"nets.{net}.norm", 512)


def _tss() -> Iterator[tuple[str, tuple[int, ...]]]:
    for net in range(11):
        yield from _linear(f"nets.{net}.feature.0", 512, 512)
        yield from _linear(f"nets.{net}.feature.3", 512, 512)


def _om() -> Iterator[tuple[str, tuple[int, ...]]]:
    for head, width in enumerate(WIDTHS):
        yield from _linear(f"output_fcs.{head}", width, 512)
