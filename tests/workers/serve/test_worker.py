"""The worker: a real process over real sockets; and the loop alone for what a real network does not do on demand."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import zmq

from faceanalytics.errors import ConfigError, ModelError
from faceanalytics.internal.v1 import faces_pb2
from tests.conftest import ROOT
from tests.support.patience import WAIT_S
from tests.support.swinface_files import save_small
from workers.runtime.engine import Analyses, Bytes, Engine, InferenceError, usable_device
from workers.serve import messages
from workers.serve.config import WorkerConfig, load_config
from workers.serve.messages import MalformedMessage, read_batch
from workers.serve.worker import Link, Worker
from workers.swinface.labels import OUTPUTS

CROP_BYTES = 112 * 112 * 3
LONG_BATCH = 24  # crops: more than a second on one core
FOR_EVER = 600_000.0  # ms: longer than any test


class Streamer:
    """The other end of the wire, as small as it can be."""

    def __init__(self, endpoint: str) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.socket.bind(endpoint)
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.worker = b""  # address of the one that said something last

    def close(self) -> None:
        self.context.destroy(linger=0)

    def hear(self) -> tuple[bytes, bytes]:
        """The next message of the worker: kind and body."""
        assert self.socket.poll(int(WAIT_S * 1000)), f"the worker said nothing for {WAIT_S} s"
        self.worker, kind, body = self.socket.recv_multipart()
        return kind, body

    def forget(self) -> None:
        """Throw away what has arrived unread."""
        while self.socket.poll(0):
            self.socket.recv_multipart()

    def wait_for(self, kind: bytes) -> bytes:
        """The body of the next message of that kind; others are passed over."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            heard, body = self.hear()
            if heard == kind:
                return body
        raise AssertionError(f"no {kind!r} within {WAIT_S} s")

    def answer(self) -> faces_pb2.Answer:
        return faces_pb2.Answer.FromString(self.wait_for(b"ANSWER"))

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart([self.worker, *frames])

    def send_batch(self, batch_id: int, crops: Bytes) -> None:
        self.send(b"BATCH", header(batch_id, len(crops)), crops.tobytes())


@dataclass
class Process:
    """A worker process and the two streamers it serves."""

    popen: subprocess.Popen[str]
    near: Streamer  # ipc
    far: Streamer  # tcp
    metrics: str  # address


def header(batch_id: int, crops: int) -> bytes:
    ids = range(100 * batch_id, 100 * batch_id + crops)
    return faces_pb2.Batch(batch_id=batch_id, crop_ids=ids).SerializeToString()


def noise(crops: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (crops, 112, 112, 3), np.uint8)


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "workers.serve", "--weights", "untrained", "--threads", "1", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    near = Streamer(f"ipc://{tmp_path_factory.mktemp('worker')}/near.ipc")
    far = Streamer("tcp://127.0.0.1:*")
    metrics = free_address()
    links = ["--connect", near.endpoint, "--connect", far.endpoint]
    popen = start(*links, "--max-batch", str(LONG_BATCH), "--metrics-listen", metrics)
    running = Process(popen, near, far, metrics)
    yield running
    popen.kill()
    popen.communicate()
    running.near.close()
    running.far.close()


@pytest.fixture
def near(process: Process) -> Streamer:
    """The first streamer, its worker idle."""
    process.near.forget()
    process.near.wait_for(b"READY")
    return process.near


@pytest.fixture
def far(process: Process) -> Streamer:
    """The second streamer, its worker idle."""
    process.far.forget()
    process.far.wait_for(b"READY")
    return process.far


@pytest.fixture(scope="module")
def engine() -> Engine:
    """The same network in this process: its answers are what the worker's are compared with."""
    return Engine("untrained", "cpu", threads=1)


def test_an_idle_worker_says_ready_each_second_to_every_streamer(
    process: Process, near: Streamer, far: Streamer
) -> None:
    for streamer in (near, far):
        ready = faces_pb2.Ready.FromString(streamer.wait_for(b"READY"))
        assert (ready.protocol, ready.model_id, ready.device) == (5, "untrained", "cpu")
        assert ready.max_batch == LONG_BATCH
        assert ready.worker == f"{socket.gethostname()}:{process.popen.pid}"


