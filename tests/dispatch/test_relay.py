"""The relay between two real dispatchers and a real DEALER socket as worker: batches and answers pass unchanged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceanalytics.errors import LostDependency
from faceanalytics.internal.v1 import faces_pb2
from streamer.dispatch.ledger import Priority
from streamer.dispatch.relay import Relay
from streamer.dispatch.wire import PROTOCOL, answer_of, ready_of, to_analysis, to_model
from streamer.values import FaceAnalysis, ImpostorScores
from tests.dispatch.test_dispatcher import Desk, answer_to, dealer, desk, receive, say_ready, send_answer, until
from tests.support.builders import crop, model
from tests.support.patience import WAIT_S


def crops(count: int) -> list[Any]:
    return [np.full((112, 112, 3), fill, np.uint8) for fill in range(count)]


@asynccontextmanager
async def two(folder: Path, batch: int = 4) -> AsyncIterator[tuple[Desk, Desk, "asyncio.Task[None]"]]:
    """The streamer, the job whose batches have `batch` crops, and the relay between them."""
    inner = folder / "job"
    inner.mkdir()
    async with desk(folder) as ours, desk(inner, batch, True, batch=batch) as job:
        relay = Relay(ours.dispatcher, job.dispatcher.endpoint, batch)
        task = asyncio.create_task(relay.run())
        try:
            yield ours, job, task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_batches_and_answers_pass_unchanged(tmp_path: Path) -> None:
    async with two(tmp_path) as (ours, job, _), dealer(ours.dispatcher.endpoint) as worker:
        await say_ready(worker)
        asked = asyncio.create_task(job.dispatcher.analyse(crops(6), Priority.RECORDED))
        sizes, direct = [], []
        for _ in range(2):
            batch, pixels = await receive(worker)
            sizes.append(len(batch.crop_ids))
            answer = answer_to(batch, pixels)
            for face in answer.analyses:  # numbers with all their digits
                face.age_years += 0.1
                face.embedding_norm = 19.987654
                face.embedding = random_embedding(face.age_years)
            direct += [to_analysis(face, model("m")) for face in answer.analyses]
            await send_answer(worker, answer)
            await say_ready(worker)
        async with asyncio.timeout(WAIT_S):
            found = await asked
    assert sizes == [4, 2]
    assert len(found) == 6
    for one, other in zip(found, direct, strict=True):
        assert one is not None
        assert_same(one, other)


def random_embedding(seed: float) -> bytes:
    values = np.random.default_rng(round(seed * 10)).normal(size=512)
    return bytes((values / np.linalg.norm(values)).astype("<f4").tobytes())


def assert_same(one: FaceAnalysis, other: FaceAnalysis) -> None:
    assert (one.age, one.embedding_norm, one.model.id) == (other.age, other.embedding_norm, other.model.id)
    for name in ("expression", "attributes", "embedding"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


async def test_cameras_go_first(tmp_path: Path) -> None:
    async with two(tmp_path) as (ours, job, _), dealer(ours.dispatcher.endpoint) as worker:
        await say_ready(worker)
        await until(lambda: bool(job.dispatcher.ledger.workers))
        asked = asyncio.create_task(job.dispatcher.analyse(crops(8), Priority.RECORDED))
        kinds = []
        first, pixels = await receive(worker)
        for number in range(3):  # while the worker computes, faces of cameras come
            await ours.dispatcher.offer(crop(f"live{number}", received=1e12, fill=100))
        await send_answer(worker, answer_to(first, pixels))
        for _ in range(2):
            await say_ready(worker)
            batch, pixels = await receive(worker)
            kinds.append("live" if pixels[0] == 100 else "job")
            await send_answer(worker, answer_to(batch, pixels))
        assert kinds == ["live", "job"]
        async with asyncio.timeout(WAIT_S):
            assert None not in await asked


async def test_a_model_and_its_table_pass_unchanged() -> None:
    scores = ImpostorScores(10_000, 50, np.array([0.001, 0.1, 1.0]), np.array([0.4, 0.1 + 0.2, -0.3]), "faces")
    for one in (
        model("m", licence="free", impostors=scores),
        model("n", age=False, attributes=(3, 17)),
        model("o", attributes=(), expression=False, identity=False),
    ):
        ready = faces_pb2.Ready.FromString(ready_of(one, "w", 7))
        back = to_model(ready)
        assert (ready.protocol, ready.max_batch) == (PROTOCOL, 7)
        assert (back, back.licence) == (one, one.licence)
        if one.impostors is not None:
            assert back.impostors is not None
            assert back.impostors.cosines.tolist() == one.impostors.cosines.tolist()
            assert back.impostors.shares.tolist() == one.impostors.shares.tolist()


async def test_outputs_that_a_model_lacks_stay_absent() -> None:
    small = model("o", age=False, attributes=(), expression=False)
    embedding = np.zeros(512, np.float32)
    embedding[3] = 1
    one = FaceAnalysis(small, None, None, np.zeros(0, np.float32), embedding, 20.0)
    batch = faces_pb2.Batch(batch_id=1, crop_ids=[5])
    (face,) = answer_of(batch, small, [one], 0.1).analyses
    assert not face.HasField("age_years")
    assert list(face.expression) == []
    assert to_analysis(face, small).expression is None


async def test_a_batch_that_the_workers_lose_is_sent_again_and_then_lost_here_too(tmp_path: Path) -> None:
    async with two(tmp_path) as (ours, job, _), dealer(ours.dispatcher.endpoint) as worker:
        await say_ready(worker)
        asked = asyncio.create_task(job.dispatcher.analyse(crops(1), Priority.RECORDED))
        for _ in range(9):  # thrice by the streamer, each thrice by the job
            batch, _pixels = await receive(worker)
            await send_answer(worker, faces_pb2.Answer(batch_id=batch.batch_id, model_id="m", error="out of memory"))
            await say_ready(worker)
        async with asyncio.timeout(WAIT_S):
            assert await asked == [None]


async def test_a_worker_that_would_cut_batches_ends_it(tmp_path: Path) -> None:
    async with two(tmp_path) as (ours, _, task), dealer(ours.dispatcher.endpoint) as worker:
        await say_ready(worker, max_batch=2)
        with pytest.raises(LostDependency, match=r"at most 2 crops.*--max-batch 4"):
            async with asyncio.timeout(WAIT_S):
                await asyncio.shield(task)


async def test_workers_with_other_weights_end_it(tmp_path: Path) -> None:
    async with two(tmp_path) as (ours, job, task):
        async with dealer(ours.dispatcher.endpoint) as worker:
            await say_ready(worker)
            await until(lambda: bool(job.dispatcher.ledger.workers))
            await worker.send_multipart([b"BYE", b""])
            await until(lambda: not ours.dispatcher.ledger.workers)
        async with dealer(ours.dispatcher.endpoint) as worker:
            await say_ready(worker, model_id="other")
            asked = asyncio.create_task(job.dispatcher.analyse(crops(1), Priority.RECORDED))
            batch, pixels = await receive(worker)
            answer = answer_to(batch, pixels)
            answer.model_id = "other"
            await send_answer(worker, answer)
            with pytest.raises(LostDependency, match="weights other now, but it began with m"):
                async with asyncio.timeout(WAIT_S):
                    await asyncio.shield(task)
            asked.cancel()
            await asyncio.wait([asked])
