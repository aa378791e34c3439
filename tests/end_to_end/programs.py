"""The project's programs as real processes, and a subscriber that keeps all messages."""

import re
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import TracebackType

import grpc
import yaml

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from tests.support.patience import FOREVER_S, WAIT_S, until

PATIENT_CAMERA: dict[str, object] = {
    "reconnect": {"initial_s": 0.3},
    "connect_timeout_s": WAIT_S,
    "first_frame_timeout_s": WAIT_S,
    "stall_timeout_s": WAIT_S,
}
PATIENT_DISPATCH: dict[str, object] = {"answer_within_s": WAIT_S, "max_wait_s": WAIT_S, "worker_silent_s": WAIT_S}
# A face that moves slowly stays the same track, also when a busy machine looks at it only every few seconds.
PATIENT_TRACK: dict[str, object] = {"lost_s": 60.0, "max_gap_s": 60.0, "shot_change_levels": 255.0}
SLOW_FACE = 10.0  # px/s
EVENTS = {number: name.removeprefix("EVENT_TYPE_") for name, number in tracks_pb2.EventType.items()}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Program:
    """`python -m MODULE ARGUMENTS...` (or another `python`) with its output in `lines`."""

    def __init__(self, module: str, *arguments: str | Path, python: str = sys.executable) -> None:
        command = [python, *(["-m"] if python == sys.executable else []), module, *map(str, arguments)]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Program":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """The first match in its output."""
        found: list[re.Match[str]] = []

        def matches() -> bool:
            match = re.search(pattern, self.text)
            found.extend([match] if match else [])
            assert match or self.process.poll() is None, f"ended before {pattern!r}:\n{self.text}"
            return match is not None

        until(matches, f"{pattern!r} in\n{self.text}")
        return found[0]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)


def serve(folder: Path, detector: Path, endpoint: str, cameras: dict[str, str], **settings: object) -> Program:
    """`streamer serve` on a free port; by itself it gives up no camera, worker or crop for being slow."""
    config: dict[str, object] = {
        "streams": [{"id": name, "uri": uri, **PATIENT_CAMERA} for name, uri in cameras.items()],
        "detect": {"weights": str(detector)},
        "dispatch": {"bind": endpoint, "batch": 4, **PATIENT_DISPATCH},
        "publish": {"listen": "127.0.0.1:0", "heartbeat_s": 1},
        **settings,
    }
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(config))
    return Program("streamer", "serve", "--config", path)


def address_of(streamer: Program) -> str:
    return streamer.wait_for(r"serving \d+ streams on (\S+),").group(1)


class Subscriber:
    """Watches all tracks in a thread of its own."""

    def __init__(self, address: str) -> None:
        self.events: list[tuple[str, tracks_pb2.Track]] = []
        self.error: grpc.RpcError | None = None
        self._channel = grpc.insecure_channel(address)
        self._call = tracks_pb2_grpc.TrackServiceStub(self._channel).WatchTracks(
            tracks_pb2.WatchTracksRequest(snapshot=True), wait_for_ready=True, timeout=FOREVER_S
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Subscriber":
        until(lambda: bool(self.events), "the end of the snapshot")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._call.cancel()  # type: ignore[no-untyped-call]
        self._channel.close()
        self._thread.join(WAIT_S)

    def tracks(self, stream: str, *kinds: str) -> list[tracks_pb2.Track]:
        """The tracks of the events of these kinds, in their order."""
        return [track for kind, track in list(self.events) if kind in kinds and track.stream_id == stream]

    def story(self) -> dict[str, list[str]]:
        """Kinds of events by track id."""
        stories: dict[str, list[str]] = defaultdict(list)
        for kind, track in list(self.events):
            if track.track_id:
                stories[track.track_id].append(kind)
        return stories

    def wait_until_over(self) -> None:
        """The server has ended the watch."""
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def _read(self) -> None:
        try:
            for message in self._call:
                self.events.append((EVENTS[message.type], message.track))
        except grpc.RpcError as error:
            self.error = error


def assert_complete(story: list[str]) -> None:
    """NEW (or SNAPSHOT) first, END last and once, UPDATEs between."""
    assert story[0] in ("NEW", "SNAPSHOT")
    assert story[-1] == "END"
    assert story[1:-1] == ["UPDATE"] * len(story[1:-1])
