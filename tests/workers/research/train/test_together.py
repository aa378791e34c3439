"""Training in two processes (gloo, started by torchrun) against one."""

import os
import re
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceanalytics.errors import UserError
from tests.support.made_once import made_once
from tests.support.patience import WAIT_S
from tests.support.processes import run_together, start_together
from tests.support.training import (
    STILL,
    SWINFACE,
    configured,
    draw_celeba,
    draw_people,
    draw_table,
    losses,
    scalars,
    settings,
    steps_saved,
    stream,
    train,
    weights,
)
from tests.workers.research.train.test_run import assert_same, crashed, wait_for_step
from workers.research.train.config import load_train_config
from workers.research.train.loader import Batch, batches
from workers.research.train.mixup import Teachers
from workers.research.train.process import Process, join, leave
from workers.research.train.state import fresh
from workers.research.train.step import Diverged, Trainer, take_step
from workers.research.train.stop import StopRequest, exchange_status, stop_on_signals
from workers.research.train.streams import open_plan
from workers.research.train.train import distributed, train_in
from workers.research.train.validate import Validation
from workers.swinface.checkpoint import load_own
from workers.swinface.labels import EMBEDDING

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
STEPS = 3
NOBODY = StopRequest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have done all that the tests look at: starting them takes long."""
    return made_once(tmp_path_factory, "together", run_pair)


def run_pair(found: Path) -> None:
    data = found / "data"
    draw_people(data / "people", persons=9, each=3)
    draw_celeba(data / "celeba", 16)
    random = np.random.default_rng(0)
    ages = [float(age) if row % 5 == 0 else None for row, age in enumerate(random.integers(1, 90, 24))]
    labels = {"gender": random.integers(0, 2, 24).tolist(), "expression": random.integers(0, 7, 24).tolist()}
    draw_table(data / "labelled.parquet", 24, age=ages, **labels)
    same(found, "two", 2)
    same(found, "one", 4)
    held = {"format": "folders", "path": str(draw_people(found / "held", persons=21, each=3, seed=10**6))}
    configured(found, "run.yaml", **RUN, sets={**settings(found)["sets"], "held": held})
    broken(found)
    script = found / "script.py"
    script.write_text(
        "import sys\nfrom tests.workers.research.train.test_together import together\ntogether(sys.argv[1])\n"
    )
    run_together(2, [str(script), str(found)], found)


def same(folder: Path, name: str, batch: int) -> Path:
    """A training that is the same in one process with 4 faces of each stream as in two with 2."""
    streams = {
        "recognition": stream("identity", "people", batch=batch, augment="flip"),
        "age": stream("age", "ages", batch=batch, augment="none"),
        "attributes": stream("attributes", "celeba", batch=batch, augment="none"),
    }
    return configured(
        folder, f"{name}.yaml", streams=streams, model=STILL, recognition={"sample_rate": 1.0}, out=str(folder / name)
    )


RUN: dict[str, Any] = {
    "steps": 6,
    "streams": {
        "recognition": stream("identity", "people", augment="flip"),
        "age_gender": stream("age", "ages", augment="flip"),
        "expression": stream("expression", "moods", augment="flip"),
    },
    "validate": {"sets": ["held"], "every_steps": 3, "batch": 7},
    "run": {"checkpoint_steps": 2, "keep": 9},
}


def broken(folder: Path) -> Path:
    """A training one of whose images cannot be read: in each step one of the processes meets it."""
    people = draw_people(folder / "broken", persons=2, each=2)
    (people / "person-001" / "1.png").write_bytes(b"no image")
    sets = {"people": {"format": "folders", "path": str(people)}}
    streams = {"recognition": stream("identity", "people", batch=2, augment="flip")}
    return configured(folder, "broken.yaml", sets=sets, streams=streams, out=str(folder / "unreadable"))


def together(folder: str) -> None:
    """Run all trainings of this file in one of the two processes."""
    root = Path(folder)
    rank = int(os.environ["RANK"])
    process = join("cpu", 1)
    torch.save(few_steps(root / "two.yaml", process), root / f"two-{rank}.pt")
    torch.save(poisoned(root / "two.yaml", process), root / f"poisoned-{rank}.pt")
    config = load_train_config(root / "run.yaml", {})
    outcome: dict[str, Any] = {"whole": train_in(process, config, NOBODY)}
    if process.is_main:
        crashed(root / "run", root / "again", 2, 5)
    process.wait()
    outcome["again"] = train_in(process, load_train_config(root / "run.yaml", {"out": root / "again"}), NOBODY, "last")
    endless = load_train_config(root / "run.yaml", {"out": root / "stopped", "steps": 100_000})
    if not process.is_main:
        threading.Thread(target=ask, args=(root / "stopped",), daemon=True).start()
    with stop_on_signals() as stop_request:
        outcome["stopped"] = train_in(process, endless, stop_request)
    try:
        train_in(process, load_train_config(root / "broken.yaml", {}), NOBODY)
    except UserError as error:
        outcome["unreadable"] = str(error)
    torch.save(outcome, root / f"outcome-{rank}.pt")
    leave()


def ask(out: Path) -> None:
    wait_for_step(out, 2)
    os.kill(os.getpid(), signal.SIGTERM)


def few_steps(path: Path, process: Process) -> dict[str, Any]:
    """Losses and weights of some steps with the batch norms' statistics fixed: those of a batch are its process's."""
    config = load_train_config(path, {})
    plan = open_plan(config)
    state = fresh(config, plan, process)
    state.model.eval()
    trainer = Trainer(config, process, plan, distributed(state.model, process), Teachers(config, plan, process))
    taught = tuple(slug for slug in plan.outputs if slug != EMBEDDING)
    found: dict[str, Any] = {"losses": [], "known": []}
    for batch in ready(trainer, taught):
        agreed = exchange_status(batch, taught, process, NOBODY)
        found["known"].append(int(batch.targets["age"].isfinite().sum()))
        found["losses"].append(take_step(trainer, state, batch, agreed.known).losses)
    assert state.centres is not None
    return {**found, "weights": state.model.state_dict(), "centres": state.centres.state_dict()["centres"]}


def poisoned(path: Path, process: Process) -> dict[str, Any]:
    """Take a step in which one process gets faces that are not finite; identity, which all share, is left out."""
    config = load_train_config(path, {"leave_out": [EMBEDDING], "out": path.parent / "poisoned"})
    config.out.mkdir(exist_ok=True)
    plan = open_plan(config)
    state = fresh(config, plan, process)
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    trainer = Trainer(config, process, plan, distributed(state.model, process), Teachers(config, plan, process))
    batch = next(iter(ready(trainer, plan.outputs)))
    agreed = exchange_status(batch, plan.outputs, process, NOBODY)
    faces = batch.faces.float() * (float("nan") if process.rank == 1 else 1.0)
    try:
        take_step(trainer, state, replace(batch, faces=faces), agreed.known)
    except Diverged as error:
        after = state.model.state_dict()
        moved = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
        return {"error": str(error), "moved": [name for name in moved if not re.search("running|tracked", name)]}
    return {"error": "", "moved": []}


def ready(trainer: Trainer, slugs: tuple[str, ...]) -> list[Batch]:
    streams, process = trainer.plan.streams, trainer.process
    places = {one.name: 0 for one in streams}
    found = batches(streams, slugs, trainer.config.seed, range(STEPS), places, process.rank, process.world, 0, False)
    return [batch for batch in found if isinstance(batch, Batch)]


def outcomes(folder: Path, name: str) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_processes_learn_what_one_does_from_the_same_faces(folder: Path) -> None:
    alone = few_steps(folder / "one.yaml", Process(0, 1, torch.device("cpu")))
    pair = outcomes(folder, "two")
    assert [sum(counts) for counts in zip(*(one["known"] for one in pair), strict=True)] == alone["known"]
    assert any(first != second for first, second in zip(*(one["known"] for one in pair), strict=True))
    for step in range(STEPS):
        for slug, loss in alone["losses"][step].items():
            mean = sum(one["losses"][step][slug] for one in pair) / 2
            assert mean == pytest.approx(loss, rel=1e-4, abs=1e-5), (step, slug)
    assert_same(pair[0]["weights"], pair[1]["weights"])
    rate = 0.03 * 12 / 512 / 2  # highest of step 1 of 2 in the warm-up; AdamW's steps are about as long as that
    for name, tensor in alone["weights"].items():
        far = (tensor - pair[0]["weights"][name]).abs().max() if tensor.dim() else torch.zeros(())
        assert far < rate / 10, name
    centres = torch.cat([one["centres"] for one in pair])
    torch.testing.assert_close(centres, alone["centres"], rtol=1e-3, atol=1e-6)


def test_numbers_that_are_not_finite_in_one_process_stop_both_and_nothing_is_learnt(folder: Path) -> None:
    first, second = outcomes(folder, "poisoned")
    assert "a number in another process is not finite" in first["error"]
    assert "loss of attractive, loss of" in second["error"]
    assert first["moved"] == second["moved"] == []
    saved = [torch.load(path, weights_only=True) for path in sorted((folder / "poisoned").glob("not-finite-*.pt"))]
    assert [bool(content["faces"].isfinite().all()) for content in saved] == [True, False]
    assert ["model" in content for content in saved] == [True, False]


def test_two_processes_write_one_checkpoint_and_one_log(folder: Path) -> None:
    assert [one["whole"] for one in outcomes(folder, "outcome")] == [0, 0]
    assert steps_saved(folder / "run") == [2, 4, 6]
    newest = folder / "run" / "checkpoints" / "step-000000006"
    assert sorted(path.name for path in newest.iterdir()) == [
        "persons-0.pt", "persons-1.pt", "state.pt", "weights.json", "weights.safetensors",
    ]  # fmt: skip
    assert len(weights(folder / "run", 6)["persons.centres"]) == 9
    assert all(list(values) == [1, 2, 3, 4, 5, 6] for values in losses(folder / "run").values())


def test_two_processes_measure_what_one_does(folder: Path) -> None:
    config = load_train_config(folder / "run.yaml", {})
    measuring = Validation(config, Process(0, 1, torch.device("cpu")), open_plan(config), NOBODY)
    model, card = load_own(folder / "run" / "checkpoints" / "step-000000006" / "weights.safetensors")
    measured = measuring.measure(model)
    assert measured is not None
    assert card["metrics"].pop("step") == 6
    assert card["metrics"] == pytest.approx({"skill": measured[1], **measured[0]}, rel=1e-6)
    best = load_own(folder / "run" / "best" / "weights.safetensors")[1]["metrics"]
    skills = scalars(folder / "run")["validation/skill"]
    assert list(skills) == [3, 6]
    assert best["skill"] == max(skills.values())


def test_two_processes_go_on_as_if_nothing_had_happened(folder: Path) -> None:
    assert [one["again"] for one in outcomes(folder, "outcome")] == [0, 0]
    assert losses(folder / "again") == losses(folder / "run")
    assert_same(weights(folder / "again", 6), weights(folder / "run", 6))


def test_one_process_goes_on_from_the_checkpoint_of_two(folder: Path, tmp_path: Path) -> None:
    out = crashed(folder / "run", tmp_path / "alone", 4, 4)
    assert train(folder / "run.yaml", "--out", str(out), "--resume", "last") == 0
    before = losses(folder / "run")
    after = losses(out)
    for slug, values in after.items():
        assert {step: values[step] for step in range(1, 5)} == {step: before[slug][step] for step in range(1, 5)}
    assert len(weights(out, 6)["persons.centres"]) == 9
    state = torch.load(out / "checkpoints" / "step-000000006" / "state.pt", weights_only=True)
    assert state["places"]["recognition"] == 4 * 2 * 4 + 2 * 4  # goes on with the faces that nobody has seen yet
    moved = weights(out, 6)["persons.moment"] != weights(out, 4)["persons.moment"]
    assert moved.any()


def test_a_signal_to_one_process_stops_both_with_one_checkpoint(folder: Path) -> None:
    assert [one["stopped"] for one in outcomes(folder, "outcome")] == [143, 143]
    step = steps_saved(folder / "stopped")[-1]
    assert step >= 2
    assert list(losses(folder / "stopped")["age"]) == list(range(1, step + 1))


def test_a_image_that_one_process_cannot_read_stops_both(folder: Path) -> None:
    messages = [one["unreadable"] for one in outcomes(folder, "outcome")]
    assert sorted("another process could not read an image" in message for message in messages) == [False, True]
    assert any("person-001/1.png: not an image" in message for message in messages)
    assert len(steps_saved(folder / "unreadable")) == 1


def test_sigterm_to_torchrun_saves_and_one_process_can_go_on(folder: Path, tmp_path: Path) -> None:
    config, out = str(folder / "run.yaml"), tmp_path / "run"
    steps = ("--out", str(out), "--steps", "100000")
    process = start_together(2, ["--no-python", *SWINFACE, "train", config, *steps], tmp_path)
    wait_for_step(out, 2, process)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=WAIT_S)[1]
    step = steps_saved(out)[-1]
    assert f"stopped after step {step}" in errors
    assert errors.count("stopped after step") == 1  # only the first process speaks
    options = ("--steps", str(step + 1), "--allow-changes", "--resume", "last")
    assert train(folder / "run.yaml", "--out", str(out), *options) == 0
    assert list(losses(out)["age"]) == list(range(1, step + 2))
