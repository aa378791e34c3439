"""A thousand connects and disconnects leave nothing behind: threads, descriptors, memory, metric series."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.programs import Program
from tests.support.patience import FOREVER_S
from tests.support.videos import make_video

pytestmark = pytest.mark.slow

GROWTH_MB = 40.0  # the heap's fragmentation moves by 25; a decoder that stays is 1 to 2 MB, so 800 would be 1 GB


def test_a_thousand_connects_and_disconnects_leave_nothing_behind(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mp4", frames=50)
    with Program("tests.support.rtsp_server", "--mount", f"a={clip}") as server:
        port = server.wait_for(r"ready (\d+)").group(1)
        command = [sys.executable, "-m", "tests.support.churn", f"rtsp://127.0.0.1:{port}/a"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FOREVER_S, check=False)
    assert done.returncode == 0, done.stderr
    before, after = (json.loads(line) for line in done.stdout.splitlines())
    assert after["threads"] <= before["threads"]
    assert after["descriptors"] <= before["descriptors"]
    assert after["series"] <= before["series"]
    assert after["memory_mb"] <= before["memory_mb"] + GROWTH_MB, (before, after)
