"""All that a training consists of between two steps: built from the configuration, saved, and gone on with."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from workers.errors import ConfigError, InputError
from workers.swinface.checkpoint import load, load_own, save_own
from workers.swinface.labels import EMBEDDING
from workers.swinface.model import SwinFace, SwinFaceConfig
from workers.train.config import TrainConfig
from workers.train.partial_fc import PartialFC, joined
from workers.train.process import Process
from workers.train.schedule import WORLD_OF_THE_PAPER, Schedule, groups
from workers.train.streams import Course

WEIGHTS = "weights.safetensors"
SCHEMA = 1
FREE = ("run", "validate", "out", "licence")  # sections that may change when a run goes on

PLACES = ("path", "images", "exclude")  # of a set: other machines have their own

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class State:
    """Between two steps. Random numbers have no state: each step draws from its own number and the seed."""

    model: SwinFace
    centres: PartialFC | None  # of the persons of this process; None: identity is not learnt
    optimiser: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    schedule: Schedule
    person_rate: float  # highest learning rate of the centres
    step: int = 0  # steps done
    best: float | None = None  # highest skill of a validation
    metrics: dict[str, Any] = field(default_factory=dict)  # of the last validation


def fresh(config: TrainConfig, course: Course, process: Process) -> State:
    """The state before the first step. Raises ConfigError, ModelError if `start_from` does not fit."""
    torch.manual_seed(config.seed)
    numbers = SwinFaceConfig(**config.model.model_dump())
    model = SwinFace(numbers, course.outputs)
    began = set() if config.start_from is None else start_from(model, config.start_from)
    if "age" in course.outputs and "age" not in began:
        with torch.no_grad():
            model.get_parameter("heads.age.bias").fill_(course.mean_age)
    if not model.recognises:  # only the embedding uses them
        model.backbone.norm.requires_grad_(False)
        model.backbone.feature.requires_grad_(False)
    model.to(process.device)
    scale = course.faces * process.world / WORLD_OF_THE_PAPER
    options = config.optimiser
    rate = options.learning_rate * scale
    schedule = Schedule(
        config.steps, options.warmup_steps, options.warmup_learning_rate * scale, options.final_learning_rate * scale
    )
    optimiser = torch.optim.AdamW(
        groups(model, rate, options.backbone_factor, options.weight_decay), lr=rate, betas=options.betas
    )
    scaler = torch.amp.GradScaler(process.device.type, enabled=config.run.precision == "fp16", growth_interval=100)
    return State(model, _centres(config, course, process), optimiser, scaler, schedule, rate)


def start_from(model: SwinFace, weights: str) -> set[str]:
    """Copy what a file of weights has of this network; the outputs that come from it. Raises ModelError, ConfigError.

    The backbone must fit. Subnets and heads that the file lacks stay untrained, and are named in the log.
    """
    source, _ = load(weights)
    if source.config != model.config:
        raise ConfigError(f"start_from: {weights} is of another size than `model`: {source.config}")
    there, here = source.state_dict(), model.state_dict()
    for name, tensor in here.items():
        if name.startswith(("fam.", "tss.")) and tensor.dim():
            rows = there[name].unflatten(0, (len(source.subnets), -1)) if source.tasks else tensor[:0]
            for place, subnet in enumerate(model.subnets):
                if subnet in source.subnets:
                    tensor.unflatten(0, (len(model.subnets), -1))[place].copy_(rows[source.subnets.index(subnet)])
        elif name in there:
            tensor.copy_(there[name])
    began = {task.slug for task in source.tasks} | ({EMBEDDING} if source.recognises else set())
    if new := [task.slug for task in model.tasks if task.slug not in began]:
        log.warning("start_from: %s has no head for %s, which start untrained", weights, ", ".join(new))
    return began


def save(state: State, config: TrainConfig, process: Process, card: Mapping[str, Any]) -> Path:
    """Write a checkpoint of all processes, complete or not there; older ones beyond `keep` go. Gives its folder."""
    folder = checkpoint_folder(config.out, state.step)
    partial = folder.with_name(folder.name + ".partial")
    average_statistics(state.model, process)
    if process.leads:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_own(state.model, partial / WEIGHTS, card)
        torch.save(_shared_state(state, config), partial / "state.pt")
    process.wait()
    if state.centres is not None:
        torch.save(state.centres.state_dict(), partial / f"persons-{process.rank}.pt")
    process.wait()
    if process.leads:
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        for old in checkpoints(config.out)[: -config.run.keep]:
            shutil.rmtree(old)
    process.wait()
    return folder


def save_best(state: State, config: TrainConfig, card: Mapping[str, Any]) -> None:
    """Write the weights as the best ones so far: a folder that takes the place of the last best, complete."""
    folder, partial = config.out / "best", config.out / "best.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_own(state.model, partial / WEIGHTS, card)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def resume(state: State, folder: Path, config: TrainConfig, allow_changes: bool) -> None:
    """Go on from a checkpoint, with as many processes as there are now. Raises ConfigError, InputError."""
    model, _ = load_own(folder / WEIGHTS)
    shared = _read(folder / "state.pt")
    if shared.get("schema") != SCHEMA:
        raise InputError(f"{folder} was written by another version: schema {shared.get('schema')}, expected {SCHEMA}")
    if changed := _changes(json.loads(shared["config"]), _essential(config)):
        message = f"{folder} was trained with another configuration:" + "".join(f"\n  {line}" for line in changed)
        if not allow_changes:
            raise ConfigError(
                f"{message}\nIt would not be the same training: say --allow-changes to go on all the same"
            )
        log.warning("%s", message)
    try:
        state.model.load_state_dict(model.state_dict())
        state.optimiser.load_state_dict(_with_bases(shared["optimiser"], state.optimiser))
        if state.centres is not None:
            shards = [_read(path) for path in sorted(folder.glob("persons-*.pt"))]
            if not shards:
                raise ValueError("it has no centres of persons")
            state.centres.load_state_dict(joined(shards, state.centres))
    except (ValueError, RuntimeError, KeyError) as error:
        raise ConfigError(f"{folder} does not fit this configuration: {error}") from error
    if shared["scaler"]:
        state.scaler.load_state_dict(shared["scaler"])
    state.step, state.best, state.metrics = shared["step"], shared["best"], json.loads(shared["metrics"])


def average_statistics(model: SwinFace, process: Process) -> None:
    """Give all processes the mean of their batch norms' statistics; published were those of the first process."""
    buffers = [buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    process.average(buffers)


def card(config: TrainConfig, course: Course, state: State) -> dict[str, Any]:
    """What the weights' card says of this training."""
    sets = {faces.name: len(faces) for stream in course.streams for faces in stream.sets}
    source = {
        "name": f"trained by faceanalytics, {state.step} of {config.steps} steps",
        "seed": config.seed,
        "sets": sets,
        "persons": course.persons,
        "config": _essential(config),
    }
    return {"source": source, "licence": config.licence, "metrics": state.metrics}


def checkpoints(out: Path) -> list[Path]:
    """Folders of the complete checkpoints, oldest first."""
    return sorted(path for path in (out / "checkpoints").glob("step-*") if path.suffix != ".partial")


def checkpoint_folder(out: Path, step: int) -> Path:
    return out / "checkpoints" / f"step-{step:09d}"


def _centres(config: TrainConfig, course: Course, process: Process) -> PartialFC | None:
    if EMBEDDING not in course.outputs:
        return None
    options = config.recognition
    try:
        centres = PartialFC(
            course.persons, SwinFaceConfig().embedding, options.margin, options.scale, options.sample_rate, config.seed
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return centres.to(process.device)


def _shared_state(state: State, config: TrainConfig) -> dict[str, Any]:
    """What is the same in all processes, besides the weights; read again without running code."""
    return {
        "schema": SCHEMA,
        "step": state.step,
        "best": state.best,
        "metrics": json.dumps(state.metrics),
        "optimiser": state.optimiser.state_dict(),
        "scaler": state.scaler.state_dict(),
        "config": json.dumps(_essential(config)),
    }


def _with_bases(saved: dict[str, Any], optimiser: torch.optim.AdamW) -> dict[str, Any]:
    """The saved optimiser with the highest rates and decays of now, which depend on the number of processes."""
    now = optimiser.state_dict()["param_groups"]
    kept = ("base", "weight_decay", "betas")
    if len(now) != len(saved["param_groups"]):
        raise ValueError("its parameters are grouped in another way")
    mixed = [{**old, **{key: new[key] for key in kept}} for old, new in zip(saved["param_groups"], now, strict=True)]
    return {**saved, "param_groups": mixed}


def _essential(config: TrainConfig) -> dict[str, Any]:
    """What of the configuration decides the numbers that come out, as JSON: not where its files lie."""
    found: dict[str, Any] = json.loads(config.model_dump_json(by_alias=True))
    kept = {key: value for key, value in found.items() if key not in FREE}
    sets = {name: {k: v for k, v in one.items() if k not in PLACES} for name, one in kept["sets"].items()}
    begin = None if config.start_from is None else Path(config.start_from).name
    return {**kept, "sets": sets, "start_from": begin, "precision": config.run.precision}


def _changes(before: dict[str, Any], now: dict[str, Any], where: str = "") -> list[str]:
    """One line per setting that differs."""
    lines = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += _changes(old, new, f"{where}{key}.")
        elif old != new:
            lines.append(f"{where}{key}: {old} before, now {new}")
    return lines


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return found
