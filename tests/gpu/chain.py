"""Decode, scale, detect and crop with frames that never leave the device, against the way by the host.

The way by the host is the streamer's: frames become BGR there, and the detector takes them to the device again. Several
decoders fill one queue, and batches are what waits in it. The decision which way the streamer takes follows the table.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from streamer.boxes import iou
from streamer.config import Detect
from streamer.detect.bundled import bundled_detector
from streamer.detect.detector import Detector
from streamer.detect.onnx_file import read_graph
from streamer.detect.torch_pose import TorchPoseModel
from streamer.select.align import align
from streamer.source.hardware import acceleration
from streamer.values import Bytes, Detections
from tests.gpu.clips import make_clip
from tests.gpu.decoding import frames_of, kept_on, looped
from tests.gpu.planes import Planes, PlaneScaler, crops_of, planes_of
from tests.gpu.run import Run
from workers.runtime.engine import usable_device

SIZE, FRAMES = (1920, 1080), 50
QUICK = (640, 384), 8
DECODERS = (1, 8, 24)
SECONDS = 4.0  # of each measurement
STRONG = 0.5  # score of the faces that are cropped
SURE = 0.65  # score of those that are compared: weaker ones are sensitive to single grey levels
LIMIT_PX, LIMIT_GREY = 1.0, 6.0  # px of the input; mean grey levels of a crop
BATCH, QUEUE = 32, 96


def measure(run: Run) -> None:
    size, frames = QUICK if run.quick else (SIZE, FRAMES)
    clip = make_clip(run.folder / "chain.mp4", size, frames)
    device = usable_device(run.device)
    model = TorchPoseModel(read_graph(bundled_detector()), Detect(device=run.device), half=run.on_gpu)
    scaler = PlaneScaler(size, model.place(size).inner, device)
    with _stream(device):
        _compare(run, clip, model, scaler, device)
    for count in (1,) if run.quick else DECODERS:
        seconds = 0.5 if run.quick else SECONDS
        row = {
            "host": _rate(clip, count, seconds, device, *_by_the_host(model, run.device)),
            "device": _rate(clip, count, seconds, device, *_on_the_device(model, scaler, device, run.device)),
        }
        run.add(f"decoders_{count}", row)
    if not run.on_gpu:
        run.note("frames on the GPU: here the CPU is the device, so that only the result is tried")


@contextmanager
def _stream(device: torch.device) -> Iterator[None]:
    """Compute beside the default stream, on which decoders work."""
    if device.type == "cpu":
        yield
    else:
        with torch.cuda.stream(torch.cuda.Stream(device)):  # type: ignore[no-untyped-call]
            yield


def _compare(run: Run, clip: Path, model: TorchPoseModel, scaler: PlaneScaler, device: torch.device) -> None:
    """Check faces and crops of some frames against the streamer's on the CPU."""
    detector = Detector(Detect())
    far = grey = 0.0
    faces = 0
    pairs = zip(frames_of(clip, None), frames_of(clip, kept_on(run.device)), strict=True)
    for number, (here, there) in enumerate(pairs):
        if number % 4:
            continue
        pixels = np.asarray(here.to_ndarray(format="bgr24"), np.uint8)
        planes = planes_of(there, device)
        (expected,), (found,) = detector.detect([pixels]), model.look(scaler([planes]), planes.size)
        strong = expected.rows(np.flatnonzero(expected.scores > SURE))
        if not len(strong):
            continue
        scale = min(1, Detect().input_size / max(planes.size))
        match = iou(strong.boxes, found.boxes).argmax(axis=1)
        far = max(far, scale * float(np.abs(strong.landmarks - found.landmarks[match]).max()))
        crops = crops_of(planes, strong.landmarks).cpu().numpy()
        for crop, points in zip(crops, strong.landmarks, strict=True):
            grey = max(grey, float(np.abs(crop.astype(np.int16) - align(pixels, points)).mean()))
        faces += len(strong)
    run.add("faces_compared", faces)
    run.check("no face to compare", 0.0 if faces else 1.0, 0)
    run.check("landmarks against the streamer's on the CPU, px of the input", far, LIMIT_PX)
    run.check("crops against the streamer's, mean grey levels", grey, LIMIT_GREY)


Convert = Callable[[av.VideoFrame], Any]
Look = Callable[[list[Any]], list[Detections]]


def _by_the_host(model: TorchPoseModel, device: str) -> tuple[Any, Convert, Look]:
    def look(frames: list[Bytes]) -> list[Detections]:
        found = model.detect(frames)
        for faces, frame in zip(found, frames, strict=True):
            for points in faces.landmarks[faces.scores > STRONG]:
                align(frame, points)
        return found

    return (lambda: acceleration(device)), (lambda frame: frame.to_ndarray(format="bgr24")), look


def _on_the_device(
    model: TorchPoseModel, scaler: PlaneScaler, device: torch.device, name: str
) -> tuple[Any, Convert, Look]:
    def look(frames: list[Planes]) -> list[Detections]:
        found = model.look(scaler(frames), frames[0].size)
        crops = [
            crops_of(frame, faces.landmarks[faces.scores > STRONG])
            for faces, frame in zip(found, frames, strict=True)
            if (faces.scores > STRONG).any()
        ]
        if crops:
            torch.cat(crops).cpu()
        return found

    return (lambda: kept_on(name)), (lambda frame: planes_of(frame, device)), look


def _rate(
    clip: Path, count: int, seconds: float, device: torch.device, hardware: Any, convert: Convert, look: Look
) -> float:
    """Return frames/s that are decoded and searched with this many decoders. Raises what stopped one."""
    waiting: queue.Queue[Any] = queue.Queue(QUEUE)
    stop, problems = threading.Event(), list[BaseException]()

    def decode() -> None:
        try:
            for frame in looped(clip, hardware()):
                waiting.put(convert(frame))
                if stop.is_set():
                    return
        except BaseException as error:  # the border of this thread
            problems.append(error)

    threads = [threading.Thread(target=decode, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    done, began = 0, 0.0
    with _stream(device):
        while not problems and (not began or time.monotonic() - began < seconds):
            try:
                batch = [waiting.get(timeout=1)]
            except queue.Empty:
                continue
            while len(batch) < BATCH and not waiting.empty():
                batch.append(waiting.get())
            look(batch)
            done += len(batch) if began else 0
            began = began or time.monotonic()  # the first batch prepares what it needs
        took = time.monotonic() - began
    stop.set()
    while any(thread.is_alive() for thread in threads):
        if not waiting.empty():
            waiting.get()
        time.sleep(0.001)
    if problems:
        raise problems[0]
    return done / took


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as text."""
    found = [f"{figures.get('faces_compared', 0)} faces compared"]
    for name, row in figures.items():
        if name.startswith("decoders_"):
            count = name.removeprefix("decoders_")
            found.append(
                f"{count} decoders, frames/s: by the host {row['host']:,.0f}, on the device {row['device']:,.0f}"
            )
    return found
