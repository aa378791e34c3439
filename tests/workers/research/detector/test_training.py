"""Scenes whose labels lie where the pixels are, and a training of the detector on painted faces."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from faceanalytics.errors import ConfigError
from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.evaluate.score import FALSE_HIT, IGNORED, match
from streamer.values import Bytes, Detections, Floats
from workers.research.detector.compose import compose
from workers.research.detector.config import DetectorConfig, Scenes, Source, load_detector_config
from workers.research.detector.geometry import Scene, mirrored, moved, moved_boxes, similarity
from workers.research.detector.labels import Labelled, label_all, labelled
from workers.research.detector.labels import _place as place_of_labels
from workers.research.detector.labels import _write as write_labels
from workers.research.detector.library import Library, SourcePools, _pool, open_library, turned
from workers.research.detector.loader import batches
from workers.research.detector.paste import add_face, swapped
from workers.research.detector.score import JUDGED_PX, truth
from workers.research.detector.train import Trainer, train_detector

FIVE = np.array([[40, 50], [80, 50], [60, 72], [45, 95], [75, 95]], np.float32)


def painted(offset: int = 0) -> Labelled:
    """A light head with a dark dot at each landmark, on grey."""
    image = np.full((140, 120, 3), 128, np.uint8)
    cv2.ellipse(image, (60, 70), (45, 60), 0, 0, 360, (225, 225, 225), -1)
    points = FIVE + np.array([0, offset], np.float32)
    for x, y in points:
        cv2.circle(image, (int(x), int(y)), 5, (10, 10, 10), -1)
    box = np.array([[15, 10, 105, 130]], np.float32)
    return Labelled(image, box, points[None], np.zeros((0, 4), np.float32))


def darkness(image: Bytes, point: Floats, reach: int) -> float:
    """How much darker an image is at a point than around it."""
    x, y = np.round(point).astype(int)
    grey = image.mean(axis=2)
    around = grey[max(0, y - 3 * reach) : y + 3 * reach + 1, max(0, x - 3 * reach) : x + 3 * reach + 1]
    return float(around.mean() - grey[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].mean())


def test_labels_of_pasted_faces_lie_where_the_pixels_are() -> None:
    options, source = Scenes(face_px=(40, 120)), Source(path=Path("unused"), paste=1)
    seen = 0
    for number in range(60):
        draw = np.random.default_rng(number)
        empty = Scene(
            np.full((320, 320, 3), 128, np.uint8), np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32)
        )
        scene = add_face(empty, source, painted(), None, options, draw)
        if len(scene.boxes) == 0:
            continue
        points, box = scene.landmarks[0], scene.boxes[0]
        side = float(box[2] - box[0])
        inside = [point for point in points if (point > 12).all() and (point < 308).all()]
        dark = [darkness(scene.image, point, max(3, round(side * 0.08))) > 4 for point in inside]
        seen += len(dark)
        assert sum(dark) >= len(dark) - 2, number  # one or two may be behind a hat, a mask or a hand
        across, down = points[1] - points[0], points[3:].mean(axis=0) - points[:2].mean(axis=0)
        assert across[0] * down[1] - across[1] * down[0] > 0, "left became right"
        assert (points > box[:2] - side * 0.1).all()
        assert (points < box[2:] + side * 0.1).all()
    assert seen > 150


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["crowds", "many side by side"])
def test_small_faces_are_where_their_labels_are(kind: str) -> None:
    shown = kind == "many side by side"
    options = Scenes(empty=0, shown=float(shown), crowded=1, turned=0, swapped=0, face_px=(16, 40))
    pools = SourcePools([_pool(Source(path=Path("unused"), paste=1, show=1), [painted()])], [1])
    library = Library(pools, pools, pools, [], [], [])
    faces, dark, marks = [], 0, 0
    for number in range(40):
        scene = compose(library, options, np.random.default_rng(number))
        faces.append(len(scene.boxes))
        assert ((scene.boxes >= 0) & (scene.boxes <= options.side)).all()
        for box, points in zip(scene.boxes, scene.landmarks, strict=True):
            whole = ((points > 6) & (points < options.side - 6)).all()
            if whole and box[2] - box[0] > 20:
                marks += 5
                dark += sum(darkness(scene.image, point, 2) > 0 for point in points)
    assert max(faces) >= (4 if shown else 12)
    assert marks > 300
    assert dark > 0.85 * marks


def test_crowds_need_faces_in_their_surroundings(tmp_path: Path) -> None:
    source = Source(path=tmp_path / "faces.parquet", paste=1, tile=112, tight=True)
    teachers = (Path("one.onnx"), Path("two.onnx"))
    scenes = Scenes(crowded=0.5)
    config = DetectorConfig(out=tmp_path, images=1, teachers=teachers, sources={"faces": source}, scenes=scenes)
    image = bytes(cv2.imencode(".png", painted().decoded())[1])
    write_labels([replace(painted(), image=image)], place_of_labels(config, "faces", source))
    with pytest.raises(ConfigError, match="crowds need a source that is pasted and not tight"):
        open_library(config)


def test_a_face_that_is_set_into_another_brings_its_landmarks() -> None:
    target, donor = painted(), painted(offset=6)
    scene = swapped(Scene(target.decoded(), target.boxes, target.landmarks), 0, donor)
    np.testing.assert_allclose(scene.landmarks[0], target.landmarks[0], atol=0.5)  # by the affine map, onto the old
    assert all(darkness(scene.image, point, 6) > 20 for point in scene.landmarks[0])
    assert target.decoded()[0, 0, 0] == 128
    assert scene.image is not target.decoded()


def test_boxes_of_turned_heads_hold_the_ellipse_in_them() -> None:
    box = np.array([[10, 20, 50, 80]], np.float32)
    quarter = similarity(2.0, 90.0, np.array([30.0, 50.0]), np.array([100.0, 100.0]))
    np.testing.assert_allclose(moved_boxes(box, quarter), [[40, 60, 160, 140]], atol=1e-3)
    np.testing.assert_allclose(moved(np.array([30, 20], np.float32), quarter), [160, 100], atol=1e-3)  # clockwise
    scene = mirrored(Scene(np.zeros((100, 60, 3), np.uint8), box, FIVE[None] / np.float32(2)))
    np.testing.assert_allclose(scene.boxes, [[10, 20, 50, 80]])
    assert scene.landmarks[0, 0, 0] == 60 - FIVE[1, 0] / 2


def test_turned_faces_are_recognised_by_their_landmarks() -> None:
    aside = FIVE.copy()
    aside[2, 0] += 18
    assert turned(FIVE) < 0.15 < 0.9 < turned(aside)


def test_judging_leaves_small_and_unsure_faces_out() -> None:
    item = painted()
    boxes = np.array([[15, 10, 105, 130], [15, 10, 105, 130], [0, 0, 10, 10]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.repeat(FIVE[None], 3, axis=0))
    judged = match(truth(item), found, JUDGED_PX)
    assert judged.faces.tolist() == [0, FALSE_HIT, IGNORED]  # the second is the same face again
    assert judged.counted.tolist() == [True]


@pytest.fixture
def config(tmp_path: Path) -> DetectorConfig:
    """A training on painted faces, labelled by hand."""
    values: dict[str, Any] = {
        "out": str(tmp_path / "run"),
        "images": 8,
        "batch": 4,
        "teachers": ["one.onnx", "two.onnx"],  # not opened: the labels are there
        "sources": {"painted": {"path": str(tmp_path), "paste": 1, "show": 1}},
        "held_out": {"held": {"path": str(tmp_path / "held"), "tile": 112}},
        "network": {"channels": [8, 8, 16, 16, 16], "depths": [1, 1, 1, 1], "landmark_channels": 16},
        "scenes": {"side": 128, "face_px": [16, 80], "faces": [1, 3]},
        "run": {"threads": 1, "loaders": 0, "log_steps": 1, "checkpoint_steps": 1, "validate_steps": 2},
    }
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(values))
    config = load_detector_config(tmp_path / "train.yaml", {})
    for name, source in config.images_of.items():
        write_labels([item_as_png(painted(offset)) for offset in (0, 3)], place_of_labels(config, name, source))
    return config


def item_as_png(item: Labelled) -> Labelled:
    return Labelled(bytes(cv2.imencode(".png", item.decoded())[1]), item.boxes, item.landmarks, item.unsure)


@pytest.mark.slow
def test_a_training_saves_resumes_and_exports_a_file_that_the_streamer_loads(config: DetectorConfig) -> None:
    assert train_detector(config, resume=False) == 0
    first = torch.load(config.out / "last.pt", weights_only=True)
    longer = config.model_copy(update={"images": 12})
    assert train_detector(longer, resume=True) == 0
    second = torch.load(config.out / "last.pt", weights_only=True)
    assert (first["step"], second["step"]) == (2, 3)
    assert second["optimiser"]["state"][0]["step"] == 3
    with pytest.raises(ConfigError, match="already holds a training"):
        train_detector(config, resume=False)
    detector = Detector(Detect(weights=str(config.out / "yolo-face-nano.onnx"), min_score=0.01))
    found = detector.detect([painted().decoded()])[0]
    assert found.landmarks.shape[1:] == (5, 2)


@pytest.mark.slow
def test_a_training_begins_with_a_checkpoint_or_with_exported_weights(config: DetectorConfig) -> None:
    assert train_detector(config, resume=False) == 0
    wanted = torch.load(config.out / "last.pt", weights_only=True)["average"]
    for name, exact in (("last.pt", True), ("best.pt", False)):  # the exported weights are in fp16
        trainer = Trainer(config.model_copy(update={"start_from": config.out / name}), torch.device("cpu"), saved=None)
        for key, value in trainer.model.state_dict().items():
            assert torch.allclose(value.float(), wanted[key].float(), rtol=0 if exact else 1e-2, atol=1e-4), key
    broken = config.out / "broken.pt"
    broken.write_bytes(b"no weights")
    for path in (broken, config.out / "missing.pt"):
        with pytest.raises(ConfigError, match="start_from"):
            Trainer(config.model_copy(update={"start_from": path}), torch.device("cpu"), saved=None)


def test_faces_may_be_larger_than_the_scene() -> None:
    options = Scenes(empty=0, shown=1, turned=0, swapped=0, side=128, face_px=(100, 200))
    pools = SourcePools([_pool(Source(path=Path("unused"), paste=1, show=1), [painted()])], [1])
    library = Library(pools, pools, pools, [], [], [])
    widest = 0.0
    for number in range(60):
        scene = compose(library, options, np.random.default_rng(number))
        assert ((scene.boxes >= 0) & (scene.boxes <= options.side)).all()
        widest = max([widest, *(scene.boxes[:, 2] - scene.boxes[:, 0])])
    assert widest > 0.9 * options.side


def test_scenes_depend_on_their_number_alone(config: DetectorConfig) -> None:
    label_all(config)  # nothing is left to do
    assert len(labelled(config, "painted", config.sources["painted"])) == 2
    assert len(open_library(config).pasted) == 1
    later, both = next(batches(config, 1)), list(batches(config, 0))
    assert torch.equal(later.images, both[1].images)
    assert torch.equal(later.boxes, both[1].boxes)
    assert both[0].images.shape == (4, 3, 128, 128)
    assert both[0].images.dtype == torch.uint8


def test_held_out_images_cannot_be_trained_on(tmp_path: Path) -> None:
    values = {"out": "o", "images": 1, "teachers": ["a", "b"], "sources": {"clip": {"path": "c.mp4", "paste": 1}}}
    (tmp_path / "c.yaml").write_text(
        yaml.safe_dump(values | {"held_out": {"end": {"path": "c.mp4", "part": [0.5, 1]}}})
    )
    with pytest.raises(ConfigError, match=r"trains on images that held_out\.end holds out"):
        load_detector_config(tmp_path / "c.yaml", {})
