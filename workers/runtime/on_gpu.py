"""Run SwinFace on a GPU as CUDA graphs for a few batch sizes, copying crops while it computes.

With bf16 and fp16 only matrix products use that precision. Small, sensitive parts stay in fp32: sums along the
residual stream, layer norms, the gates of the subnets, all heads and the embedding.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray
from torch import Tensor, nn

from faceanalytics.precision import exact_fp32
from workers.swinface.model import ParallelConv, PatchEmbed, SwinBlock, SwinFace

Floats = NDArray[np.float32]
Outputs = dict[str, Floats]
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # crops; other batches are computed as the next larger size
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ALIGNED = 8  # row length of the attention bias is a multiple of this: kernels read 16 bytes at once


@dataclass(eq=False)
class _Slot:
    """Memory for one batch, on the device and pinned on the host."""

    arriving: Tensor  # (largest, 112, 112, 3) uint8, host
    faces: Tensor  # the same on the device
    leaving: Tensor  # (largest, all widths) float32, host
    graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = field(
        default_factory=dict
    )  # by size; outputs on the device
    done: torch.cuda.Event = field(default_factory=torch.cuda.Event)
    finish: Callable[[], Floats] | None = None  # fetches the results of a batch that is still being computed


class GpuNetwork:
    """The recorded network. Two batches may be in progress: one is copied while the other is computed."""

    def __init__(self, model: SwinFace, device: torch.device, precision: str, largest: int) -> None:
        """`largest`: size of the largest batch to compute at once, in crops."""
        self._device, self._dtype = device, DTYPES[precision]
        end = next(index for index, size in enumerate(SIZES) if size >= min(largest, SIZES[-1]))
        self._sizes = SIZES[: end + 1]
        self._model = prepared(model.to(device), self._dtype)  # in this order: copying would lose the padding
        self._widths = {task.slug: task.width for task in model.tasks}
        if model.recognises:
            self._widths["recognition"] = model.config.embedding
        with torch.cuda.device(device):
            self._copies, self._computes = torch.cuda.Stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()
            self._slots = [self._slot(model.config.image_size) for _ in range(2)]
            with torch.inference_mode(), exact_fp32():
                for slot in self._slots:
                    for size in reversed(self._sizes):  # largest first: the others fit into its memory
                        self._record(slot, size)

    def start(self, faces: NDArray[np.uint8]) -> Callable[[], Outputs]:
        """Start computing (n, 112, 112, 3) uint8 RGB; the returned function waits for the raw outputs by slug."""
        largest = self._sizes[-1]
        parts = [self._begin(faces[start : start + largest]) for start in range(0, len(faces), largest)]
        return lambda: self._by_slug(np.concatenate([finish() for finish in parts]))

    def _begin(self, faces: NDArray[np.uint8]) -> Callable[[], Floats]:
        slot = self._slots[0]
        self._slots.reverse()
        if slot.finish is not None:
            slot.finish()  # `cache` keeps the results of the earlier batch, so its memory can be reused
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
        results: Floats = slot.leaving[:count].numpy().copy()
        return results

    def _by_slug(self, results: Floats) -> Outputs:
        ends = np.cumsum(list(self._widths.values()))
        return {
            slug: results[:, end - width : end] for (slug, width), end in zip(self._widths.items(), ends, strict=True)
        }

    def _slot(self, side: int) -> _Slot:
        shape, width = (self._sizes[-1], side, side, 3), sum(self._widths.values())
        return _Slot(
            torch.zeros(shape, dtype=torch.uint8, pin_memory=True),
            torch.zeros(shape, dtype=torch.uint8, device=self._device),
            torch.zeros((self._sizes[-1], width), pin_memory=True),
        )

    def _record(self, slot: _Slot, size: int) -> None:
        """Record all kernels of a batch of this size as one graph: launching them singly dominates small batches."""
        faces = slot.faces[:size]
        self._computes.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._computes):
            for _ in range(3):  # lets libraries choose their kernels before the recording
                self._compute(faces)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, self._pool, self._computes, capture_error_mode="thread_local"):
            outputs = self._compute(faces)
        slot.graphs[size] = graph, outputs

    def _compute(self, faces: Tensor) -> Tensor:
        """Return all outputs side by side, (n, all widths) float32."""
        with torch.autocast("cuda", self._dtype, enabled=self._dtype != torch.float32, cache_enabled=False):
            return torch.cat([output.float() for output in self._model(faces).values()], 1)


def prepared(model: SwinFace, dtype: torch.dtype) -> SwinFace:
    """Prepare the network for autocast: store weights of large products in this precision, precompute constants."""
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
