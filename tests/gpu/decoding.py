"""Decoding on the CPU and by NVDEC: the same pictures at the same times, and frames per second of several at once."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.error import FFmpegError

from faceanalytics.errors import UserError
from streamer.source.hardware import acceleration, check_device
from streamer.values import Bytes
from tests.gpu.clips import make_clip
from tests.gpu.run import Run

SIZE, FRAMES = (1920, 1080), 50
QUICK = (320, 192), 10
CODECS = {"h264": "libx264", "hevc": "libx265"}
THREADS = (1, 4, 16)
SECONDS = 1.0  # of each measurement


def measure(run: Run) -> None:
    size, frames = QUICK if run.quick else (SIZE, FRAMES)
    clips = {
        name: make_clip(run.folder / f"decode-{name}.mp4", size, frames, encoder) for name, encoder in CODECS.items()
    }
    run.add("size", f"{size[0]}x{size[1]}")
    seconds = 0.2 if run.quick else SECONDS
    if run.on_gpu:
        check_device(run.device)
        for name, clip in clips.items():
            _compare(run, name, clip)
    else:
        run.note("NVDEC needs a GPU; refusing it without one is tested by tests/source/test_hardware.py")
    for name, clip in clips.items():
        for count in (1, 2) if run.quick else THREADS:
            row = {"cpu": _rate(clip, "cpu", count, seconds)}
            if run.on_gpu:
                row["nvdec"] = _rate(clip, run.device, count, seconds)
                row["nvdec_kept"] = _rate(clip, run.device, count, seconds, kept=True)
            run.add(f"{name}_{count}", row)


def kept_on(device: str) -> HWAccel | None:
    """Return what decodes on a GPU and leaves the frames there; None for the CPU."""
    if device == "cpu":
        return None
    return HWAccel("cuda", device.partition(":")[2] or None, allow_software_fallback=False, is_hw_owned=True)


def frames_of(clip: Path, hardware: HWAccel | None) -> Iterator[av.VideoFrame]:
    """Yield the frames of a clip, decoded by one thread."""
    with av.open(str(clip), hwaccel=hardware) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        yield from container.decode(stream)


def looped(clip: Path, hardware: HWAccel | None) -> Iterator[av.VideoFrame]:
    """Yield the frames of a clip again and again by one decoder, which takes long to open on a GPU."""
    with av.open(str(clip), hwaccel=hardware) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        while True:
            yield from container.decode(stream)
            container.seek(0)


def luma(frame: av.VideoFrame) -> Bytes:
    """Return the first plane of a frame on the host, (h, w)."""
    plane = frame.planes[0]
    rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
    return np.ascontiguousarray(rows[: frame.height, : frame.width])


def _compare(run: Run, name: str, clip: Path) -> None:
    """Check that NVDEC gives the pictures and times of the CPU."""
    there = [(frame.pts, luma(frame)) for frame in frames_of(clip, acceleration(run.device))]
    here = [(frame.pts, luma(frame)) for frame in frames_of(clip, None)]
    times = [pts for pts, _ in there] == [pts for pts, _ in here]
    run.check(f"{name}: number and times of frames differ", 0.0 if times else 1.0, 0)
    pairs = zip(there, here, strict=False)
    run.check(f"{name}: grey levels between pictures", max(_apart(one, other) for (_, one), (_, other) in pairs), 0)


def _apart(one: Bytes, other: Bytes) -> float:
    return float(np.abs(one.astype(np.int16) - other).max())


def _rate(clip: Path, device: str, count: int, seconds: float, kept: bool = False) -> float:
    """Return frames/s of this many decoders of the looped clip, a thread each. `kept`: frames stay on the GPU.

    Raises what stopped a decoder.
    """
    counts, problems, end = [0] * count, list[Exception](), time.monotonic() + seconds

    def decode(number: int) -> None:
        try:
            for _ in looped(clip, kept_on(device) if kept else acceleration(device)):
                counts[number] += 1
                if time.monotonic() >= end:
                    break
        except (FFmpegError, UserError, OSError) as error:
            problems.append(error)

    threads = [threading.Thread(target=decode, args=(number,)) for number in range(count)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return sum(counts) / (time.monotonic() - began)


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as text."""
    names = {"cpu": "CPU", "nvdec": "NVDEC, brought to the host", "nvdec_kept": "NVDEC, kept on the GPU"}
    found = [f"clips of {figures.get('size')}"]
    for key, row in figures.items():
        if isinstance(row, dict):
            codec, _, count = key.partition("_")
            rates = "; ".join(f"{names[way]} {rate:,.0f}" for way, rate in row.items())
            found.append(f"{codec}, {count} at once, frames/s: {rates}")
    return found
