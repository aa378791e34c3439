"""What happens when parts die, hang or are asked to stop."""

import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from tests.end_to_end import programs
from tests.end_to_end.programs import (
    PATIENT_TRACK,
    SLOW_FACE,
    Program,
    Subscriber,
    address_of,
    assert_complete,
)
from tests.support.patch_detector import make_patch_video
from tests.support.patience import FOREVER_S, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute with three faces."""
    return make_patch_video(tmp_path_factory.mktemp("film") / "three.mp4", seconds=60, faces=3, speed=SLOW_FACE)


@pytest.fixture
def camera(film: Path) -> Iterator[Program]:
    with Program("tests.support.rtsp_server", "--mount", f"cam={film}") as server:
        server.wait_for(r"ready (\d+)")
        yield server


def serve(folder: Path, detector: Path, endpoint: str, cameras: dict[str, str], **settings: object) -> Program:
    """A streamer that keeps the three tracks of the film."""
    return programs.serve(folder, detector, endpoint, cameras, track=PATIENT_TRACK, **settings)


def url(server: Program) -> str:
    port = server.wait_for(r"ready (\d+)").group(1)
    return f"rtsp://127.0.0.1:{port}/cam"


def samples(subscriber: Subscriber) -> int:
    return max((track.samples for track in subscriber.tracks("cam", "UPDATE")), default=0)


def test_a_worker_killed_in_the_middle_of_a_batch_is_replaced(
    tmp_path: Path, patches: Path, camera: Program, small_file: Path
) -> None:
    bind = f"ipc://{tmp_path}/w"
    options = ("--connect", bind, "--weights", small_file, "--device", "cpu")
    settings = {"schedule": {"per_track_per_second": 10, "expression_step": 0.01}}  # always a batch under way
    dispatch = {"bind": bind, "batch": 4, "worker_silent_s": 3}
    with (
        serve(
            tmp_path, patches / "detector.onnx", bind, {"cam": url(camera)}, dispatch=dispatch, **settings
        ) as streamer,
        Program("workers.serve", *options) as first,
        Program("workers.serve", *options) as second,
        Subscriber(address_of(streamer)) as subscriber,
    ):
        until(lambda: samples(subscriber) >= 2, "analyses")
        until(lambda: streamer.text.count("connected: model swinface-") == 2, "both workers")
        second.signal(signal.SIGSTOP)  # a worker that hangs is as good as dead
        first.signal(signal.SIGKILL)
        streamer.wait_for("has fallen silent|cannot be reached")
        before = samples(subscriber)
        with Program("workers.serve", *options):
            until(lambda: samples(subscriber) > before + 2, "analyses by the new worker")
        assert len({track.track_id for track in subscriber.tracks("cam", "NEW")}) == 3  # the tracks went on
        second.signal(signal.SIGCONT)
        assert streamer.process.poll() is None


def test_a_streamer_that_is_killed_is_replaced_while_the_worker_lives(
    tmp_path: Path, patches: Path, camera: Program, endpoint: str, worker: Program
) -> None:
    for attempt in range(2):
        with serve(tmp_path, patches / "detector.onnx", endpoint, {"cam": url(camera)}) as streamer:
            with Subscriber(address_of(streamer)) as subscriber:
                until(lambda: samples(subscriber) >= 1, f"analyses, streamer {attempt}")
            streamer.signal(signal.SIGKILL)
            assert streamer.wait() == -signal.SIGKILL
    assert worker.process.poll() is None


def test_a_camera_that_is_killed_comes_back_while_the_other_runs_on(
    tmp_path: Path, patches: Path, film: Path, camera: Program, endpoint: str, worker: Program
) -> None:
    with Program("tests.support.rtsp_server", "--mount", f"cam={film}") as dying:
        streams = {"cam": url(camera), "dying": url(dying)}
        port = dying.wait_for(r"ready (\d+)").group(1)
        with (
            serve(tmp_path, patches / "detector.onnx", endpoint, streams) as streamer,
            Subscriber(address_of(streamer)) as subscriber,
        ):
            until(lambda: len(subscriber.tracks("dying", "NEW")) == 3, "three faces")
            dying.signal(signal.SIGKILL)
            until(lambda: len(subscriber.tracks("dying", "END")) == 3, "their ends")
            lost = subscriber.tracks("dying", "END")
            assert {track.end_reason for track in lost} == {tracks_pb2.END_REASON_SOURCE_LOST}
            with Program("tests.support.rtsp_server", "--port", port, "--mount", f"cam={film}"):
                until(lambda: len(subscriber.tracks("dying", "NEW")) == 6, "three faces again")
                again = subscriber.tracks("dying", "NEW")[3:]
                assert min(track.stream_epoch for track in again) > max(track.stream_epoch for track in lost)
                assert not {track.track_id for track in again} & {track.track_id for track in lost}
            assert subscriber.tracks("cam", "END") == []
            assert len(subscriber.tracks("cam", "NEW")) == 3
    assert worker.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_ends_each_track_within_the_time_to_drain(
    tmp_path: Path, patches: Path, camera: Program, endpoint: str, worker: Program, number: signal.Signals
) -> None:
    settings = {"schedule": {"per_track_per_second": 20, "expression_step": 0.01}, "drain_s": FOREVER_S}
    with (
        serve(tmp_path, patches / "detector.onnx", endpoint, {"cam": url(camera)}, **settings) as streamer,
        Subscriber(address_of(streamer)) as subscriber,
    ):
        until(lambda: len(subscriber.tracks("cam", "NEW")) == 3 and samples(subscriber) > 0, "three faces")
        streamer.signal(number)
        assert streamer.wait() == 128 + number
        subscriber.wait_until_over()
        for story in subscriber.story().values():
            assert_complete(story)
        assert {track.end_reason for track in subscriber.tracks("cam", "END")} == {tracks_pb2.END_REASON_SHUTDOWN}
    assert worker.process.poll() is None


def test_a_signal_without_any_worker_ends_too(tmp_path: Path, patches: Path, camera: Program) -> None:
    with (
        serve(tmp_path, patches / "detector.onnx", f"ipc://{tmp_path}/w", {"cam": url(camera)}) as streamer,
        Subscriber(address_of(streamer)) as subscriber,
    ):
        until(lambda: len(subscriber.tracks("cam", "NEW")) == 3, "three faces")
        streamer.signal(signal.SIGTERM)
        assert streamer.wait() == 128 + signal.SIGTERM
        subscriber.wait_until_over()
        assert len(subscriber.tracks("cam", "END")) == 3
        assert {track.samples for track in subscriber.tracks("cam", "END")} == {0}


def test_a_subscriber_that_stops_reading_disturbs_no_one(
    tmp_path: Path, patches: Path, camera: Program, endpoint: str, worker: Program
) -> None:
    publish = {"listen": "127.0.0.1:0", "heartbeat_s": 0.2, "update_interval_s": 0.01}
    with serve(tmp_path, patches / "detector.onnx", endpoint, {"cam": url(camera)}, publish=publish) as streamer:
        address = address_of(streamer)
        with grpc.insecure_channel(address) as channel:
            request = tracks_pb2.WatchTracksRequest(include_embedding=True)
            stalled = tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks(request, wait_for_ready=True)
            assert next(iter(stalled)) is not None  # and never again
            with Subscriber(address) as subscriber:
                until(lambda: len(subscriber.tracks("cam", "UPDATE")) > 200, "200 updates for the other one")
                assert subscriber.error is None
            streamer.signal(signal.SIGTERM)
            assert streamer.wait() == 128 + signal.SIGTERM
            stalled.cancel()  # type: ignore[no-untyped-call]
    assert worker.process.poll() is None
