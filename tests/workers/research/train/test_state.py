"""Where a training begins, and what is on disk of it."""

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from faceanalytics.errors import ConfigError
from tests.support.patience import WAIT_S
from tests.support.swinface_files import Checkpoint
from tests.support.training import TINY, configured, losses, start, stream, train, weights
from workers.research.train.checkpoints import changes, checkpoints
from workers.research.train.config import load_train_config
from workers.research.train.partial_fc import PartialFC, joined
from workers.research.train.process import Process
from workers.research.train.state import State, fresh, start_from
from workers.research.train.streams import open_plan
from workers.swinface.checkpoint import save_own
from workers.swinface.labels import EMBEDDING, OUTPUTS
from workers.swinface.model import SwinFace, SwinFaceConfig

pytestmark = pytest.mark.usefixtures("one_thread")
ALONE = Process(0, 1, torch.device("cpu"))
AGE = {"one": stream("age", "ages", augment="none")}
CARD: dict[str, Any] = {"source": {"name": "a test"}, "licence": "none", "metrics": {}}


def network(outputs: tuple[str, ...] = OUTPUTS, seed: int = 1, **numbers: Any) -> SwinFace:
    torch.manual_seed(seed)
    return SwinFace(SwinFaceConfig(**{**{k: _tuple(v) for k, v in TINY.items()}, **numbers}), outputs)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def written(model: SwinFace, folder: Path) -> str:
    path = folder / "begin.safetensors"
    save_own(model, path, CARD)
    return str(path)


def begun(folder: Path, **changes: Any) -> State:
    config = load_train_config(configured(folder, **changes), {})
    return fresh(config, open_plan(config), ALONE)


def test_an_untrained_head_for_age_begins_with_the_mean_age(tmp_path: Path) -> None:
    state = begun(tmp_path)
    config = load_train_config(configured(tmp_path), {})
    mean = open_plan(config).mean_age
    assert 20 < mean < 70
    assert state.model.get_parameter("heads.age.bias").item() == pytest.approx(mean)


def test_the_same_seed_begins_with_the_same_weights(tmp_path: Path) -> None:
    states = [begun(tmp_path, seed=seed).model.state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert not torch.equal(states[0]["heads.age.weight"], states[2]["heads.age.weight"])


def test_a_training_begins_with_the_weights_that_there_are(tmp_path: Path) -> None:
    source = network()
    state = begun(tmp_path, start_from=written(source, tmp_path), model={"dropout": 0.25, "drop_path": 0.2})
    found = state.model.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in source.state_dict().items())
    assert state.model.config.dropout == 0.25


def test_what_the_weights_lack_begins_untrained_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = network(("gender", "young", "expression", "bald"))
    target = network(("age", "gender", "expression", EMBEDDING), seed=2)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    assert start_from(target, written(source, tmp_path)) == {"gender", "young", "expression", "bald"}
    assert "was not trained for age, recognition, which start untrained" in caplog.text
    after, there = target.state_dict(), source.state_dict()
    for name in ("backbone.layers.0.blocks.0.mlp.fc1.weight", "heads.gender.weight", "heads.expression.bias"):
        assert torch.equal(after[name], there[name])
    assert torch.equal(after["heads.age.weight"], before["heads.age.weight"])
    assert source.subnets == [0, 1, 2, 4]
    assert target.subnets == [0, 1, 2]
    for name in ("tss.0.weight", "fam.convs.0.weight", "fam.norm.running_var", "fam.gate.2.bias"):
        mine, theirs = (state[name].unflatten(0, (count, -1)) for state, count in ((after, 3), (there, 4)))
        assert torch.equal(mine, theirs[:3])


def test_weights_of_recognition_only_are_a_backbone_to_begin_with(tmp_path: Path) -> None:
    source, target = network((EMBEDDING,)), network(seed=2)
    before = target.state_dict()["tss.0.weight"].clone()
    assert start_from(target, written(source, tmp_path)) == {EMBEDDING}
    after = target.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in source.state_dict().items())
    assert torch.equal(after["tss.0.weight"], before)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"another size than `model`: depths is \(1, 1\) instead of \(1, 2\)"):
        start_from(network(depths=(1, 2)), written(network(), tmp_path))
    with pytest.raises(ConfigError, match="is the default"):
        start_from(network(), "untrained")


