"""The streamer and a worker as processes, with looped clips as cameras: added until frames are dropped.

One streamer process first, then several that share the GPU and the worker, because one thread observes all cameras of
a process. Cameras hold if they are decoded at their pace and less than one wanted frame in a hundred is dropped.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import psutil
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from faceanalytics.v1 import streams_pb2, streams_pb2_grpc
from tests.gpu.clips import FPS, make_clip
from tests.gpu.run import Run
from tests.gpu.weights import seeded_weights

SIZE, FRAMES = (1920, 1080), 200
QUICK = (640, 384), 25
STEPS, QUICK_STEPS = (4, 8, 16, 32, 48, 64, 96, 128, 192), (1, 2)  # cameras
PROCESSES = (1, 8)  # with two cores for each, at least
SETTLE_S, MEASURE_S = 2.5, 4.0
MOST_DROPPED = 0.01  # of the frames that were decoded
LEAST_PACE = 0.97  # of the clip's frames/s
LOST = ("newer", "overload", "corrupt")  # reasons of frames that were wanted; others are skipped on purpose
STAGES = ("frame_age_seconds", "inference_seconds", "result_latency_seconds")
START_S, ANSWER_S = 60.0, 5.0
GOAL = 60  # cameras
Totals = dict[str, float]


def measure(run: Run) -> None:
    size, frames = QUICK if run.quick else (SIZE, FRAMES)
    clip = make_clip(run.folder / "camera.mp4", size, frames)
    run.add("clip", f"{size[0]}x{size[1]} at {FPS}/s")
    best = 0
    cores = len(os.sched_getaffinity(0))
    for processes in PROCESSES[:1] if run.quick else sorted({min(each, max(1, cores // 2)) for each in PROCESSES}):
        with _Service(run, clip, processes) as service:
            for cameras in QUICK_STEPS if run.quick else STEPS:
                if cameras < best or run.left_s < SETTLE_S + MEASURE_S + 3:
                    continue
                row = service.with_cameras(cameras)
                run.add(f"{processes}_processes_{cameras}_cameras", row)
                if not row["holds"]:
                    break
                best = cameras
    run.add("most_cameras", best)
    if run.on_gpu:
        run.goal(f"cameras of {size[0]}x{size[1]} at {FPS}/s", best, GOAL)
    else:
        run.note("decoding and models on a GPU")


class _Service:
    """Streamers that share one worker. Raises RuntimeError with what a program said if it ends."""

    def __init__(self, run: Run, clip: Path, processes: int) -> None:
        self._run, self._clip, self._count = run, clip, processes
        self._cameras = 0

    def __enter__(self) -> "_Service":
        with ExitStack() as stack:
            endpoints = [f"ipc://{self._run.folder}/w{self._count}-{number}.ipc" for number in range(self._count)]
            self._listen = [(_free_port(), _free_port()) for _ in endpoints]
            programs = [
                stack.enter_context(self._streamer(number, endpoint, *ports))
                for number, (endpoint, ports) in enumerate(zip(endpoints, self._listen, strict=True))
            ]
            self.programs = [*programs, stack.enter_context(self._worker(endpoints))]
            channels = [stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}")) for port, _ in self._listen]
            self._streams = [streams_pb2_grpc.StreamServiceStub(channel) for channel in channels]
            for channel in channels:
                self._wait_for(channel)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def with_cameras(self, cameras: int) -> dict[str, Any]:
        """Add cameras up to this number, and measure for some seconds."""
        for number in range(self._cameras, cameras):
            settings = streams_pb2.StreamSettings(uri=str(self._clip), loop=True)
            request = streams_pb2.CreateStreamRequest(stream_id=f"camera-{number}", settings=settings)
            self._streams[number % self._count].CreateStream(request, timeout=ANSWER_S)
        self._cameras = cameras
        quick = self._run.quick
        time.sleep(1.0 if quick else SETTLE_S)
        self._check()
        before, cpu, began = self._totals(), self._cpu_s(), time.monotonic()
        time.sleep(1.0 if quick else MEASURE_S / 2)
        load = _gpu_load() if self._run.on_gpu else ""
        time.sleep(1.0 if quick else MEASURE_S / 2)
        after, took = self._totals(), time.monotonic() - began
        rates = {name: (after[name] - before.get(name, 0.0)) / took for name in after}
        return _judged(rates, cameras, (self._cpu_s() - cpu) / took, load)

    @contextmanager
    def _streamer(self, number: int, endpoint: str, port: int, metrics: int) -> Iterator["subprocess.Popen[bytes]"]:
        config = {
            "sources": {"decode_device": self._run.device, "folders": [str(self._clip.parent)]},
            "detect": {"device": self._run.device},
            "dispatch": {"bind": endpoint, "batch": 64},
            "publish": {"listen": f"127.0.0.1:{port}"},
            "metrics": {"listen": f"127.0.0.1:{metrics}"},
            "store": None,  # the cameras of one measurement must not return in the next
            "drain_s": 1,
        }
        path = self._run.folder / f"streamer-{self._count}-{number}.yaml"
        path.write_text(yaml.safe_dump(config))
        with _program("streamer", "serve", "--config", str(path)) as program:
            yield program

    @contextmanager
    def _worker(self, endpoints: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
        options = [option for endpoint in endpoints for option in ("--connect", endpoint)]
        if self._run.on_gpu:
            weights = str(seeded_weights(self._run.folder))
            options += ["--weights", weights, "--device", self._run.device, "--precision", "bf16", "--max-batch", "64"]
        else:
            options += ["--weights", "default", "--threads", "1"]  # the small network
        with _program("workers.serve", *options) as program:
            yield program

    def _wait_for(self, channel: grpc.Channel) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            self._check()
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=ANSWER_S)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                pass  # it does not listen yet
            time.sleep(0.2)
        raise RuntimeError(f"a streamer and its worker did not start within {START_S:g} s")

    def _check(self) -> None:
        for program in self.programs:
            if program.poll() is not None:
                which = "the worker" if program is self.programs[-1] else "a streamer"
                raise RuntimeError(f"{which} ended with exit code {program.returncode}; see above")

    def _totals(self) -> Totals:
        """Return the metrics of all streamers, summed over streams."""
        found: Totals = {}
        for _, port in self._listen:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=ANSWER_S) as answer:
                text = answer.read().decode()
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    name = sample.name.removeprefix("faceanalytics_")
                    name += "".join(
                        f" {sample.labels[label]}" for label in ("reason", "stage") if label in sample.labels
                    )
                    if not name.endswith("_bucket"):
                        found[name] = found.get(name, 0.0) + sample.value
        return found

    def _cpu_s(self) -> float:
        self._check()
        return sum(sum(psutil.Process(program.pid).cpu_times()[:2]) for program in self.programs)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def _program(module: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `python -m module`; what it says goes to the output of this section."""
    command = [sys.executable, "-m", module, *arguments]
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        yield program
    finally:
        program.terminate()
        try:
            program.wait(5)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait(5)


