"""Watches that go on after an interruption, and tracks that have ended: a real server, real channels, a real store."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from faceanalytics.v1 import (
    faces_pb2,
    streams_pb2,
    streams_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
    tracks_pb2,
    tracks_pb2_grpc,
)
from streamer.api.server import Server, start_server
from streamer.config import Publish, Stream
from streamer.config import Store as StoreConfig
from streamer.hub import Hub
from streamer.safety import Access
from streamer.store.outbox import Outgoing
from streamer.values import AgeEstimate, Candidate, ExpressionEstimate, IdentityDecision, IdentityStatus, TrackSummary
from tests.api.test_server import KeptCameras, Watch, events_of, read, refused
from tests.support import builders
from tests.support.builders import summary
from tests.support.stored import Running, final, merged

Place = Callable[..., StoreConfig]


class Service:
    """A streamer's API with a store, fed by hand."""

    def __init__(self, stored: Running, hub: Hub, server: Server, channel: aio.Channel) -> None:
        self.stored, self.hub, self.server, self.channel = stored, hub, server, channel
        self.tracks = tracks_pb2_grpc.TrackServiceStub(channel)
        self.streams = streams_pb2_grpc.StreamServiceStub(channel)
        self.system = system_pb2_grpc.SystemServiceStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)

    async def offer(self, *summaries: TrackSummary) -> None:
        self.stored.put(*summaries)
        await self.stored.settle()

    async def watch(self, **request: Any) -> Watch:
        call: Watch = self.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(**request))
        await call.initial_metadata()
        return call

    async def resumed(self, count: int, **request: Any) -> list[tracks_pb2.WatchTracksResponse]:
        """The first messages of a watch."""
        watch = await self.watch(**request)
        messages = await read(watch, count)
        watch.cancel()
        return messages


@asynccontextmanager
async def serving(place: Place, clean: bool = True, **settings: Any) -> AsyncIterator[Service]:
    """`clean`: the streamer ends its run; else it dies. `settings` of the store, heartbeat_s, and a folder `tokens`."""
    config = Publish(listen="127.0.0.1:0", heartbeat_s=settings.pop("heartbeat_s", 5.0))
    access = Access(folder=settings.pop("tokens", None))
    hub = Hub(config)

    def publish(outgoing: Outgoing) -> None:
        hub.offer(outgoing.summary, time.monotonic(), outgoing.sequence, outgoing.stored)

    stored = Running(place(**settings), publish)
    await stored.store.open()
    hub.sequence = stored.store.sequence
    writing = asyncio.create_task(stored.store.run())
    cameras = KeptCameras(Stream(id="door", uri="x.mp4"), Stream(id="yard", uri="y.mp4"))
    server = await start_server(config, hub, cameras, lambda: {builders.SMALL: 1}, stored.store, access=access)
    try:
        async with aio.insecure_channel(server.address) as channel:
            yield Service(stored, hub, server, channel)
    finally:
        await server.stop(0)
        writing.cancel()
        await asyncio.wait([writing])
        await (stored.store.close() if clean else stored.store.database.close())


async def test_a_watch_goes_on_where_it_was_interrupted(place: Place) -> None:
    async with serving(place) as service:
        watch = await service.watch()
        await service.offer(summary("t1"), summary("t2", camera="yard"), summary("t1", 2))
        messages = await read(watch, 3)
        assert [one.log_sequence for one in messages] == [1, 2, 0]
        watch.cancel()
        await service.offer(final("t1"), summary("t3"), merged("t2", "t1", "yard"))
        after_first = await service.resumed(4, resume_token=messages[0].resume_token)
        assert events_of(after_first) == [("NEW", "t2", 1), ("END", "t1", 99), ("NEW", "t3", 1), ("MERGE", "t2", 99)]
        assert [one.log_sequence for one in after_first] == [2, 3, 4, 5]
        assert [one.sequence for one in after_first] == [1, 2, 3, 4]
        after_last = await service.resumed(3, resume_token=messages[2].resume_token)
        assert events_of(after_last) == events_of(after_first)[1:]
        of_yard = await service.resumed(1, resume_token=messages[2].resume_token, stream_ids=["yard"])
        assert events_of(of_yard) == [("MERGE", "t2", 99)]


