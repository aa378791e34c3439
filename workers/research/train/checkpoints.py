"""Save the state of a training, and resume it with any number of processes."""

import hashlib
import json
import logging
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from faceanalytics.errors import ConfigError, InputError
from workers.research.train.config import TrainConfig
from workers.research.train.partial_fc import joined
from workers.research.train.process import Process
from workers.research.train.state import State, average_statistics
from workers.research.train.streams import TaskPlan
from workers.research.train.writing import replace_folder, save_tensors, write_together
from workers.swinface.checkpoint import load_own, save_own

WEIGHTS = "weights.safetensors"
AVERAGED = "averaged.safetensors"
SCHEMA = 2
MAY_CHANGE = ("run", "validate", "out", "licence", "missing_sets")  # settings that may change when a run is resumed
PATH_OPTIONS = ("path", "images", "exclude", "teacher")  # of a set; they differ by machine, so contents are compared

log = logging.getLogger(__name__)


def save(state: State, config: TrainConfig, plan: TaskPlan, process: Process) -> Path:
    """Write a checkpoint of all processes atomically, delete old ones beyond `keep`, and return its folder.

    Raises ConfigError in all processes if one cannot write.
    """
    folder = checkpoint_folder(config.out, state.step)
    partial = folder.with_name(folder.name + ".partial")
    average_statistics(state.model, process)

    def begin() -> None:
        if process.is_main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)

    def fill() -> None:
        if process.is_main:
            save_own(state.model, partial / WEIGHTS, card(config, plan, state))
            if state.averaged is not None:
                save_own(state.averaged, partial / AVERAGED, card(config, plan, state))
            save_tensors(_shared_state(state, config, plan), partial / "state.pt")
        if state.centres is not None:
            save_tensors(state.centres.state_dict(), partial / f"persons-{process.rank}.pt")

    def finish() -> None:
        if process.is_main:
            replace_folder(partial, folder)
            for old in checkpoints(config.out)[: -config.run.keep]:
                shutil.rmtree(old)

    for part in (begin, fill, finish):
        write_together(process, folder, part)
    return folder


def save_best(state: State, config: TrainConfig, plan: TaskPlan, process: Process) -> None:
    """Replace the folder `best` atomically by one with the current weights.

    Raises ConfigError in all processes if the main one cannot write.
    """
    folder, partial = config.out / "best", config.out / "best.partial"

    def write() -> None:
        if process.is_main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_own(state.averaged or state.model, partial / WEIGHTS, card(config, plan, state))
            replace_folder(partial, folder)

    write_together(process, folder, write)


def resume(state: State, folder: Path, config: TrainConfig, plan: TaskPlan, allow_changes: bool) -> None:
    """Load a checkpoint into the state, whatever number of processes wrote it. Raises ConfigError, InputError."""
    model, _ = load_own(folder / WEIGHTS)
    shared = _read(folder / "state.pt")
    if shared.get("schema") != SCHEMA:
        raise InputError(f"{folder} was written by another version: schema {shared.get('schema')}, expected {SCHEMA}")
    before, now = json.loads(shared["config"]), {**essential(config), "found": _contents(plan)}
    if before.get("steps", 0) < now["steps"] and len(changes(before, now)) == 1:
        log.info("%s: going on to %d steps instead of %d; the schedules stretch", folder, now["steps"], before["steps"])
    elif changed := changes(before, now):
        message = f"{folder} was trained with another configuration:" + "".join(f"\n  {line}" for line in changed)
        if not allow_changes:
            raise ConfigError(
                f"{message}\nIt would not be the same training. Use --allow-changes to resume it nevertheless"
            )
        log.warning("%s", message)
    try:
        state.model.load_state_dict(model.state_dict())
        if state.averaged is not None:  # without a saved average it starts from the weights
            saved = folder / AVERAGED
            state.averaged.load_state_dict(load_own(saved)[0].state_dict() if saved.is_file() else model.state_dict())
        state.optimiser.load_state_dict(_with_bases(shared["optimiser"], state.optimiser))
        if state.centres is not None:
            shards = [_read(path) for path in sorted(folder.glob("persons-*.pt"))]
            rows = _same_people(shared["people"], plan.people)
            state.centres.load_state_dict(joined(shards, state.centres, rows))
    except (ValueError, RuntimeError, KeyError) as error:
        raise ConfigError(f"{folder} does not fit this configuration: {error}") from error
    if shared["scaler"] and state.scaler.is_enabled():
        state.scaler.load_state_dict(shared["scaler"])
    state.places |= {name: place for name, place in shared["places"].items() if name in state.places}
    state.step, state.best, state.metrics = shared["step"], shared["best"], json.loads(shared["metrics"])
    state.unreported = shared["unreported"]


