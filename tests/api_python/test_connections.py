"""What clients do when the other side hangs, is nowhere, refuses or is idle: real servers, sockets and processes."""

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import faceanalytics as fa
from faceanalytics import aio
from streamer.access.tokens import Scope
from streamer.api import server as api_server
from streamer.tools import connection
from tests.api.test_server import summary
from tests.end_to_end.programs import Program, free_port
from tests.support.certificates import issue
from tests.support.counting_proxy import CountingProxy
from tests.support.guarded_server import guarded
from tests.support.patience import FOREVER_S, WAIT_S, until
from tests.tools.test_watch import Running

SECRET = "fa_" + "a" * 43


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (connection.TOKEN, connection.TOKEN_FILE, connection.TLS_CA):
        monkeypatch.delenv(name, raising=False)


def options(monkeypatch: pytest.MonkeyPatch, module: Any, **changes: int) -> None:
    """Change options of the channels (or servers) that a module makes."""
    names = {name.rpartition(".")[2]: name for name, _ in module.OPTIONS}
    changed = dict(module.OPTIONS) | {names[name]: value for name, value in changes.items()}
    monkeypatch.setattr(module, "OPTIONS", tuple(changed.items()))


def kept_alive_ms() -> int:
    return dict(connection.OPTIONS)["grpc.keepalive_time_ms"]


# --- idle


