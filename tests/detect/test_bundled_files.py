"""The weights that come with the project are what their cards say, and load without the project's own code."""

import json
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from skimage import data

from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.detect.offline import import_ultralytics
from workers.swinface.checkpoint import load, sha256
from workers.swinface.labels import EMBEDDING, OUTPUTS
from workers.swinface.model import output_slugs
from workers.weights.registry import INSTALLATION, entry, find, registry, verify

MEGABYTE = 1_000_000
LARGEST = {"detector": 6 * MEGABYTE, "face model": 20 * MEGABYTE}
DESCRIBED = ("data", "recipe", "seed", "commit", "compute")  # in each card, beside sum, terms and results
BUNDLED = [name for name, listed in registry().items() if listed.bundled]


def card(name: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(entry(name).path.with_suffix(".json").read_text())
    return described


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_file_is_small_and_has_a_complete_card(name: str) -> None:
    listed = entry(name)
    assert verify(name) == "sha256 matches (from its card)"
    assert listed.path.stat().st_size <= LARGEST[listed.what]
    described = card(name)
    assert described.get("terms", described.get("licence")) == listed.terms
    assert all(described[key] for key in DESCRIBED)
    assert described.get("results", described.get("metrics"))
    assert (INSTALLATION / "docs" / "models" / f"{name}.md").is_file()


@pytest.mark.parametrize("suffix", [".onnx", ".pt"])
def test_both_files_of_the_bundled_detector_load_in_ultralytics_alone(suffix: str) -> None:
    path = entry("yolo-face-nano").path.with_suffix(suffix)
    assert sha256(path) == card("yolo-face-nano")["sha256" if suffix == ".onnx" else "sha256_pt"]
    image = np.ascontiguousarray(np.asarray(data.astronaut())[:, :, ::-1])  # type: ignore[no-untyped-call]  # BGR
    (result,) = import_ultralytics().YOLO(str(path), task="pose").predict(image, conf=0.5, imgsz=640, verbose=False)
    assert result.keypoints.xy.shape == (1, 5, 2)
    np.testing.assert_allclose(result.keypoints.xy[0, 2].numpy(), (223, 126), atol=15)  # her nose
    (ours,) = Detector(Detect(weights=str(entry("yolo-face-nano").path), min_score=0.5)).detect([image])
    np.testing.assert_allclose(ours.landmarks[0], result.keypoints.xy[0].numpy(), atol=3)


def test_the_bundled_face_model_holds_the_outputs_of_its_card_and_nothing_else() -> None:
    tensors = load_file(entry("swinface-small").path)
    heads = {name.split(".")[1] for name in tensors if name.startswith("heads.")}
    described = card("swinface-small")
    outputs = described["outputs"]
    assert heads == set(outputs) - {EMBEDDING}
    assert {"age", "gender", "expression", EMBEDDING} <= set(outputs)
    assert set(described["not_trained"]) == set(OUTPUTS) - set(outputs)
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    assert sum(tensor.nbytes for tensor in tensors.values()) < 2.1 * sum(tensor.size for tensor in tensors.values())
    model, _ = load(find("default"))
    assert list(output_slugs(model)) == outputs
