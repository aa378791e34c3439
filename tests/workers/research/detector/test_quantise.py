"""The detector in int8: made of training images only, and as the streamer reads it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import yaml

from faceanalytics.errors import ConfigError
from streamer.config import Detect
from streamer.detect.bundled import bundled_detector
from streamer.detect.detector import Detector
from streamer.detect.openvino_network import multiplies_int8
from tests.support.photographs import read_portrait
from workers import cli
from workers.research.detector.config import load_detector_config
from workers.research.detector.quantise import PER_SOURCE, calibration_images


def write_config(folder: Path, sources: dict[str, Any], held_out: dict[str, Any]) -> Path:
    path = folder / "detector.yaml"
    content = {"out": str(folder / "run"), "images": 32, "teachers": ["one.onnx", "two.onnx"]}
    path.write_text(yaml.safe_dump({**content, "sources": sources, "held_out": held_out}, sort_keys=False))
    return path


def write_images(folder: Path, colours: range) -> dict[str, Any]:
    """A source of small pictures of one colour each."""
    folder.mkdir()
    for colour in colours:
        cv2.imwrite(str(folder / f"{colour:03}.png"), np.full((48, 64, 3), colour, np.uint8))
    return {"path": str(folder), "show": 1}


def test_ranges_come_from_images_that_are_shown_in_the_training_and_from_no_others(tmp_path: Path) -> None:
    many = write_images(tmp_path / "many", range(3 * PER_SOURCE))
    few = write_images(tmp_path / "few", range(100, 103))
    pasted = {**write_images(tmp_path / "pasted", range(150, 153)), "show": 0, "paste": 1}
    tiles = {**write_images(tmp_path / "tiles", range(160, 163)), "tile": 64, "paste": 1}
    held_out = write_images(tmp_path / "held_out", range(200, 203))
    sources = {"many": many, "few": few, "pasted": pasted, "tiles": tiles}
    config = load_detector_config(write_config(tmp_path, sources, {"held_out": held_out}), {})
    colours = [int(image[0, 0, 0]) for image in calibration_images(config)]
    assert colours == [*range(0, 3 * PER_SOURCE, 3), 100, 101, 102]


def test_a_source_that_is_missing_is_named(tmp_path: Path) -> None:
    source = {"path": str(tmp_path / "gone"), "show": 1, "paste": 1}
    config = load_detector_config(write_config(tmp_path, {"gone": source}, {}), {})
    with pytest.raises(ConfigError, match=r"gone: .*gone does not exist"):
        list(calibration_images(config))


@pytest.mark.slow
def test_the_command_writes_a_detector_that_the_streamer_computes_in_int8(tmp_path: Path) -> None:
    photograph = read_portrait()
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), photograph[:, 20 * number : 20 * number + 400])
    config = write_config(tmp_path, {"photographs": {"path": str(folder), "show": 1, "paste": 1}}, {})
    out = tmp_path / "new" / "int8.onnx"
    assert cli.main(["quantise-detector", str(config), str(bundled_detector()), str(out)]) == 0
    kinds = [node.op_type for node in onnx.load(out).graph.node]
    assert kinds.count("QuantizeLinear") > 60
    assert out.stat().st_size < bundled_detector().stat().st_size / 3
    if multiplies_int8():
        detector = Detector(Detect(weights=str(out), precision="int8", min_score=0.5))
        (found,) = detector.detect([photograph])
        (exact,) = Detector(Detect(weights=str(bundled_detector()), min_score=0.5)).detect([photograph])
        assert found.boxes[0] == pytest.approx(exact.boxes[0], abs=6)
        assert found.landmarks[0] == pytest.approx(exact.landmarks[0], abs=4)


def test_a_file_that_is_not_exported_by_ultralytics_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_images(tmp_path / "shown", range(3))
    config = write_config(tmp_path, {"shown": {**source, "paste": 1}}, {})
    other = bundled_detector().with_name("face-roll-nano.onnx")
    assert cli.main(["quantise-detector", str(config), str(other), str(tmp_path / "int8.onnx")]) == 2
    assert "face-roll-nano.onnx is not a detector exported by ultralytics" in capsys.readouterr().err
    assert not (tmp_path / "int8.onnx").exists()
    assert cli.main(["quantise-detector", str(config), str(tmp_path / "none.onnx"), str(tmp_path / "int8.onnx")]) == 2
    assert "there is no" in capsys.readouterr().err
