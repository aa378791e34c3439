"""SystemService: statistics, capacity and store of a real server with a real store."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from faceanalytics.v1 import streams_pb2, streams_pb2_grpc, system_pb2, system_pb2_grpc, tracks_pb2, tracks_pb2_grpc
from streamer import metrics
from streamer.access.tokens import Scope
from streamer.api.server import start_server
from streamer.api.system_messages import capacity
from streamer.config import Publish, Sources, Stream
from streamer.config import Store as StoreConfig
from streamer.hub import Hub
from streamer.readings import Readings, Recent, sample
from streamer.series import forget_stream, know_stream
from streamer.values import SourceState, SourceStatus
from tests.api.test_resume import Place
from tests.api.test_resume import serving as storing
from tests.api.test_server import KeptCameras, refused
from tests.support.builders import SMALL, summary
from tests.support.guarded_server import bearer, guarded
from tests.support.patience import WAIT_S, until
from tests.support.stored import final

RUNNING = SourceStatus(
    SourceState.RUNNING,
    frames_decoded=100,
    frames_missing=3,
    frames_analysed=40,
    frames_dropped={"overload": 10},
    frames_unsearched={"quiet": 50},
)


class Service:
    """A server and its services."""

    def __init__(self, cameras: KeptCameras, readings: Readings, hub: Hub, channel: aio.Channel) -> None:
        self.cameras, self.readings, self.hub = cameras, readings, hub
        self.system = system_pb2_grpc.SystemServiceStub(channel)
        self.streams = streams_pb2_grpc.StreamServiceStub(channel)
        self.tracks = tracks_pb2_grpc.TrackServiceStub(channel)

    async def stats(self) -> system_pb2.GetStatsResponse:
        return await self.system.GetStats(system_pb2.GetStatsRequest())


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may count slowly."""
    monkeypatch.setattr("streamer.store.overview.WITHIN_S", WAIT_S)


@asynccontextmanager
async def serving(*names: str) -> AsyncIterator[Service]:
    cameras = KeptCameras(*(Stream(id=name, uri="a.mp4") for name in names), sources=Sources(max_streams=5))
    config, readings = Publish(listen="127.0.0.1:0"), Readings(["door"])
    hub = Hub(config)
    server = await start_server(config, hub, cameras, lambda: {SMALL: 1}, readings=readings)
    try:
        async with aio.insecure_channel(server.address) as channel:
            yield Service(cameras, readings, hub, channel)
    finally:
        await server.stop(0)


async def test_the_statistics_are_those_of_the_streams_and_of_the_process() -> None:
    async with serving("door", "yard") as service:
        service.cameras.report("door", RUNNING)
        service.cameras.report("yard", RUNNING)
        watch: Any = service.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(snapshot=True))
        assert (await watch.read()).instance_id == service.readings.instance_id  # also without a store
        service.readings.sample(time.monotonic())
        metrics.result_latency_seconds.observe(0.3)
        stats = await service.stats()
        frames = stats.frames
        assert (frames.decoded, frames.analysed, frames.missing) == (200, 80, 6)
        assert (dict(frames.dropped), dict(frames.unsearched)) == ({"overload": 20}, {"quiet": 100})
        process = stats.process
        assert (process.version, process.instance_id) == (service.readings.version, service.readings.instance_id)
        assert process.started_at.ToDatetime(UTC) == service.readings.started
        assert process.uptime.ToNanoseconds() > 0
        assert process.cpu_time.ToNanoseconds() > 0
        assert process.memory_bytes > 10_000_000
        assert process.cpus >= 1
        assert stats.latency.results == 1
        assert 0.25 <= stats.latency.p50.ToMicroseconds() / 1e6 <= 0.5
        assert stats.subscribers.watching >= 1
        assert not stats.HasField("store")
        watch.cancel()


