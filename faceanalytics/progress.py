"""How far a long job is: a bar on a terminal (standard error), a log line every ten seconds elsewhere."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from faceanalytics.logs import logs_json

LOG_EVERY_S = 10.0

T = TypeVar("T")
log = logging.getLogger(__name__)


class Progress:
    """Named tasks, each with its rate in `unit` per second."""

    def __init__(self, unit: str, shown: bool | None = None) -> None:
        """`shown`: draw the bar; None: if standard error is a terminal and the log is not JSON."""
        self._unit = unit
        self._shown = _has_room() if shown is None else shown
        rate = TextColumn("{task.fields[rate]:.1f} " + f"{unit}/s")
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()
        # standard output must not be redirected: it may be the result
        self._bar = Bar(*columns, console=Console(stderr=True), disable=not self._shown, redirect_stdout=False)
        self._tasks: dict[str, tuple[TaskID, float]] = {}
        self._logged = time.monotonic()

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, name: str, done: int, total: int) -> None:
        """`done` items of a task are ready, of `total` (0: unknown)."""
        now = time.monotonic()
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=total or None, rate=0.0), now
            self._logged = now  # the time before the first item is loading, and the rate of one item says nothing
        task, began = self._tasks[name]
        rate = done / max(now - began, 1e-3)
        self._bar.update(task, completed=done, rate=rate)
        if not self._shown and now - self._logged > LOG_EVERY_S:
            self._logged = now
            left = f", {(total - done) / rate:.0f} s left" if total else ""
            unit = self._unit
            log.info("%s: %d of %s %s, %.1f %s/s%s", name, done, total or "?", unit, rate, unit, left)


def counted(things: Iterable[T], total: int, name: str, unit: str = "images", shown: bool | None = None) -> Iterator[T]:
    """Yield the same things; each counts as done when the next one is asked for."""
    with Progress(unit, shown) as progress:
        for done, thing in enumerate(things, start=1):
            yield thing
            progress.update(name, done, total)


def download_bar() -> Bar:
    """Bytes and bytes per second, on standard error if that is a terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    return Bar(*columns, console=Console(stderr=True), disable=not _has_room())


def _has_room() -> bool:
    """Return whether a bar can be drawn: JSON lines must stay alone."""
    return sys.stderr.isatty() and not logs_json()
