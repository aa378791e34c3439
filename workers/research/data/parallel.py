"""Apply a function to many items in several processes, which end when their parent does."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from faceanalytics.errors import UserError

Result = TypeVar("Result")
SIGNALS = {signal.SIGINT, signal.SIGTERM}
END_S = 30.0  # time for a process to finish its current work before it is killed


def cores() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def parallel(
    start: Callable[[], Callable[[int], Result]],
    items: Sequence[int],
    processes: int,
    at_once: int,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Generator[Result, None, None]:
    """Yield the results for all items in the order of completion.

    `start` is called in each process and returns the function to apply. `at_once` items are sent together. Once
    `is_stopped`, no more items are sent, and those in progress are finished. Raises a UserError of a process, and
    RuntimeError if a process died.
    """
    remaining = iter(items)
    links: dict[Connection, SpawnProcess] = {}
    with _signals_blocked():  # only the parent handles signals and then ends the processes
        for _ in range(min(processes, -(-len(items) // at_once))):
            links.update([_begin(start)])
    try:
        busy = [link for link in links if _send(link, links[link], list(islice(remaining, at_once)))]
        while busy:
            for link in [ready for ready in wait(busy) if isinstance(ready, Connection)]:
                yield from _receive(link, links[link])
                more = [] if is_stopped() else list(islice(remaining, at_once))
                if not _send(link, links[link], more):
                    busy.remove(link)
    finally:
        _end(links)


def _begin(start: Callable[[], Callable[[int], Any]]) -> tuple[Connection, SpawnProcess]:
    link, remote = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(remote, start), daemon=True)
    process.start()
    remote.close()  # now only the process holds it, so each end notices when the other has gone
    return link, process


def _serve(link: Connection, start: Callable[[], Callable[[int], Any]]) -> None:
    """Work until the link is closed. A bug ends the process with a traceback on standard error."""
    try:
        work = start()
        while True:
            items: list[int] = link.recv()
            results = [work(item) for item in items]
            link.send(results)
    except UserError as error:
        link.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # no more work, or the parent was killed
        return


def _send(link: Connection, process: SpawnProcess, items: list[int]) -> bool:
    """Send items to a process; return False if there are none."""
    if items:
        try:
            link.send(items)
        except OSError as error:
            raise RuntimeError(_died(process)) from error
    return bool(items)


def _receive(link: Connection, process: SpawnProcess) -> list[Any]:
    try:
        answer = link.recv()
    except (EOFError, ConnectionResetError) as error:
        raise RuntimeError(_died(process)) from error
    if isinstance(answer, UserError):
        raise answer
    return list(answer)


def _died(process: SpawnProcess) -> str:
    process.join(END_S)
    return f"process {process.pid} died during its work with exit code {process.exitcode}"


def _end(links: dict[Connection, SpawnProcess]) -> None:
    for link in links:
        link.close()
    for process in links.values():
        process.join(END_S)
        if process.is_alive():
            process.kill()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block signals for processes that are started inside."""
    resource_tracker.ensure_running()  # otherwise multiprocessing starts it with the first process, unblocking signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
