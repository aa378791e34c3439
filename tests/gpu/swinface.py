"""SwinFace's faces per second: ours in each precision, the published form, and the floor: the matrix products alone.

Ours takes crops from the host and gives outputs there. The published form is run eagerly with its own autocast, on
images that are on the device already. The floor are the matrix products and convolutions of our bf16 network, with
their sizes, one after the other: what remains if all else cost nothing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.gpu.run import Run
from tests.gpu.timing import medians
from tests.gpu.weights import PRECISIONS, published, seeded_weights
from tests.support.published_form import normalised
from workers.runtime.engine import Bytes, Engine, usable_device
from workers.runtime.on_gpu import prepared
from workers.swinface.checkpoint import load_official

BATCHES = (1, 8, 64, 256)
QUICK = (1,)
GOAL = 5_000  # faces/s in bf16
IN_FLIGHT = 8  # batches of the measurement in which copies and products overlap
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "attention")
Product = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def measure(run: Run) -> None:
    weights = seeded_weights(run.folder)
    network = published(weights).to(usable_device(run.device))
    batches = QUICK if run.quick else BATCHES
    precisions = PRECISIONS if run.on_gpu else PRECISIONS[:1]
    engines = {
        precision: Engine(str(weights), run.device, precision, largest_batch=max(batches)) for precision in precisions
    }
    floor_network = prepared(load_official(weights).to(run.device), torch.bfloat16)
    for batch in batches:
        crops = _noise(batch)
        images = normalised(torch.from_numpy(crops)).to(run.device)
        calls: dict[str, Callable[[], object]] = {
            f"ours_{name}": lambda engine=engine, crops=crops: engine.outputs(crops)  # type: ignore[misc]
            for name, engine in engines.items()
        }
        calls["published"] = lambda images=images: _without_gradients(network, images)  # type: ignore[misc]
        calls["floor_bf16"] = _products_alone(floor_network, crops, run.device)
        seconds = medians(calls, run.device, 0.2 if run.quick else 4.0, least=1 if run.quick else 3)
        run.add(f"batch_{batch}", {name: batch / value for name, value in seconds.items()})
    if run.on_gpu:
        for precision in PRECISIONS:
            run.add(f"in_flight_{precision}", _in_flight(engines[precision], max(batches), run.device))
        run.goal("SwinFace, bf16, faces/s", run.figures["in_flight_bf16"], GOAL)
    else:
        run.note("bf16 and fp16, CUDA graphs: the engine of the GPU needs one")


def _without_gradients(network: Callable[[torch.Tensor], object], images: torch.Tensor) -> object:
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=True):  # torch's default, as published
        return network(images)


def _in_flight(engine: Engine, batch: int, device: str) -> float:
    """Return faces/s of batches of which two are in progress at a time, as `swinface infer` has them."""
    crops = _noise(batch)

    def many() -> None:
        waiting = [engine.submit(crops)]
        for _ in range(IN_FLIGHT - 1):
            waiting.append(engine.submit(crops))
            waiting.pop(0).outputs()
        waiting.pop().outputs()

    return IN_FLIGHT * batch / medians({"many": many}, device, 2.0)["many"]


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the matrix products that are computed, with their operands."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(name in func.overloadpacket.__name__ for name in PRODUCTS):
            self.found.append((func, args, kwargs or {}))
        return result


def _products_alone(network: torch.nn.Module, crops: Bytes, device: str) -> Callable[[], object]:
    """Return what computes only the products of the network for these crops; on a GPU as one graph."""
    kind = torch.device(device).type
    with torch.no_grad(), _Products() as noted, torch.autocast(kind, torch.bfloat16, cache_enabled=False):
        network(torch.from_numpy(crops).to(device))
    products = noted.found
    assert len(products) > 50, f"only {len(products)} products found"

    def compute() -> None:
        with torch.no_grad():
            for function, operands, options in products:
                function(*operands, **options)

    if kind == "cpu":
        return compute
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            compute()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside):
            compute()
    return graph.replay


def _noise(batch: int) -> Bytes:
    return np.random.default_rng(batch).integers(0, 256, (batch, 112, 112, 3), np.uint8)


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as text."""
    found = []
    for name, row in figures.items():
        if not name.startswith("batch_"):
            continue
        cells = [f"{which.removeprefix('ours_')} {row[which]:,.1f}" for which in row if which.startswith("ours_")]
        best = max(row[which] for which in row if which.startswith("ours_"))
        found.append(
            f"{name.replace('_', ' ')}, faces/s: ours {', '.join(cells)}; published {row['published']:,.1f}; "
            f"floor bf16 {row['floor_bf16']:,.1f}; best of ours {best / row['published']:.2f} times the published, "
            f"{best / row['floor_bf16']:.0%} of the floor"
        )
    flying = [f"{each} {figures[key]:,.0f}" for each in PRECISIONS if (key := f"in_flight_{each}") in figures]
    return found + ([f"two batches of {max(BATCHES)} in progress, faces/s: {', '.join(flying)}"] if flying else [])
