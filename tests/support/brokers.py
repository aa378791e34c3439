"""Message brokers for tests, on free ports of this machine: mosquitto, nats-server, and librdkafka's Kafka cluster."""

import asyncio
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.support.patience import WAIT_S, until

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def find(program: str) -> str | None:
    """The path of a broker's program; None: it is not on this machine."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


class Broker:
    """A broker as a process, which is started again at the same port with what it had stored."""

    def __init__(self, command: Sequence[str], port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, also after `kill` or `stop`."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until(self._listens, f"{self._command[0]} listens")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it neither answer nor close connections."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        stopped = psutil.Process(self._process.pid)
        until(lambda: stopped.status() == psutil.STATUS_STOPPED, "it is stopped")

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(WAIT_S)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def __enter__(self) -> "Broker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fa-broker-"))
    folder.chmod(0o777)  # mosquitto leaves root for a user of its own
    return folder


def mosquitto(settings: str = "allow_anonymous true", port: int = 0, persistent: bool = True) -> Broker:
    """mosquitto with a listener that has these settings. It sends on what it acknowledges at once."""
    program = find("mosquitto")
    assert program is not None
    port, folder = port or free_port(), _folder()
    lines = [f"listener {port} {HOST}", settings, "max_inflight_messages 0", "max_queued_messages 0"]
    if persistent:
        lines += ["persistence true", f"persistence_location {folder}/", "autosave_on_changes true"]
        lines += ["autosave_interval 1"]
    (folder / "mosquitto.conf").write_text("\n".join([*lines, ""]))
    return Broker([program, "-c", str(folder / "mosquitto.conf")], port, folder)


def passwords(path: Path, user: str, password: str) -> Path:
    """Write a file of mosquitto's passwords."""
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(path), user, password], check=True, timeout=WAIT_S)
    path.chmod(0o644)
    return path


def nats_server(settings: str = "", port: int = 0) -> Broker:
    """nats-server with JetStream."""
    program = find("nats-server")
    assert program is not None
    port, folder = port or free_port(), _folder()
    stored = f'jetstream {{ store_dir: "{folder}" }}'
    (folder / "nats.conf").write_text(f"listen: {HOST}:{port}\n{stored}\n{settings}\n")
    return Broker([program, "-c", str(folder / "nats.conf")], port, folder)


class KafkaCluster:
    """Kafka brokers with real sockets in this process: librdkafka's mock cluster. It stores nothing on disk."""

    def __init__(self, topic: str = "faceanalytics") -> None:
        from confluent_kafka import Producer  # librdkafka, which other tests need not load

        self._producer = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 3, "log_level": 3})
        brokers = self._producer.list_topics(timeout=WAIT_S).brokers.values()
        self.ports = [broker.port for broker in brokers]
        self.servers = [f"{HOST}:{port}" for port in self.ports]
        self.topic = topic


class KafkaGate:
    """Proxies in front of the brokers of a cluster, which say that they are the brokers, and can be shut.

    They run in a thread of their own. `tls`: clients must use it.
    """

    def __init__(self, cluster: KafkaCluster, tls: ssl.SSLContext | None = None) -> None:
        self.ports = {free_port(): port for port in cluster.ports}  # ours -> the broker's
        self.servers = [f"{HOST}:{port}" for port in self.ports]
        self._tls = tls
        self._open: list[asyncio.Server] = []
        self._relaying = set[asyncio.Task[None]]()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kafka-gate", daemon=True)

    def start(self) -> None:
        """Listen, also after `kill`."""
        self._run(self._listen())

    def kill(self) -> None:
        """Cut all connections, and accept none."""
        self._run(self._shut())

    def __enter__(self) -> "KafkaGate":
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_S)

    async def _listen(self) -> None:
        if self._open:
            return
        for own, port in self.ports.items():
            self._open.append(await asyncio.start_server(partial(self._accept, port), HOST, own, ssl=self._tls))

    async def _shut(self) -> None:
        for server in self._open:
            server.close()
        for task in self._relaying:
            task.cancel()
        await asyncio.gather(*self._relaying, return_exceptions=True)
        self._open.clear()

    async def _accept(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relaying.add(task)
        upstream_reader, upstream_writer = await asyncio.open_connection(HOST, port)
        both = asyncio.gather(_relay(reader, upstream_writer), self._answers(upstream_reader, writer))
        try:
            await both
        except (OSError, EOFError, asyncio.CancelledError):
            both.cancel()
        finally:
            self._relaying.discard(task)
            for one in (writer, upstream_writer):
                one.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay whole answers, in which the addresses of the brokers become ours."""
        while True:
            size = await reader.readexactly(4)
            answer = await reader.readexactly(struct.unpack(">i", size)[0])
            for own, port in self.ports.items():
                address = HOST.encode()
                answer = answer.replace(address + struct.pack(">i", port), address + struct.pack(">i", own))
            writer.write(size + answer)
            await writer.drain()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    raise EOFError
