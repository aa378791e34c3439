"""Keeps account of the crops that wait and of the batches that workers have, without socket or clock.

Crops come from two kinds of clients. The live lane keeps the newest crop of each track. A request keeps all its crops
until each is answered or has failed too often; how they are grouped into batches depends on their order only.
"""

import enum
import itertools
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamer.config import Dispatch
from streamer.dispatch.live_lane import LiveLane
from streamer.values import Bytes, FaceAnalysis, FaceCrop, Model

MAX_IN_A_ROW = 8  # batches of the most urgent client while others wait; then another client gets a turn


class Priority(enum.IntEnum):
    """The priority of a client: when several wait, the lowest number goes first."""

    LIVE = 0  # cameras
    SEARCH = 1  # a user waits for the answer
    ENROLMENT = 2
    RECORDED = 3


@dataclass(slots=True)
class Worker:
    """A connected worker."""

    name: str
    model: Model
    max_batch: int  # crops
    heard: float  # s, monotonic, of its last message
    batch: int | None = None  # id of the batch it has now
    idle: bool = True  # it has sent READY since its last batch


@dataclass(slots=True, eq=False)
class Request:
    """Crops whose analyses one client waits for."""

    priority: Priority
    analyses: list[FaceAnalysis | None]  # in the order of the crops; None: not answered
    unresolved: int  # crops that are neither answered nor given up
    batches: "deque[Batch]" = field(default_factory=deque)  # waiting to be sent
    withdrawn: bool = False  # the client no longer waits
    with_embeddings: bool = True  # False: they must not leave the worker


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One crop to be analysed and the client that receives the answer: the live lane or a request."""

    pixels: Bytes  # (112, 112, 3) RGB
    crop: FaceCrop | None = None  # live lane only
    request: Request | None = None
    place: int = 0  # index in the request


@dataclass(slots=True, eq=False)
class Batch:
    """Crops that are sent to a worker together."""

    id: int
    jobs: dict[int, Job]  # by crop id, in the order in which they are sent
    request: Request | None  # None: live lane
    deadline: float = 0.0  # s, monotonic, of the answer
    tries: int = 0  # how often it was sent
    with_embeddings: bool = True  # of all its crops

    @property
    def retries(self) -> bool:
        """Whether the batch is sent again after a worker failed. Live crops are not: they would be outdated."""
        return self.request is not None


class Ledger:
    """The workers, the live lane, the waiting requests and the batches that are out, that is, at a worker."""

    def __init__(self, config: Dispatch) -> None:
        self._config = config
        self._ids = itertools.count(secrets.randbits(62))  # an answer to an earlier streamer fits no batch of this one
        self.live = LiveLane(config)
        self._live_retries: deque[Batch] = deque()  # live batches whose worker has gone
        self._requests: dict[Priority, deque[Request]] = {priority: deque() for priority in Priority}
        self._queued = 0  # crops of requests that wait: counted, because a request may have very many
        self._in_a_row = 0  # batches of the most urgent client since another waiting client had a turn
        self._turns = itertools.count(1)
        self._last_turn = dict.fromkeys(Priority, 0)
        self._out: dict[int, Batch] = {}
        self.workers: dict[bytes, Worker] = {}

    @property
    def waiting(self) -> int:
        """How many crops wait to be sent."""
        return len(self.live) + sum(len(batch.jobs) for batch in self._live_retries) + self._queued

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is out."""
        return not self._out and not self.waiting

    def add(self, crops: Sequence[Bytes], priority: Priority, with_embeddings: bool = True) -> Request:
        """Queue the crops (112, 112, 3) of a client in batches of `dispatch.batch`, in their order."""
        request = Request(priority, [None] * len(crops), len(crops), with_embeddings=with_embeddings)
        size = self._config.batch
        for start in range(0, len(crops), size):
            part = range(start, min(start + size, len(crops)))
            request.batches.append(self._new_batch([Job(crops[at], request=request, place=at) for at in part], request))
        if request.batches:
            self._requests[priority].append(request)
        self._queued += len(crops)
        return request

    def withdraw(self, request: Request) -> None:
        """Drop the batches of a request that are not out, because its client no longer waits."""
        request.withdrawn = True
        self._queued -= sum(len(batch.jobs) for batch in request.batches)
        request.batches.clear()
        if request in self._requests[request.priority]:
            self._requests[request.priority].remove(request)

    def assign(self, now: float) -> list[tuple[bytes, Batch]]:
        """Assign waiting batches to idle workers; returns (address, batch) pairs. The batches are out from now on."""
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
        """Return a batch of the most urgent client that waits.

        After MAX_IN_A_ROW of these it is one of the other waiting client whose last turn is longest ago. So a live crop
        waits for at most one batch of another client.
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
            return bool(self._live_retries or self.live)
        return bool(self._requests[priority])

    def _live_batch(self, max_batch: int) -> Batch:
        if self._live_retries:
            return self._take_fitting(self._live_retries, max_batch)
        crops = self.live.take(min(self._config.batch, max_batch))
        return self._new_batch([Job(crop.pixels, crop=crop) for crop in crops], None)

    def _request_batch(self, priority: Priority, max_batch: int) -> Batch:
        """Return the next batch of a priority, whose requests take turns."""
        request = self._requests[priority].popleft()
        batch = self._take_fitting(request.batches, max_batch)
        self._queued -= len(batch.jobs)
        if request.batches:
            self._requests[priority].append(request)
        return batch

    def _take_fitting(self, batches: deque[Batch], max_batch: int) -> Batch:
        """Take the first batch from `batches`, or the part of it that fits into `max_batch` crops."""
        batch = batches[0]
        if len(batch.jobs) <= max_batch:
            return batches.popleft()
        part = Batch(next(self._ids), dict(itertools.islice(batch.jobs.items(), max_batch)), batch.request)
        part.tries, part.with_embeddings = batch.tries, batch.with_embeddings
        for crop_id in part.jobs:
            del batch.jobs[crop_id]
        return part

    def _new_batch(self, jobs: list[Job], request: Request | None) -> Batch:
        batch = Batch(next(self._ids), {next(self._ids): job for job in jobs}, request)
        first = jobs[0].crop if jobs else None
        wanted = request.with_embeddings if request is not None else first is None or first.with_embedding
        batch.with_embeddings = wanted
        return batch

    def answered(self, address: bytes, batch_id: int) -> Batch | None:
        """Return the answered batch, which is no longer out. None if the worker does not have this batch."""
        worker = self.workers.get(address)
        if worker is None or worker.batch != batch_id:
            return None
        worker.batch = None
        return self._out.pop(batch_id, None)

    def failed(self, batch: Batch, retry: bool) -> list[Job]:
        """Queue a failed batch again, if `retry` and if it has tries left. Returns the jobs to give up otherwise."""
        gone = batch.request is not None and batch.request.withdrawn
        if gone or not retry or batch.tries > self._config.retries:
            return list(batch.jobs.values())
        if batch.request is None:
            self._live_retries.append(batch)
            return []
        batch.request.batches.appendleft(batch)
        self._queued += len(batch.jobs)
        if batch.request not in self._requests[batch.request.priority]:
            self._requests[batch.request.priority].appendleft(batch.request)
        return []

    def gone(self, address: bytes) -> Batch | None:
        """Forget a worker. Returns the batch that it had, if any."""
        worker = self.workers.pop(address, None)
        return self._out.pop(worker.batch, None) if worker is not None and worker.batch is not None else None

    def silent(self, now: float) -> list[bytes]:
        """Return the addresses of workers without a message for more than `worker_silent_s`."""
        return [a for a, worker in self.workers.items() if now - worker.heard > self._config.worker_silent_s]

    def overdue(self, now: float) -> list[tuple[Worker, Batch]]:
        """Return the workers that are too late with their batch. These batches are no longer out."""
        late = []
        for worker in self.workers.values():
            batch = self._out.get(worker.batch) if worker.batch is not None else None
            if batch is not None and now > batch.deadline:
                del self._out[batch.id]
                worker.batch = None  # it may still answer or send READY, but is not waited for
                late.append((worker, batch))
        return late

    def stale(self, now: float) -> list[Job]:
        """Remove and return the live crops that have waited longer than `max_wait_s`."""
        limit = now - self._config.max_wait_s
        old = [Job(crop.pixels, crop=crop) for crop in self.live.take_stale(limit)]
        for batch in list(self._live_retries):
            if any(job.crop is not None and job.crop.received < limit for job in batch.jobs.values()):
                self._live_retries.remove(batch)
                old += batch.jobs.values()
        return old

    def give_up(self) -> list[Job]:
        """Remove and return everything that waits or is out."""
        batches = [*self._live_retries, *self._out.values()]
        for requests in self._requests.values():
            batches += [batch for request in requests for batch in request.batches]
            for request in requests:
                request.batches.clear()
            requests.clear()
        self._queued = 0
        self._live_retries.clear()
        self._out.clear()
        crops = self.live.take_all()
        return [
            *(Job(crop.pixels, crop=crop) for crop in crops),
            *(job for one in batches for job in one.jobs.values()),
        ]
