"""Stands in for a worker at the dispatcher of another process: the workers of this one analyse its crops."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

import numpy as np
import zmq
import zmq.asyncio
from google.protobuf.message import DecodeError

from faceanalytics.errors import LostDependency
from faceanalytics.internal.v1 import faces_pb2
from streamer.dispatch.dispatcher import Dispatcher
from streamer.dispatch.ledger import Priority
from streamer.dispatch.wire import answer_of, ready_of
from streamer.values import CROP_SIZE, FaceAnalysis, Model

HEARTBEAT_S = 1.0
NAME = "streamer"  # the name of the worker that it plays, in the log of the other process

log = logging.getLogger(__name__)


class Relay:
    """Passes batches on as they are, so that their analyses are those that a worker of the other process would give.

    It lives in the asyncio loop of the dispatcher whose workers it uses.
    """

    def __init__(self, dispatcher: Dispatcher, endpoint: str, batch: int) -> None:
        """`endpoint`: of the other dispatcher, on ipc; `batch`: crops in its largest batch."""
        self._dispatcher = dispatcher
        self._endpoint = endpoint
        self._batch = batch
        self._busy = False

    async def run(self) -> None:
        """Work until cancelled.

        Raises LostDependency if the workers cannot do what the other process needs: they take smaller batches, or have
        other weights than it began with.
        """
        model = await self._dispatcher.wait_for_worker()
        if model is None:
            return
        context = zmq.asyncio.Context()
        try:
            self._socket = context.socket(zmq.DEALER)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.RECONNECT_IVL, 50)  # ms; the other process may not listen yet
            self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
            self._socket.setsockopt(zmq.IMMEDIATE, 1)
            self._socket.connect(self._endpoint)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._say_ready(model))
                group.create_task(self._serve(model))
        except BaseExceptionGroup as group_of_errors:
            raise group_of_errors.exceptions[0] from None
        finally:
            context.destroy(linger=0)

    async def _say_ready(self, model: Model) -> None:
        """Show the other process every second that a worker is there. Without workers here, its batches wait here."""
        ready = ready_of(model, NAME, self._batch)
        while True:
            self._check_batch()
            await (self._send(b"BUSY", b"") if self._busy else self._send(b"READY", ready))
            await asyncio.sleep(HEARTBEAT_S)

    async def _serve(self, model: Model) -> None:
        ready = ready_of(model, NAME, self._batch)
        while True:
            frames = await self._socket.recv_multipart()
            if frames[0] == b"REFUSED":
                reason = faces_pb2.Refusal.FromString(frames[1]).reason
                raise LostDependency(f"the workers cannot go on with it: {reason}")
            self._busy = True
            try:
                await self._send(b"ANSWER", await self._answer(model, frames))
            finally:
                self._busy = False
            await self._send(b"READY", ready)

    async def _answer(self, model: Model, frames: Sequence[bytes]) -> bytes:
        """Return the encoded answer to a batch. Raises LostDependency."""
        try:
            batch = faces_pb2.Batch.FromString(frames[1])
        except DecodeError as error:
            raise LostDependency(f"the analysis has sent a batch that cannot be decoded: {error}") from error
        pixels = np.frombuffer(frames[2], np.uint8).reshape(-1, CROP_SIZE, CROP_SIZE, 3)
        began = time.monotonic()
        analyses = await self._dispatcher.analyse([*pixels], Priority.RECORDED, not batch.without_embeddings)
        whole = [one for one in analyses if one is not None]
        if len(whole) < len(analyses):  # the other process asks again, or counts them as lost
            why = "the workers of the streamer did not answer"
            return faces_pb2.Answer(batch_id=batch.batch_id, model_id=model.id, error=why).SerializeToString()
        self._check_model(model, whole)
        return answer_of(batch, model, whole, time.monotonic() - began).SerializeToString()

    async def _send(self, kind: bytes, body: bytes) -> None:
        with contextlib.suppress(zmq.Again):  # it does not listen yet, or any longer
            await self._socket.send_multipart([kind, body], flags=zmq.NOBLOCK)

    def _check_batch(self) -> None:
        """Raise LostDependency if a worker would get a batch in parts: its answers may differ in the last digits."""
        smallest = min((worker.max_batch for worker in self._dispatcher.ledger.workers.values()), default=self._batch)
        if smallest < self._batch:
            raise LostDependency(
                f"a worker takes at most {smallest} crops, but dispatch.batch of the job is {self._batch}: "
                f"start workers with --max-batch {self._batch} or more"
            )

    def _check_model(self, model: Model, analyses: Sequence[FaceAnalysis]) -> None:
        other = next((one.model.id for one in analyses if one.model.id != model.id), None)
        if other is not None:
            raise LostDependency(
                f"the workers have the weights {other} now, but it began with {model.id}: add it again"
            )
