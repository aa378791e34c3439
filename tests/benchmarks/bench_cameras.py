"""CPU time of reading 1920x1080 cameras over RTSP, against OpenCV's reader and ultralytics' loader.

Each reader is a process of its own, reads the same cameras of one server at the pace of the camera and gives every
frame as BGR; `decode alone` throws the frames away instead, which is the floor. The readers take turns; CPU time (user
and system) is counted over whole seconds after the first frames, so that imports and connecting do not count, and the
medians are shown. The clip is like a camera's: H.264 at 25 frames/s and 4 Mbit/s with noise, one slice, a key frame
every two seconds, no B-frames.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from streamer.source.file import read_file
from streamer.tools.demo_clip import FPS, make_clip

SIZE = (1920, 1080)
NOISE = 3.0  # standard deviation of a pixel, grey levels
BITRATE = 4_000_000
ROUNDS, SECONDS, WARM_UP_S = 3, 6.0, 2.0
CAMERAS = (1, 4)


def measure() -> dict[str, Any]:
    """Medians over rounds in which the readers take turns: CPU ms per frame, share of a core per camera, ratio."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "camera.mp4"
        make_camera_clip(clip)
        with subprocess.Popen(
            [sys.executable, "-m", "tests.support.rtsp_server", "--port", "0", "--mount", f"cam={clip}"],
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout is not None
            url = f"rtsp://127.0.0.1:{server.stdout.readline().split()[1]}/cam"
            for cameras in CAMERAS:
                figures |= _compare(url, cameras)
            server.kill()
    return figures


def _compare(url: str, cameras: int) -> dict[str, Any]:
    costs: dict[str, list[float]] = {name: [] for name in READERS}
    rates: dict[str, list[float]] = {name: [] for name in READERS}
    for _ in range(ROUNDS):
        for name in READERS:
            command = [sys.executable, "-m", "tests.benchmarks.bench_cameras", name, url, str(cameras)]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            costs[name].append(1000 * found["cpu_s"] / found["frames"])
            rates[name].append(found["frames"] / found["wall_s"] / cameras)
    figures = {f"{name}_{cameras}_cpu_ms_per_frame": statistics.median(found) for name, found in costs.items()}
    figures |= {f"{name}_{cameras}_fps_per_camera": statistics.median(found) for name, found in rates.items()}
    best = min(statistics.median(costs[name]) for name in ("opencv", "ultralytics"))
    return figures | {f"ratio_{cameras}": statistics.median(costs["ours"]) / best}


def make_camera_clip(path: Path) -> None:
    """Write the demo's clip as a camera of 1920x1080 pixels would send it."""
    chance = np.random.default_rng(0)
    noise = chance.normal(0, NOISE, (8, SIZE[1], SIZE[0], 1)).astype(np.float32)
    demo = path.with_name("demo.mp4")
    make_clip(demo)
    options = {"preset": "veryfast", "bf": "0", "g": str(2 * FPS), "x264-params": "sliced-threads=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.bit_rate = "yuv420p", BITRATE
        for number, frame in enumerate(read_file(demo, "", 0)):
            pixels = cv2.resize(frame.pixels, SIZE, interpolation=cv2.INTER_CUBIC) + noise[number % len(noise)]
            image = av.VideoFrame.from_ndarray(np.clip(pixels, 0, 255).astype(np.uint8), format="bgr24")
            image.pts, image.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def _ours(url: str, cameras: int) -> Iterator[int]:
    from streamer.config import Stream
    from streamer.handover import LatestPerCamera
    from streamer.source.cameras import Cameras
    from streamer.values import Frame

    handover = LatestPerCamera(dropped=lambda _: None)
    readers = Cameras(handover, failed=lambda error: sys.exit(repr(error)))
    for number in range(cameras):
        readers.add(Stream(id=f"camera-{number}", uri=url))
    while True:
        yield sum(isinstance(item, Frame) and item.pixels.shape == (1080, 1920, 3) for item in handover.take(1) or [])


def _decode_alone(url: str, cameras: int) -> Iterator[int]:
    """The floor: the packets of one camera are decoded by PyAV, and the frames thrown away."""
    counts = [0] * cameras

    def read(number: int) -> None:
        with av.open(url, options={"rtsp_transport": "tcp", "allowed_media_types": "video"}) as container:
            for _ in container.decode(video=0):
                counts[number] += 1

    return _count(counts, read)


def _opencv(url: str, cameras: int) -> Iterator[int]:
    counts = [0] * cameras

    def read(number: int) -> None:
        reader = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
        while reader.read()[0]:
            counts[number] += 1

    return _count(counts, read)


def _count(counts: list[int], read: Callable[[int], None]) -> Iterator[int]:
    """Start a thread per camera that counts its frames; yield the new ones now and then."""
    for number in range(len(counts)):
        threading.Thread(target=read, args=(number,), daemon=True).start()
    seen = 0
    while True:
        time.sleep(0.02)
        now = sum(counts)
        yield now - seen
        seen = now


def _ultralytics(url: str, cameras: int) -> Iterator[int]:
    from ultralytics.data.loaders import LoadStreams

    with tempfile.NamedTemporaryFile("w", suffix=".streams") as file:
        file.write("\n".join([url] * cameras))
        file.flush()
        for _, images, _ in LoadStreams(file.name if cameras > 1 else url, buffer=True):
            yield len(images)


READERS: dict[str, Callable[[str, int], Iterator[int]]] = {
    "ours": _ours,
    "opencv": _opencv,
    "ultralytics": _ultralytics,
    "decode alone": _decode_alone,
}


def _run(name: str, url: str, cameras: int) -> None:
    """Read for a while and print the CPU time and the frames after the warm-up."""
    began, start, frames, cpu = 0.0, 0.0, 0, 0.0
    for count in READERS[name](url, cameras):
        now = time.monotonic()
        began = began or (now if count else 0.0)
        if start:
            frames += count
            if now - start >= SECONDS:
                break
        elif began and now - began >= WARM_UP_S:
            start, cpu = now, _cpu_s()
    print(json.dumps({"cpu_s": _cpu_s() - cpu, "frames": frames, "wall_s": time.monotonic() - start}), flush=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    lines = [
        "CPU ms per frame (frames/s of a camera)".ljust(42) + "".join(f"{name:>16}" for name in READERS) + "   ratio"
    ]
    for cameras in CAMERAS:
        cells = (
            f"{results[f'{name}_{cameras}_cpu_ms_per_frame']:.2f} ({results[f'{name}_{cameras}_fps_per_camera']:.1f})"
            for name in READERS
        )
        title = f"{cameras} camera{'s' if cameras > 1 else ''} in one process"
        lines.append(title.ljust(42) + "".join(f"{cell:>16}" for cell in cells) + f"{results[f'ratio_{cameras}']:8.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        os._exit(0)  # without waiting for the readers
    print(table(measure()))
