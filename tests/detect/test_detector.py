"""Detection with both kinds of weights, what is refused, and that nothing leaves the machine."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict
from xml.etree import ElementTree

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from faceanalytics.errors import ModelError
from streamer.config import Detect
from streamer.detect.bundled import bundled_detector
from streamer.detect.detector import WHAT_WEIGHTS, Detector
from streamer.detect.finite import check_onnx
from streamer.detect.onnx_pose import PoseOnnxModel
from streamer.detect.session import open_session
from streamer.detect.ultralytics_pose import PoseModel
from streamer.source.file import read_file
from streamer.values import Bytes, Detections
from tests.support.models import SIDE, export_yolo, write_lite, write_yolo
from tests.support.patch_detector import FACE, POINTS, paint, write_lite_patch_detector, write_patch_detector
from tests.support.patience import WAIT_S

HIT = 4.0  # a logit: score 0.98
NO_POINTS = [0.0] * 10


def noise(width: int, height: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def painted(width: int, height: int, *places: tuple[int, int]) -> Bytes:
    frame = np.full((height, width, 3), 60, np.uint8)
    for left, top in places:
        paint(frame, left, top)
    return frame


def lite(path: Path, **settings: object) -> Detector:
    return Detector(Detect.model_validate({"weights": str(path), "input_size": SIDE, **settings}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    return write_yolo(folder / "pose.pt")


@pytest.fixture(scope="module")
def patches(folder: Path) -> Path:
    return write_patch_detector(folder / "patches.onnx")


# ---- ultralytics pose models


@pytest.mark.parametrize("write", [write_patch_detector, write_lite_patch_detector])
def test_a_model_gives_boxes_and_landmarks_in_frame_pixels(write: Callable[[Path], Path], tmp_path: Path) -> None:
    places = [(100, 50), (400, 200)]
    (found,) = Detector(Detect(weights=str(write(tmp_path / "patches.onnx")))).detect([painted(640, 360, *places)])
    assert len(found) == 2
    boxes = found.boxes[np.argsort(found.boxes[:, 0])]
    landmarks = found.landmarks[np.argsort(found.boxes[:, 0])]
    for box, points, place in zip(boxes, landmarks, places, strict=True):
        np.testing.assert_allclose(box, [*place, place[0] + FACE, place[1] + FACE], atol=4)
        np.testing.assert_allclose(points, POINTS + place, atol=4)


def test_a_large_frame_is_reduced_and_its_faces_are_found_at_its_own_scale(patches: Path) -> None:
    frame = cv2.resize(painted(640, 360, (304, 100)), (1920, 1080), interpolation=cv2.INTER_NEAREST)
    (found,) = Detector(Detect(weights=str(patches))).detect([np.asarray(frame, np.uint8)])
    np.testing.assert_allclose(found.boxes, [[912, 300, 912 + 3 * FACE, 300 + 3 * FACE]], atol=9)


def test_a_small_frame_is_not_enlarged_beyond_the_limit(patches: Path) -> None:
    small = painted(200, 150, (60, 40))
    (found,) = Detector(Detect(weights=str(patches), max_upscale=1)).detect([small])
    np.testing.assert_allclose(found.boxes, [[60, 40, 60 + FACE, 40 + FACE]], atol=3)
    (enlarged,) = Detector(Detect(weights=str(patches), max_upscale=4)).detect([small])
    assert np.ptp(enlarged.boxes[0, ::2]) == pytest.approx(FACE / 3.2, abs=1)  # it knows one size, in 640 px


@pytest.mark.parametrize("kind", ["checkpoint", "fixed", "dynamic"])
def test_what_is_found_in_a_frame_does_not_depend_on_the_frames_beside_it(
    kind: str, checkpoint: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "copy.pt"
    weights.write_bytes(checkpoint.read_bytes())
    if kind != "checkpoint":
        weights = export_yolo(weights, 320, dynamic=kind == "dynamic")
    detector = Detector(Detect(weights=str(weights), input_size=320, min_score=0.0001, max_faces=20))
    frames = [noise(480, 270), noise(300, 300, 1), noise(480, 270, 2), noise(90, 160, 3)]
    together = detector.detect(frames)
    alone = [detector.detect([frame])[0] for frame in frames]
    assert [len(found) for found in together] == [20, 20, 20, 20]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.05)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.05)


def test_faces_come_strongest_first_inside_the_frame_and_not_too_many(checkpoint: Path) -> None:
    (found,) = Detector(Detect(weights=str(checkpoint), min_score=0.0001, max_faces=7)).detect([noise(640, 480)])
    assert len(found) == 7
    assert (np.diff(found.scores) <= 0).all()
    assert found.boxes.min() >= 0
    assert (found.boxes.max(axis=0) <= [640, 480, 640, 480]).all()
    assert {found.boxes.dtype, found.scores.dtype, found.landmarks.dtype} == {np.dtype(np.float32)}


def test_no_frames_and_no_faces_are_fine(checkpoint: Path) -> None:
    detector = Detector(Detect(weights=str(checkpoint), min_score=1.0))
    assert detector.detect([]) == []
    assert [len(found) for found in detector.detect([noise(64, 64)])] == [0]


def test_a_model_is_named_by_its_file_and_its_content(checkpoint: Path, tmp_path: Path) -> None:
    # ultralytics would take such a name for one of its own files and look for it on the network
    copy = tmp_path / "yolov5n.pt"
    copy.write_bytes(checkpoint.read_bytes())
    first, second = Detector(Detect(weights=str(checkpoint))).model_id, Detector(Detect(weights=str(copy))).model_id
    assert first.startswith("pose-")
    assert second.startswith("yolov5n-")
    assert first[-12:] == second[-12:]


# ---- YOLOv8-lite face


def test_the_raw_outputs_of_yolov8_lite_are_decoded(tmp_path: Path) -> None:
    points = [0.5, 0, 1, 0, 0.75, 0.5, 0.5, 1, 1, 1.0]
    answers = {(8, 3, 2): (HIT, [1.5, 2, 2.5, 3.25], points)}
    (found,) = lite(write_lite(tmp_path / "a.onnx", answers)).detect([noise(SIDE, SIDE)])
    # boxes count from the cell's middle, landmarks from its corner and twice as far
    np.testing.assert_allclose(
        found.boxes, [[(3.5 - 1.5) * 8, (2.5 - 2) * 8, (3.5 + 2.5) * 8, (2.5 + 3.25) * 8]], atol=1e-3
    )
    np.testing.assert_allclose(found.landmarks[0], (np.reshape(points, (5, 2)) * 2 + (3, 2)) * 8, atol=1e-3)
    assert found.scores == pytest.approx(1 / (1 + np.exp(-HIT)))


def test_a_cell_that_is_sure_of_no_face_overflows_nothing(tmp_path: Path) -> None:
    answers = {(8, 3, 2): (-1000.0, [1.0] * 4, NO_POINTS), (32, 1, 1): (1000.0, [0.3] * 4, NO_POINTS)}
    (found,) = lite(write_lite(tmp_path / "a.onnx", answers)).detect([noise(SIDE, SIDE)])
    assert found.scores.tolist() == [1.0]


def test_yolov8_lite_undoes_scale_and_margins(tmp_path: Path) -> None:
    detector = lite(write_lite(tmp_path / "a.onnx", {(32, 0, 1): (HIT, [0.25] * 4, NO_POINTS)}))
    (found,) = detector.detect([noise(320, 160)])  # becomes 64 x 32, 16 px from the top
    np.testing.assert_allclose(found.boxes, [[8 * 5, (40 - 16) * 5, 24 * 5, 160]], atol=1e-3)
    np.testing.assert_allclose(found.landmarks[0], [[0, (32 - 16) * 5]] * 5, atol=1e-3)
    (small,) = detector.detect([noise(16, 32)])  # becomes 24 x 48 in the middle
    np.testing.assert_allclose(small.boxes, [[0, (40 - 8) / 1.5, (24 - 20) / 1.5, (56 - 8) / 1.5]], atol=1e-3)


def test_yolov8_lite_keeps_the_strongest_of_overlapping_faces(tmp_path: Path) -> None:
    same = [1.0, 1.0, 1.0, 1.0]
    answers = {
        (16, 1, 1): (2.0, same, NO_POINTS),
        (16, 2, 2): (1.0, same, NO_POINTS),
        (8, 2, 2): (3.0, [2.0] * 4, NO_POINTS),  # nearly where the first one is
        (32, 1, 1): (-1.0, [0.3] * 4, NO_POINTS),
    }
    path = write_lite(tmp_path / "a.onnx", answers)
    (found,) = lite(path, min_score=0.2).detect([noise(SIDE, SIDE)])
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-3.0, -1.0, 1.0])), rtol=1e-5)
    assert len(lite(path, min_score=0.5).detect([noise(SIDE, SIDE)])[0]) == 2
    assert len(lite(path, min_score=0.2, max_faces=1).detect([noise(SIDE, SIDE)])[0]) == 1
    assert len(lite(path, min_score=0.2, max_overlap=0.95).detect([noise(SIDE, SIDE)])[0]) == 4


def test_faces_that_are_no_numbers_or_outside_the_frame_are_dropped(tmp_path: Path) -> None:
    answers = {
        (8, 4, 4): (HIT, [1.0] * 4, [float("nan")] * 10),
        (8, 1, 1): (HIT, [float("nan")] * 4, NO_POINTS),
        (32, 0, 0): (HIT, [0.1] * 4, NO_POINTS),  # in the margin above a wide frame
        (8, 7, 4): (HIT, [1.0, 1.0, 5.0, 1.0], NO_POINTS),
    }
    (found,) = lite(write_lite(tmp_path / "a.onnx", answers)).detect([noise(128, 48)])
    np.testing.assert_allclose(found.boxes, [[104, 16, 128, 48]], atol=1e-3)


# ---- what is refused


@pytest.mark.parametrize(
    ("keypoints", "classes", "message"),
    [
        (None, 1, "without keypoints"),
        ((17, 3), 1, "17 keypoints"),
        ((5, 3), 2, "2 classes"),
    ],
)
@pytest.mark.parametrize("exported", [False, True])
def test_a_model_of_another_task_is_refused(
    keypoints: tuple[int, int] | None, classes: int, message: str, exported: bool, tmp_path: Path
) -> None:
    weights = write_yolo(tmp_path / "other.pt", keypoints, classes)
    if exported:
        weights = export_yolo(weights, 64, dynamic=False)
    with pytest.raises(ModelError, match=message) as caught:
        Detector(Detect(weights=str(weights), input_size=64))
    assert caught.value.exit_code == 4
    assert "five keypoints" in str(caught.value)


def test_five_keypoints_without_visibility_are_enough(tmp_path: Path) -> None:
    weights = write_yolo(tmp_path / "flat.pt", (5, 2))
    (found,) = Detector(Detect(weights=str(weights), min_score=0.0001)).detect([noise(100, 100)])
    assert found.landmarks.shape[1:] == (5, 2)
    assert len(found) > 0


@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
@pytest.mark.parametrize("content", [b"", b"hello\n" * 1000, b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_model_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"broken{suffix} is not"):
        Detector(Detect(weights=str(path)))


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("write", [write_patch_detector, write_lite_patch_detector])
@pytest.mark.parametrize("form", ["raw_data", "float_data", "half"])
def test_weights_with_nan_or_infinity_are_refused_by_name(
    write: Callable[[Path], Path], form: str, number: float, tmp_path: Path
) -> None:
    path = write(tmp_path / "spoilt.onnx")
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "magenta":
            spoilt = onnx.numpy_helper.to_array(tensor).copy()
            spoilt.flat[1] = number
            tensor.CopyFrom(onnx.numpy_helper.from_array(spoilt, "magenta"))
            if form == "float_data":
                tensor.CopyFrom(
                    onnx.helper.make_tensor("magenta", onnx.TensorProto.FLOAT, spoilt.shape, spoilt.ravel())
                )
    if form == "half":
        unused = np.array([1, number], np.float16)
        model.graph.initializer.append(onnx.numpy_helper.from_array(unused, "unused"))
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"spoilt\.onnx holds NaN or infinity in magenta"):
        Detector(Detect(weights=str(path)))


def test_a_bound_may_be_infinite(tmp_path: Path) -> None:
    path = write_patch_detector(tmp_path / "bounded.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(-np.inf, np.float32), "bound"))
    onnx.save(model, path)
    check_onnx(path)


def test_a_checkpoint_with_nan_is_refused_by_name(tmp_path: Path) -> None:
    import torch

    path = write_yolo(tmp_path / "spoilt.pt")
    content = torch.load(path, weights_only=False)
    with torch.no_grad():
        content["model"].model[0].conv.weight[0, 0, 0, 0] = float("nan")
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"spoilt\.pt holds NaN or infinity in model\.0\.conv\.weight"):
        Detector(Detect(weights=str(path)))


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    import torch

    for content in ({"weight": torch.zeros(3)}, torch.zeros(3), {"model": {"weight": torch.zeros(3)}}):
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(ModelError, match="not an ultralytics checkpoint"):
            Detector(Detect(weights=str(tmp_path / "other.pt")))


class Intruder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._path,)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    import torch

    torch.save({"model": Intruder(tmp_path / "was here")}, tmp_path / "bad.pt")
    (tmp_path / "worse.pt").write_bytes(pickle.dumps(Intruder(tmp_path / "was here")))
    for name in ("bad.pt", "worse.pt"):
        with pytest.raises(ModelError):
            Detector(Detect(weights=str(tmp_path / name)))
    assert not (tmp_path / "was here").exists()


def test_an_export_for_another_size_says_which(tmp_path: Path) -> None:
    weights = write_lite(tmp_path / "small.onnx", {})
    with pytest.raises(ModelError, match=r"set detect\.input_size to 64"):
        Detector(Detect(weights=str(weights)))


@pytest.mark.parametrize("weights", ["nowhere/face.pt", "yolo26n-pose.pt", "."])
def test_without_weights_the_message_says_what_can_be_used(weights: str) -> None:
    with pytest.raises(ModelError) as caught:
        Detector(Detect(weights=weights))
    assert WHAT_WEIGHTS in str(caught.value)
    assert "FACEANALYTICS_DETECTOR" in str(caught.value)


@pytest.mark.parametrize("weights", ["a" * 300 + ".onnx", "~nobody-of-this-name/face.onnx"])
def test_weights_whose_name_is_impossible_are_a_model_error(weights: str) -> None:
    with pytest.raises(ModelError, match="cannot be opened"):
        Detector(Detect(weights=weights))


def test_weights_of_another_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "face.engine").write_bytes(b"1")
    with pytest.raises(ModelError, match=r"neither a \.pt nor an \.onnx"):
        Detector(Detect(weights=str(tmp_path / "face.engine")))


@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:-1", "mps", ""])
def test_what_names_no_device_is_refused_by_the_configuration(device: str) -> None:
    with pytest.raises(ValidationError, match="neither cpu nor cuda:N"):
        Detect(device=device)


@pytest.mark.parametrize("device", ["cuda:99"])
def test_a_device_that_cannot_be_used_is_an_error_not_a_fallback(device: str, checkpoint: Path, patches: Path) -> None:
    for weights in (checkpoint, patches):
        with pytest.raises(ModelError, match=r"detect\.device") as caught:
            Detector(Detect(weights=str(weights), device=device))
        assert caught.value.exit_code == 4


# ---- nothing leaves the machine

# Notes what a process asks of the outside, and refuses it the network.
GUARD = """
import json, os, sys
seen = []
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
FILES = ("os.mkdir", "os.rename", "os.symlink", "os.link")

