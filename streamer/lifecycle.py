"""Run threads like asyncio tasks: they are awaited, their exceptions propagate, and cancelling asks them to stop."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
JOIN_S = 1.0  # longest wait for a cancelled thread to return


async def in_thread(name: str, function: Callable[[], T], stop: Callable[[], None]) -> T:
    """Run `function` in its own thread and wait for its result. Cancelling calls `stop`, which must make it return."""
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
        except StopIteration as caught:  # a future refuses it, and the awaiting task would wait forever
            error = RuntimeError("StopIteration in a thread")
            error.__cause__ = caught
        except BaseException as caught:  # thread boundary: the awaiting task raises it
            error = caught
        try:
            loop.call_soon_threadsafe(resolve, result, error)
        except RuntimeError:  # the loop is closed: nobody is waiting
            return

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([done], timeout=JOIN_S)
        if done.done() and not done.cancelled():
            done.exception()  # mark it as retrieved; the cancellation takes precedence
        raise


class Delivery(Generic[T]):
    """Pass values from a thread to the coroutine `accept` on the loop, one after the other.

    While a value is being accepted, the thread goes on up to the next one. Call it from one thread only.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, accept: Callable[[T], Awaitable[None]]) -> None:
        self._loop = loop
        self._accept = accept
        self._lock = threading.Lock()
        self._under_way: concurrent.futures.Future[None] | None = None
        self._closed = False

    def __call__(self, value: T) -> None:
        """Deliver a value, once the one before is accepted.

        Raises what `accept` has raised for that one, and concurrent.futures.CancelledError once closed.
        """
        self._finish()
        with self._lock:
            if self._closed:
                raise concurrent.futures.CancelledError
            self._under_way = asyncio.run_coroutine_threadsafe(self._take_in(value), self._loop)

    def all_of(self, work: Callable[[], None]) -> None:
        """Do `work`, which delivers values, and wait until the last one is accepted. Raises as a delivery does."""
        work()
        self._finish()

    def close(self) -> None:
        """Cancel the delivery in progress; later calls fail."""
        with self._lock:
            self._closed = True
            if self._under_way is not None:
                self._under_way.cancel()

    def _finish(self) -> None:
        if self._under_way is not None:
            self._under_way.result()

    async def _take_in(self, value: T) -> None:
        await self._accept(value)
