"""`swinface train` as a whole: what it learns, and that an interruption changes nothing."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.patience import WAIT_S
from tests.support.training import (
    STILL,
    configured,
    draw_celeba,
    draw_people,
    draw_table,
    losses,
    scalars,
    settings,
    start,
    steps_saved,
    stream,
    train,
    weights,
)
from tests.support.training import (
    image as drawn,
)
from workers.cli import main
from workers.research.data.images import read
from workers.research.train.stop import stop_on_signals
from workers.swinface.checkpoint import load_own
from workers.swinface.labels import ATTRIBUTES, EXPRESSIONS
from workers.swinface.model import output_slugs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
STEPS = 60
RANDOM: dict[str, Any] = {"dropout": 0.5, "drop_path": 0.3}


def crashed(whole: Path, out: Path, step: int, logged: int) -> Path:
    """What a run leaves that was killed after `logged` steps, `step` being its last checkpoint."""
    name = f"step-{step:09d}"
    shutil.copytree(whole / "checkpoints" / name, out / "checkpoints" / name)
    lines = (whole / "scalars.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] <= logged]
    (out / "scalars.jsonl").write_text("".join(kept) + '{"step": 6, "lo')
    return out


@pytest.mark.parametrize(("precision", "loaders", "log_steps"), [("fp32", 0, 1), ("fp32", 1, 4), ("bf16", 2, 1)])
def test_a_training_that_goes_on_is_the_one_that_was_not_interrupted(
    tmp_path: Path, precision: str, loaders: int, log_steps: int
) -> None:
    run = {
        "precision": precision, "loaders": loaders, "log_steps": log_steps, "checkpoint_steps": 3, "keep": 9,
    }  # fmt: skip
    config = configured(tmp_path, steps=8, run=run, recognition={"sample_rate": 0.4}, model=RANDOM)
    assert train(config) == 0
    whole = tmp_path / "run"
    assert steps_saved(whole) == [3, 6, 8]
    out = crashed(whole, tmp_path / "again", 3, 5)
    assert train(config, "--out", str(out), "--resume", "last") == 0
    assert list(losses(out)["age"]) == list(range(log_steps, 9, log_steps))
    assert losses(out) == losses(whole)
    assert_same(weights(out, 8), weights(whole, 8))
    states = [shared_state(folder, 8) for folder in (whole, out)]
    assert states[0]["scaler"] == states[1]["scaler"]
    assert states[0]["optimiser"]["param_groups"] == states[1]["optimiser"]["param_groups"]
    for number, one in states[0]["optimiser"]["state"].items():
        assert all(torch.equal(value, states[1]["optimiser"]["state"][number][name]) for name, value in one.items())


def test_a_gradient_that_fp16_cannot_hold_is_skipped_and_the_scale_is_kept(tmp_path: Path) -> None:
    streams = {"people": stream("identity", "people", augment="none"), "ages": stream("age", "ages", augment="none")}
    run = {"precision": "fp16", "checkpoint_steps": 1, "keep": 20}
    config = configured(tmp_path, steps=12, streams=streams, run=run)
    assert train(config) == 0
    whole = tmp_path / "run"
    scales = [shared_state(whole, step)["scaler"]["scale"] for step in range(1, 13)]
    skipped = [step for step, (old, new) in enumerate(pairwise(scales), 2) if new < old]
    assert 0 < len(skipped) < 11
    for step in range(2, 13):
        before, after = weights(whole, step - 1), weights(whole, step)
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        if step in skipped:
            assert not [name for name in moved if not re.search("running|tracked", name)]
        else:
            assert {"heads.age.weight", "persons.centres"} <= moved
    out = crashed(whole, tmp_path / "again", 4, 9)
    assert train(config, "--out", str(out), "--resume", "last") == 0
    assert losses(out) == losses(whole)
    assert_same(weights(out, 12), weights(whole, 12))
    assert shared_state(out, 12)["scaler"] == shared_state(whole, 12)["scaler"]


def test_sigterm_saves_and_what_goes_on_is_the_same_training(tmp_path: Path) -> None:
    config = configured(tmp_path, steps=60, run={"loaders": 1}, model=RANDOM)
    assert train(config) == 0
    out = tmp_path / "stopped"
    process = start(config, "--out", str(out))
    wait_for_step(out, 2, process)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=WAIT_S)[1]
    assert process.returncode == 143, errors
    (step,) = steps_saved(out)
    assert 2 <= step < 60
    assert f"stopped after step {step}" in errors
    assert "Warning" not in errors
    assert train(config, "--out", str(out), "--resume", "last") == 0
    assert losses(out) == losses(tmp_path / "run")
    assert_same(weights(out, 60), weights(tmp_path / "run", 60))


def test_sigint_saves_too(tmp_path: Path) -> None:
    config = configured(tmp_path, steps=100_000, streams={"one": stream("age", "ages", augment="none")})
    interrupter = threading.Thread(target=_send, args=(tmp_path / "run", 3, signal.SIGINT))
    interrupter.start()
    assert train(config) == 130
    interrupter.join()
    (step,) = steps_saved(tmp_path / "run")
    assert step == max(losses(tmp_path / "run")["age"]) >= 3


def test_a_second_signal_ends_at_once() -> None:
    with stop_on_signals() as stop_request:
        signal.raise_signal(signal.SIGINT)
        assert stop_request.exit_code == 130
        child = os.fork()
        if not child:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_every_tensor_that_can_be_trained_moves(tmp_path: Path) -> None:
    config = configured(tmp_path, steps=4, run={"checkpoint_steps": 1, "keep": 9}, model=RANDOM)
    assert train(config) == 0
    first, last = weights(tmp_path / "run", 1), weights(tmp_path / "run", 4)
    still = [name for name, tensor in first.items() if torch.equal(tensor, last[name])]
    assert still == []
    assert {f"heads.{slug}.weight" for slug in ("gender", "age", "smiling")} <= first.keys()


@pytest.mark.parametrize(
    ("slug", "learns", "from_set", "rate"),
    [
        ("age", "age", "ages", 1.0),
        ("gender", "gender", "ages", 0.6),
        ("bald", "attributes", "celeba", 0.6),
        ("expression", "expression", "moods", 1.0),
        ("recognition", "identity", "people", 0.6),
    ],
)
def test_a_batch_can_be_learnt_by_heart(tmp_path: Path, slug: str, learns: str, from_set: str, rate: float) -> None:
    draw_people(tmp_path / "data" / "people", persons=4, each=2)
    draw_table(tmp_path / "data" / "labelled.parquet", 8)
    draw_celeba(tmp_path / "data" / "celeba", 8)
    others = [task.slug for task in ATTRIBUTES if task.slug != "bald"]
    config = configured(
        tmp_path, steps=STEPS, model=STILL, leave_out=others if learns == "attributes" else [],
        streams={"one": stream(learns, from_set, batch=8, augment="none")},
        optimiser={"learning_rate": rate, "warmup_steps": 3, "backbone_factor": 1.0, "weight_decay": 0.0},
    )  # fmt: skip
    assert train(config) == 0
    found = losses(tmp_path / "run")
    assert list(found) == [slug]
    assert found[slug][1] > 0.5
    assert found[slug][STEPS] < 0.05


def test_a_loss_that_is_no_number_stops_with_its_batch_saved_and_nothing_learnt_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {"learning_rate": 1e30, "warmup_steps": 2, "warmup_learning_rate": 1e-9}
    config = configured(tmp_path, run={"checkpoint_steps": 1, "keep": 9}, optimiser=rates)
    assert train(config) == 1
    message = capsys.readouterr().err
    assert "is not finite" in message
    (path,) = (tmp_path / "run").glob("not-finite-*.pt")
    assert str(path) in message
    batch = torch.load(path, weights_only=True)
    assert batch["faces"].shape == (16, 112, 112, 3)
    assert batch["age"].isfinite().sum() == 4
    assert not all(torch.tensor(list(batch["losses"].values())).isfinite())
    last = weights(tmp_path / "run", batch["step"])  # the newest checkpoint: what the step began with
    assert max(steps_saved(tmp_path / "run")) == batch["step"]
    learnt = {name: tensor for name, tensor in batch["model"].items() if not re.search("running|tracked", name)}
    assert all(torch.equal(tensor, last[name]) for name, tensor in learnt.items())
    assert all(tensor.isfinite().all() for tensor in last.values())


def test_a_gradient_that_is_no_number_stops_before_it_spoils_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(
        tmp_path, run={"checkpoint_steps": 1}, weights={"age": 5e35}, optimiser={"warmup_learning_rate": 1e-9}
    )
    assert train(config) == 1
    assert "gradient of" in capsys.readouterr().err
    (path,) = (tmp_path / "run").glob("not-finite-*.pt")
    content = torch.load(path, weights_only=True)
    assert all(torch.tensor(list(content["losses"].values())).isfinite())
    assert all(tensor.isfinite().all() for tensor in content["model"].values())


def test_sets_that_are_missing_stop_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path)
    shutil.rmtree(tmp_path / "data" / "celeba")
    assert train(config) == 3
    message = capsys.readouterr().err
    assert "sets.celeba: there is nothing at" in message
    assert "missing_sets: leave_out" in message
    assert not (tmp_path / "run").exists()


def test_sets_that_are_missing_can_be_left_out_with_what_only_they_teach(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(tmp_path, steps=2)
    shutil.rmtree(tmp_path / "data" / "celeba")
    shutil.rmtree(tmp_path / "data" / "people")
    with caplog.at_level(logging.WARNING):
        assert train(config, "--leave-out-missing") == 0
    assert "set celeba is LEFT OUT" in caplog.text
    assert "stream recognition is LEFT OUT" in caplog.text
    assert "40 of 43 outputs are NOT trained" in caplog.text
    path = tmp_path / "run" / "checkpoints" / "step-000000002" / "weights.safetensors"
    model, card = load_own(path)
    assert card["outputs"] == ["age", "gender", "expression"] == list(output_slugs(model))
    assert card["source"]["sets"] == {"ages": 24, "moods": 24}
    image = tmp_path / "face.png"
    image.write_bytes(drawn(1))
    capsys.readouterr()
    assert main(["infer", "--weights", str(path), str(image)]) == 0
    (row,) = capsys.readouterr().out.splitlines()
    found = json.loads(row)
    assert found.keys() == {"input", "model_id", "age_years", "expression", *EXPRESSIONS, "attribute_male"}


def test_a_image_that_cannot_be_read_stops_after_saving_and_can_be_excluded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    config = configured(tmp_path)
    broken = tmp_path / "data" / "people" / "person-003" / "1.png"
    for other in ("0.png", "2.png"):
        broken.with_name(other).unlink()
    broken.write_bytes(b"no image")
    assert train(config) == 3
    message = capsys.readouterr().err
    assert f"{broken}: not an image" in message
    assert "--resume last --allow-changes" in message
    (step,) = steps_saved(tmp_path / "run")
    before = weights(tmp_path / "run", step)
    exclude = tmp_path / "exclude.txt"
    exclude.write_text("person-003/1.png\n")
    people = {"format": "folders", "path": str(tmp_path / "data" / "people"), "exclude": str(exclude)}
    sets = {**settings(tmp_path)["sets"], "people": people}
    config = configured(tmp_path, sets=sets, recognition={"sample_rate": 1e-6})
    assert train(config, "--resume", "last") == 2
    assert "found.people: 8" in capsys.readouterr().err
    assert train(config, "--resume", "last", "--allow-changes", "--steps", str(step + 1)) == 0
    assert "found.people: 8" in caplog.text
    after = weights(tmp_path / "run", step + 1)
    assert len(after["persons.centres"]) == 7  # that person had no other image; the others keep their centres
    rows = [row for row in range(8) if row != 3]
    kept = [torch.equal(after["persons.centres"][new], before["persons.centres"][old]) for new, old in enumerate(rows)]
    assert sum(kept) >= 3  # those that the step did not sample


def test_tensorboard_and_the_curves_show_what_was_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    table = {"format": "parquet", "path": str(draw_table(tmp_path / "held.parquet", 9, seed=50))}
    sets = {**settings(tmp_path)["sets"], "held": {**table, "columns": {"age": "age"}}}
    config = configured(tmp_path, steps=4, sets=sets, validate={"every_steps": 2, "sets": ["held"]},
                        run={"checkpoint_steps": 2})  # fmt: skip
    assert train(config) == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-000000004")  # as if it was lost with step 3 and 4
    assert train(config, "--resume", "last") == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    logged = scalars(tmp_path / "run")
    assert {"loss/age", "loss/recognition", "learning_rate/backbone", "validation/held/mae_years"} <= logged.keys()
    assert set(events.Tags()["scalars"]) == logged.keys()
    for name, values in logged.items():
        found = {event.step: event.value for event in events.Scalars(name)}
        assert found == pytest.approx(values, rel=1e-6), name
    out = tmp_path / "curves.png"
    capsys.readouterr()
    assert main(["curves", str(tmp_path / "run"), str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    image = read(out)
    assert image.shape[0] > 200
    assert image.shape[1] > 600
    assert 0.005 < (image < 128).mean() < 0.5
    assert main(["curves", str(tmp_path), str(out)]) == 3
    assert main(["curves", str(tmp_path / "run"), str(tmp_path / "curves.jpg")]) == 2


def _send(out: Path, step: int, number: int) -> None:
    """Send this process a signal when its training has come so far."""
    wait_for_step(out, step)
    os.kill(os.getpid(), number)


def wait_for_step(out: Path, step: int, process: "subprocess.Popen[str] | None" = None) -> None:
    """Until the training has logged it."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        path = out / "scalars.jsonl"
        if path.exists() and f'"step": {step},' in path.read_text():
            return
        time.sleep(0.02)
    if process is not None:
        process.terminate()  # it then ends its loaders, which hold its standard error open
    raise AssertionError(f"no step {step}: {process and process.communicate(timeout=WAIT_S)[1]}")


def shared_state(out: Path, step: int) -> dict[str, Any]:
    path = out / "checkpoints" / f"step-{step:09d}" / "state.pt"
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name, tensor in one.items() if not torch.equal(tensor, other[name])] == []
