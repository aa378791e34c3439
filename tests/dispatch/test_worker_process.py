"""The child worker: which process a report of a stuck worker is about."""

import asyncio
import sys

import pytest

from faceanalytics.commandline import BLAS_THREADS
from streamer.dispatch.worker_process import WorkerOptions, _wait
from tests.support.patience import WAIT_S


async def sleeper() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", f"import time; time.sleep({WAIT_S})")


async def test_a_stuck_worker_is_killed() -> None:
    process, stuck = await sleeper(), asyncio.Queue[str]()
    stuck.put_nowait(f"host:{process.pid}")
    async with asyncio.timeout(WAIT_S):
        assert await _wait(process, stuck) == -9


async def test_a_late_report_about_the_worker_before_does_not_kill_its_successor() -> None:
    process, stuck = await sleeper(), asyncio.Queue[str]()
    stuck.put_nowait(f"host:{process.pid + 1}")
    waiting = asyncio.create_task(_wait(process, stuck))
    await asyncio.sleep(0.3)
    assert process.returncode is None
    process.terminate()
    async with asyncio.timeout(WAIT_S):
        assert await waiting == -15


def test_a_worker_prepares_its_weights_as_one_that_was_started_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BLAS_THREADS, "1")
    monkeypatch.setenv("HOME", "/home/somebody")
    environment = WorkerOptions("default").environment
    assert BLAS_THREADS not in environment
    assert environment["HOME"] == "/home/somebody"
