"""SwinFace on a GPU: the network recorded as CUDA graphs for a few batch sizes, and crops copied while it computes.

In bf16 and fp16 the products of matrices are in that precision; what is small and sensitive stays in fp32: sums along
the residual stream, layer norms, the gates of the subnets, all heads and the embedding.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray
from torch import Tensor, nn

from workers.swinface.model import ParallelConv, PatchEmbed, SwinBlock, SwinFace

Floats = NDArray[np.float32]
Outputs = dict[str, Floats]
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # crops; batches in between are computed as the next larger one
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ALIGNED = 8  # values of a row of the attention bias, for the kernels that read 16 bytes at once


@dataclass(eq=False)
class _Slot:
    """Memory of one batch: pinned on the host, and on the device."""

    arriving: Tensor  # (largest, 112, 112, 3) uint8, host
    faces: Tensor  # the same on the device
    leaving: Tensor  # (largest, all widths) float32, host
    graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = field(
        default_factory=dict
    )  # by size; outputs on the device
    done: torch.cuda.Event = field(default_factory=torch.cuda.Event)
    finish: Callable[[], Floats] | None = None  # of a batch that nobody has waited for yet


class GpuNetwork:
    """The network ready to compute. Two batches may be under way: one is copied while the other is computed."""

    def __init__(self, model: SwinFace, device: torch.device, precision: str, largest: int) -> None:
        """`largest`: crops of the largest batch that is computed at once."""
        self._device, self._dtype = device, DTYPES[precision]
        end = next(place for place, size in enumerate(SIZES) if size >= min(largest, SIZES[-1]))
        self._sizes = SIZES[: end + 1]
        self._model = prepared(model.to(device), self._dtype)  # in this order: a copy would lose the padding
        self._widths = {task.slug: task.width for task in model.tasks}
        if model.recognises:
            self._widths["recognition"] = model.config.embedding
        with torch.cuda.device(device):
            self._copies, self._computes = torch.cuda.Stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()
            self._slots = [self._slot(model.config.image_size) for _ in range(2)]
            with torch.inference_mode(), _exact_fp32():
                for slot in self._slots:
                    for size in reversed(self._sizes):  # the largest first: the others fit into its memory
                        self._record(slot, size)

    def start(self, faces: NDArray[np.uint8]) -> Callable[[], Outputs]:
        """Begin with (n, 112, 112, 3) uint8 RGB; the function waits for the raw outputs by slug."""
        largest = self._sizes[-1]
        parts = [self._begin(faces[at : at + largest]) for at in range(0, len(faces), largest)]
        return lambda: self._named(np.concatenate([finish() for finish in parts]))

    def _begin(self, faces: NDArray[np.uint8]) -> Callable[[], Floats]:
        slot = self._slots[0]
        self._slots.reverse()
        if slot.finish is not None:
            slot.finish()  # its results are kept for whom they belong to; the memory is used again
        count = len(faces)
        graph, outputs = slot.graphs[next(size for size in self._sizes if size >= count)]
        with torch.cuda.device(self._device):
            slot.arriving[:count].numpy()[...] = faces
            with torch.cuda.stream(self._copies):
                slot.faces[:count].copy_(slot.arriving[:count], non_blocking=True)
            self._computes.wait_stream(self._copies)
            with torch.cuda.stream(self._computes):
                graph.replay()
                slot.leaving[:count].copy_(outputs[:count], non_blocking=True)
                slot.done.record(self._computes)
        slot.finish = cache(lambda: self._fetch(slot, count))
        return slot.finish

    def _fetch(self, slot: _Slot, count: int) -> Floats:
        slot.done.synchronize()
        slot.finish = None
        found: Floats = slot.leaving[:count].numpy().copy()
        return found

    def _named(self, found: Floats) -> Outputs:
        ends = np.cumsum(list(self._widths.values()))
        return {
            slug: found[:, end - width : end] for (slug, width), end in zip(self._widths.items(), ends, strict=True)
        }

    def _slot(self, side: int) -> _Slot:
        shape, width = (self._sizes[-1], side, side, 3), sum(self._widths.values())
        return _Slot(
            torch.zeros(shape, dtype=torch.uint8, pin_memory=True),
            torch.zeros(shape, dtype=torch.uint8, device=self._device),
            torch.zeros((self._sizes[-1], width), pin_memory=True),
        )

    def _record(self, slot: _Slot, size: int) -> None:
        """All kernels of a batch of that size as one graph: launched one by one they take longer than a small batch."""
        faces = slot.faces[:size]
        self._computes.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._computes):
            for _ in range(3):  # libraries choose their kernels before the recording
                self._compute(faces)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, self._pool, self._computes, capture_error_mode="thread_local"):
            outputs = self._compute(faces)
        slot.graphs[size] = graph, outputs

    def _compute(self, faces: Tensor) -> Tensor:
        """(n, all widths) float32"""
        with torch.autocast("cuda", self._dtype, enabled=self._dtype != torch.float32, cache_enabled=False):
            return torch.cat([output.float() for output in self._model(faces).values()], 1)


def prepared(model: SwinFace, dtype: torch.dtype) -> SwinFace:
    """The network for autocast in that precision: weights of large products are stored in it, constants computed."""
    for module in model.backbone.layers.modules():
        if isinstance(module, SwinBlock):
            bias = module.attn.bias(module.mask).detach().to(dtype)
            tokens = bias.shape[-1]
            module.attn.fixed_bias = F.pad(bias, (0, -tokens % ALIGNED))[..., :tokens]
        if isinstance(module, nn.Linear):
            module.to(dtype)
    for module in model.modules():
        if isinstance(module, ParallelConv):
            module.to(dtype).to(memory_format=torch.channels_last)
        if isinstance(module, PatchEmbed):
            module.proj.to(memory_format=torch.channels_last)
    return model


@contextmanager
def _exact_fp32() -> Iterator[None]:
    """Products in fp32 are not rounded to TF32 while kernels are chosen."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
