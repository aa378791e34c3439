"""Frames per second of a whole recorded analysis of the demo clip, against the same work in one thread.

The baseline decodes, detects, tracks, crops and runs SwinFace one after the other, on the same crops in batches of
the same size. Both find the same faces; ours does it with its threads, its worker process and its files. SwinFace is
untrained: weights do not change its speed. Loading the models is not counted.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from streamer.config import StreamerConfig
from streamer.detect.detector import Detector
from streamer.dispatch.worker_process import WorkerOptions
from streamer.observe import Observer
from streamer.recorded.analysis import Analysis
from streamer.recorded.writer import VideoResult
from streamer.source.file import VideoInfo, read_file
from streamer.tools.demo_clip import FPS, make_clip
from streamer.track.keys import recorded_keys
from workers.runtime.engine import Engine

ROUNDS = 3


def measure() -> dict[str, Any]:
    """Medians over rounds in which both take turns. Needs a detector, see the README."""
    config = StreamerConfig()
    rates: dict[str, list[float]] = {"ours": [], "one_thread": []}
    crops = 0
    detector, engine = Detector(config.detect), Engine("untrained")
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip)
        for _ in range(ROUNDS):
            rates["ours"].append(_ours(config, clip, Path(folder)))
            rate, crops = _one_thread(config, detector, engine, clip)
            rates["one_thread"].append(rate)
    medians = {f"{name}_frames_per_s": statistics.median(found) for name, found in rates.items()}
    ratio = medians["ours_frames_per_s"] / medians["one_thread_frames_per_s"]
    return medians | {"ratio": ratio, "times_real_time": medians["ours_frames_per_s"] / FPS, "crops": crops}


def _ours(config: StreamerConfig, clip: Path, folder: Path) -> float:
    """From the first frame's results to the last one's."""
    times: list[float] = []

    def progress(info: VideoInfo, result: VideoResult) -> None:
        del info, result
        times.append(time.perf_counter())

    analysis = Analysis(config, WorkerOptions("untrained"), overwrite=True)
    (result,) = asyncio.run(analysis.run([(clip, folder / "out")], progress))
    assert result.whole
    return (len(times) - 1) / (times[-1] - times[0])


def _one_thread(config: StreamerConfig, detector: Detector, engine: Engine, clip: Path) -> tuple[float, int]:
    observer = Observer(config, detector, recorded_keys("bench"))
    waiting: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] = []
    frames = crops = 0
    start = time.perf_counter()
    for frame in read_file(clip, "bench", 0):
        frames += 1
        for observation in observer.observe([frame]):
            waiting += [crop.pixels for crop in observation.crops]
        if len(waiting) >= config.dispatch.batch:
            crops += len(engine.analyse(np.stack(waiting)))
            waiting = []
    if waiting:
        crops += len(engine.analyse(np.stack(waiting)))
    return frames / (time.perf_counter() - start), crops


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    return (
        "demo clip, 1280x720: {ours_frames_per_s:.1f} frames/s ({times_real_time:.2f} times real time, {crops} crops), "
        "in one thread {one_thread_frames_per_s:.1f}, ratio {ratio:.2f}"
    ).format(**results)


if __name__ == "__main__":
    print(table(measure()))