def guard(event, arguments):
    if event in NETWORK:
        seen.append([event, repr(arguments)])
        raise OSError("no network here")
    if event in PROGRAMS:
        seen.append([event, repr(arguments)])
    if event in FILES:
        seen.append(["write", os.path.abspath(os.fsdecode(arguments[event != "os.mkdir"]))])
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        mode, flags = arguments[1] or "", arguments[2] or 0
        if set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            seen.append(["write", os.path.abspath(os.fsdecode(arguments[0]))])

sys.addaudithook(guard)
"""
DETECT = """
import logging, numpy, cv2, PIL.Image
before = dict(os.environ), str(numpy.get_printoptions()), cv2.getNumThreads(), PIL.Image.open
from streamer.config import Detect
from streamer.detect.detector import Detector
frame = numpy.random.default_rng(0).integers(0, 256, (120, 160, 3), numpy.uint8)
faces = []
for weights in sys.argv[2:]:
    detector = Detector(Detect(weights=weights, input_size=64, min_score=0.0001))
    faces += [len(found) for _ in range(3) for found in detector.detect([frame, frame[:90]])]
after = dict(os.environ), str(numpy.get_printoptions()), cv2.getNumThreads(), PIL.Image.open
added = {name for name in after[0] if before[0].get(name) != after[0][name]}
changed = [one for one, other in zip(("print", "cv2", "open"), zip(before[1:], after[1:])) if other[0] != other[1]]
links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
sockets = [target for target in map(os.readlink, filter(os.path.islink, links)) if target.startswith("socket")]
report = {"sockets": sockets, "seen": seen, "faces": faces, "added": sorted(added), "changed": changed,
          "handlers": len(logging.getLogger("ultralytics").handlers) + len(logging.getLogger().handlers)}
