"""The trainings that are shipped, and those that docs/training.md shows, are what they say."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.support.training import losses
from workers.cli import main
from workers.research.data.sets import load_sets
from workers.research.train.config import Part, TrainConfig, is_test, load_train_config
from workers.swinface.labels import OUTPUTS

# other kinds of training, see test_training.py in tests/workers/research/detector and test_roll_training.py in roll
OTHERS = {"train-detector.yaml", "train-roll.yaml"}
CONFIGS = sorted(path for path in (ROOT / "configs").glob("train*.yaml") if path.name not in OTHERS)
GUIDE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    path = ROOT / "configs" / name
    give_variables(path.read_text(encoding="utf-8"), monkeypatch)
    return load_train_config(path, {})


def give_variables(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in set(re.findall(r"\$\{(\w+)\}", text)):
        monkeypatch.setenv(variable, "/data")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_training_is_valid_and_validates_with_no_test_set(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(path.name, monkeypatch)
    assert config.validate_by.sets
    assert not any(is_test(one) for one in config.sets.values())


def test_the_joint_training_is_that_of_the_paper_on_four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load("train-paper.yaml", monkeypatch)
    streams = config.streams
    assert [(stream.learns, stream.batch, stream.augment) for stream in streams.values()] == [
        (("identity",), 32, "flip"),
        (("age", "gender"), 32, "published"),
        (("attributes",), 32, "published"),
        (("expression",), 32, "published"),
    ]
    assert [part.share for part in streams["age_gender"].mix] == [0.25, 0.25, 0.5]
    assert formats(config, streams["age_gender"].mix) == [["adience"], ["morph"], ["imdb_wiki", "imdb_wiki"]]
    assert [part.share for part in streams["expression"].mix] == [0.5, 0.5]
    assert formats(config, streams["expression"].mix) == [["affectnet"], ["rafdb"]]
    assert (config.steps, config.optimiser.warmup_steps, config.seed) == (80_000, 8_000, 2048)
    rates = config.optimiser
    assert (rates.learning_rate, rates.warmup_learning_rate, rates.final_learning_rate) == (5e-4, 5e-7, 5e-6)
    assert rates.learning_rate * rates.backbone_factor == pytest.approx(5e-5)
    assert (rates.weight_decay, rates.clip_norm, rates.betas) == (0.05, 5.0, (0.9, 0.999))
    assert (config.recognition.margin, config.recognition.scale, config.recognition.sample_rate) == (0.4, 64, 0.3)
    assert {config.weight(slug) for slug in OUTPUTS} == {1.0}
    assert config.leave_out == ()


def test_stage_0_is_the_published_pretraining_and_the_joint_training_starts_from_its_last_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = load("train-recognition.yaml", monkeypatch)
    assert [(stream.learns, stream.batch, stream.augment) for stream in config.streams.values()] == [
        (("identity",), 128, "flip")
    ]
    assert (config.steps, config.optimiser.warmup_steps, config.seed) == (454_880, 56_860, 2048)
    rates = config.optimiser
    assert (rates.learning_rate, rates.backbone_factor, rates.weight_decay) == (5e-4, 1.0, 0.05)
    assert (rates.warmup_learning_rate, rates.final_learning_rate) == (5e-7, 5e-6)
    assert (config.recognition.margin, config.recognition.scale, config.recognition.sample_rate) == (0.4, 64, 1.0)
    joint = load("train-paper.yaml", monkeypatch)
    assert joint.start_from is not None
    assert Path(joint.start_from).absolute() == config.out / "checkpoints/step-000454880/weights.safetensors"
    assert joint.model == config.model


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_of_the_guide_is_valid(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = EXAMPLES[number]
    give_variables(text, monkeypatch)
    path = tmp_path / "example.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_sets(path)
    if "streams:" in text:
        assert load_train_config(path, {}).streams


def test_the_guide_shows_every_layout_of_faces() -> None:
    known = set(
        re.findall(r'format: Literal\["(\w+)"\]', "".join(map(read, (ROOT / "workers/research/data").glob("*.py"))))
    )
    shown = {name for text in EXAMPLES for name in re.findall(r"format: (\w+)", text)}
    in_table = set(re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE))
    assert known
    assert shown == known
    assert known <= in_table


def formats(config: TrainConfig, mix: tuple[Part, ...]) -> list[list[str]]:
    return [[config.sets[name].format for name in part.sets] for part in mix]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_training_for_a_cpu_learns_something_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortened, with faces whose gender shows in their brightness."""
    faces = tmp_path / "faces"
    faces.mkdir()
    for number in range(200):
        gender = number % 2
        pixels = np.random.default_rng(number).integers(0, 128, (24, 24, 3), np.uint8) + np.uint8(127 * gender)
        cv2.imwrite(str(faces / f"{20 + number % 60}_{gender}_0_2017{number:013d}.jpg"), pixels)
    monkeypatch.setenv("FACES", str(faces))
    short = (
        "steps=60",
        "streams.faces.batch=16",
        "optimiser.warmup_steps=5",
        "optimiser.learning_rate=3e-2",
        "run.log_steps=1",
        "run.threads=1",
    )
    options = [part for text in short for part in ("--set", text)]
    run = tmp_path / "run"
    assert main(["train", str(ROOT / "configs" / "train-cpu.yaml"), "--out", str(run), *options]) == 0
    found = losses(run)["gender"]
    assert found[60] < found[1] / 2
