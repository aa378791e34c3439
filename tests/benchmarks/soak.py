"""An hour of trouble in some minutes: does a running streamer with its worker keep its size?

`python -m tests.benchmarks.soak --minutes 10` starts a streamer, a worker and four cameras with faces. Each round of
some seconds does what happens to an installation every few minutes: a camera is killed and comes back, another is
removed and added again, a third freezes, a subscriber comes, reads and goes, and one vanishes without a word. Memory,
threads, descriptors and metric series of streamer and worker are read after each round. The table shows them after
the first fifth and at the end, with the slope of the memory in the second half; exit code 1 if something grew.
"""

import argparse
import itertools
import json
import os
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import grpc
import numpy as np

from faceanalytics.v1 import streams_pb2, streams_pb2_grpc
from tests.end_to_end.programs import Program, Subscriber, address_of, free_port, serve
from tests.support.patch_detector import make_patch_video, write_lite_patch_detector
from tests.support.patience import until

ROUND_S = 5.0
CAMERAS = 4
# What may be there later for the first time: threads of pools, reasons of drops, history of tracks.
GROWTH = {"threads": 8, "descriptors": 8, "series": 10, "memory_mb": 60.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        samples = _soak(Path(folder), minutes * 60)
    return _report(samples)


def _soak(folder: Path, seconds: float) -> list[dict[str, dict[str, float]]]:
    film = make_patch_video(folder / "film.mp4", seconds=60, faces=3, speed=10.0)
    metrics = free_port()
    samples = []
    with _Cameras(film) as cameras:
        streams = {f"cam-{number}": cameras.url(number) for number in range(CAMERAS)}
        bind, listen = f"ipc://{folder}/workers", {"listen": f"127.0.0.1:{metrics}"}
        with (
            serve(
                folder,
                write_lite_patch_detector(folder / "detector.onnx"),
                bind,
                streams,
                metrics=listen,
                store={"folder": str(folder / "store")},
            ) as streamer,
            Program("workers.serve", "--connect", bind, "--weights", "untrained", "--device", "cpu") as worker,
        ):
            address = address_of(streamer)
            with Subscriber(address) as watcher:
                until(lambda: bool(watcher.tracks("cam-0", "UPDATE")), "analyses")
            ends = time.monotonic() + seconds
            for number in itertools.count():
                _trouble(number, address, cameras, streams)
                samples.append({"streamer": _held(streamer, metrics), "worker": _held(worker, None)})
                if time.monotonic() > ends:
                    return samples
    return samples


class _Cameras:
    """One server process per camera, so that one can be killed."""

    def __init__(self, film: Path) -> None:
        self._film = film
        self._servers: list[Program] = []
        self._ports: list[str] = []

    def __enter__(self) -> "_Cameras":
        for _ in range(CAMERAS):
            self._servers.append(self._start("0"))
            self._ports.append(self._servers[-1].wait_for(r"ready (\d+)").group(1))
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers:
            server.process.kill()
            server.process.wait()

    def url(self, number: int) -> str:
        return f"rtsp://127.0.0.1:{self._ports[number]}/cam"

    def kill_and_replace(self, number: int) -> None:
        with self._servers[number]:
            self._servers[number].process.kill()
        self._servers[number] = self._start(self._ports[number])

    def freeze_or_thaw(self, number: int) -> None:
        self._servers[number].signal(signal.SIGUSR1)

    def _start(self, port: str) -> Program:
        return Program("tests.support.rtsp_server", "--port", port, "--mount", f"cam={self._film}")


def _trouble(number: int, address: str, cameras: _Cameras, streams: dict[str, str]) -> None:
    """Do one round of trouble; camera 0 is left in peace."""
    began = time.monotonic()
    cameras.kill_and_replace(1)
    with grpc.insecure_channel(address) as channel:
        stub = streams_pb2_grpc.StreamServiceStub(channel)
        stub.DeleteStream(streams_pb2.DeleteStreamRequest(stream_id="cam-2"))
        settings = streams_pb2.StreamSettings(uri=streams["cam-2"])
        stub.CreateStream(streams_pb2.CreateStreamRequest(stream_id="cam-2", settings=settings))
    cameras.freeze_or_thaw(3)
    with Subscriber(address) as watcher:
        until(lambda: bool(watcher.tracks("cam-0", "UPDATE")), f"updates in round {number}")
    with Program("streamer", "watch", address, "--json") as vanishing:
        until(lambda: len(vanishing.lines) > 1 or time.monotonic() - began > 4 * ROUND_S, "events")
        vanishing.signal(signal.SIGKILL)
    cameras.freeze_or_thaw(3)
    time.sleep(max(0.0, ROUND_S - (time.monotonic() - began)))


def _held(program: Program, metrics: int | None) -> dict[str, float]:
    """What a process holds."""
    folder = Path(f"/proc/{program.process.pid}")
    pages = int((folder / "statm").read_text().split()[1])
    held = {
        "memory_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "threads": len(list((folder / "task").iterdir())),
        "descriptors": len(list((folder / "fd").iterdir())),
    }
    if metrics is not None:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics") as answer:
            held["series"] = sum(not line.startswith(b"#") for line in answer)
    return held


def _report(samples: list[dict[str, dict[str, float]]]) -> int:
    grew = []
    fifth = max(1, len(samples) // 5)
    print(f"{len(samples)} rounds of trouble")
    for program in samples[0]:
        for name in samples[0][program]:
            values = [sample[program][name] for sample in samples]
            before, after = statistics.median(values[fifth : 2 * fifth]), statistics.median(values[-fifth:])
            half = np.array(values[len(values) // 2 :])
            slope = float(np.polyfit(np.arange(len(half)), half, 1)[0]) if len(half) > 2 else 0.0
            print(f"{program:9} {name:12} {before:9.1f} -> {after:9.1f}   {slope:+.3f} per round at the end")
            if after > before + GROWTH[name]:
                grew.append(f"{program} {name}")
    print(json.dumps({"grew": grew}))
    return 1 if grew else 0


if __name__ == "__main__":
    sys.exit(main())
