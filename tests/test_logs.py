"""The log as operators read it: one line per change, repeated lines summed up, JSON on request."""

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from faceanalytics.logs import BURST, WINDOW_S, JsonFormatter, Repeats, SummingHandler, TextFormatter
from tests.conftest import ROOT
from tests.support.patience import WAIT_S


def record(message: str = "camera %s %s", *arguments: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("streamer.source.reporting", level, __file__, 1, message, arguments, None)


def written(repeats: Repeats, count: int, *arguments: object, now: float = 0.0) -> int:
    return sum(repeats.admit(record("camera %s %s", *arguments), now) for _ in range(count))


def sums(repeats: Repeats, now: float) -> list[str]:
    return [each.getMessage() for each in repeats.due(now)]


def test_the_first_lines_of_a_kind_are_written_and_the_others_are_one_line_with_their_number() -> None:
    repeats = Repeats()
    assert written(repeats, 42, "door", "RECONNECTING") == BURST
    assert repeats.next_due() == WINDOW_S
    assert sums(repeats, WINDOW_S - 1) == []
    assert sums(repeats, WINDOW_S) == ["camera door RECONNECTING ... 37 more times in 60 s"]


def test_the_sum_shows_the_last_state() -> None:
    repeats = Repeats()
    for state in ("RUNNING", "RECONNECTING") * 10:
        repeats.admit(record("camera %s %s", "door", state), 0.0)
    assert sums(repeats, WINDOW_S) == [f"camera door RECONNECTING ... {20 - BURST} more times in 60 s"]


def test_trouble_that_goes_on_is_one_line_a_minute_until_it_has_stopped_for_a_minute() -> None:
    repeats = Repeats()
    written(repeats, 20, "door", "RUNNING")
    sums(repeats, WINDOW_S)
    assert written(repeats, 20, "door", "RUNNING", now=WINDOW_S + 1) == 0
    assert sums(repeats, 2 * WINDOW_S) == ["camera door RUNNING ... 20 more times in 60 s"]
    assert sums(repeats, 3 * WINDOW_S) == []
    assert repeats.next_due() is None
    assert written(repeats, 20, "door", "RUNNING", now=3 * WINDOW_S + 1) == BURST


def test_a_single_line_that_was_held_is_written_as_it_is() -> None:
    repeats = Repeats()
    written(repeats, BURST + 1, "door", "RUNNING")
    assert sums(repeats, WINDOW_S) == ["camera door RUNNING"]


def test_other_cameras_are_other_kinds_and_numbers_are_not() -> None:
    repeats = Repeats()
    assert sum(written(repeats, 1, f"camera-{number}", "RUNNING") for number in range(100)) == 100
    assert sum(repeats.admit(record("answer to batch %d dropped", number), 0.0) for number in range(100)) == BURST


def test_what_is_held_is_written_when_the_program_ends(capsys: pytest.CaptureFixture[str]) -> None:
    handler = SummingHandler()
    handler.setFormatter(TextFormatter())
    for _ in range(20):
        handler.handle(record("camera %s %s", "door", "RUNNING"))
    handler.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == BURST + 1
    assert lines[-1].endswith(f"camera door RUNNING ... {20 - BURST} more times in 60 s")


def test_details_for_debugging_are_not_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    handler = SummingHandler()
    for _ in range(20):
        handler.handle(record("the same", level=logging.DEBUG))
    handler.close()
    assert len(capsys.readouterr().err.splitlines()) == 20


def test_a_text_of_others_cannot_begin_a_line() -> None:
    line = TextFormatter().format(record("camera %s", "a\n2026-11-30 ERROR\x1b[31m\tand a tab"))
    assert line.endswith("camera a\\x0a2026-11-30 ERROR\\x1b[31m\tand a tab")


def failure() -> logging.LogRecord:
    made = record("it failed")
    try:
        raise ValueError("a bug")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_a_bug_has_its_traceback() -> None:
    assert len(TextFormatter().format(failure()).splitlines()) > 3
    line = JsonFormatter().format(failure())
    assert "\n" not in line
    assert json.loads(line)["exception"].startswith("Traceback")


def test_json_has_the_time_level_logger_message_and_fields() -> None:
    made = record("camera %s lost: %s", "door", "a\nb", level=logging.WARNING)
    made.worker = "host:1"
    made.created = 1_796_040_000.25
    assert json.loads(JsonFormatter().format(made)) == {
        "time": "2026-11-30T12:00:00.250+00:00",
        "level": "WARNING",
        "logger": "streamer.source.reporting",
        "message": "camera door lost: a\nb",
        "camera": "door",
        "worker": "host:1",
    }


def log_of(command: list[str], code: int, stop_at: str = "") -> list[dict[str, str]]:
    """Run a command and return its log; a line that contains `stop_at` is answered with SIGTERM."""
    lines = []
    with subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                lines.append(json.loads(line))
                if stop_at and stop_at in line:
                    process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == code
        finally:
            process.kill()
    return lines


def test_a_streamer_logs_json(tmp_path: Path) -> None:
    command = ["streamer", "--log-format", "json", "serve", "--stream", f"door={tmp_path / 'missing.mp4'}"]
    command += ["--listen", "127.0.0.1:0", "--bind", f"ipc://{tmp_path}/workers"]
    lines = log_of(command, 128 + signal.SIGTERM, stop_at="missing.mp4")
    assert {*lines[0]} == {"time", "level", "logger", "message"}
    (lost,) = [line for line in lines if line.get("camera") == "door"]
    assert (lost["level"], lost["message"]) == ("WARNING", f"camera door ERROR: {tmp_path}/missing.mp4: no such file")


def test_an_error_of_the_user_is_json_too(tmp_path: Path) -> None:
    config = tmp_path / "streamer.yaml"
    config.write_text("detect: {weigths: x}\n")
    (line,) = log_of(["streamer", "serve", "--config", str(config), "--log-format", "json"], 2)
    assert (line["level"], line["logger"]) == ("ERROR", "streamer")
    assert "detect.weigths: unknown key; did you mean weights?" in line["message"]


def test_a_worker_logs_json(tmp_path: Path) -> None:
    command = ["workers.serve", "--log-format", "json", "--weights", str(tmp_path / "none.safetensors")]
    lines = log_of(command, 4)
    assert lines[-1]["level"] == "ERROR"
    assert "none.safetensors" in lines[-1]["message"]


def test_children_inherit_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEANALYTICS_LOG_FORMAT", "json")
    (line,) = log_of(["streamer", "watch", "no-port:x"], 2)
    assert line["level"] == "ERROR"
    monkeypatch.setenv("FACEANALYTICS_LOG_FORMAT", "xml")
    done = subprocess.run(
        [sys.executable, "-m", "streamer", "config", "show"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "FACEANALYTICS_LOG_FORMAT is 'xml': set it to text or json" in done.stderr
