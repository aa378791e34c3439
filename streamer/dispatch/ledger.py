"""Which crops wait, and which are out at which worker: no socket, no clock.

Crops come from clients of two kinds. The live lane keeps the newest crop of each track. A request keeps all its crops,
in batches that depend on their order alone, until each is answered or has been lost too often.
"""

import enum
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamer.config import Dispatch
from streamer.dispatch.live_lane import LiveLane
from streamer.values import Bytes, FaceAnalysis, FaceCrop, Model

MAX_IN_A_ROW = 8  # batches of the most urgent client while others wait; then one of theirs goes, so that none starves


class Priority(enum.IntEnum):
    """Whose crops go first when several clients wait: the lower number."""

    LIVE = 0  # cameras
    SEARCH = 1  # somebody waits for the answer
    ENROLMENT = 2
    RECORDED = 3


@dataclass(slots=True)
class Worker:
    name: str
    model: Model
    max_batch: int
    heard: float  # s, monotonic
    batch: int | None = None  # what it computes now
    idle: bool = True  # it has said READY since its last batch


@dataclass(slots=True, eq=False)
class Request:
    """Crops whose analyses one client waits for."""

    priority: Priority
    analyses: list[FaceAnalysis | None]  # in the order of the crops; None: not answered
    unresolved: int  # crops that are neither answered nor given up
    batches: "deque[Batch]" = field(default_factory=deque)  # that wait
    withdrawn: bool = False  # nobody waits any longer


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One crop that is to be analysed, and which client gets the answer."""

    pixels: Bytes  # (112, 112, 3) RGB
    crop: FaceCrop | None = None  # of the live lane
    request: Request | None = None
    place: int = 0  # in the request


@dataclass(slots=True, eq=False)
class Batch:
    id: int
    jobs: dict[int, Job]  # by crop id, in the order they are sent
    request: Request | None  # None: of the live lane
    deadline: float = 0.0  # s, monotonic
    tries: int = 0

    @property
    def retries(self) -> bool:
        """Whether it is sent again after a worker failed: live crops would be outdated by then."""
        return self.request is not None


class Ledger:
    """Workers, the live lane, the waiting requests, and the batches that are out."""

    def __init__(self, config: Dispatch) -> None:
        self._config = config
        self._ids = itertools.count(1)
        self.live = LiveLane(config)
        self._live_again: deque[Batch] = deque()  # whose worker has gone
        self._requests: dict[Priority, deque[Request]] = {priority: deque() for priority in Priority}
        self._in_a_row = 0  # batches of the most urgent client since another one that waits had a turn
        self._turns = itertools.count(1)
        self._last_turn = dict.fromkeys(Priority, 0)
        self._out: dict[int, Batch] = {}
        self.workers: dict[bytes, Worker] = {}

    @property
    def waiting(self) -> int:
        """Crops that no worker has."""
        batches = [*self._live_again]
        for requests in self._requests.values():
            batches += [batch for request in requests for batch in request.batches]
        return len(self.live) + sum(len(batch.jobs) for batch in batches)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is out."""
        return not self._out and not self.waiting

    def add(self, crops: Sequence[Bytes], priority: Priority) -> Request:
        """Let the crops (112, 112, 3) of a client wait, in batches of `dispatch.batch` in their order."""
        request = Request(priority, [None] * len(crops), len(crops))
        size = self._config.batch
        for start in range(0, len(crops), size):
            part = range(start, min(start + size, len(crops)))
            request.batches.append(self._batch([Job(crops[at], request=request, place=at) for at in part], request))
        if request.batches:
            self._requests[priority].append(request)
        return request

    def withdraw(self, request: Request) -> None:
        """Nobody waits for this request any longer: what has not gone out is dropped."""
        request.withdrawn = True
        request.batches.clear()
        if request in self._requests[request.priority]:
            self._requests[request.priority].remove(request)

    def assign(self, now: float) -> list[tuple[bytes, Batch]]:
        """Batches for the idle workers; each is out from here on."""
        assigned = []
        for address, worker in self.workers.items():
            batch = self._next_batch(worker.max_batch) if worker.idle else None
            if batch is None:
                continue
            worker.idle, worker.batch = False, batch.id
            batch.tries += 1
            batch.deadline = now + self._config.answer_within_s
            self._out[batch.id] = batch
            assigned.append((address, batch))
        return assigned

    def _next_batch(self, max_batch: int) -> Batch | None:
        """Of the most urgent client that waits; after MAX_IN_A_ROW of these, of the one whose last turn is longest ago.

        So a live crop waits for one batch of another client at most.
        """
        waiting = [priority for priority in Priority if self._waits(priority)]
        if not waiting:
            return None
        chosen, *others = waiting
        self._in_a_row = self._in_a_row + 1 if others else 0
        if self._in_a_row > MAX_IN_A_ROW:
            self._in_a_row = 0
            chosen = min(others, key=self._last_turn.__getitem__)
        self._last_turn[chosen] = next(self._turns)
        return self._live_batch(max_batch) if chosen is Priority.LIVE else self._request_batch(chosen, max_batch)

    def _waits(self, priority: Priority) -> bool:
        if priority is Priority.LIVE:
            return bool(self._live_again or self.live)
        return bool(self._requests[priority])

    def _live_batch(self, max_batch: int) -> Batch:
        if self._live_again:
            return self._fitting(self._live_again, max_batch)
        crops = self.live.take(min(self._config.batch, max_batch))
        return self._batch([Job(crop.pixels, crop=crop) for crop in crops], None)

    def _request_batch(self, priority: Priority, max_batch: int) -> Batch:
        """Of the request whose turn it is; requests of one priority take turns."""
        request = self._requests[priority].popleft()
        batch = self._fitting(request.batches, max_batch)
        if request.batches:
            self._requests[priority].append(request)
        return batch

    def _fitting(self, batches: deque[Batch], max_batch: int) -> Batch:
        """The first batch, or as much of it as this worker takes."""
        batch = batches[0]
        if len(batch.jobs) <= max_batch:
            return batches.popleft()
        part = Batch(next(self._ids), dict(itertools.islice(batch.jobs.items(), max_batch)), batch.request)
        part.tries = batch.tries
        for crop_id in part.jobs:
            del batch.jobs[crop_id]
        return part

    def _batch(self, jobs: list[Job], request: Request | None) -> Batch:
        return Batch(next(self._ids), {next(self._ids): job for job in jobs}, request)

    def answered(self, address: bytes, batch_id: int) -> Batch | None:
        """The batch that this worker has, if it is this one; it is no longer out."""
        worker = self.workers.get(address)
        if worker is None or worker.batch != batch_id:
            return None
        worker.batch = None
        return self._out.pop(batch_id, None)

    def failed(self, batch: Batch, retry: bool) -> list[Job]:
        """A batch came to nothing: it waits again if `retry` and it has not been tried too often; else its jobs, to be
        given up."""
        gone = batch.request is not None and batch.request.withdrawn
        if gone or not retry or batch.tries > self._config.retries:
            return list(batch.jobs.values())
        if batch.request is None:
            self._live_again.append(batch)
            return []
        batch.request.batches.appendleft(batch)
        if batch.request not in self._requests[batch.request.priority]:
            self._requests[batch.request.priority].appendleft(batch.request)
        return []

    def gone(self, address: bytes) -> Batch | None:
        """Forget a worker; the batch it had, if any."""
        worker = self.workers.pop(address, None)
        return self._out.pop(worker.batch, None) if worker is not None and worker.batch is not None else None

    def silent(self, now: float) -> list[bytes]:
        """Workers that have said nothing for too long."""
        return [a for a, worker in self.workers.items() if now - worker.heard > self._config.worker_silent_s]

    def overdue(self, now: float) -> list[tuple[Worker, Batch]]:
        """Workers with a batch whose time is up; it is no longer out."""
        late = []
        for worker in self.workers.values():
            batch = self._out.get(worker.batch) if worker.batch is not None else None
            if batch is not None and now > batch.deadline:
                del self._out[batch.id]
                worker.batch = None  # it may still answer or say READY, but nothing is expected of it
                late.append((worker, batch))
        return late

    def stale(self, now: float) -> list[Job]:
        """Live crops that have waited too long; they wait no longer."""
        limit = now - self._config.max_wait_s
        old = [Job(crop.pixels, crop=crop) for crop in self.live.take_stale(limit)]
        for batch in list(self._live_again):
            if any(job.crop is not None and job.crop.received < limit for job in batch.jobs.values()):
                self._live_again.remove(batch)
                old += batch.jobs.values()
        return old

    def give_up(self) -> list[Job]:
        """Everything that waits or is out; nothing does any longer."""
        batches = [*self._live_again, *self._out.values()]
        for requests in self._requests.values():
            batches += [batch for request in requests for batch in request.batches]
            for request in requests:
                request.batches.clear()
            requests.clear()
        self._live_again.clear()
        self._out.clear()
        crops = self.live.take(len(self.live))
        return [
            *(Job(crop.pixels, crop=crop) for crop in crops),
            *(job for one in batches for job in one.jobs.values()),
        ]
