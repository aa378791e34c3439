"""A live streamer in this process, with a store and a worker that recognises painted people, and what it publishes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpc import aio

from faceanalytics.internal.v1 import faces_pb2
from faceanalytics.v1 import gallery_pb2, gallery_pb2_grpc, streams_pb2, streams_pb2_grpc, tracks_pb2, tracks_pb2_grpc
from streamer.app import LiveService
from streamer.config import Store, StreamerConfig
from streamer.configfile import parse_config
from tests.support.guarded_server import bearer
from tests.support.painted_people import painted_worker
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import WAIT_S

TABLE = faces_pb2.ImpostorScores(
    pairs=2_000_000, people=3000, shares=[1e-5, 0.001, 1], cosines=[0.9, 0.7, -1], source="card"
)
REVISION = tracks_pb2.EVENT_TYPE_REVISION
Track = tracks_pb2.Track


def settings(folder: Path, store: Store | None, **changes: Any) -> StreamerConfig:
    """A streamer that analyses each frame of short clips in `folder`."""
    write_lite_patch_detector(folder / "patches.onnx")
    data: dict[str, Any] = {
        "detect": {"weights": str(folder / "patches.onnx"), "attention": {"enabled": False}},
        "dispatch": {"bind": f"ipc://{folder}/w", "answer_within_s": WAIT_S, "worker_silent_s": WAIT_S},
        "publish": {"listen": "127.0.0.1:0", "limits": {"calls_per_second": 1e6}},
        "sources": {"folders": [str(folder)]},
        "relink": {"enabled": False},
        "aggregate": {"max_cover": 255},
        "track": {"lost_s": 60.0, "max_gap_s": 60.0, "shot_change_levels": 255.0},
        "gallery": {"min_quality": 0.0},
        "drain_s": WAIT_S,
    }
    made = parse_config({**data, **changes}, "test")
    return made.model_copy(update={"store": store})


class Client:
    """Calls the streamer, and keeps the newest state of each track that it was sent."""

    def __init__(self, channel: aio.Channel, metadata: tuple[tuple[str, str], ...] = (), address: str = "") -> None:
        self.address = address
        self.metadata = metadata
        self.gallery: gallery_pb2_grpc.GalleryServiceAsyncStub = gallery_pb2_grpc.GalleryServiceStub(channel)
        self.streams: Any = streams_pb2_grpc.StreamServiceStub(channel)
        self.tracks: Any = tracks_pb2_grpc.TrackServiceStub(channel)
        self.seen: dict[str, Track] = {}
        self.events: list[tracks_pb2.WatchTracksResponse] = []
        self._changed = asyncio.Event()

    async def watch(self, **request: Any) -> None:
        async for event in self.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(**request), metadata=self.metadata):
            self.events.append(event)
            if event.HasField("track"):
                self.seen[event.track.track_id] = event.track
            self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the newest states are as they should be."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_named(self, track_id: str, name: str) -> Track:
        """Wait until a track has this name (empty: none)."""
        await self.until(lambda: track_id in self.seen and self.seen[track_id].decision.person == name)
        return self.seen[track_id]

    async def play(self, camera: str, video: Path, loop: bool = False) -> str:
        """Play a clip of one person; returns the id of its track, once it was searched for in the gallery."""
        before = set(self.seen)
        stream = streams_pb2.StreamSettings(uri=str(video), loop=loop)
        await self.streams.CreateStream(
            streams_pb2.CreateStreamRequest(stream_id=camera, settings=stream), metadata=self.metadata
        )

        def there() -> list[str]:
            new = [one for name, one in self.seen.items() if name not in before and one.stream_id == camera]
            return [one.track_id for one in new if one.samples >= 2]

        await self.until(lambda: bool(there()))
        return there()[0]

    async def stop(self, camera: str) -> None:
        await self.streams.DeleteStream(streams_pb2.DeleteStreamRequest(stream_id=camera))
        await self.until(lambda: all(one.final for one in self.seen.values() if one.stream_id == camera))

    async def create(self, name: str) -> gallery_pb2.Person:
        request = gallery_pb2.CreatePersonRequest(person=gallery_pb2.Person(display_name=name))
        return (await self.gallery.CreatePerson(request, metadata=self.metadata)).person

    async def add(self, person_id: str, *files: Path, **options: Any) -> gallery_pb2.AddReferencesResponse:
        """Add images; each file is sent in two parts."""

        async def parts() -> AsyncIterator[gallery_pb2.AddReferencesRequest]:
            for file in files:
                data = file.read_bytes()
                half = len(data) // 2
                for content, more in ((data[:half], True), (data[half:], False)):
                    yield gallery_pb2.AddReferencesRequest(
                        person_id=person_id, file_name=file.name, data=content, more=more, **options
                    )

        return await self.gallery.AddReferences(parts(), metadata=self.metadata)

    async def track(self, track_id: str) -> Track:
        found: Track = (await self.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id=track_id))).track
        return found

    async def past(self, *names: str) -> Sequence[Track]:
        wanted = tracks_pb2.TrackFilter(persons=names)
        answer = await self.tracks.ListTracks(tracks_pb2.ListTracksRequest(past=True, filter=wanted))
        found: Sequence[Track] = answer.tracks
        return found


@asynccontextmanager
async def recognising(config: StreamerConfig, token: str = "", **worker: Any) -> AsyncIterator[Client]:
    """Run the streamer until the end of the block. `token`: of the client; empty: none. `worker`: how it is."""
    from streamer.api.server import Server

    started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    live = LiveService(config, started.set_result)
    endpoint = worker.pop("endpoint", config.dispatch.bind)
    async with painted_worker(endpoint, **{"impostors": TABLE, **worker}):
        running = asyncio.create_task(live.run())
        futures: list[asyncio.Future[Any]] = [running, started]
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        server = started.result()
        await asyncio.wait_for(server.wait_until_serving(), WAIT_S)
        async with aio.insecure_channel(server.address) as channel:
            client = Client(channel, bearer(token) if token else (), server.address)
            watching = asyncio.create_task(client.watch(snapshot=True))
            try:
                await client.until(lambda: bool(client.events))
                yield client
            finally:
                watching.cancel()
                await asyncio.wait({watching})
        live.stop()
        await asyncio.wait_for(running, WAIT_S)
