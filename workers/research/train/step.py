"""Take one training step: forward, losses, backward, update; stop if a number is not finite."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from faceanalytics.errors import UserError
from faceanalytics.files import writing
from workers.research.train.config import TrainConfig
from workers.research.train.loader import Batch
from workers.research.train.losses import task_losses
from workers.research.train.mixup import Teachers, mixed, mixed_losses
from workers.research.train.process import Process
from workers.research.train.schedule import set_rates
from workers.research.train.state import State, update_average
from workers.research.train.streams import TaskPlan
from workers.research.train.writing import save_tensors
from workers.swinface.labels import EMBEDDING

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
MIN_SCALE = 1e-4  # smallest fp16 loss scale, as fairseq's --min-loss-scale; if gradients still overflow, it diverged


class Diverged(UserError):
    """The loss or its gradient is no longer finite."""

    exit_code = 1


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """What a step needs besides the state that it changes."""

    config: TrainConfig
    process: Process
    plan: TaskPlan
    network: nn.Module  # the model, or DistributedDataParallel around it
    teachers: Teachers  # for mixed faces


@dataclass(frozen=True, slots=True, eq=False)
class StepResult:
    """The losses and learning rates of a step."""

    losses: dict[str, float]  # by slug; their mean over the processes is that over all faces with the label
    rates: dict[str, float]  # learning rates by group


def take_step(trainer: Trainer, state: State, batch: Batch, counts: dict[str, float]) -> StepResult:
    """Learn from a batch. Raises Diverged in all processes, after saving the batch and without an update.

    `counts`: by slug, the number of faces of all processes with a known label.
    """
    config, process = trainer.config, trainer.process
    seed = _step_seed(config.seed, state.step, process.rank)
    torch.manual_seed(seed)  # for dropout and stochastic depth
    rates = set_rates(state.optimiser.param_groups, state.schedule, state.step)
    on_device = batch.to(process.device)
    precision = config.run.precision
    mixture = mixed(on_device, trainer.plan.streams, config.mixup, bool(trainer.teachers.slugs), seed)
    faces = on_device.faces if mixture is None else torch.cat([on_device.faces.float(), mixture.faces])
    with torch.autocast(process.device.type, HALF.get(precision, torch.bfloat16), enabled=precision != "fp32"):
        outputs = trainer.network(faces)
        teacher_outputs = None if mixture is None else trainer.teachers.outputs(mixture)
    count = len(on_device.faces)
    losses = _losses(trainer, state, on_device, {slug: output[:count] for slug, output in outputs.items()}, counts)
    if mixture is not None and teacher_outputs is not None:
        of_mixture = {slug: output[count:] for slug, output in outputs.items()}
        for slug, loss in mixed_losses(
            of_mixture, mixture, teacher_outputs, _progress(trainer, state), config.age_loss
        ).items():
            losses[slug] = (losses[slug] + loss) / 2 if slug in losses else loss
    total = torch.stack([loss * config.weight(slug) for slug, loss in losses.items()]).sum()
    values = dict(zip((*losses, "total"), torch.stack([*losses.values(), total]).detach().tolist(), strict=True))
    bad = [f"loss of {slug}" for slug, loss in values.items() if not abs(loss) < float("inf")]
    _raise_if_diverged(trainer, state, batch, values, bad)
    state.optimiser.zero_grad(set_to_none=True)
    state.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
    check_gradients(state.model)
    _raise_if_diverged(trainer, state, batch, values, _update(trainer, state))
    state.step += 1
    if state.averaged is not None and config.optimiser.average is not None:
        update_average(state.averaged, state.model, config.optimiser.average, state.step)
    for stream in trainer.plan.streams:
        state.places[stream.name] += stream.batch * process.world
    return StepResult({slug: values[slug] for slug in losses}, rates)


def _losses(
    trainer: Trainer, state: State, batch: Batch, outputs: dict[str, Tensor], counts: dict[str, float]
) -> dict[str, Tensor]:
    """Return the losses by slug; their mean over the processes is the mean over all faces with a known label."""
    world = trainer.process.world
    sums = task_losses(outputs, batch.targets, _progress(trainer, state), trainer.config.age_loss)
    losses = {slug: total * world / max(counts[slug], 1) for slug, total in sums.items()}
    if state.centres is not None:
        rows = _recognition_rows(trainer.plan)
        generator = torch.Generator(trainer.process.device)
        generator.manual_seed(_step_seed(trainer.config.seed, state.step, trainer.process.rank) + 1)
        losses[EMBEDDING] = state.centres(outputs[EMBEDDING][rows], batch.persons[rows], generator)
    return losses


def _update(trainer: Trainer, state: State) -> list[str]:
    """Clip the gradient of each part and update; return what is not finite, without an update if anything is.

    A gradient that overflows fp16 is not an error: the step is skipped and the loss scale reduced.
    """
    options, scaler = trainer.config.optimiser, state.scaler
    scale = scaler.get_scale()
    scaler.unscale_(state.optimiser)
    parts: dict[str, list[nn.Parameter]] = {}
    for group in state.optimiser.param_groups:
        parts.setdefault(group["name"], []).extend(group["params"])
    norms = torch.stack([nn.utils.clip_grad_norm_(part, options.clip_norm) for part in parts.values()]).tolist()
    # the norms are the same in all processes, the persons differ
    bad = [f"gradient of {name}" for name, norm in zip(parts, norms, strict=True) if not norm < float("inf")]
    persons = [] if state.centres is None or state.centres.has_finite_gradient() else ["gradient of the persons"]
    if trainer.process.sums([float(len(persons))])[0] or (bad and not (scaler.is_enabled() and scale > MIN_SCALE)):
        return bad + persons
    if not bad:
        scaler.step(state.optimiser)
        if state.centres is not None:
            rate = state.schedule.rate(state.step, state.person_rate)
            state.centres.step(rate, options.weight_decay, options.betas, scale)
    scaler.update()
    return []


def _raise_if_diverged(trainer: Trainer, state: State, batch: Batch, losses: dict[str, float], bad: list[str]) -> None:
    """Save the batch and raise Diverged in all processes if a number in any of them is not finite."""
    if not trainer.process.sums([float(len(bad))])[0]:
        return
    path = trainer.config.out / f"not-finite-step-{state.step}-process-{trainer.process.rank}.pt"
    content = {"step": state.step, "losses": losses, "faces": batch.faces, "persons": batch.persons, **batch.targets}
    if trainer.process.is_main:
        content["model"] = state.model.state_dict()
    with writing(path):
        save_tensors(content, path)
    problem = f"{', '.join(bad)} is not finite" if bad else "a number in another process is not finite"
    raise Diverged(
        f"step {state.step}: {problem}. The batch is in {path}, and the file of process 0 also has the weights, which "
        "this step did not change. Inspect it, lower the learning rate or use a more exact precision (bf16, fp32), and "
        "go on from a checkpoint with --resume"
    )


def check_gradients(model: nn.Module) -> None:
    """Raise RuntimeError if a trainable tensor has no gradient: it would silently never learn."""
    without = [name for name, tensor in model.named_parameters() if tensor.requires_grad and tensor.grad is None]
    if without:
        raise RuntimeError(f"no gradient reaches {', '.join(without)}")


def _progress(trainer: Trainer, state: State) -> float:
    return state.step / trainer.config.steps


def _recognition_rows(plan: TaskPlan) -> slice:
    """Return the rows of the recognition stream in a batch."""
    first = 0
    for stream in plan.streams:
        if stream.recognition:
            return slice(first, first + stream.batch)
        first += stream.batch
    raise RuntimeError("no stream learns identity")


def _step_seed(seed: int, step: int, rank: int) -> int:
    """Return a seed that differs for each process and step."""
    return ((seed * 1_000_003 + step) * 65_537 + rank * 2) % 2**63
