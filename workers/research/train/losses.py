"""Compute the loss of each task over the faces whose label is known."""

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
NO_CLASS = -1  # target of a face whose label is unknown
DISTILLATION = "distillation"  # slug of the loss against a teacher's embeddings
EXPRESSION_DISTILLATION = "expression_distillation"  # slug of the loss against its probabilities


def age_loss(predicted: Tensor, age: Tensor, progress: float, kind: AgeLoss = "published") -> Tensor:
    """Return the losses (n,) of ages in years.

    published: (1 - p) / 2 * d^2 + p * (1 - exp(-d^2 / (2 * 3^2))) with d = predicted - age and p = `progress`, from
    the squared error at 0 to a bounded one at 1 (analysis/losses.py of the published code).
    absolute: |d| - 1/2, below one year d^2 / 2 (Huber loss with delta 1).
    """
    if kind == "absolute":
        return F.smooth_l1_loss(predicted, age, reduction="none")
    squared = (predicted - age) ** 2
    return (1 - progress) / 2 * squared + progress * (1 - torch.exp(-squared / (2 * AGE_SIGMA**2)))


def task_losses(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], progress: float, ages: AgeLoss = "published"
) -> dict[str, Tensor]:
    """Return the sum of each task's losses over the faces with a known label, by slug; all on the same device.

    `outputs` (n, width) by slug. `targets` (n,) by slug: years, nan if unknown, or classes, NO_CLASS if unknown; for
    DISTILLATION (n, width of the teacher) and EXPRESSION_DISTILLATION (n, 7), nan if unknown.
    A task without any known label has loss 0 and zero gradients, as all processes need gradients of the same tensors.
    """
    losses = {}
    for slug, target in targets.items():
        if slug == DISTILLATION:
            losses[slug] = distillation(outputs[EMBEDDING].float(), target).sum()
            continue
        if slug == EXPRESSION_DISTILLATION:
            losses[slug] = soft_cross_entropy(outputs["expression"].float(), target).sum()
            continue
        output = outputs[slug].float()
        if slug == "age":
            known = is_known(target)
            per_face = age_loss(output[:, 0], target.nan_to_num(), progress, ages)
            losses[slug] = torch.where(known, per_face, 0).sum()
        else:
            losses[slug] = F.cross_entropy(output, target, ignore_index=NO_CLASS, reduction="sum")
    return losses


def count_known(targets: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the number of faces with a known label, by task."""
    return {slug: int(is_known(target).sum()) for slug, target in targets.items()}


def is_known(target: Tensor) -> Tensor:
    """Return which of a task's targets, (n,) or (n, width), are known, (n,) bool."""
    return ~target.reshape(len(target), -1).isnan().any(1) if target.is_floating_point() else target != NO_CLASS


def distillation(embedding: Tensor, teacher: Tensor) -> Tensor:
    """Return 1 - cosine (n,) of embeddings (n, 512) and a teacher's (n, width), mapped into their space.

    The lengths do not matter. The loss is 0 where the teacher's embedding is unknown (nan).
    """
    known = is_known(teacher)
    target = teacher.nan_to_num() @ embedding_map(teacher.shape[1], embedding.shape[1]).to(teacher)
    return torch.where(known, 1 - F.cosine_similarity(embedding, target), 0)


def soft_cross_entropy(logits: Tensor, scores: Tensor) -> Tensor:
    """Return -sum p log q (n,) of a teacher's probabilities p (n, classes) and our logits; 0 where p is nan.

    Its gradient is that of the Kullback-Leibler divergence.
    """
    known = is_known(scores)
    return torch.where(known, -(scores.nan_to_num() * logits.log_softmax(1)).sum(1), 0)


@lru_cache(maxsize=2)
def embedding_map(width: int, into: int) -> Tensor:
    """Return a fixed (width, into) fp32 matrix with orthonormal rows, which preserves lengths and cosines.

    It is the identity for equal widths, else Q of the QR decomposition of normal numbers with a positive diagonal of R.
    Raises ValueError if width > into.
    """
    if width > into:
        raise ValueError(f"a teacher's embedding of {width} numbers does not fit into {into}")
    if width == into:
        return torch.eye(width)
    normal = np.random.default_rng(0).standard_normal((into, width))
    columns, triangle = np.linalg.qr(normal)
    return torch.from_numpy((columns * np.sign(np.diag(triangle))).T.astype(np.float32).copy())