async def test_what_is_stored_comes_first_then_the_snapshot_then_what_happens(place: Place) -> None:
    async with serving(place) as service:
        watch = await service.watch()
        await service.offer(summary("t1"))
        token = (await read(watch, 1))[0].resume_token
        await service.offer(summary("t2"), summary("t2", 7), final("t1"))
        watch = await service.watch(resume_token=token, snapshot=True)
        messages = await read(watch, 4)
        assert events_of(messages) == [
            ("NEW", "t2", 1),
            ("END", "t1", 99),
            ("SNAPSHOT", "t2", 7),
            ("SNAPSHOT_END", "", 0),
        ]
        await service.offer(final("t2"))
        assert events_of(await read(watch, 1)) == [("END", "t2", 99)]


async def test_a_watch_goes_on_after_the_streamer_died(place: Place) -> None:
    async with serving(place, clean=False) as service:
        watch = await service.watch()
        await service.offer(summary("t1"))
        (first,) = await read(watch, 1)
    async with serving(place) as service:
        (message,) = await service.resumed(1, resume_token=first.resume_token)
        assert events_of([message]) == [("END", "t1", 2)]
        assert message.track.end_reason == tracks_pb2.END_REASON_INTERRUPTED
        assert message.instance_id != first.instance_id
        assert message.log_sequence == 2


async def test_a_heartbeat_moves_a_token_past_the_events_of_other_streams(place: Place) -> None:
    async with serving(place, heartbeat_s=0.2) as service:
        watch = await service.watch(stream_ids=["yard"])
        await service.offer(summary("t1"), final("t1"))
        messages = await read(watch, 2)
        assert {one.type for one in messages} == {tracks_pb2.EVENT_TYPE_HEARTBEAT}
        await service.offer(summary("t2"))
        assert events_of(await service.resumed(1, resume_token=messages[-1].resume_token)) == [("NEW", "t2", 1)]


async def test_a_forged_token_is_refused(tmp_path: Path) -> None:
    async with serving(partial(StoreConfig, folder=str(tmp_path / "a"))) as service:
        watch = await service.watch()
        await service.offer(summary("t1"))
        token = (await read(watch, 1))[0].resume_token
        flipped = token[:12] + ("A" if token[12] != "A" else "B") + token[13:]
        for bad in ("x", flipped, token + "AAAA", "ä" * 8, token[:-4]):
            code, details = await refused(
                (service.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(resume_token=bad))).read()
            )
            assert code is grpc.StatusCode.INVALID_ARGUMENT, bad
            assert "resume_token: was not made by this store" in details
    async with serving(partial(StoreConfig, folder=str(tmp_path / "b"))) as service:  # the key is that of one store
        call = service.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(resume_token=token))
        assert (await refused(call.read()))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_past_retention_there_is_a_gap_if_the_client_accepts_one(place: Place) -> None:
    async with serving(place) as service:
        watch = await service.watch()
        await service.offer(summary("t1"))
        token = (await read(watch, 1))[0].resume_token
        await service.offer(summary("t2"), final("t1"))
        now = datetime.now(UTC)
        await service.offer(final("t2"))
        retention = service.stored.store._retention
        await retention.run(service.stored.store._transaction, now + timedelta(days=30))
        call = service.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(resume_token=token))
        code, details = await refused(call.read())
        assert code is grpc.StatusCode.OUT_OF_RANGE
        assert details.startswith("2 events after this token are no longer stored (2 to 3)")
        gap, rest = await service.resumed(2, resume_token=token, allow_gap=True)
        assert gap.type == tracks_pb2.EVENT_TYPE_GAP
        assert (getattr(gap.gap, "from"), gap.gap.to, gap.gap.count) == (2, 3, 2)
        assert events_of([rest]) == [("END", "t2", 99)]
        assert events_of(await service.resumed(1, resume_token=gap.resume_token)) == [("END", "t2", 99)]
        await retention.run(service.stored.store._transaction, now + timedelta(days=31))  # all is gone
        (gap,) = await service.resumed(1, resume_token=token, allow_gap=True)
        assert (getattr(gap.gap, "from"), gap.gap.to, gap.gap.count) == (2, 4, 3)
    async with serving(place) as service:  # an empty log does not begin at 1 again
        await service.offer(summary("t3"))
        gap, new = await service.resumed(2, resume_token=token, allow_gap=True)
        assert (gap.gap.to, new.log_sequence) == (4, 5)


