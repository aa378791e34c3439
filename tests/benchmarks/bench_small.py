"""Faces per second of the bundled swinface-small against the paper's network, both in the engine of the worker.

Both take the same batches in turns, on two threads. The paper's network has random weights and all of its 43 outputs,
the small one the four it was trained for. Weights do not change the speed.
"""

import statistics
import time
from typing import Any

import numpy as np

from workers.runtime.engine import Engine
from workers.swinface.checkpoint import UNTRAINED
from workers.weights.registry import FACE_MODEL, find

THREADS = 2
BATCHES = (1, 8, 32)
ROUNDS = 9


def measure() -> dict[str, Any]:
    """Medians of milliseconds by batch."""
    engines = {
        "small": Engine(find(FACE_MODEL), "cpu", "fp32", THREADS),
        "paper": Engine(UNTRAINED, "cpu", "fp32", THREADS),
    }
    found: dict[str, Any] = {"threads": THREADS, "rounds": ROUNDS}
    random = np.random.default_rng(0)
    for batch in BATCHES:
        crops = random.integers(0, 256, (batch, 112, 112, 3), np.uint8)
        seconds: dict[str, list[float]] = {name: [] for name in engines}
        for number in range(ROUNDS + 2):
            for name, engine in engines.items():
                begun = time.perf_counter()
                engine.outputs(crops)
                if number >= 2:  # the first ones prepare
                    seconds[name].append(time.perf_counter() - begun)
        found[str(batch)] = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    return found


def table(results: dict[str, Any]) -> str:
    lines = [f"{'':>5}{'small ms':>11}{'faces/s':>10}{'paper ms':>11}{'faces/s':>10}{'ratio':>8}"]
    for batch in BATCHES:
        small, paper = results[str(batch)]["small"], results[str(batch)]["paper"]
        rates = 1e3 * batch / small, 1e3 * batch / paper
        lines.append(f"{batch:>5}{small:>11.1f}{rates[0]:>10.0f}{paper:>11.1f}{rates[1]:>10.1f}{paper / small:>8.1f}")
    return "\n".join(lines)