def test_a_batch_is_answered_in_its_order_then_the_worker_is_ready(near: Streamer, engine: Engine) -> None:
    crops = noise(3)
    near.send_batch(7, crops)
    answer = near.answer()
    assert near.hear()[0] == b"READY"
    expected = engine.analyse(crops)
    assert (answer.batch_id, answer.model_id, answer.error) == (7, "untrained", "")
    assert [face.crop_id for face in answer.analyses] == [700, 701, 702]
    assert 0 < answer.inference_s < WAIT_S
    for row, face in enumerate(answer.analyses):
        assert_same(face, expected, row)
        assert np.linalg.norm(np.frombuffer(face.embedding, "<f4")) == pytest.approx(1, abs=1e-5)


def test_embeddings_that_are_not_wanted_do_not_leave_the_worker(near: Streamer, engine: Engine) -> None:
    crops = noise(2)
    wanted = faces_pb2.Batch(batch_id=8, crop_ids=[1, 2], without_embeddings=True).SerializeToString()
    near.send(b"BATCH", wanted, crops.tobytes())
    body = near.wait_for(b"ANSWER")
    expected = engine.analyse(crops)
    assert expected.embeddings is not None
    for row, face in enumerate(faces_pb2.Answer.FromString(body).analyses):
        assert not face.embedding
        assert not face.HasField("embedding_norm")
        assert face.HasField("age_years")
        assert expected.embeddings[row].astype("<f4").tobytes()[:16] not in body


def test_a_worker_says_busy_while_it_computes(near: Streamer) -> None:
    near.send_batch(8, noise(LONG_BATCH))
    heard = []
    while (message := near.hear())[0] != b"ANSWER":
        heard.append(message)
    assert (b"BUSY", b"") in heard
    assert len(faces_pb2.Answer.FromString(message[1]).analyses) == LONG_BATCH


def test_two_streamers_are_served_in_turn(near: Streamer, far: Streamer) -> None:
    for number, streamer in enumerate((near, far, near, far)):
        streamer.wait_for(b"READY") if number > 1 else None
        streamer.send_batch(20 + number, noise(2, number))
        if number % 2:  # both are out now
            assert [near.answer().batch_id, far.answer().batch_id] == [20 + number - 1, 20 + number]


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        ([header(31, 2), b"too short"], "9 bytes of pixels for 2 crops instead of 75264"),
        ([header(31, 0), b""], "batch without crops"),
        ([header(31, 25), bytes(25 * CROP_BYTES)], "batch of 25 crops, this worker takes at most 24"),
        ([header(31, 1)], "0 frames of pixels instead of 1"),
        ([header(31, 1), bytes(CROP_BYTES), b"more"], "2 frames of pixels instead of 1"),
    ],
)
def test_a_malformed_batch_is_answered_with_what_is_wrong(
    process: Process, near: Streamer, frames: Sequence[bytes], error: str
) -> None:
    near.send(b"BATCH", *frames)
    answer = near.answer()
    assert (answer.batch_id, answer.error, len(answer.analyses)) == (31, error, 0)
    near.wait_for(b"READY")
    assert process.popen.poll() is None


@pytest.mark.parametrize(
    "frames", [[b""], [b"HELLO", b"", b""], [b"BATCH"], [b"BATCH", b"\xff\xff\xff", bytes(CROP_BYTES)], [b"\0" * 1000]]
)
def test_a_message_without_meaning_changes_nothing(near: Streamer, frames: Sequence[bytes]) -> None:
    near.send(*frames)
    near.wait_for(b"READY")
    near.send_batch(32, noise(1))
    assert len(near.answer().analyses) == 1


def test_a_second_batch_before_the_answer_is_refused(near: Streamer) -> None:
    near.send_batch(41, noise(LONG_BATCH))
    near.send_batch(42, noise(1))
    first, second = near.answer(), near.answer()
    assert (first.batch_id, first.error) == (42, "another batch of this streamer is not answered yet")
    assert (second.batch_id, second.error) == (41, "")


@pytest.mark.parametrize("link", ["near", "far"])
def test_a_streamer_that_comes_back_finds_the_worker_and_nothing_old(
    process: Process, near: Streamer, far: Streamer, link: str
) -> None:
    streamer, other = (near, far) if link == "near" else (far, near)
    streamer.send_batch(51, noise(LONG_BATCH))
    streamer.wait_for(b"BUSY")
    streamer.close()
    other.wait_for(b"BUSY")
    other.wait_for(b"READY")  # computed, but the answer had nowhere to go
    streamer = Streamer(streamer.endpoint)
    setattr(process, link, streamer)
    assert streamer.hear()[0] == b"READY"
    streamer.send_batch(52, noise(1))
    assert streamer.answer().batch_id == 52


