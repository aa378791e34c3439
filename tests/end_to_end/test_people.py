"""People as an operator sees them: real programs, the bundled weights, a photograph, the command line, and restarts."""

import json
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceanalytics.v1 import tracks_pb2
from streamer.cli import main
from tests.end_to_end import programs
from tests.end_to_end.programs import PATIENT_TRACK, Program, Subscriber, address_of
from tests.support.patience import until
from tests.support.photographs import make_face_clip, portrait

pytestmark = pytest.mark.slow
NAME = "Eileen Collins"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, because those of sockets are limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="fa-") as folder:
        yield Path(folder)


def serve(folder: Path, endpoint: str) -> Program:
    settings = {"folder": str(folder / "store"), "faces": True}
    track = {**PATIENT_TRACK, "max_gap_s": 600.0}
    sources = {"folders": [str(folder)]}
    crop = {"min_eye_distance_px": 10.0}
    # the default detector: a photograph is not made of patches
    return programs.serve(
        folder, Path("default"), endpoint, {}, track=track, store=settings, sources=sources, crop=crop
    )


def until_named(subscriber: Subscriber, track_id: str, name: str) -> tracks_pb2.Track:
    """The newest state of a track, once it has a name (empty: none)."""

    def newest() -> list[tracks_pb2.Track]:
        return [track for _, track in list(subscriber.events) if track.track_id == track_id][-1:]

    until(lambda: any(one.decision.person == name for one in newest()), f"{track_id} is {name or 'nobody'}")
    return newest()[0]


class Operator:
    """Runs `streamer people` and reads what it prints."""

    def __init__(self, address: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._server = ("--server", address)
        self._capsys = capsys

    def people(self, *arguments: str | Path) -> str:
        assert main(["people", *map(str, arguments), *self._server]) == 0
        return self._capsys.readouterr().out

    def json(self, *arguments: str | Path) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.people(*arguments, "--json").splitlines()[-1])
        return found

    def play(self, name: str, clip: Path, subscriber: Subscriber) -> str:
        """Play a clip; returns the id of its track when it was analysed."""
        assert main(["streams", "add", f"{name}={clip}", "--loop", *self._server]) == 0
        until(lambda: any(one.samples >= 2 for one in subscriber.tracks(name, "NEW", "UPDATE")), "two analyses")
        return subscriber.tracks(name, "NEW")[-1].track_id


def test_a_photograph_names_a_track_until_somebody_says_no_and_all_can_be_forgotten(
    tmp_path: Path, short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = f"ipc://{short}/w"
    clip = make_face_clip(tmp_path / "clip.mp4", 20.0)
    with Program("workers.serve", "--connect", endpoint, "--weights", "default", "--device", "cpu") as worker:
        with serve(tmp_path, endpoint) as streamer, Subscriber(address_of(streamer)) as subscriber:
            operator = Operator(address_of(streamer), capsys)
            streamer.wait_for("connected: model")
            assert "1 of 1 references used" in operator.people("add", NAME, portrait())
            track = operator.play("door", clip, subscriber)
            until_named(subscriber, track, NAME)
            assert f"{NAME} -> unknown" in operator.people("reject", track, "--dry-run")
            assert "`streamer people undo 3`" in operator.people("reject", track)
            until_named(subscriber, track, "")
            streamer.signal(signal.SIGTERM)
            assert streamer.wait() == 128 + signal.SIGTERM
        with serve(tmp_path, endpoint) as streamer, Subscriber(address_of(streamer)) as subscriber:
            operator = Operator(address_of(streamer), capsys)
            streamer.wait_for("connected: model")
            assert "undone" in operator.people("undo", "3")
            revised = until_named(subscriber, track, NAME)  # a past track
            assert revised.final
            found = operator.people("search", portrait(), "--past")
            assert track in found
            report = operator.json("erase", NAME, "--yes")["report"]
            assert isinstance(report, dict)
            assert report["found"] == []
            until_named(subscriber, track, "")
            assert operator.people("list") == "no id\n"
            streamer.signal(signal.SIGTERM)
            assert streamer.wait() == 128 + signal.SIGTERM
        assert worker.process.poll() is None
    content = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert NAME.encode() not in content
    assert NAME not in streamer.text
