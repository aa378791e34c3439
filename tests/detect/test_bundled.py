"""The detector that comes with the project: the default, and refused if it is not what its card says."""

import hashlib
import json
import logging
from pathlib import Path

import pytest

from faceanalytics.errors import ModelError
from streamer.config import Detect
from streamer.detect import bundled
from streamer.detect.detector import WEIGHTS_VARIABLE, Detector, find_weights
from tests.support.patch_detector import write_lite_patch_detector


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an installation's bundled detector, with its card."""
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    path = write_lite_patch_detector(tmp_path / "yolo-face-nano.onnx")
    card = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "terms": "research only"}
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def test_the_bundled_detector_is_the_default_and_says_its_terms(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert Detector(Detect()).model_id.startswith("yolo-face-nano-")
    line = "face detector yolo-face-nano: research only, see docs/models/yolo-face-nano.md"
    assert [record.getMessage() for record in caplog.records].count(line) == 1


def test_the_environment_goes_before_the_bundled_detector_and_a_path_before_both(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_weights("default") == bundle
    named = write_lite_patch_detector(tmp_path / "named.onnx")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(named))
    assert find_weights("default") == named
    assert find_weights(str(bundle)) == bundle
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "nowhere.pt"))
    with pytest.raises(ModelError, match=r"nowhere\.pt does not exist"):
        find_weights("default")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("damaged", "is damaged or has been replaced"),
        ("missing", "the bundled face detector is missing"),
        ("no card", "the bundled face detector is missing"),
        ("other card", "is not the card of a detector"),
    ],
)
def test_a_bundled_detector_that_is_not_as_its_card_says_is_refused(fault: str, message: str, bundle: Path) -> None:
    card = bundle.with_suffix(".json")
    if fault == "damaged":
        bundle.write_bytes(bundle.read_bytes()[:-1])
    elif fault == "other card":
        card.write_text("[]")
    else:
        (bundle if fault == "missing" else card).unlink()
    with pytest.raises(ModelError, match=message) as caught:
        Detector(Detect())
    assert caught.value.exit_code == 4
