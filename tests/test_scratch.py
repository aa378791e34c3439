"""Temporary folders go away, also those of killed processes."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from faceanalytics.scratch import scratch_folder

HOLD = """
from faceanalytics.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    input()
"""


def test_folders_of_killed_processes_are_removed_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "faceanalytics-somebody").mkdir()  # not known to be ours
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        other = Path(process.stdout.readline().strip())
        with scratch_folder() as folder:
            assert folder.is_dir()
            assert other.is_dir()
        assert not folder.exists()
        process.kill()
    assert other.is_dir()
    with scratch_folder():
        assert not other.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["faceanalytics-somebody"]
