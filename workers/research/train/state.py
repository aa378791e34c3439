"""Build the state of a training from its configuration."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from faceanalytics.errors import ConfigError
from workers.research.train.config import TrainConfig
from workers.research.train.partial_fc import PartialFC
from workers.research.train.process import Process
from workers.research.train.schedule import REFERENCE_BATCH, Schedule, groups
from workers.research.train.streams import TaskPlan
from workers.swinface.checkpoint import UNTRAINED, load
from workers.swinface.model import SwinFace, SwinFaceConfig, output_slugs
from workers.weights.registry import find

NOT_SIZES = ("drop_path", "dropout", "batch_norm_eps")  # settings of a network that do not affect the shape of weights
SCALE_GROWTH_STEPS = 100  # as published

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class State:
    """All that changes during a training. Random numbers have no state: each step seeds its own."""

    model: SwinFace
    centres: PartialFC | None  # of the persons of this process; None: identity is not learnt
    optimiser: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    schedule: Schedule
    person_rate: float  # peak learning rate of the centres
    places: dict[str, int]  # by stream: number of its faces that all processes have used
    step: int = 0  # steps done
    averaged: SwinFace | None = None  # moving average of the model's weights, if configured
    best: float | None = None  # highest skill of a validation
    metrics: dict[str, Any] = field(default_factory=dict)  # of the last validation
    unreported: Mapping[str, tuple[float, int]] = field(default_factory=dict)  # see Monitor.unreported


def fresh(config: TrainConfig, plan: TaskPlan, process: Process, initialise: bool = True) -> State:
    """Return the state before the first step. Raises ConfigError, ModelError if `start_from` does not fit.

    `initialise`: load the weights of `start_from`; not needed if a checkpoint replaces them.
    """
    torch.manual_seed(config.seed)
    model = SwinFace(SwinFaceConfig(**config.model.model_dump()), plan.outputs)
    loaded = start_from(model, config.start_from) if initialise and config.start_from is not None else set()
    if "age" in plan.outputs and "age" not in loaded:
        with torch.no_grad():
            model.get_parameter("heads.age.bias").fill_(plan.mean_age)
    if not model.recognises:  # only the embedding uses them
        model.backbone.norm.requires_grad_(False)
        model.backbone.feature.requires_grad_(False)
    model.to(process.device)
    scale = plan.faces * process.world / REFERENCE_BATCH
    options = config.optimiser
    rate = options.learning_rate * scale
    schedule = Schedule(
        config.steps, options.warmup_steps, options.warmup_learning_rate * scale, options.final_learning_rate * scale
    )
    optimiser = torch.optim.AdamW(
        groups(model, rate, options.backbone_factor, options.weight_decay),
        lr=rate,
        betas=options.betas,
        fused=process.device.type == "cuda",
    )
    scaler = torch.amp.GradScaler(
        process.device.type, enabled=config.run.precision == "fp16", growth_interval=SCALE_GROWTH_STEPS
    )
    places = {stream.name: 0 for stream in plan.streams}
    averaged = None if options.average is None else deepcopy(model).requires_grad_(False)
    centres = _centres(config, plan, process)
    return State(model, centres, optimiser, scaler, schedule, rate, places, averaged=averaged)


def start_from(model: SwinFace, weights: str) -> set[str]:
    """Copy all matching weights of a file into the network and return the outputs that the file has.

    The backbone must fit. Subnets and heads that the file lacks stay untrained and are logged. Raises ModelError,
    ConfigError.
    """
    if weights == UNTRAINED:
        raise ConfigError(f"start_from: {UNTRAINED} is the default: leave `start_from` out")
    source, _ = load(find(weights))
    if differing := _size_differences(source.config, model.config):
        raise ConfigError(f"start_from: {weights} has another size than `model`: {differing}")
    loaded, own = source.state_dict(), model.state_dict()
    for name, tensor in own.items():
        if name.startswith(("fam.", "tss.")) and tensor.dim():
            rows = loaded[name].unflatten(0, (len(source.subnets), -1)) if source.tasks else tensor[:0]
            for index, subnet in enumerate(model.subnets):
                if subnet in source.subnets:
                    tensor.unflatten(0, (len(model.subnets), -1))[index].copy_(rows[source.subnets.index(subnet)])
        elif name in loaded:
            tensor.copy_(loaded[name])
    outputs = set(output_slugs(source))
    if new := [slug for slug in output_slugs(model) if slug not in outputs]:
        log.warning("start_from: %s was not trained for %s, which start untrained", weights, ", ".join(new))
    return outputs


@torch.no_grad()
def update_average(averaged: SwinFace, model: SwinFace, decay: float, step: int) -> None:
    """Move the averaged weights and statistics towards the model's after `step` steps.

    The decay is min(decay, (1 + step) / (10 + step)), faster at first (TensorFlow's ExponentialMovingAverage).
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    pairs = list(zip(averaged.state_dict().values(), model.state_dict().values(), strict=True))
    moving = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([old for old, _ in moving], [new for _, new in moving], share)
    for old, new in pairs:
        if not old.is_floating_point():  # batch counters
            old.copy_(new)


def average_statistics(model: SwinFace, process: Process) -> None:
    """Average the batch norms' statistics over all processes; the published code keeps those of the first one."""
    buffers = [buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    process.average(buffers)


def _size_differences(source: SwinFaceConfig, model: SwinFaceConfig) -> str:
    """Describe the settings for which the weights of one network do not fit the other."""
    new = asdict(model)
    differing = {key: old for key, old in asdict(source).items() if key not in NOT_SIZES and old != new[key]}
    return ", ".join(f"{key} is {old} instead of {new[key]}" for key, old in differing.items())


def _centres(config: TrainConfig, plan: TaskPlan, process: Process) -> PartialFC | None:
    if not plan.people:
        return None
    options = config.recognition
    try:
        centres = PartialFC(
            len(plan.people), SwinFaceConfig().embedding, options.margin, options.scale, options.sample_rate,
            config.seed,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return centres.to(process.device)
