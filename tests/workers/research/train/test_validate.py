"""What the best weights are chosen by."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceanalytics.errors import InputError, ModelError
from tests.support.training import configured, draw_celeba, draw_people, draw_table, scalars, settings, stream, train
from workers.research.data.face_set import Labels
from workers.research.train.config import load_train_config
from workers.research.train.process import Process
from workers.research.train.stop import StopRequest
from workers.research.train.streams import open_plan
from workers.research.train.validate import Validation, skill
from workers.swinface.checkpoint import load_own
from workers.swinface.labels import ATTRIBUTES

pytestmark = pytest.mark.usefixtures("one_thread")
NAN = float("nan")
AGES = Labels(age=np.array([10, 20, 30, NAN, 60], np.float32))  # median 25, its mean error 15
GENDERS = Labels(gender=np.array([1, 1, 1, 0, -1]))  # 3 of 4 are men
EXPRESSIONS = Labels(expression=np.array([3, 3, 6, 0, 3, -1, 1, 1, 3, 3]))  # 5 of 9
PEOPLE = Labels(identity=np.array([0, 0, 1]))


def signs(*known: list[int]) -> Labels:
    """Two attributes of faces; of the others nothing is known."""
    table = np.full((len(known), len(ATTRIBUTES)), -1, np.int8)
    table[:, :2] = known
    return Labels(attributes=table)


SIGNS = signs([1, 0], [1, 0], [1, 0], [0, 0])  # 3 of 4, 4 of 4: 87.5 % without looking


@pytest.mark.parametrize(
    ("kind", "labels", "value", "expected"),
    [
        ("age", AGES, 0.0, 1.0),
        ("age", AGES, 15.0, 0.0),
        ("age", AGES, 30.0, -1.0),
        ("gender", GENDERS, 100.0, 1.0),
        ("gender", GENDERS, 75.0, 0.0),
        ("gender", GENDERS, 25.0, -2.0),
        ("expression", EXPRESSIONS, 100.0, 1.0),
        ("expression", EXPRESSIONS, 100 * 5 / 9, 0.0),
        ("expression", EXPRESSIONS, 0.0, -1.25),
        ("identity", PEOPLE, 100.0, 1.0),
        ("identity", PEOPLE, 50.0, 0.0),
        ("identity", PEOPLE, 75.0, 0.5),
        ("attributes", SIGNS, 100.0, 1.0),
        ("attributes", SIGNS, 87.5, 0.0),
    ],
)
def test_skill_is_1_for_what_is_always_right_and_0_for_the_best_blind_guess(
    kind: str, labels: Labels, value: float, expected: float
) -> None:
    assert skill(kind, value, labels) == pytest.approx(expected, abs=1e-12)


def test_the_blind_guess_is_of_the_attributes_that_are_judged() -> None:
    first = ATTRIBUTES[0].slug
    assert skill("attributes", 75.0, SIGNS, [first]) == pytest.approx(0.0)
    assert skill("attributes", 87.5, SIGNS, [first]) == pytest.approx(0.5)


def test_where_a_blind_guess_is_always_right_there_is_no_skill() -> None:
    assert skill("gender", 100.0, Labels(gender=np.array([1, 1]))) == 0.0
    assert skill("age", 3.0, Labels(age=np.array([20, 20], np.float32))) == 0.0


def held_out(folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings with sets to validate with."""
    known = settings(folder)["sets"]
    path = folder / "held"
    if not path.exists():
        draw_people(path / "people", persons=24, each=2, seed=500_000)
        draw_table(path / "labelled.parquet", 21, seed=900)
        draw_celeba(path / "celeba", 9, seed=700, held_out=5)
    held = {
        "held_people": {"format": "folders", "path": str(path / "people")},
        "held_table": {
            "format": "parquet", "path": str(path / "labelled.parquet"),
            "columns": {"age": "age", "gender": "gender", "expression": "expression"},
        },
        "held_celeba": {"format": "celeba", "path": str(path / "celeba"), "parts": ["validation"]},
    }  # fmt: skip
    return {"sets": {**known, **held}, "validate": {"sets": list(held), "every_steps": 2, **changes}}


def validation(folder: Path, stop_request: StopRequest | None = None, **changes: Any) -> Validation:
    config = load_train_config(configured(folder, **changes), {})
    return Validation(config, Process(0, 1, torch.device("cpu")), open_plan(config), stop_request or StopRequest())


def test_the_best_weights_are_those_of_the_highest_skill(tmp_path: Path) -> None:
    config = configured(
        tmp_path, **held_out(tmp_path), seed=6, steps=8, run={"checkpoint_steps": 2, "keep": 9},
        optimiser={"learning_rate": 0.3},  # labels by chance teach nothing that holds for others
    )  # fmt: skip
    assert train(config) == 0
    out = tmp_path / "run"
    by_step = scalars(out)["validation/skill"]
    assert list(by_step) == [2, 4, 6, 8]
    best = max(by_step, key=lambda step: by_step[step])
    assert best != 8
    chosen, of_step = (
        (path / "weights.safetensors").read_bytes() for path in (out / "best", out / "checkpoints" / f"step-{best:09d}")
    )
    assert chosen == of_step
    card = json.loads((out / "best" / "weights.json").read_text())
    assert card["metrics"]["step"] == best
    assert card["metrics"]["skill"] == by_step[best]
    assert not (out / "best.partial").exists()


