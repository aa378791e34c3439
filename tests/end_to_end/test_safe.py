"""A streamer that others can reach: TLS, a token and keys, as separate programs; and a stranger who plays worker."""

import json
import signal
from pathlib import Path

import pytest
import zmq

from faceanalytics.internal.v1 import faces_pb2
from streamer.cli import main
from tests.end_to_end.programs import PATIENT_CAMERA, PATIENT_TRACK, Program, free_port, serve

FAKE = faces_pb2.Ready(
    protocol=5, worker="fake", model_id="fake", max_batch=64, device="cpu", outputs=faces_pb2.Outputs(age=True)
)


@pytest.mark.slow
def test_cameras_are_analysed_and_watched_over_encrypted_connections(
    patches: Path, tmp_path: Path, small_file: Path
) -> None:
    keys, token = tmp_path / "keys", tmp_path / "counter.token"
    for command in (
        ("keys", "certificate", "127.0.0.1", "--folder", keys),
        ("keys", "new", "--folder", keys, "--worker", "gpu1", "--out", tmp_path / "gpu1.key"),
        (
            *("tokens", "create", "--folder", tmp_path / "access", "--name", "counter"),
            *("--scope", "read", "--camera", "door", "--out", token),
        ),
    ):
        assert main([str(word) for word in command]) == 0
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    safe = {
        "dispatch": {"bind": endpoint.replace("127.0.0.1", "0.0.0.0"), "batch": 4, "keys": str(keys)},
        "publish": {
            "listen": "0.0.0.0:0",
            "tls": {"certificate": str(keys / "server.pem"), "key": str(keys / "server-key.pem")},
        },
        "access": {"folder": str(tmp_path / "access")},
        "track": PATIENT_TRACK,
        "streams": [
            {"id": name, "uri": str(patches / file), "loop": True, **PATIENT_CAMERA}
            for name, file in (("door", "one.mp4"), ("yard", "two.mp4"))
        ],
    }
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    fake = context.socket(zmq.DEALER)
    fake.connect(endpoint)
    fake.send_multipart([b"READY", FAKE.SerializeToString()])
    worker = "--connect", endpoint, "--keys", tmp_path / "gpu1.key", "--weights", small_file
    try:
        with (
            serve(tmp_path, patches / "detector.onnx", endpoint, {}, **safe) as streamer,
            Program("workers.serve", *worker) as working,
        ):
            address = streamer.wait_for(r"on 0.0.0.0:(\d+),").group(1)
            asking = f"127.0.0.1:{address}", "--tls-ca", keys / "ca.pem", "--token-file", token
            with Program("streamer", "watch", *asking, "--json") as watching:
                streamer.wait_for(r"worker \S+ connected: model swinface-")
                watching.wait_for(r'"stream_id": ?"door"')
                streamer.signal(signal.SIGTERM)
                assert streamer.wait() == 128 + signal.SIGTERM
                watching.wait_for(r'"EVENT_TYPE_END"')
                watching.signal(signal.SIGINT)
                watching.wait()
                events = [json.loads(line) for line in watching.lines if line.startswith("{")]
                assert {event["track"]["stream_id"] for event in events if "track" in event} == {"door"}
            working.signal(signal.SIGTERM)
            assert working.wait() == 128 + signal.SIGTERM
            assert "connections without an allowed key refused" in streamer.text
            assert "worker fake" not in streamer.text
            assert fake.poll(0) == 0
    finally:
        context.destroy(linger=0)
