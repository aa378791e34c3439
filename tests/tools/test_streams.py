"""The cameras of a running streamer, seen and managed by the command line: a real streamer and a real camera."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from streamer.cli import main
from streamer.config import Reconnect, Stream
from streamer.tools.streams import DURATIONS, SETTINGS
from tests.end_to_end.programs import Program, address_of
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import WAIT_S, until
from tests.support.rtsp_server import RtspServer
from tests.support.videos import make_video

PASSWORD = "s3cret#/?@:%"


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    clip = make_video(tmp_path_factory.mktemp("clips") / "a.mp4", frames=25)
    with RtspServer({"a": clip}, user="admin", password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secrets") / "password"
    file.write_text(PASSWORD + "\n")
    return file


@pytest.fixture(scope="module")
def streamer(tmp_path_factory: pytest.TempPathFactory, camera: RtspServer, secret: Path) -> Iterator[str]:
    """A streamer with the camera "first", given on the command line without its password; its address."""
    folder = tmp_path_factory.mktemp("streamer")
    detector = write_lite_patch_detector(folder / "detector.onnx")
    uri = f"first=rtsp://admin@127.0.0.1:{camera.port}/a"
    options = ("--camera", uri, "--password-file", secret, "--listen", "127.0.0.1:0", "--detector", detector)
    with Program("streamer", "serve", *options, "--bind", f"ipc://{folder}/w") as program:
        yield address_of(program)
        assert "s3cret" not in program.text


def run(*arguments: object, code: int = 0, given: str = "") -> str:
    """What a command prints; no password is in it. With an input it runs in a process of its own."""
    command = [str(argument) for argument in arguments]
    if given:
        done = subprocess.run(
            [sys.executable, "-m", "streamer", *command], input=given, capture_output=True, text=True, timeout=WAIT_S
        )
        ended, printed = done.returncode, done.stdout + done.stderr
    else:
        with StringIO() as out, redirect_stdout(out), redirect_stderr(out):
            try:
                ended = main(command)
            except SystemExit as usage:
                ended = int(usage.code or 0)
            printed = out.getvalue()
    assert ended == code, printed
    assert "s3cret" not in printed
    return printed


def state(server: str, name: str) -> str:
    """The state of a camera; empty if there is none of that name."""
    listed = json.loads(run("streams", "list", "--json", "--server", server))["streams"]
    return next((str(each["state"]) for each in listed if each["stream_id"] == name), "")


def test_a_camera_is_added_changed_paused_resumed_and_removed(streamer: str, camera: RtspServer) -> None:
    at = ("--server", streamer)
    uri = f"door=rtsp://admin@127.0.0.1:{camera.port}/a"
    settings = ("--max-fps", 12, "--key-frame-timeout", 30, "--reconnect-jitter", 0)
    assert "door: added, CONNECTING" in run("streams", "add", uri, "--ask-password", *settings, *at, given=PASSWORD)
    until(lambda: state(streamer, "door") == "STREAM_STATE_RUNNING", "the camera runs")
    table = run("streams", "list", *at)
    address = f"rtsp://127.0.0.1:{camera.port}/a"
    shown = rf"door +running \d+ s +[\d.]+ of [\d.]+ .*320x240 h264 +{address} .*clock (rtcp_ntp|arrival)"
    assert re.search(shown, table)
    sessions = len(camera.sessions)
    changed = json.loads(run("streams", "update", "door", "--max-fps", 5, "--json", *at))
    assert changed["settings"]["max_fps"] == 5
    assert (changed["settings"]["key_frame_timeout"], changed["settings"]["reconnect_jitter"]) == ("30s", 0)
    assert len(camera.sessions) == sessions  # still connected
    chosen = json.loads(run("streams", "update", "door", "--video-stream", 0, "--json", *at))
    assert chosen["settings"]["video_stream"] == 0
    shown_by_players = json.loads(run("streams", "update", "door", "--video-stream", "shown", "--json", *at))
    assert "video_stream" not in shown_by_players["settings"]
    assert "door: paused, PAUSED" in run("streams", "pause", "door", *at)
    assert "door: resumed, CONNECTING" in run("streams", "resume", "door", *at)
    until(lambda: state(streamer, "door") == "STREAM_STATE_RUNNING", "the camera runs again")
    assert "door: removed" in run("streams", "remove", "door", *at)
    assert state(streamer, "door") == ""


def test_status_shows_health_and_cameras(streamer: str) -> None:
    until(lambda: state(streamer, "first") == "STREAM_STATE_RUNNING", "the first camera runs")
    text = run("status", streamer)
    assert re.search(r"NOT_SERVING, 0 workers, \d streams? \(.*1 running\b.*\)", text)
    data = json.loads(run("status", streamer, "--json"))
    assert (data["status"], data["models"]) == ("NOT_SERVING", [])
    assert data["streams"][0]["stream_id"] == "first"


def test_a_wrong_password_shows_in_the_list_and_can_be_mended(streamer: str, camera: RtspServer, secret: Path) -> None:
    at, uri = ("--server", streamer), f"rtsp://admin@127.0.0.1:{camera.port}/a"
    run("streams", "add", f"yard={uri}", "--ask-password", *at, given="s3cret-not\n")
    until(lambda: "AUTH_FAILED: " in run("streams", "list", *at), "the refusal")
    run("streams", "update", "yard", "--uri", uri, "--password-file", secret, *at)
    until(lambda: state(streamer, "yard") == "STREAM_STATE_RUNNING", "the camera runs")
    run("streams", "remove", "yard", *at)


def test_refusals_are_usage_errors_and_a_missing_streamer_is_a_lost_dependency(streamer: str) -> None:
    at = ("--server", streamer)
    assert "ALREADY_EXISTS" in run("streams", "add", "first=rtsp://h/a", *at, code=2)
    assert "settings.stall_timeout" in run("streams", "update", "first", "--stall-timeout", 0, *at, code=2)
    assert "write %23" in run("streams", "add", "x=rtsp://u:s3cret#@h/a", *at, code=2)
    assert "PERMISSION_DENIED" in run("streams", "add", "x=", "--uri-file", "/etc/hostname", *at, code=2)
    assert "nor `shown`" in run("streams", "update", "first", "--video-stream", -1, *at, code=2)
    assert "at least one setting" in run("streams", "update", "first", *at, code=2)
    assert "add --uri" in run("streams", "update", "first", "--ask-password", *at, code=2)
    assert "NAME=URL" in run("streams", "add", "rtsp://h/a?x=y", *at, code=2)
    for action in (("pause", "none"), ("remove", "none"), ("update", "none", "--max-fps", 1)):
        assert "NOT_FOUND" in run("streams", *action, *at, code=2)
    assert "127.0.0.1:1: " in run("streams", "list", "--server", "127.0.0.1:1", code=1)
    assert "127.0.0.1:1: " in run("status", "127.0.0.1:1", code=1)


def test_every_setting_of_the_configuration_has_an_option() -> None:
    """`uri` and `enabled` are arguments of their own."""
    names = {name.removesuffix("_s") for name in Stream.model_fields} - {"id", "uri", "enabled", "reconnect", "privacy"}
    names |= {"privacy_mode"}  # as in the API
    delays = {f"reconnect_{name.removesuffix('_s')}" for name in Reconnect.model_fields}
    assert set(SETTINGS) == names | delays
    assert set(DURATIONS) < set(SETTINGS)
