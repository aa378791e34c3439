"""Training SwinFace, read from the top: `swinface train`, alone or in every process that torchrun starts."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from workers.errors import ConfigError, InputError, UserError
from workers.swinface.labels import EMBEDDING
from workers.train import state as states
from workers.train.config import TrainConfig
from workers.train.loader import Batch, batches
from workers.train.losses import known, task_losses
from workers.train.monitor import Monitor
from workers.train.process import Process, join, leave
from workers.train.schedule import set_rates
from workers.train.state import State
from workers.train.streams import Course, open_course
from workers.train.validate import Validation

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}

log = logging.getLogger(__name__)


class Diverged(UserError):
    """The loss is no number any more."""

    exit_code = 1


@dataclass(slots=True)
class Asked:
    """A signal that asks the training to save and stop."""

    signal: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """What the steps need besides the state that they change."""

    config: TrainConfig
    process: Process
    course: Course
    network: nn.Module  # the model, or DistributedDataParallel around it


def train(config: TrainConfig, resume: str | None = None, allow_changes: bool = False) -> int:
    """Train as configured; the exit code: 0 done, 128 + signal when one asked to stop.

    `resume`: folder of a checkpoint, or "last" for the newest of `out`; None begins anew, in an `out` without any.
    Raises ConfigError, InputError, ModelError, Diverged.
    """
    process = join(config.run.device, config.run.threads)
    try:
        with _asking() as asked:
            return _train(config, process, resume, allow_changes, asked)
    finally:
        leave()


def _train(config: TrainConfig, process: Process, resume: str | None, allow_changes: bool, asked: Asked) -> int:
    folder = _checkpoint(config.out, resume)
    course = open_course(config)
    validation = Validation(config, process, course.outputs)
    state = states.fresh(config, course, process)
    if folder is not None:
        states.resume(state, folder, config, allow_changes)
        log.info("going on from %s, step %d of %d", folder, state.step, config.steps)
    if process.leads:
        config.out.mkdir(parents=True, exist_ok=True)
        _say_what_is_trained(state, course, process)
    trainer = Trainer(config, process, course, _distributed(state.model, process))
    monitor = Monitor(config.out, process, course.outputs, config.steps, state.step)
    try:
        return _run(trainer, state, validation, monitor, asked)
    finally:
        monitor.close()


def _run(trainer: Trainer, state: State, validation: Validation, monitor: Monitor, asked: Asked) -> int:
    """All steps that are left."""
    config, process, run = trainer.config, trainer.process, trainer.config.run
    taught = tuple(slug for slug in trainer.course.outputs if slug != EMBEDDING)
    steps = range(state.step, config.steps)
    pinned = process.device.type == "cuda"
    saved = state.step
    faces = batches(
        trainer.course.streams, taught, config.seed, steps, process.rank, process.world, run.loaders, pinned
    )
    for step in steps:
        batch = next(faces)
        counts = _agree(batch, taught, process, asked)
        if counts.stopped:
            if saved != state.step:
                states.save(state, config, process, states.card(config, trainer.course, state))
            log.info("stopped after step %d; --resume last goes on from there", state.step)
            if counts.unreadable:
                raise _unreadable(batch)
            return 128 + (asked.signal or signal.SIGTERM)
        assert isinstance(batch, Batch)
        rates = _step(trainer, state, batch, counts.known, monitor)
        state.step = step + 1
        last = state.step == config.steps
        if state.step % run.log_steps == 0 or last:
            monitor.report(state.step, rates)
        if validation.plans and (state.step % config.validate_by.every_steps == 0 or last):
            _validate(trainer, state, validation, monitor)
        if state.step % run.checkpoint_steps == 0 or last:
            states.save(state, config, process, states.card(config, trainer.course, state))
            saved = state.step
            monitor.restart_clock(state.step)
    return 0


def _step(trainer: Trainer, state: State, batch: Batch, counts: dict[str, float], monitor: Monitor) -> dict[str, float]:
    """One step; the learning rates by group. Raises Diverged, having saved the batch."""
    config, process = trainer.config, trainer.process
    torch.manual_seed(_mixed(config.seed, state.step, process.rank))  # dropout and skipped blocks
    rates = set_rates(state.optimiser.param_groups, state.schedule, state.step)
    there = batch.to(process.device)
    precision = config.run.precision
    with torch.autocast(process.device.type, HALF.get(precision, torch.bfloat16), enabled=precision != "fp32"):
        outputs = trainer.network(there.faces)
    losses = _losses(trainer, state, there, outputs, counts)
    total = torch.stack([loss * config.weight(slug) for slug, loss in losses.items()]).sum()
    values = torch.stack([*losses.values(), total]).detach().tolist()
    _check_finite(trainer, state, batch, dict(zip((*losses, "total"), values, strict=True)))
    state.optimiser.zero_grad(set_to_none=True)
    state.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
    if state.step == 0:
        _check_gradients(state.model)
    _update(trainer, state)
    taught = {slug for slug in losses if slug == EMBEDDING or counts[slug]}
    world = process.world
    monitor.add(dict(zip(losses, values, strict=False)), taught, trainer.course.faces * world)
    return rates


def _losses(
    trainer: Trainer, state: State, batch: Batch, outputs: dict[str, Tensor], counts: dict[str, float]
) -> dict[str, Tensor]:
    """By slug; the mean over the processes is the mean over all faces that have the label."""
    world = trainer.process.world
    progress = state.step / trainer.config.steps
    sums = task_losses(outputs, batch.targets, progress)
    losses = {slug: total * world / max(counts[slug], 1) for slug, total in sums.items()}
    if state.centres is not None:
        rows = _recognition_rows(trainer.course)
        generator = torch.Generator(trainer.process.device)
        generator.manual_seed(_mixed(trainer.config.seed, state.step, trainer.process.rank) + 1)
        losses[EMBEDDING] = state.centres(outputs[EMBEDDING][rows], batch.persons[rows], generator)
    return losses


def _update(trainer: Trainer, state: State) -> None:
    """Clip the gradient of each part, and take the optimisers' step. A gradient that fp16 could not hold is skipped."""
    options = trainer.config.optimiser
    scale = state.scaler.get_scale()
    state.scaler.unscale_(state.optimiser)
    parts: dict[str, list[nn.Parameter]] = {}
    for group in state.optimiser.param_groups:
        parts.setdefault(group["name"], []).extend(group["params"])
    for parameters in parts.values():
        nn.utils.clip_grad_norm_(parameters, options.clip_norm)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    if state.centres is not None:
        rate = state.schedule.rate(state.step, state.person_rate)
        state.centres.step(rate, options.weight_decay, options.betas, scale)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all processes know before a step."""

    known: dict[str, float]  # by slug: faces of all processes that have the label
    stopped: bool = False
    unreadable: bool = False


def _agree(batch: Batch | InputError, slugs: tuple[str, ...], process: Process, asked: Asked) -> Agreement:
    """Stop all, or go on with the number of labels of all."""
    unreadable = isinstance(batch, InputError)
    counts = dict.fromkeys(slugs, 0) if isinstance(batch, InputError) else known(batch.targets)
    told = process.sums([float(asked.signal != 0), float(unreadable), *(float(counts[slug]) for slug in slugs)])
    return Agreement(dict(zip(slugs, told[2:], strict=True)), bool(told[0] or told[1]), bool(told[1]))


def _unreadable(batch: Batch | InputError) -> InputError:
    reason = str(batch) if isinstance(batch, InputError) else "another process met a picture that it cannot read"
    return InputError(
        f"{reason}\nThe training was saved and has stopped. `swinface data check` lists all such pictures and writes a "
        "file for the set's option `exclude`; go on with --resume last --allow-changes"
    )


def _validate(trainer: Trainer, state: State, validation: Validation, monitor: Monitor) -> None:
    """Measure, and keep the weights if they are the best so far."""
    states.average_statistics(state.model, trainer.process)
    metrics, skill = validation.measure(state.model)
    skill = trainer.process.told(skill)
    state.metrics = {"step": state.step, "skill": skill, **metrics}
    monitor.write(state.step, {"validation/skill": skill, **{f"validation/{name}": v for name, v in metrics.items()}})
    if trainer.process.leads:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        log.info("validation after step %d: skill %.4f; %s", state.step, skill, shown)
    if state.best is None or skill > state.best:
        state.best = skill
        if trainer.process.leads:
            states.save_best(state, trainer.config, states.card(trainer.config, trainer.course, state))
    trainer.process.wait()
    monitor.restart_clock(state.step)


def _check_finite(trainer: Trainer, state: State, batch: Batch, losses: dict[str, float]) -> None:
    """Raise Diverged in all processes if a loss of one is not finite; nothing was learnt from the batch yet."""
    bad = [slug for slug, loss in losses.items() if not abs(loss) < float("inf")]
    if not trainer.process.sums([float(bool(bad))])[0]:
        return
    path = trainer.config.out / f"not-finite-step-{state.step}-process-{trainer.process.rank}.pt"
    content = {"step": state.step, "losses": losses, "faces": batch.faces, "persons": batch.persons, **batch.targets}
    torch.save({**content, "model": trainer.process.leads and state.model.state_dict()}, path)
    what = f"the loss of {', '.join(bad)} is not finite" if bad else "the loss of another process is not finite"
    raise Diverged(
        f"{what} at step {state.step}; its batch and the weights are in {path}. Look at them, lower the learning rate "
        "or the precision's speed (bf16, fp32), and go on from a checkpoint with --resume"
    )


def _check_gradients(model: nn.Module) -> None:
    """Raise RuntimeError for a trainable tensor that the loss does not reach: it would silently never learn."""
    without = [name for name, tensor in model.named_parameters() if tensor.requires_grad and tensor.grad is None]
    if without:
        raise RuntimeError(f"no gradient reaches {', '.join(without)}")


def _checkpoint(out: Path, resume: str | None) -> Path | None:
    """The folder to go on from. Raises ConfigError, so that no run is overwritten or begun anew unawares."""
    there = states.checkpoints(out)
    if resume is None:
        if there:
            raise ConfigError(f"{out} holds a training already ({there[-1].name}): say --resume last, or another `out`")
        return None
    if resume == "last":
        if not there:
            raise ConfigError(f"--resume last: there is no checkpoint in {out}")
        return there[-1]
    if not (Path(resume) / states.WEIGHTS).is_file():
        raise ConfigError(f"--resume {resume}: no such checkpoint; name a folder with {states.WEIGHTS}, or say last")
    return Path(resume)


def _distributed(model: nn.Module, process: Process) -> nn.Module:
    if process.world == 1:
        return model
    devices = [process.device] if process.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(
        model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
    )


def _recognition_rows(course: Course) -> slice:
    """Where the faces of the recognition stream lie in a batch."""
    first = 0
    for stream in course.streams:
        if stream.recognition:
            return slice(first, first + stream.batch)
        first += stream.batch
    raise RuntimeError("no stream learns identity")


def _say_what_is_trained(state: State, course: Course, process: Process) -> None:
    trained = sum(parameter.numel() for parameter in state.model.parameters() if parameter.requires_grad)
    log.info(
        "%d processes on %s, %d faces a step; %s parameters; %d persons; learning %s",
        process.world, process.device.type, course.faces * process.world, f"{trained:,}", course.persons,
        ", ".join(course.outputs),
    )  # fmt: skip


def _mixed(seed: int, step: int, rank: int) -> int:
    """One number of three; different for each process and step."""
    return (seed * 1_000_003 + step) * 65_537 + rank * 2


@contextmanager
def _asking() -> Iterator[Asked]:
    """The first SIGTERM or SIGINT asks the training to save and stop, the second one ends it at once."""
    asked = Asked()

    def ask(number: int, _: FrameType | None) -> None:
        if asked.signal:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked.signal = number

    before: dict[int, Any] = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
