"""How fast training learns at each step, and which parameters learn how."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, pi
from typing import Any

from torch import nn

from workers.swinface.model import SwinFace

WORLD_OF_THE_PAPER = 512  # faces of one step over all GPUs; learning rates are scaled from it
NOT_DECAYED = ("relative_position_bias_table",)  # besides everything of one dimension: biases, scales of norms


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up, then a cosine that counts from step 0: timm's CosineLRScheduler with warmup_prefix=False.

    At the end of the warm-up the rate therefore drops onto the cosine, 5e-4 to 4.879e-4 in the published training.
    """

    steps: int
    warmup_steps: int
    warmup_rate: float  # at step 0
    final_rate: float  # at the last step, for every group

    def rate(self, step: int, base: float) -> float:
        """The learning rate of step 0, 1, ... in a group whose highest rate is `base`."""
        if step < self.warmup_steps:
            return self.warmup_rate + step * (base - self.warmup_rate) / self.warmup_steps
        return self.final_rate + 0.5 * (base - self.final_rate) * (1 + cos(pi * min(step, self.steps) / self.steps))


def groups(model: SwinFace, rate: float, backbone_factor: float, decay: float) -> list[dict[str, Any]]:
    """The published groups for AdamW: backbone (slower), fam, tss, heads; each in a decayed and an undecayed part.

    Published, everything is decayed; here, as in Swin, not what has one dimension, nor the tables of relative
    positions. Raises RuntimeError if a parameter is in no group: it would silently never learn.
    """
    parts: dict[str, nn.Module] = {"backbone": model.backbone}
    if model.tasks:
        parts |= {"fam": model.fam, "tss": model.tss, "heads": model.heads}
    found: list[dict[str, Any]] = []
    for name, part in parts.items():
        base = rate * backbone_factor if name == "backbone" else rate
        kept: tuple[list[nn.Parameter], list[nn.Parameter]] = [], []
        for parameter_name, parameter in part.named_parameters():
            kept[parameter.dim() < 2 or parameter_name.endswith(NOT_DECAYED)].append(parameter)
        for parameters, weight_decay in zip(kept, (decay, 0.0), strict=True):
            found.append({"name": name, "params": parameters, "base": base, "weight_decay": weight_decay})
    grouped = {id(parameter) for group in found for parameter in group["params"]}
    if lost := [name for name, parameter in model.named_parameters() if id(parameter) not in grouped]:
        raise RuntimeError(f"in no parameter group: {', '.join(lost)}")
    return found


def set_rates(param_groups: Iterable[dict[str, Any]], schedule: Schedule, step: int) -> dict[str, float]:
    """Set the learning rates of a step; the rate of each group by name."""
    rates = {}
    for group in param_groups:
        group["lr"] = rates[group["name"]] = schedule.rate(step, group["base"])
    return rates
