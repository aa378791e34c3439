"""A thread that behaves like a task: it can be awaited, its failure is the task's failure, cancelling asks it to stop."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
JOIN_S = 5.0  # a cancelled thread gets so long to return


async def in_thread(name: str, function: Callable[[], T], stop: Callable[[], None]) -> T:
    """Run `function` in a thread of its own and wait for its result. When cancelled, `stop` must make it return."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = function()
        except BaseException as caught:  # the border of the thread: the awaiting task gets it
            error = caught
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([done], timeout=JOIN_S)
        if done.done() and not done.cancelled():
            done.exception()  # seen, the cancellation goes first
        raise
