"""Which batches are computed together, and when: a pure decision. The loop brings the batches and the clock."""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from workers.runtime.engine import Bytes
from workers.serve.messages import Batch

Link = TypeVar("Link")


@dataclass(frozen=True, slots=True, eq=False)
class Waiting(Generic[Link]):
    """A batch that has not begun, and where its answer goes."""

    link: Link
    batch: Batch
    since: float  # arrival, seconds of a clock that never goes back


class Queue(Generic[Link]):
    """Batches in the order in which they came. None is overtaken: what does not fit is the first of the next ones."""

    def __init__(self, max_crops: int, max_wait_s: float) -> None:
        """`max_crops` of one inference: no single batch may have more. `max_wait_s`: for the batches of others."""
        self._max_crops = max_crops
        self._max_wait_s = max_wait_s
        self._waiting: deque[Waiting[Link]] = deque()

    def __contains__(self, link: Link) -> bool:
        return any(waiting.link == link for waiting in self._waiting)

    @property
    def next_deadline(self) -> float | None:
        """When the oldest batch leaves at the latest; None: nothing waits."""
        return self._waiting[0].since + self._max_wait_s if self._waiting else None

    def add(self, link: Link, batch: Batch, now: float) -> None:
        self._waiting.append(Waiting(link, batch, now))

    def take(self, now: float, others_may_come: bool) -> list[Waiting[Link]] | None:
        """What is to be computed now, as one inference; None: nothing, or it is worth to wait for others."""
        deadline = self.next_deadline
        if deadline is None:
            return None
        full = sum(_crops(waiting) for waiting in self._waiting) >= self._max_crops
        return self._pop() if full or now >= deadline or not others_may_come else None

    def _pop(self) -> list[Waiting[Link]]:
        """Whole batches from the front, as many as fit together."""
        taken = [self._waiting.popleft()]
        room = self._max_crops - _crops(taken[0])
        while self._waiting and _crops(self._waiting[0]) <= room:
            room -= _crops(self._waiting[0])
            taken.append(self._waiting.popleft())
        return taken


def together(batches: list[Batch]) -> Bytes:
    """The pixels of the batches one after the other, (n, 112, 112, 3); those of a single one are not copied."""
    return batches[0].pixels if len(batches) == 1 else np.concatenate([batch.pixels for batch in batches])


def _crops(waiting: Waiting[Link]) -> int:
    return len(waiting.batch.crop_ids)
