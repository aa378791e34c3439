"""A client that loses its streamer, or is itself killed, goes on where it was."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import faceanalytics as fa
from faceanalytics.v1 import tracks_pb2
from streamer.access.token_file import TokenFile
from streamer.access.tokens import Scope, new_token, utc_now
from streamer.api.server import start_server
from streamer.config import Publish, Stream
from streamer.config import Store as StoreConfig
from streamer.hub import Hub
from streamer.safety import Access, Tls
from streamer.store.outbox import Outgoing
from streamer.tools.connection import Connect, Login, connecting, plain
from streamer.tools.watch import follow
from streamer.values import TrackSummary
from tests.api.test_server import KeptCameras
from tests.end_to_end.programs import free_port
from tests.support.builders import SMALL, summary
from tests.support.certificates import issue
from tests.support.patience import WAIT_S
from tests.support.stored import Running, final

Event = tracks_pb2.WatchTracksResponse
Safety: TypeAlias = tuple[Tls | None, Access]


class Enough(Exception):
    """The test has seen what it wanted."""


class Streamer:
    """A server with a store in a thread of its own; every one on the same address is the same streamer."""

    def __init__(self, address: str, folder: Path, *before: TrackSummary, safe: Safety | None = None) -> None:
        """`before` happened before anybody could watch; `safe`: with TLS and tokens."""
        self._address, self._folder, self._before = address, folder, before
        self._tls, self._access = safe or (None, Access())
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop, self._leaving = asyncio.get_running_loop(), asyncio.Event()
        config = Publish(listen=self._address, heartbeat_s=0.1, tls=self._tls)
        hub = Hub(config)

        def publish(outgoing: Outgoing) -> None:
            hub.offer(outgoing.summary, time.monotonic(), outgoing.sequence, outgoing.stored)

        self.stored = Running(StoreConfig(folder=str(self._folder), commit_within_s=WAIT_S), publish)
        await self.stored.store.open()
        hub.sequence = self.stored.store.sequence
        writing = asyncio.create_task(self.stored.store.run())
        self.stored.put(*self._before)
        await self.stored.settle()
        cameras = KeptCameras(Stream(id="door", uri="x.mp4"))
        store, access = self.stored.store, self._access
        server = await start_server(config, hub, cameras, lambda: {SMALL: 1}, store, access=access)
        self._ready.set()
        await self._leaving.wait()
        await server.stop(1.0)
        await self.stored.settle()
        writing.cancel()
        await asyncio.wait([writing])
        await self.stored.store.close()

    def put(self, *summaries: TrackSummary) -> None:
        self._loop.call_soon_threadsafe(self.stored.put, *summaries)

    def __enter__(self) -> "Streamer":
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._leaving.set)
        self._thread.join(WAIT_S)


class Kept:
    """A printer that keeps what it gets until it has enough."""

    def __init__(self, enough: Callable[[list[str]], bool]) -> None:
        self.stories: list[str] = []
        self._enough = enough

    def show(self, event: Event) -> None:
        kind = tracks_pb2.EventType.Name(event.type).removeprefix("EVENT_TYPE_")
        if kind in ("NEW", "END", "GAP"):
            self.stories.append(f"{kind} {event.track.track_id}".strip())
        if self._enough(self.stories):
            raise Enough

    def notify(self, message: str) -> None:
        pass


def followed(address: str, resume: Path, *wanted: str, connect: Connect = plain) -> list[str]:
    """Watch until the last of the wanted events has come; its token is not kept, as if the client was killed then."""
    printer = Kept(lambda stories: stories[-1:] == [wanted[-1]])
    try:
        follow(address, [], printer, once=False, wait=lambda _: time.sleep(0.05), resume=resume, connect=connect)
    except Enough:
        return printer.stories
    raise AssertionError("the watch ended")


def test_a_watch_with_a_file_goes_on_after_the_last_event_that_it_finished(tmp_path: Path) -> None:
    address, token = f"127.0.0.1:{free_port()}", tmp_path / "token"
    with Streamer(address, tmp_path / "store") as streamer:
        watching = threading.Thread(
            target=lambda: found.extend(followed(address, token, "NEW t1", "END t1")), daemon=True
        )
        found: list[str] = []
        watching.start()
        streamer.put(summary("t1"))
        while not token.exists():
            time.sleep(0.01)
        streamer.put(final("t1"))
        watching.join(WAIT_S)
        assert found[-1] == "END t1"
    with Streamer(address, tmp_path / "store", summary("t2"), final("t2")):
        # it was killed after it had shown END t1, before it had kept the token: once more, and nothing else twice
        assert followed(address, token, "END t2")[-3:] == ["END t1", "NEW t2", "END t2"]


def test_the_python_client_hears_of_what_happened_while_it_was_alone(tmp_path: Path) -> None:
    address, heard = f"127.0.0.1:{free_port()}", list[Any]()
    with Streamer(address, tmp_path / "store", summary("t1")):
        watch = fa.watch(address)
        snapshot = next(watch)
        assert isinstance(snapshot, fa.Snapshot)
        assert [track.track_id for track in snapshot.tracks] == ["t1"]
    assert isinstance(next(watch), fa.Disconnected)
    with Streamer(address, tmp_path / "store", summary("t2"), final("t2"), summary("t3")):
        for event in watch:
            if not isinstance(event, fa.Disconnected):
                heard.append(event)
            if isinstance(event, fa.Snapshot):
                break
        watch.close()
    kinds = [(type(event), event.track.track_id) for event in heard[:-1]]
    assert kinds == [
        (fa.TrackEnded, "t1"), (fa.TrackStarted, "t2"), (fa.TrackEnded, "t2"), (fa.TrackStarted, "t3")
    ]  # fmt: skip
    assert heard[0].track.end_reason == "INTERRUPTED"
    assert [track.track_id for track in heard[-1].tracks] == ["t3"]
    assert heard[-1].vanished == ()


def test_a_client_of_a_streamer_that_has_lost_its_store_begins_again(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with Streamer(address, tmp_path / "one", summary("t1")):
        watch = fa.watch(address)
        assert isinstance(next(watch), fa.Snapshot)
    heard = list[Any]()
    with Streamer(address, tmp_path / "two", summary("t2")):
        while not heard or not isinstance(heard[-1], fa.Snapshot):
            heard.append(next(watch))
        watch.close()
    assert [track.track_id for track in heard[-1].tracks] == ["t2"]
    *_, refused, missed, _ = heard
    assert "was not made by this store" in refused.reason
    assert (missed, missed.resume_token) == (fa.Missed(None), "")  # nobody knows how many


def test_clients_go_on_over_tls_and_with_their_tokens(tmp_path: Path) -> None:
    authority = issue(tmp_path, "ca")
    server, folder = issue(tmp_path, "server", authority), tmp_path / "access"
    secret, made = new_token("test", [Scope.READ], ("door",), None, utc_now())
    asyncio.run(TokenFile(folder).add(made))
    safe = Tls(certificate=str(server.path), key=str(server.key_path)), Access(folder=str(folder))
    connect = connecting(Login(token=secret, tls_ca=authority.path))
    address, kept, store = f"127.0.0.1:{free_port()}", tmp_path / "token", tmp_path / "store"
    with Streamer(address, store, summary("t1"), safe=safe) as streamer:
        watch = fa.watch(address, token=secret, tls_ca=authority.path)
        assert isinstance(next(watch), fa.Snapshot)
        found: list[str] = []
        watching = threading.Thread(
            target=lambda: found.extend(followed(address, kept, "END t2", connect=connect)), daemon=True
        )
        watching.start()
        while not kept.exists():  # what ends before it watches is not in its snapshot
            time.sleep(0.01)
        streamer.put(summary("t2"), final("t2"))
        watching.join(WAIT_S)
        assert found[-1] == "END t2"
    with Streamer(address, store, summary("t3"), summary("t4", camera="yard"), final("t3"), safe=safe):
        shown = followed(address, kept, "END t3", connect=connect)
        assert shown[-2:] == ["NEW t3", "END t3"]
        assert "NEW t4" not in shown
        heard = list[tuple[type, str]]()
        for event in watch:
            if isinstance(event, fa.Snapshot):
                break
            if isinstance(event, (fa.TrackStarted, fa.TrackEnded)):
                heard.append((type(event), event.track.track_id))
        watch.close()
    assert heard[-3:] == [(fa.TrackEnded, "t1"), (fa.TrackStarted, "t3"), (fa.TrackEnded, "t3")]
