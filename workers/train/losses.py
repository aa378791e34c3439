"""What SwinFace learns from: one loss per task, each the mean over the faces whose label is known."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

AGE_SIGMA = 3.0  # years
NO_CLASS = -1  # target of a face whose label is not known


def age_loss(predicted: Tensor, age: Tensor, progress: float) -> Tensor:
    """(n,) losses of ages in years, from the squared error at `progress` 0 to a bounded one at 1.

    (1 - p) / 2 * d^2 + p * (1 - exp(-d^2 / (2 * 3^2))) with d = predicted - age (published analysis/losses.py).
    """
    squared = (predicted - age) ** 2
    return (1 - progress) / 2 * squared + progress * (1 - torch.exp(-squared / (2 * AGE_SIGMA**2)))


def task_losses(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], progress: float) -> dict[str, Tensor]:
    """The sum of each task's losses over the faces that have its label, by slug; all on the same device.

    `outputs` (n, width) by slug; `targets` (n,) by slug: years, nan if unknown; else classes, NO_CLASS if unknown.
    A task none of whose labels is known has the loss 0, with gradients of 0: every process must have the same ones.
    """
    found = {}
    for slug, target in targets.items():
        output = outputs[slug].float()
        if slug == "age":
            known = ~target.isnan()
            losses = age_loss(output[:, 0], target.nan_to_num(), progress)
            found[slug] = torch.where(known, losses, 0).sum()
        else:
            found[slug] = F.cross_entropy(output, target, ignore_index=NO_CLASS, reduction="sum")
    return found


def known(targets: Mapping[str, Tensor]) -> dict[str, int]:
    """How many faces have each task's label."""
    return {
        slug: int((~target.isnan() if target.is_floating_point() else target != NO_CLASS).sum())
        for slug, target in targets.items()
    }
