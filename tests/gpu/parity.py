"""All 43 outputs in each precision against the published form in fp32 on the CPU, alone and in a batch."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.conftest import shared_folder
from tests.gpu.run import Run
from tests.gpu.weights import DTYPES, PRECISIONS, published, seeded_weights, some_faces
from tests.support.published_form import normalised
from workers.runtime.engine import Bytes, Engine
from workers.runtime.on_gpu import prepared
from workers.swinface.checkpoint import load_official
from workers.swinface.labels import EMBEDDING, OUTPUTS

# largest difference of an output: absolute in fp32, else a share of the output's largest value
LIMITS = {"fp32": 1e-4, "bf16": 0.1, "fp16": 0.02}
LEAST_COSINE = {"fp32": 0.99999, "bf16": 0.995, "fp16": 0.9999}  # of embeddings
SEED_S = 20.0  # to make the weights of the published parity data
Outputs = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


def measure(run: Run) -> None:
    weights = seeded_weights(run.folder)
    faces = some_faces(2 if run.quick else 10)
    with torch.inference_mode():
        expected = dict(zip(OUTPUTS, published(weights)(normalised(torch.from_numpy(faces))), strict=True))
    reference = {slug: tensor.numpy() for slug, tensor in expected.items()}
    run.add("faces", len(faces))
    for precision in PRECISIONS[:2] if run.quick else PRECISIONS:
        if run.on_gpu or precision == "fp32":
            engine = Engine(str(weights), run.device, precision, largest_batch=16)
            found = engine.outputs(faces)
            alone = {slug: array[0] for slug, array in engine.outputs(faces[:1]).items()}
            batched = max(float(np.abs(alone[slug] - found[slug][0]).max()) for slug in OUTPUTS)
            run.add(f"{precision}_alone_or_in_a_batch", batched)
            if precision == "fp32":
                run.check("fp32: a face alone against in a batch", batched, LIMITS["fp32"])
        else:
            found = _emulated(weights, faces[:1] if run.quick else faces, precision)
        _compare(run, precision, found, reference)
    if not run.on_gpu:
        run.note("bf16 and fp16 are those of torch on the CPU, with the casts of the GPU engine")
    _published(run)


@torch.inference_mode()
def _emulated(weights: Path, faces: Bytes, precision: str) -> Outputs:
    with torch.autocast("cpu", DTYPES[precision]):
        found = prepared(load_official(weights), DTYPES[precision])(torch.from_numpy(faces))
    return {slug: output.numpy() for slug, output in found.items()}


def _compare(run: Run, precision: str, found: Outputs, reference: Outputs) -> None:
    """Check every output, and keep the worst."""
    assert tuple(found) == OUTPUTS, f"{precision} has {len(found)} outputs"
    shares = {}
    for slug in OUTPUTS:
        difference = float(np.abs(found[slug] - reference[slug][: len(found[slug])]).max())
        shares[slug] = difference if precision == "fp32" else difference / float(np.abs(reference[slug]).max())
    worst = max(shares, key=lambda slug: shares[slug] if np.isfinite(shares[slug]) else np.inf)
    cosine = _least_cosine(found[EMBEDDING], reference[EMBEDDING][: len(found[EMBEDDING])])
    run.add(precision, {"worst": worst, "difference": shares[worst], "cosine": cosine, "outputs": len(shares)})
    run.check(f"{precision}: 43 outputs, the worst is {worst}", shares[worst], LIMITS[precision])
    run.check(f"{precision}: embeddings, 1 - cosine", 1 - cosine, 1 - LEAST_COSINE[precision])


def _least_cosine(one: Any, other: Any) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(1) / lengths).min())


def _published(run: Run) -> None:
    """Check against outputs of the published implementation, where that data is at hand."""
    data = shared_folder() / "parity"
    if run.quick or not (data / "expected_seed0.npz").is_file():
        run.note(
            "outputs of the published implementation: tiny sizes" if run.quick else "no published parity data here"
        )
        return
    made = run.folder / "published.pt"
    command = [sys.executable, str(data / "make_checkpoint.py"), str(made), "--seed", "0"]
    subprocess.run(command, check=True, capture_output=True, timeout=SEED_S)
    expected = np.load(data / "expected_seed0.npz")
    found = Engine(str(made), run.device, largest_batch=4).outputs(expected["images_rgb"])
    difference = max(float(np.abs(found[slug] - expected[slug]).max()) for slug in OUTPUTS)
    made.unlink()
    run.check("fp32: outputs of the published implementation", difference, LIMITS["fp32"])


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as text."""
    found = [f"{figures.get('faces')} crops, seeded weights, against the published form in fp32 on the CPU"]
    for precision in PRECISIONS:
        if precision in figures:
            row = figures[precision]
            kind = "at most" if precision == "fp32" else "at most this share of its range"
            alone = figures.get(f"{precision}_alone_or_in_a_batch")
            found.append(
                f"{precision}: {row['outputs']} outputs differ {kind} {row['difference']:.2g} ({row['worst']}), "
                f"cosine of embeddings at least {row['cosine']:.6f}"
                + ("" if alone is None else f"; alone or in a batch {alone:.2g}")
            )
    return found