def test_the_worker_counts_what_it_does(process: Process, near: Streamer) -> None:
    near.send_batch(61, noise(1))
    assert near.answer().batch_id == 61
    with urllib.request.urlopen(f"http://{process.metrics}/metrics", timeout=WAIT_S) as page:
        text = page.read().decode()
    assert 'faceanalytics_inference_seconds_count{stage="swinface"}' in text
    assert "faceanalytics_inference_batch_crops_bucket" in text
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text
    assert "faceanalytics_batch_wait_seconds_count" in text
    assert 'model_id="untrained"' in text


@pytest.mark.slow
def test_a_worker_that_is_stopped_while_computing_answers_says_bye_and_exits_with_143(tmp_path: Path) -> None:
    streamer = Streamer(f"ipc://{tmp_path}/a.ipc")
    popen = start("--connect", streamer.endpoint)
    try:
        streamer.wait_for(b"READY")
        streamer.send_batch(1, noise(LONG_BATCH))
        streamer.wait_for(b"BUSY")
        popen.send_signal(signal.SIGTERM)
        assert len(streamer.answer().analyses) == LONG_BATCH
        assert streamer.hear()[0] == b"BYE"
        assert popen.wait(WAIT_S) == 128 + signal.SIGTERM
    finally:
        popen.kill()
        _, errors = popen.communicate()
        streamer.close()
    assert "UNTRAINED" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def refuse(streamer: Streamer, reason: str) -> None:
    streamer.wait_for(b"READY")
    streamer.send(b"REFUSED", faces_pb2.Refusal(reason=reason).SerializeToString())


def test_a_refused_worker_says_why_once_and_works_when_it_is_asked_to(tmp_path: Path) -> None:
    streamer = Streamer(f"ipc://{tmp_path}/streamer")
    try:
        popen = start("--connect", streamer.endpoint)
        for _ in range(3):
            refuse(streamer, "its weights are n, but the connected workers have m")
        streamer.wait_for(b"READY")
        streamer.send_batch(1, noise(1))
        assert len(streamer.answer().analyses) == 1
        popen.terminate()
        _, log = popen.communicate(timeout=WAIT_S)
    finally:
        streamer.close()
    assert popen.returncode == 128 + signal.SIGTERM
    assert log.count("refuses this worker: its weights are n, but the connected workers have m") == 1
    assert log.index("refuses this worker") < log.index("gives work to this worker")


def test_a_worker_that_its_own_streamer_refuses_ends(tmp_path: Path) -> None:
    streamer = Streamer(f"ipc://{tmp_path}/streamer")
    try:
        popen = start("--connect", streamer.endpoint, "--exit-with-parent", str(os.getpid()))
        refuse(streamer, "its weights are n, but dispatch.model of the streamer is m")
        _, log = popen.communicate(timeout=WAIT_S)
    finally:
        streamer.close()
    assert popen.returncode == ModelError.exit_code
    assert "dispatch.model of the streamer is m" in log


def test_a_worker_ends_when_the_program_that_started_it_has_gone(tmp_path: Path) -> None:
    streamer = Streamer(f"ipc://{tmp_path}/a.ipc")
    worker = [sys.executable, "-m", "workers.serve", "--weights", "untrained", "--connect", streamer.endpoint]
    parent = (
        "import os, subprocess, sys; "
        f"subprocess.Popen([*{worker!r}, '--exit-with-parent', str(os.getpid())], stderr=subprocess.DEVNULL); "
        "sys.stdin.read()"
    )
    popen = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE)
    try:
        streamer.wait_for(b"READY")
        popen.kill()
        streamer.wait_for(b"BYE")
    finally:
        popen.kill()
        popen.communicate()
        streamer.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--weights", "none.pt"], 4, "there is no such file"),
        (["--device", "cuda:99"], 4, "device 'cuda:99' cannot be used"),
        (["--connect", "udp://nowhere"], 2, "connect.0"),
        (["--max-batch", "0"], 2, "max_batch"),
    ],
)
def test_a_worker_that_cannot_work_says_why(arguments: Sequence[str], code: int, message: str) -> None:
    popen = start(*arguments)
    _, errors = popen.communicate(timeout=WAIT_S)
    assert popen.returncode == code
    assert message in errors
    assert "Traceback" not in errors