def test_the_server_accepts_pings_as_often_as_clients_send_them() -> None:
    accepted = dict(api_server.OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"]
    assert isinstance(accepted, int)
    assert kept_alive_ms() >= 1.5 * accepted


def test_an_idle_watch_is_kept_alive_and_not_thrown_out(monkeypatch: pytest.MonkeyPatch) -> None:
    shorter = 50  # times, for both sides alike
    accepted = int(dict(api_server.OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"])
    options(monkeypatch, api_server, min_ping_interval_without_data_ms=accepted // shorter)
    options(monkeypatch, connection, keepalive_time_ms=kept_alive_ms() // shorter)
    with (
        Running(heartbeat_s=FOREVER_S) as running,
        CountingProxy(running.address) as proxy,
        fa.watch(proxy.address) as events,
    ):
        assert isinstance(next(events), fa.Snapshot)
        until(lambda: proxy.pings >= 20, "pings")
        running.offer(summary("t1"))
        assert isinstance(next(events), fa.TrackStarted)


def test_a_client_that_pings_too_often_would_be_thrown_out(monkeypatch: pytest.MonkeyPatch) -> None:
    options(monkeypatch, connection, keepalive_time_ms=1000)  # the server accepts one each 10 s
    with Running(heartbeat_s=FOREVER_S) as running, fa.watch(running.address) as events:
        assert isinstance(next(events), fa.Snapshot)
        lost = next(events)
    assert isinstance(lost, fa.Disconnected)
    assert "too_many_pings" in lost.reason.lower().replace(" ", "_")


# --- hanging


def feeder(folder: Path, address: str, *more: str) -> Program:
    config = folder / "store.json"
    config.write_text(json.dumps({"folder": str(folder / "store")}))
    return Program("tests.support.store_feeder", config, "--listen", address, *more)


async def test_a_streamer_that_hangs_is_noticed_and_watched_again_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = dict.fromkeys(("keepalive_time_ms", "keepalive_timeout_ms", "ping_timeout_ms"), 1000)
    options(monkeypatch, connection, **second, min_reconnect_backoff_ms=1000)
    address = f"127.0.0.1:{free_port()}"
    with feeder(tmp_path, address) as program:
        program.wait_for("ready")
        async with asyncio.timeout(WAIT_S), aio.connect(address, timeout_s=2.0) as streamer:
            numbers, hung = list[int](), False
            async for event in streamer.watch():
                if isinstance(event, fa.Disconnected) and not hung:
                    hung = True
                    with pytest.raises(fa.StreamerError) as raised:
                        await streamer.list_streams()
                    assert raised.value.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
                    program.signal(signal.SIGCONT)
                number = getattr(event, "log_sequence", None)
                if number is not None:
                    numbers.append(number)
                    if len(numbers) == 5:
                        program.signal(signal.SIGSTOP)
                    if hung and len(numbers) > 30:
                        break
    assert hung
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))  # nothing lost, nothing twice


# --- nowhere


@contextmanager
def black_hole() -> Iterator[str]:
    """An address that answers nothing: its queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        taken = [socket.socket() for _ in range(4)]
        for one in taken:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for one in taken:
                one.close()


@contextmanager
def silence() -> Iterator[str]:
    """An address that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("nowhere", [black_hole, silence])
async def test_an_address_that_answers_nothing_is_a_disconnection_and_an_error_of_a_call(
    nowhere: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options(monkeypatch, connection, min_reconnect_backoff_ms=1000)
    with nowhere() as address:
        async with asyncio.timeout(WAIT_S), aio.connect(address, timeout_s=1.0) as streamer:
            with pytest.raises(fa.StreamerError) as raised:
                await streamer.list_streams()
            assert raised.value.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
            lost = await anext(streamer.watch())
            assert isinstance(lost, fa.Disconnected)
            assert lost.reason.startswith(f"{address}: UNAVAILABLE")


async def test_a_question_waits_for_a_streamer_that_comes_up() -> None:
    address = f"127.0.0.1:{free_port()}"
    running = Running(address)
    threading.Timer(0.5, running.__enter__).start()
    try:
        async with asyncio.timeout(WAIT_S), aio.connect(address, timeout_s=WAIT_S) as streamer:
            assert [model.model_id for model in await streamer.list_models()] == ["small"]
    finally:
        running.__exit__()


# --- refused


async def test_over_tls_and_with_a_token_everything_works_that_the_token_allows(tmp_path: Path) -> None:
    ca = issue(tmp_path, "ca")
    server = issue(tmp_path, "server", ca)
    tls = {"certificate": str(server.path), "key": str(server.key_path)}
    async with asyncio.timeout(WAIT_S), guarded(tmp_path, "door", tls=tls) as at:
        secret, address = await at.token(Scope.READ), at.server.address
        async with aio.connect(address, token=secret, tls_ca=ca.path) as streamer:
            assert isinstance(await anext(streamer.watch()), fa.Snapshot)
            assert [one.stream_id for one in await streamer.list_streams()] == ["door"]
            with pytest.raises(fa.StreamerError, match="needs a token with the scope operate") as raised:
                await streamer.delete_stream("door")
            assert raised.value.code == "PERMISSION_DENIED"
            assert [one.stream_id for one in await streamer.list_streams()] == ["door"]


@pytest.mark.parametrize("token", [None, SECRET])
async def test_who_is_not_known_is_refused_once_and_not_again(tmp_path: Path, token: str | None) -> None:
    async with asyncio.timeout(WAIT_S), guarded(tmp_path, "door") as at:
        await at.token(Scope.READ)  # from the first token on, every call needs one
        async with aio.connect(at.server.address, token=token) as streamer:
            with pytest.raises(fa.StreamerError) as raised:
                await anext(streamer.watch())
            assert raised.value.code == "UNAUTHENTICATED"
            with pytest.raises(fa.StreamerError) as raised:
                await streamer.list_streams()
            assert raised.value.code == "UNAUTHENTICATED"
        refused = [entry for entry in at.audit() if entry["outcome"].startswith("UNAUTHENTICATED")]
        assert len(refused) == 2


async def test_a_wrong_certificate_is_said_and_nothing_is_sent(tmp_path: Path) -> None:
    ca, other = issue(tmp_path, "ca"), issue(tmp_path, "other")
    server = issue(tmp_path, "server", ca)
    tls = {"certificate": str(server.path), "key": str(server.key_path)}
    async with asyncio.timeout(WAIT_S), guarded(tmp_path, "door", tls=tls) as at:
        secret = await at.token(Scope.READ)
        async with aio.connect(at.server.address, token=secret, tls_ca=other.path, timeout_s=1.0) as streamer:
            lost = await anext(streamer.watch())
            assert isinstance(lost, fa.Disconnected)
            with pytest.raises(fa.StreamerError):
                await streamer.list_streams()


async def test_a_token_does_not_cross_a_network_unencrypted() -> None:
    async with aio.connect("10.0.0.7:50051", token=SECRET) as streamer:
        with pytest.raises(fa.ConfigError, match="unencrypted"):
            await anext(streamer.watch())
        with pytest.raises(fa.ConfigError, match="unencrypted"):
            await streamer.list_streams()
