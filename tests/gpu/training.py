"""A training step against its floor, in bf16 on a GPU, and the collective operations of NCCL with one rank."""

import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.benchmarks import bench_train
from tests.gpu.run import Run
from tests.gpu.timing import medians
from workers.runtime.engine import usable_device

NUMBERS = 90_000_000  # about the gradients of the paper's network
QUICK_NUMBERS = 10_000


def measure(run: Run) -> None:
    device = usable_device(run.device)
    _collectives(run, device)
    found = bench_train.measure(run.device, ("small",) if run.quick else ("paper", "small"), quick=run.quick)
    run.add("steps", {name: row for name, row in found.items() if isinstance(row, dict)})
    if not run.on_gpu:
        run.note("NCCL and bf16 steps need a GPU: here gloo and fp32")


def _collectives(run: Run, device: torch.device) -> None:
    """Join a group of one, and use what training uses: sums, a broadcast and a gathering."""
    backend = "nccl" if run.on_gpu else "gloo"
    if run.on_gpu:
        torch.cuda.set_device(device)
    with tempfile.TemporaryDirectory() as folder:
        store = dist.FileStore(str(Path(folder) / "store"), 1)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
        try:
            numbers = torch.arange(QUICK_NUMBERS if run.quick else NUMBERS, dtype=torch.float32, device=device)
            before = numbers.clone()
            seconds = medians({"sum": lambda: dist.all_reduce(numbers)}, run.device, 0.5)["sum"]
            dist.broadcast(numbers, 0)
            gathered = [torch.zeros_like(numbers)]
            dist.all_gather(gathered, numbers)
            wrong = float((numbers - before).abs().max() + (gathered[0] - before).abs().max())
        finally:
            dist.destroy_process_group()
    run.add("backend", backend)
    run.add("all_reduce_ms", 1e3 * seconds)
    run.add("numbers", len(numbers))
    run.check(f"{backend}, one rank: sum, broadcast and gather change the numbers", wrong, 0)


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as text."""
    found = []
    if "backend" in figures:
        count = f"{figures['numbers']:,} numbers"
        found.append(f"{figures['backend']}, one rank: sum of {count} in {figures['all_reduce_ms']:.2f} ms")
    steps = figures.get("steps", {})
    found += [bench_train.row(name, steps[name]) for name in ("paper", "small") if name in steps]
    return found
