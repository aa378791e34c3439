"""Frames per second of decoding to BGR, against OpenCV's reader, over one 1280x720 H.264 file."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from streamer.source.file import read_file
from streamer.tools.demo_clip import make_clip

ROUNDS = 5


def measure() -> dict[str, Any]:
    """Medians over rounds in which both take turns: frames/s and ratio."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip)
        readers: dict[str, Callable[[Path], int]] = {"ours": _ours, "opencv": _opencv}
        rates: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(ROUNDS):
            for name, read in readers.items():
                start = time.perf_counter()
                frames = read(clip)
                rates[name].append(frames / (time.perf_counter() - start))
    medians = {f"{name}_frames_per_s": statistics.median(found) for name, found in rates.items()}
    return medians | {"ratio": medians["ours_frames_per_s"] / medians["opencv_frames_per_s"]}


def _ours(clip: Path) -> int:
    return sum(frame.pixels.shape[2] == 3 for frame in read_file(clip, "bench", 0))


def _opencv(clip: Path) -> int:
    reader, frames = cv2.VideoCapture(str(clip)), 0
    while reader.read()[0]:
        frames += 1
    return frames


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    form = "1280x720 H.264: {ours_frames_per_s:.0f} frames/s, OpenCV {opencv_frames_per_s:.0f}, ratio {ratio:.2f}"
    return form.format(**results)


if __name__ == "__main__":
    print(table(measure()))
