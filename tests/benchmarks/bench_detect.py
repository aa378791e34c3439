"""Milliseconds per frame of the detector (batches of one and four), microseconds per face of crop and quality.

The image is a sample that comes with ultralytics. Values are medians over rounds, wall clock.
"""

import json
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from streamer.config import Crop, StreamerConfig
from streamer.detect.detector import Detector
from streamer.select.align import TEMPLATE, align
from streamer.select.quality import finish, geometry
from streamer.values import Bytes, Floats

SIZES = ((1280, 720), (1920, 1080))
BATCHES = (1, 4)
EYE_DISTANCES = (20, 60, 150)  # px
ROUNDS = 15


def measure() -> dict[str, object]:
    """Medians by frame size and batch, and by eye distance. Needs a detector, see the README."""
    detector = Detector(StreamerConfig().detect)
    results: dict[str, object] = {"detector": detector.model_id}
    for size in SIZES:
        frame = np.asarray(cv2.resize(sample(), size, interpolation=cv2.INTER_AREA), np.uint8)
        for batch in BATCHES:
            frames = [frame] * batch
            seconds = _median(lambda frames=frames: detector.detect(frames))  # type: ignore[misc]
            results[f"detect_{size[0]}x{size[1]}_batch{batch}_ms_per_frame"] = seconds / batch * 1e3
        results[f"faces_{size[0]}x{size[1]}"] = int((detector.detect([frame])[0].scores > 0.5).sum())
    config = Crop()
    for distance in EYE_DISTANCES:
        landmarks = _face(distance, SIZES[1])
        rough, crop = geometry(0.8, landmarks, SIZES[1], config), align(frame, landmarks)
        results[f"align_{distance}px_us"] = _median(lambda points=landmarks: align(frame, points), 100) * 1e6  # type: ignore[misc]
    results["geometry_us"] = _median(lambda: geometry(0.8, landmarks, SIZES[1], config), 500) * 1e6
    results["finish_us"] = _median(lambda: finish(rough, crop, config), 200) * 1e6
    return results


def _median(function: Callable[[], object], calls: int = 1) -> float:
    """Seconds per call."""
    function()
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        rounds.append((time.perf_counter() - start) / calls)
    return statistics.median(rounds)


def sample() -> Bytes:
    spec = find_spec("ultralytics")
    assert spec is not None
    assert spec.origin is not None
    return np.asarray(cv2.imread(str(Path(spec.origin).parent / "assets" / "zidane.jpg")), np.uint8)


def _face(eye_distance: float, size: tuple[int, int]) -> Floats:
    """Landmarks (5, 2) of an upright face in the middle."""
    return np.asarray((TEMPLATE - TEMPLATE.mean(axis=0)) * eye_distance / 35.2 + np.array(size) / 2, np.float32)


def table(results: dict[str, object]) -> str:
    """The results of `measure` as text."""
    return "\n".join(
        f"{name:<42} {value:>10.1f}" if isinstance(value, float) else f"{name:<42} {value!s:>10}"
        for name, value in results.items()
    )


if __name__ == "__main__":
    measured = measure()
    print(table(measured))
    print(json.dumps(measured))
