"""SwinFace with seeded weights, made once for all sections, and faces to analyse."""

from pathlib import Path

import numpy as np
import torch

from tests.support.published_form import PublishedForm
from tests.support.swinface_files import save, seeded_checkpoint
from workers.runtime.engine import Bytes
from workers.swinface.precisions import Precision

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def seeded_weights(folder: Path) -> Path:
    """Return the file of weights in the published layout; trained ones do not change the speed."""
    path = folder / "seeded.pt"
    if not path.exists():
        partial = path.with_suffix(".partial")  # of a section that was ended
        save(seeded_checkpoint(), partial).rename(path)
    return path


def published(weights: Path) -> PublishedForm:
    """Return the network as the published code computes it, on the CPU."""
    return PublishedForm(torch.load(weights, weights_only=True))


def some_faces(count: int) -> Bytes:
    """Return smooth and sharp patterns as crops (n, 112, 112, 3), no two of them alike."""
    random = np.random.default_rng(0)
    crops = []
    for number in range(count):
        cells = 7 * 2 ** (number % 5)  # 7 to 112 across
        small = random.integers(0, 256, (cells, cells, 3), np.uint8)
        crops.append(small.repeat(112 // cells, 0).repeat(112 // cells, 1))
    return np.stack(crops)
