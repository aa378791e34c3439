"""Sends events to a broker many at a time, without changing the order of the events of a track."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from streamer.sinks.delivery import Refused, SinkEvent, Undelivered

AT_ONCE = 64  # events on their way to the broker, which makes up for the time until their acknowledgement


async def send_in_order(
    events: Sequence[SinkEvent], send: Callable[[SinkEvent], Awaitable[None]], at_once: int = AT_ONCE
) -> None:
    """Send events in order, each once the one before it of the same track is acknowledged.

    A broker that refuses one event and takes the next would otherwise get the first one behind the second. `send`
    returns with the acknowledgement, raises Undelivered, which ends all at once, or Refused, after which what is on
    its way is awaited: then all events before the refused one are acknowledged. Raises both with their place.
    """
    running: dict[asyncio.Task[None], int] = {}  # -> place in `events`
    of_track: dict[str, asyncio.Task[None]] = {}
    refused: dict[int, str] = {}

    def note(done: set[asyncio.Task[None]]) -> None:
        for task in done:
            try:
                task.result()
            except Refused as error:
                refused[running[task]] = str(error)
            del running[task]

    try:
        for place, event in enumerate(events):
            before = of_track.get(event.track_id)
            while len(running) >= at_once or before in running:
                note((await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))[0])
            if refused:
                break
            task = asyncio.ensure_future(send(event))
            running[task] = place
            of_track[event.track_id] = task
        while running:
            note((await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))[0])
    except Undelivered as error:
        error.delivered = min([*(place for task, place in running.items() if not _acknowledged(task)), *refused])
        raise
    finally:
        left = list(running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    if refused:
        place = min(refused)
        raise Refused(refused[place], place)


def _acknowledged(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
