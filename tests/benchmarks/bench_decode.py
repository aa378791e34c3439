"""Frames per second of decoding to BGR, against OpenCV's reader, over one 1280x720 H.264 file; cost of the conversion.

A frame is converted once, whole, and scaled for the detector from there. The alternatives, to convert it at the size of
the detector's input and again for the crops, cost more: the table has milliseconds of CPU time per frame. `luma` is the
small grey picture that decides whether a frame is converted at all.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
from av.video.reformatter import Interpolation, VideoReformatter

from streamer.source.file import decode_file, read_file
from streamer.source.picture import DecodedFrame
from streamer.tools.demo_clip import make_clip

ROUNDS = 5
FRAMES = 40
INPUT = (640, 360)  # px, of the detector


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
        costs = _conversions(clip)
    medians = {f"{name}_frames_per_s": statistics.median(found) for name, found in rates.items()}
    return medians | {"ratio": medians["ours_frames_per_s"] / medians["opencv_frames_per_s"], "conversions_ms": costs}


def _conversions(clip: Path) -> dict[str, float]:
    """CPU time per frame, ms, of what is done with decoded frames; medians over rounds that take turns."""
    frames = list(islice(decode_file(clip, ""), FRAMES))
    reformatter = VideoReformatter()

    def directly(frame: DecodedFrame, how: Interpolation) -> None:
        reformatter.reformat(frame.frame, *INPUT, "bgr24", interpolation=how, threads=1).to_ndarray()

    def whole(frame: DecodedFrame) -> None:
        pixels = frame.pixels()
        assert pixels is not None
        cv2.resize(pixels, INPUT)

    ways: dict[str, Callable[[DecodedFrame], object]] = {
        "whole": DecodedFrame.pixels,
        "whole, then scaled": whole,
        "scaled, bilinear": partial(directly, how=Interpolation.BILINEAR),
        "scaled, area": partial(directly, how=Interpolation.AREA),
        "luma": DecodedFrame.luma,
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.thread_time()
            for frame in frames:
                way(frame)
            spent[name].append(1e3 * (time.thread_time() - start) / len(frames))
    return {name: statistics.median(found) for name, found in spent.items()}


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
    costs = ", ".join(f"{name} {ms:.2f}" for name, ms in results["conversions_ms"].items())
    return f"{form.format(**results)}\nto BGR, ms of CPU time per frame: {costs}"


if __name__ == "__main__":
    print(table(measure()))
