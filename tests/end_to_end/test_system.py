"""What a real streamer with a real camera and worker says of itself, over gRPC and by `streamer status`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from faceanalytics.v1 import streams_pb2, streams_pb2_grpc, system_pb2, system_pb2_grpc, tracks_pb2, tracks_pb2_grpc
from tests.end_to_end.programs import PATIENT_TRACK, Program, address_of, serve
from tests.support.patience import WAIT_S, until
from tests.support.rtsp_server import RtspServer

pytestmark = pytest.mark.slow


def status(address: str, *options: str) -> str:
    command = [sys.executable, "-m", "streamer", "status", address, "--timeout", str(WAIT_S), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_streamer_describes_itself(tmp_path: Path, patches: Path, endpoint: str, worker: Program) -> None:
    with RtspServer({"two": patches / "two.mp4"}) as server:
        cameras = {"two": server.url("two")}
        store = {"folder": str(tmp_path / "store")}
        with (
            serve(tmp_path, patches / "detector.onnx", endpoint, cameras, track=PATIENT_TRACK, store=store) as program,
            grpc.insecure_channel(address_of(program)) as channel,
        ):
            address = address_of(program)
            system = system_pb2_grpc.SystemServiceStub(channel)

            def stats() -> system_pb2.GetStatsResponse:
                return system.GetStats(system_pb2.GetStatsRequest(), timeout=WAIT_S)

            until(lambda: stats().latency.results > 0, "a result was published")
            now = stats()
            assert now.frames.decoded >= now.frames.analysed > 0
            assert now.tracks.detections >= now.tracks.active
            assert now.crops.sent >= now.latency.results > 0
            assert (now.crops.workers, now.subscribers.watching) == (1, 0)
            assert 0 < now.latency.p50.ToMicroseconds() <= now.latency.p95.ToMicroseconds()
            watch = tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks(tracks_pb2.WatchTracksRequest(snapshot=True))
            first: tracks_pb2.WatchTracksResponse = next(iter(watch))
            assert first.instance_id == now.process.instance_id
            assert stats().subscribers.watching == 1

            def capacity() -> system_pb2.GetCapacityResponse:
                return system.GetCapacity(system_pb2.GetCapacityRequest(), timeout=WAIT_S)

            until(lambda: capacity().HasField("more_streams"), "the room for more cameras is known")
            busy = capacity()
            assert busy.streams_running == 1
            assert 0 < busy.detector_use <= 1
            assert busy.HasField("worker_use")
            assert busy.limited_by != system_pb2.CAPACITY_LIMIT_UNSPECIFIED

            def store_now() -> system_pb2.GetStoreResponse:
                return system.GetStore(system_pb2.GetStoreRequest(), timeout=WAIT_S)

            until(lambda: store_now().HasField("contents"), "a busy machine has counted in time")
            kept = store_now()
            assert kept.kind == system_pb2.STORE_KIND_SQLITE
            assert kept.state.sequence >= kept.contents.rows["events"]
            get = streams_pb2.GetStreamRequest(stream_id="two")
            camera = streams_pb2_grpc.StreamServiceStub(channel).GetStream(get, timeout=WAIT_S).stream
            assert camera.origin == streams_pb2.STREAM_ORIGIN_CONFIGURATION
            assert camera.frames_decoded >= camera.frames_analysed

            text = status(address)
            latency = r"results after [\d.]+ s \(95 %: [\d.]+ s\)"
            for line in (
                r"SERVING, 1 worker, 1 stream \((1 overloaded, )?1 running\)",
                rf"version \S+, up \d+ \w+, {latency}, \d+ faces? now, 1 watching, [\d.]+ MB",
                r"busy: detector \d+ %, workers \d+ %, processors \d+ %; (room for|no room)",
                r"store: sqlite(, keeps \d+ events and \d+ tracks, the oldest event \d+ \w+ old, [\d.]+ MB)?",
            ):
                assert re.search(line, text), text
            plain = json.loads(status(address, "--json"))
            assert {"address", "status", "services", "models", "streams", "stats", "capacity", "store"} == set(plain)
            ParseDict(plain["stats"], system_pb2.GetStatsResponse())
            ParseDict(plain["capacity"], system_pb2.GetCapacityResponse())
            ParseDict(plain["store"], system_pb2.GetStoreResponse())
            watch.cancel()  # type: ignore[no-untyped-call]
