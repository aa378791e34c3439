"""Engines and precisions of the bundled detector: time, accuracy, and what the shape of its input changes.

Times are medians over rounds in which all variants take turns, of `Detector.detect` with everything around the network,
for the 1280x720 sample that comes with ultralytics. `wall` depends on what else runs on the machine; `CPU` is the
process's own time, which other programs change less, and `of before` the ratio of it to that of the first row: a
640x640 square in ONNX Runtime whose threads sleep between layers, as it was. Frames that come together are computed at
the same time, on one thread each, or one after the other on all threads; the table has wall time per frame.

Accuracy is that of "Face detectors": 66 held-out images, truth by agreement of public detectors, faces from 24 px.
`moved` is the largest distance of a side of a box from that of ONNX Runtime fp32, in pixels of the network's input,
over the faces that both find with a score from 0.5 on. The first row shows what the shape changes: in the square, a
face at the edge of the picture has grey beside it.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamer.boxes import iou
from streamer.config import Detect
from streamer.detect.bundled import bundled_detector
from streamer.detect.detector import _tidy
from streamer.detect.letterbox import canvas, letterboxed
from streamer.detect.network import Network, SessionNetwork
from streamer.detect.offline import import_onnxruntime
from streamer.detect.onnx_pose import PoseOnnxModel, decode_pose
from streamer.detect.openvino_network import OpenVinoNetwork
from streamer.detect.session import open_session, threads
from streamer.evaluate.score import match, summarise
from streamer.values import Bytes, Detections
from tests.benchmarks.accuracy_detect import (
    GOAL_PX,
    HALF,
    PRECISION,
    PUBLIC,
    Image,
    held_out,
    landmark_errors,
    truth_of,
)
from tests.benchmarks.bench_detect import SIZES, sample
from tests.conftest import shared_folder
from workers.research.detector.teachers import find, open_teacher, usual_scales

ROUNDS, WARM = 25, 3
BATCHES = (1, 2, 4, 8)
BEFORE = "ONNX Runtime fp32, square, before"
DEFAULT = "ONNX Runtime fp32"
Look = Callable[[Bytes], Detections]


def measure() -> dict[str, Any]:
    """Times and accuracy of all engines. Needs the data folder, for the accuracy."""
    models = _models(0.1)
    frame = np.asarray(cv2.resize(sample(), SIZES[0], interpolation=cv2.INTER_AREA), np.uint8)
    return {
        "threads": threads(),
        "times": _times(models, frame),
        "parts": _parts(frame),
        "together": _together(models, frame),
        "accuracy": _accuracy(_looks()),
    }


def _models(min_score: float) -> dict[str, PoseOnnxModel]:
    plain, int8 = bundled_detector(), bundled_detector("int8")
    networks: dict[str, Network] = {
        DEFAULT: SessionNetwork(open_session(plain, "cpu"), partial(open_session, plain, "cpu", 1)),
        "ONNX Runtime int8": SessionNetwork(open_session(int8, "cpu"), partial(open_session, int8, "cpu", 1)),
        "OpenVINO fp32": OpenVinoNetwork(plain, "fp32"),
        "OpenVINO bf16": OpenVinoNetwork(plain, "bf16"),
        "OpenVINO int8": OpenVinoNetwork(int8, "int8"),
    }
    session, config = open_session(plain, "cpu"), Detect(min_score=min_score)
    return {name: PoseOnnxModel(session, config, network) for name, network in networks.items()}


def _before(path: Path, min_score: float) -> Look:
    """The detector as it was: a square, and threads that sleep between layers."""
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    config, name = Detect(min_score=min_score), session.get_inputs()[0].name

    def look(frame: Bytes) -> Detections:
        blob, scale, offset = letterboxed(frame, config)
        return decode_pose(session.run(None, {name: blob})[0][0], scale, offset, config)

    return look


def _looks() -> dict[str, Look]:
    """Each detector as a function of one image, down to low scores, as served."""
    config = Detect(min_score=0.01)

    def one(model: PoseOnnxModel) -> Look:
        return lambda pixels: _tidy(model.detect([pixels])[0], pixels, config)

    before = _before(bundled_detector(), config.min_score)
    return {BEFORE: lambda pixels: _tidy(before(pixels), pixels, config)} | {
        name: one(model) for name, model in _models(config.min_score).items()
    }


def _times(models: dict[str, PoseOnnxModel], frame: Bytes) -> dict[str, dict[str, float]]:
    before = _before(bundled_detector(), 0.1)
    whole = {BEFORE: lambda: before(frame)} | {name: partial(model.detect, [frame]) for name, model in models.items()}
    wide = _medians(whole)
    narrow = _medians(
        {name: partial(model._detect_one, model._network.compute_beside, frame) for name, model in models.items()}
    )
    return {
        name: {
            "wall_ms": wall,
            "cpu_ms": cpu,
            "of_before": cpu / wide[BEFORE][1],
            **({"one_thread_ms": narrow[name][0]} if name in narrow else {}),
        }
        for name, (wall, cpu) in wide.items()
    }


def _on_one_thread(model: PoseOnnxModel, frame: Bytes) -> Detections:
    return model._detect_one(model._network.compute_beside, frame)


def _parts(frame: Bytes) -> dict[str, float]:
    """CPU time in ms around the network of the default, and of each step of it."""
    config, network = Detect(), SessionNetwork(open_session(bundled_detector(), "cpu"))
    image, scale, offset = canvas(frame, config, square=False)
    output = network.compute(image)
    faces = decode_pose(output, scale, offset, config)
    steps: dict[str, Callable[[], object]] = {
        "scaled into the input": partial(canvas, frame, config, square=False),
        "to planes of floats": partial(letterboxed, image, config, square=False),
        "decoding and suppression": partial(decode_pose, output, scale, offset, config),
        "clipping and sorting": partial(_tidy, faces, frame, config),
        "network": partial(network.compute, image),
    }
    return {name: cpu for name, (_, cpu) in _medians(steps).items()}


def _together(models: dict[str, PoseOnnxModel], frame: Bytes) -> dict[str, dict[str, list[float]]]:
    """Wall and CPU time per frame in ms for each batch: at the same time, and one after the other."""
    runs: dict[str, Callable[[], object]] = {}
    for name, model in models.items():
        for batch in BATCHES:
            frames = [frame] * batch
            runs[f"{name}/same time/{batch}"] = partial(model.detect, frames)
            runs[f"{name}/in turn/{batch}"] = partial(_in_turn, model, frames)
    spent = _medians(runs)
    return {
        f"{name}, {how}": {
            kind: [spent[f"{name}/{how}/{batch}"][place] / batch for batch in BATCHES]
            for place, kind in enumerate(("wall", "CPU"))
        }
        for name in models
        for how in ("same time", "in turn")
    }


def _in_turn(model: PoseOnnxModel, frames: list[Bytes]) -> None:
    for frame in frames:
        model.detect([frame])


def _medians(runs: Mapping[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Median wall and CPU time in ms of each, taking turns."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(ROUNDS + WARM):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if turn >= WARM:
                spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: (statistics.median(wall for wall, _ in pairs) * 1e3, statistics.median(cpu for _, cpu in pairs) * 1e3)
        for name, pairs in spent.items()
    }


def _accuracy(looks: dict[str, Look]) -> dict[str, dict[str, Any]]:
    data = shared_folder() / "data"
    teachers = {name: open_teacher(data / "weights" / f"{stem}.onnx") for name, stem in PUBLIC.items()}
    images = [
        Image(source, pixels, {n: find(t, pixels, usual_scales(pixels)) for n, t in teachers.items()}, {})
        for source, pixels in held_out(data)
    ]
    truths = [truth_of(image, list(PUBLIC)) for image in images]
    found = {name: [look(image.pixels) for image in images] for name, look in looks.items()}
    results = {}
    for name, look in looks.items():
        pairs = zip(truths, found[name], strict=True)
        score = summarise([match(truth, faces, GOAL_PX) for truth, faces in pairs], HALF, PRECISION)
        moved = np.concatenate(
            [_moved(a, b, c.pixels) for a, b, c in zip(found[DEFAULT], found[name], images, strict=True)]
        )
        marks = landmark_errors(data, look)
        results[name] = {
            "faces": score.at_score.faces,
            "recall_at_precision": score.recall_at_precision,
            "recall_at_half": score.at_score.recall,
            "precision_at_half": score.at_score.precision,
            "average_precision": score.average_precision,
            "landmark_error": marks["error"],
            "landmarks_of": f"{marks['hits']}/{marks['faces']}",
            "moved": {
                "faces": len(moved),
                "median_px": float(np.median(moved)),
                "95_percent_px": float(np.quantile(moved, 0.95)),
                "within_1_px": float((moved <= 1).mean()),
            },
        }
    return results


def _moved(one: Detections, other: Detections, frame: Bytes) -> Any:
    """How far the boxes of the faces in both are apart (n,), in pixels of the network's input."""
    config = Detect()
    one, other = (faces.rows(np.flatnonzero(faces.scores >= HALF)) for faces in (one, other))
    if not len(one) or not len(other):
        return np.zeros(0, np.float32)
    overlap = iou(one.boxes, other.boxes)
    rows = np.flatnonzero(overlap.max(axis=1) >= HALF)
    scale = min(config.input_size / max(frame.shape[:2]), config.max_upscale)
    return np.abs(one.boxes[rows] - other.boxes[overlap.argmax(axis=1)[rows]]).max(axis=1) * scale


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    count = results["threads"]
    lines = [
        f"{'1280x720, ms per frame':<36}{f'wall, {count} threads':>17}{'CPU':>8}{'of before':>11}{'one thread':>12}"
    ]
    for name, row in results["times"].items():
        alone = f"{row['one_thread_ms']:.1f}" if "one_thread_ms" in row else "-"
        lines.append(f"{name:<36}{row['wall_ms']:>17.1f}{row['cpu_ms']:>8.1f}{row['of_before']:>11.2f}{alone:>12}")
    whole = sum(results["parts"].values())
    lines += ["", f"{'share of the CPU time, ' + DEFAULT:<46}{'ms':>8}{'share':>9}"]
    lines += [f"{name:<46}{ms:>8.2f}{100 * ms / whole:>7.1f} %" for name, ms in results["parts"].items()]
    head = "".join(f"{batch:>7}" for batch in BATCHES)
    lines += ["", f"{'ms per frame, frames that come together':<40}{'wall':>5}{head[5:]}{'CPU':>7}{head[3:]}"]
    for name, kinds in results["together"].items():
        lines.append(f"{name:<40}" + "".join(f"{ms:>7.1f}" for ms in kinds["wall"] + kinds["CPU"]))
    head = f"{'recall at':>11}{'at 0.5:':>9}{'':>11}{'':>8}{'landmark error':>17}{'moved, px of the input':>32}"
    lines += ["", f"{'':<36}{head}"]
    head = f"{'97 %':>11}{'recall':>9}{'precision':>11}{'AP':>8}{'mean, median':>17}{'median, 95 %, within 1 px':>32}"
    lines.append(f"{'':<36}{head}")
    for name, row in results["accuracy"].items():
        error, moved = row["landmark_error"], row["moved"]
        at = "never" if row["recall_at_precision"] is None else f"{100 * row['recall_at_precision']:.1f}"
        lines.append(
            f"{name:<36}{at:>11}{100 * row['recall_at_half']:>9.1f}{100 * row['precision_at_half']:>11.1f}"
            f"{100 * row['average_precision']:>8.1f}{100 * error['mean']:>10.1f}, {100 * error['median']:>5.1f}"
            f"{moved['median_px']:>15.2f}, {moved['95_percent_px']:>5.2f}, {100 * moved['within_1_px']:>5.1f} %"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
