"""Analyse a recording of hours: memory, people, speed, and the share of the CPU time that the models take.

`python -m tests.benchmarks.long_recording --hours 2` loops a recording of the sign-language clips with cuts (three
people, returning every half minute), at 5 frames/s unless `--fps` says otherwise, and analyses one turn of it and then
the whole. Memory is that of the streamer and its worker, read every second; the table has it after a tenth, a half and
at the end of the run. The CPU time of the models is that of the detector's network, computed by one thread here so that
it can be told apart, and of the worker, its start included. Decoding and everything else is the rest.
"""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import av

from streamer.config import StreamerConfig
from streamer.detect import detector as detectors
from streamer.detect import session as sessions
from streamer.dispatch.worker_process import WorkerOptions
from streamer.recorded.analysis import Analysis
from tests.conftest import shared_folder
from tests.support.composed import Scene, compose

SIGNERS = ("again", "bird", "book", "brother", "milk", "learn", "no", "please", "school")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--fps", type=int, default=5)
    options = parser.parse_args()
    sessions.threads = lambda: 1
    with tempfile.TemporaryDirectory() as folder:
        once, whole = Path(folder) / "once.mp4", Path(folder) / "whole.mp4"
        clips = shared_folder() / "data/clips/asl"
        shown = compose(once, [Scene(clips / f"{name}.mkv") for name in SIGNERS], fps=options.fps)
        turns = max(1, round(options.hours * 3600 / shown[-1].end_s))
        _loop(once, whole, turns, shown[-1].end_s)
        first, hours = _analyse(once, Path(folder) / "one"), _analyse(whole, Path(folder) / "all")
    for name, row in (("one turn", first), (f"{turns} turns", hours)):
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
    return int(first["people"] != hours["people"])


def _loop(once: Path, whole: Path, turns: int, length_s: float) -> None:
    """Write the packets of a recording again and again, without encoding them again."""
    with av.open(str(once)) as source, av.open(str(whole), "w") as target:
        packets = [packet for packet in source.demux(video=0) if packet.dts is not None]
        video = source.streams.video[0]
        stream = target.add_stream_from_template(video)
        assert video.time_base is not None
        times = [(packet.pts, packet.dts) for packet in packets]
        for turn in range(turns):
            shift = round(turn * length_s / video.time_base)
            for packet, (pts, dts) in zip(packets, times, strict=True):
                assert pts is not None
                assert dts is not None
                packet.stream, packet.time_base = stream, video.time_base
                packet.pts, packet.dts = pts + shift, dts + shift
                target.mux(packet)


def _analyse(video: Path, out: Path) -> dict[str, Any]:
    network = _Network()
    names = vars(detectors)
    opened, names["open_session"] = names["open_session"], network.open
    times: list[float] = []
    memory: list[tuple[float, float]] = []
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(memory, over))
    watcher.start()
    before = _children_s()
    cpu = time.process_time()
    try:
        analysis = Analysis(StreamerConfig(), WorkerOptions("default"), overwrite=True)
        (result,) = asyncio.run(analysis.run([(video, out)], lambda info, result: times.append(time.perf_counter())))
    finally:
        names["open_session"] = opened
        over.set()
        watcher.join()
    cpu, worker = time.process_time() - cpu, _children_s() - before
    assert result.whole, result.problem
    summary = json.loads((out / "summary.json").read_text())
    span = memory[-1][0] - times[0]
    at = {share: next(mb for when, mb in memory if when >= times[0] + share * span) for share in (0.1, 0.5)}
    return {
        "frames": result.frames,
        "people": summary["people"],
        "tracks": result.tracks,
        "frames/s": round((len(times) - 1) / (times[-1] - times[0]), 1),
        "MB at 10 %, 50 %, end": f"{at[0.1]:.0f} {at[0.5]:.0f} {memory[-1][1]:.0f}",
        "CPU ms/frame": round(1e3 * (cpu + worker) / result.frames, 2),
        "share of models": round((network.seconds + worker) / (cpu + worker), 3),
    }


class _Network:
    """The detector's network, whose CPU time is counted."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._session: Any = None

    def open(self, path: Path, device: str, count: int | None = None) -> Any:
        self._session = sessions.open_session(path, device, count)
        return self

    def run(self, *arguments: Any) -> Any:
        began = time.thread_time()
        try:
            return self._session.run(*arguments)
        finally:
            self.seconds += time.thread_time() - began

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(memory: list[tuple[float, float]], over: threading.Event) -> None:
    """Append the time (s) and the resident memory (MB) of this process and its children, each second."""
    while not over.wait(1):
        memory.append((time.perf_counter(), _resident_mb("self") + sum(map(_resident_mb, _children()))))


def _children() -> list[str]:
    lists = Path("/proc/self/task").glob("*/children")  # each thread has those that it started
    return [child for one in lists for child in one.read_text().split()]


def _resident_mb(process: str) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    sys.exit(main())
