"""How many cameras of 640x360 pixels and 10 frames/s two cores serve, half of them empty, half with a crowd of six.

An empty camera shows a room with the noise of a camera and a lamp that is switched on and off; a crowd are six faces
of photographs that move about. A `streamer serve` process, a worker process with the bundled weights, an RTSP server
and a gRPC subscriber run on the same two cores. After some seconds of warm-up, during WINDOW_S seconds:

- `dropped`: share of the wanted frames that were dropped because newer ones had arrived before there was time;
- `looked at`: share of the decoded frames that were searched for faces;
- `p50`, `p95`: ms from capture, by the camera's clock in RTCP, to publication, by the times in the events of tracks;
- `analysis`: 95 % of the first events with a new analysis are published this many ms after the capture of its crop;
- `age`: ms from the arrival of a frame to its detection, on average;
- `CPU`: that of streamer and worker, in % of a core per camera; `cores`: of all processes;
- `memory`: that of the streamer.

`chosen frames`: those that attention chooses, as by default; `every frame`: without it. An idle camera's cost is that
of a streamer with four empty cameras; the floor only reads and decodes them (bench_cameras.py).

`python -m tests.benchmarks.bench_live --help` says how to change the number of cameras and of seconds, and the faces.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client.parser import text_string_to_metric_families

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from tests.benchmarks.camera_clips import make_crowd, make_crowd_of, make_empty
from tests.benchmarks.live_cameras import CROWD, EMPTY, Site, site
from tests.benchmarks.pipeline_stages import process_s, resident_mb
from tests.end_to_end.programs import Program, address_of, free_port
from tests.support.patience import until

CAMERAS, MOST_OF_ALL, IDLE = (2, 6, 12), 6, 4  # cameras; up to this many with every frame; empty ones
WARM_UP_S, WINDOW_S = 6.0, 20.0
EVERY_FRAME: dict[str, object] = {"detect": {"attention": {"enabled": False}}}
OVERLOAD = ("newer", "overload")  # reasons of dropped frames that were wanted
PREFIX = "faceanalytics_"


def measure(
    cameras: tuple[int, ...] = CAMERAS, window_s: float = WINDOW_S, crowd: Path | None = None
) -> dict[str, Any]:
    """Serve these numbers of cameras one after the other, and then empty ones."""
    affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(affinity)[:2])
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            clips = {EMPTY: folder / "empty.mp4", CROWD: folder / "crowd.mp4"}
            make_empty(clips[EMPTY])
            make_crowd_of(crowd, clips[CROWD]) if crowd is not None else make_crowd(clips[CROWD])
            with site(folder, clips) as place:
                ways: dict[str, dict[str, object]] = {"chosen frames": {}, "every frame": EVERY_FRAME}
                served, idle = dict[str, Any](), dict[str, float]()
                for way, settings in ways.items():
                    for count in cameras:
                        if settings == {} or count <= MOST_OF_ALL:
                            served[f"{count:2} {way}"] = _served(place, count, "", window_s, settings)
                    idle[way] = _served(place, IDLE, EMPTY, window_s, settings)["cpu_percent_per_camera"]
                load = os.getloadavg()[1]
                return {"served": served, "idle_percent": idle, "floor_percent": _floor(place), "load": load}
    finally:
        os.sched_setaffinity(0, affinity)


def _served(place: Site, cameras: int, only: str, window_s: float, settings: dict[str, object]) -> dict[str, float]:
    port = free_port()
    config = place.config(cameras, only, metrics={"listen": f"127.0.0.1:{port}"}, **settings)
    with (
        place.worker() as worker,
        Program("streamer", "serve", "--config", config) as streamer,
        _Delays(address_of(streamer)) as delays,
    ):
        until(lambda: _counts(port)["analysed"] > 0 and _counts(port)["workers"] > 0, "frames and a worker")
        time.sleep(WARM_UP_S)
        programs = (streamer, worker, place.server)
        began, before, cpu = time.monotonic(), _counts(port), [process_s(one.process.pid) for one in programs]
        delays.begin()
        time.sleep(window_s)
        seconds, counts = time.monotonic() - began, _counts(port)
        used = [process_s(one.process.pid) - was for one, was in zip(programs, cpu, strict=True)]
        events, analyses = list(delays.events), list(delays.analyses)
        resident = resident_mb(streamer.process.pid)
    found = {name: value - before[name] for name, value in counts.items()}
    return {
        "fps": found["decoded"] / seconds / cameras,
        "dropped_percent": 100 * found["overload"] / (found["analysed"] + found["overload"]),
        "looked_at_percent": 100 * found["analysed"] / found["decoded"],
        "p50_ms": _percentile(events, 50),
        "p95_ms": _percentile(events, 95),
        "analysis_p95_ms": _percentile(analyses, 95),
        "age_ms": 1e3 * found["age_s"] / found["analysed"],
        "events": len(events),
        "cpu_percent_per_camera": 100 * sum(used[:2]) / seconds / cameras,
        "cores": sum(used) / seconds,
        "memory_mb": resident,
    }


class _Delays:
    """A subscriber to all tracks that notes how long after the capture an event was published."""

    def __init__(self, address: str) -> None:
        self.events: list[float] = []  # s, from the newest frame of an event
        self.analyses: list[float] = []  # s, from the newest analysed crop, once for each
        self._analysed: dict[str, int] = defaultdict(int)  # track id -> number of analyses
        self._channel = grpc.insecure_channel(address)
        request = tracks_pb2.WatchTracksRequest(snapshot=True)
        self._call = tracks_pb2_grpc.TrackServiceStub(self._channel).WatchTracks(request, wait_for_ready=True)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "_Delays":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._call.cancel()  # type: ignore[no-untyped-call]
        self._thread.join()
        self._channel.close()

    def begin(self) -> None:
        """Forget the events so far."""
        self.events, self.analyses = [], []

    def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):  # it was cancelled
            for message in self._call:
                if message.type in (tracks_pb2.EVENT_TYPE_NEW, tracks_pb2.EVENT_TYPE_UPDATE):
                    self._note(message.track, message.published_at)

    def _note(self, track: tracks_pb2.Track, published: Timestamp) -> None:
        self.events.append(_seconds(published) - _seconds(track.last_captured_at))
        if track.samples > self._analysed[track.track_id] and track.HasField("age"):
            self.analyses.append(_seconds(published) - _seconds(track.age.evidence.last_inferred_at))
        self._analysed[track.track_id] = track.samples


def _seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9


def _percentile(delays: list[float], share: int) -> float:
    """Return a percentile in ms; 0 without values."""
    return 1e3 * statistics.quantiles(delays, n=100)[share - 1] if len(delays) > 1 else 0.0


def _counts(port: int) -> dict[str, float]:
    """Return the sums over all cameras of the metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    sums: dict[str, float] = defaultdict(float)
    for sample in (sample for family in families for sample in family.samples):
        if sample.labels.get("reason", OVERLOAD[0]) in OVERLOAD:
            sums[sample.name.removeprefix(PREFIX)] += sample.value
    return {
        "decoded": sums["frames_decoded_total"],
        "analysed": sums["frames_analysed_total"],
        "overload": sums["frames_dropped_total"],
        "age_s": sums["frame_age_seconds_sum"],
        "workers": sums["workers_alive"],
    }


