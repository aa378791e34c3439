"""Who may play worker, over real sockets; and answers that nobody asked for or that cannot be true."""

import asyncio
import logging
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import zmq
import zmq.asyncio
from prometheus_client import REGISTRY

from faceanalytics.errors import ConfigError
from faceanalytics.internal.v1 import faces_pb2
from faceanalytics.worker_keys import (
    WorkerKeys,
    make_streamer_keys,
    make_worker_keys,
    new_pair,
    read_worker_keys,
    revoke_worker_keys,
)
from streamer.config import Dispatch
from streamer.dispatch.dispatcher import Dispatcher
from tests.dispatch.test_dispatcher import answer_to, dealer, desk, receive, say_ready, send_answer, until
from tests.support.builders import crop

LOCAL = "tcp://127.0.0.1:*"


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"faceanalytics_{name}_total", labels) or 0.0


def keys(folder: Path, name: str = "gpu1") -> WorkerKeys:
    """Keys of a worker that may connect."""
    make_streamer_keys(folder)
    make_worker_keys(folder, name, folder / f"{name}.key")
    return read_worker_keys(folder / f"{name}.key")


@asynccontextmanager
async def keyed_dealer(endpoint: str, known: WorkerKeys) -> AsyncIterator[zmq.asyncio.Socket]:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.curve_serverkey = known.streamer.encode()
    socket.curve_publickey, socket.curve_secretkey = known.pair.public.encode(), known.pair.secret.encode()
    socket.connect(endpoint)
    try:
        yield socket
    finally:
        context.destroy(linger=0)


async def test_a_worker_with_an_allowed_key_gets_work(tmp_path: Path) -> None:
    known = keys(tmp_path / "keys")
    async with (
        desk(tmp_path, bind=LOCAL, keys=str(tmp_path / "keys")) as at,
        keyed_dealer(at.dispatcher.endpoint, known) as socket,
    ):
        await say_ready(socket)
        await at.dispatcher.offer(crop("a", fill=11))
        await send_answer(socket, answer_to(*await receive(socket)))
        await until(lambda: at.results == [("a", 11.0)])


async def test_strangers_do_not_get_in_and_are_counted_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = keys(tmp_path / "keys")
    before = metric("strangers_refused")
    async with desk(tmp_path, bind=LOCAL, keys=str(tmp_path / "keys")) as at:
        endpoint = at.dispatcher.endpoint
        wrong_streamer = WorkerKeys(known.pair, new_pair().public)
        own_pair = WorkerKeys(new_pair(), known.streamer)
        async with (
            dealer(endpoint) as plain,
            keyed_dealer(endpoint, own_pair) as stranger,
            keyed_dealer(endpoint, wrong_streamer) as misled,
            keyed_dealer(endpoint, known) as worker,
        ):
            for socket in (plain, stranger, misled, worker):
                await say_ready(socket)
            await until(lambda: len(at.dispatcher.ledger.workers) == 1)
            await until(lambda: metric("strangers_refused") >= before + 3)
            await at.dispatcher.offer(crop("a", fill=11))
            await send_answer(worker, answer_to(*await receive(worker)))
            await until(lambda: len(at.results) == 1)
            assert len(at.dispatcher.ledger.workers) == 1
            for socket in (plain, stranger, misled):
                assert not await socket.poll(0)
    refusals = [record for record in caplog.records if "without an allowed key" in record.getMessage()]
    assert len(refusals) == 1


async def test_a_worker_whose_key_is_removed_gets_no_work(tmp_path: Path) -> None:
    known = keys(tmp_path / "keys")
    async with (
        desk(tmp_path, bind=LOCAL, keys=str(tmp_path / "keys")) as at,
        keyed_dealer(at.dispatcher.endpoint, known) as socket,
    ):
        await say_ready(socket)
        await at.dispatcher.wait_for_worker()
        revoke_worker_keys(tmp_path / "keys", "gpu1")
        await say_ready(socket)
        assert (await socket.recv_multipart())[0] == b"REFUSED"
        assert at.dispatcher.models == {}
        other = keys(tmp_path / "keys", "gpu2")  # without a restart
        async with keyed_dealer(at.dispatcher.endpoint, other) as second:
            await say_ready(second)
            await until(lambda: len(at.dispatcher.ledger.workers) == 1)


@pytest.mark.parametrize("bind", ["tcp://0.0.0.0:*", "tcp://*:5571", "tcp://eth0:5571", "tcp://192.0.2.1:5571"])
async def test_an_endpoint_that_others_reach_needs_keys(bind: str) -> None:
    with pytest.raises(ConfigError, match=r"dispatch.bind: other machines.*streamer keys new.*insecure: true"):
        Dispatcher(Dispatch(bind=bind))


async def test_keys_that_are_not_there_are_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"streamer keys new"):
        Dispatcher(Dispatch(bind=LOCAL, keys=str(tmp_path)))
    make_streamer_keys(tmp_path)
    (tmp_path / "workers" / "bad.pub").write_text("no key")
    with pytest.raises(ConfigError, match=r"bad.pub holds no public key"):
        Dispatcher(Dispatch(bind=LOCAL, keys=str(tmp_path)))


