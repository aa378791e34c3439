"""The worker process: receive batches from streamers, analyse them, answer.

One thread owns the sockets and another computes, so streamers get heartbeats while a batch is being computed.
A worker may serve several streamers: batches that wait at the same time are computed together (see `batching`).
"""

import logging
import math
import os
import signal
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import zmq
from zmq.utils.monitor import recv_monitor_message

from faceanalytics.errors import ConfigError, ModelError
from faceanalytics.worker_keys import WorkerKeys, read_worker_keys
from workers.runtime.engine import Engine, InferenceError
from workers.serve import messages, metrics
from workers.serve.batching import PendingBatch, Queue, joined_pixels
from workers.serve.config import WorkerConfig
from workers.serve.messages import Batch, MalformedMessage
from workers.serve.tracing import BatchTracer
from workers.swinface.labels import OUTPUTS

HEARTBEAT_S = 1.0
LINGER_MS = 1000  # time to send the last messages when the worker stops
MAX_MESSAGE_BYTES = 64 << 20  # 1024 crops are 39 MB; anything larger is not a batch
HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
PARENT_GONE = 1  # exit code: the streamer that started this worker has died

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NotAnalysed:
    """The reason why a batch could not be analysed; other batches still can."""

    reason: str


Outcome: TypeAlias = bytes | NotAnalysed  # the encoded answer, or the reason why there is none


class Link:
    """The connection to one streamer. The socket reconnects by itself when the streamer comes back."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, keys: WorkerKeys | None = None) -> None:
        """`keys`: encrypt, and let both sides check each other. Raises ConfigError if it cannot connect."""
        self.endpoint = endpoint
        self.may_send = False  # it got READY and has not sent a batch since
        self.refused = ""  # why the streamer gives no work; empty: it does
        self._connected: bool | None = None  # None: not known yet
        self.socket = context.socket(zmq.DEALER)
        options = {
            zmq.IMMEDIATE: 1,  # without a streamer sending fails at once, so no stale messages pile up
            zmq.SNDHWM: 16,
            zmq.RCVHWM: 4,
            zmq.LINGER: LINGER_MS,
            zmq.MAXMSGSIZE: MAX_MESSAGE_BYTES,
            zmq.RECONNECT_IVL: 100,
            zmq.RECONNECT_IVL_MAX: 2000,
            zmq.HEARTBEAT_IVL: 2000,  # detects that the other machine has vanished without closing the connection
            zmq.HEARTBEAT_TIMEOUT: 6000,
        }
        for option, value in options.items():
            self.socket.setsockopt(option, value)
        if keys is not None:
            self.socket.curve_serverkey = keys.streamer.encode()
            self.socket.curve_publickey = keys.pair.public.encode()
            self.socket.curve_secretkey = keys.pair.secret.encode()
        self._keyed = keys is not None
        self._refusals = self.socket.get_monitor_socket(HANDSHAKE_FAILED)
        self._reported_keys = False
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(f"cannot connect to {endpoint}: {error}") from error

    def close(self) -> None:
        """Close the connection once the last messages are sent."""
        self.socket.disable_monitor()
        self._refusals.close(linger=0)
        self.socket.close()

    def check_keys(self) -> None:
        """Say so, once, if the streamer and this worker do not accept each other's keys."""
        failed = False
        while self._refusals.poll(0):
            recv_monitor_message(self._refusals)
            failed = True
        if failed and not self._reported_keys:
            self._reported_keys = True
            does = "does not accept the keys" if self._keyed else "wants keys (--keys)"
            log.warning("the streamer at %s %s; see docs/security.md", self.endpoint, does)

    def send(self, kind: bytes, body: bytes = b"") -> bool:
        """Send a message; return False if no streamer is connected or it has stopped reading."""
        try:
            self.socket.send_multipart([kind, body], zmq.NOBLOCK)
        except zmq.Again:
            self._note(connected=False)
            return False
        self._note(connected=True)
        return True

    def send_ready(self, ready: bytes) -> None:
        """Announce that the streamer may send a batch."""
        self.may_send = self.send(b"READY", ready)

    def receive(self) -> list[bytes] | None:
        """Return the next message, or None if none has arrived."""
        try:
            return self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _note(self, connected: bool) -> None:
        if connected != self._connected:
            log.info("%s %s", "connected to" if connected else "waiting for a streamer at", self.endpoint)
        self._connected = connected
        self.may_send = self.may_send and connected
        self.refused = self.refused if connected else ""  # another streamer may come


