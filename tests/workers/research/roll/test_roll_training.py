"""The roll network is trained on faces turned by angles that are known, and written as the streamer reads it."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.detect.offline import import_onnxruntime
from streamer.detect.roll import SIDE
from streamer.detect.turned import rolls_of
from streamer.select.align import TEMPLATE
from tests.conftest import ROOT
from tests.support.photographs import FACE, read_portrait
from workers.research.roll.compose import Composer, crop_matrix
from workers.research.roll.config import RollConfig, load_roll_config
from workers.research.roll.faces import Upright, read_source
from workers.research.roll.network import RollNet
from workers.research.roll.train import main

BOX = [16, 21, 96, 116]  # of a face in an aligned crop


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A training of three steps on one photograph."""
    encoded = cv2.imencode(".png", read_portrait())[1].tobytes()
    pq.write_table(pa.table({"image": [encoded] * 2, "split": ["train", "val"]}), tmp_path / "faces.parquet")
    assert cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 300, 3), 90, np.uint8))
    with (tmp_path / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "faces"], ["wall.png", 0], ["crowd.png", 12]])
    path = tmp_path / "train.yaml"
    path.write_text(
        f"out: {tmp_path / 'out'}\nsteps: 3\nbatch: 8\nbackgrounds: {tmp_path / 'index.csv'}\n"
        f"sources: {{one: {{path: {tmp_path / 'faces.parquet'}, where: {{split: train}}}},"
        f" two: {{path: {tmp_path / 'faces.parquet'}, box: {list(FACE)}}}}}\n"
        f"held_out: {{val: {{path: {tmp_path / 'faces.parquet'}, where: {{split: val}}}}}}\n"
    )
    return path


def test_a_training_writes_a_network_for_any_number_of_crops(config_file: Path, tmp_path: Path) -> None:
    assert main([str(config_file)]) == 0
    session = import_onnxruntime().InferenceSession(str(tmp_path / "out" / "face-roll-nano.onnx"))
    for count in (1, 5):
        (directions,) = session.run(None, {"crops": np.zeros((count, 1, SIDE, SIDE), np.float32)})
        assert directions.shape == (count, 2)
        assert np.isfinite(directions).all()


def test_a_source_has_the_rows_asked_for_and_boxes_given_or_detected(config_file: Path) -> None:
    config = load_roll_config(config_file, {})
    (detected,) = read_source(config.sources["one"])
    given = read_source(config.sources["two"])
    assert (detected.tight, [face.tight for face in given]) == (False, [True, True])
    np.testing.assert_allclose(detected.box, FACE, atol=10)


@pytest.mark.parametrize("degrees", [-150, -90, 0, 60, 180])
def test_the_angle_of_a_composed_crop_is_clockwise(degrees: int) -> None:
    matrix = crop_matrix(np.array(BOX, np.float32), np.radians(degrees), 1.0)
    points = TEMPLATE @ matrix[:, :2].T + matrix[:, 2]
    (roll,) = rolls_of(points[None].astype(np.float32))
    assert abs((np.degrees(roll) - degrees + 180) % 360 - 180) < 1
    assert np.linalg.norm(points.mean(axis=0) - SIDE / 2) < 8


def test_crops_are_drawn_with_their_directions_and_some_show_no_face() -> None:
    face = Upright(np.asarray(cv2.cvtColor(read_portrait(), cv2.COLOR_BGR2GRAY)), np.array(FACE, np.float32), False)
    config = RollConfig.model_validate(
        {"out": "x", "steps": 1, "nobody": 0.5, "sources": {}, "held_out": {}, "backgrounds": "x"}
    )
    composer = Composer(config, [([face], 1.0)], [np.full((100, 120), 90, np.uint8)])
    draws = np.random.default_rng(1)
    drawn = [composer.draw(draws) for _ in range(60)]
    lengths = {round(float(np.hypot(*direction)), 5) for _, direction in drawn}
    assert lengths == {0.0, 1.0}
    assert all(crop.shape == (SIDE, SIDE) and crop.dtype == np.uint8 for crop, _ in drawn)


def test_the_configuration_in_the_project_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", "/data")
    assert load_roll_config(ROOT / "configs" / "train-roll.yaml", {}).steps > 1000


def test_a_file_that_is_missing_is_an_error_of_the_user(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config_file.write_text(config_file.read_text().replace("faces.parquet", "nowhere.parquet"))
    assert main([str(config_file)]) == 3
    assert "nowhere.parquet" in capsys.readouterr().err


def test_the_network_has_about_a_hundred_thousand_parameters() -> None:
    assert 80_000 < sum(parameter.numel() for parameter in RollNet().parameters()) < 120_000
