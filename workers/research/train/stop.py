"""Stop a training early, in all processes together, after a signal or an unreadable image in one of them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from faceanalytics.errors import InputError
from workers.research.train.loader import Batch
from workers.research.train.losses import count_known
from workers.research.train.process import Process


@dataclass(slots=True)
class StopRequest:
    """A signal that asks the training to save and stop."""

    signal: int = 0

    @property
    def exit_code(self) -> int:
        """128 + the signal's number; that of SIGTERM if another process got the signal."""
        return 128 + (self.signal or signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class StepStatus:
    """What all processes know of each other before a step."""

    known: dict[str, float]  # by slug: faces of all processes with a known label
    stopped: bool = False
    unreadable: bool = False


def exchange_status(
    batch: Batch | InputError, slugs: tuple[str, ...], process: Process, stop_request: StopRequest
) -> StepStatus:
    """Exchange with all processes whether one of them has to stop, and how many labels they have."""
    unreadable = isinstance(batch, InputError)
    counts = dict.fromkeys(slugs, 0) if isinstance(batch, InputError) else count_known(batch.targets)
    totals = process.sums(
        [float(stop_request.signal != 0), float(unreadable), *(float(counts[slug]) for slug in slugs)]
    )
    return StepStatus(dict(zip(slugs, totals[2:], strict=True)), bool(totals[0] or totals[1]), bool(totals[1]))


def unreadable_error(batch: Batch | InputError) -> InputError:
    """Return the error of a training that stopped at an unreadable image."""
    reason = str(batch) if isinstance(batch, InputError) else "another process could not read an image"
    return InputError(
        f"{reason}\nThe training was saved and has stopped. `swinface data check` lists all such images and writes a "
        "file for the set's option `exclude`; then go on with --resume last --allow-changes"
    )


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Let the first SIGTERM or SIGINT set the stop request, and a second one end the process at once."""
    stop_request = StopRequest()

    def on_signal(number: int, _: FrameType | None) -> None:
        if stop_request.signal:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop_request.signal = number

    before: dict[int, Any] = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop_request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
