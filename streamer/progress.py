"""How far a recorded analysis is: a bar on a terminal, a log line every ten seconds elsewhere. A bar for any list."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LOG_EVERY_S = 10.0
RATE_AFTER_S = 1.0  # a rate of the first frames says nothing

T = TypeVar("T")
log = logging.getLogger(__name__)


class Progress:
    def __init__(self) -> None:
        rate = TextColumn("{task.fields[rate]:.1f} frames/s")
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()
        )
        self._tasks: dict[Path, tuple[TaskID, float]] = {}
        self._logged = 0.0

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, video: Path, done: int, total: int) -> None:
        """`done` frames of a video are analysed, of `total` (0: unknown)."""
        now = time.monotonic()
        if video not in self._tasks:
            self._tasks[video] = self._bar.add_task(video.name, total=total or None, rate=0.0), now
        task, began = self._tasks[video]
        rate = done / max(now - began, 1e-3)
        self._bar.update(task, completed=done, rate=rate)
        if not sys.stdout.isatty() and now - began > RATE_AFTER_S and now - self._logged > LOG_EVERY_S:
            self._logged = now
            left = f", {(total - done) / rate:.0f} s left" if total else ""
            log.info("%s: frame %d of %s, %.1f frames/s%s", video, done, total or "?", rate, left)


def with_bar(things: Sequence[T], name: str) -> Iterator[T]:
    """The same things, one by one; with a bar if standard error is a terminal, so that the output stays clean."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    terminal = sys.stderr.isatty() and len(things) > 1
    console = Console(stderr=True)  # standard output must not be led there, it may be a file
    with Bar(*columns, console=console, transient=True, redirect_stdout=False, disable=not terminal) as bar:
        yield from bar.track(things, description=name)
