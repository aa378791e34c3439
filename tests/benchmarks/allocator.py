"""Memory and CPU time of reading cameras that come and go, with different settings of the C library's allocator.

`python -m tests.benchmarks.allocator` reads four cameras of 1920x1080 over RTSP in a process per setting, and converts
every frame. Every two seconds it removes one camera and adds it again, as if that had been lost: it comes back with new
threads and another decoder. The settings take turns; `--settings "as it is,2 arenas"` names some of them. Shown are the
medians of the memory per camera at the end, of the growth per return of a camera in the second half, and of the CPU
time per frame, with its ratio to the first setting.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from streamer.config import Stream
from streamer.handover import LatestPerCamera
from streamer.source.cameras import Cameras
from streamer.values import Preview
from tests.benchmarks.bench_cameras import make_camera_clip
from tests.end_to_end.programs import Program

CAMERAS, SECONDS, CHURN_S, ROUNDS = 4, 40.0, 2.0, 2
SETTINGS: dict[str, dict[str, str]] = {
    "as it is": {},
    "1 arena": {"MALLOC_ARENA_MAX": "1"},
    "2 arenas": {"MALLOC_ARENA_MAX": "2"},
    "4 arenas": {"MALLOC_ARENA_MAX": "4"},
    "8 arenas": {"MALLOC_ARENA_MAX": "8"},
    "mmap from 64 MB": {"MALLOC_MMAP_THRESHOLD_": "67108864", "MALLOC_TRIM_THRESHOLD_": "134217728"},
    "2 arenas and mmap from 64 MB": {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": "67108864",
        "MALLOC_TRIM_THRESHOLD_": "134217728",
    },
    "2 arenas and trim from 128 MB": {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "134217728"},
    "mmap from 1 MB": {"MALLOC_MMAP_THRESHOLD_": "1048576"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--read", help="read this camera, and print what was measured")
    options = parser.parse_args()
    if options.read:
        print(json.dumps(_read(options.read, options.seconds)), flush=True)
        os._exit(0)  # without waiting for the readers
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.settings.split(",")}
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "camera.mp4"
        make_camera_clip(clip)
        with Program("tests.support.rtsp_server", "--port", "0", "--mount", f"cam={clip}") as server:
            port = server.wait_for(r"ready (\d+)").group(1)
            url = f"rtsp://127.0.0.1:{port}/cam"
            for _, name in itertools.product(range(options.rounds), found):
                found[name].append(_run(url, options.seconds, SETTINGS[name]))
    first = statistics.median(run["cpu_ms"] for run in next(iter(found.values())))
    print(f"{'':30}   per camera   growth per return   CPU per frame   ratio")
    for name, runs in found.items():
        memory, growth, cpu = (
            statistics.median(run[key] for run in runs) for key in ("memory_mb", "growth_mb", "cpu_ms")
        )
        print(f"{name:30}{memory:10.1f} MB{growth:17.2f} MB{cpu:13.2f} ms{cpu / first:8.2f}", flush=True)


def _run(url: str, seconds: float, setting: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.allocator", "--read", url, "--seconds", str(seconds)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, env=os.environ | setting
    )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _read(url: str, seconds: float) -> dict[str, float]:
    handover = LatestPerCamera(dropped=lambda _: None)
    cameras = Cameras(handover, failed=lambda error: sys.exit(repr(error)))
    base = _resident_mb()
    for number in range(CAMERAS):
        cameras.add(Stream(id=f"camera-{number}", uri=url))
    frames, returns, memory = 0, 0, list[float]()
    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        for item in handover.take(0.5) or []:
            if isinstance(item, Preview) and item.frame() is not None:
                frames += 1
        if time.monotonic() - began > (returns + 1) * CHURN_S:
            name = f"camera-{returns % CAMERAS}"
            cameras.remove(name)
            cameras.add(Stream(id=name, uri=url))
            returns += 1
            memory.append(_resident_mb())
    half = memory[len(memory) // 2 :]
    growth = float(np.polyfit(np.arange(len(half)), half, 1)[0]) if len(half) > 2 else 0.0
    cpu_ms = 1e3 * (time.process_time() - cpu) / frames
    per_camera = (statistics.median(memory[-4:]) - base) / CAMERAS
    return {"memory_mb": per_camera, "growth_mb": growth, "cpu_ms": cpu_ms}


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
