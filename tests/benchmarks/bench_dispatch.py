"""Crops per second through the dispatcher and a worker process that answers at once; live latency beside a job.

The baseline of the first is the bare wire: the same bytes to the same kind of process and back, without ledger, headers
or checks. The second compares the time from a live crop's offer to its answer with and without a recorded job of 2,000
crops on the same dispatcher, with a worker that takes 20 ms for each batch, in units of that time.
"""

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from functools import partial
from typing import Any

import numpy as np
import zmq
import zmq.asyncio

from faceanalytics.internal.v1 import faces_pb2
from streamer.config import Dispatch
from streamer.dispatch.dispatcher import Dispatcher
from streamer.dispatch.ledger import Priority
from streamer.dispatch.wire import PROTOCOL
from streamer.recorded.batches import CropBatches
from streamer.values import FaceAnalysis, FaceCrop
from tests.support.builders import crop

CROPS = 1024  # per round
ROUNDS = 5
BATCHES = (16, 64)
JOB_CROPS = 2000
COMPUTE_S = 0.02  # of a batch, in the second part
EVERY_S = 0.03  # between two live crops


def measure() -> dict[str, Any]:
    """Per size of batch crops/s and ratio, medians over rounds in which both take turns; then the live latencies."""
    return {"rates": {str(batch): _measure(batch) for batch in BATCHES}, "live": _live_beside_a_job()}


def _live_beside_a_job() -> dict[str, float]:
    """Latencies of live crops in batches' time: alone and beside a recorded job, median and worst of 20."""
    found: dict[str, float] = {}
    rounds: dict[str, list[list[float]]] = {"alone": [], "beside": []}
    for _ in range(ROUNDS):
        for name, latencies in rounds.items():
            latencies.append(asyncio.run(_latencies(with_job=name == "beside")))
    for name, latencies in rounds.items():
        found[f"{name}_median_batches"] = statistics.median(statistics.median(one) for one in latencies) / COMPUTE_S
        worst = (statistics.quantiles(one, n=20)[-1] for one in latencies)
        found[f"{name}_p95_batches"] = statistics.median(worst) / COMPUTE_S
    return found


async def _latencies(with_job: bool) -> list[float]:
    answered: dict[str, float] = {}

    def on_result(face: FaceCrop, analysis: FaceAnalysis | None) -> None:
        assert analysis is not None
        answered[face.key.id] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        config = Dispatch(bind=f"ipc://{folder}/w", batch=16)
        dispatcher = Dispatcher(config, on_result)
        running = asyncio.create_task(dispatcher.run())
        worker = multiprocessing.get_context("spawn").Process(target=_worker, args=(config.bind, 16, COMPUTE_S))
        worker.start()
        await dispatcher.wait_for_worker()
        pixels = [np.zeros((112, 112, 3), np.uint8)] * JOB_CROPS
        job = asyncio.create_task(dispatcher.analyse(pixels, Priority.RECORDED)) if with_job else None
        offered: dict[str, float] = {}
        while not job.done() if job is not None else len(offered) < JOB_CROPS // 16 // 2:
            name = f"track{len(offered)}"
            offered[name] = time.perf_counter()
            await dispatcher.offer(crop(name, received=time.monotonic()))
            await asyncio.sleep(EVERY_S)
        await dispatcher.drain(60)
        if job is not None:
            assert None not in await job
        running.cancel()
        dispatcher.close()
        worker.terminate()
        worker.join()
    return [answered[name] - offered[name] for name in offered]


def _measure(batch: int) -> dict[str, float]:
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(ROUNDS):
        rates["ours"].append(asyncio.run(_ours(batch)))
        rates["bare"].append(_bare(batch))
    medians = {f"{name}_crops_per_s": statistics.median(found) for name, found in rates.items()}
    return medians | {"ratio": medians["ours_crops_per_s"] / medians["bare_crops_per_s"]}


async def _ours(batch: int) -> float:
    done = 0

    def on_result(face: FaceCrop, analysis: FaceAnalysis | None) -> None:
        nonlocal done
        assert analysis is not None
        assert face.pixels.shape == (112, 112, 3)
        done += 1

    with tempfile.TemporaryDirectory() as folder:
        config = Dispatch(bind=f"ipc://{folder}/w", batch=batch, max_waiting=4 * batch)
        dispatcher = Dispatcher(config)
        running = asyncio.create_task(dispatcher.run())
        worker = multiprocessing.get_context("spawn").Process(target=_worker, args=(config.bind, batch, 0.0))
        worker.start()
        await dispatcher.wait_for_worker()
        crops = [crop(f"track{index}", float(index)) for index in range(CROPS)]
        analyse = partial(dispatcher.analyse, priority=Priority.RECORDED)
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            batches = CropBatches(group, analyse, on_result, batch, config.max_waiting)
            for face in crops:
                await batches.add(face)
        seconds = time.perf_counter() - start
        running.cancel()
        dispatcher.close()
        worker.terminate()
        worker.join()
    assert done == CROPS
    return CROPS / seconds


def _worker(endpoint: str, max_batch: int, compute_s: float) -> None:
    """Says READY and answers every batch with the same numbers, after `compute_s`."""
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(endpoint)
    outputs = faces_pb2.Outputs(age=True, expression=True, attributes=range(1, 41), identity=True)
    ready = faces_pb2.Ready(
        protocol=PROTOCOL, worker="bench", model_id="bench", max_batch=max_batch, device="none", outputs=outputs
    )
    embedding = np.full(512, 512**-0.5, "<f4").tobytes()
    while True:
        socket.send_multipart([b"READY", ready.SerializeToString()])
        _, header, _ = socket.recv_multipart(copy=False)
        batch = faces_pb2.Batch.FromString(header.bytes)
        time.sleep(compute_s)
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
    answer = bytes(batch * 2300)  # about 2,300 bytes for each analysis
    while True:
        socket.send(answer)
        socket.recv(copy=False)


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    lines = [f"{'batch':>6} {'crops/s':>9} {'bare wire':>10} {'ratio':>6}"]
    for batch, row in results["rates"].items():
        ours, bare, ratio = row.values()
        lines.append(f"{batch:>6} {ours:>9.0f} {bare:>10.0f} {ratio:>6.2f}")
    lines.append(f"{'live crop to answer, in times of a batch':<44}{'median':>8}{'95 %':>8}")
    for name, title in (("alone", "alone"), ("beside", "beside a recorded job of 2,000 crops")):
        median, worst = results["live"][f"{name}_median_batches"], results["live"][f"{name}_p95_batches"]
        lines.append(f"{title:<44}{median:>8.2f}{worst:>8.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
