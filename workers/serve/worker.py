"""The worker process: take a batch, analyse it, answer.

One thread owns the sockets and one computes, so that streamers hear a heartbeat while a batch is under way.
A worker may serve several streamers: batches of theirs that wait at the same time are computed together (`batching`).
"""

import logging
import math
import os
import signal
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import zmq

from faceanalytics.errors import ConfigError
from workers.runtime.engine import Engine, InferenceError
from workers.serve import messages, metrics
from workers.serve.batching import Queue, Waiting, together
from workers.serve.config import WorkerConfig
from workers.serve.messages import Batch, MalformedMessage
from workers.swinface.labels import OUTPUTS

HEARTBEAT_S = 1.0
LINGER_MS = 1000  # the last words get so long to leave
MAX_MESSAGE_BYTES = 64 << 20  # 1024 crops are 39 MB; more than this is no batch
PARENT_GONE = 1  # exit code: the streamer that started this worker has died

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NotAnalysed:
    """A batch that cannot be analysed, while others can."""

    why: str


Outcome: TypeAlias = bytes | NotAnalysed  # the encoded answer, or why there is none


class Link:
    """The connection to one streamer, which may come and go: the socket connects again by itself."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self.endpoint = endpoint
        self.may_send = False  # it was told READY and has sent no batch since
        self._connected: bool | None = None  # None: not known yet
        self.socket = context.socket(zmq.DEALER)
        options = {
            zmq.IMMEDIATE: 1,  # without a streamer a message is refused at once: nothing old piles up for the next one
            zmq.SNDHWM: 16,
            zmq.RCVHWM: 4,
            zmq.LINGER: LINGER_MS,
            zmq.MAXMSGSIZE: MAX_MESSAGE_BYTES,
            zmq.RECONNECT_IVL: 100,
            zmq.RECONNECT_IVL_MAX: 2000,
            zmq.HEARTBEAT_IVL: 2000,  # finds out that a machine at the other end has vanished without a word
            zmq.HEARTBEAT_TIMEOUT: 6000,
        }
        for option, value in options.items():
            self.socket.setsockopt(option, value)
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.socket.close()
            raise ConfigError(f"cannot connect to {endpoint}: {error}") from error

    def send(self, kind: bytes, body: bytes = b"") -> bool:
        """Hand a message over; False if no streamer is there (or it has not read for long)."""
        try:
            self.socket.send_multipart([kind, body], zmq.NOBLOCK)
        except zmq.Again:
            self._note(connected=False)
            return False
        self._note(connected=True)
        return True

    def invite(self, ready: bytes) -> None:
        """Tell the streamer, if it is there, that it may send a batch."""
        self.may_send = self.send(b"READY", ready)

    def receive(self) -> list[bytes] | None:
        """A message that has arrived, None if there is none."""
        try:
            return self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _note(self, connected: bool) -> None:
        if connected != self._connected:
            log.info("%s %s", "connected to" if connected else "waiting for a streamer at", self.endpoint)
        self._connected = connected
        self.may_send = self.may_send and connected


class Worker:
    """Serves the streamers of the configuration until a signal; `run` is the whole life."""

    def __init__(self, engine: Engine, config: WorkerConfig, parent: int | None = None) -> None:
        """`parent`: process id of the streamer that started this worker; it ends when that one has gone."""
        self._engine = engine
        self._parent = parent
        self._max_batch = config.max_batch
        name = f"{socket.gethostname()}:{os.getpid()}"
        about = engine.model_id, engine.heads, engine.licence, engine.device
        self._ready = messages.ready(name, *about, config.max_batch, engine.impostor_scores)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._links = [Link(self._context, endpoint) for endpoint in dict.fromkeys(config.connect)]
        self._queue: Queue[Link] = Queue(config.max_batch, config.max_wait_ms / 1000)
        self._executor = ThreadPoolExecutor(1, "infer")
        self._under_way: tuple[list[Waiting[Link]], Future[list[Outcome]]] | None = None
        self._ended: int | None = None  # exit code, once there is a reason to stop
        self._woken, self._wake = socket.socketpair()  # signals and the computing thread interrupt the poll
        self._woken.setblocking(False)
        self._wake.setblocking(False)

    def run(self) -> int:
        """Work until a signal (or the parent's end), finish what is under way, say BYE; the exit code."""
        self._heed_signals()
        poller = self._poller()
        next_beat = 0.0
        try:
            while self._ended is None or self._under_way is not None:
                now = time.monotonic()
                if now >= next_beat:
                    self._look_for_parent()
                    self._beat()
                    next_beat = now + HEARTBEAT_S
                arrived = dict(poller.poll(self._patience_ms(next_beat)))
                self._drain_wake()
                self._receive([link for link in self._links if link.socket in arrived])
                self._finish()
                self._begin()
            return self._ended
        finally:
            self._close()

    def _poller(self) -> zmq.Poller:
        poller = zmq.Poller()
        poller.register(self._woken.fileno(), zmq.POLLIN)
        for link in self._links:
            poller.register(link.socket, zmq.POLLIN)
        return poller

    def _patience_ms(self, next_beat: float) -> int:
        """How long nothing needs to be done if nothing arrives."""
        deadline = self._queue.next_deadline if self._under_way is None else None
        until = next_beat if deadline is None else min(next_beat, deadline)
        return max(0, math.ceil(1000 * (until - time.monotonic())))

    def _beat(self) -> None:
        """To every streamer: BUSY while anything is under way or a batch of its own waits, else READY."""
        for link in self._links:
            if self._under_way is None and self._ended is None and link not in self._queue:
                link.invite(self._ready)
            else:
                link.send(b"BUSY")

    def _receive(self, links: list[Link]) -> None:
        for link in links:  # one message each: what else has arrived wakes the next poll at once
            frames = link.receive()
            if frames is not None:
                self._take(link, frames)

    def _take(self, link: Link, frames: list[bytes]) -> None:
        """Queue a batch, or say what is wrong with it."""
        link.may_send = False
        try:
            batch = messages.read_batch(frames, self._max_batch)
            if link in self._queue or self._computes_for(link):
                raise MalformedMessage("another batch of this streamer is not answered yet", batch.id)
        except MalformedMessage as error:
            metrics.malformed_messages.inc()
            log.warning("malformed message from %s: %s", link.endpoint, error)
            if error.batch_id is not None:
                self._refuse(link, error.batch_id, str(error), "malformed")
            return
        self._queue.add(link, batch, time.monotonic())

    def _computes_for(self, link: Link) -> bool:
        return self._under_way is not None and any(begun.link is link for begun in self._under_way[0])

    def _begin(self) -> None:
        """Give what is to be computed next to the computing thread, if that is idle."""
        if self._under_way is not None or self._ended is not None:
            return
        now = time.monotonic()
        begun = self._queue.take(now, others_may_come=any(link.may_send for link in self._links))
        if begun is None:
            return
        for waiting in begun:
            metrics.batch_wait_seconds.observe(now - waiting.since)
        future = self._executor.submit(self._analyse, [waiting.batch for waiting in begun])
        self._under_way = (begun, future)
        future.add_done_callback(lambda _: self._wake.send(b"\0"))

    def _analyse(self, batches: list[Batch]) -> list[Outcome]:
        """In the computing thread: what became of each. If memory does not suffice for all, each is tried alone."""
        try:
            return self._infer(batches)
        except InferenceError as error:
            why = str(error)
        # here, not above: the error's traceback holds what the inference had allocated
        if len(batches) == 1:
            return [NotAnalysed(why)]
        log.warning("%d batches together: %s; each is tried alone", len(batches), why)
        return [outcome for batch in batches for outcome in self._analyse([batch])]

    def _infer(self, batches: list[Batch]) -> list[Outcome]:
        """The encoded answers of one inference. Raises InferenceError."""
        started = time.monotonic()
        analyses = self._engine.analyse(together(batches))
        taken = time.monotonic() - started
        metrics.face_batch_size.observe(len(analyses))
        metrics.inference_seconds.labels("swinface").observe(taken)
        answers: list[Outcome] = []
        first = 0
        for batch in batches:
            answers.append(messages.answer(batch, analyses, self._engine.model_id, taken, first))
            first += len(batch.crop_ids)
        return answers

    def _finish(self) -> None:
        """Answer the batches under way if they are done, then ask for more. What is no expected trouble is raised."""
        if self._under_way is None or not self._under_way[1].done():
            return
        begun, future = self._under_way
        self._under_way = None
        try:
            outcomes = future.result()
        except Exception as error:  # the border of the thread: the streamers are told before the process ends
            for waiting in begun:
                self._refuse(waiting.link, waiting.batch.id, f"the worker failed: {error}", "failed")
            raise
        for waiting, outcome in zip(begun, outcomes, strict=True):
            self._answer(waiting.link, waiting.batch, outcome)
        if self._ended is None:
            self._beat()

    def _answer(self, link: Link, batch: Batch, outcome: Outcome) -> None:
        if isinstance(outcome, NotAnalysed):
            log.warning("batch of %d crops not analysed: %s", len(batch.crop_ids), outcome.why)
            self._refuse(link, batch.id, outcome.why, "inference")
        elif not link.send(b"ANSWER", outcome):
            metrics.answers_undelivered.inc()
            log.warning("answer to batch %d dropped: its streamer has gone", batch.id)

    def _refuse(self, link: Link, batch_id: int, error: str, reason: str) -> None:
        metrics.batches_refused.labels(reason).inc()
        link.send(b"ANSWER", messages.refusal(batch_id, self._engine.model_id, error))

    def _heed_signals(self) -> None:
        """SIGINT and SIGTERM stop the worker after the batch under way; a second one ends it at once."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._ended is not None:
            os._exit(128 + number)
        self._ended = 128 + number

    def _drain_wake(self) -> None:
        try:
            while self._woken.recv(64):
                pass
        except BlockingIOError:
            return

    def _look_for_parent(self) -> None:
        if self._parent is not None and os.getppid() != self._parent and self._ended is None:
            log.warning("the streamer that started this worker has gone")
            self._ended = PARENT_GONE

    def _close(self) -> None:
        for link in self._links:
            link.send(b"BYE")
            link.socket.close()
        self._context.term()  # waits LINGER_MS at most
        self._executor.shutdown()
        signal.set_wakeup_fd(-1)
        self._woken.close()
        self._wake.close()


def serve(config: WorkerConfig, parent: int | None) -> int:
    """Load the network, then work until a signal; the exit code. Raises ModelError and ConfigError."""
    started = time.monotonic()
    engine = Engine(config.weights, config.device, config.precision, config.threads, None, config.max_batch)
    log.info("model %s on %s, loaded in %.1f s", engine.model_id, engine.device, time.monotonic() - started)
    if engine.heads != OUTPUTS:
        log.info("it was trained for %s; there is no answer to anything else", ", ".join(engine.heads))
    server = metrics.serve_metrics(config.metrics_listen, engine.model_id) if config.metrics_listen else None
    try:
        return Worker(engine, config, parent).run()
    finally:
        if server is not None:
            server.shutdown()
        log.info("worker stopped")