def _judged(rates: Mapping[str, float], cameras: int, cores: float, load: str) -> dict[str, Any]:
    dropped = {name.split(" ", 1)[1]: rate for name, rate in rates.items() if name.startswith("frames_dropped_total ")}
    decoded = rates.get("frames_decoded_total", 0.0)
    lost = sum(dropped.get(reason, 0.0) for reason in LOST)
    analysed = rates.get("frames_analysed_total", 0.0)
    stages = {
        f"{name}{stage}": 1e3 * rates[f"{name}_sum{stage}"] / count
        for name in STAGES
        for key, count in rates.items()
        if key.startswith(f"{name}_count") and count > 0
        for stage in [key.removeprefix(f"{name}_count")]
    }
    return {
        "decoded_per_s": decoded,
        "analysed_per_s": analysed,
        "dropped_per_s": dropped,
        "faces_per_s": rates.get("detections_total", 0.0),
        "analyses_per_s": rates.get("face_inference_requests_total", 0.0),
        "mean_ms": stages,
        "cores": cores,
        "gpu": load,
        "holds": bool(decoded >= LEAST_PACE * FPS * cameras and lost <= MOST_DROPPED * decoded),
    }


def _gpu_load() -> str:
    """Return what nvidia-smi says of the GPU: computing, decoding, memory."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "nvidia-smi not found"
    query = "--query-gpu=utilization.gpu,utilization.decoder,memory.used"
    done = subprocess.run(
        [program, query, "--format=csv,noheader"], capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout.strip()


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as text."""
    found = [f"clips of {figures.get('clip')}; most cameras: {figures.get('most_cameras', 'not finished')}"]
    for name, row in figures.items():
        if not isinstance(row, dict):
            continue
        processes, _, cameras, _ = name.split("_")
        dropped = ", ".join(f"{reason} {rate:.1f}" for reason, rate in row["dropped_per_s"].items() if rate) or "none"
        times = ", ".join(f"{stage} {value:.1f}" for stage, value in row["mean_ms"].items())
        found.append(
            f"{processes} streamers, {cameras} cameras {'hold' if row['holds'] else 'do not hold'}: per second "
            f"{row['decoded_per_s']:.1f} frames decoded, {row['analysed_per_s']:.1f} analysed, dropped {dropped}, "
            f"{row['faces_per_s']:.0f} faces, {row['analyses_per_s']:.0f} analyses; {row['cores']:.1f} cores; "
            f"mean ms: {times}" + (f"; GPU: {row['gpu']}" if row["gpu"] else "")
        )
    return found
