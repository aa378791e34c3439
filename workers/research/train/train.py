"""Run a training: `swinface train`, alone or in every process that torchrun starts."""

import logging
from contextlib import closing

from torch import nn

from faceanalytics.errors import InputError
from workers.research.train import checkpoints
from workers.research.train.config import TrainConfig
from workers.research.train.loader import batches
from workers.research.train.mixup import Teachers
from workers.research.train.monitor import Monitor
from workers.research.train.process import Process, join, leave
from workers.research.train.state import State, average_statistics, fresh
from workers.research.train.step import Trainer, take_step
from workers.research.train.stop import StopRequest, exchange_status, stop_on_signals, unreadable_error
from workers.research.train.streams import TaskPlan, open_plan
from workers.research.train.validate import Validation

log = logging.getLogger(__name__)


def train(config: TrainConfig, resume: str | None = None, allow_changes: bool = False) -> int:
    """Train as configured and return the exit code: 0, or 128 + signal number if a signal stopped it.

    `resume`: folder of a checkpoint, or "last" for the newest one in `out`; None starts a new training, for which `out`
    must have no checkpoint. Raises ConfigError, InputError, ModelError, Diverged.
    """
    process = join(config.run.device, config.run.threads)
    if not process.is_main:  # all processes would log the same
        logging.getLogger("workers").setLevel(logging.ERROR)
    try:
        with stop_on_signals() as stop_request:
            return train_in(process, config, stop_request, resume, allow_changes)
    finally:
        leave()


def train_in(
    process: Process,
    config: TrainConfig,
    stop_request: StopRequest,
    resume: str | None = None,
    allow_changes: bool = False,
) -> int:
    """Train in one of the processes; otherwise like `train`."""
    folder = checkpoints.checkpoint_to_resume(config.out, resume)
    plan = open_plan(config)
    validation = Validation(config, process, plan, stop_request)
    state = fresh(config, plan, process, initialise=folder is None)
    if folder is not None:
        checkpoints.resume(state, folder, config, plan, allow_changes)
        log.info("resuming from %s, step %d of %d", folder, state.step, config.steps)
    _log_summary(state, plan, process)
    teachers = Teachers(config, plan, process)
    trainer = Trainer(config, process, plan, distributed(state.model, process), teachers)
    slugs = tuple(dict.fromkeys((*plan.losses, *teachers.slugs)))
    monitor = Monitor(config.out, process, slugs, config.steps, state.step, state.unreported)
    try:
        return _run(trainer, state, validation, monitor, stop_request, saved=folder is not None)
    finally:
        monitor.close()


def _run(
    trainer: Trainer, state: State, validation: Validation, monitor: Monitor, stop_request: StopRequest, saved: bool
) -> int:
    """Take all remaining steps and return the exit code. `saved`: a checkpoint already holds the current state."""
    config, process, run = trainer.config, trainer.process, trainer.config.run
    slugs = trainer.plan.tasks
    steps = range(state.step, config.steps)
    pinned = process.device.type == "cuda"
    loaded = batches(
        trainer.plan.streams, slugs, config.seed, steps, dict(state.places), process.rank, process.world,
        run.loaders, pinned,
    )  # fmt: skip
    with closing(loaded):
        while True:
            last = state.step == config.steps
            if _is_due(validation, state, config) and _validate(trainer, state, validation, monitor):
                saved = False
            if not saved and state.step and (last or state.step % run.checkpoint_steps == 0):
                _save(trainer, state, monitor)
                saved = True
            if last and not _is_due(validation, state, config):
                return 0
            if last:
                log.info("stopped during the last validation; --resume last repeats it")
                return stop_request.exit_code
            batch = next(loaded)
            status = exchange_status(batch, slugs, process, stop_request)
            if status.stopped:
                if not saved:
                    _save(trainer, state, monitor)
                log.info("stopped after step %d; --resume last goes on from there", state.step)
                if status.unreadable:
                    raise unreadable_error(batch)
                return stop_request.exit_code
            if isinstance(batch, InputError):
                raise batch
            result = take_step(trainer, state, batch, status.known)
            saved = False
            labelled = {slug for slug in result.losses if status.known.get(slug, 1)}
            monitor.add(result.losses, labelled, trainer.plan.faces * process.world)
            if state.step % run.log_steps == 0 or state.step == config.steps:
                monitor.report(state.step, result.rates)


def _is_due(validation: Validation, state: State, config: TrainConfig) -> bool:
    """Return whether to validate after this step; False if that was already done."""
    if not validation.plans or not state.step or state.metrics.get("step") == state.step:
        return False
    return state.step % config.validate_by.every_steps == 0 or state.step == config.steps


def _validate(trainer: Trainer, state: State, validation: Validation, monitor: Monitor) -> bool:
    """Validate, and save the weights if they are the best so far; return False if a signal interrupted it."""
    model = state.averaged or state.model
    average_statistics(model, trainer.process)
    measurement = validation.measure(model)
    monitor.restart_clock(state.step)
    if measurement is None:
        return False
    metrics, skill = measurement
    state.metrics = {"step": state.step, "skill": skill, **metrics}
    monitor.write(state.step, {"validation/skill": skill, **{f"validation/{name}": v for name, v in metrics.items()}})
    shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    log.info("validation after step %d: skill %.4f; %s", state.step, skill, shown)
    if state.best is None or skill > state.best:
        state.best = skill
        checkpoints.save_best(state, trainer.config, trainer.plan, trainer.process)
    monitor.restart_clock(state.step)
    return True


def _save(trainer: Trainer, state: State, monitor: Monitor) -> None:
    state.unreported = monitor.unreported()
    checkpoints.save(state, trainer.config, trainer.plan, trainer.process)
    monitor.restart_clock(state.step)


def distributed(model: nn.Module, process: Process) -> nn.Module:
    """Wrap the network so that the processes average their gradients."""
    if process.world == 1:
        return model
    devices = [process.device] if process.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(
        model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
    )


def _log_summary(state: State, plan: TaskPlan, process: Process) -> None:
    trained = sum(parameter.numel() for parameter in state.model.parameters() if parameter.requires_grad)
    log.info(
        "%d process%s on %s, %d faces per step; %s parameters; %d persons; learning %s",
        process.world, "es" * (process.world > 1), process.device.type, plan.faces * process.world, f"{trained:,}",
        len(plan.people), ", ".join(plan.outputs),
    )  # fmt: skip