async def test_a_watch_can_begin_at_a_time(place: Place) -> None:
    async with serving(place) as service:
        await service.offer(summary("t1"))
        await asyncio.sleep(0.01)
        moment = Timestamp()
        moment.GetCurrentTime()
        await service.offer(summary("t2"), summary("t3"))
        assert events_of(await service.resumed(2, since=moment)) == [("NEW", "t2", 1), ("NEW", "t3", 1)]
        everything = await service.resumed(3, since=Timestamp(seconds=1))
        assert [track for _, track, _ in events_of(everything)] == ["t1", "t2", "t3"]
        future = Timestamp(seconds=int(time.time()) + 3600)
        watch = await service.watch(since=future)
        await service.offer(summary("t4"))
        assert events_of(await read(watch, 1)) == [("NEW", "t4", 1)]
        both = tracks_pb2.WatchTracksRequest(since=moment, resume_token=everything[0].resume_token)
        code, details = await refused(service.tracks.WatchTracks(both).read())
        assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, "since: not together with resume_token")


async def test_a_long_way_back_is_read_in_parts_while_events_go_on(place: Place) -> None:
    async with serving(place) as service:
        watch = await service.watch()
        await service.offer(summary("t"))
        token = (await read(watch, 1))[0].resume_token
        watch.cancel()
        for number in range(12):
            await service.offer(*(summary(f"t{number:02}{index:02}") for index in range(100)))
        watch = await service.watch(resume_token=token)
        seen = await read(watch, 700)
        await service.offer(*(summary(f"u{index:02}") for index in range(50)))
        seen += await read(watch, 550)
        assert [one.log_sequence for one in seen] == list(range(2, 1252))


async def test_without_a_store_there_are_no_tokens_and_no_past() -> None:
    config = Publish(listen="127.0.0.1:0")
    hub = Hub(config)
    server = await start_server(config, hub, KeptCameras(), dict)
    async with aio.insecure_channel(server.address) as channel:
        stub = tracks_pb2_grpc.TrackServiceStub(channel)
        watch = stub.WatchTracks(tracks_pb2.WatchTracksRequest())
        await watch.initial_metadata()
        hub.offer(summary("t1"), time.monotonic())
        (message,) = await read(watch, 1)
        assert (message.resume_token, message.log_sequence, message.unstored) == ("", 0, False)
        call = stub.WatchTracks(tracks_pb2.WatchTracksRequest(resume_token="x"))
        assert (await refused(call.read()))[0] is grpc.StatusCode.FAILED_PRECONDITION
        past = stub.ListTracks(tracks_pb2.ListTracksRequest(past=True))
        assert (await refused(past))[0] is grpc.StatusCode.FAILED_PRECONDITION
    await server.stop(0)


async def test_an_unknown_stream_is_not_found(place: Place) -> None:
    async with serving(place) as service:
        await service.offer(summary("t1", camera="gone"), final("t1", "gone"))
        for call in (
            service.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(stream_ids=["door", "dor"])).read(),
            service.tracks.ListTracks(tracks_pb2.ListTracksRequest(stream_ids=["door", "dor"])),
            service.tracks.ListTracks(tracks_pb2.ListTracksRequest(filter=tracks_pb2.TrackFilter(stream_ids=["dor"]))),
        ):
            assert await refused(call) == (grpc.StatusCode.NOT_FOUND, "stream_ids: there is no stream 'dor'")
        request = tracks_pb2.ListTracksRequest(stream_ids=["gone"], past=True)  # it had tracks
        assert [track.track_id for track in (await service.tracks.ListTracks(request)).tracks] == ["t1"]


