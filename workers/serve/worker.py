"""The worker process: take a batch, analyse it, answer.

One thread owns the sockets and one computes, so that streamers hear a heartbeat while a batch is under way.
A worker may serve several streamers; it computes one batch at a time, in the order in which they came.
"""

import logging
import math
import os
import signal
import socket
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import zmq

from workers.errors import ConfigError, ModelError
from workers.serve import messages, metrics
from workers.serve.config import WorkerConfig
from workers.serve.engine import Engine, InferenceError
from workers.serve.messages import Batch, MalformedMessage

HEARTBEAT_S = 1.0
LINGER_MS = 1000  # the last words get so long to leave
MAX_MESSAGE_BYTES = 64 << 20  # 1024 crops are 39 MB; more than this is no batch
PARENT_GONE = 1  # exit code: the streamer that started this worker has died

log = logging.getLogger(__name__)


class Link:
    """The connection to one streamer, which may come and go: the socket connects again by itself."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self.endpoint = endpoint
        self.waiting: deque[Batch] = deque()  # not begun; one, if the streamer keeps to the protocol
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


class Worker:
    """Serves the streamers of the configuration until a signal; `run` is the whole life."""

    def __init__(self, engine: Engine, config: WorkerConfig, parent: int | None = None) -> None:
        """`parent`: process id of the streamer that started this worker; it ends when that one has gone."""
        self._engine = engine
        self._parent = parent
        self._max_batch = config.max_batch
        name = f"{socket.gethostname()}:{os.getpid()}"
        self._ready = messages.ready(name, engine.model_id, engine.device, config.max_batch)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._links = [Link(self._context, endpoint) for endpoint in dict.fromkeys(config.connect)]
        self._executor = ThreadPoolExecutor(1, "infer")
        self._under_way: tuple[Link, Batch, Future[bytes]] | None = None
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
                arrived = dict(poller.poll(max(0, math.ceil(1000 * (next_beat - time.monotonic())))))
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

    def _beat(self) -> None:
        """READY while idle, BUSY while a batch is under way, to every streamer."""
        for link in self._links:
            if self._under_way is None and self._ended is None:
                link.send(b"READY", self._ready)
            else:
                link.send(b"BUSY")

    def _receive(self, links: list[Link]) -> None:
        for link in links:  # one message each: what else has arrived wakes the next poll at once
            frames = link.receive()
            if frames is not None:
                self._take(link, frames)

    def _take(self, link: Link, frames: list[bytes]) -> None:
        """Queue a batch, or say what is wrong with it."""
        try:
            batch = messages.read_batch(frames, self._max_batch)
            busy_with_it = self._under_way is not None and self._under_way[0] is link
            if link.waiting or busy_with_it:
                raise MalformedMessage("another batch of this streamer is not answered yet", batch.id)
        except MalformedMessage as error:
            metrics.malformed_messages.inc()
            log.warning("malformed message from %s: %s", link.endpoint, error)
            if error.batch_id is not None:
                self._refuse(link, error.batch_id, str(error), "malformed")
            return
        link.waiting.append(batch)

    def _begin(self) -> None:
        """Give the next batch to the computing thread, if that is idle."""
        if self._under_way is not None or self._ended is not None:
            return
        link = next((link for link in self._links if link.waiting), None)
        if link is None:
            return
        batch = link.waiting.popleft()
        self._links.append(self._links.pop(self._links.index(link)))  # last in the row for its next one
        future = self._executor.submit(self._analyse, batch)
        self._under_way = (link, batch, future)
        future.add_done_callback(lambda _: self._wake.send(b"\0"))

    def _analyse(self, batch: Batch) -> bytes:
        """In the computing thread: the encoded answer."""
        started = time.monotonic()
        analyses = self._engine.analyse(batch.pixels)
        taken = time.monotonic() - started
        metrics.face_batch_size.observe(len(analyses))
        metrics.inference_seconds.labels("swinface").observe(taken)
        return messages.answer(batch, analyses, self._engine.model_id, taken)

    def _finish(self) -> None:
        """Answer the batch under way if it is done, then ask for the next. What is no expected trouble is raised."""
        if self._under_way is None or not self._under_way[2].done():
            return
        link, batch, future = self._under_way
        self._under_way = None
        try:
            if not link.send(b"ANSWER", future.result()):
                metrics.answers_undelivered.inc()
                log.warning("answer to batch %d dropped: its streamer has gone", batch.id)
        except InferenceError as error:
            log.warning("batch of %d crops not analysed: %s", len(batch.crop_ids), error)
            self._refuse(link, batch.id, str(error), "inference")
        except Exception as error:  # the border of the thread: the streamer is told before the process ends
            self._refuse(link, batch.id, f"the worker failed: {error}", "failed")
            raise
        if self._ended is None and not any(link.waiting for link in self._links):
            self._beat()

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
    if config.weights is None:
        from workers.swinface.checkpoint import HOW_TO_GET

        raise ModelError(f"no weights: say which with --weights, or `weights:` in the configuration. {HOW_TO_GET}")
    started = time.monotonic()
    engine = Engine(config.weights, config.device, config.precision, config.threads)
    log.info("model %s on %s, loaded in %.1f s", engine.model_id, engine.device, time.monotonic() - started)
    server = metrics.serve_metrics(config.metrics_listen, engine.model_id) if config.metrics_listen else None
    try:
        return Worker(engine, config, parent).run()
    finally:
        if server is not None:
            server.shutdown()
        log.info("worker stopped")
