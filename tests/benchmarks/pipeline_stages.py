"""The stages of the whole pipeline by the functions that do them, and a profile that sums to the whole."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.benchmarks.stage_clock import StageClock, Usage

# stage -> functions, as module:class.name or module:name
STAGES: dict[str, tuple[str, ...]] = {
    "demux": ("streamer.source.reader:demux", "streamer.source.file:demux"),
    "decode": ("streamer.source.decoder:Decoder.decode", "streamer.source.decoder:Decoder.finish"),
    "colour conversion": ("streamer.source.picture:Converter.pixels",),
    "motion and attention": (
        "streamer.source.picture:DecodedFrame.luma",
        "streamer.attention.attention:Attention.choose",
        "streamer.attention.attention:Attention.looked",
    ),
    "shot changes": ("streamer.track.shot_change:ShotChangeDetector.see",),
    "detector: network": ("onnxruntime:InferenceSession.run",),
    "detector: before and after": ("streamer.detect.detector:Detector.detect",),
    "detector: second looks": ("streamer.detect.mounted:MountedWatch.look",),
    "detector: turned faces": ("streamer.detect.roll:RollNetwork.directions",),
    "track": (
        "streamer.track.tracker:Tracker.update",
        "streamer.track.tracker:Tracker.coast",
        "streamer.track.face_change:FaceChanges.see",
    ),
    "crop": ("streamer.select.selector:CropSelector.consider", "streamer.select.selector:CropSelector.choose"),
    "observe, the rest": ("streamer.observe:Observer.observe",),
    "dispatch": (
        *(f"streamer.dispatch.dispatcher:Dispatcher.{name}" for name in ("offer", "end", "analyse", "_receive")),
        "streamer.recorded.batches:CropBatches.add",
        "streamer.recorded.batches:CropBatches._send",
    ),
    "people": (
        *(f"streamer.identity.persons:Persons.{name}" for name in ("observe", "add_analysis", "finish", "release")),
        "streamer.identity.persons:Persons.release_overdue",
        "streamer.recorded.video_analysis:find_people",
    ),
    "publish": (
        "streamer.hub:Hub.offer",
        "streamer.api.tracks:TrackService._send",
    ),
    "files": (
        "streamer.recorded.writer:ResultWriter._write",
        "streamer.recorded.video_analysis:hash_file",
        "streamer.recorded.outputs:RunFiles.finish",
    ),
    "journal": (
        "streamer.recorded.recall:RecallingDetector.detect",
        "streamer.recorded.recall:RecallingRolls.directions",
        "streamer.recorded.recall:RecallingWorkers.analyse",
    ),
    "to the event loop": ("streamer.lifecycle:Delivery.__call__",),
}
WHOLE = {"detector: turned faces"}  # the network inside is part of it
OPENCV, BLAS = "threads of OpenCV", "threads of BLAS"  # of cv2 for resizing and warping; of numpy for products
FACE_MODEL, OTHER = "face model", "other"
# beginning of the name of a native thread -> its stage
NATIVE = {OPENCV: OPENCV, BLAS: BLAS, "detector": "detector: network", "rolls": "detector: turned faces"}
NATIVE |= {"ZMQbg": "dispatch", "python": "decode"}  # the threads of FFmpeg have the name of the program
NATIVE |= dict.fromkeys(("grpc", "event_engine", "EventEngine", "timer", "lifeguard", "poller"), "publish")
# name of a thread of Python -> what it does outside of the stages
REST = {"decode": "reader, the rest", "observe": "observe, the rest", "MainThread": "event loop"}
REST |= {"detect": "detector: before and after"}
ORDER = (
    *("demux", "decode", "colour conversion", "reader, the rest", "motion and attention", "shot changes"),
    *("detector: network", "detector: before and after", "detector: second looks", "detector: turned faces"),
    *("track", "crop", "observe, the rest", "to the event loop", "dispatch", FACE_MODEL, "people", "publish"),
    *("files", "journal", "event loop", OPENCV, BLAS, OTHER),
)


def attach(clock: StageClock) -> None:
    """Wrap the functions of all stages. Call it before the pipeline is made."""
    import scipy.optimize  # noqa: F401  # the tracker does at its first choice, and takes half a second

    from streamer.detect.detector import Detector
    from streamer.detect.roll import RollNetwork
    from streamer.source.decoder import Decoder

    clock.name_threads(BLAS)
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (999, 999))  # starts the threads of OpenCV
    clock.name_threads(OPENCV)
    clock.own_threads("detector", Detector, "__init__")
    clock.own_threads("rolls", RollNetwork, "__init__")
    for stage, functions in STAGES.items():
        for path in functions:
            module_name, _, name = path.partition(":")
            owner: Any = __import__(module_name, fromlist=["*"])
            *classes, name = name.split(".")
            for each in classes:
                owner = getattr(owner, each)
            clock.attach(stage, owner, name, stage in WHOLE)
    clock.note_after(Decoder, "__init__")


def profile(usage: Usage, worker_s: float, frames: int) -> dict[str, dict[str, float]]:
    """Return for each stage CPU and wall time in ms per frame; `total` is the CPU time of both processes."""
    cpu = dict.fromkeys(ORDER, 0.0)
    wall = dict.fromkeys(ORDER, 0.0)
    for stage, spent in usage.stages.items():
        cpu[stage] += spent.cpu
        wall[stage] += spent.wall
    for thread, whole in usage.python.items():
        cpu[REST.get(thread, OTHER)] += whole - usage.in_stages.get(thread, 0.0)
    for thread, native in usage.native.items():
        cpu[next((stage for name, stage in NATIVE.items() if thread.startswith(name)), OTHER)] += native
    cpu[FACE_MODEL] += worker_s
    total = usage.cpu + worker_s
    cpu[OTHER] += total - sum(cpu.values())  # threads that have ended between two readings
    rows = {stage: {"cpu_ms": 1e3 * cpu[stage] / frames, "wall_ms": 1e3 * wall[stage] / frames} for stage in ORDER}
    return rows | {"total": {"cpu_ms": 1e3 * total / frames, "wall_ms": 1e3 * usage.wall / frames}}


def process_s(process: int | str) -> float:
    """Return the CPU time of a process so far, s; that of its children is not in it."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: int | str) -> float:
    """Return the resident memory of a process, MB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def children(process: int | str = "self") -> list[int]:
    """Return the processes that a process has started."""
    lists = Path(f"/proc/{process}/task").glob("*/children")  # each thread has those that it started
    return [int(child) for one in lists for child in one.read_text().split()]