async def test_a_worker_of_our_own_needs_no_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for settings in (Dispatch(bind="tcp://0.0.0.0:5571", keys="keys"), Dispatch(bind="tcp://*:5571", insecure=True)):
        Dispatcher(settings.on_socket(tmp_path / "workers")).close()
    assert caplog.messages == []


async def test_an_insecure_endpoint_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    Dispatcher(Dispatch(bind="tcp://0.0.0.0:*", insecure=True)).close()
    assert "whoever reaches tcp://0.0.0.0:* can play worker" in caplog.text


async def test_the_socket_of_ipc_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with desk(tmp_path):
            assert stat.S_IMODE((tmp_path / "workers").stat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def changed(answer: faces_pb2.Answer, **values: object) -> faces_pb2.Answer:
    """The answer with values of its first analysis replaced."""
    copy = faces_pb2.Answer()
    copy.CopyFrom(answer)
    face = copy.analyses[0]
    for name, value in values.items():
        face.ClearField(name)  # type: ignore[arg-type]
        if isinstance(value, list):
            getattr(face, name).extend(value)
        else:
            setattr(face, name, value)
    return copy


WRONG: dict[str, dict[str, object]] = {
    "an age of 99999 years": {"age_years": 99999.0},
    "an age that is no number": {"age_years": float("nan")},
    "scores above 1": {"expression": [2.0, -1.0, 0, 0, 0, 0, 0]},
    "scores that do not add up": {"expression": [0.1] * 7},
    "too few scores": {"attributes": [0.5] * 39},
    "attributes above 1": {"attributes": [1.5] * 40},
    "a short embedding": {"embedding": np.zeros(511, "<f4").tobytes()},
    "an embedding of length 0": {"embedding": np.zeros(512, "<f4").tobytes()},
    "an embedding of length 2": {"embedding": np.full(512, 2 * 512**-0.5, "<f4").tobytes()},
    "an infinite embedding": {"embedding": np.full(512, np.inf, "<f4").tobytes()},
    "a negative norm": {"embedding_norm": -1.0},
    "another crop": {"crop_id": 7},
}


@pytest.mark.parametrize("values", WRONG.values(), ids=WRONG)
async def test_an_answer_that_cannot_be_true_is_refused_and_counted(
    tmp_path: Path, values: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    before = metric("answers_refused", reason="invalid")
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        await say_ready(socket)
        await at.dispatcher.offer(crop("a", fill=11))
        await send_answer(socket, changed(answer_to(*await receive(socket)), **values))
        await until(lambda: len(at.results) == 1)
        assert at.results == [("a", None)]
        assert metric("answers_refused", reason="invalid") == before + 1
    assert [record.levelno for record in caplog.records if "ignored" in record.message] == [logging.WARNING]


async def test_replayed_foreign_and_invented_answers_change_nothing(tmp_path: Path) -> None:
    before = metric("answers_refused", reason="unasked")
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as first, dealer(at.dispatcher.endpoint) as other:
        await say_ready(first)
        await at.dispatcher.offer(crop("a", fill=11))
        answer = answer_to(*await receive(first))
        await say_ready(other)
        await send_answer(other, answer)  # of the batch of another worker
        await send_answer(other, changed(answer))
        await until(lambda: metric("answers_refused", reason="unasked") == before + 2)
        assert at.results == []
        await send_answer(first, answer)
        await send_answer(first, answer)  # once more
        await until(lambda: metric("answers_refused", reason="unasked") == before + 3)
        assert at.results == [("a", 11.0)]
        invented = faces_pb2.Answer(batch_id=answer.batch_id + 2, model_id="m", analyses=answer.analyses)
        await send_answer(first, invented)
        await until(lambda: metric("answers_refused", reason="unasked") == before + 4)
        assert at.results == [("a", 11.0)]


async def test_an_answer_to_an_earlier_streamer_fits_no_batch_of_this_one(tmp_path: Path) -> None:
    """The worker computes while the streamer is replaced, and its connection is made again by itself."""
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        await say_ready(socket)
        await at.dispatcher.offer(crop("a", fill=11))
        old = answer_to(*await receive(socket))
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        await say_ready(socket)
        await at.dispatcher.offer(crop("b", fill=22))
        new = answer_to(*await receive(socket))
        assert not {old.batch_id, *(face.crop_id for face in old.analyses)} & {
            new.batch_id,
            *(face.crop_id for face in new.analyses),
        }
        before = metric("answers_refused", reason="unasked")
        await send_answer(socket, old)
        await until(lambda: metric("answers_refused", reason="unasked") == before + 1)
        await send_answer(socket, new)
        await until(lambda: at.results == [("b", 22.0)])


async def test_a_flood_from_strangers_does_not_stop_the_work(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as noise, dealer(at.dispatcher.endpoint) as worker:
        await say_ready(worker)
        await at.dispatcher.wait_for_worker()

        async def shout() -> None:
            for number in range(2000):
                await noise.send_multipart([b"ANSWER", b"\xff" * (number % 50)])

        shouting = asyncio.create_task(shout())
        await at.dispatcher.offer(crop("a", fill=11))
        await send_answer(worker, answer_to(*await receive(worker)))
        await until(lambda: at.results == [("a", 11.0)])
        shouting.cancel()
        await asyncio.wait([shouting])