def test_a_published_checkpoint_is_one_to_begin_with(
    seeded_file: Path, seeded: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    with torch.device("cpu"):
        model = SwinFace(SwinFaceConfig(dropout=0.1), ("expression", EMBEDDING))
    assert start_from(model, str(seeded_file)) == set(OUTPUTS)
    found = model.state_dict()
    assert torch.equal(found["heads.expression.weight"], seeded["state_dict_om"]["output_fcs.3.weight"])
    assert torch.equal(found["tss.3.weight"], seeded["state_dict_tss"]["nets.2.feature.3.weight"])
    assert torch.equal(found["backbone.feature.2.weight"], seeded["state_dict_backbone"]["feature.2.weight"])
    assert "untrained" not in caplog.text


def test_older_checkpoints_go_and_what_a_crash_left_is_not_taken_for_one(tmp_path: Path) -> None:
    config = configured(tmp_path, streams=AGE, run={"checkpoint_steps": 1, "keep": 2})
    folder = tmp_path / "run" / "checkpoints"
    for name in ("step-000000004.partial", "step-000000009.partial", "step-000000003.old"):
        (folder / name).mkdir(parents=True)
        (folder / name / "weights.safetensors").write_bytes(b"half of it")
    assert checkpoints(tmp_path / "run") == []
    assert train(config) == 0
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-000000005", "step-000000006"]
    assert not (folder / "step-000000004.partial").exists()
    assert (folder / "step-000000009.partial").exists()
    assert train(config, "--resume", "last") == 0  # nothing is left to do


def test_a_folder_with_a_training_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path, streams=AGE, run={"checkpoint_steps": 2, "keep": 9})
    assert train(config) == 0
    before = weights(tmp_path / "run", 6)
    capsys.readouterr()
    assert train(config) == 2
    assert "already holds a training (step-000000006): use --resume last" in capsys.readouterr().err
    older = str(tmp_path / "run" / "checkpoints" / "step-000000002")
    assert train(config, "--resume", older) == 2
    assert "holds step-000000006" in capsys.readouterr().err
    assert train(config, "--resume", older, "--out", str(tmp_path / "other")) == 0
    assert losses(tmp_path / "other")["age"] == {
        step: loss for step, loss in losses(tmp_path / "run")["age"].items() if step > 2
    }
    after = weights(tmp_path / "other", 6)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_what_there_is_not_cannot_be_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path, streams=AGE)
    assert train(config, "--resume", "last") == 2
    assert "there is no checkpoint in" in capsys.readouterr().err
    assert train(config, "--resume", str(tmp_path)) == 2
    assert "no such checkpoint" in capsys.readouterr().err
    assert train(config, "--allow-changes") == 2
    assert "--allow-changes needs --resume" in capsys.readouterr().err


def test_another_configuration_is_refused_with_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert train(configured(tmp_path, streams=AGE, steps=2)) == 0
    capsys.readouterr()
    changed = configured(
        tmp_path, steps=4, streams={"one": stream("age", "ages", augment="flip")}, optimiser={"weight_decay": 0.1},
        run={"keep": 7, "log_steps": 2}, licence="another",
    )  # fmt: skip
    assert train(changed, "--resume", "last") == 2
    message = capsys.readouterr().err
    assert "steps: 2 before, now 4" in message
    assert "streams.one.augment: none before, now flip" in message
    assert "optimiser.weight_decay: 0.05 before, now 0.1" in message
    assert "keep" not in message
    assert "licence" not in message
    assert train(changed, "--resume", "last", "--allow-changes") == 0
    assert "steps: 2 before, now 4" in caplog.text
    shared = torch.load(tmp_path / "run" / "checkpoints" / "step-000000004" / "state.pt", weights_only=True)
    assert {group["weight_decay"] for group in shared["optimiser"]["param_groups"]} == {0.0, 0.1}


def test_faces_that_came_or_went_are_a_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    streams = {"one": stream("identity", "people", augment="flip")}
    assert train(configured(tmp_path, streams=streams, steps=2)) == 0
    shutil.copytree(tmp_path / "data" / "people" / "person-001", tmp_path / "data" / "people" / "person-0015")
    assert train(configured(tmp_path, streams=streams, steps=2), "--resume", "last") == 2
    message = capsys.readouterr().err
    assert "found.faces.people: 24 before, now 27" in message
    assert "found.people: 8 (" in message


def test_the_weights_to_begin_with_are_not_needed_to_go_on(tmp_path: Path) -> None:
    begin = written(network(("age",)), tmp_path)
    config = configured(tmp_path, streams=AGE, start_from=begin, run={"checkpoint_steps": 3})
    assert train(config) == 0
    whole = weights(tmp_path / "run", 6)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-000000006")
    Path(begin).unlink()
    assert train(config, "--resume", "last") == 0
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights(tmp_path / "run", 6).items())


