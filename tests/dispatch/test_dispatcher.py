"""The ROUTER against real DEALER sockets that behave, misbehave and vanish."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import zmq
import zmq.asyncio

from faceanalytics.errors import ConfigError
from faceanalytics.internal.v1 import faces_pb2
from streamer.config import Dispatch
from streamer.dispatch.dispatcher import Dispatcher
from streamer.dispatch.ledger import Priority
from streamer.dispatch.wire import PROTOCOL
from streamer.values import Bytes, FaceAnalysis, FaceCrop, TrackEnd
from tests.support.builders import crop, end, model
from tests.support.patience import FOREVER_S, WAIT_S


class Desk:
    """A Dispatcher, and what it reported."""

    def __init__(self, config: Dispatch, min_batch: int = 1, keep_model: bool = False) -> None:
        self.results: list[tuple[str, float | None]] = []
        self.finished: list[str] = []
        self.workers: list[int] = []
        self.analyses: list[FaceAnalysis] = []
        self.dispatcher = Dispatcher(
            config,
            self._on_result,
            self._on_finished,
            self.workers.append,
            min_batch=min_batch,
            keep_model=keep_model,
        )

    def _on_result(self, face: FaceCrop, analysis: FaceAnalysis | None) -> None:
        self.results.append((face.key.id, None if analysis is None else analysis.age))
        self.analyses += [] if analysis is None else [analysis]

    def _on_finished(self, track: TrackEnd) -> None:
        self.finished.append(track.key.id)


@asynccontextmanager
async def desk(
    folder: Path, min_batch: int = 1, keep_model: bool = False, /, **settings: object
) -> AsyncIterator[Desk]:
    patient = {"max_wait_s": 1e9, "worker_silent_s": FOREVER_S}
    data = {"bind": f"ipc://{folder}/workers", "batch": 4, **patient, **settings}
    made = Desk(Dispatch.model_validate(data), min_batch, keep_model)
    task = asyncio.create_task(made.dispatcher.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait([task])
        made.dispatcher.close()


@asynccontextmanager
async def dealer(endpoint: str) -> AsyncIterator[zmq.asyncio.Socket]:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint)
    try:
        yield socket
    finally:
        context.destroy(linger=0)


async def say_ready(
    socket: zmq.asyncio.Socket, max_batch: int = 4, protocol: int = PROTOCOL, model_id: str = "m"
) -> None:
    outputs = faces_pb2.Outputs(age=True, expression=True, attributes=range(1, 41), identity=True)
    ready = faces_pb2.Ready(
        protocol=protocol, worker="w", model_id=model_id, max_batch=max_batch, device="cpu", outputs=outputs
    )
    await socket.send_multipart([b"READY", ready.SerializeToString()])


async def receive(socket: zmq.asyncio.Socket) -> tuple[faces_pb2.Batch, bytes]:
    async with asyncio.timeout(WAIT_S):
        kind, header, pixels = await socket.recv_multipart()
    assert kind == b"BATCH"
    return faces_pb2.Batch.FromString(header), pixels


def answer_to(batch: faces_pb2.Batch, pixels: bytes) -> faces_pb2.Answer:
    """An answer whose ages are the crops' first pixels, so that mixed-up crops show."""
    crops = np.frombuffer(pixels, np.uint8).reshape(len(batch.crop_ids), 112, 112, 3)
    analyses = [
        faces_pb2.FaceAnalysis(
            crop_id=crop_id,
            age_years=float(face[0, 0, 0]),
            expression=[1 / 7] * 7,
            attributes=[0.5] * 40,
            embedding=np.full(512, 512**-0.5, "<f4").tobytes(),
            embedding_norm=20,
        )
        for crop_id, face in zip(batch.crop_ids, crops, strict=True)
    ]
    return faces_pb2.Answer(batch_id=batch.batch_id, model_id="m", analyses=analyses)