with open(sys.argv[1], "w") as file:
    json.dump(report, file)
"""
PLAIN = """
import ultralytics
with open(sys.argv[1], "w") as file:
    json.dump({"seen": seen}, file)
"""


class Report(TypedDict):
    seen: list[tuple[str, str]]  # what happened, to what
    faces: list[int]
    added: list[str]  # environment variables
    changed: list[str]
    handlers: int
    sockets: list[str]  # open ones, also of libraries that are not Python


def run_guarded(code: str, folder: Path, *arguments: Path) -> tuple[Report, str]:
    """Run code in a process of its own with an empty home and working folder; its report and what it printed."""
    for name in ("home", "work", "tmp"):
        (folder / name).mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", GUARD + code, folder / "report.json", *arguments],
        cwd=folder / "work",
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert done.returncode == 0, done.stderr
    report: Report = json.loads((folder / "report.json").read_text())
    return report, done.stdout + done.stderr


def test_detecting_asks_nothing_of_the_network_and_writes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    exported = export_yolo(write_yolo(tmp_path / "pose.pt"), 64, dynamic=False)
    report, printed = run_guarded(DETECT, tmp_path, checkpoint, exported, write_lite(tmp_path / "lite.onnx", {}))
    assert len(report["faces"]) == 3 * 3 * 2
    assert any(report["faces"])
    written = [what for event, what in report["seen"] if event == "write"]
    others = [f"{event} {what}" for event, what in report["seen"] if event != "write"]
    assert [what for what in others if "/sbin/ldconfig" not in what] == []  # the loader's list of libraries
    assert [place for place in written if not place.startswith((str(tmp_path), "/dev/"))] == []
    assert [path for name in ("home", "work", "tmp") for path in (tmp_path / name).rglob("*") if path.is_file()] == []
    assert report["sockets"] == []
    assert printed == ""


def test_detecting_leaves_the_rest_of_the_process_alone(checkpoint: Path, tmp_path: Path) -> None:
    report, _ = run_guarded(DETECT, tmp_path, checkpoint)
    assert report["changed"] == []
    assert report["handlers"] == 0
    ours = ("YOLO_", "ULTRALYTICS_", "ORT_", "CUBLAS_", "TORCHINDUCTOR_")  # the last two are set by torch models
    assert [name for name in report["added"] if not name.startswith(ours)] == []
    assert "ORT_DISABLE_TELEMETRY" in report["added"]


def test_the_guard_sees_what_ultralytics_does_when_nobody_keeps_it_back(tmp_path: Path) -> None:
    report, _ = run_guarded(PLAIN, tmp_path)
    assert "socket.getaddrinfo" in [event for event, _ in report["seen"]]
    assert list((tmp_path / "home").rglob("settings.json"))


# ---- real faces

Points = NDArray[np.float64]


def real(shared: Path, **settings: object) -> Detector:
    weights = shared / "data/weights/yolov8-lite-t-face.onnx"
    return Detector(Detect.model_validate({"weights": str(weights), "min_score": 0.5, **settings}))


def load(path: Path) -> Bytes:
    return np.asarray(cv2.imread(str(path)), np.uint8)


def annotated(folder: Path) -> list[tuple[Path, list[Points]]]:
    """Photos and the five points of each face, from its 68 landmarks."""
    found = []
    for image in ElementTree.parse(folder / "faces.xml").iter("image"):
        faces = []
        for box in image.iter("box"):
            parts = {
                int(part.attrib["name"]): (float(part.attrib["x"]), float(part.attrib["y"]))
                for part in box.iter("part")
            }
            points = np.array([parts[number] for number in range(68)])
            faces.append(np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0), *points[[30, 48, 54]]]))
        found.append((folder / image.attrib["file"], faces))
    return found


@pytest.mark.shared
def test_landmarks_on_real_faces_are_within_a_tenth_of_the_eye_distance(shared: Path) -> None:
    detector = real(shared)
    errors = []
    for path, faces in annotated(shared / "data/stills/dlib-68-landmarks"):
        (found,) = detector.detect([load(path)])
        for points in faces:
            distances = np.linalg.norm(found.landmarks - points, axis=2).mean(axis=1)
            errors.append(distances.min() / np.linalg.norm(points[1] - points[0]))
    assert len(errors) == 18
    assert max(errors) < 0.25
    assert np.mean(errors) < 0.12


@pytest.mark.shared
def test_each_of_six_people_is_found_once(shared: Path) -> None:
    (found,) = real(shared).detect([load(shared / "data/stills/group-of-6.jpg")])
    assert len(found) == 6
    inside = (found.landmarks >= found.boxes[:, None, :2]) & (found.landmarks <= found.boxes[:, None, 2:])
    assert inside.all()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("clip", "people"),
    [
        ("face-demographics-walking-and-pause.gif", 3),
        ("head-pose-face-detection-female-and-male.gif", 2),
        ("head-pose-face-detection-female.gif", 1),
        ("classroom.gif", 4),
        ("people-detection.gif", 0),
        ("asl/book.mkv", 1),
    ],
)
def test_each_frame_of_a_clip_shows_its_people(shared: Path, clip: str, people: int) -> None:
    frames = [frame.pixels for frame in read_file(shared / "data/clips" / clip, "", 0)][::5]
    assert [len(found) for found in real(shared).detect(frames)] == [people] * len(frames)


@pytest.mark.shared
def test_the_neighbours_in_a_batch_change_nothing_on_real_faces(shared: Path) -> None:
    detector = real(shared)
    frames = [load(shared / "data/stills" / name) for name in ("group-of-6.jpg", "people/two_people.jpg")]
    together: list[Detections] = detector.detect(frames)
    alone = [detector.detect([frame])[0] for frame in frames]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["yunet_n_640.onnx", "yunet_n_dynamic.onnx", "scrfd_500m_kps.onnx"])
def test_other_published_layouts_are_refused_with_those_that_are_known(shared: Path, name: str) -> None:
    with pytest.raises(ModelError, match="YOLOv8-lite face"):
        Detector(Detect(weights=str(shared / "data/weights" / name)))


def test_the_bundled_detector_finds_the_same_with_and_without_ultralytics() -> None:
    from skimage import data

    astronaut = np.ascontiguousarray(np.asarray(data.astronaut())[:, :, ::-1])  # type: ignore[no-untyped-call]
    config = Detect(min_score=0.5)
    session = open_session(bundled_detector(), "cpu")
    assert PoseOnnxModel.understands(session)
    models = PoseOnnxModel(session, config), PoseModel(bundled_detector(), config)
    (ours,), (theirs,) = (model.detect([astronaut]) for model in models)
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours.boxes[0], [177, 63, 271, 178], atol=12)  # her face
    np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1.5)
    np.testing.assert_allclose(ours.landmarks, theirs.landmarks, atol=1.5)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=0.03)
    (none,) = models[0].detect([np.full((480, 640, 3), 90, np.uint8)])
    assert len(none) == 0