def _floor(place: Site) -> float:
    """Return the CPU time of reading and decoding an empty camera, in % of a core."""
    url = f"rtsp://127.0.0.1:{place.port}/{EMPTY}"
    command = [sys.executable, "-m", "tests.benchmarks.bench_cameras", "decode alone", url, str(IDLE)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return float(100 * found["cpu_s"] / found["wall_s"] / IDLE)


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    names = ("frames/s", "dropped", "looked at", "p50", "p95", "analysis", "age", "CPU", "cores", "memory")
    lines = ["cameras".ljust(18) + "".join(f"{name:>11}" for name in names)]
    for count, row in results["served"].items():
        cells = (
            *(f"{row['fps']:.1f}", f"{row['dropped_percent']:.1f} %", f"{row['looked_at_percent']:.0f} %"),
            *(f"{row[name]:.0f} ms" for name in ("p50_ms", "p95_ms", "analysis_p95_ms", "age_ms")),
            *(f"{row['cpu_percent_per_camera']:.1f} %", f"{row['cores']:.2f}", f"{row['memory_mb']:.0f} MB"),
        )
        lines.append(f"{count:18}" + "".join(f"{cell:>11}" for cell in cells))
    floor = results["floor_percent"]
    for way, idle in results["idle_percent"].items():
        lines.append(f"an idle camera, {way}: {idle:.1f} % of a core, {idle - floor:.1f} % beyond reading and decoding")
    lines.append(f"programs that wanted to run on this machine, these included: {results['load']:.0f}")
    return "\n".join(lines)


def main() -> None:
    """Measure as the options say, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", default=",".join(map(str, CAMERAS)))
    parser.add_argument("--seconds", type=float, default=WINDOW_S)
    parser.add_argument("--crowd", type=Path)
    options = parser.parse_args()
    print(table(measure(tuple(map(int, options.cameras.split(","))), options.seconds, options.crowd)))


if __name__ == "__main__":
    main()