async def test_a_page_token_that_is_not_from_here_is_refused(place: Place) -> None:
    async with serving(place) as service:
        for token in ("x", "abcd", "ä"):
            for call in (
                service.tracks.ListTracks(tracks_pb2.ListTracksRequest(page_token=token)),
                service.streams.ListStreams(streams_pb2.ListStreamsRequest(page_token=token)),
                service.system.ListModels(system_pb2.ListModelsRequest(page_token=token)),
            ):
                code, details = await refused(call)
                assert code is grpc.StatusCode.INVALID_ARGUMENT
                assert details.startswith("page_token: ")


async def test_past_tracks_are_listed_in_pages_and_got_with_their_picture(place: Place) -> None:
    async with serving(place, faces=True) as service:
        names = [f"t{number}" for number in range(7)]
        await service.offer(*(summary(name) for name in names))
        service.stored.store.see("t1", builders.crop())
        await service.offer(*(final(name) for name in names[:5]))
        pages: list[list[str]] = []
        token = ""
        while token or not pages:
            request = tracks_pb2.ListTracksRequest(past=True, page_size=3, page_token=token)
            answer = await service.tracks.ListTracks(request)
            pages.append([track.track_id for track in answer.tracks])
            token = answer.next_page_token
        assert pages == [names[:3], names[3:6], names[6:]]
        live = await service.tracks.ListTracks(tracks_pb2.ListTracksRequest())
        assert [track.track_id for track in live.tracks] == names[5:]
        assert dict(live.faces_jpeg) == {}
        faces = await service.tracks.ListTracks(tracks_pb2.ListTracksRequest(past=True, page_size=3, include_face=True))
        assert [(name, jpeg[:2]) for name, jpeg in faces.faces_jpeg.items()] == [("t1", b"\xff\xd8")]
    async with serving(place) as service:  # the hub knows nothing of them
        got = await service.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id="t1", include_face=True))
        assert got.track.end_reason == tracks_pb2.END_REASON_TIMEOUT
        assert got.face_jpeg[:2] == b"\xff\xd8"
        missing = service.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id="t99"))
        assert (await refused(missing))[0] is grpc.StatusCode.NOT_FOUND


FIRST = datetime(2030, 1, 1, 12, tzinfo=UTC)


def person(name: str, number: int, **changes: Any) -> dict[str, Any]:
    """Values of a track that was seen for a minute, `number` hours after FIRST."""
    shares = np.zeros(7, np.float32)
    shares[changes.pop("expression")] = 1
    evidence = builders.evidence()
    seen = FIRST + timedelta(hours=number)
    return {
        "age": AgeEstimate(changes.pop("age"), 0, 99, evidence),
        "expression": ExpressionEstimate(None, 0, shares, (), evidence),
        "first_captured_at": seen,
        "captured_at": seen + timedelta(minutes=1),
        "decision": decision_for(name),
        **changes,
    }


def decision_for(name: str) -> IdentityDecision:
    status = IdentityStatus.IDENTIFIED if name else IdentityStatus.UNKNOWN
    return IdentityDecision(status, name, None, (), None, 0.4, 3, 0.5, 1)


