"""What all tests share: where the data folder is, and which tests cannot run without it."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import pytest

from protos.check import find_buf
from tests.support.brokers import find
from tests.support.browser import find_browser
from tests.support.made_once import made_once, shared_by_processes
from tests.support.patience import FACTOR, WAIT_S
from tests.support.postgres import Postgres, programs

if TYPE_CHECKING:
    from streamer.config import Store as StoreConfig
    from tests.support.swinface_files import Checkpoint

os.environ.setdefault("FACEANALYTICS_WEB_LISTEN", "none")  # of all streamers of all test processes, one port
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the programs do, before torch is imported

ROOT = Path(__file__).resolve().parents[1]
AXE = ROOT / ".axe" / "node_modules" / "axe-core" / "axe.min.js"
SYSTEM_PYTHON = "/usr/bin/python3"  # PyGObject is a package of the system


def shared_folder() -> Path:
    """The project's data folder: FACEANALYTICS_SHARED, else `shared` beside the project."""
    return Path(os.environ.get("FACEANALYTICS_SHARED", ROOT.parent / "shared"))


@cache
def has_gstreamer() -> bool:
    """True if the system's Python can load the GStreamer RTSP server."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        return subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, timeout=WAIT_S).returncode == 0
    except OSError:
        return False


@pytest.hookimpl(tryfirst=True)  # pytest-timeout reads the option in the same hook
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("timeout") is None:
        config.option.timeout = float(config.getini("timeout")) * FACTOR


@pytest.hookimpl(trylast=True)  # pytest-xdist has ended its processes by then
def pytest_sessionfinish(session: pytest.Session) -> None:
    if (
        "PYTEST_XDIST_WORKER" not in os.environ
    ):  # pytest keeps the temporary folders of some runs: not these large files
        factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
        shutil.rmtree(shared_by_processes(factory), ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("shared") and not shared_folder().is_dir():
            item.add_marker(pytest.mark.skip(reason="needs the data folder (FACEANALYTICS_SHARED or ../shared)"))
        if item.get_closest_marker("gstreamer") and not has_gstreamer():
            item.add_marker(pytest.mark.skip(reason="needs gir1.2-gst-rtsp-server-1.0 and python3-gi of the system"))
        if item.get_closest_marker("browser") and find_browser() is None:
            item.add_marker(pytest.mark.skip(reason="needs Chromium (FACEANALYTICS_BROWSER, or on the PATH)"))
        if item.get_closest_marker("axe") and not AXE.exists():
            item.add_marker(pytest.mark.skip(reason="needs axe-core (npm install --prefix .axe axe-core)"))
        if item.get_closest_marker("promtool") and not (which("promtool") and which("prometheus")):
            item.add_marker(pytest.mark.skip(reason="needs the package prometheus of the system"))
        if item.get_closest_marker("postgres") and programs() is None:
            item.add_marker(pytest.mark.skip(reason="needs the package postgresql of the system"))
        if item.get_closest_marker("mosquitto") and not (find("mosquitto") and find("mosquitto_sub")):
            item.add_marker(pytest.mark.skip(reason="needs the packages mosquitto and mosquitto-clients of the system"))
        if item.get_closest_marker("nats") and find("nats-server") is None:
            item.add_marker(pytest.mark.skip(reason="needs the package nats-server of the system"))
        if item.get_closest_marker("buf") and find_buf() is None:
            item.add_marker(pytest.mark.skip(reason="needs buf (npm install --prefix .buf @bufbuild/buf)"))


@pytest.fixture(scope="session", autouse=True)
def _session_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Programs that several tests share do not use the store of this machine."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own, also in the programs that it starts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """A command that a test runs in its own process makes loggers quiet for that test only."""
    loggers = [logging.getLogger(name) for name in (None, "streamer", "workers")]
    levels = [each.level for each in loggers]
    yield
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)


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
def seeded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SwinFace in the published layout, with weights that all matter."""
    from tests.support.swinface_files import save, seeded_checkpoint

    folder = made_once(tmp_path_factory, "seeded", lambda made: save(seeded_checkpoint(), made / "checkpoint.pt"))
    return folder / "checkpoint.pt"


@pytest.fixture(scope="session")
def seeded(seeded_file: Path) -> "Checkpoint":
    """The content of `seeded_file`; only to be read."""
    import torch

    content: Checkpoint = torch.load(seeded_file, weights_only=True, mmap=True)
    return content


@pytest.fixture(scope="session")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of our own form for all outputs, of a small network: a worker is there in a second."""

    def make(folder: Path) -> None:
        from tests.support.swinface_files import save_small
        from workers.swinface.labels import OUTPUTS

        save_small(folder / "small.safetensors", *OUTPUTS, embedding=512)

    return made_once(tmp_path_factory, "small", make) / "small.safetensors"


@pytest.fixture(scope="session")
def parity_checkpoint(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of the parity test of the published implementation, as its own script makes them."""
    script = shared / "parity" / "make_checkpoint.py"

    def make(folder: Path) -> None:
        command = [sys.executable, str(script), str(folder / "seed0.pt"), "--seed", "0"]
        subprocess.run(command, check=True, capture_output=True, timeout=2 * WAIT_S)

    return made_once(tmp_path_factory, "parity", make) / "seed0.pt"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; only for tests marked `postgres`, which are skipped without its programs."""
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> "Callable[..., StoreConfig]":
    """Makes the configuration of one store, always the same one, with more settings if wanted. A test that asks for it
    runs on SQLite and on PostgreSQL."""
    from streamer.config import Store as StoreConfig

    if request.param == "sqlite":
        where = {"folder": str(tmp_path / "store")}
    else:
        where = {"url": request.getfixturevalue("postgres").database()}
    return lambda **settings: StoreConfig.model_validate({**where, "commit_within_s": WAIT_S, **settings})
