"""Runs one job: its process, and the relay that has its crops analysed by the workers of the streamer."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from faceanalytics.errors import UserError
from streamer.dispatch.dispatcher import Dispatcher
from streamer.dispatch.relay import Relay
from streamer.jobs.frozen import thawed
from streamer.jobs.job import Job, Progress, TooMuch
from streamer.jobs.places import CONFIG, RESULTS
from streamer.jobs.process import Analysis, Outcome
from streamer.jobs.uploads import Uploads
from streamer.privacy import Mode

LOOK_S = 5.0  # time between two looks at the room that is left


async def run_job(
    job: Job,
    places: tuple[Path, Path, Path],
    dispatcher: Dispatcher,
    batch: int,
    uploads: Uploads,
    on_progress: Callable[[str, Progress], None],
    mode: Mode = Mode.IDENTITY,
) -> Outcome:
    """Run a job to its end. Cancelling it stops its process; another run goes on where it was.

    `places`: its recording, its folder, and the socket between its process and the streamer; `batch` and
    `mode`: the present dispatch.batch and privacy.mode.
    """
    recording, folder, socket = places
    try:
        settings, size = thawed(job.config, socket, batch, mode)
        folder.mkdir(mode=0o700, exist_ok=True)
        config = folder / CONFIG
        config.write_text(json.dumps(settings), encoding="utf-8")
        analysis = Analysis(recording, folder / RESULTS, config, job.options.arguments())
        relay = Relay(dispatcher, f"ipc://{socket}", size)
        return await _first(analysis.run(lambda progress: on_progress(job.id, progress)), relay.run(), _room(uploads))
    except (UserError, TooMuch) as error:
        return Outcome(str(error))
    except OSError as error:
        return Outcome(f"it cannot be started: {error.strerror}")


async def _first(analysis: Coroutine[None, None, Outcome], *others: Coroutine[None, None, None]) -> Outcome:
    """Return what the analysis returns, or raise what one of the others does. All have ended then."""
    main = asyncio.ensure_future(analysis)
    tasks: set[asyncio.Future[Any]] = {main, *(asyncio.ensure_future(one) for one in others)}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return main.result() if main in ended else next(task.result() for task in ended)


async def _room(uploads: Uploads) -> None:
    """Wait until there is no room left for results. Raises TooMuch."""
    while True:
        await asyncio.sleep(LOOK_S)
        await uploads.check_room()
