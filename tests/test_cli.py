"""The command line: what it says, and its exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceanalytics.commandline import BLAS_THREADS
from streamer.cli import main
from streamer.commands_cameras import with_port
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import WAIT_S

COMMANDS = [
    *("serve", "probe", "status", "streams", "watch", "health"),
    *("analyze", "detect", "evaluate-detector", "track", "annotate", "config", "demo"),
]


def run(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if name != "FACEANALYTICS_DETECTOR"} | environment
    return subprocess.run(
        [sys.executable, "-m", "streamer", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        env=env,
    )


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert "exit codes" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["analyse"], ["analyze", "x.mp4"], ["track", "x"], ["detect"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_config_check_names_the_wrong_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "typo.yaml").write_text("detect:\n  wieghts: x.onnx\n")
    assert main(["config", "check", str(tmp_path / "typo.yaml")]) == 2
    assert "detect.wieghts: unknown key" in capsys.readouterr().err


def test_config_show_fills_in_the_defaults_and_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show"]) == 0
    assert "first_answer_s: 0.5" in capsys.readouterr().out
    assert main(["config", "schema"]) == 0
    assert "streams" in json.loads(capsys.readouterr().out)["properties"]


def test_the_program_multiplies_matrices_in_the_thread_that_asks() -> None:
    work = "import numpy as np; np.ones((600, 600)) @ np.ones((600, 600))"
    count = "import os; print(len(os.listdir('/proc/self/task')))"
    program = f"from streamer.cli import main; main(['config', 'show']); {work}; {count}"
    environment = {name: value for name, value in os.environ.items() if name != BLAS_THREADS}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT_S, env=environment
    )
    assert done.stdout.splitlines()[-1] == "1", done.stderr


def test_a_detector_that_is_not_there_is_exit_code_4_and_says_what_can_be_used(tmp_path: Path) -> None:
    arguments = ("serve", "--stream", "a=rtsp://127.0.0.1:9/x", "--listen", "127.0.0.1:0")
    done = run(*arguments, FACEANALYTICS_DETECTOR=str(tmp_path / "nowhere.onnx"))
    assert done.returncode == 4
    assert "nowhere.onnx, from $FACEANALYTICS_DETECTOR" in done.stderr
    assert "an ultralytics\npose model with one class" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_exit_code_2(tmp_path: Path) -> None:
    import socket

    detector = write_lite_patch_detector(tmp_path / "patches.onnx")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--listen", address, "--bind", f"ipc://{tmp_path}/w", "--detector", detector)
    assert done.returncode == 2
    assert address in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("address", "whole"),
    [("host", "host:50051"), ("host:1", "host:1"), ("[::1]", "[::1]:50051"), ("[::1]:1", "[::1]:1")],
)
def test_an_address_without_port_gets_the_usual_one(address: str, whole: str) -> None:
    assert with_port(address) == whole


def test_a_camera_that_does_not_exist_is_no_reason_to_end(tmp_path: Path) -> None:
    """It is retried; the wrong form of --camera is an error though."""
    for option in ("--camera", "--stream"):
        done = run("serve", option, "rtsp://127.0.0.1:9/x", HOME=str(tmp_path))
        assert done.returncode == 2
        assert "NAME=URL" in done.stderr


def test_a_password_for_no_camera_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text("s3cret")
    assert main(["serve", "--camera", "a=rtsp://h/a", "--password-file", str(tmp_path / "secret")]) == 2
    assert "rtsp://USER@HOST/PATH" in capsys.readouterr().err
