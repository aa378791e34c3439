"""Which crops wait, which are out at which worker, which ended tracks still have some: no socket, no clock."""

import itertools
from collections import Counter, OrderedDict
from dataclasses import dataclass

from streamer.config import Dispatch
from streamer.values import FaceCrop, Model, TrackEnd


@dataclass(slots=True)
class Worker:
    name: str
    model: Model
    max_batch: int
    heard: float  # s, monotonic
    batch: int | None = None  # what it computes now
    idle: bool = True  # it has said READY since its last batch


@dataclass(slots=True)
class Batch:
    id: int
    crops: dict[int, FaceCrop]  # by crop id, in the order they are sent
    deadline: float = 0.0  # s, monotonic
    tries: int = 0


class Ledger:
    """Which crops wait, which are out at which worker, and which ended tracks still have some.

    Live, one crop per track waits (a newer one replaces it). Recorded, all wait, and the batches depend on the order
    of `offer` and `seal` alone, so that results do not depend on timing.
    """

    def __init__(self, config: Dispatch, live: bool) -> None:
        self._config = config
        self._live = live
        self._ids = itertools.count(1)
        self._waiting: OrderedDict[str, FaceCrop] = OrderedDict()  # live: by track id
        self._filling: list[FaceCrop] = []  # recorded: the next batch, not full yet
        self._ready: list[Batch] = []  # batches that go out as they are: full, sealed, or once more
        self._out: dict[int, Batch] = {}
        self.workers: dict[bytes, Worker] = {}
        self._open: Counter[str] = Counter()  # crops per track that are not settled
        self._ended: dict[str, TrackEnd] = {}  # ended tracks with open crops

    @property
    def waiting(self) -> int:
        """Crops no worker has."""
        return len(self._waiting) + len(self._filling) + sum(len(batch.crops) for batch in self._ready)

    @property
    def settled(self) -> bool:
        """Nothing waits and nothing is out."""
        return not self.waiting and not self._out

    def offer(self, crop: FaceCrop) -> tuple[FaceCrop, str] | None:
        """Take a crop in; what that pushed out, and why."""
        self._open[crop.key.id] += 1
        if not self._live:
            self._filling.append(crop)
            if len(self._filling) == self._config.batch:
                self.seal()
            return None
        older = self._waiting.pop(crop.key.id, None)
        self._waiting[crop.key.id] = crop
        if older is not None:
            return older, "superseded"
        if self.waiting > self._config.max_waiting:
            worst = min(self._waiting, key=lambda track: self._waiting[track].quality.value)
            return self._waiting.pop(worst), "overload"
        return None

    def seal(self) -> None:
        """Recorded: no crop is added to the batch that is being filled."""
        if self._filling:
            self._ready.append(self._batch(self._filling))
            self._filling = []

    def end(self, end: TrackEnd) -> TrackEnd | None:
        """A track has ended; returned if nothing of it is open, else by the `settle` of its last crop."""
        if self._open[end.key.id]:
            self._ended[end.key.id] = end
            return None
        del self._open[end.key.id]
        return end

    def settle(self, crop: FaceCrop) -> TrackEnd | None:
        """A crop was answered or given up; the end of its track if that was the last one."""
        track = crop.key.id
        self._open[track] -= 1
        if self._open[track] > 0:
            return None
        del self._open[track]
        return self._ended.pop(track, None)

    def assign(self, now: float) -> list[tuple[bytes, Batch]]:
        """Batches for the idle workers; each is out from here on."""
        assigned = []
        for address, worker in self.workers.items():
            if not worker.idle:
                continue
            batch = self._next_batch(worker.max_batch)
            if batch is None:
                continue
            worker.idle, worker.batch = False, batch.id
            batch.tries += 1
            batch.deadline = now + self._config.answer_within_s
            self._out[batch.id] = batch
            assigned.append((address, batch))
        return assigned

    def _next_batch(self, max_batch: int) -> Batch | None:
        for index, batch in enumerate(self._ready):
            if len(batch.crops) <= max_batch:
                return self._ready.pop(index)
        size = min(self._config.batch, max_batch, len(self._waiting))
        return self._batch([self._waiting.popitem(last=False)[1] for _ in range(size)]) if size else None

    def _batch(self, crops: list[FaceCrop]) -> Batch:
        return Batch(next(self._ids), {next(self._ids): crop for crop in crops})

    def answered(self, address: bytes, batch_id: int) -> Batch | None:
        """The batch this worker was asked for, if it still is; it is out no more."""
        worker = self.workers.get(address)
        if worker is None or worker.batch != batch_id:
            return None
        worker.batch = None
        return self._out.pop(batch_id, None)

    def failed(self, batch: Batch, retry: bool) -> list[FaceCrop]:
        """A batch came to nothing: it is sent again if that may help, else its crops are given up (returned)."""
        if not retry or batch.tries > self._config.retries:
            return list(batch.crops.values())
        self._ready.append(batch)
        return []

    def gone(self, address: bytes) -> Batch | None:
        """Forget a worker; the batch it had, if any."""
        worker = self.workers.pop(address, None)
        return self._out.pop(worker.batch, None) if worker is not None and worker.batch is not None else None

    def silent(self, now: float) -> list[bytes]:
        """Workers that have said nothing for too long."""
        return [a for a, worker in self.workers.items() if now - worker.heard > self._config.worker_silent_s]

    def overdue(self, now: float) -> list[tuple[Worker, Batch]]:
        """Workers with a batch whose time is up; it is out no more."""
        late = []
        for worker in self.workers.values():
            batch = self._out.get(worker.batch) if worker.batch is not None else None
            if batch is not None and now > batch.deadline:
                del self._out[batch.id]
                worker.batch = None  # it may still answer or say READY, but nothing is expected of it
                late.append((worker, batch))
        return late

    def stale(self, now: float) -> list[FaceCrop]:
        """Live: crops that waited too long; they wait no more."""
        if not self._live:
            return []
        limit = now - self._config.max_wait_s
        old = [self._waiting.pop(key) for key in [key for key, crop in self._waiting.items() if crop.received < limit]]
        for batch in [batch for batch in self._ready if any(crop.received < limit for crop in batch.crops.values())]:
            self._ready.remove(batch)
            old += batch.crops.values()
        return old

    def give_up(self) -> list[FaceCrop]:
        """Everything that is not settled."""
        batches = [*self._ready, *self._out.values()]
        crops = [*self._waiting.values(), *self._filling, *(crop for batch in batches for crop in batch.crops.values())]
        self._waiting.clear()
        self._filling.clear()
        self._ready.clear()
        self._out.clear()
        return crops
