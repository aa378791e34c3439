"""What survives when the streamer itself is killed: its events, its tracks, and the streams added over gRPC."""

import json
import signal
from pathlib import Path

import grpc
import pytest

from faceanalytics.v1 import streams_pb2, streams_pb2_grpc, tracks_pb2, tracks_pb2_grpc
from tests.end_to_end import programs
from tests.end_to_end.programs import PATIENT_TRACK, SLOW_FACE, Program, address_of
from tests.support.patch_detector import make_patch_video
from tests.support.patience import until
from tests.support.receiver import SECRET, Receiver

pytestmark = pytest.mark.slow


def serve(folder: Path, detector: Path, endpoint: str, streams: dict[str, str]) -> Program:
    settings: dict[str, object] = {"folder": str(folder / "store"), "checkpoint_s": 0.2}
    sources = {"folders": [str(folder)]}
    return programs.serve(folder, detector, endpoint, streams, track=PATIENT_TRACK, store=settings, sources=sources)


def story(lines: list[str]) -> list[tuple[str, str, str]]:
    """Kind, track and reason of the events that `streamer watch --json` printed, without updates."""
    events = [json.loads(line) for line in lines if line.startswith("{")]
    kinds = ("EVENT_TYPE_NEW", "EVENT_TYPE_END", "EVENT_TYPE_GAP")
    return [
        (one["type"].removeprefix("EVENT_TYPE_"), one["track"]["track_id"], one["track"]["end_reason"])
        for one in events
        if one["type"] in kinds
    ]


def test_a_killed_streamer_ends_its_tracks_when_it_returns_and_a_client_misses_nothing(
    tmp_path: Path, patches: Path, endpoint: str
) -> None:
    film = make_patch_video(tmp_path / "three.mp4", seconds=60, faces=3, speed=SLOW_FACE)
    token = tmp_path / "token"
    detector = patches / "detector.onnx"
    with serve(tmp_path, detector, endpoint, {}) as streamer:
        with Program("streamer", "watch", address_of(streamer), "--json", "--resume", token) as watch:
            until(token.exists, "the watch begins")  # before the stream does, else tracks are in its snapshot
            with grpc.insecure_channel(address_of(streamer)) as channel:
                settings = streams_pb2.StreamSettings(uri=str(film), loop=True)
                request = streams_pb2.CreateStreamRequest(stream_id="added", settings=settings)
                streams_pb2_grpc.StreamServiceStub(channel).CreateStream(request)
            until(lambda: len(story(watch.lines)) >= 3, "three tracks")
            before = story(watch.lines)
            watch.signal(signal.SIGKILL)
            watch.wait()
        streamer.signal(signal.SIGKILL)
        streamer.wait()
    assert [kind for kind, _, _ in before] == ["NEW"] * 3
    with serve(tmp_path, detector, endpoint, {}) as streamer:  # the stream returns, too
        address = address_of(streamer)
        assert "3 tracks were open when the last run died" in streamer.text
        with Program("streamer", "watch", address, "--json", "--resume", token) as watch:
            until(lambda: len(story(watch.lines)) >= 6, "three ends and three new tracks")
            after = story(watch.lines)[:6]
            watch.signal(signal.SIGTERM)
            watch.wait()
        with grpc.insecure_channel(address) as channel:
            service = tracks_pb2_grpc.TrackServiceStub(channel)
            past = service.ListTracks(
                tracks_pb2.ListTracksRequest(
                    past=True,
                    stream_ids=["added"],
                    filter=tracks_pb2.TrackFilter(states=[tracks_pb2.TRACK_STATE_ENDED]),
                )
            )
            streams_pb2_grpc.StreamServiceStub(channel).DeleteStream(streams_pb2.DeleteStreamRequest(stream_id="added"))
        streamer.signal(signal.SIGTERM)
        assert streamer.wait() == 128 + signal.SIGTERM
    names = [track for _, track, _ in before]
    assert after[:3] == [("END", name, "END_REASON_INTERRUPTED") for name in sorted(names)]
    assert [kind for kind, _, _ in after[3:]] == ["NEW"] * 3
    assert [track.track_id for track in past.tracks] == sorted(names)
    with serve(tmp_path, detector, endpoint, {}) as streamer:
        assert address_of(streamer)
        assert "serving 0 streams" in streamer.text


def test_without_a_store_nothing_is_written(tmp_path: Path, patches: Path, endpoint: str) -> None:
    with programs.serve(tmp_path, patches / "detector.onnx", endpoint, {}, store=None) as streamer:
        address_of(streamer)
        streamer.signal(signal.SIGTERM)
        assert streamer.wait() == 128 + signal.SIGTERM
    assert {path.name for path in tmp_path.iterdir()} <= {"serve.yaml"}


def test_sinks_deliver_what_the_streamer_publishes_and_the_rest_after_a_restart(
    tmp_path: Path, patches: Path, endpoint: str
) -> None:
    film = make_patch_video(tmp_path / "three.mp4", seconds=60, faces=3, speed=SLOW_FACE)
    (tmp_path / "secret").write_text(SECRET)
    port = programs.free_port()
    webhook = {"type": "webhook", "name": "hook", "url": f"http://127.0.0.1:{port}/?key=geheim"}
    settings: dict[str, object] = {
        "track": PATIENT_TRACK,
        "store": {"folder": str(tmp_path / "store")},
        "sinks": [
            {"type": "files", "name": "file", "folder": str(tmp_path / "out"), "events": ["NEW", "END", "CAMERA"]},
            {**webhook, "secret_file": str(tmp_path / "secret"), "retry": {"initial_s": 0.1}},
        ],
    }
    detector, path = patches / "detector.onnx", tmp_path / "out" / "file.jsonl"
    with programs.serve(tmp_path, detector, endpoint, {"door": str(film)}, **settings) as streamer:
        address_of(streamer)
        until(lambda: path.exists() and path.read_text().count("track.new") >= 3, "three tracks in the file")
        until(
            lambda: "sink hook:" in streamer.text and "events wait in the store" in streamer.text, "a line in the log"
        )
        streamer.signal(signal.SIGTERM)
        assert streamer.wait() == 128 + signal.SIGTERM
        assert "of the log wait in the store for the next start" in streamer.text
        assert "geheim" not in streamer.text
    found = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = [(one["type"].removeprefix("faceanalytics."), one["data"].get("end_reason")) for one in found]
    assert kinds[:3] == [("track.new", "END_REASON_UNSPECIFIED")] * 3
    assert sorted(kinds[3:]) == [("track.end", "END_REASON_SHUTDOWN")] * 3  # delivered while it was stopping
    with Program("streamer", "store", "status", "--config", tmp_path / "serve.yaml") as status:
        assert status.wait() == 0
    assert "sink file: at event 6, 0 events behind" in status.text
    assert "sink hook: at event 0, 6 events behind" in status.text
    with Receiver(port) as receiver, programs.serve(tmp_path, detector, endpoint, {}, **settings) as streamer:
        until(lambda: len(receiver.events) >= 6, "what waited")
        streamer.signal(signal.SIGTERM)
        assert streamer.wait() == 128 + signal.SIGTERM
    assert "geheim" not in streamer.text
    assert [one["id"] for one in receiver.events] == [one["id"] for one in found]
    assert [one["data"] for one in receiver.events] == [one["data"] for one in found]
