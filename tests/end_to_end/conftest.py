"""One worker for all these tests: it loads for seconds, and it outlives the streamers it works for, as in real life."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.programs import SLOW_FACE, Program
from tests.support.patch_detector import make_patch_video, write_lite_patch_detector, write_patch_detector


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """Where the worker looks for streamers; a short path, because those of sockets are limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="fa-") as folder:
        yield f"ipc://{folder}/w"


@pytest.fixture(scope="session")
def worker(endpoint: str, small_file: Path) -> Iterator[Program]:
    """A worker on the CPU, of random weights."""
    with Program("workers.serve", "--connect", endpoint, "--weights", small_file, "--device", "cpu") as program:
        yield program


@pytest.fixture(scope="session")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made here, so that no machine lacks them: two.mp4 and one.mp4 (faces, 4 s), a detector, and a pose model."""
    folder = tmp_path_factory.mktemp("patches")
    write_lite_patch_detector(folder / "detector.onnx")  # programs with it start within a second
    write_patch_detector(folder / "pose.onnx")
    make_patch_video(folder / "two.mp4", seconds=4, faces=2, speed=SLOW_FACE)
    make_patch_video(folder / "one.mp4", seconds=4, faces=1, speed=SLOW_FACE)
    return folder
