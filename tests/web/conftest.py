"""A browser for the tests of a module, and a streamer with a camera and a worker that recognises painted people."""

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from streamer.cli import main
from tests.end_to_end.programs import PATIENT_TRACK, Program
from tests.support.dashboard import Dashboard, chromium, dashboard
from tests.support.painted_people import painted_worker, person, write_video
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import until
from tests.support.recognising import TABLE

ADA, BO, CY = person(1), person(2), person(5)  # who are unlike


@pytest.fixture(scope="module")  # while it is open, no test of asyncio can run in this process
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@contextlib.contextmanager
def working(endpoint: str, fails: bool = False) -> Iterator[None]:
    """A worker in a thread of its own, because Playwright has the loop of this one."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def work() -> None:
        async with painted_worker(endpoint, impostors=TABLE, fails=fails):
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(work(),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


class Camera:
    """A real RTSP server of its own, which plays a clip of two people in a loop, and others at other addresses."""

    def __init__(self, clip: Path, **others: Path) -> None:
        self._mounts = [f"--mount={name}={path}" for name, path in {"door": clip, **others}.items()]
        self._program = self._start(0)
        self.port = int(self._program.wait_for(r"ready (\d+)").group(1))
        self.url = f"rtsp://127.0.0.1:{self.port}/door"

    def _start(self, port: int) -> Program:
        return Program("tests.support.rtsp_server", "--port", str(port), *self._mounts)

    def kill(self) -> None:
        self._program.process.kill()
        self._program.wait()

    def start_again(self) -> None:
        self._program = self._start(self.port)
        self._program.wait_for(r"ready (\d+)")


class Place:
    """A running streamer with its camera."""

    def __init__(self, folder: Path, served: Dashboard, camera: Camera) -> None:
        self.folder = folder
        self.dashboard = served
        self.camera = camera
        self.url = served.url

    def token(self, *scopes: str, expires: str = "1h") -> str:
        """A new token, made by the command as an operator makes it."""
        out = self.folder / f"token-{len(list(self.folder.glob('token-*')))}"
        options = [part for scope in scopes for part in ("--scope", scope)]
        command = ["tokens", "create", "--config", str(self.folder / "serve.yaml"), "--name", out.name, *options]
        with ThreadPoolExecutor(1) as thread:  # Playwright has the loop of this one
            assert thread.submit(main, [*command, "--expires", expires, "--out", str(out)]).result() == 0
        return out.read_text().strip()


SETTINGS: dict[str, Any] = {
    "publish": {"listen": "127.0.0.1:0", "heartbeat_s": 1, "update_interval_s": 0.05},
    "track": {**PATIENT_TRACK},
    "relink": {"enabled": False},
    "gallery": {"min_quality": 0.0},
    "aggregate": {"max_cover": 255},
}


@contextlib.contextmanager
def open_place(hall: bool = False, fails: bool = False, **settings: Any) -> Iterator[Place]:
    """A streamer that follows one camera, which sees ada and bo. `hall`: and another one, which sees ada and cy.

    `fails`: its worker cannot analyse anything.
    """
    with tempfile.TemporaryDirectory(prefix="fa-") as name:
        folder = Path(name)
        detector = write_lite_patch_detector(folder / "patches.onnx")
        write_video(folder / "door.mp4", {ADA: [(0, 4)], BO: [(0, 4)]}, 4)
        write_video(folder / "hall.mp4", {CY: [(0, 4)], ADA: [(0, 4)]}, 4)
        camera = Camera(folder / "door.mp4", hall=folder / "hall.mp4")
        cameras = {"door": camera.url, **({"hall": camera.url.replace("/door", "/hall")} if hall else {})}
        try:
            with (
                dashboard(folder, detector, cameras, **{**SETTINGS, **settings}) as served,
                working(served.endpoint, fails),
            ):
                until(lambda: "camera door RUNNING" in served.program.text, "the camera")
                yield Place(folder, served, camera)
        finally:
            camera.kill()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with open_place() as found:
        yield found
