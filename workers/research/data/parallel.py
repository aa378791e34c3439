"""The same work on many things in several processes, which end with the one that started them."""

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
END_S = 30.0  # a process that was told to end has so long to finish what is under way


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def parallel(
    start: Callable[[], Callable[[int], Result]],
    items: Sequence[int],
    processes: int,
    at_once: int,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Generator[Result, None, None]:
    """What the function that `start` makes in each process gives for each item, in the order in which it is done.

    `start` is sent to the processes; `at_once` items are handed over together. Once `is_stopped`, no more are handed
    over, and those under way are finished. A UserError of a process is raised here; RuntimeError if one has died.
    """
    waiting = iter(items)
    links: dict[Connection, SpawnProcess] = {}
    with _signals_blocked():  # they are for the process that was started by the user: it says when to end
        for _ in range(min(processes, -(-len(items) // at_once))):
            links.update([_begin(start)])
    try:
        busy = [link for link in links if _hand_over(link, links[link], list(islice(waiting, at_once)))]
        while busy:
            for link in [ready for ready in wait(busy) if isinstance(ready, Connection)]:
                yield from _receive(link, links[link])
                more = [] if is_stopped() else list(islice(waiting, at_once))
                if not _hand_over(link, links[link], more):
                    busy.remove(link)
    finally:
        _end(links)


def _begin(start: Callable[[], Callable[[int], Any]]) -> tuple[Connection, SpawnProcess]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, start), daemon=True)
    process.start()
    there.close()  # now only the process holds it, so that each end sees when the other has gone
    return here, process


def _serve(link: Connection, start: Callable[[], Callable[[int], Any]]) -> None:
    """The whole life of a process. A bug ends it, and its trace is on standard error."""
    try:
        work = start()
        while True:
            items: list[int] = link.recv()
            results = [work(item) for item in items]
            link.send(results)
    except UserError as error:
        link.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # no more work, or the other process has been killed
        return


def _hand_over(link: Connection, process: SpawnProcess, items: list[int]) -> bool:
    """False if there are none."""
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
    return f"process {process.pid} died in the middle of its work with exit code {process.exitcode}"


def _end(links: dict[Connection, SpawnProcess]) -> None:
    for link in links:
        link.close()
    for process in links.values():
        process.join(END_S)
        if process.is_alive():
            process.kill()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A process started inside never sees them."""
    resource_tracker.ensure_running()  # multiprocessing would start it with the first process, and unblock signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
