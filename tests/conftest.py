"""What all tests share: where the data folder is, and which tests cannot run without it."""

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.swinface_files import Checkpoint

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the programs do, before torch is imported

ROOT = Path(__file__).resolve().parents[1]
SYSTEM_PYTHON = "/usr/bin/python3"  # PyGObject is a package of the system


def shared_folder() -> Path:
    """The project's data folder: FACEANALYTICS_SHARED, else `shared` beside the project."""
    return Path(os.environ.get("FACEANALYTICS_SHARED", ROOT.parent / "shared"))


@cache
def has_gstreamer() -> bool:
    """True if the system's Python can load the GStreamer RTSP server."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        return subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, timeout=60).returncode == 0
    except OSError:
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("shared") and not shared_folder().is_dir():
            item.add_marker(pytest.mark.skip(reason="needs the data folder (FACEANALYTICS_SHARED or ../shared)"))
        if item.get_closest_marker("gstreamer") and not has_gstreamer():
            item.add_marker(pytest.mark.skip(reason="needs gir1.2-gst-rtsp-server-1.0 and python3-gi of the system"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data folder; only for tests marked `shared`, which are skipped without it."""
    return shared_folder()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch sums in the same order each time, and does not wait for other programs."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def seeded() -> "Checkpoint":
    """SwinFace in the published layout, with weights that all matter; only to be read."""
    from tests.support.swinface_files import seeded_checkpoint

    return seeded_checkpoint()
