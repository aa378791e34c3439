"""`make check` finds what would break programs, with the real buf; and it says so where buf is not installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from protos.check import PUBLISHED, describe, find_buf
from tests.support.patience import WAIT_S

PROTOS = Path(__file__).resolve().parents[1] / "protos"
STREAMS = "faceanalytics/v1/streams.proto"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the protocols."""
    return shutil.copytree(PROTOS, tmp_path / "protos")


def check(folder: Path, *options: str, **environment: str) -> tuple[int, str]:
    """The exit code of the check, and what it prints."""
    done = subprocess.run(
        [sys.executable, str(PROTOS / "check.py"), "--folder", str(folder), *options],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        env=os.environ | environment,
    )
    return done.returncode, done.stdout + done.stderr


def replace(folder: Path, file: str, before: str, after: str) -> None:
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after, 1))


@pytest.mark.buf
def test_the_protocols_pass(folder: Path) -> None:
    assert check(folder, "--required") == (0, "")


@pytest.mark.buf
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("float max_fps = 5;", "double max_fps = 5;", "changed type"),
        ("bool paused = 7;", "bool paused = 99;", 'field "7"'),
        ("  // True to keep the stream disconnected.\n  bool paused = 7;\n", "", "was deleted"),
        ("TRANSPORT_UDP = 2", "TRANSPORT_DATAGRAMS = 2", "changed name"),
        ("  // True to keep the stream disconnected.\n", "", "should have a non-empty comment"),
        ("bool paused = 7;", "bool isPaused = 7;", "should be lower_snake_case"),
    ],
)
def test_what_would_break_programs_or_the_style_is_found(folder: Path, before: str, after: str, said: str) -> None:
    replace(folder, STREAMS, before, after)
    code, text = check(folder, "--required")
    assert code != 0
    assert said in text


@pytest.mark.buf
def test_additions_pass_and_the_protocol_of_the_workers_may_change(folder: Path) -> None:
    replace(folder, STREAMS, "  bool paused = 7;", "  bool paused = 7;\n  // A new one.\n  bool added = 999;")
    replace(folder, "faceanalytics/internal/v1/faces.proto", "string worker = 2;", "string worker = 99;")
    assert check(folder, "--required") == (0, "")


@pytest.mark.buf
def test_a_change_on_purpose_passes_once_it_is_published(folder: Path) -> None:
    replace(folder, STREAMS, "float max_fps = 5;", "double max_fps = 5;")
    assert check(folder, "--required")[0] != 0
    assert check(folder, "--publish") == (0, "")
    assert check(folder, "--required") == (0, "")


def test_without_buf_one_line_says_so_and_only_ci_fails(folder: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    code, text = check(folder, PATH=str(nothing))
    assert (code, len(text.splitlines())) == (0, 1)
    assert "buf is not installed" in text
    assert check(folder, "--required", PATH=str(nothing)) == (1, text)


def test_what_was_published_holds_our_files_only() -> None:
    text = (PROTOS / PUBLISHED).read_text()
    assert 'name: "faceanalytics/v1/streams.proto"' in text
    assert "google.protobuf.compiler" not in text
    assert 'package: "google' not in text
    assert "internal" not in text
    assert [file.package for file in describe(PROTOS).file] == ["faceanalytics.v1"] * len(describe(PROTOS).file)


def test_buf_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "buf"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_buf() == str(program)
