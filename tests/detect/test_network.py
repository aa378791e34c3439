"""One image on all threads or several at a time, and the precisions of OpenVINO: the same faces, or a clear error."""

import sys
from pathlib import Path

import numpy as np
import pytest

from faceanalytics.errors import ModelError
from streamer.config import Detect
from streamer.detect import openvino_network
from streamer.detect.bundled import INT8, bundled_detector
from streamer.detect.detector import Detector
from streamer.detect.network import SessionNetwork, beside
from streamer.detect.offline import import_openvino
from streamer.detect.openvino_network import OpenVinoNetwork, multiplies_int8
from streamer.detect.packing import few_inputs
from streamer.detect.session import open_session, threads
from streamer.values import Bytes, Detections
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.photographs import read_portrait

SQUARE = read_portrait()  # (512, 512, 3)
WIDE = np.full((512, 910, 3), 90, np.uint8)
WIDE[:, 200:712] = SQUARE
TALL = np.full((640, 400, 3), 60, np.uint8)
TALL[100:500] = SQUARE[:400, 56:456]


def plain(precision: str = "fp32") -> Detect:
    return Detect.model_validate({"weights": str(bundled_detector(precision)), "precision": precision})


def computable() -> set[str]:
    """Precisions that OpenVINO has on this CPU."""
    found: list[str] = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {"bf16"} & {name.lower() for name in found} | ({"int8"} if multiplies_int8() else set())


@pytest.fixture(params=["fp32", "bf16", "int8"])
def detector(request: pytest.FixtureRequest) -> Detector | None:
    """The bundled detector in a precision; None if it is refused, as it is to be on this CPU."""
    if request.param in ("fp32", *computable()):
        return Detector(plain(request.param))
    with pytest.raises(ModelError, match=rf"this CPU does not compute in {request.param}: set .*precision to fp32"):
        Detector(plain(request.param))
    return None


@pytest.mark.parametrize(
    ("images", "lanes", "count"),
    [(1, 1, 0), (5, 1, 0), (1, 2, 0), (2, 2, 2), (3, 2, 2), (8, 2, 8), (2, 4, 0), (3, 4, 3), (6, 4, 4), (7, 4, 7)],
)
def test_images_are_computed_together_unless_that_leaves_threads_idle(images: int, lanes: int, count: int) -> None:
    assert beside(images, lanes) == count


def test_frames_together_give_the_bytes_of_each_alone_in_their_order(detector: Detector | None) -> None:
    if not detector:
        return
    frames = [WIDE, SQUARE, SQUARE[:, ::-1], WIDE]
    alone = [detector.detect([frame])[0] for frame in frames]
    assert all(len(faces) for faces in alone)
    for count in range(1, len(frames) + 1):
        together = detector.detect(frames[:count])
        assert list(map(_bytes, together)) == list(map(_bytes, alone[:count]))


def test_a_second_detector_gives_the_same_bytes(detector: Detector | None) -> None:
    if not detector:
        return
    again = Detector(detector.config)
    assert again.model_id == detector.model_id
    assert _bytes(again.detect([WIDE])[0]) == _bytes(detector.detect([WIDE])[0])


@pytest.mark.parametrize("frame", [WIDE, SQUARE, TALL], ids=["wide", "square", "tall"])
def test_every_precision_finds_the_face_of_fp32(frame: Bytes, detector: Detector | None) -> None:
    if not detector:
        return
    found, exact = (one.detect([frame])[0] for one in (detector, Detector(plain())))
    assert found.scores[0] == pytest.approx(exact.scores[0], abs=0.05)
    assert found.boxes[0] == pytest.approx(exact.boxes[0], abs=6)
    assert found.landmarks[0] == pytest.approx(exact.landmarks[0], abs=4)


def test_the_model_id_says_the_precision(detector: Detector | None) -> None:
    if not detector:
        return
    precision = detector.config.precision
    assert detector.model_id.endswith(f"-{precision}") == (precision != "fp32")
    assert detector.model_id.startswith("yolo-face-nano-int8-" if precision == "int8" else "yolo-face-nano-0d0cc7")


def test_regions_are_packed_into_few_sizes_for_a_network_that_is_compiled(detector: Detector | None) -> None:
    if not detector:
        return
    assert detector.inputs == (None if detector.config.precision == "fp32" else few_inputs(640))


