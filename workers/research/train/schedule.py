"""Define the learning rate schedule and the parameter groups."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, pi
from typing import Any

from torch import nn

from workers.swinface.model import SwinFace

REFERENCE_BATCH = 512  # faces per step over all GPUs in the paper; learning rates are scaled relative to it
NOT_DECAYED = ("relative_position_bias_table",)  # besides all one-dimensional tensors: biases, scales of norms


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up, then a cosine that starts at step 0: timm's CosineLRScheduler with warmup_prefix=False.

    The rate therefore drops onto the cosine after the warm-up, from 5e-4 to 4.879e-4 in the published training.
    """

    steps: int
    warmup_steps: int
    warmup_rate: float  # at step 0
    final_rate: float  # at the last step, for every group

    def rate(self, step: int, base: float) -> float:
        """Return the learning rate at a step, counted from 0, of a group with peak rate `base`."""
        if step < self.warmup_steps:
            return self.warmup_rate + step * (base - self.warmup_rate) / self.warmup_steps
        return self.final_rate + 0.5 * (base - self.final_rate) * (1 + cos(pi * min(step, self.steps) / self.steps))


def groups(model: SwinFace, rate: float, backbone_factor: float, decay: float) -> list[dict[str, Any]]:
    """Return the published groups for AdamW, backbone (slower), fam, tss and heads, each split by weight decay.

    The published code decays all parameters; here, as in Swin, one-dimensional ones and relative position tables are
    not decayed. Raises RuntimeError if a parameter is in no group: it would silently never learn.
    """
    parts: dict[str, nn.Module] = {"backbone": model.backbone}
    if model.tasks:
        parts |= {"fam": model.fam, "tss": model.tss, "heads": model.heads}
    all_groups: list[dict[str, Any]] = []
    for name, part in parts.items():
        base = rate * backbone_factor if name == "backbone" else rate
        kept: tuple[list[nn.Parameter], list[nn.Parameter]] = [], []
        for parameter_name, parameter in part.named_parameters():
            kept[parameter.dim() < 2 or parameter_name.endswith(NOT_DECAYED)].append(parameter)
        for parameters, weight_decay in zip(kept, (decay, 0.0), strict=True):
            all_groups.append({"name": name, "params": parameters, "base": base, "weight_decay": weight_decay})
    grouped = {id(parameter) for group in all_groups for parameter in group["params"]}
    if missing := [name for name, parameter in model.named_parameters() if id(parameter) not in grouped]:
        raise RuntimeError(f"in no parameter group: {', '.join(missing)}")
    return all_groups


def set_rates(param_groups: Iterable[dict[str, Any]], schedule: Schedule, step: int) -> dict[str, float]:
    """Set the learning rates of a step and return them by group name."""
    rates = {}
    for group in param_groups:
        group["lr"] = rates[group["name"]] = schedule.rate(step, group["base"])
    return rates
