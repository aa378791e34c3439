"""A server with tokens, limits and TLS as a test wants them, and what it wrote down."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import faceanalytics.v1
from streamer.access.token_file import TokenFile
from streamer.access.tokens import Scope, TokenStore, new_token, utc_now
from streamer.api.inspection import Inspector
from streamer.api.server import Server, start_server
from streamer.config import Publish, Sources, Stream
from streamer.config import Store as StoreConfig
from streamer.hub import Hub
from streamer.jobs.jobs import Jobs
from streamer.safety import Access
from streamer.store.outbox import Outgoing
from streamer.store.streams import kept_cameras
from tests.api.test_server import KeptCameras
from tests.support.builders import SMALL
from tests.support.stored import Running, running

MORE = b"\0more\0"  # between the messages of a stream of requests
# what grpc.aio says by itself if the server ends a call while the client still writes requests, in place of its status
LOST_RACE = grpc.StatusCode.INTERNAL, "Internal error from Core"
TRIES = 50
Entries = list[dict[str, str]]


@dataclass(slots=True)
class Guarded:
    """A running server, its hub and its folder."""

    server: Server
    hub: Hub
    cameras: KeptCameras
    folder: Path
    stored: Running | None = None

    async def token(self, *scopes: Scope, cameras: tuple[str, ...] = (), lifetime: timedelta | None = None) -> str:
        """A new token. Its id is in `tokens`."""
        name = "-".join(scopes) or "nothing"
        secret, made = new_token(name, scopes, cameras, lifetime, utc_now())
        await self.tokens.add(made)
        return secret

    @property
    def tokens(self) -> TokenStore:
        return self.stored.store.tokens if self.stored is not None else TokenFile(self.folder)

    def audit(self) -> Entries:
        """What was written down."""
        path = self.folder / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def channel(self, **options: Any) -> aio.Channel:
        return aio.insecure_channel(self.server.address, **options)


@asynccontextmanager
async def guarded(
    folder: Path,
    *streams: str,
    store: StoreConfig | None = None,
    jobs: Jobs | None = None,
    inspector: Inspector | None = None,
    **settings: Any,
) -> AsyncIterator[Guarded]:
    """Serve these streams, and jobs if there are any, on a free port.

    The folder for tokens and audit log is `folder`/access, without a store.
    """
    cameras = KeptCameras(*(Stream(id=name, uri="a.mp4") for name in streams), sources=Sources(folders=(str(folder),)))
    config = Publish.model_validate({"listen": "127.0.0.1:0", "heartbeat_s": 0.05, **settings})
    hub = Hub(config)
    access = Access(folder=str(folder / "access"))
    async with AsyncExitStack() as closing:
        stored = await closing.enter_async_context(running(store, publishing(hub))) if store is not None else None
        kept = stored.store if stored is not None else None
        known, models = kept_cameras(cameras, kept, ()), lambda: {SMALL: 1}
        server = await start_server(config, hub, known, models, kept, access=access, jobs=jobs, inspector=inspector)
        closing.push_async_callback(server.stop, 0)
        yield Guarded(server, hub, cameras, folder / "access", stored)


def publishing(hub: Hub) -> Callable[[Outgoing], None]:
    """What a store does with events that are stored."""

    def publish(outgoing: Outgoing) -> None:
        hub.offer(outgoing.summary, time.monotonic(), outgoing.sequence, outgoing.stored)

    return publish


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with a token."""
    return (("authorization", f"Bearer {secret}"),)


def files() -> list[FileDescriptor]:
    """The files of the whole API, found as modules, so that a new one is not forgotten."""
    ours = [one.name for one in iter_modules(faceanalytics.v1.__path__) if one.name.endswith("_pb2")]
    modules = [import_module(f"faceanalytics.v1.{name}") for name in sorted(ours)]
    return [module.DESCRIPTOR for module in (*modules, health_pb2, reflection_pb2)]


def methods() -> Iterator[tuple[str, MethodDescriptor]]:
    """The path and the descriptor of each method of the API."""
    for file in files():
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


def as_is(data: bytes) -> bytes:
    return data


async def send(
    channel: aio.Channel, path: str, method: MethodDescriptor, data: bytes = b"", metadata: Any = ()
) -> tuple[grpc.StatusCode, str]:
    """Call a method with encoded bytes; the status and its text. A stream that answers is OK, and is cancelled.

    A stream of requests is cut into messages at `MORE`.
    """
    for _ in range(TRIES):
        status = await _send(channel, path, method, data, metadata)
        if status != LOST_RACE:
            break
    return status


async def _send(
    channel: aio.Channel, path: str, method: MethodDescriptor, data: bytes, metadata: Any
) -> tuple[grpc.StatusCode, str]:
    if method.client_streaming:
        call: Any = channel.stream_stream(path, as_is, as_is)(iter(data.split(MORE)), metadata=metadata)
    elif method.server_streaming:
        call = channel.unary_stream(path, as_is, as_is)(data, metadata=metadata)
    else:
        call = channel.unary_unary(path, as_is, as_is)(data, metadata=metadata)
    if method.server_streaming:
        try:
            if await call.read() is not aio.EOF:  # type: ignore[attr-defined]
                call.cancel()
                return grpc.StatusCode.OK, ""
        except aio.AioRpcError:
            pass
    return await call.code(), await call.details() or ""