def test_int8_is_what_onnxruntime_computes_from_the_same_file() -> None:
    """OpenVINO computes int8 wrongly in networks of open size: its landmarks are then off by a pixel and more."""
    if not multiplies_int8():
        return
    path = bundled_detector("int8")
    ours, theirs = OpenVinoNetwork(path, "int8"), SessionNetwork(open_session(path, "cpu"))
    for image in (_sized(640, 384), _sized(480, 640), _sized(640, 384)):
        mine, reference = ours.compute(image), theirs.compute(image)
        cells = reference[4] > 0.3
        assert cells.any()
        assert np.abs(mine[4] - reference[4])[cells].max() < 0.03
        assert np.abs(mine - reference)[[0, 1, 5, 6, 8, 9]][:, cells].max() < 0.6


def test_openvino_cannot_report_its_use() -> None:
    import_openvino()
    assert sys.modules["openvino_telemetry"] is None


def test_the_networks_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_network, "MOST", 2)
    network = OpenVinoNetwork(bundled_detector(), "fp32")
    for side in (32, 64, 32, 96):
        network.compute(np.zeros((32, side, 3), np.uint8))
    assert [width for _, _, width in network._compiled] == [32, 96]  # what was used last


@pytest.mark.parametrize(
    ("weights", "precision", "message"),
    [
        ("yolo-face-nano.onnx", "int8", r"yolo-face-nano\.onnx is not quantised, .* `swinface quantise-detector`"),
        (f"{INT8}.onnx", "bf16", r"yolo-face-nano-int8\.onnx is quantised: set detect\.precision to int8"),
        ("yolo-face-nano.pt", "bf16", r"yolo-face-nano\.pt is computed in fp32 only: export it as \.onnx"),
        ("lite", "int8", r"lite\.onnx is computed in fp32 only; detect\.precision is int8"),
    ],
)
def test_a_file_that_is_not_for_the_precision_is_refused(
    weights: str, precision: str, message: str, tmp_path: Path
) -> None:
    path = bundled_detector().parent / weights
    if weights == "lite":
        path = write_lite_patch_detector(tmp_path / "lite.onnx")
    config = Detect.model_validate({"weights": str(path), "precision": precision})
    with pytest.raises(ModelError, match=rf"{message}|this CPU does not compute"):
        Detector(config)


def test_a_precision_of_the_cpu_is_refused_on_a_gpu() -> None:
    with pytest.raises(ModelError, match=r"detect\.precision bf16 is for the CPU: on cuda:0, set fp32"):
        Detector(Detect(device="cuda:0", precision="bf16"))


def test_a_cpu_without_products_of_int8_is_recognised(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor: 0\nflags\t\t: fpu sse4_2 avx2 fma\n")
    assert not multiplies_int8(cpuinfo)
    cpuinfo.write_text("processor: 0\nflags\t\t: fpu avx2 avx_vnni\n")
    assert multiplies_int8(cpuinfo)
    assert multiplies_int8(tmp_path / "none")


def test_a_session_for_one_thread_is_opened_when_it_is_needed() -> None:
    opened: list[int] = []
    session = open_session(bundled_detector(), "cpu")

    def narrow() -> object:
        opened.append(1)
        return open_session(bundled_detector(), "cpu", 1)

    network = SessionNetwork(session, narrow)
    image = _sized(640, 384)
    first = network.compute(image)
    assert not opened
    assert np.array_equal(network.compute_beside(image), first)
    assert np.array_equal(network.compute_beside(image), first)
    assert len(opened) == 1
    assert (network.lanes, SessionNetwork(session).lanes) == (threads(), 1)


def _sized(width: int, height: int) -> Bytes:
    image = np.full((height, width, 3), 114, np.uint8)
    side = min(width, height, 512)
    image[:side, :side] = SQUARE[:side, :side]
    return image


def _bytes(faces: Detections) -> tuple[bytes, ...]:
    return faces.boxes.tobytes(), faces.scores.tobytes(), faces.landmarks.tobytes()


def test_prepared_images_for_a_network_that_is_compiled_for_each_size_have_few_sizes(detector: Detector | None) -> None:
    if not detector:
        return
    few = detector.inputs
    assert (few is None) == (detector.config.precision == "fp32")
    if few is not None:
        assert 2 < len(few) < openvino_network.MOST / 2
        assert few[-1] == (640, 640)


def test_a_detector_for_cameras_has_compiled_what_parts_of_frames_need() -> None:
    for precision in sorted(computable()):
        detector = Detector.ready(plain(precision))
        network = detector._model._network  # type: ignore[union-attr]
        assert isinstance(network, OpenVinoNetwork)
        compiled = {(width, height) for _, height, width in network._compiled}
        assert compiled == set(detector.inputs or ())
