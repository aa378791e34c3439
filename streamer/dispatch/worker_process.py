"""A worker as child process of a one-machine run (analyze, demo). It is started, never imported."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from faceanalytics.errors import LostDependency, ModelError

RESTARTS = 3  # a worker that dies more often than this has a reason that starting again does not mend
STEADY_S = 60.0  # after so long a worker counts as having worked, and the count begins anew
STOP_S = 10.0  # a worker that was asked to stop gets so long

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    weights: str  # as `swinface worker --weights` takes them
    device: str = "cpu"
    max_batch: int = 16
    # taken before the detector loads in a thread: that changes variables for a moment, and a process that is started
    # meanwhile would get them, or fail because their memory moves
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


async def run_worker(options: WorkerOptions, endpoint: str, stuck: asyncio.Queue[str]) -> None:
    """Keep one worker running until cancelled; one whose name (host:pid) comes out of `stuck` is killed and replaced.

    Raises ModelError if it cannot start, LostDependency if it keeps dying.
    """
    # -P: whatever lies in the current folder is not imported
    command = [sys.executable, "-P", "-m", "workers.serve", "--connect", endpoint]
    command += ["--exit-with-parent", str(os.getpid()), "--max-batch", str(options.max_batch)]
    command += ["--weights", options.weights, "--device", options.device]
    deaths = 0
    while True:
        started = time.monotonic()
        # a session of its own: Ctrl-C in the terminal stops the streamer, which then stops the worker
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, env=options.environment, start_new_session=True
        )
        try:
            code = await _wait(process, stuck)
        except asyncio.CancelledError:
            await _stop(process)
            raise
        if code == ModelError.exit_code:
            raise ModelError("the SwinFace worker could not start, see its message above")
        if code == 2:
            raise LostDependency("the SwinFace worker refused its arguments, see its message above")
        deaths = 1 if time.monotonic() - started > STEADY_S else deaths + 1
        if deaths > RESTARTS:
            raise LostDependency(f"the SwinFace worker ended {deaths} times, last with exit code {code}")
        log.warning("worker ended with exit code %d, starting another", code)
        await asyncio.sleep(deaths)


async def _wait(process: asyncio.subprocess.Process, stuck: asyncio.Queue[str]) -> int:
    """The exit code, also of a worker that had to be killed because it was stuck."""
    ended, noticed = asyncio.create_task(process.wait()), asyncio.create_task(_named(process.pid, stuck))
    try:
        await asyncio.wait({ended, noticed}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            log.warning("worker is stuck and is killed")
            process.kill()
        return await ended
    finally:
        ended.cancel()
        noticed.cancel()


async def _named(pid: int, stuck: asyncio.Queue[str]) -> None:
    """Wait for this worker's name: a worker that died is called stuck when the next one is already loading."""
    while (await stuck.get()).rpartition(":")[2] != str(pid):
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        log.warning("worker did not stop within %g s and is killed", STOP_S)
        process.kill()
        await process.wait()
