"""A bar on terminals, log lines elsewhere."""

import logging
import sys

import pytest

from faceanalytics import progress
from faceanalytics.logs import JsonFormatter
from faceanalytics.progress import counted


def test_progress_is_a_bar_on_terminals_and_a_line_in_the_log_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY_S", -1.0)
    caplog.set_level(logging.INFO)
    assert list(counted(iter("ab"), 4, "reading")) == ["a", "b"]
    assert "reading: 1 of 4 images" in caplog.text
    assert "\x1b" not in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    caplog.clear()
    assert list(counted(iter("ab"), 2, "reading")) == ["a", "b"]
    assert "images/s" in capsys.readouterr().err
    assert caplog.text == ""


def test_no_bar_is_drawn_between_lines_of_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.NullHandler()
    handler.setFormatter(JsonFormatter())
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert list(counted(iter("ab"), 2, "reading")) == ["a", "b"]
    assert capsys.readouterr().err == ""
