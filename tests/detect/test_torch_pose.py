"""The detector by torch: the faces of onnxruntime within a pixel, from every kind of export. No GPU is needed."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceanalytics.errors import ModelError
from streamer.boxes import iou
from streamer.config import Detect
from streamer.detect.bundled import bundled_detector
from streamer.detect.detector import Detector
from streamer.detect.letterbox import letterboxed
from streamer.detect.onnx_file import Graph, Node, read_graph
from streamer.detect.onnx_pose import PoseOnnxModel
from streamer.detect.session import open_session
from streamer.detect.torch_network import TorchNetwork
from streamer.detect.torch_pose import CANDIDATES, Place, TorchPoseModel, _Sampler
from streamer.values import Bytes, Detections
from tests.support.models import export_yolo, write_yolo
from tests.support.patch_detector import FACE, SIDE, paint, write_lite_patch_detector, write_patch_detector
from tests.support.photographs import photographs

FRAMES = [(1920, 1080), (1280, 720), (640, 480), (333, 777), (200, 90)]
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def bundled() -> Graph:
    return read_graph(bundled_detector())


def noise(width: int, height: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def both(path: Path, config: Detect, frames: list[Bytes], half: bool = False) -> list[tuple[Detections, Detections]]:
    """What onnxruntime and torch find in each frame."""
    by_onnxruntime = PoseOnnxModel(open_session(path, "cpu"), config).detect(frames)
    by_torch = TorchPoseModel(read_graph(path), config, half).detect(frames)
    return list(zip(by_onnxruntime, by_torch, strict=True))


def far(one: Detections, other: Detections, least: float = 0.0) -> float:
    """The largest distance (px) of boxes and landmarks of the faces of `one` above a score from those of `other`."""
    rows = np.flatnonzero(one.scores > least)
    assert len(rows), "nothing to compare"
    match = iou(one.boxes[rows], other.boxes).argmax(axis=1)
    boxes = np.abs(one.boxes[rows] - other.boxes[match]).max()
    return float(max(boxes, np.abs(one.landmarks[rows] - other.landmarks[match]).max()))


@pytest.mark.parametrize(("half", "limit"), [(False, 0.05), (True, 0.6)])
def test_the_bundled_detector_finds_the_same_faces_within_a_pixel_of_its_input(half: bool, limit: float) -> None:
    frames = photographs()
    for frame, (expected, found) in zip(frames, both(bundled_detector(), Detect(), frames, half), strict=True):
        assert (expected.scores > 0.5).sum() == (found.scores > 0.5).sum()
        assert far(expected, found, 0.3) < limit * max(1, *np.array(frame.shape) / 640)
        assert np.abs(expected.scores[:3] - found.scores[:3]).max() < 0.02


@pytest.mark.parametrize("dynamic", [False, True])
def test_other_exports_of_ultralytics_give_the_same_cells(dynamic: bool, tmp_path: Path) -> None:
    path = export_yolo(write_yolo(tmp_path / "pose.pt"), 320, dynamic=dynamic)
    images = np.random.default_rng(1).random((1, 3, 320, 320), np.float32)
    (expected,) = open_session(path, "cpu").run(None, {"images": images})
    with torch.inference_mode():
        found = TorchNetwork(read_graph(path), images.shape, CPU, torch.float32)(torch.from_numpy(images))
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3, rtol=1e-4)


def test_a_model_for_one_square_only_sees_frames_in_the_middle_of_it(tmp_path: Path) -> None:
    path = write_patch_detector(tmp_path / "patches.onnx")
    frame = np.full((360, 640, 3), 60, np.uint8)
    paint(frame, 100, 50)
    paint(frame, 400, 200)
    for expected, found in both(path, Detect(weights=str(path)), [frame, frame[:300]]):
        assert len(found) == len(expected) > 0
        assert far(expected, found) < 0.01
        assert np.abs(np.ptp(found.boxes[:, ::2], axis=1) - FACE).max() < 1


def test_a_frame_gives_the_same_in_every_batch(bundled: Graph) -> None:
    frames = photographs()
    model = TorchPoseModel(bundled, Detect())
    alone = [model.detect([frame])[0] for frame in frames]
    mixed = model.detect([frames[0], *frames, *reversed(frames), frames[0]])
    for found, row in zip(mixed, [0, *range(len(frames)), *reversed(range(len(frames))), 0], strict=True):
        assert len(found) == len(alone[row])
        assert far(alone[row], found) < 0.01


def test_more_faces_than_leave_the_device_at_first_are_not_lost(tmp_path: Path) -> None:
    path = write_patch_detector(tmp_path / "patches.onnx")
    frame = np.full((640, 640, 3), 60, np.uint8)
    places = [(x, y) for x in range(8, 560, 80) for y in range(8, 560, 80)]
    for place in places:
        paint(frame, *place)
    config = Detect(weights=str(path), min_score=0.001)
    graph = read_graph(path)
    with torch.inference_mode():
        image = torch.from_numpy(letterboxed(frame, config)[0])
        cells = TorchNetwork(graph, (1, 3, SIDE, SIDE), CPU, torch.float32)(image)
    assert int((cells[0, 4] > config.min_score).sum()) > CANDIDATES
    ((expected, found),) = both(path, config, [frame])
    assert len(found) == len(expected) >= len(places)


@pytest.mark.parametrize("size", FRAMES)
@pytest.mark.parametrize("square", [False, True])
def test_a_frame_is_put_into_the_input_as_onnxruntime_gets_it(size: tuple[int, int], square: bool) -> None:
    config = Detect()
    frame = np.asarray(cv2.GaussianBlur(noise(*size), (0, 0), 1.5), np.uint8)
    expected, scale, offset = letterboxed(frame, config, square)
    place = Place.of(size, config, square)
    canvas = torch.zeros(expected.shape)
    images = _Sampler(size, place.inner, CPU)(torch.from_numpy(frame)[None])
    place.fill(canvas, images.flip(1) / 255)
    difference = np.abs(canvas.numpy() - expected) * 255
    assert difference.max() <= 1.01  # a grey level
    assert (difference > 0.01).mean() < 0.01
    np.testing.assert_allclose(offset, place.corner)
    np.testing.assert_allclose(scale, np.array(place.inner) / size, rtol=1e-6)


def test_what_it_cannot_run_is_refused_by_name(tmp_path: Path, bundled: Graph) -> None:
    odd = Graph((Node("Loop", ("images",), ("output0",), {}),), {}, bundled.inputs, bundled.outputs, bundled.metadata)
    with pytest.raises(ModelError, match="the operation Loop is not supported"):
        TorchPoseModel(odd, Detect())
    lite = write_lite_patch_detector(tmp_path / "lite.onnx")
    assert not TorchPoseModel.understands(read_graph(lite))
    assert TorchPoseModel.understands(bundled)


def test_without_a_gpu_the_bundled_detector_is_refused_with_what_torch_finds() -> None:
    with pytest.raises(ModelError, match=r"detect\.device cuda:98 is not usable: PyTorch .* finds \d+ CUDA GPUs here"):
        Detector(Detect(device="cuda:98"))


def test_prepared_images_of_the_sizes_to_choose_from_are_taken_as_they_are(bundled: Graph) -> None:
    model = TorchPoseModel(bundled, Detect())
    assert model.inputs == ((640, 160), (640, 320), (640, 480), (640, 640))
    width, height = model.inputs[1]
    image = np.full((height, width, 3), 114, np.uint8)
    picture = cv2.resize(photographs()[0], (height, height))
    image[:, :height] = picture
    (found,) = model.detect([image], unscaled=True)
    (expected,) = PoseOnnxModel(open_session(bundled_detector(), "cpu"), Detect()).detect([image], unscaled=True)
    assert len(found)
    assert far(expected, found, 0.3) < 0.05