@pytest.mark.parametrize("name", ["state.pt", "weights.safetensors", "persons-0.pt"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    config = configured(tmp_path, streams={"one": stream("identity", "people", augment="flip")}, steps=2)
    assert train(config) == 0
    path = tmp_path / "run" / "checkpoints" / "step-000000002" / name
    path.write_bytes(path.read_bytes()[:-2000])
    capsys.readouterr()
    assert train(config, "--resume", "last") in (3, 4)
    assert str(path) in capsys.readouterr().err


def test_a_disk_that_takes_no_more_is_said_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    config = configured(tmp_path, streams=AGE, out=str(tmp_path / "file" / "run"))
    assert train(config) == 2
    assert f"cannot write {tmp_path}/file/run: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("part", [0.5, 1.2])  # of the weights' size: they, or the optimiser's state, do not fit
def test_a_disk_that_is_full_leaves_the_checkpoint_before(tmp_path: Path, part: float) -> None:
    config = configured(tmp_path, streams=AGE, run={"checkpoint_steps": 3})
    assert train(config) == 0
    last = tmp_path / "run" / "checkpoints" / "step-000000006"
    limit = int(part * (last / "weights.safetensors").stat().st_size)
    shutil.rmtree(last)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    child = start(config, "--resume", "last", preexec_fn=limited)
    message = child.communicate(timeout=WAIT_S)[1]
    assert child.returncode == 2
    assert f"cannot write {last}" in message
    assert "Traceback" not in message
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-000000003"]
    assert train(config, "--resume", "last") == 0


def test_changes_are_listed_setting_by_setting() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "d": None, "e": 5}
    now = {"a": {"b": 1, "c": [1, 3], "f": True}, "d": 2, "e": 5}
    assert changes(before, now) == [
        "a.c: [1, 2] before, now [1, 3]",
        "a.f: None before, now True",
        "d: None before, now 2",
    ]
    assert changes(now, now) == []


def test_people_keep_their_centres_when_others_come_and_go() -> None:
    before = PartialFC(5, 4, 0.4, 64.0, 1.0, seed=1)
    before.moment.normal_()
    before.steps = 7
    now = PartialFC(4, 4, 0.4, 64.0, 1.0, seed=2)
    rows = torch.tensor([3, -1, 0, 4])
    state = joined([before.state_dict()], now, rows)
    assert torch.equal(state["centres"][[0, 2, 3]], before.centres[[3, 0, 4]])
    assert torch.equal(state["moment"][[0, 2, 3]], before.moment[[3, 0, 4]])
    assert torch.equal(state["centres"][1], now.centres[1])
    assert not state["moment"][1].any()
    assert state["_extra_state"]["steps"] == 7


def test_the_card_says_what_the_weights_are_of(tmp_path: Path) -> None:
    assert train(configured(tmp_path, steps=2, licence="for tests")) == 0
    card = json.loads((tmp_path / "run" / "checkpoints" / "step-000000002" / "weights.json").read_text())
    assert card["licence"] == "for tests"
    assert card["source"]["name"] == "trained by faceanalytics, 2 of 2 steps"
    assert card["source"]["sets"] == {"people": 24, "ages": 24, "celeba": 16, "moods": 24}
    assert card["source"]["persons"] == 8
    assert str(tmp_path) not in json.dumps(card)
    assert card["outputs"] == list(OUTPUTS)


def test_a_finished_training_goes_on_to_more_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path, streams=AGE, steps=2)
    assert train(config) == 0
    assert train(config, "--resume", "last", "--set", "steps=4") == 0
    assert sorted(losses(tmp_path / "run")["age"]) == [1, 2, 3, 4]
    assert train(config, "--resume", "last", "--set", "steps=3") == 2
    assert "steps: 4 before, now 3" in capsys.readouterr().err


def test_settings_are_changed_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path, streams=AGE, steps=2)
    changed = ("--set", "optimiser.weight_decay=0.2", "--set", "streams.one.augment=flip", "--set", "run.keep=7")
    assert train(config, *changed) == 0
    shared = torch.load(tmp_path / "run" / "checkpoints" / "step-000000002" / "state.pt", weights_only=True)
    saved = json.loads(shared["config"])
    assert saved["optimiser"]["weight_decay"] == 0.2
    assert saved["streams"]["one"]["augment"] == "flip"
    assert train(config, "--resume", "last") == 2  # without them it is another training
    assert "optimiser.weight_decay: 0.2 before, now 0.05" in capsys.readouterr().err
    for wrong, reason in (
        ("optimiser.weight_decai=1", "optimiser.weight_decai: unknown key; did you mean weight_decay?"),
        ("run.keep=many", "run.keep: Input should be a valid integer"),
        ("steps", "expected KEY=VALUE"),
        ("steps.more=1", "there is no section above more"),
    ):
        assert train(config, "--set", wrong) == 2
        assert reason in capsys.readouterr().err