class Worker:
    """Serves the configured streamers until a signal stops it."""

    def __init__(
        self, engine: Engine, config: WorkerConfig, parent: int | None = None, tracer: BatchTracer | None = None
    ) -> None:
        """`parent`: process id of the streamer that started this worker; the worker ends when that process does."""
        self._engine = engine
        self._tracer = tracer
        self._parent = parent
        self._max_batch = config.max_batch
        name = f"{socket.gethostname()}:{os.getpid()}"
        about = engine.model_id, engine.heads, engine.licence, engine.device
        self._ready = messages.ready(name, *about, config.max_batch, engine.impostor_scores)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._links = [
            Link(self._context, endpoint, read_worker_keys(Path(file)) if file is not None else None)
            for endpoint, file in {endpoint: config.keys_of(endpoint) for endpoint in config.connect}.items()
        ]
        self._queue: Queue[Link] = Queue(config.max_batch, config.max_wait_ms / 1000)
        self._executor = ThreadPoolExecutor(1, "infer")
        self._running: tuple[list[PendingBatch[Link]], Future[list[Outcome]]] | None = None
        self._exit_code: int | None = None  # set once the worker is to stop
        self._wake_receiver, self._wake_sender = socket.socketpair()  # signals and the computing thread end the poll
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)

    def run(self) -> int:
        """Work until a signal or the parent's end, finish the running inference, send BYE; return the exit code."""
        self._install_signal_handlers()
        poller = self._poller()
        next_heartbeat = 0.0
        try:
            while self._exit_code is None or self._running is not None:
                now = time.monotonic()
                if now >= next_heartbeat:
                    self._check_parent()
                    self._send_heartbeats()
                    next_heartbeat = now + HEARTBEAT_S
                readable = dict(poller.poll(self._poll_timeout_ms(next_heartbeat)))
                self._drain_wake()
                self._receive([link for link in self._links if link.socket in readable])
                self._finish()
                self._begin()
            return self._exit_code
        finally:
            self._close()

    def _poller(self) -> zmq.Poller:
        poller = zmq.Poller()
        poller.register(self._wake_receiver.fileno(), zmq.POLLIN)
        for link in self._links:
            poller.register(link.socket, zmq.POLLIN)
        return poller

    def _poll_timeout_ms(self, next_heartbeat: float) -> int:
        """Return the time until the next heartbeat or deadline."""
        deadline = self._queue.next_deadline if self._running is None else None
        until = next_heartbeat if deadline is None else min(next_heartbeat, deadline)
        return max(0, math.ceil(1000 * (until - time.monotonic())))

    def _send_heartbeats(self) -> None:
        """Send every streamer BUSY during an inference or while its batch waits, else READY."""
        for link in self._links:
            link.check_keys()
            if self._running is None and self._exit_code is None and link not in self._queue:
                link.send_ready(self._ready)
            else:
                link.send(b"BUSY")

    def _receive(self, links: list[Link]) -> None:
        for link in links:  # one message each: any further ones end the next poll at once
            frames = link.receive()
            if frames is not None:
                self._accept(link, frames)

    def _accept(self, link: Link, frames: list[bytes]) -> None:
        """Queue a batch, or answer it with an error if it is malformed; note a refusal."""
        link.may_send = False
        try:
            reason = messages.read_refusal(frames)
            if reason is not None:
                self._note_refusal(link, reason)
                return
            batch = messages.read_batch(frames, self._max_batch)
            if link in self._queue or self._computes_for(link):
                raise MalformedMessage("another batch of this streamer is not answered yet", batch.id)
        except MalformedMessage as error:
            metrics.malformed_messages.inc()
            log.warning("malformed message from %s: %s", link.endpoint, error)
            if error.batch_id is not None:
                self._refuse(link, error.batch_id, str(error), "malformed")
            return
        if link.refused:
            log.info("%s gives work to this worker", link.endpoint)
            link.refused = ""
        self._queue.add(link, batch, time.monotonic())

    def _note_refusal(self, link: Link, reason: str) -> None:
        """Log why a streamer gives no work. A worker that was started by that streamer has nothing else to do."""
        if reason != link.refused:
            log.warning("%s refuses this worker: %s", link.endpoint, reason)
            metrics.refusals.inc()
        link.refused = reason
        if self._parent is not None and self._exit_code is None:
            self._exit_code = ModelError.exit_code

    def _computes_for(self, link: Link) -> bool:
        return self._running is not None and any(pending.link is link for pending in self._running[0])

    def _begin(self) -> None:
        """Start the next inference if the computing thread is idle."""
        if self._running is not None or self._exit_code is not None:
            return
        now = time.monotonic()
        batches = self._queue.take(now, others_may_come=any(link.may_send for link in self._links))
        if batches is None:
            return
        for pending in batches:
            metrics.batch_wait_seconds.observe(now - pending.arrived)
            if self._tracer is not None:
                self._tracer.add("wait", pending.batch, pending.arrived, now, len(pending.batch.crop_ids))
        future = self._executor.submit(self._analyse, [pending.batch for pending in batches])
        self._running = (batches, future)
        future.add_done_callback(lambda _: self._wake_sender.send(b"\0"))

    def _analyse(self, batches: list[Batch]) -> list[Outcome]:
        """Analyse in the computing thread; if memory does not suffice for all batches together, one by one."""
        try:
            return self._infer(batches)
        except InferenceError as error:
            reason = str(error)
        # outside the handler, where the traceback would keep the allocated memory alive
        if len(batches) == 1:
            return [NotAnalysed(reason)]
        log.warning("%d batches together: %s; retrying them one by one", len(batches), reason)
        return [outcome for batch in batches for outcome in self._analyse([batch])]

    def _infer(self, batches: list[Batch]) -> list[Outcome]:
        """Return the encoded answers of one inference. Raises InferenceError."""
        started = time.monotonic()
        analyses = self._engine.analyse(joined_pixels(batches))
        seconds = time.monotonic() - started
        metrics.inference_batch_crops.observe(len(analyses))
        metrics.inference_seconds.labels("swinface").observe(seconds)
        answers: list[Outcome] = []
        first = 0
        for batch in batches:
            if self._tracer is not None:
                self._tracer.add("infer", batch, started, started + seconds, len(analyses))
            answers.append(messages.answer(batch, analyses, self._engine.model_id, seconds, first))
            first += len(batch.crop_ids)
        return answers

    def _finish(self) -> None:
        """Answer the batches of a finished inference, then ask for more. Unexpected errors are raised."""
        if self._running is None or not self._running[1].done():
            return
        batches, future = self._running
        self._running = None
        try:
            outcomes = future.result()
        except Exception as error:  # the border of the thread: answer the streamers before the process ends
            for pending in batches:
                self._refuse(pending.link, pending.batch.id, f"the worker failed: {error}", "failed")
            raise
        for pending, outcome in zip(batches, outcomes, strict=True):
            self._answer(pending.link, pending.batch, outcome)
        if self._exit_code is None:
            self._send_heartbeats()

    def _answer(self, link: Link, batch: Batch, outcome: Outcome) -> None:
        if isinstance(outcome, NotAnalysed):
            log.warning("batch of %d crops not analysed: %s", len(batch.crop_ids), outcome.reason)
            self._refuse(link, batch.id, outcome.reason, "inference")
        elif not link.send(b"ANSWER", outcome):
            metrics.answers_undelivered.inc()
            log.warning("answer to batch %d dropped: its streamer has gone", batch.id)

    def _refuse(self, link: Link, batch_id: int, error: str, reason: str) -> None:
        metrics.batches_refused.labels(reason).inc()
        link.send(b"ANSWER", messages.refusal(batch_id, self._engine.model_id, error))

    def _install_signal_handlers(self) -> None:
        """Let SIGINT and SIGTERM stop the worker after the running inference; a second one ends it at once."""
        signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._exit_code is not None:
            os._exit(128 + number)
        self._exit_code = 128 + number

    def _drain_wake(self) -> None:
        try:
            while self._wake_receiver.recv(64):
                pass
        except BlockingIOError:
            return

    def _check_parent(self) -> None:
        if self._parent is not None and os.getppid() != self._parent and self._exit_code is None:
            log.warning("the streamer that started this worker has gone")
            self._exit_code = PARENT_GONE

    def _close(self) -> None:
        for link in self._links:
            link.send(b"BYE")
            link.close()
        self._context.term()  # waits LINGER_MS at most
        self._executor.shutdown()
        signal.set_wakeup_fd(-1)
        self._wake_receiver.close()
        self._wake_sender.close()


def serve(config: WorkerConfig, parent: int | None) -> int:
    """Load the network, work until a signal and return the exit code. Raises ModelError, ConfigError."""
    started = time.monotonic()
    engine = Engine(config.weights, config.device, config.precision, config.threads, None, config.max_batch)
    log.info("model %s on %s, loaded in %.1f s", engine.model_id, engine.device, time.monotonic() - started)
    if engine.heads != OUTPUTS:
        log.info("the weights have only these outputs: %s", ", ".join(engine.heads))
    tracer = BatchTracer(config, engine.model_id) if config.tracing_endpoint else None
    stop = metrics.serve_metrics(config, engine.model_id) if config.metrics_listen else None
    try:
        return Worker(engine, config, parent, tracer).run()
    finally:
        if tracer is not None:
            tracer.close()
        if stop is not None:
            stop()
        log.info("worker stopped")