async def send_answer(socket: zmq.asyncio.Socket, answer: faces_pb2.Answer) -> None:
    await socket.send_multipart([b"ANSWER", answer.SerializeToString()])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("bind", ["ipc", "tcp://127.0.0.1:*"])
async def test_crops_go_out_as_bytes_and_each_gets_its_own_answer(tmp_path: Path, bind: str) -> None:
    settings: dict[str, object] = {} if bind == "ipc" else {"bind": bind}
    async with desk(tmp_path, **settings) as at, dealer(at.dispatcher.endpoint) as socket:
        for name, fill in (("a", 11), ("b", 22)):
            await at.dispatcher.offer(crop(name, fill=fill))
        await say_ready(socket)
        batch, pixels = await receive(socket)
        assert len(batch.crop_ids) == 2
        await send_answer(socket, answer_to(batch, pixels))
        await until(lambda: len(at.results) == 2)
        assert at.results == [("a", 11.0), ("b", 22.0)]
        assert at.dispatcher.models == {model("m"): 1}


async def test_the_next_batch_comes_only_after_ready(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        await say_ready(socket)
        await at.dispatcher.wait_for_worker()
        await at.dispatcher.offer(crop("a"))
        batch, pixels = await receive(socket)
        await at.dispatcher.offer(crop("b"))
        await send_answer(socket, answer_to(batch, pixels))
        await until(lambda: len(at.results) == 1)
        assert not await socket.poll(50)
        await say_ready(socket)
        batch, _ = await receive(socket)
        assert len(batch.crop_ids) == 1


async def test_a_worker_that_falls_silent_is_replaced_and_its_batch_goes_to_the_next(tmp_path: Path) -> None:
    async with desk(tmp_path, worker_silent_s=2.0) as at, dealer(at.dispatcher.endpoint) as second:
        async with dealer(at.dispatcher.endpoint) as first:
            await say_ready(first)
            await at.dispatcher.wait_for_worker()
            await at.dispatcher.offer(crop("a", fill=7, received=time.monotonic()))
            await receive(first)  # and it dies with the batch in its hands
        await until(lambda: at.workers == [1, 0])
        await say_ready(second)
        batch, pixels = await receive(second)
        await send_answer(second, answer_to(batch, pixels))
        await until(lambda: at.results == [("a", 7.0)])
        assert at.dispatcher.lost == 0


async def test_heartbeats_keep_a_busy_worker_alive(tmp_path: Path) -> None:
    async with desk(tmp_path, worker_silent_s=2.0) as at, dealer(at.dispatcher.endpoint) as socket:
        await say_ready(socket)
        await at.dispatcher.wait_for_worker()
        await at.dispatcher.offer(crop("a"))
        batch, pixels = await receive(socket)
        for _ in range(10):
            await asyncio.sleep(0.25)
            await socket.send_multipart([b"BUSY", b""])
        await send_answer(socket, answer_to(batch, pixels))
        await until(lambda: len(at.results) == 1)
        assert at.workers == [1]


async def test_goodbye_is_believed_at_once(tmp_path: Path) -> None:
    async with desk(tmp_path, worker_silent_s=FOREVER_S) as at, dealer(at.dispatcher.endpoint) as socket:
        await say_ready(socket)
        await socket.send_multipart([b"BYE", b""])
        await until(lambda: at.workers == [1, 0])


def nonsense(batch: faces_pb2.Batch, pixels: bytes) -> dict[str, list[bytes]]:
    good = answer_to(batch, pixels)
    swapped = faces_pb2.Answer.FromString(good.SerializeToString())
    swapped.analyses[0].crop_id += 1000
    short = faces_pb2.Answer.FromString(good.SerializeToString())
    short.analyses[0].embedding = b"1234"
    infinite = faces_pb2.Answer.FromString(good.SerializeToString())
    infinite.analyses[0].age_years = float("nan")
    few = faces_pb2.Answer(batch_id=batch.batch_id, model_id="m")
    without_age = faces_pb2.Answer.FromString(good.SerializeToString())
    without_age.analyses[0].ClearField("age_years")
    other = faces_pb2.Answer.FromString(good.SerializeToString())
    other.model_id = "another"
    wrong = {
        "other crops": swapped,
        "short embedding": short,
        "nan": infinite,
        "no analyses": few,
        "no age": without_age,
        "another model": other,
    }
    return {name: [b"ANSWER", answer.SerializeToString()] for name, answer in wrong.items()}


@pytest.mark.parametrize("name", ["other crops", "short embedding", "nan", "no analyses", "no age", "another model"])
async def test_a_wrong_answer_loses_its_batch_and_nothing_else(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        await say_ready(socket)
        await at.dispatcher.wait_for_worker()
        await at.dispatcher.offer(crop("a", fill=3))
        await socket.send_multipart(nonsense(*await receive(socket))[name])
        await until(lambda: at.results == [("a", None)])
        assert at.dispatcher.lost == 1
        await at.dispatcher.offer(crop("b", fill=4))
        await say_ready(socket)
        batch, pixels = await receive(socket)
        await send_answer(socket, answer_to(batch, pixels))
        await until(lambda: at.results == [("a", None), ("b", 4.0)])
    assert "ignored" in caplog.text


async def test_an_analysis_holds_what_the_worker_was_trained_for(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        outputs = faces_pb2.Outputs(expression=True, attributes=[5])
        ready = faces_pb2.Ready(
            protocol=PROTOCOL, worker="w", model_id="s", max_batch=4, outputs=outputs, licence="research"
        )
        await socket.send_multipart([b"READY", ready.SerializeToString()])
        announced = await at.dispatcher.wait_for_worker()
        assert announced == model("s", age=False, attributes=(4,), identity=False)
        assert announced.licence == "research"
        await at.dispatcher.offer(crop("a"))
        batch, _ = await receive(socket)
        face = faces_pb2.FaceAnalysis(crop_id=batch.crop_ids[0], expression=[1 / 7] * 7, attributes=[0.75])
        await send_answer(socket, faces_pb2.Answer(batch_id=batch.batch_id, model_id="s", analyses=[face]))
        await until(lambda: bool(at.analyses))
    (found,) = at.analyses
    assert (found.model, found.age, found.embedding, found.embedding_norm) == (announced, None, None, None)
    assert found.attributes.tolist() == [0.75]


@pytest.mark.parametrize("attributes", [[0], [41], [5, 5], [6, 5], []])
async def test_a_worker_with_outputs_that_there_are_not_is_not_used(
    tmp_path: Path, attributes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        outputs = faces_pb2.Outputs(attributes=attributes)
        ready = faces_pb2.Ready(protocol=PROTOCOL, worker="w", model_id="s", max_batch=4, outputs=outputs)
        await socket.send_multipart([b"READY", ready.SerializeToString()])
        await until(lambda: "ignored: w " in caplog.text)
        assert at.dispatcher.models == {}


@pytest.mark.parametrize(
    "message",
    [[b""], [b"READY"], [b"READY", b"\xff\xff\xff"], [b"HELLO", b""], [b"ANSWER", b"\x08"], [b"READY", b"", b"more"]],
)
async def test_messages_without_sense_are_counted_and_change_nothing(tmp_path: Path, message: list[bytes]) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as bad, dealer(at.dispatcher.endpoint) as good:
        await bad.send_multipart(message)
        await at.dispatcher.offer(crop("a", fill=9))
        await say_ready(good)
        batch, pixels = await receive(good)
        await send_answer(good, answer_to(batch, pixels))
        await until(lambda: at.results == [("a", 9.0)])
        assert at.workers == [1]


async def test_another_version_of_the_protocol_gets_no_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        await at.dispatcher.offer(crop("a"))
        await say_ready(socket, protocol=99)
        await until(lambda: "protocol 99" in caplog.text)
        assert at.workers == []


async def refusal(socket: zmq.asyncio.Socket, model_id: str) -> str:
    """Why a worker with this model is refused."""
    await say_ready(socket, model_id=model_id)
    async with asyncio.timeout(WAIT_S):
        kind, body = await socket.recv_multipart()
    assert kind == b"REFUSED"
    return faces_pb2.Refusal.FromString(body).reason


async def test_a_worker_with_other_weights_is_refused_until_the_others_have_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """So workers are updated one after the other: the new ones wait beside the old ones, until these are stopped."""
    async with (
        desk(tmp_path) as at,
        dealer(at.dispatcher.endpoint) as old,
        dealer(at.dispatcher.endpoint) as same,
        dealer(at.dispatcher.endpoint) as new,
    ):
        await say_ready(old)
        await until(lambda: at.workers == [1])
        for _ in range(3):
            reason = await refusal(new, "n")
            assert reason.startswith("its weights are n, but the connected workers have m; ")
        await say_ready(same)
        await until(lambda: at.dispatcher.models == {model("m"): 2})
        await old.send_multipart([b"BYE", b""])
        await until(lambda: at.dispatcher.models == {model("m"): 1})
        assert await refusal(new, "n")
        await same.send_multipart([b"BYE", b""])
        await until(lambda: not at.dispatcher.models)
        await at.dispatcher.offer(crop("a"))
        await say_ready(new, model_id="n")
        answer = answer_to(*await receive(new))
        answer.model_id = "n"
        await send_answer(new, answer)
        await until(lambda: len(at.results) == 1)
        assert at.analyses[0].model == model("n")
        assert "the connected workers have n" in await refusal(old, "m")
    assert caplog.text.count("refused: its weights are n") == 1


async def test_a_worker_without_the_weights_of_the_configuration_is_refused(tmp_path: Path) -> None:
    async with (
        desk(tmp_path, model="m") as at,
        dealer(at.dispatcher.endpoint) as other,
        dealer(at.dispatcher.endpoint) as right,
    ):
        assert await refusal(other, "n") == "its weights are n, but dispatch.model of the streamer is m"
        assert not at.dispatcher.models
        await say_ready(right)
        await until(lambda: at.dispatcher.models == {model("m"): 1})


async def test_an_analysis_keeps_the_weights_that_it_began_with(tmp_path: Path) -> None:
    async with (
        desk(tmp_path, 1, True) as at,
        dealer(at.dispatcher.endpoint) as first,
        dealer(at.dispatcher.endpoint) as second,
    ):
        await say_ready(first)
        await until(lambda: at.workers == [1])
        await first.send_multipart([b"BYE", b""])
        await until(lambda: at.workers == [1, 0])
        assert await refusal(second, "n") == "its weights are n, but this analysis began with m"
        await say_ready(second)
        await until(lambda: at.workers == [1, 0, 1])


async def serve(socket: zmq.asyncio.Socket, sizes: list[int] | None = None) -> None:
    """Answer every batch until cancelled; their sizes go to `sizes`."""
    while True:
        await say_ready(socket)
        if not await socket.poll(100):  # READY again is its heartbeat
            continue
        batch, pixels = await receive(socket)
        if sizes is not None:
            sizes.append(len(batch.crop_ids))
        await send_answer(socket, answer_to(batch, pixels))


@asynccontextmanager
async def serving(socket: zmq.asyncio.Socket, sizes: list[int] | None = None) -> AsyncIterator[None]:
    working = asyncio.create_task(serve(socket, sizes))
    try:
        yield
    finally:
        working.cancel()
        await asyncio.wait([working])


def painted(*fills: int) -> list[Bytes]:
    return [np.full((112, 112, 3), fill, np.uint8) for fill in fills]


def ages(analyses: list[FaceAnalysis | None]) -> list[float | None]:
    return [None if analysis is None else analysis.age for analysis in analyses]


async def test_a_request_gets_every_answer_in_the_order_of_its_crops(tmp_path: Path) -> None:
    sizes: list[int] = []
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket, serving(socket, sizes):
        analyses = await at.dispatcher.analyse(painted(*range(9)), Priority.SEARCH)
        assert ages(analyses) == list(range(9))
        assert sizes == [4, 4, 1]
        assert at.results == []  # the live lane hears nothing of it
        assert await at.dispatcher.analyse([], Priority.SEARCH) == []


async def test_clients_of_all_kinds_are_served_at_the_same_time(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as first, dealer(at.dispatcher.endpoint) as second:
        requests = {
            priority: asyncio.create_task(at.dispatcher.analyse(painted(*range(start, start + 30)), priority))
            for start, priority in ((0, Priority.RECORDED), (50, Priority.ENROLMENT), (100, Priority.SEARCH))
        }
        async with serving(first), serving(second):
            for index in range(20):
                await at.dispatcher.offer(crop(f"track {index}", fill=180 + index))
            await until(lambda: len(at.results) == 20)
            assert sorted(at.results) == [(f"track {index}", 180.0 + index) for index in sorted(range(20), key=str)]
            assert ages(await requests[Priority.RECORDED]) == list(range(30))
            assert ages(await requests[Priority.ENROLMENT]) == list(range(50, 80))
            assert ages(await requests[Priority.SEARCH]) == list(range(100, 130))


async def test_a_recorded_job_costs_a_live_crop_one_batch_at_most(tmp_path: Path) -> None:
    """In batches that the worker computed between a live crop's offer and its answer, so that no clock matters."""
    served: list[bool] = []  # for each batch, in order: whether it was one of the live lane

    async def work(socket: zmq.asyncio.Socket) -> None:
        while True:
            await say_ready(socket, max_batch=16)
            batch, pixels = await receive(socket)
            served.append(pixels[0] == live_fill)
            await send_answer(socket, answer_to(batch, pixels))

    live_fill, job_fill = 255, 1
    waited = []
    async with desk(tmp_path, batch=16) as at, dealer(at.dispatcher.endpoint) as socket:
        job = asyncio.create_task(at.dispatcher.analyse(painted(job_fill) * 2000, Priority.RECORDED))
        working = asyncio.create_task(work(socket))
        async with asyncio.timeout(WAIT_S * 6):
            while not job.done():
                before, count = len(served), len(at.results)
                await at.dispatcher.offer(crop(f"track {count}", fill=live_fill))
                await until(lambda count=count: len(at.results) > count)  # type: ignore[misc]
                waited.append(served[before:].index(True))
        working.cancel()
        await asyncio.wait([working])
    assert ages(job.result()) == [1.0] * 2000
    assert len(waited) > 5
    assert max(waited) <= 1
    assert served.count(False) == 125


async def test_a_worker_that_dies_with_a_request_loses_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path, worker_silent_s=0.5) as at, dealer(at.dispatcher.endpoint) as second:
        request = asyncio.create_task(at.dispatcher.analyse(painted(1, 2, 3), Priority.ENROLMENT))
        async with dealer(at.dispatcher.endpoint) as first:
            await say_ready(first)
            await receive(first)  # and it dies with the batch in its hands
        async with serving(second):
            assert ages(await request) == [1, 2, 3]


async def test_a_poisonous_batch_is_given_up_and_the_others_are_answered(tmp_path: Path) -> None:
    tries = 0
    async with desk(tmp_path, batch=1, retries=2) as at, dealer(at.dispatcher.endpoint) as socket:
        request = asyncio.create_task(at.dispatcher.analyse(painted(1, 66, 3), Priority.RECORDED))
        while not request.done():
            await say_ready(socket)
            if not await socket.poll(100):
                continue
            batch, pixels = await receive(socket)
            answer = answer_to(batch, pixels)
            if pixels[0] == 66:
                tries += 1
                answer = faces_pb2.Answer(batch_id=batch.batch_id, model_id="m", error="poison")
            await send_answer(socket, answer)
        assert ages(request.result()) == [1, None, 3]
        assert tries == 3


async def test_a_request_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await at.dispatcher.analyse(painted(*range(9)), Priority.SEARCH)
        assert at.dispatcher.ledger.idle
        async with serving(socket):
            assert ages(await at.dispatcher.analyse(painted(5), Priority.SEARCH)) == [5]


async def test_giving_up_ends_every_request(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        request = asyncio.create_task(at.dispatcher.analyse(painted(1, 2), Priority.RECORDED))
        await until(lambda: at.dispatcher.ledger.waiting == 2)
        at.dispatcher.give_up()
        assert await request == [None, None]
        assert await at.dispatcher.analyse(painted(3), Priority.RECORDED) == [None]
        assert at.dispatcher.lost == 2


async def test_a_worker_that_takes_too_few_crops_gets_no_work_where_batches_must_stay_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path, 4) as at, dealer(at.dispatcher.endpoint) as socket:
        await say_ready(socket, max_batch=2)
        await until(lambda: "takes at most 2 crops: dispatch.batch must not be larger" in caplog.text)
        assert at.workers == []


async def test_the_last_answer_finishes_an_ended_track(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        await at.dispatcher.offer(crop("a"))
        at.dispatcher.end(end("a"))
        at.dispatcher.end(end("b"))
        assert at.finished == ["b"]
        await say_ready(socket)
        batch, pixels = await receive(socket)
        await send_answer(socket, answer_to(batch, pixels))
        await until(lambda: at.finished == ["b", "a"])


async def test_draining_gives_up_what_nobody_answers_in_time(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.dispatcher.offer(crop("a"))
        at.dispatcher.end(end("a"))
        assert await at.dispatcher.drain(0.1) == 1
        assert at.results == [("a", None)]
        assert at.finished == ["a"]


async def test_a_live_crop_nobody_takes_is_given_up_so_that_its_track_can_end(tmp_path: Path) -> None:
    async with desk(tmp_path, max_wait_s=0.1) as at:
        await at.dispatcher.offer(crop("a", received=0.0))
        at.dispatcher.end(end("a"))
        await until(lambda: at.finished == ["a"])


async def test_an_ipc_endpoint_is_not_taken_from_another_streamer(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, dealer(at.dispatcher.endpoint) as socket:
        with pytest.raises(ConfigError, match="another streamer uses"):
            Desk(Dispatch(bind=at.dispatcher.endpoint))
        await say_ready(socket)  # and the first one still hears
        await until(lambda: at.workers == [1])
    assert not (tmp_path / "workers").exists()
    async with desk(tmp_path) as again:  # free now
        assert again.workers == []


async def test_a_worker_that_does_not_answer_is_reported_as_stuck(tmp_path: Path) -> None:
    stuck: list[str] = []
    config = Dispatch(bind=f"ipc://{tmp_path}/w", answer_within_s=0.3, worker_silent_s=FOREVER_S)
    dispatcher = Dispatcher(config, on_stuck=stuck.append)
    running = asyncio.create_task(dispatcher.run())
    async with dealer(config.bind) as socket:
        await say_ready(socket, max_batch=16)
        await dispatcher.wait_for_worker()
        await dispatcher.offer(crop("a"))
        await receive(socket)
        await until(lambda: stuck == ["w"])
    running.cancel()
    await asyncio.wait([running])
    dispatcher.close()


async def test_an_address_in_use_is_a_clear_error(tmp_path: Path) -> None:
    async with desk(tmp_path, bind="tcp://127.0.0.1:*") as at:
        with pytest.raises(ConfigError, match="cannot listen on tcp"):
            Desk(Dispatch(bind=at.dispatcher.endpoint))
