"""Images to faces: the bundled detector and the bundled face model, on a photograph."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import faceanalytics as fa
from tests.support.photographs import FACE, make_face_clip, portrait, read_portrait
from tests.support.videos import image


@pytest.fixture(scope="module")
def analyzer() -> fa.FaceAnalyzer:
    return fa.FaceAnalyzer()


@pytest.fixture(scope="module")
def detector() -> fa.Detector:
    return fa.Detector()


def test_a_portrait_is_one_face_with_all_outputs_of_the_model(analyzer: fa.FaceAnalyzer) -> None:
    (face,) = analyzer(portrait())
    assert face.box == pytest.approx(FACE, abs=8)
    assert face.landmarks.shape == (5, 2)
    assert 0.5 < face.score <= 1
    assert 0.5 < face.quality <= 1
    assert face.reasons == ()
    assert face.age is not None
    assert 15 < face.age < 60
    assert face.appears == "happiness"
    assert face.expression is not None
    assert sum(face.expression.values()) == pytest.approx(1, abs=1e-5)
    assert list(face.attributes) == ["male"]
    assert face.attributes["male"] < 0.5
    assert face.embedding is not None
    assert float(face.embedding @ face.embedding) == pytest.approx(1, abs=1e-5)
    assert face.crop is not None
    assert face.crop.shape == (112, 112, 3)
    assert analyzer.model_id.startswith("swinface-")


def test_an_array_is_bgr_unless_it_is_said_to_be_rgb(analyzer: fa.FaceAnalyzer, tmp_path: Path) -> None:
    bgr = read_portrait()
    (expected,) = analyzer(str(portrait()))
    (face,) = analyzer(bgr)
    (other,) = analyzer(np.ascontiguousarray(bgr[:, :, ::-1]), channels="RGB")
    for one in (face, other):
        assert one.embedding is not None
        assert expected.embedding is not None
        assert np.array_equal(one.embedding, expected.embedding)
    frame = next(fa.read_video(make_face_clip(tmp_path / "clip.mp4", seconds=0.2)))
    assert np.array_equal(analyzer(frame, channels="RGB")[0].box, analyzer(frame.pixels)[0].box)  # a Frame is BGR


def test_several_images_are_described_as_each_alone(analyzer: fa.FaceAnalyzer) -> None:
    small = np.asarray(cv2.resize(read_portrait(), (300, 300)), np.uint8)
    alone = [analyzer(one) for one in (portrait(), image(1), small)]
    together = analyzer.analyze_batch([portrait(), image(1), small])
    assert [len(faces) for faces in together] == [1, 0, 1]
    for before, now in zip(alone, together, strict=True):
        for one, other in zip(before, now, strict=True):
            assert one.age == pytest.approx(other.age, abs=1e-3)
            assert np.array_equal(one.box, other.box)


def test_more_faces_than_a_batch_are_described_all(detector: fa.Detector) -> None:
    analyzer = fa.FaceAnalyzer(detector=detector, batch=2)
    faces = [faces[0] for faces in analyzer.analyze_batch([portrait()] * 5)]
    assert len({face.age for face in faces}) <= 2  # of batches of 2 and of 1
    assert faces[0].age == pytest.approx(faces[-1].age, abs=1e-3)


def test_a_detector_alone_has_safe_defaults(detector: fa.Detector) -> None:
    faces = detector(portrait())
    assert len(faces) == 1
    assert faces.boxes.shape == (1, 4)
    assert faces.landmarks.shape == (1, 5, 2)
    assert len(fa.Detector(min_score=0.01)(portrait())) > 1  # weak ones as well
    assert detector.model_id.startswith("yolo-face-nano-")
    assert [len(found) for found in detector.detect_batch([portrait(), image(1)])] == [1, 0]


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (np.zeros((10, 10), np.uint8), ValueError, r"uint8 \(10, 10\), expected uint8 \(height, width, 3\)"),
        (np.zeros((10, 10, 3), np.float32), ValueError, "float32"),
        (np.zeros((0, 10, 3), np.uint8), ValueError, "expected"),
        ([[1]], ValueError, "not list"),
        ("nowhere.png", fa.InputError, "No such file"),
    ],
)
def test_what_is_not_an_image_is_an_error(
    detector: fa.Detector,
    wrong: np.ndarray | str,
    kind: type[Exception],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        detector(wrong)


def test_a_video_or_an_unknown_order_is_an_error(detector: fa.Detector, tmp_path: Path) -> None:
    with pytest.raises(fa.InputError, match="read its frames with read_video"):
        detector(make_face_clip(tmp_path / "clip.mp4", seconds=0.2))
    with pytest.raises(ValueError, match="'BGR' or 'RGB'"):
        detector(image(1), channels="rgb")  # type: ignore[arg-type]


def test_wrong_arguments_are_errors_of_the_user(detector: fa.Detector) -> None:
    with pytest.raises(fa.ConfigError, match="min_score"):
        fa.Detector(min_score=2)
    with pytest.raises(fa.ConfigError, match=r"precision.*fp32.*bf16.*int8"):
        fa.Detector(precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(fa.ModelError, match=r"nowhere\.onnx does not exist"):
        fa.Detector("nowhere.onnx")
    with pytest.raises(fa.ModelError):
        fa.FaceAnalyzer(device="cuda:99", detector=detector)
    with pytest.raises(fa.ModelError):
        fa.FaceAnalyzer(weights="nowhere.safetensors", detector=detector)
    with pytest.raises(ValueError, match="batch"):
        fa.FaceAnalyzer(detector=detector, batch=0)


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, detector: fa.Detector) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(fa.MissingPackage, match=r"pip install 'faceanalytics\[worker\]'"):
        fa.FaceAnalyzer(detector=detector)


def test_a_face_is_followed_through_a_video(tmp_path: Path) -> None:
    detector, tracker = fa.Detector(min_score=0.1), fa.Tracker(confirm_hits=2)
    states = []
    for frame in fa.read_video(str(make_face_clip(tmp_path / "clip.mp4", seconds=0.4))):
        update = tracker.update(frame.media_time, detector(frame), frame.size)
        states.append([face.state for face in update.faces])
    assert states[:3] == [["TENTATIVE"], ["CONFIRMED"], ["CONFIRMED"]]
    (face,) = update.faces
    assert face.number == 1
    assert face.detection == 0
    assert face.last_seen_s == pytest.approx(0.36)
    assert face.box[2] - face.box[0] == pytest.approx((FACE[2] - FACE[0]) * 1.25, rel=0.1)
    (end,) = tracker.finish()
    assert (end.track_id, end.reason, end.confirmed) == (face.track_id, "END_OF_FILE", True)


def test_a_tracker_has_checked_arguments_and_a_growing_time() -> None:
    with pytest.raises(fa.ConfigError, match="confirm_hits"):
        fa.Tracker(confirm_hits=0)
    tracker = fa.Tracker()
    tracker.update(1.0, fa.Detections.none(), (640, 480))
    with pytest.raises(ValueError, match="does not come after"):
        tracker.update(1.0, fa.Detections.none(), (640, 480))
