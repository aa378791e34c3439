"""Camera to subscriber: a real RTSP server, the real streamer and worker processes, a real gRPC client."""

import re
import signal
from pathlib import Path
from urllib.request import urlopen

import pytest

from faceanalytics.v1 import tracks_pb2
from tests.conftest import SYSTEM_PYTHON
from tests.end_to_end.programs import (
    PATIENT_CAMERA,
    PATIENT_TRACK,
    Program,
    Subscriber,
    address_of,
    assert_complete,
    free_port,
    serve,
)
from tests.support.patience import WAIT_S, until
from tests.support.rtsp_server import RtspServer
from tests.support.videos import to_h264

pytestmark = pytest.mark.slow


def first_epoch(tracks: list[tracks_pb2.Track]) -> list[tracks_pb2.Track]:
    """Those of the camera's first connection: our server plays a file once per connection."""
    return [track for track in tracks if track.stream_epoch == min(track.stream_epoch for track in tracks)]


def watch_until_lost(subscriber: Subscriber, streams: list[str]) -> None:
    """Until each stream's first connection has ended with all its tracks."""

    def over() -> bool:
        for name in streams:
            begun, ended = subscriber.tracks(name, "NEW"), subscriber.tracks(name, "END")
            if not begun or {t.track_id for t in first_epoch(begun)} - {t.track_id for t in ended}:
                return False
            if not any(track.end_reason == tracks_pb2.END_REASON_SOURCE_LOST for track in first_epoch(ended)):
                return False
        return True

    until(over, f"the end of {streams}")


def check_people(subscriber: Subscriber, stream: str, people: int) -> None:
    """Check for one track per person, each published from NEW to END, analysed, and naming its model."""
    ended = first_epoch(subscriber.tracks(stream, "END"))
    assert len(ended) == people
    for track in ended:
        assert_complete(subscriber.story()[track.track_id])
        assert track.final
        assert track.samples > 0
        assert track.model_id.startswith("swinface-")
        assert len(track.expression.distribution) == 7
        assert len(track.attributes.scores) == 40
        assert not track.identity.embedding  # not asked for
        assert track.frame_width > 0
        assert track.clock_source in (tracks_pb2.CLOCK_SOURCE_RTCP_NTP, tracks_pb2.CLOCK_SOURCE_ARRIVAL)
        assert track.first_captured_at.seconds > 1_600_000_000


def test_two_cameras_over_tcp_and_udp(tmp_path: Path, patches: Path, endpoint: str, worker: Program) -> None:
    mounts = {"two": patches / "two.mp4", "one": patches / "one.mp4"}
    with RtspServer(mounts, once=True, user="operator", password="a b:c@d", digest=True) as server:
        streams = [
            {**PATIENT_CAMERA, "id": "two", "uri": server.url("two"), "transport": "tcp"},
            {**PATIENT_CAMERA, "id": "one", "uri": server.url("one"), "transport": "udp", "stall_timeout_s": 6},
        ]
        metrics = f"127.0.0.1:{free_port()}"
        settings = {"streams": streams, "metrics": {"listen": metrics}, "track": PATIENT_TRACK}
        with (
            serve(tmp_path, patches / "pose.onnx", endpoint, {}, **settings) as streamer,
            Subscriber(address_of(streamer)) as subscriber,
        ):
            worker.wait_for("connected to")
            watch_until_lost(subscriber, ["two", "one"])
            check_people(subscriber, "two", 2)
            check_people(subscriber, "one", 1)
            assert "a b:c@d" not in streamer.text
            assert "a%20b" not in streamer.text
            check_metrics(urlopen(f"http://{metrics}/metrics", timeout=WAIT_S).read().decode())
            streamer.signal(signal.SIGTERM)
            assert streamer.wait() == 128 + signal.SIGTERM


def check_metrics(text: str) -> None:
    """What happened is counted, under the names that operators know."""
    assert 'faceanalytics_tracks_ended_total{reason="source_lost",stream="two"}' in text
    assert "faceanalytics_workers_alive 1.0" in text
    for name in ("frames_decoded_total", "detections_total", "face_inference_requests_total", "stream_connects_total"):
        values = re.findall(rf'^faceanalytics_{name}{{stream="two"}} (\S+)$', text, re.MULTILINE)
        assert values, name
        assert float(values[0]) > 0
    assert float(re.findall(r"^faceanalytics_result_latency_seconds_count (\S+)$", text, re.MULTILINE)[0]) > 0


# what the clips show is written in the data folder's inventory
PEOPLE = {"head-pose-face-detection-female-and-male.gif": 2, "head-pose-face-detection-female.gif": 1}
PASSES = 4  # they last 4.6 and 1.8 s; a camera takes two seconds to connect to


@pytest.mark.shared
def test_two_real_clips(tmp_path: Path, shared: Path, endpoint: str, worker: Program) -> None:
    detector = shared / "data/weights/yolov8-lite-t-face.onnx"
    mounts = {}
    for index, name in enumerate(PEOPLE):
        mounts[f"cam{index}"] = to_h264(shared / "data/clips" / name, tmp_path / f"{index}.mp4", PASSES)
    with RtspServer(mounts, once=True) as server:
        streams = {mount: server.url(mount) for mount in mounts}
        with (
            serve(tmp_path, detector, endpoint, streams) as streamer,
            Subscriber(address_of(streamer)) as subscriber,
        ):
            watch_until_lost(subscriber, list(mounts))
            for mount, people in zip(mounts, PEOPLE.values(), strict=True):
                check_people(subscriber, mount, people)
    assert worker.process.poll() is None


@pytest.mark.shared
@pytest.mark.gstreamer
def test_a_camera_that_is_not_ours(tmp_path: Path, shared: Path, endpoint: str, worker: Program) -> None:
    """GStreamer's RTSP server, so that we do not only talk to ourselves; it loops, so the tracks end by our signal."""
    detector = shared / "data/weights/yolov8-lite-t-face.onnx"
    clip = to_h264(shared / "data/clips/asl/again.mkv", tmp_path / "again.mp4", PASSES)
    script, login = str(shared / "tools/gst_rtsp.py"), ["--user", "cam", "--password", "pw", "--digest"]
    with Program(script, "--port", "0", *login, "--mount", f"/cam={clip}", python=SYSTEM_PYTHON) as server:
        port = server.wait_for(r"ready (\d+)").group(1)
        with (
            serve(tmp_path, detector, endpoint, {"cam": f"rtsp://cam:pw@127.0.0.1:{port}/cam"}) as streamer,
            Subscriber(address_of(streamer)) as subscriber,
        ):
            until(lambda: any(t.samples > 1 for t in subscriber.tracks("cam", "UPDATE")), "two analyses")
            until(
                lambda: any(
                    t.clock_source == tracks_pb2.CLOCK_SOURCE_RTCP_NTP for t in subscriber.tracks("cam", "UPDATE")
                ),
                "the camera's own clock",
            )

            def in_view() -> bool:
                """A face is in view now, and its track has not ended: the loop may be a jump, and then it ends."""
                kind, track = subscriber.events[-1]
                return kind in ("NEW", "UPDATE") and track.state == tracks_pb2.TRACK_STATE_CONFIRMED

            until(in_view, "a face in view")
            streamer.signal(signal.SIGTERM)
            assert streamer.wait() == 128 + signal.SIGTERM
            subscriber.wait_until_over()
            ended = subscriber.tracks("cam", "END")[-1]
            assert ended.end_reason == tracks_pb2.END_REASON_SHUTDOWN
    assert worker.process.poll() is None
