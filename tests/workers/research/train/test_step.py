"""One step of the training, at its edges."""

from pathlib import Path

import pytest
import torch

from tests.support.training import configured, stream
from workers.research.train.config import load_train_config
from workers.research.train.loader import Batch, batches
from workers.research.train.mixup import Teachers
from workers.research.train.process import Process
from workers.research.train.state import fresh
from workers.research.train.step import MIN_SCALE, Diverged, Trainer, check_gradients, take_step
from workers.research.train.streams import open_plan
from workers.swinface.model import SwinFace, SwinFaceConfig

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = SwinFaceConfig(patch_size=8, channels=(32, 64), depths=(1, 1), fused_channels=(8, 16), gate_reduction=4)


def test_a_tensor_that_no_loss_reaches_is_noticed() -> None:
    model = SwinFace(TINY, ("age",))
    model(torch.zeros(2, 112, 112, 3))["age"].sum().backward()
    with pytest.raises(RuntimeError, match=r"no gradient reaches backbone.norm.weight, backbone.norm.bias, backbone"):
        check_gradients(model)
    model.backbone.norm.requires_grad_(False)
    model.backbone.feature.requires_grad_(False)
    check_gradients(model)


def test_fp16_does_not_scale_down_for_ever(tmp_path: Path) -> None:
    streams = {"one": stream("age", "ages", augment="none")}
    path = configured(tmp_path, streams=streams, weights={"age": 1e37}, run={"precision": "fp16"})
    config = load_train_config(path, {})
    plan, process = open_plan(config), Process(0, 1, torch.device("cpu"))
    (tmp_path / "run").mkdir()
    state = fresh(config, plan, process)
    state.model.get_parameter("heads.age.bias").data += 1e-3  # an error that is small: its loss is a number
    state.scaler = torch.amp.GradScaler("cpu", init_scale=3 * MIN_SCALE)
    before = {name: parameter.clone() for name, parameter in state.model.named_parameters()}
    trainer = Trainer(config, process, plan, state.model, Teachers(config, plan, process))
    found = batches(plan.streams, ("age",), 0, range(1), state.places, 0, 1, 0, False)
    (batch,) = (one for one in found if isinstance(one, Batch))
    batch.targets["age"].fill_(plan.mean_age)
    scales = []
    with pytest.raises(Diverged, match=r"gradient of .* is not finite"):  # noqa: PT012
        for _ in range(10):
            take_step(trainer, state, batch, {"age": 4.0})
            scales.append(state.scaler.get_scale())
    assert scales == pytest.approx([1.5 * MIN_SCALE, 0.75 * MIN_SCALE])
    assert all(torch.equal(parameter, before[name]) for name, parameter in state.model.named_parameters())
