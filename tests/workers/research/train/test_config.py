"""Settings of a training: valid ones, and the errors for all others."""

from pathlib import Path
from typing import Any

import pytest
import torch

from faceanalytics.errors import ConfigError, InputError
from tests.conftest import ROOT
from tests.support.training import configured, draw_people, draw_table, settings, stream, train
from workers.research.data.face_set import FROM_TEACHER
from workers.research.train.config import TrainConfig, load_train_config
from workers.research.train.process import Process
from workers.research.train.stop import StopRequest
from workers.research.train.streams import open_plan
from workers.research.train.validate import Validation


def refused(folder: Path, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_train_config(configured(folder, **changes), {})
    return str(caught.value)


def loaded(folder: Path, **changes: Any) -> TrainConfig:
    return load_train_config(configured(folder, **changes), {})


def sets(folder: Path, **more: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = settings(folder)["sets"]
    return {**found, **more}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepz": 5}, "stepz: unknown key"),
        ({"run": {"device": "tpu"}}, "run.device: Input should be 'cpu' or 'cuda'"),
        ({"run": {"keep": 0}}, "run.keep: Input should be greater than or equal to 1"),
        ({"optimiser": {"betas": [0.9, 1.0]}}, "optimiser.betas.1: Input should be less than 1"),
        ({"optimiser": {"learning_rate": ".inf"}}, "optimiser.learning_rate: Input should be"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1"),
        ({"seed": 2**32}, "seed: Input should be less than"),
        ({"recognition": {"sample_rate": 0}}, "recognition.sample_rate: Input should be greater than 0"),
        ({"leave_out": ["ages"]}, "leave_out: Value error, unknown output ages; known are attributes, age"),
        ({"weights": {"smile": 2}}, "weights: Value error, unknown output smile"),
        ({"weights": {"age": -1}}, "weights.age: Input should be greater than or equal to 0"),
        ({"model": {"channels": [32, 48]}}, "model: Value error, each of channels must be twice the one before"),
        ({"model": {"patch_size": 4}}, "2 stages need patches of 8 pixels: the last map must be 7x7"),
        ({"model": {"depths": [1]}}, "channels, depths and fused_channels need one number for each stage"),
        ({"model": {"channels": [48, 96]}}, "channels must be multiples of head_channels, 32"),
        ({"model": {"gate_reduction": 100}}, "fused_channels must sum to at least gate_reduction, 100"),
        ({"streams": {}}, "streams: Dictionary should have at least 1 item"),
        ({"streams": {"a": stream("identity", "nobody")}}, "no such set under `sets`: nobody"),
        ({"streams": {"a": stream("faces", "people")}}, "streams.a.learns.0: Input should be 'identity', 'age'"),
        (
            {"streams": {"a": stream("identity", "people", "people")}},
            "streams.a.mix: Value error, people is listed more",
        ),
        (
            {"streams": {"a": stream("identity", "people"), "b": stream("identity", "ages")}},
            "only one stream can learn identity",
        ),
        ({"validate": {"sets": ["moods"]}}, "both trained on and validated with: moods"),
        ({"validate": {"every": 3}}, "validate.every: unknown key"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in refused(tmp_path, **changes)


@pytest.mark.parametrize(
    "test_set",
    [
        {"format": "rafdb", "path": "RAF", "parts": ["test"]},
        {"format": "celeba", "path": "CelebA", "parts": ["train", "test"]},
        {"format": "fer2013", "path": "fer2013.csv", "usage": ["PrivateTest"]},
        {"format": "swinface", "path": "RAF/label.txt", "holds": "raf"},
        {"format": "swinface", "path": "RAF/label.txt", "holds": "raf", "part": "test"},
        {"format": "fer2013_folders", "path": "fer", "parts": ["test"]},
    ],
)
def test_test_sets_are_neither_trained_on_nor_validated_with(tmp_path: Path, test_set: dict[str, Any]) -> None:
    known = sets(tmp_path, tested=test_set)
    for place in ({"validate": {"sets": ["tested"]}}, {"streams": {"one": stream("expression", "tested")}}):
        assert "tested: a test set is only for `swinface evaluate`" in refused(tmp_path, sets=known, **place)


def test_parts_that_are_no_test_sets_are_taken(tmp_path: Path) -> None:
    held: dict[str, Any] = {
        "raf": {"format": "swinface", "path": "RAF/label.txt", "holds": "raf", "part": "train"},
        "fer": {"format": "fer2013", "path": "fer2013.csv", "usage": ["PublicTest"]},
    }
    config = loaded(tmp_path, sets=sets(tmp_path, **held), validate={"sets": list(held)})
    assert config.validate_by.sets == ("raf", "fer")


@pytest.mark.parametrize(
    ("trained", "held"),
    [
        ({}, {}),
        ({}, {"split": {"part": "validation"}}),
        ({"split": {"part": "train", "seed": 1}}, {"split": {"part": "validation", "seed": 2}}),
        ({"split": {"part": "train"}}, {"split": {"part": "train"}}),
    ],
)
def test_faces_that_are_trained_on_cannot_be_validated_with(
    tmp_path: Path, trained: dict[str, Any], held: dict[str, Any]
) -> None:
    people = sets(tmp_path)["people"]
    known = sets(tmp_path, people={**people, **trained}, held={**people, **held})
    assert "held validates with faces that people trains on" in refused(
        tmp_path, sets=known, validate={"sets": ["held"]}
    )


def test_faces_in_common_are_found_where_the_configuration_does_not_show_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data" / "celeba")
    held = {"format": "celeba", "path": str(tmp_path / "link"), "parts": ["validation", "train"]}
    config = configured(tmp_path, sets=sets(tmp_path, held=held), validate={"sets": ["held"]})
    assert train(config) == 3
    message = capsys.readouterr().err
    assert "held validates with 16 faces that celeba trains on, such as 000001.jpg" in message


def test_settings_of_the_command_line_take_the_place_of_the_files(tmp_path: Path) -> None:
    config = load_train_config(configured(tmp_path), {"steps": 9, "out": Path("~/there")})
    assert config.steps == 9
    assert config.out == Path.home() / "there"


def test_a_weight_is_its_own_or_that_of_all_attributes(tmp_path: Path) -> None:
    config = loaded(tmp_path, weights={"attributes": 0.5, "gender": 2.0, "age": 0.1})
    assert [config.weight(slug) for slug in ("gender", "bald", "age", "expression")] == [2.0, 0.5, 0.1, 1.0]


def test_labels_that_cannot_be_true_are_not_learnt(tmp_path: Path) -> None:
    draw_people(tmp_path / "data" / "people", 2, 2)
    draw_table(tmp_path / "data" / "labelled.parquet", 3, age=[20, 130, 40], gender=[0, 1, 1], expression=[0, 1, 2])
    config = loaded(tmp_path, streams={"one": stream("age", "ages")})
    with pytest.raises(InputError, match=r"1 labels of the set ages cannot be true:\n.*age 130.0 is not within"):
        open_plan(config)


def test_a_stream_needs_labels_of_what_it_is_to_teach(tmp_path: Path) -> None:
    config = loaded(tmp_path, streams={"one": stream("expression", "people")})
    with pytest.raises(ConfigError, match=r"streams.one: the set people has no labels of expression"):
        open_plan(config)


def test_outputs_that_are_left_out_take_their_stream_with_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = open_plan(loaded(tmp_path, leave_out=["expression", "attributes"]))
    assert plan.outputs == ("age", "recognition")  # the gender is one of the attributes
    assert [one.name for one in plan.streams] == ["recognition", "age_gender"]
    assert "stream attributes is LEFT OUT: all outputs that it has labels for are in `leave_out`" in caplog.text
    with pytest.raises(ConfigError, match="nothing is left to learn"):
        open_plan(loaded(tmp_path, streams={"one": stream("age", "ages")}, leave_out=["age"]))


def test_one_face_a_step_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two faces"):
        open_plan(loaded(tmp_path, streams={"one": stream("age", "ages", batch=1)}))


@pytest.mark.shared
def test_the_small_configuration_loads_with_its_sets(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACES", str(shared / "data" / "train"))
    monkeypatch.setenv("TEACHERS", "/nowhere")
    monkeypatch.setenv("TEACHER_OUTPUTS", "/nowhere")
    config = load_train_config(ROOT / "configs" / "train-small.yaml", {})
    sets = {name: one.model_copy(update={"teacher": None}) for name, one in config.sets.items()}
    streams = {
        name: one.model_copy(update={"learns": tuple(kind for kind in one.learns if kind not in FROM_TEACHER)})
        for name, one in config.streams.items()
    }
    config = config.model_copy(update={"sets": sets, "streams": streams})  # their files are not among what is shared
    plan = open_plan(config)
    assert plan.outputs == ("age", "gender", "expression", "recognition")
    assert plan.faces == sum(one.batch for one in config.streams.values())
    assert len(plan.people) > 100
    plans = Validation(config, Process(0, 1, torch.device("cpu")), plan, StopRequest()).plans
    assert {planned.faces.name: planned.kinds for planned in plans} == {
        "utkface_val": ("age", "gender"), "fer_val": ("expression",), "lfw_val": ("identity",),
    }  # fmt: skip


def test_the_small_configuration_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACES", "/nowhere")
    monkeypatch.setenv("TEACHERS", "/nowhere")
    monkeypatch.setenv("TEACHER_OUTPUTS", "/nowhere")
    config = load_train_config(ROOT / "configs" / "train-small.yaml", {})
    with pytest.raises(InputError, match=r"there is nothing at /nowhere"):
        open_plan(config)
