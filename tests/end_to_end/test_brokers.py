"""A streamer beside a broker that stops and returns: who listens there knows what the streamer knows."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end import programs
from tests.end_to_end.programs import PATIENT_TRACK, SLOW_FACE
from tests.support.brokers import HOST, mosquitto
from tests.support.patch_detector import make_patch_video
from tests.support.patience import until

pytestmark = [pytest.mark.slow, pytest.mark.mosquitto]


@contextmanager
def listening(port: int, file: Path) -> Iterator[None]:
    """mosquitto's own subscriber, with a session that the broker keeps. It writes topic and message on a line."""
    command = ["mosquitto_sub", "-h", HOST, "-p", str(port), "-t", "#", "-v", "-q", "1", "-c", "-i", "listener"]
    with file.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL) as process:
        yield
        process.terminate()


def heard(file: Path) -> list[tuple[str, str]]:
    """Topic and message of each whole line."""
    lines = file.read_text().split("\n")[:-1]
    return [(topic, text) for topic, _, text in (line.partition(" ") for line in lines)]


def last(file: Path, topic: str) -> str | None:
    """The newest message of a topic."""
    return next((text for one, text in reversed(heard(file)) if one == topic), None)


def test_a_broker_that_restarts_knows_everything_again(tmp_path: Path, patches: Path, endpoint: str) -> None:
    film = make_patch_video(tmp_path / "three.mp4", seconds=60, faces=3, speed=SLOW_FACE)
    output = tmp_path / "heard"
    with mosquitto() as broker, listening(broker.port, output):
        sink = {"type": "mqtt", "name": "home", "host": HOST, "port": broker.port, "home_assistant": {}}
        settings = {"track": PATIENT_TRACK, "store": {"folder": str(tmp_path / "store")}}
        quick = {"retry": {"initial_s": 0.1, "max_s": 0.5}}
        with programs.serve(
            tmp_path, patches / "detector.onnx", endpoint, {"door": str(film)}, sinks=[{**sink, **quick}], **settings
        ) as streamer:
            until(lambda: last(output, "faceanalytics/door/faces") == "3", "three faces")
            assert last(output, "faceanalytics/available") == "online"
            assert last(output, "faceanalytics/door/state") == "running"
            before = len(heard(output))
            broker.stop()
            broker.start()
            until(
                lambda: ("faceanalytics/available", "online") in heard(output)[before:],
                "the streamer is online again, without any event",
            )
            until(lambda: ("faceanalytics/door/faces", "3") in heard(output)[before:], "three faces again")
            streamer.signal(signal.SIGTERM)
            assert streamer.wait() == 128 + signal.SIGTERM
            until(lambda: last(output, "faceanalytics/available") == "offline", "offline")
        assert last(output, "faceanalytics/door/faces") == "0"
    events = [json.loads(text) for topic, text in heard(output) if topic == "faceanalytics/events"]
    by_id = {event["id"]: event for event in events}
    kinds = [event["type"].rpartition(".")[2] for event in by_id.values()]
    assert sorted(kinds) == ["end"] * 3 + ["new"] * 3
    ends = [event["data"] for event in by_id.values() if event["type"].endswith(".end")]
    assert {end["end_reason"] for end in ends} == {"END_REASON_SHUTDOWN"}
    found = [topic for topic, text in heard(output) if topic.startswith("homeassistant/") and text]
    assert len(set(found)) == 3


def test_a_broker_that_is_absent_at_the_start_does_not_stop_the_streamer(
    tmp_path: Path, patches: Path, endpoint: str
) -> None:
    film = make_patch_video(tmp_path / "three.mp4", seconds=60, faces=1, speed=SLOW_FACE)
    servers = [f"{HOST}:{programs.free_port()}"]
    sinks = [
        {"type": "mqtt", "name": "home", "host": HOST, "port": programs.free_port()},
        {"type": "nats", "name": "bus", "servers": [f"nats://{servers[0]}"]},
        {"type": "kafka", "name": "lake", "servers": servers},
    ]
    store = {"folder": str(tmp_path / "store")}
    with programs.serve(
        tmp_path,
        patches / "detector.onnx",
        endpoint,
        {"door": str(film)},
        sinks=sinks,
        store=store,
        track=PATIENT_TRACK,
    ) as streamer:
        for name in ("home", "bus", "lake"):
            streamer.wait_for(rf"sink {name}: .*Connect call failed.*; events wait in the store")
        streamer.signal(signal.SIGTERM)
        assert streamer.wait() == 128 + signal.SIGTERM
    assert "Traceback" not in streamer.text