def card(config: TrainConfig, plan: TaskPlan, state: State) -> dict[str, Any]:
    """Return the entries of the weights' card that describe this training."""
    source = {
        "name": f"trained by faceanalytics, {state.step} of {config.steps} steps",
        "seed": config.seed,
        "sets": plan.sets,
        "persons": len(plan.people),
        "config": essential(config),
    }
    return {"source": source, "licence": config.licence, "metrics": state.metrics}


def checkpoints(out: Path) -> list[Path]:
    """Return the folders of all complete checkpoints, oldest first."""
    return sorted(path for path in (out / "checkpoints").glob("step-*") if not path.suffix)


def checkpoint_folder(out: Path, step: int) -> Path:
    return out / "checkpoints" / f"step-{step:09d}"


def checkpoint_to_resume(out: Path, resume: str | None) -> Path | None:
    """Return the folder to resume from, None to start. Raises ConfigError if that would overwrite a run."""
    existing = checkpoints(out)
    if resume is None:
        if existing:
            raise ConfigError(
                f"{out} already holds a training ({existing[-1].name}): use --resume last, or another `out`"
            )
        return None
    if resume == "last":
        if not existing:
            raise ConfigError(f"--resume last: there is no checkpoint in {out}")
        return existing[-1]
    folder = Path(resume)
    if not (folder / WEIGHTS).is_file():
        raise ConfigError(f"--resume {resume}: no such checkpoint; give `last`, or a folder with {WEIGHTS}")
    if existing and folder.resolve() != existing[-1].resolve():
        raise ConfigError(
            f"--resume {resume}: {out} also holds {existing[-1].name}, which the next `--resume last` would resume; "
            "remove the later checkpoints, or use another `out`"
        )
    return folder


def _shared_state(state: State, config: TrainConfig, plan: TaskPlan) -> dict[str, Any]:
    """Return the state that all processes share, besides the weights; it can be loaded without running code."""
    return {
        "schema": SCHEMA,
        "step": state.step,
        "best": state.best,
        "metrics": json.dumps(state.metrics),
        "places": state.places,
        "unreported": dict(state.unreported),
        "people": list(plan.people),
        "optimiser": state.optimiser.state_dict(),
        "scaler": state.scaler.state_dict(),
        "config": json.dumps({**essential(config), "found": _contents(plan)}),
    }


def _with_bases(saved: dict[str, Any], optimiser: torch.optim.AdamW) -> dict[str, Any]:
    """Return the saved optimiser with the current peak rates and decays, which depend on the number of processes."""
    now = optimiser.state_dict()["param_groups"]
    kept = ("base", "weight_decay", "betas")
    if len(now) != len(saved["param_groups"]):
        raise ValueError("its parameters are grouped differently")
    mixed = [{**old, **{key: new[key] for key in kept}} for old, new in zip(saved["param_groups"], now, strict=True)]
    return {**saved, "param_groups": mixed}


def _same_people(before: list[str], now: tuple[str, ...]) -> torch.Tensor | None:
    """Return the earlier row of each current person, -1 for new people; None if nobody changed."""
    if tuple(before) == now:
        return None
    rows = {name: row for row, name in enumerate(before)}
    return torch.tensor([rows.get(name, -1) for name in now])


def essential(config: TrainConfig) -> dict[str, Any]:
    """Return the part of the configuration that determines the results, as JSON, without paths."""
    settings: dict[str, Any] = json.loads(config.model_dump_json(by_alias=True))
    kept = {key: value for key, value in settings.items() if key not in MAY_CHANGE}
    sets = {
        name: {key: value for key, value in options.items() if key not in PATH_OPTIONS}
        for name, options in kept["sets"].items()
    }
    start = None if config.start_from is None else Path(config.start_from).name
    teachers = {kind: None if path is None else path.name for kind, path in config.teachers}
    return {**kept, "sets": sets, "start_from": start, "teachers": teachers, "precision": config.run.precision}


def _contents(plan: TaskPlan) -> dict[str, Any]:
    """Summarise the data: other faces would come in another order, other people would have other centres."""
    digest = hashlib.sha256("\n".join(plan.people).encode("utf-8", "surrogateescape")).hexdigest()
    return {
        "streams": [stream.name for stream in plan.streams],  # random draws depend on their order
        "outputs": list(plan.outputs),
        "faces": plan.sets,
        "people": f"{len(plan.people)} ({digest[:8]})",
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> list[str]:
    """Return one line per setting that differs."""
    lines = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += changes(old, new, f"{where}{key}.")
        elif old != new:
            lines.append(f"{where}{key}: {old} before, now {new}")
    return lines


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return content
