"""CPU time per frame of detection, tracking and selection, without tracing and with it.

Frames of 320x240 pixels show one face, and a detector that is a small convolution keeps the rest of the work small, so
that the ratios are the highest that can be met. Each crop that is sent is answered, aggregated, stored and published as
far as tracing is concerned. `off`: no endpoint. `0.01` and `1`: that share of the frames is traced, and the spans go to
a collector in another process. Variants take turns in one run; times are medians of CPU time of this process, with all
its threads. Other programs shared the machine.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamer.detect.detector import Detector
from streamer.observe import Observer
from streamer.tracer import Tracer
from streamer.tracing import Tracing
from streamer.track.keys import recorded_keys
from streamer.values import Observation
from tests.support.builders import summary
from tests.support.patch_detector import write_lite_patch_detector
from tests.test_observe import config, frame

RATIOS = (None, 0.01, 1.0)  # None: off
FRAMES = 80  # per block
BLOCKS = 8
COLLECTOR = """
import sys
from tests.support.span_collector import SpanCollector
with SpanCollector() as collector:
    print(collector.address, flush=True)
    sys.stdin.read()
"""


def measure() -> dict[str, Any]:
    """Return ms of CPU time per frame by share of frames that are traced."""
    with tempfile.TemporaryDirectory() as folder:
        settings = config(write_lite_patch_detector(Path(folder) / "patches.onnx"))
        detector = Detector(settings.detect)
        command = [sys.executable, "-c", COLLECTOR]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as collector:
            assert collector.stdout is not None
            address = collector.stdout.readline().strip()
            runs = {_name(ratio): _run(settings, detector, _tracer(address, ratio)) for ratio in RATIOS}
            blocks: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(BLOCKS):
                for name, run in runs.items():
                    blocks[name].append(run())
            collector.terminate()
    return {name: statistics.median(times[1:]) for name, times in blocks.items()}


def _name(ratio: float | None) -> str:
    return "off" if ratio is None else f"{ratio:g}"


def _tracer(address: str, ratio: float | None) -> Tracer | None:
    return Tracer.of(Tracing(endpoint=address, sample_ratio=ratio), stores=True) if ratio is not None else None


def _run(settings: Any, detector: Detector, tracer: Tracer | None) -> Callable[[], float]:
    """Return what observes a block of frames, and returns ms per frame."""
    observer = Observer(settings, detector, recorded_keys("content"), tracer=tracer)
    number = 0

    def run() -> float:
        nonlocal number
        start = time.process_time()
        for _ in range(FRAMES):
            number += 1
            for observation in observer.observe([frame(number / 25, (100, 60))]):
                if tracer is not None:
                    _follow(tracer, observation, number)
        return (time.process_time() - start) / FRAMES * 1000

    return run


def _follow(tracer: Tracer, observation: Observation, number: int) -> None:
    """Do what the loop does for a frame."""
    tracer.observed(observation)
    if observation.crops:
        tracer.sent(observation.crops)
    for crop in observation.crops:
        tracer.answered(crop, True)
        made = summary(crop.key.id, number)
        tracer.leaving([made])
        tracer.published(made, time.monotonic(), stored=True)


def table(figures: dict[str, float]) -> str:
    """Return the figures as text."""
    lines = [f"{'traced':<8}{'ms per frame':>14}{'ratio':>8}"]
    lines += [f"{name:<8}{ms:>14.3f}{ms / figures['off']:>8.3f}" for name, ms in figures.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    results = measure()
    print(table(results))
    print(json.dumps(results))
