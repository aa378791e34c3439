"""Crops per second through Ledger, ROUTER and a DEALER in another process that answers at once.

The baseline is the bare wire: the same bytes to the same kind of process and back, without ledger, headers or checks.
"""

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from typing import Any

import numpy as np
import zmq
import zmq.asyncio

from faceanalytics.internal.v1 import faces_pb2
from streamer.config import Dispatch
from streamer.dispatch.dispatcher import Dispatcher
from streamer.values import FaceAnalysis, FaceCrop, TrackEnd
from tests.support.builders import crop

CROPS = 1024  # per round
ROUNDS = 5
BATCHES = (16, 64)


def measure() -> dict[str, Any]:
    """Medians over rounds in which both take turns, per size of batch: crops/s and ratio."""
    return {str(batch): _measure(batch) for batch in BATCHES}


def _measure(batch: int) -> dict[str, float]:
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(ROUNDS):
        rates["ours"].append(asyncio.run(_ours(batch)))
        rates["bare"].append(_bare(batch))
    medians = {f"{name}_crops_per_s": statistics.median(found) for name, found in rates.items()}
    return medians | {"ratio": medians["ours_crops_per_s"] / medians["bare_crops_per_s"]}


async def _ours(batch: int) -> float:
    done = 0

    def settled(face: FaceCrop, analysis: FaceAnalysis | None) -> None:
        nonlocal done
        assert analysis is not None
        assert face.pixels.shape == (112, 112, 3)
        done += 1

    def finished(end: TrackEnd) -> None:
        del end

    with tempfile.TemporaryDirectory() as folder:
        config = Dispatch(bind=f"ipc://{folder}/w", batch=batch, max_waiting=4 * batch)
        dispatcher = Dispatcher(config, settled, finished)
        running = asyncio.create_task(dispatcher.run())
        worker = multiprocessing.get_context("spawn").Process(target=_worker, args=(config.bind, batch))
        worker.start()
        await dispatcher.wait_for_worker()
        crops = [crop(f"track{index}", float(index)) for index in range(CROPS)]
        start = time.perf_counter()
        for face in crops:
            await dispatcher.offer(face)
        await dispatcher.drain(60)
        seconds = time.perf_counter() - start
        running.cancel()
        dispatcher.close()
        worker.terminate()
        worker.join()
    assert done == CROPS
    return CROPS / seconds


def _worker(endpoint: str, max_batch: int) -> None:
    """Says READY and answers every batch with the same numbers."""
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(endpoint)
    outputs = faces_pb2.Outputs(age=True, expression=True, attributes=range(1, 41), identity=True)
    ready = faces_pb2.Ready(
        protocol=3, worker="bench", model_id="bench", max_batch=max_batch, device="none", outputs=outputs
    )
    embedding = np.full(512, 512**-0.5, "<f4").tobytes()
    while True:
        socket.send_multipart([b"READY", ready.SerializeToString()])
        _, header, _ = socket.recv_multipart(copy=False)
        batch = faces_pb2.Batch.FromString(header.bytes)
        answer = faces_pb2.Answer(batch_id=batch.batch_id, model_id="bench")
        for crop_id in batch.crop_ids:
            answer.analyses.add(
                crop_id=crop_id,
                age_years=30,
                expression=[1 / 7] * 7,
                attributes=[0.5] * 40,
                embedding=embedding,
                embedding_norm=20,
            )
        socket.send_multipart([b"ANSWER", answer.SerializeToString()])


def _bare(batch: int) -> float:
    with tempfile.TemporaryDirectory() as folder, zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(f"ipc://{folder}/w")
        echo = multiprocessing.get_context("spawn").Process(target=_echo, args=(f"ipc://{folder}/w", batch))
        echo.start()
        socket.recv()
        pixels = np.zeros((batch, 112, 112, 3), np.uint8)
        start = time.perf_counter()
        for _ in range(CROPS // batch):
            socket.send(pixels.data, copy=False)
            socket.recv()
        seconds = time.perf_counter() - start
        echo.terminate()
        echo.join()
    return CROPS / seconds


def _echo(endpoint: str, batch: int) -> None:
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(endpoint)
    answer = bytes(batch * 2300)  # an analysis takes so much
    while True:
        socket.send(answer)
        socket.recv(copy=False)


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    lines = [f"{'batch':>6} {'crops/s':>9} {'bare wire':>10} {'ratio':>6}"]
    for batch, row in results.items():
        assert isinstance(row, dict)
        ours, bare, ratio = row.values()
        lines.append(f"{batch:>6} {ours:>9.0f} {bare:>10.0f} {ratio:>6.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
