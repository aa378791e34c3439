"""A thread that behaves like a task: awaited, its failure is the task's failure, cancelling asks it to stop."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
JOIN_S = 1.0  # a cancelled thread gets so long to return


async def in_thread(name: str, function: Callable[[], T], stop: Callable[[], None]) -> T:
    """Run `function` in a thread of its own and wait for its result. When cancelled, `stop` must make it return."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def resolve(result: T | None, error: BaseException | None) -> None:
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
        except StopIteration as caught:  # a future refuses it, and the awaiting task would wait for ever
            error = RuntimeError("StopIteration in a thread")
            error.__cause__ = caught
        except BaseException as caught:  # the border of the thread: the awaiting task gets it
            error = caught
        try:
            loop.call_soon_threadsafe(resolve, result, error)
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


class Delivery(Generic[T]):
    """Called from one thread: hands a value to `accept` on the loop and waits until it is taken in."""

    def __init__(self, loop: asyncio.AbstractEventLoop, accept: Callable[[T], Awaitable[None]]) -> None:
        self._loop = loop
        self._accept = accept
        self._lock = threading.Lock()
        self._under_way: concurrent.futures.Future[None] | None = None
        self._closed = False

    def __call__(self, value: T) -> None:
        """Raises what `accept` raises, and CancelledError (concurrent.futures) once closed."""
        with self._lock:
            if self._closed:
                raise concurrent.futures.CancelledError
            self._under_way = asyncio.run_coroutine_threadsafe(self._take_in(value), self._loop)
        self._under_way.result()

    def close(self) -> None:
        """Give up what is under way; later calls fail."""
        with self._lock:
            self._closed = True
            if self._under_way is not None:
                self._under_way.cancel()

    async def _take_in(self, value: T) -> None:
        await self._accept(value)
