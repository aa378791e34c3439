"""What SwinFace learns from: one loss per task, each the mean over the faces whose label is known."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from workers.swinface.labels import EMBEDDING

AGE_SIGMA = 3.0  # years
AgeLoss = Literal["published", "absolute"]
NO_CLASS = -1  # target of a face whose label is not known
DISTILLATION = "distillation"  # slug of the loss against a teacher's embeddings
EXPRESSION_DISTILLATION = "expression_distillation"  # against its probabilities


def age_loss(predicted: Tensor, age: Tensor, progress: float, kind: AgeLoss = "published") -> Tensor:
    """(n,) losses of ages in years.

    Published: from the squared error at `progress` 0 to a bounded one at 1, (1 - p) / 2 * d^2 +
    p * (1 - exp(-d^2 / (2 * 3^2))) with d = predicted - age (analysis/losses.py). Absolute: |d| - 1/2,
    below a year d^2 / 2 (Huber's, of one year).
    """
    if kind == "absolute":
        return F.smooth_l1_loss(predicted, age, reduction="none")
    squared = (predicted - age) ** 2
    return (1 - progress) / 2 * squared + progress * (1 - torch.exp(-squared / (2 * AGE_SIGMA**2)))


def task_losses(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], progress: float, ages: AgeLoss = "published"
) -> dict[str, Tensor]:
    """The sum of each task's losses over the faces that have its label, by slug; all on the same device.

    `outputs` (n, width) by slug; `targets` (n,) by slug: years, nan if unknown; else classes, NO_CLASS if unknown; of
    DISTILLATION (n, width of the teacher) and EXPRESSION_DISTILLATION (n, 7), nan if unknown.
    A task none of whose labels is known has the loss 0, with gradients of 0: every process must have the same ones.
    """
    found = {}
    for slug, target in targets.items():
        if slug == DISTILLATION:
            found[slug] = distillation(outputs[EMBEDDING].float(), target).sum()
            continue
        if slug == EXPRESSION_DISTILLATION:
            found[slug] = soft_cross_entropy(outputs["expression"].float(), target).sum()
            continue
        output = outputs[slug].float()
        if slug == "age":
            known = is_known(target)
            losses = age_loss(output[:, 0], target.nan_to_num(), progress, ages)
            found[slug] = torch.where(known, losses, 0).sum()
        else:
            found[slug] = F.cross_entropy(output, target, ignore_index=NO_CLASS, reduction="sum")
    return found


def known(targets: Mapping[str, Tensor]) -> dict[str, int]:
    """How many faces have each task's label."""
    return {slug: int(is_known(target).sum()) for slug, target in targets.items()}


def is_known(target: Tensor) -> Tensor:
    """(n,) bool: which of a task's targets (n,) or (n, width) say anything."""
    return ~target.reshape(len(target), -1).isnan().any(1) if target.is_floating_point() else target != NO_CLASS


def distillation(embedding: Tensor, teacher: Tensor) -> Tensor:
    """(n,) 1 - cosine between embeddings (n, 512) of any length and a teacher's (n, width), mapped into their space.

    0 where the teacher's is unknown, nan.
    """
    known = is_known(teacher)
    wanted = teacher.nan_to_num() @ embedding_map(teacher.shape[1], embedding.shape[1]).to(teacher)
    return torch.where(known, 1 - F.cosine_similarity(embedding, wanted), 0)


def soft_cross_entropy(logits: Tensor, scores: Tensor) -> Tensor:
    """(n,) -sum p log q of a teacher's probabilities p (n, classes) and ours of logits (n, classes); 0 where p is nan.

    Its gradient is that of the Kullback-Leibler divergence.
    """
    known = is_known(scores)
    return torch.where(known, -(scores.nan_to_num() * logits.log_softmax(1)).sum(1), 0)


@lru_cache(maxsize=2)
def embedding_map(width: int, into: int) -> Tensor:
    """(width, into) fp32, orthonormal rows, always the same: it keeps lengths and cosines. Raises ValueError if wider.

    The identity for equal widths; else Q of the QR decomposition of normal numbers, with R's diagonal positive.
    """
    if width > into:
        raise ValueError(f"a teacher's embedding of {width} numbers does not fit into {into}")
    if width == into:
        return torch.eye(width)
    normal = np.random.default_rng(0).standard_normal((into, width))
    columns, triangle = np.linalg.qr(normal)
    return torch.from_numpy((columns * np.sign(np.diag(triangle))).T.astype(np.float32).copy())
