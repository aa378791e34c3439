"""How far a long work has come."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Thing = TypeVar("Thing")
LOG_EVERY_S = 10.0

log = logging.getLogger(__name__)


def counted(things: Iterable[Thing], total: int, what: str) -> Iterator[Thing]:
    """The same things; a bar with rate and time left on a terminal (standard error), a line in the log elsewhere."""
    is_shown = sys.stderr.isatty()
    rate = TextColumn("{task.fields[rate]:.1f} images/s")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not is_shown, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total, rate=0.0)
        begun = logged = time.monotonic()
        for done, thing in enumerate(things, start=1):
            yield thing
            now = time.monotonic()
            speed = done / max(now - begun, 1e-3)
            bar.update(task, completed=done, rate=speed)
            if not is_shown and now - logged > LOG_EVERY_S:
                logged = now
                left = (total - done) / speed
                log.info("%s: %d of %d images, %.1f per second, %.0f s left", what, done, total, speed, left)