def test_every_kind_of_label_counts_in_the_skill(tmp_path: Path) -> None:
    measuring = validation(tmp_path, **held_out(tmp_path))
    assert [planned.kinds for planned in measuring.plans] == [
        ("identity",), ("age", "gender", "expression"), ("attributes",),
    ]  # fmt: skip
    config = load_train_config(configured(tmp_path, **held_out(tmp_path), steps=1), {})
    assert train(configured(tmp_path, **held_out(tmp_path), steps=1)) == 0
    model, card = load_own(config.out / "best" / "weights.safetensors")
    measured = measuring.measure(model)
    assert measured is not None
    metrics, mean = measured
    assert card["metrics"] == {"step": 1, "skill": mean, **metrics}
    kinds = {
        "identity": ("held_people/verification_accuracy_percent", 0),
        "age": ("held_table/mae_years", 1),
        "gender": ("held_table/gender_accuracy_percent", 1),
        "expression": ("held_table/expression_accuracy_percent", 1),
        "attributes": ("held_celeba/attributes_mean_percent", 2),
    }
    skills = [skill(kind, metrics[name], measuring.plans[place].faces.labels) for kind, (name, place) in kinds.items()]
    assert mean == pytest.approx(sum(skills) / 5)
    assert model.training  # what was measured goes on learning


def test_a_part_of_each_set_can_be_looked_at_always_the_same(tmp_path: Path) -> None:
    parts = [validation(tmp_path, **held_out(tmp_path, max_faces=30)) for _ in range(2)]
    assert [len(planned.faces) for planned in parts[0].plans] == [30, 21, 5]
    names = [[one.plans[0].faces.images.name(row) for row in range(30)] for one in parts]
    assert names[0] == names[1] == sorted(set(names[0]))
    assert len(validation(tmp_path, **held_out(tmp_path)).plans[0].faces) == 48


def test_a_signal_does_not_wait_for_the_end_of_a_validation(tmp_path: Path) -> None:
    stop_request = StopRequest()
    measuring = validation(tmp_path, stop_request, **held_out(tmp_path))
    config = load_train_config(configured(tmp_path, **held_out(tmp_path), steps=1), {})
    assert train(configured(tmp_path, **held_out(tmp_path), steps=1)) == 0
    model, _ = load_own(config.out / "best" / "weights.safetensors")
    stop_request.signal = 15
    assert measuring.measure(model) is None


def test_a_validation_that_was_not_finished_is_made_up_for(tmp_path: Path) -> None:
    changes = held_out(tmp_path)
    assert train(configured(tmp_path, **changes, steps=4, run={"checkpoint_steps": 2})) == 0
    whole = json.loads((tmp_path / "run" / "best" / "weights.json").read_text())
    without = {**changes, "validate": {"every_steps": 100}}
    config = configured(tmp_path, **without, steps=4, out=str(tmp_path / "again"), run={"checkpoint_steps": 2})
    assert train(config) == 0  # a run that is stopped while it validates saves what it has learnt, like this one
    for name in ("best", "checkpoints/step-000000004"):
        shutil.rmtree(tmp_path / "again" / name, ignore_errors=True)
    config = configured(tmp_path, **changes, steps=4, out=str(tmp_path / "again"), run={"checkpoint_steps": 2})
    assert train(config, "--resume", "last") == 0
    assert json.loads((tmp_path / "again" / "best" / "weights.json").read_text()) == whole
    assert scalars(tmp_path / "again")["validation/skill"] == scalars(tmp_path / "run")["validation/skill"]
    last = tmp_path / "again" / "checkpoints" / "step-000000004" / "weights.json"
    assert json.loads(last.read_text())["metrics"]["step"] == 4


def test_sets_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    held = held_out(tmp_path)
    few = draw_people(tmp_path / "few", persons=3, each=2, seed=1)
    held["sets"]["few"] = {"format": "folders", "path": str(few)}
    with pytest.raises(InputError, match=r"validate: few: .* too few to draw pairs from\. Hold out more"):
        validation(tmp_path, **{**held, "validate": {"sets": ["few"]}})
    with pytest.raises(ModelError, match="the weights have no head recognition"):
        validation(tmp_path, **held, leave_out=["recognition"])
    unknown = "\n".join(f"train_{row:05d}.jpg 9" for row in range(2))
    (tmp_path / "raf.txt").write_text(unknown + "\n")
    held["sets"]["raf"] = {"format": "swinface", "path": str(tmp_path / "raf.txt"), "holds": "raf", "part": "train"}
    with pytest.raises(InputError, match=r"raf\.txt:1"):
        validation(tmp_path, **{**held, "validate": {"sets": ["raf"]}}, streams={"a": stream("age", "ages")})
