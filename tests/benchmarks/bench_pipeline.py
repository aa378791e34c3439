"""Where the CPU time of the whole pipeline goes, live and recorded; and its speed against the same work in one thread.

The profile is of the real service: LiveService with two cameras of 640x360 at 10 frames/s over RTSP, one of an empty
room and one of six faces, a worker process and a gRPC subscriber; and the analysis of the demo clip (1280x720, one to
two faces), with its worker and its files. The functions of each stage are wrapped from outside; a stage is measured
by the CPU clock of its thread, without the stages inside it. Threads of libraries count by what has started them: those
of the detector's session as its network, those of FFmpeg as decoding. The face model is the worker process. `other` is
what is left of the CPU time of both processes. Loading is not counted. Wall time includes waiting, for packets above
all; ms of CPU per frame of a camera at 10 frames/s are also % of a core per camera. Of three runs, the one of median
CPU time is shown. `before`: every frame of every camera is searched for faces, and the threads of BLAS wait actively.

The last lines compare frames per second of the recorded analysis with the same work in one thread: that decodes,
detects, tracks, crops and runs SwinFace one after the other, on the same crops in batches of the same size. Both find
the same faces; ours does it with its threads, its worker process and its files. SwinFace is untrained there: weights do
not change its speed.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
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
from tests.benchmarks.live_cameras import site
from tests.benchmarks.pipeline_stages import ORDER
from tests.end_to_end.programs import Program, Subscriber, address_of
from workers.runtime.engine import Engine

ROUNDS, CAMERAS, LIVE_S = 3, 2, 20.0
BEFORE = Path(__file__).with_name("pipeline_before.json")
HEAD = f"{'CPU':>8}{'share':>7}{'wall':>8}"


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
    medians |= {"ratio": ratio, "times_real_time": medians["ours_frames_per_s"] / FPS, "crops": crops}
    with tempfile.TemporaryDirectory() as folder:
        profiles = {"live": _profiled(_live, Path(folder)), "recorded": _profiled(_recorded, Path(folder))}
    return medians | profiles | {"load": os.getloadavg()[1]}


def _profiled(run: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Return the profile of the run of median CPU time."""
    runs = sorted((run(folder) for _ in range(ROUNDS)), key=lambda found: found["stages"]["total"]["cpu_ms"])
    return runs[ROUNDS // 2]


def _live(folder: Path) -> dict[str, Any]:
    with site(folder) as cameras, cameras.worker() as worker:
        arguments = "live", cameras.config(CAMERAS), str(worker.process.pid), str(LIVE_S)
        with Program("tests.benchmarks.profile_run", *arguments) as profiled, Subscriber(address_of(profiled)):
            profiled.process.wait()
            return _answer(profiled)


def _recorded(folder: Path) -> dict[str, Any]:
    clip = folder / "clip.mp4"
    make_clip(clip)
    with Program("tests.benchmarks.profile_run", "recorded", clip, folder / "out") as profiled:
        profiled.process.wait()
        return _answer(profiled)


def _answer(profiled: Program) -> dict[str, Any]:
    profiled.wait()
    found = next((line for line in reversed(profiled.lines) if line.startswith("{")), None)
    assert found is not None, profiled.text
    answer: dict[str, Any] = json.loads(found)
    return answer


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
    before: dict[str, Any] = json.loads(BEFORE.read_text())
    lines = ["ms per frame".ljust(28) + "".join(f"{kind + ' before':>16}{HEAD}" for kind in ("live", "recorded"))]
    for stage in (*ORDER, "total"):
        cells = (_cells(results[kind]["stages"], before[kind], stage) for kind in ("live", "recorded"))
        lines.append(f"{stage:28}" + "".join(cells))
    live, recorded = results["live"], results["recorded"]
    of_a_core = live["stages"]["total"]["cpu_ms"] * live["frames"] / live["seconds"] / live["cameras"] / 10
    lines.append(
        f"live: {live['cameras']} cameras, {live['frames']} frames in {live['seconds']:.1f} s, "
        f"{live['analysed']} analysed, {live['overload']} dropped for overload, "
        f"{of_a_core:.1f} % of a core per camera; "
        f"recorded: {recorded['frames']} frames in {recorded['seconds']:.1f} s"
    )
    lines.append(f"programs that wanted to run on this machine meanwhile, these included: {results['load']:.0f}")
    lines.append(
        "demo clip, 1280x720: {ours_frames_per_s:.1f} frames/s ({times_real_time:.2f} times real time, {crops} crops), "
        "in one thread {one_thread_frames_per_s:.1f}, ratio {ratio:.2f}".format(**results)
    )
    return "\n".join(lines)


def _cells(now: dict[str, Any], before: dict[str, Any], stage: str) -> str:
    cpu, wall = now[stage]["cpu_ms"], now[stage]["wall_ms"]
    cpu_before = before[stage]["cpu_ms"] if stage in before else 0.0
    return f"{cpu_before:16.2f}{cpu:8.2f}{cpu / now['total']['cpu_ms']:7.1%}{wall:8.2f}"


if __name__ == "__main__":
    print(table(measure()))