# --- the loop alone ---


class FakeEngine(Engine):
    """Answers zeros at once, or after calling `behave`."""

    def __init__(self, behave: Callable[[], None] = lambda: None) -> None:
        self.model_id, self.licence, self.device, self.heads = "fake", "", "cpu", OUTPUTS
        self.impostor_scores = None
        self._behave = behave

    def analyse(self, crops: Bytes) -> Analyses:
        self._behave()
        n = len(crops)
        shapes = ((n,), (n, 7), (n, 40), (n, 512), (n,))
        return Analyses(*(np.zeros(shape, np.float32) for shape in shapes))


@pytest.fixture
def signals() -> Iterator[None]:
    """The handlers of signals as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run_with(
    engine: Engine, play: Callable[..., None], *streamers: Streamer, max_batch: int = 4, max_wait_ms: float = FOR_EVER
) -> int:
    """Run a worker in this thread while `play` is its streamers in another, which then stops it by a signal."""

    def act() -> None:
        try:
            play(*streamers)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    endpoints = tuple(streamer.endpoint for streamer in streamers)
    worker = Worker(engine, WorkerConfig(connect=endpoints, max_batch=max_batch, max_wait_ms=max_wait_ms))
    thread = threading.Thread(target=act)
    thread.start()
    try:
        return worker.run()
    finally:
        thread.join()
        for streamer in streamers:
            streamer.close()


def fail_with(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.usefixtures("signals")
def test_a_batch_for_which_memory_does_not_suffice_is_answered_with_an_error(tmp_path: Path) -> None:
    answers = []

    def play(streamer: Streamer) -> None:
        streamer.wait_for(b"READY")
        streamer.send_batch(1, noise(4))
        answers.append(streamer.answer())
        streamer.wait_for(b"READY")

    engine = FakeEngine(fail_with(InferenceError("not enough memory on cuda:0 for 4 crops")))
    code = run_with(engine, play, Streamer(f"ipc://{tmp_path}/a.ipc"))
    assert code == 128 + signal.SIGTERM
    assert [answer.error for answer in answers] == ["not enough memory on cuda:0 for 4 crops"]


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("error", [ModelError("the device cuda:0 has failed"), ZeroDivisionError("a bug")])
def test_a_lost_device_or_a_bug_is_reported_to_the_streamer_and_ends_the_worker(
    error: Exception, tmp_path: Path
) -> None:
    heard = []

    def play(streamer: Streamer) -> None:
        streamer.wait_for(b"READY")
        streamer.send_batch(1, noise(1))
        heard.append(streamer.answer().error)
        heard.append(streamer.hear()[0].decode())

    # the signal at the end of `play` comes when the worker has ended, and must not end the tests
    signal.signal(signal.SIGTERM, lambda *_: None)
    with pytest.raises(type(error)):
        run_with(FakeEngine(fail_with(error)), play, Streamer(f"ipc://{tmp_path}/a.ipc"))
    assert heard == [f"the worker failed: {error}", "BYE"]


@pytest.mark.usefixtures("signals")
def test_what_the_weights_were_not_trained_for_is_said_and_in_no_answer(tmp_path: Path) -> None:
    weights = save_small(tmp_path / "w.safetensors", "expression", "gender", "bald", licence="research only")
    heard, answers = [], []

    def play(streamer: Streamer) -> None:
        heard.append(faces_pb2.Ready.FromString(streamer.wait_for(b"READY")))
        streamer.send_batch(1, noise(2))
        answers.append(streamer.answer())

    run_with(Engine(str(weights), threads=1), play, Streamer(f"ipc://{tmp_path}/a.ipc"))
    (ready,), (answer,) = heard, answers
    assert ready.outputs == faces_pb2.Outputs(expression=True, attributes=[5, 10])  # male and bald
    assert ready.licence == "research only"
    for face in answer.analyses:
        assert (len(face.expression), len(face.attributes), face.embedding) == (7, 2, b"")
        assert not face.HasField("age_years")
        assert not face.HasField("embedding_norm")
        assert sum(face.expression) == pytest.approx(1)


@pytest.mark.usefixtures("signals")
def test_a_worker_may_start_before_its_streamer(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/later.ipc"
    heard = []

    def play() -> None:
        time.sleep(0.3)  # meanwhile there is no streamer
        streamer = Streamer(endpoint)
        heard.append(streamer.hear()[0])
        os.kill(os.getpid(), signal.SIGINT)
        streamer.wait_for(b"BYE")  # it may have said once more that it is ready
        streamer.close()

    thread = threading.Thread(target=play)
    thread.start()
    code = Worker(FakeEngine(), WorkerConfig(connect=(endpoint,))).run()
    thread.join()
    assert (heard, code) == ([b"READY"], 128 + signal.SIGINT)


class Watched(FakeEngine):
    """Notes how many crops each inference has; memory suffices for `memory` crops, and the real network is optional."""

    def __init__(self, memory: int = 1024, network: Engine | None = None, behave: Callable[[], None] = lambda: None):
        super().__init__(behave)
        self.sizes: list[int] = []
        self._memory, self._real = memory, network

    def analyse(self, crops: Bytes) -> Analyses:
        self.sizes.append(len(crops))
        if len(crops) > self._memory:
            raise InferenceError(f"not enough memory for {len(crops)} crops")
        found = super().analyse(crops)
        return found if self._real is None else self._real.analyse(crops)


@pytest.fixture
def streamers(tmp_path: Path) -> list[Streamer]:
    """Three of them; `run_with` closes those it is given."""
    return [Streamer(f"ipc://{tmp_path}/{name}.ipc") for name in "abc"]


def all_ready(*streamers: Streamer) -> None:
    """Until each may send a batch, as the worker knows."""
    for streamer in streamers:
        streamer.wait_for(b"READY")


def send_and_see_it_arrive(streamer: Streamer, batch_id: int, crops: Bytes) -> None:
    """The worker has the batch: it has refused one more."""
    streamer.send_batch(batch_id, crops)
    streamer.send_batch(999, noise(1))
    assert streamer.answer().error == "another batch of this streamer is not answered yet"


def assert_same(face: faces_pb2.FaceAnalysis, expected: Analyses, row: int) -> None:
    assert expected.age is not None
    assert expected.expression is not None
    assert expected.embeddings is not None
    assert expected.norms is not None
    np.testing.assert_allclose(face.age_years, expected.age[row], atol=1e-5)
    np.testing.assert_allclose(face.expression, expected.expression[row], atol=1e-5)
    np.testing.assert_allclose(face.attributes, expected.attributes[row], atol=1e-5)
    np.testing.assert_allclose(np.frombuffer(face.embedding, "<f4"), expected.embeddings[row], atol=1e-5)
    np.testing.assert_allclose(face.embedding_norm, expected.norms[row], rtol=1e-5)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("max_wait_ms", [0.0, 5.0])
def test_batches_that_arrive_while_the_worker_computes_are_analysed_together_as_if_alone(
    engine: Engine, streamers: list[Streamer], max_wait_ms: float
) -> None:
    computing, go = threading.Event(), threading.Event()

    def compute() -> None:
        computing.set()
        assert go.wait(WAIT_S)

    watched = Watched(network=engine, behave=compute)
    crops = [noise(size, seed) for seed, size in enumerate((1, 2, 3))]
    answers: list[faces_pb2.Answer] = []

    def play(*three: Streamer) -> None:
        all_ready(*three)
        for number, streamer in enumerate(three):
            send_and_see_it_arrive(streamer, number, crops[number])
            assert computing.wait(WAIT_S)
        time.sleep(0.01)  # so that the deadline of the last one has passed, too
        go.set()
        answers.extend(streamer.answer() for streamer in three)

    run_with(watched, play, *streamers, max_batch=8, max_wait_ms=max_wait_ms)
    assert watched.sizes == [1, 5]
    assert [answer.batch_id for answer in answers] == [0, 1, 2]
    assert answers[1].inference_s == answers[2].inference_s > 0
    for number, answer in enumerate(answers):
        assert [face.crop_id for face in answer.analyses] == [100 * number + row for row in range(number + 1)]
        alone = engine.analyse(crops[number])
        for row, face in enumerate(answer.analyses):
            assert_same(face, alone, row)


@pytest.mark.usefixtures("signals")
def test_an_inference_starts_when_every_streamer_has_sent_its_batch(streamers: list[Streamer]) -> None:
    watched = Watched()

    def play(*three: Streamer) -> None:
        for number in range(3):  # and the next one, too: who was answered is ready again
            all_ready(*three)
            for streamer in three:
                streamer.send_batch(number, noise(1))
            assert [streamer.answer().batch_id for streamer in three] == [number] * 3

    run_with(watched, play, *streamers)
    assert watched.sizes == [3, 3, 3]


@pytest.mark.usefixtures("signals")
def test_a_lone_streamer_does_not_wait_for_one_that_is_not_there(streamers: list[Streamer]) -> None:
    alone, absent, gone = streamers
    absent.close()

    def play(alone: Streamer, absent: Streamer, gone: Streamer) -> None:
        all_ready(alone, gone)
        gone.close()
        alone.forget()
        alone.send_batch(1, noise(1))
        assert alone.answer().batch_id == 1  # at the next heartbeat the worker sees that the other one has gone

    run_with(Watched(), play, alone, absent, gone)


@pytest.mark.usefixtures("signals")
def test_a_full_batch_does_not_wait_for_a_streamer_that_sends_nothing(streamers: list[Streamer]) -> None:
    watched = Watched()

    def play(first: Streamer, second: Streamer, silent: Streamer) -> None:
        all_ready(first, second, silent)
        send_and_see_it_arrive(first, 1, noise(3))
        second.send_batch(2, noise(2))  # 5 crops are more than one inference takes: the first one leaves alone
        assert first.answer().batch_id == 1
        first.wait_for(b"READY")
        first.send_batch(3, noise(2))
        assert [second.answer().batch_id, first.answer().batch_id] == [2, 3]

    run_with(watched, play, *streamers, max_batch=4)
    assert watched.sizes == [3, 4]


@pytest.mark.usefixtures("signals")
def test_a_batch_leaves_at_its_deadline_when_another_streamer_sends_nothing(streamers: list[Streamer]) -> None:
    def play(first: Streamer, silent: Streamer) -> None:
        all_ready(first, silent)
        first.send_batch(1, noise(1))
        assert first.answer().batch_id == 1

    run_with(Watched(), play, *streamers[:2], max_wait_ms=50)
    streamers[2].close()


@pytest.mark.usefixtures("signals")
def test_a_batch_that_still_waits_when_the_worker_is_stopped_is_not_begun(streamers: list[Streamer]) -> None:
    watched = Watched()

    def play(waiting: Streamer, silent: Streamer) -> None:
        all_ready(waiting, silent)
        send_and_see_it_arrive(waiting, 1, noise(1))
        assert waiting.hear()[0] == b"BUSY"  # the heartbeat to one whose batch waits

    assert run_with(watched, play, *streamers[:2]) == 128 + signal.SIGTERM
    streamers[2].close()
    assert watched.sizes == []


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("memory", "errors"), [(3, ["", "not enough memory for 4 crops"]), (4, ["", ""]), (6, ["", ""])]
)
def test_when_memory_does_not_suffice_for_batches_together_each_is_tried_alone(
    streamers: list[Streamer], memory: int, errors: list[str]
) -> None:
    watched = Watched(memory)
    answers = []

    def play(small: Streamer, large: Streamer) -> None:
        all_ready(small, large)
        send_and_see_it_arrive(small, 1, noise(2))
        large.send_batch(2, noise(4))
        answers.extend([small.answer(), large.answer()])
        all_ready(small, large)

    run_with(watched, play, *streamers[:2], max_batch=8)
    streamers[2].close()
    assert watched.sizes == ([6] if memory == 6 else [6, 2, 4])
    assert [(answer.batch_id, answer.error) for answer in answers] == [(1, errors[0]), (2, errors[1])]
    assert [len(answer.analyses) for answer in answers] == [2, 0 if errors[1] else 4]


@pytest.mark.usefixtures("signals")
def test_a_bug_is_reported_to_every_streamer_whose_batch_was_computed(streamers: list[Streamer]) -> None:
    heard = []

    def play(first: Streamer, second: Streamer) -> None:
        all_ready(first, second)
        for streamer in (first, second):
            streamer.send_batch(1, noise(1))
        for streamer in (first, second):
            heard.extend([streamer.answer().error, streamer.hear()[0].decode()])

    signal.signal(signal.SIGTERM, lambda *_: None)  # the signal at the end of `play` comes when the worker has ended
    with pytest.raises(ZeroDivisionError):
        run_with(Watched(behave=fail_with(ZeroDivisionError("a bug"))), play, *streamers[:2])
    streamers[2].close()
    assert heard == ["the worker failed: a bug", "BYE"] * 2


def test_nothing_piles_up_for_a_streamer_that_is_not_there(tmp_path: Path) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = Link(context, f"ipc://{tmp_path}/nobody.ipc")
    assert [link.send(b"READY") for _ in range(3)] == [False, False, False]
    context.destroy(linger=0)


def test_an_endpoint_that_cannot_be_is_a_config_error() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with pytest.raises(ConfigError, match="cannot connect to ipc:///x"):
        Link(context, "ipc:///x" + "y" * 200)
    context.destroy(linger=0)


# --- messages, configuration, engine ---


def test_reading_random_bytes_never_fails_otherwise_than_by_saying_malformed() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        frames = [random.bytes(int(random.integers(0, 40))) for _ in range(int(random.integers(0, 5)))]
        with pytest.raises(MalformedMessage):
            read_batch([b"BATCH", *frames][: int(random.integers(0, 5))], 4)


def test_an_answer_repeats_ids_and_holds_little_endian_embeddings() -> None:
    batch = read_batch([b"BATCH", header(3, 2), noise(2).tobytes()], 4)
    answer = faces_pb2.Answer.FromString(messages.answer(batch, FakeEngine().analyse(batch.pixels), "m", 0.5))
    assert (answer.batch_id, answer.inference_s) == (3, 0.5)
    assert [(face.crop_id, len(face.embedding)) for face in answer.analyses] == [(300, 2048), (301, 2048)]


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / "worker.yaml"
    path.write_text("device: cuda:1\nmax_batch: 8\n")
    config = load_config(path, {"device": "cpu"})
    assert (config.device, config.max_batch) == ("cpu", 8)


def test_a_worker_waits_five_milliseconds_for_others_by_default() -> None:
    assert load_config(None, {}).max_wait_ms == 5
    assert load_config(None, {"max_wait_ms": 0}).max_wait_ms == 0


def test_the_shipped_configuration_is_valid() -> None:
    config = load_config(ROOT / "configs" / "worker.yaml", {})
    assert config.connect == ("tcp://127.0.0.1:5570",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("devise: cpu", "devise: unknown key"),
        ("max_batch: many", "max_batch: "),
        ("connect: []", "connect: "),
        ("precision: fp8", "precision: "),
        ("metrics_listen: 9464", "metrics_listen: "),
        ("max_wait_ms: -0.1", "max_wait_ms: "),
        ("max_wait_ms: .inf", "max_wait_ms: "),
        ("max_wait_ms: .nan", "max_wait_ms: "),
        ("max_wait_ms: soon", "max_wait_ms: "),
        ("- a list", "found list"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_path(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "worker.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path, {})
    assert caught.value.exit_code == 2


def test_a_missing_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_config(tmp_path / "none.yaml", {})


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "mps", "cuda:-1"])
def test_a_device_that_is_not_there_is_an_error_and_nothing_else_is_taken(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        usable_device(name)
    assert caught.value.exit_code == 4


def test_the_engine_refuses_what_is_no_crop(engine: Engine) -> None:
    for wrong in (np.zeros((0, 112, 112, 3), np.uint8), np.zeros((1, 96, 96, 3), np.uint8), np.zeros((1, 112, 112, 3))):
        with pytest.raises(ValueError, match="expected uint8"):
            engine.analyse(wrong.astype(wrong.dtype))


def test_memory_that_does_not_suffice_is_trouble_of_the_batch_and_other_errors_are_bugs(engine: Engine) -> None:
    with pytest.raises(InferenceError, match="not enough memory on cpu for 3 crops"), engine.translating_errors(3):
        torch.empty(2**50)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), engine.translating_errors(3):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_the_engine_takes_read_only_pixels(engine: Engine) -> None:
    pixels = noise(1)
    read_only = np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape)
    np.testing.assert_array_equal(engine.analyse(read_only).age, engine.analyse(pixels).age)
