"""Runs a worker as a child process, for runs on one machine (analyze, demo)."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from faceanalytics.commandline import BLAS_THREADS
from faceanalytics.errors import LostDependency, ModelError

WORKER_PACKAGES = ("torch", "safetensors", "openvino")  # what the extra `worker` installs
RESTARTS = 3  # a worker that dies more often than this has a fault that a restart does not cure
STEADY_S = 60.0  # a worker that ran longer than this resets the count of restarts
STOP_S = 10.0  # a worker that has not stopped this long after SIGTERM is killed

log = logging.getLogger(__name__)


def _environment() -> dict[str, str]:
    """Return the variables of this process that its worker gets.

    It prepares its weights by products whose last bits may depend on the number of threads, so that this number is that
    of a worker that was started by itself.
    """
    return {name: value for name, value in os.environ.items() if name != BLAS_THREADS}


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options of the worker process."""

    weights: str  # as `swinface worker --weights` takes them
    device: str = "cpu"
    max_batch: int = 16  # crops
    # Copied before the detector loads in a thread: loading changes variables for a moment. A process started meanwhile
    # would get the changed ones, or fail because their memory moves.
    environment: Mapping[str, str] = field(default_factory=_environment)


async def run_worker(options: WorkerOptions, endpoint: str, stuck: asyncio.Queue[str]) -> None:
    """Keep one worker running until cancelled. A worker whose name (host:pid) arrives in `stuck` is replaced.

    Raises ModelError if it cannot start, LostDependency if it keeps dying.
    """
    # -P: import nothing from the current folder
    command = [sys.executable, "-P", "-m", "workers.serve", "--connect", endpoint]
    command += ["--exit-with-parent", str(os.getpid()), "--max-batch", str(options.max_batch)]
    command += ["--weights", options.weights, "--device", options.device]
    deaths = 0
    while True:
        started = time.monotonic()
        # a session of its own: Ctrl-C in the terminal reaches the streamer only, which then stops the worker
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, env=options.environment, start_new_session=True
        )
        try:
            code = await _wait(process, stuck)
        except asyncio.CancelledError:
            await _stop(process)
            raise
        if code == ModelError.exit_code:
            raise ModelError("the SwinFace worker could not start; see its message above")
        if code == 2:
            raise LostDependency("the SwinFace worker refused its arguments; see its message above")
        deaths = 1 if time.monotonic() - started > STEADY_S else deaths + 1
        if deaths > RESTARTS:
            raise LostDependency(f"the SwinFace worker ended {deaths} times, last with exit code {code}")
        log.warning("worker ended with exit code %d, starting another", code)
        await asyncio.sleep(deaths)


async def _wait(process: asyncio.subprocess.Process, stuck: asyncio.Queue[str]) -> int:
    """Wait for the worker to end and return its exit code; kill it if it is reported stuck."""
    ended, stuck_report = asyncio.create_task(process.wait()), asyncio.create_task(_reported_stuck(process.pid, stuck))
    try:
        await asyncio.wait({ended, stuck_report}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            log.warning("worker is stuck and is killed")
            process.kill()
        return await ended
    finally:
        ended.cancel()
        stuck_report.cancel()


async def _reported_stuck(pid: int, stuck: asyncio.Queue[str]) -> None:
    """Wait until `stuck` names this worker. Late reports about its predecessors are ignored."""
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
