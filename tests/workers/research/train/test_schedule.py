"""Learning rates by step, and the groups that learn with them."""

import pytest
import torch

from workers.research.train.schedule import Schedule, groups, set_rates
from workers.swinface.labels import OUTPUTS
from workers.swinface.model import SwinFace, SwinFaceConfig

PAPER = Schedule(steps=80_000, warmup_steps=8000, warmup_rate=5e-7, final_rate=5e-6)


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 5e-7), (4000, 2.5025e-4), (7999, 4.999e-4), (8000, 4.8789e-4), (40_000, 2.525e-4), (80_000, 5e-6)],
)
def test_the_rate_is_the_published_one(step: int, rate: float) -> None:
    assert PAPER.rate(step, 5e-4) == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize(("step", "rate"), [(0, 5e-7), (8000, 4.890e-5), (80_000, 5e-6)])
def test_the_backbone_learns_slower_and_ends_at_the_same_rate(step: int, rate: float) -> None:
    assert PAPER.rate(step, 5e-5) == pytest.approx(rate, rel=1e-3)


def test_without_a_warm_up_the_cosine_begins_at_once() -> None:
    assert Schedule(100, 0, 1e-7, 0.0).rate(0, 1.0) == 1.0


def test_the_published_schedule_is_that_of_timm() -> None:
    from timm.scheduler.cosine_lr import CosineLRScheduler

    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=5e-4)
    theirs = CosineLRScheduler(
        optimiser, t_initial=80_000, lr_min=5e-6, warmup_t=8000, warmup_lr_init=5e-7, warmup_prefix=False,
        t_in_epochs=False,
    )  # fmt: skip
    for step in (1, 100, 7999, 8000, 8001, 30_000, 79_999):
        theirs.step_update(step)
        assert PAPER.rate(step, 5e-4) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12)


def test_every_parameter_is_in_one_group_and_only_matrices_are_decayed() -> None:
    with torch.device("meta"):
        model = SwinFace(SwinFaceConfig())
    found = groups(model, 5e-4, 0.1, 0.05)
    assert sum(len(group["params"]) for group in found) == len(list(model.parameters()))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {names[id(p)] for group in found if group["weight_decay"] for p in group["params"]}
    assert "heads.gender.weight" in decayed
    assert not [name for name in decayed if name.endswith(("bias", "norm.weight", "bias_table", "norm1.weight"))]
    assert {group["name"]: group["base"] for group in found} == {
        "backbone": pytest.approx(5e-5), "fam": 5e-4, "tss": 5e-4, "heads": 5e-4,
    }  # fmt: skip


def test_a_parameter_outside_of_the_known_parts_is_noticed() -> None:
    with torch.device("meta"):
        model = SwinFace(SwinFaceConfig(), ["age"])
        model.forgotten = torch.nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match=r"forgotten\.weight, forgotten\.bias"):
        groups(model, 1.0, 1.0, 0.0)


def test_rates_are_set_by_group() -> None:
    with torch.device("meta"):
        model = SwinFace(SwinFaceConfig(), OUTPUTS)
    found = groups(model, 5e-4, 0.1, 0.05)
    rates = set_rates(found, PAPER, 4000)
    assert rates["backbone"] == pytest.approx(2.525e-5, rel=1e-3)
    assert {group["lr"] for group in found} == set(rates.values())
