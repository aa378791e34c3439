"""Sends crops to the workers and receives their analyses: the ZeroMQ ROUTER socket around the Ledger."""

import asyncio
import contextlib
import fcntl
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import zmq
import zmq.asyncio
from google.protobuf.message import DecodeError

from faceanalytics.errors import ConfigError
from faceanalytics.internal.v1 import faces_pb2
from streamer import metrics
from streamer.config import Dispatch
from streamer.dispatch.admission import Admission, Refused
from streamer.dispatch.ledger import Job, Ledger, Priority, Request, Worker
from streamer.dispatch.strangers import AllowedWorkers, KeyCheck, only_for_its_owner
from streamer.dispatch.wire import PROTOCOL, to_analysis, to_model
from streamer.safety import check_bound, is_local
from streamer.values import Bytes, FaceAnalysis, FaceCrop, Model, TrackEnd

TICK_S = 0.2  # time between two checks of the deadlines
MAX_MESSAGE_BYTES = 16 << 20  # an answer to 1024 crops is 2.5 MB

log = logging.getLogger(__name__)


class Dispatcher:
    """Serves two kinds of clients, on the asyncio loop.

    Live clients call `offer` and `end`, which never wait. `on_result` receives each crop that was not replaced by a
    newer one of its track, with its analysis, or None if the crop was given up. `on_finished` receives each ended track
    once all its crops are resolved, that is, answered or given up.
    Other clients call `analyse`, which keeps every crop and returns the analyses. Live crops go first, but no client
    starves, see ledger.py.

    `on_workers` receives the number of workers alive when it changes, `on_stuck` the name of a worker that has fallen
    silent or does not answer in time.
    """

    def __init__(
        self,
        config: Dispatch,
        on_result: Callable[[FaceCrop, FaceAnalysis | None], None] | None = None,
        on_finished: Callable[[TrackEnd], None] | None = None,
        on_workers: Callable[[int], None] | None = None,
        on_stuck: Callable[[str], None] | None = None,
        min_batch: int = 1,
        keep_model: bool = False,
        on_send: Callable[[Iterable[FaceCrop | None]], str] | None = None,
    ) -> None:
        """Bind `dispatch.bind`. Raises ConfigError if that fails.

        Workers whose `max_batch` is below `min_batch` get no work, so batches of that size are never split.
        `keep_model`: only workers with the weights of the first one ever get work. `on_send` receives the live crops of
        each batch (None: a crop of another client) and returns the trace context for the worker, or nothing.
        """
        self._config = config
        self._on_result = on_result
        self._on_finished = on_finished
        self._on_workers = on_workers
        self._on_stuck = on_stuck
        self._min_batch = min_batch
        self._on_send = on_send
        self._admission = Admission(config, keep_model)
        self._changed = asyncio.Condition()
        self._reported_malformed: set[bytes] = set()  # addresses of workers whose malformed messages were logged
        self._waiting: dict[Request, asyncio.Future[None]] = {}
        self.ledger = Ledger(config)
        self.lost = 0  # crops given up
        self._given_up = False
        self._allowed: AllowedWorkers | None = None  # None: no keys
        self._key_check: KeyCheck | None = None
        self._lock = _lock(config.bind)
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        try:
            self._check_keys()
            with only_for_its_owner(config.bind):
                self._socket.bind(config.bind)
        except ConfigError:
            self.close()
            raise
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(f"dispatch.bind: cannot listen on {config.bind}: {error}") from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self) -> None:
        """Close the socket. Workers reconnect when a streamer comes back."""
        if self._key_check is not None:
            self._key_check.close()
        self._context.destroy(linger=0)
        if self._lock is not None:
            Path(self._config.bind.removeprefix("ipc://")).unlink(missing_ok=True)
            self._lock.close()

    def _check_keys(self) -> None:
        """Let only workers with allowed keys connect, if there are keys. Raises ConfigError if they are missing."""
        check_bound(self._config.bind, self._config.keys, self._config.insecure)
        if not (self._config.keys or is_local(self._config.bind)):
            log.warning("dispatch.insecure: whoever reaches %s can play worker", self._config.bind)
        if self._config.keys is not None:
            self._allowed = AllowedWorkers(Path(self._config.keys))
            self._key_check = KeyCheck(self._context, self._socket, self._allowed)

    @property
    def models(self) -> dict[Model, int]:
        """The models of the connected workers, each with its number of workers; the oldest worker's model first."""
        return dict(Counter(worker.model for worker in self.ledger.workers.values()))

    async def run(self) -> None:
        """Receive messages and check deadlines until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive())
            group.create_task(self._check_deadlines())

    async def offer(self, crop: FaceCrop) -> None:
        """Queue a live crop. It replaces the waiting crop of its track."""
        metrics.face_inference_requests.labels(crop.key.camera).inc()
        removed = self.ledger.live.offer(crop)
        if removed is not None:
            older, reason = removed
            metrics.face_inference_skipped.labels(older.key.camera, reason).inc()
            if older.key != crop.key:
                self._report(older, None)
            self._resolve_live(older)
        if self._given_up:
            self.give_up()
        await self._send()

    def end(self, end: TrackEnd) -> None:
        """Note that a live track has ended. `on_finished` is called now, or when its last crop is resolved."""
        if self.ledger.live.end(end) is not None:
            self._finish(end)

    async def analyse(
        self, crops: Sequence[Bytes], priority: Priority, with_embeddings: bool = True
    ) -> list[FaceAnalysis | None]:
        """Wait for the analyses of aligned crops (112, 112, 3) RGB and return them in the order of the crops.

        The crops are sent in batches of `dispatch.batch`, each batch at most 1 + `dispatch.retries` times. The analysis
        of a crop that was never answered is None. Not `with_embeddings`: they do not leave the worker.
        There is no time limit: a caller with a deadline cancels the call, which drops the crops not yet sent.
        """
        if self._given_up or not crops:
            return [None] * len(crops)
        metrics.client_crops.labels(priority.name.lower()).inc(len(crops))
        request = self.ledger.add(crops, priority, with_embeddings)
        done = self._waiting[request] = asyncio.get_running_loop().create_future()
        try:
            await self._send()
            await done
        finally:
            del self._waiting[request]
            self.ledger.withdraw(request)
        return request.analyses

    async def wait_for_worker(self) -> Model | None:
        """Wait until a worker is connected and return its model. None: `give_up` was called before."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._given_up or bool(self.ledger.workers))
        return next(iter(self.models), None)

    async def drain(self, timeout_s: float | None) -> int:
        """Wait until every crop is resolved; give up the rest after `timeout_s`. Returns how many were given up."""
        before = self.lost
        try:
            async with asyncio.timeout(timeout_s):
                await self._send()
                async with self._changed:
                    await self._changed.wait_for(lambda: self.ledger.idle)
        except TimeoutError:
            self.give_up()
        return self.lost - before

    def give_up(self) -> None:
        """Give up every unresolved crop, and every crop that is offered later."""
        self._given_up = True
        self._lose(self.ledger.give_up(), "shutdown")

    async def _receive(self) -> None:
        while True:
            parts = await self._socket.recv_multipart(copy=False)
            frames = [part.bytes for part in parts]
            try:
                self._check_allowed(frames[0], parts[-1])
                self._on_message(frames, time.monotonic())
            except Refused as refused:
                await self._refuse(frames[0], str(refused))
            except (DecodeError, ValueError) as error:
                self._report_malformed(frames[0], error)
            await self._send()
            await self._notify()

    async def _check_deadlines(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for address in self.ledger.silent(now):
                self._report_stuck(self.ledger.workers[address])
                self._worker_gone(address, "has fallen silent")
            for worker, batch in self.ledger.overdue(now):
                log.warning("batch of %d crops unanswered after %g s", len(batch.jobs), self._config.answer_within_s)
                self._report_stuck(worker)
                self._lose(self.ledger.failed(batch, retry=batch.retries), "timeout")
            self._lose(self.ledger.stale(now), "stale")
            self._admission.forget_silent(now)
            await self._send()
            await self._notify()

    def _report_stuck(self, worker: Worker) -> None:
        if self._on_stuck is not None:
            self._on_stuck(worker.name)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _check_allowed(self, address: bytes, part: zmq.Frame) -> None:
        """Raise Refused for a message of a worker whose key was removed after it had connected."""
        if self._allowed is not None and self._allowed.name(str(part.get("User-Id"))) is None:
            metrics.strangers_refused.inc()
            self._worker_gone(address, "is no longer allowed: its key was removed")
            raise Refused("the key of this worker was removed from dispatch.keys of the streamer")

    def _on_message(self, frames: list[bytes], now: float) -> None:
        """Handle one message of a worker. Raises Refused, or DecodeError or ValueError if it is malformed."""
        if len(frames) != 3:
            raise ValueError(f"a message has {len(frames) - 1} frames, expected 2")
        address, kind, body = frames
        worker = self.ledger.workers.get(address)
        if worker is not None:
            worker.heard = now
        if kind == b"READY":
            self._ready(address, faces_pb2.Ready.FromString(body), now)
        elif kind == b"ANSWER":
            self._answer(address, faces_pb2.Answer.FromString(body))
        elif kind == b"BYE":
            self._admission.forget(address)
            self._worker_gone(address, "is stopping", logging.INFO)
        elif kind != b"BUSY":
            raise ValueError(f"unknown kind of message {kind[:20]!r}")

    def _ready(self, address: bytes, ready: faces_pb2.Ready, now: float) -> None:
        if ready.protocol != PROTOCOL:
            raise ValueError(
                f"{ready.worker} speaks protocol {ready.protocol}, not {PROTOCOL}: install the same version"
            )
        if ready.max_batch < self._min_batch:
            raise ValueError(f"{ready.worker} takes at most {ready.max_batch} crops: dispatch.batch must not be larger")
        if ready.max_batch < 1 or not ready.model_id:
            raise ValueError("READY without max_batch or model_id")
        model = to_model(ready)
        worker = self.ledger.workers.get(address)
        if worker is None:
            self._admission.admit(address, ready.worker, model, self.models, now)
            worker = Worker(ready.worker, model, ready.max_batch, now)
            self.ledger.workers[address] = worker
            self._reported_malformed.discard(address)
            log.info("worker %s connected: model %s on %s", ready.worker, ready.model_id, ready.device)
            self._count_workers()
        if worker.batch is not None:
            return  # this READY and our batch crossed on the way: the answer will come
        if worker.model != model:
            raise ValueError(f"{ready.worker} announces {ready.model_id}, but has announced {worker.model.id}")
        worker.idle = True

    async def _refuse(self, address: bytes, reason: str) -> None:
        """Tell a worker why it gets no work."""
        message = faces_pb2.Refusal(reason=reason).SerializeToString()
        with contextlib.suppress(zmq.ZMQError):  # it has gone, or does not read
            await self._socket.send_multipart([address, b"REFUSED", message], flags=zmq.NOBLOCK)

    def _answer(self, address: bytes, answer: faces_pb2.Answer) -> None:
        worker = self.ledger.workers.get(address)
        batch = self.ledger.answered(address, answer.batch_id)
        if worker is None or batch is None:
            metrics.answers_refused.labels("unasked").inc()
            raise ValueError(f"nobody asked it for batch {answer.batch_id}, or its answer came too late")
        try:
            if answer.error:
                raise ValueError(f"the worker could not analyse a batch: {answer.error}")
            if answer.model_id != worker.model.id:
                raise ValueError(f"the answer is by {answer.model_id}, but the worker announced {worker.model.id}")
            analyses = [to_analysis(face, worker.model, batch.with_embeddings) for face in answer.analyses]
            if [face.crop_id for face in answer.analyses] != list(batch.jobs):
                raise ValueError("the answer is for other crops than those of the batch")
            if not 0 <= answer.inference_s < float("inf"):
                raise ValueError(f"the inference took {answer.inference_s} s")
        except ValueError:
            if not answer.error:
                metrics.answers_refused.labels("invalid").inc()
            self._lose(self.ledger.failed(batch, retry=batch.retries), "error")
            raise
        metrics.inference_seconds.labels("swinface").observe(answer.inference_s)
        for job, analysis in zip(batch.jobs.values(), analyses, strict=True):
            self._resolve(job, analysis)

    def _worker_gone(self, address: bytes, why: str, level: int = logging.WARNING) -> None:
        """Forget a worker; its batch is retried or given up. `why` continues the log line after the worker's name."""
        worker = self.ledger.workers.get(address)
        if worker is None:
            return
        log.log(level, "worker %s %s", worker.name, why)
        batch = self.ledger.gone(address)
        if batch is not None:
            self._lose(self.ledger.failed(batch, retry=True), "worker_gone")
        self._count_workers()

    def _count_workers(self) -> None:
        metrics.workers_alive.set(len(self.ledger.workers))
        if self._on_workers is not None:
            self._on_workers(len(self.ledger.workers))

    def _lose(self, jobs: list[Job], reason: str) -> None:
        self.lost += len(jobs)
        for job in jobs:
            metrics.crops_lost.labels(reason).inc()
            self._resolve(job, None)

    def _resolve(self, job: Job, analysis: FaceAnalysis | None) -> None:
        """Pass an analysis, or None for a crop that was given up, to the client of this crop."""
        if job.crop is not None:
            self._report(job.crop, analysis)
            self._resolve_live(job.crop)
        elif job.request is not None:
            job.request.analyses[job.place] = analysis
            job.request.unresolved -= 1
            done = self._waiting.get(job.request)
            if done is not None and not done.done() and not job.request.unresolved:
                done.set_result(None)

    def _report(self, crop: FaceCrop, analysis: FaceAnalysis | None) -> None:
        if self._on_result is not None:
            self._on_result(crop, analysis)

    def _resolve_live(self, crop: FaceCrop) -> None:
        end = self.ledger.live.resolve(crop)
        if end is not None:
            self._finish(end)

    def _finish(self, end: TrackEnd) -> None:
        if self._on_finished is not None:
            self._on_finished(end)

    def _report_malformed(self, address: bytes, error: Exception) -> None:
        """Count a malformed message, and log it if it is the first of this worker, or not of a worker at all."""
        metrics.malformed_messages.inc()
        worker = self.ledger.workers.get(address)
        if worker is None:  # whoever it is may connect again and again, each time with a new address
            log.warning("message of worker %s ignored: %s", "unknown", error)
        elif address not in self._reported_malformed:
            self._reported_malformed.add(address)
            log.warning("message of worker %s ignored: %s", worker.name, error)

    async def _send(self) -> None:
        """Send waiting crops to the idle workers."""
        for address, batch in self.ledger.assign(time.monotonic()):
            header = faces_pb2.Batch(
                batch_id=batch.id, crop_ids=batch.jobs, without_embeddings=not batch.with_embeddings
            )
            if self._on_send is not None:
                header.traceparent = self._on_send(job.crop for job in batch.jobs.values())
            pixels = np.stack([job.pixels for job in batch.jobs.values()])
            metrics.dispatch_batch_crops.observe(len(batch.jobs))
            try:
                await self._socket.send_multipart(
                    [address, b"BATCH", header.SerializeToString(), pixels], flags=zmq.NOBLOCK, copy=False
                )
            except zmq.ZMQError as error:  # EHOSTUNREACH: the worker is no longer connected
                self._worker_gone(address, f"cannot be reached: {error}")
        metrics.dispatch_queue_depth.set(self.ledger.waiting)


def _lock(endpoint: str) -> IO[str] | None:
    """Lock an ipc endpoint for this process: ZeroMQ would silently take it over from a streamer that uses it."""
    if not endpoint.startswith("ipc://"):
        return None
    path = Path(endpoint.removeprefix("ipc://") + ".lock")
    try:
        file = path.open("w")
    except OSError as error:
        raise ConfigError(f"dispatch.bind: cannot listen on {endpoint}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ConfigError(f"dispatch.bind: another streamer uses {endpoint}; give this streamer another one") from error
    return file
