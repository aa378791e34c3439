"""A recorded graph gives what its kernels give when they are launched singly, for full and partly filled batches."""

from functools import partial
from typing import Any

import numpy as np
import torch

from faceanalytics.precision import exact_fp32
from tests.gpu.run import Run
from tests.gpu.timing import Call, medians
from tests.gpu.weights import DTYPES, PRECISIONS, seeded_weights, some_faces
from workers.runtime.engine import Bytes, usable_device
from workers.runtime.on_gpu import GpuNetwork
from workers.swinface.checkpoint import load_official

FILLED = (1, 3, 8, 13, 64)  # crops; a graph is for 1, 2, 4, ... of them
TIMED = (1, 8, 64)
LIMIT = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 2e-3}  # share of the largest value: another batch, other kernels


def measure(run: Run) -> None:
    weights, device = seeded_weights(run.folder), usable_device(run.device)
    faces = some_faces(max(FILLED))
    for precision in PRECISIONS:
        network = GpuNetwork(load_official(weights), device, precision, max(FILLED))
        worst = 0.0
        for count in FILLED:
            crops = np.ascontiguousarray(faces[-count:])  # other ones than before: a stale result would show
            found = np.concatenate(list(network.start(crops)().values()), 1)
            with torch.inference_mode(), exact_fp32():
                single = network._compute(torch.from_numpy(crops).to(device)).cpu().numpy()
            worst = max(worst, float(np.abs(found - single).max() / np.abs(single).max()))
        run.check(f"{precision}: graph against single kernels, share of the largest output", worst, LIMIT[precision])
        if DTYPES[precision] == torch.bfloat16:
            _time(run, network, faces, device)
        del network
        torch.cuda.empty_cache()


def _time(run: Run, network: GpuNetwork, faces: Bytes, device: torch.device) -> None:
    for count in TIMED:
        crops = np.ascontiguousarray(faces[:count])
        there = torch.from_numpy(crops).to(device)

        def singly(there: torch.Tensor = there) -> object:
            with torch.inference_mode(), exact_fp32():
                return network._compute(there)

        calls: dict[str, Call] = {"graph": partial(_replay, network, crops), "single": singly}
        run.add(f"batch_{count}", {name: 1e3 * value for name, value in medians(calls, run.device, 1).items()})


def _replay(network: GpuNetwork, crops: Bytes) -> object:
    return network.start(crops)()


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as text."""
    return [
        f"bf16 batch {count}: graph {row['graph']:.2f} ms with its copies, single kernels {row['single']:.2f} ms"
        for count in TIMED
        if (row := figures.get(f"batch_{count}"))
    ]
