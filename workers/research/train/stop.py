"""When a training stops before its end: a signal, or an image that cannot be read, in any of its processes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from faceanalytics.errors import InputError
from workers.research.train.loader import Batch
from workers.research.train.losses import known
from workers.research.train.process import Process


@dataclass(slots=True)
class StopRequest:
    """A signal that asks the training to save and stop."""

    signal: int = 0

    @property
    def exit_code(self) -> int:
        """SIGTERM where it was another process that got the signal."""
        return 128 + (self.signal or signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all processes know before a step."""

    known: dict[str, float]  # by slug: faces of all processes that have the label
    stopped: bool = False
    unreadable: bool = False


def agree(batch: Batch | InputError, slugs: tuple[str, ...], process: Process, stop_request: StopRequest) -> Agreement:
    """Stop all, or go on with the number of labels of all."""
    unreadable = isinstance(batch, InputError)
    counts = dict.fromkeys(slugs, 0) if isinstance(batch, InputError) else known(batch.targets)
    told = process.sums([float(stop_request.signal != 0), float(unreadable), *(float(counts[slug]) for slug in slugs)])
    return Agreement(dict(zip(slugs, told[2:], strict=True)), bool(told[0] or told[1]), bool(told[1]))


def unreadable(batch: Batch | InputError) -> InputError:
    reason = str(batch) if isinstance(batch, InputError) else "another process met an image that it cannot read"
    return InputError(
        f"{reason}\nThe training was saved and has stopped. `swinface data check` lists all such images and writes a "
        "file for the set's option `exclude`; go on with --resume last --allow-changes"
    )


@contextmanager
def asking() -> Iterator[StopRequest]:
    """The first SIGTERM or SIGINT asks the training to save and stop, the second one ends it at once."""
    stop_request = StopRequest()

    def ask(number: int, _: FrameType | None) -> None:
        if stop_request.signal:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop_request.signal = number

    before: dict[int, Any] = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop_request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