async def test_a_token_for_some_cameras_sees_the_numbers_of_those(tmp_path: Path) -> None:
    async with guarded(tmp_path, "door", "yard") as at, at.channel() as channel:
        at.cameras.report("yard", RUNNING)
        for name in ("door", "yard"):
            know_stream(name)
            metrics.tracks_active.labels(name).set(2)
        system = system_pb2_grpc.SystemServiceStub(channel)
        of_door = bearer(await at.token(Scope.READ, cameras=("door",)))
        everything = bearer(await at.token(Scope.READ))
        request = system_pb2.GetStatsRequest()
        for metadata, decoded, active in ((of_door, 0, 2), (everything, 100, 4)):
            stats = await system.GetStats(request, metadata=metadata)
            assert stats.frames.decoded == decoded
            assert stats.tracks.active >= active
        assert (await system.GetStats(request, metadata=of_door)).tracks.active == 2
        store = system.GetStore(system_pb2.GetStoreRequest(), metadata=of_door)
        assert (await refused(store))[0] is grpc.StatusCode.PERMISSION_DENIED
        for name in ("door", "yard"):
            forget_stream(name)


async def test_without_running_cameras_the_room_for_more_is_not_known() -> None:
    async with serving("door") as service:
        answer = await service.system.GetCapacity(system_pb2.GetCapacityRequest())
        assert not answer.HasField("more_streams")
        assert answer.limited_by == system_pb2.CAPACITY_LIMIT_UNSPECIFIED
        assert not answer.HasField("detector_time")
        assert not answer.HasField("possible_analyses_per_second")
        assert answer.streams_running == 0


def test_the_capacity_is_that_of_the_busiest_part() -> None:
    started = sample(0.0)
    metrics.workers_alive.set(2)
    metrics.face_budget.set(float("inf"))
    later = sample(0.0)
    ended = Recent(
        started,
        system_sample(later, at=60.0, searches=600, searching_s=12.0, searched=900, crops=240, analysing_s=24.0),
    )
    streams = [(Stream(id=name, uri="a.mp4"), RUNNING) for name in ("a", "b")]
    answer = capacity(ended, streams, max_streams=99)
    metrics.workers_alive.set(0)
    metrics.face_budget.set(0)
    assert answer.window.seconds == 60
    assert (answer.streams_running, answer.searches_per_second) == (2, 15)
    assert answer.detector_use == pytest.approx(0.2)
    assert answer.detector_time.ToMicroseconds() == 20_000
    assert answer.analyses_per_second == pytest.approx(4)
    assert answer.worker_use == pytest.approx(0.2)
    assert answer.possible_analyses_per_second == pytest.approx(20)
    assert not answer.HasField("allowed_analyses_per_second")
    assert not answer.HasField("cpu_use")
    assert (answer.more_streams, answer.limited_by) == (6, system_pb2.CAPACITY_LIMIT_DETECTOR)


def system_sample(before: Any, **grown: float) -> Any:
    """A later sample, in which these values have grown by this much, and nothing is known of the machine."""
    return replace(before, machine=None, **{name: getattr(before, name) + value for name, value in grown.items()})


async def test_a_stream_says_where_it_comes_from_and_streams_are_listed_by_state() -> None:
    async with serving("door") as service:
        settings = streams_pb2.StreamSettings(uri="rtsp://h/1")
        added = streams_pb2.CreateStreamRequest(stream_id="added", settings=settings)
        made = (await service.streams.CreateStream(added)).stream
        assert made.origin == streams_pb2.STREAM_ORIGIN_API
        service.cameras.report("door", RUNNING)
        every = (await service.streams.ListStreams(streams_pb2.ListStreamsRequest())).streams
        assert [(one.stream_id, one.origin) for one in every] == [
            ("added", streams_pb2.STREAM_ORIGIN_API),
            ("door", streams_pb2.STREAM_ORIGIN_CONFIGURATION),
        ]
        running = streams_pb2.ListStreamsRequest(states=[streams_pb2.STREAM_STATE_RUNNING])
        assert [one.stream_id for one in (await service.streams.ListStreams(running)).streams] == ["door"]
        both = streams_pb2.ListStreamsRequest(
            states=[streams_pb2.STREAM_STATE_CONNECTING, streams_pb2.STREAM_STATE_RUNNING], page_size=1
        )
        first = await service.streams.ListStreams(both)
        both.page_token = first.next_page_token
        rest = await service.streams.ListStreams(both)
        assert [one.stream_id for one in (*first.streams, *rest.streams)] == ["added", "door"]
        wrong = streams_pb2.ListStreamsRequest(states=[streams_pb2.STREAM_STATE_UNSPECIFIED])
        assert (await refused(service.streams.ListStreams(wrong)))[0] is grpc.StatusCode.INVALID_ARGUMENT