@pytest.mark.parametrize("ended", [True, False])
async def test_one_filter_finds_live_and_past_tracks(place: Place, ended: bool) -> None:
    wanted: dict[str, dict[str, Any]] = {
        "ann": person("ann", 0, age=30.0, expression=3),
        "bob": person("bob", 5, age=60.0, expression=6),
        "none": person("", 9, age=8.0, expression=6),
    }
    async with serving(place) as service:
        for name, values in wanted.items():
            await service.offer(
                (final if ended else summary)(name, camera="yard" if name == "bob" else "door", **values)
            )

        async def found(**fields: Any) -> list[str]:
            request = tracks_pb2.ListTracksRequest(past=True, filter=tracks_pb2.TrackFilter(**fields))
            return [track.track_id for track in (await service.tracks.ListTracks(request)).tracks]

        def at(hours: float) -> Timestamp:
            moment = Timestamp()
            moment.FromDatetime(FIRST + timedelta(hours=hours))
            return moment

        assert await found() == ["ann", "bob", "none"]
        assert await found(stream_ids=["yard"]) == ["bob"]
        assert await found(persons=["ann", "bob"]) == ["ann", "bob"]
        assert await found(min_age_years=20) == ["ann", "bob"]
        assert await found(min_age_years=20, max_age_years=40) == ["ann"]
        assert await found(max_age_years=0) == []
        assert await found(expressions=[faces_pb2.EXPRESSION_NEUTRAL]) == ["bob", "none"]
        assert await found(seen_since=at(1)) == ["bob", "none"]
        assert await found(seen_since=at(0.01)) == ["ann", "bob", "none"]  # it was still there
        assert await found(seen_before=at(5)) == ["ann"]
        assert await found(seen_since=at(1), seen_before=at(6)) == ["bob"]
        state = tracks_pb2.TRACK_STATE_ENDED if ended else tracks_pb2.TRACK_STATE_CONFIRMED
        assert await found(states=[state], described=True) == ["ann", "bob", "none"]
        assert await found(states=[tracks_pb2.TRACK_STATE_LOST]) == []
        assert await found(attributes=[faces_pb2.ATTRIBUTE_MALE]) == []
        for wrong in (
            {"seen_since": at(6), "seen_before": at(1)},
            {"min_age_years": 5, "max_age_years": 4},
            {"states": [99]},
        ):
            request = tracks_pb2.ListTracksRequest(filter=tracks_pb2.TrackFilter(**wrong))
            code, details = await refused(service.tracks.ListTracks(request))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert details.startswith("filter.")


async def test_the_store_has_a_health_of_its_own(place: Place) -> None:
    async with serving(place) as service:
        request = health_pb2.HealthCheckRequest(service="faceanalytics.store")
        assert (await service.health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        service.server.set_storing(False)
        assert (await service.health.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_the_newest_tracks_come_first_and_are_counted_by_hour(place: Place) -> None:
    begun = datetime(2026, 3, 4, 22, 59, 59, tzinfo=UTC)
    ada = (Candidate("Ada", 0.8),)
    known = IdentityDecision(IdentityStatus.IDENTIFIED, "Ada", None, ada, 0.3, 0.4, 3, 0.9, 1)
    async with serving(place) as service:
        names = [f"t{number}" for number in range(5)]
        await service.offer(*(summary(name) for name in names))
        for number, name in enumerate(names[:4]):
            at = begun + timedelta(seconds=2 * number)
            named = known if number else None
            await service.offer(final(name, first_captured_at=at, captured_at=at, decision=named))
        pages: list[list[str]] = []
        token = ""
        while token or not pages:
            request = tracks_pb2.ListTracksRequest(past=True, newest_first=True, page_size=2, page_token=token)
            answer = await service.tracks.ListTracks(request)
            pages.append([track.track_id for track in answer.tracks])
            token = answer.next_page_token
        assert pages == [["t4", "t3"], ["t2", "t1"], ["t0"]]
        unnamed = tracks_pb2.TrackFilter(unnamed=True)
        strangers = await service.tracks.ListTracks(tracks_pb2.ListTracksRequest(past=True, filter=unnamed))
        assert [track.track_id for track in strangers.tracks] == ["t0", "t4"]
        wanted = tracks_pb2.TrackFilter(states=[tracks_pb2.TRACK_STATE_ENDED])
        counted = await service.tracks.CountTracks(tracks_pb2.CountTracksRequest(filter=wanted))
        assert [(one.hour.ToDatetime(UTC).hour, one.tracks) for one in counted.hours] == [(22, 1), (23, 3)]
        everything = await service.tracks.CountTracks(tracks_pb2.CountTracksRequest())
        assert sum(one.tracks for one in everything.hours) == 5
        both = tracks_pb2.TrackFilter(unnamed=True, persons=["Ada"])
        code, details = await refused(service.tracks.CountTracks(tracks_pb2.CountTracksRequest(filter=both)))
        assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, "filter.unnamed: not together with persons")
