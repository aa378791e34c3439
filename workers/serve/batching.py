"""Decide which batches are computed together, and when; the caller supplies the batches and the clock."""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from workers.runtime.engine import Bytes
from workers.serve.messages import Batch

Link = TypeVar("Link")


@dataclass(frozen=True, slots=True, eq=False)
class PendingBatch(Generic[Link]):
    """A batch that is not answered yet, and where its answer goes."""

    link: Link
    batch: Batch
    arrived: float  # seconds of a monotonic clock


class Queue(Generic[Link]):
    """Batches in the order of arrival. None overtakes another: one that does not fit comes first the next time."""

    def __init__(self, max_crops: int, max_wait_s: float) -> None:
        """`max_crops`: most crops of one inference; no batch may have more.

        `max_wait_s`: how long a batch may wait for batches of other streamers.
        """
        self._max_crops = max_crops
        self._max_wait_s = max_wait_s
        self._pending: deque[PendingBatch[Link]] = deque()

    def __contains__(self, link: Link) -> bool:
        return any(pending.link == link for pending in self._pending)

    @property
    def next_deadline(self) -> float | None:
        """Time at which the oldest batch must be computed; None: the queue is empty."""
        return self._pending[0].arrived + self._max_wait_s if self._pending else None

    def add(self, link: Link, batch: Batch, now: float) -> None:
        self._pending.append(PendingBatch(link, batch, now))

    def take(self, now: float, others_may_come: bool) -> list[PendingBatch[Link]] | None:
        """Remove and return the batches to compute now as one inference; None: there are none, or it pays to wait."""
        deadline = self.next_deadline
        if deadline is None:
            return None
        full = sum(_crops(pending) for pending in self._pending) >= self._max_crops
        return self._pop() if full or now >= deadline or not others_may_come else None

    def _pop(self) -> list[PendingBatch[Link]]:
        """Remove and return whole batches from the front, as many as fit into one inference."""
        batches = [self._pending.popleft()]
        room = self._max_crops - _crops(batches[0])
        while self._pending and _crops(self._pending[0]) <= room:
            room -= _crops(self._pending[0])
            batches.append(self._pending.popleft())
        return batches


def joined_pixels(batches: list[Batch]) -> Bytes:
    """Return the pixels of all batches in order, (n, 112, 112, 3), without a copy if there is only one."""
    return batches[0].pixels if len(batches) == 1 else np.concatenate([batch.pixels for batch in batches])


def _crops(pending: PendingBatch[Link]) -> int:
    return len(pending.batch.crop_ids)