# --- the store


async def test_the_store_says_what_it_holds_and_how_long(place: Place) -> None:
    async with storing(place, keep={"events_days": 7, "faces_days": None}, max_size_mb=50, faces=True) as service:
        await service.offer(*(summary(f"t{number}") for number in range(3)), final("t1"))
        answer = await service.system.GetStore(system_pb2.GetStoreRequest())
        assert answer.kind in (system_pb2.STORE_KIND_SQLITE, system_pb2.STORE_KIND_POSTGRESQL)
        contents = answer.contents
        assert (contents.rows["events"], contents.rows["tracks"], contents.rows["streams"]) == (4, 3, 0)
        assert (contents.oldest_sequence, contents.newest_sequence, contents.runs) == (1, 4, 1)
        now = datetime.now(UTC)
        first, last = contents.oldest_event_at.ToDatetime(UTC), contents.newest_event_at.ToDatetime(UTC)
        assert first <= last <= now
        assert contents.database_bytes > 4096
        assert (answer.state.degraded, answer.state.sequence) == (False, 4)
        assert not answer.state.HasField("degraded_since")
        kept = answer.retention
        assert (kept.events_days, kept.tracks_days, kept.max_size_bytes, kept.faces) == (7, 90, 50_000_000, True)
        assert not kept.HasField("faces_days")
        await asyncio.to_thread(until, lambda: service.stored.store.cleaned_at is not None, "old data is looked for")
        answer = await service.system.GetStore(system_pb2.GetStoreRequest())
        assert answer.retention.last_run_at.ToDatetime(UTC) <= datetime.now(UTC)
        assert answer.contents.counted_at == contents.counted_at  # not counted again at once
        stats = await service.system.GetStats(system_pb2.GetStatsRequest())
        assert stats.store == answer.state


async def test_a_store_whose_database_is_gone_says_so(tmp_path: Path) -> None:
    def place(**settings: Any) -> StoreConfig:
        return StoreConfig.model_validate({"folder": str(tmp_path / "store"), **settings})

    async with storing(place) as service:
        await service.offer(summary("t1"))
        (tmp_path / "store" / "store.sqlite").rename(tmp_path / "away")
        service.stored.put(summary("t2"))
        await asyncio.to_thread(until, lambda: service.stored.store.state.degraded, "it is noticed")
        answer = await service.system.GetStore(system_pb2.GetStoreRequest())
        assert not answer.HasField("contents")
        assert answer.state.degraded
        assert answer.state.HasField("degraded_since")
        assert answer.state.backlog == 1
        (tmp_path / "away").rename(tmp_path / "store" / "store.sqlite")
        await asyncio.to_thread(until, lambda: not service.stored.store.state.degraded, "it works again")
        answer = await service.system.GetStore(system_pb2.GetStoreRequest())
        assert (answer.contents.rows["events"], answer.state.degraded) == (2, False)


async def test_without_a_store_there_is_none_to_describe() -> None:
    async with serving() as service:
        code, text = await refused(service.system.GetStore(system_pb2.GetStoreRequest()))
        assert (code, text) == (grpc.StatusCode.FAILED_PRECONDITION, "this streamer keeps nothing (store: null)")
