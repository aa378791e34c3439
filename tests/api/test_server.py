"""A real server and real channels."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import REGISTRY

from faceanalytics.errors import ConfigError
from faceanalytics.v1 import (
    faces_pb2,
    streams_pb2,
    streams_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
    tracks_pb2,
    tracks_pb2_grpc,
)
from streamer.api.authorisation import RULES
from streamer.api.server import Server, start_server
from streamer.api.streams import stream_fields
from streamer.api.track_messages import SEGMENTS, to_proto
from streamer.config import Publish, Reconnect, Sources, Stream
from streamer.hub import Hub
from streamer.privacy import Modes, Privacy
from streamer.values import (
    AgeEstimate,
    AttributeEstimate,
    ClockSource,
    EndReason,
    ExpressionEstimate,
    IdentityEstimate,
    LinkQuality,
    Presence,
    Reason,
    Segment,
    SourceErrorCode,
    SourceState,
    SourceStatus,
    TooManyStreams,
    TrackKey,
    TrackState,
    TrackSummary,
    Undescribed,
)
from tests.support import builders
from tests.support.patience import FOREVER_S, WAIT_S

Watch = aio.UnaryStreamCall[tracks_pb2.WatchTracksRequest, tracks_pb2.WatchTracksResponse]
TEMPLATE = np.eye(1, 512, 3, dtype=np.float32)[0]
STARTED = SourceStatus(SourceState.CONNECTING)


class KeptCameras:
    """Streams that are kept and never connected."""

    def __init__(self, *streams: Stream, sources: Sources | None = None) -> None:
        self.sources = sources or Sources(folders=("/",))
        self.modes = Modes(Privacy())
        self._streams = {stream.id: (stream, STARTED) for stream in streams}

    def add(self, stream: Stream) -> None:
        if stream.id in self._streams:
            raise ValueError(stream.id)
        if len(self._streams) >= self.sources.max_streams:
            raise TooManyStreams("too many")
        self._streams[stream.id] = (stream, STARTED)

    def replace(self, stream: Stream) -> None:
        self._streams[stream.id]
        status = SourceStatus(SourceState.CONNECTING if stream.enabled else SourceState.PAUSED)
        self._streams[stream.id] = (stream, status)

    def remove(self, stream_id: str) -> None:
        del self._streams[stream_id]

    def get(self, stream_id: str) -> tuple[Stream, SourceStatus]:
        return self._streams[stream_id]

    def list(self) -> list[tuple[Stream, SourceStatus]]:
        return [*self._streams.values()]

    def report(self, stream_id: str, status: SourceStatus) -> None:
        """What the reader of a real camera would do."""
        self._streams[stream_id] = (self._streams[stream_id][0], status)


def summary(track: str = "t1", revision: int = 1, camera: str = "door", **changes: Any) -> TrackSummary:
    """One whose values all differ from the messages' defaults, with an identity."""
    values: dict[str, Any] = {
        "key": TrackKey(track, camera, 7),
        "epoch": 2,
        "first_seen": 0.5,
        "time": 1.5,
        "box": np.array([10, 20, 40, 60], np.float32),
        "score": 0.5,
        "quality": 0.25,
        "identity": IdentityEstimate(TEMPLATE, 0.875, 2, builders.evidence(samples=1, revision=3)),
    }
    return builders.summary(revision=revision, **(values | changes))


def final(track: str = "t1", camera: str = "door") -> TrackSummary:
    return summary(track, 99, camera, state=TrackState.ENDED, final=True, end_reason=EndReason.SHUTDOWN)


class Service:
    """A running server, what feeds it, and a channel to it."""

    def __init__(self, hub: Hub, server: Server, cameras: KeptCameras, channel: aio.Channel) -> None:
        self.hub, self.server, self.cameras, self.channel = hub, server, cameras, channel
        self.tracks = tracks_pb2_grpc.TrackServiceStub(channel)
        self.system = system_pb2_grpc.SystemServiceStub(channel)
        self.streams = streams_pb2_grpc.StreamServiceStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)

    def offer(self, *summaries: TrackSummary) -> None:
        for one in summaries:
            self.hub.offer(one, time.monotonic())

    async def watch(self, **request: Any) -> Watch:
        """A watch that has begun: it misses nothing from here on."""
        call: Watch = self.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(**request))
        await call.initial_metadata()
        return call


@asynccontextmanager
async def serving(cameras: KeptCameras | None = None, **settings: Any) -> AsyncIterator[Service]:
    config = Publish(listen="127.0.0.1:0", **settings)
    hub, kept = Hub(config), cameras or KeptCameras()
    server = await start_server(config, hub, kept, lambda: {builders.SMALL: 2, builders.model(): 1})
    try:
        async with aio.insecure_channel(server.address) as channel:
            yield Service(hub, server, kept, channel)
    finally:
        await server.stop(0)


async def read(call: Watch, count: int) -> list[tracks_pb2.WatchTracksResponse]:
    async with asyncio.timeout(WAIT_S):
        messages = [await call.read() for _ in range(count)]
    assert all(isinstance(message, tracks_pb2.WatchTracksResponse) for message in messages)
    return messages  # type: ignore[return-value]


async def read_all(call: Watch, messages: list[tracks_pb2.WatchTracksResponse]) -> None:
    """Until the end of the stream."""
    async with asyncio.timeout(WAIT_S):
        while isinstance(message := await call.read(), tracks_pb2.WatchTracksResponse):
            messages.append(message)


def events_of(messages: Sequence[tracks_pb2.WatchTracksResponse]) -> list[tuple[str, str, int]]:
    """Kind, track and revision."""
    return [
        (tracks_pb2.EventType.Name(one.type).removeprefix("EVENT_TYPE_"), one.track.track_id, one.track.revision)
        for one in messages
    ]


def pauses(messages: Sequence[tracks_pb2.WatchTracksResponse]) -> list[float]:
    """Seconds from each message to the next, by the clock of the server."""
    times = [message.published_at.ToDatetime(UTC) for message in messages]
    return [(later - earlier).total_seconds() for earlier, later in pairwise(times)]


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"faceanalytics_{name}") or 0.0


# --- tracks


async def test_a_watch_begins_with_the_live_tracks_and_goes_on_with_the_changes() -> None:
    async with serving() as service:
        service.offer(summary("t1"), summary("t2"), final("t2"))
        watch = await service.watch(snapshot=True)
        service.offer(summary("t3"))
        assert events_of(await read(watch, 3)) == [("SNAPSHOT", "t1", 1), ("SNAPSHOT_END", "", 0), ("NEW", "t3", 1)]
        service.offer(summary("t1", 2))
        assert events_of(await read(watch, 1)) == [("UPDATE", "t1", 2)]
        service.offer(final("t1"), final("t3"))
        messages = await read(watch, 2)
        assert events_of(messages) == [("END", "t1", 99), ("END", "t3", 99)]
        assert messages[0].track.final
        assert messages[0].track.end_reason == tracks_pb2.END_REASON_SHUTDOWN


async def test_messages_are_counted_without_holes_and_say_when_they_were_published() -> None:
    async with serving(heartbeat_s=0.05) as service:
        before = datetime.now(UTC)
        watch = await service.watch(snapshot=True)
        service.offer(summary("t1"), final("t1"))
        messages = await read(watch, 6)
        assert [message.sequence for message in messages] == [1, 2, 3, 4, 5, 6]
        times = [message.published_at.ToDatetime(UTC) for message in messages]
        assert before <= times[0] <= times[-1] <= datetime.now(UTC)


async def test_a_silent_watch_has_a_heartbeat() -> None:
    async with serving(heartbeat_s=0.1) as service:
        messages = await read(await service.watch(), 3)
        assert events_of(messages) == [("HEARTBEAT", "", 0)] * 3
        assert all(pause > 0.09 for pause in pauses(messages))


async def test_a_watch_hears_only_of_its_streams() -> None:
    async with serving() as service:
        service.offer(summary("t1", camera="door"), summary("t2", camera="yard"))
        watch = await service.watch(stream_ids=["yard"], snapshot=True)
        service.offer(final("t1", "door"), final("t2", "yard"))
        assert events_of(await read(watch, 3)) == [("SNAPSHOT", "t2", 1), ("SNAPSHOT_END", "", 0), ("END", "t2", 99)]


async def test_the_embedding_is_sent_only_if_asked_for() -> None:
    async with serving() as service:
        with_it, without = await service.watch(include_embedding=True), await service.watch()
        service.offer(summary())
        (message,) = await read(with_it, 1)
        assert list(message.track.identity.embedding) == TEMPLATE.tolist()
        (message,) = await read(without, 1)
        assert list(message.track.identity.embedding) == []
        assert message.track.identity.evidence.samples == 1
        found = await service.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id="t1", include_embedding=True))
        assert len(found.track.identity.embedding) == 512
        listed = await service.tracks.ListTracks(tracks_pb2.ListTracksRequest())
        assert list(listed.tracks[0].identity.embedding) == []


async def test_updates_coalesce_while_a_minimum_interval_passes() -> None:
    async with serving() as service:
        watch = await service.watch(min_interval=Duration(nanos=300_000_000))
        service.offer(summary(revision=1), summary(revision=2))
        messages = await read(watch, 2)
        assert events_of(messages) == [("NEW", "t1", 1), ("UPDATE", "t1", 2)]
        for revision in range(3, 10):
            service.offer(summary(revision=revision))
        messages += await read(watch, 1)
        assert events_of(messages[2:]) == [("UPDATE", "t1", 9)]
        assert pauses(messages)[1] > 0.29


async def test_a_negative_minimum_interval_is_refused() -> None:
    async with serving() as service:
        watch = service.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(min_interval=Duration(seconds=-1)))
        code, details = await refused(watch.read())
        assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, "min_interval: must not be negative")


async def test_a_client_that_goes_away_is_no_subscriber_any_more() -> None:
    before = metric("subscribers")
    async with serving() as service:
        watch = await service.watch()
        assert metric("subscribers") == before + 1
        watch.cancel()
        async with asyncio.timeout(WAIT_S):
            while metric("subscribers") != before:
                await asyncio.sleep(0.01)


async def test_a_subscriber_that_stops_reading_disturbs_no_one_and_is_disconnected() -> None:
    dropped = metric("subscriber_dropped_total")
    async with serving(max_pending=64) as service, aio.insecure_channel(service.server.address) as other:
        reader = await service.watch(include_embedding=True)
        sleeping = tracks_pb2_grpc.TrackServiceStub(other).WatchTracks(
            tracks_pb2.WatchTracksRequest(include_embedding=True)
        )
        await sleeping.initial_metadata()
        seen: list[tracks_pb2.WatchTracksResponse] = []
        while metric("subscriber_dropped_total") == dropped:
            assert len(seen) < 20_000
            service.offer(*(summary(f"t{len(seen) + index:05}") for index in range(32)))
            seen += await read(reader, 32)
        assert [message.sequence for message in seen] == list(range(1, len(seen) + 1))
        assert [message.track.track_id for message in seen] == [f"t{index:05}" for index in range(len(seen))]
        # the sleeper wakes: it gets what was under way to it, in order, and then the reason
        buffered: list[tracks_pb2.WatchTracksResponse] = []
        with pytest.raises(aio.AioRpcError) as caught:
            await read_all(sleeping, buffered)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "more than 64 events waited" in (caught.value.details() or "")
        assert events_of(buffered) == events_of(seen[: len(buffered)])
        assert len(buffered) < len(seen) - 64


async def test_each_subscriber_gets_what_waits_for_it_before_the_server_stops() -> None:
    async with serving() as service:
        watches = [await service.watch() for _ in range(3)]
        names = [f"t{index:03}" for index in range(500)]
        service.offer(*(summary(name) for name in names))
        service.offer(*(final(name) for name in names))
        stopping = asyncio.create_task(service.server.stop(FOREVER_S))
        for watch in watches:
            messages: list[tracks_pb2.WatchTracksResponse] = []
            await read_all(watch, messages)
            assert events_of(messages) == [("NEW", name, 1) for name in names] + [("END", name, 99) for name in names]
            assert await watch.code() is grpc.StatusCode.OK
        await asyncio.wait_for(stopping, WAIT_S)


async def test_a_subscriber_that_does_not_read_cannot_hold_the_stop_up_beyond_the_grace() -> None:
    async with serving() as service, aio.insecure_channel(service.server.address) as other:
        reading = await service.watch()
        sleeping = tracks_pb2_grpc.TrackServiceStub(other).WatchTracks(
            tracks_pb2.WatchTracksRequest(include_embedding=True)
        )
        await sleeping.initial_metadata()
        for start in range(0, 4000, 100):  # more than the buffers on the way take
            service.offer(*(summary(f"t{index:05}") for index in range(start, start + 100)))
            assert len(await read(reading, 100)) == 100
        service.offer(final("t00000"))
        stopping = asyncio.create_task(service.server.stop(2.0))
        last: list[tracks_pb2.WatchTracksResponse] = []
        await read_all(reading, last)
        assert events_of(last) == [("END", "t00000", 99)]
        await asyncio.wait_for(stopping, WAIT_S)
        with pytest.raises(aio.AioRpcError) as caught:
            await read_all(sleeping, [])
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_one_track_can_be_got_also_after_its_end() -> None:
    async with serving() as service:
        service.offer(summary("t1"))
        answer = await service.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id="t1"))
        assert answer.track.state == tracks_pb2.TRACK_STATE_CONFIRMED
        service.offer(final("t1"))
        answer = await service.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id="t1"))
        assert answer.track.state == tracks_pb2.TRACK_STATE_ENDED
        code, details = await refused(service.tracks.GetTrack(tracks_pb2.GetTrackRequest(track_id="t9")))
        assert code is grpc.StatusCode.NOT_FOUND
        assert "'t9'" in details


async def test_the_live_tracks_are_listed_in_pages() -> None:
    async with serving() as service:
        service.offer(*(summary(f"t{index}", camera="door" if index % 2 else "yard") for index in range(7)))
        pages: list[list[str]] = []
        token = ""
        while token or not pages:
            request = tracks_pb2.ListTracksRequest(stream_ids=["yard"], page_size=3, page_token=token)
            answer = await service.tracks.ListTracks(request)
            pages.append([track.track_id for track in answer.tracks])
            token = answer.next_page_token
        assert pages == [["t0", "t2", "t4"], ["t6"]]


def test_a_summary_becomes_a_message_with_all_that_is_known() -> None:
    evidence = builders.evidence(samples=2, best_quality=0.5, last_inferred=1.25, revision=3)
    lasted = tuple(Segment(index % 7, float(index), index + 0.5, 0.75) for index in range(SEGMENTS + 3))
    shown = np.array([0, 0, 0, 0.75, 0, 0, 0.25], np.float32)
    expression = ExpressionEstimate(3, 1.25, shown, lasted, evidence)
    presence = (Presence.PRESENT, Presence.ABSENT, *[Presence.UNDECIDED] * 38)
    attributes = np.linspace(0, 1, 40, dtype=np.float32)
    track = to_proto(
        summary(
            first_captured_at=datetime(2030, 1, 1, 12, 0, 0, 250_000, UTC),
            captured_at=datetime(2030, 1, 1, 12, 0, 1, 250_000, UTC),
            clock_source=ClockSource.RTCP_NTP,
            landmarks=np.arange(10, dtype=np.float32).reshape(5, 2),
            reasons=(Reason.EXTREME_POSE, Reason.LOW_SHARPNESS),
            age=AgeEstimate(31.5, 25.0, 38.0, evidence),
            expression=expression,
            attributes=AttributeEstimate(tuple(range(40)), attributes, presence, evidence),
            samples=2,
            model_id="a",
            split_from="t0",
        )
    )
    assert (track.track_id, track.stream_id, track.stream_epoch, track.number) == ("t1", "door", 2, 7)
    assert (track.box.x, track.box.y, track.box.width, track.box.height) == (10, 20, 30, 40)
    assert (track.landmarks.left_eye.x, track.landmarks.mouth_right.y) == (0, 9)
    assert (track.frame_width, track.frame_height) == (640, 480)
    assert track.first_captured_at.ToJsonString() == "2030-01-01T12:00:00.250Z"
    assert not to_proto(summary()).HasField("last_captured_at")
    assert track.clock_source == tracks_pb2.CLOCK_SOURCE_RTCP_NTP
    assert list(track.reasons) == [tracks_pb2.REASON_EXTREME_POSE, tracks_pb2.REASON_LOW_SHARPNESS]
    assert (track.age.years, track.age.low_years, track.age.high_years) == (31.5, 25.0, 38.0)
    age_evidence = track.age.evidence
    assert (
        age_evidence.samples,
        age_evidence.best_quality,
        age_evidence.last_inferred_s,
        age_evidence.revision,
        age_evidence.final,
    ) == (
        2,
        0.5,
        1.25,
        3,
        False,
    )
    # a quarter of a second before the face was last seen
    assert age_evidence.last_inferred_at.ToJsonString() == "2030-01-01T12:00:01Z"
    assert not to_proto(summary()).identity.evidence.HasField("last_inferred_at")
    assert (track.identity.consistency, track.identity.outliers) == (0.875, 2)
    assert track.expression.appears == faces_pb2.EXPRESSION_HAPPINESS
    shares = {share.expression: share.share for share in track.expression.distribution}
    assert len(shares) == 7
    assert shares[faces_pb2.EXPRESSION_HAPPINESS] == 0.75
    assert shares[faces_pb2.EXPRESSION_NEUTRAL] == 0.25
    assert [score.attribute for score in track.attributes.scores] == list(range(1, 41))
    assert [score.score for score in track.attributes.scores] == attributes.tolist()
    assert [score.presence for score in track.attributes.scores[:3]] == [
        tracks_pb2.PRESENCE_PRESENT, tracks_pb2.PRESENCE_ABSENT, tracks_pb2.PRESENCE_UNDECIDED
    ]  # fmt: skip
    assert [(one.start_s, one.end_s) for one in track.expression.timeline] == [
        (one.start, one.end) for one in lasted[3:]
    ]
    assert track.split_from == "t0"
    assert (track.samples, track.model_id, track.revision, track.final) == (2, "a", 1, False)
    assert track.end_reason == tracks_pb2.END_REASON_UNSPECIFIED


def test_what_the_model_does_not_tell_is_absent_in_the_message() -> None:
    male = AttributeEstimate((4,), np.array([0.75], np.float32), (Presence.UNDECIDED,), builders.evidence())
    track = to_proto(summary(attributes=male, identity=None, samples=1, model_id="small"))
    assert [(one.attribute, one.score) for one in track.attributes.scores] == [(faces_pb2.ATTRIBUTE_MALE, 0.75)]
    assert [track.HasField(name) for name in ("age", "expression", "identity")] == [False] * 3


async def test_clients_see_which_models_there_are_and_what_they_tell() -> None:
    async with serving() as service:
        small, full = (await service.system.ListModels(system_pb2.ListModelsRequest())).models
        one = await service.system.ListModels(system_pb2.ListModelsRequest(page_size=1))
        rest = await service.system.ListModels(system_pb2.ListModelsRequest(page_token=one.next_page_token))
    assert (small.model_id, small.workers, small.licence) == ("small", 2, "research only")
    assert (small.has_age, small.has_expression, small.has_identity) == (True, True, True)
    assert list(small.attributes) == [faces_pb2.ATTRIBUTE_MALE]
    assert (full.model_id, full.workers, len(full.attributes)) == ("test", 1, 40)
    assert ([*one.models], [*rest.models], rest.next_page_token) == ([small], [full], "")


# --- streams

SECRET = "rtsp://user:pass@camera:554/live?token=1"
SHOWN = "rtsp://camera:554/live"
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
NOON_S = int(NOON.timestamp())
HALF_A_SECOND = timedelta(seconds=0.5)


async def test_a_stream_is_created_got_listed_and_deleted() -> None:
    async with serving() as service:
        settings = streams_pb2.StreamSettings(uri=SECRET, transport=streams_pb2.TRANSPORT_UDP, max_fps=12.5)
        request = streams_pb2.CreateStreamRequest(stream_id="door", settings=settings)
        made = (await service.streams.CreateStream(request)).stream
        assert (made.stream_id, made.settings.uri, made.settings.max_fps) == ("door", SHOWN, 12.5)
        assert (made.settings.transport, made.state) == (streams_pb2.TRANSPORT_UDP, streams_pb2.STREAM_STATE_CONNECTING)
        assert service.cameras.get("door")[0] == Stream(id="door", uri=SECRET, transport="udp", max_fps=12.5)
        got = await service.streams.GetStream(streams_pb2.GetStreamRequest(stream_id="door"))
        assert got.stream == made
        listed = await service.streams.ListStreams(streams_pb2.ListStreamsRequest())
        assert list(listed.streams) == [made]
        await service.streams.DeleteStream(streams_pb2.DeleteStreamRequest(stream_id="door"))
        assert service.cameras.list() == []


async def test_absent_settings_are_the_defaults_of_the_configuration() -> None:
    async with serving() as service:
        settings = streams_pb2.StreamSettings(uri="a.mp4", connect_timeout=Duration(seconds=2, nanos=500_000_000))
        await service.streams.CreateStream(streams_pb2.CreateStreamRequest(stream_id="a", settings=settings))
        assert service.cameras.get("a")[0] == Stream(id="a", uri="a.mp4", connect_timeout_s=2.5)


async def test_a_stream_says_how_it_is_doing() -> None:
    status = SourceStatus(
        SourceState.RECONNECTING,
        SourceErrorCode.AUTH_FAILED,
        "wrong password",
        epoch=2,
        connects=3,
        since=NOON,
        next_retry=NOON + timedelta(seconds=8),
        codec="h264",
        clock_source=ClockSource.RTCP_NTP,
        width=640,
        height=360,
        last_frame=NOON - timedelta(seconds=1),
        frames_decoded=400,
        frames_missing=7,
        frames_analysed=100,
        frames_dropped={"overload": 290, "max_fps": 10},
        fps_in=25.0,
        fps_analysed=6.25,
        frame_age=0.5,
        overloaded=True,
        link_quality=LinkQuality.POOR,
    )
    async with serving(KeptCameras(Stream(id="door", uri=SECRET))) as service:
        service.cameras.report("door", status)
        stream = (await service.streams.GetStream(streams_pb2.GetStreamRequest(stream_id="door"))).stream
        assert stream.state == streams_pb2.STREAM_STATE_RECONNECTING
        assert stream.error_code == streams_pb2.STREAM_ERROR_CODE_AUTH_FAILED
        assert (stream.error_message, stream.epoch, stream.connects) == ("wrong password", 2, 3)
        assert (stream.frames_decoded, stream.frame_width, stream.frame_height) == (400, 640, 360)
        assert stream.state_since.ToDatetime(UTC) == NOON
        assert (stream.next_retry_at.seconds, stream.last_frame_at.seconds) == (NOON_S + 8, NOON_S - 1)
        assert (stream.codec, stream.clock_source) == ("h264", tracks_pb2.CLOCK_SOURCE_RTCP_NTP)
        assert (stream.frames_analysed, stream.frames_missing) == (100, 7)
        assert stream.frames_dropped == {"overload": 290, "max_fps": 10}
        assert (stream.fps_in, stream.fps_analysed, stream.frame_age.ToTimedelta()) == (25.0, 6.25, HALF_A_SECOND)
        assert (stream.overloaded, stream.link_quality) == (True, streams_pb2.LINK_QUALITY_POOR)


async def test_what_is_not_known_of_a_stream_is_absent() -> None:
    async with serving(KeptCameras(Stream(id="door", uri=SECRET))) as service:
        stream = (await service.streams.GetStream(streams_pb2.GetStreamRequest(stream_id="door"))).stream
    given = {field.name for field, _ in stream.ListFields()}
    assert given == {"stream_id", "settings", "state", "origin", "privacy_mode"}


async def test_the_streams_are_listed_by_id_in_pages() -> None:
    async with serving(KeptCameras(*(Stream(id=name, uri="x.mp4") for name in "cab"))) as service:
        first = await service.streams.ListStreams(streams_pb2.ListStreamsRequest(page_size=2))
        rest = await service.streams.ListStreams(streams_pb2.ListStreamsRequest(page_token=first.next_page_token))
        assert [stream.stream_id for stream in first.streams] == ["a", "b"]
        assert [stream.stream_id for stream in rest.streams] == ["c"]
        assert rest.next_page_token == ""


async def test_an_update_changes_what_its_mask_names() -> None:
    before = Stream(id="door", uri=SECRET, transport="udp", max_fps=5, first_frame_timeout_s=3)
    async with serving(KeptCameras(before)) as service:
        settings = streams_pb2.StreamSettings(paused=True, uri="ignored", max_fps=9)
        request = streams_pb2.UpdateStreamRequest(
            stream_id="door", settings=settings, update_mask=FieldMask(paths=["paused", "max_fps"])
        )
        answer = await service.streams.UpdateStream(request)
        assert service.cameras.get("door")[0] == before.model_copy(update={"enabled": False, "max_fps": 9.0})
        assert answer.stream.state == streams_pb2.STREAM_STATE_PAUSED


async def test_an_answer_that_is_sent_back_does_not_lose_the_password() -> None:
    async with serving(KeptCameras(Stream(id="door", uri=SECRET))) as service:
        settings = (await service.streams.GetStream(streams_pb2.GetStreamRequest(stream_id="door"))).stream.settings
        settings.paused = True
        request = streams_pb2.UpdateStreamRequest(stream_id="door", settings=settings)
        await service.streams.UpdateStream(request)
        stream, _ = service.cameras.get("door")
        assert (stream.uri, stream.enabled) == (SECRET, False)


async def test_an_address_named_in_the_mask_is_taken_as_it_is() -> None:
    async with serving(KeptCameras(Stream(id="door", uri=SECRET))) as service:
        request = streams_pb2.UpdateStreamRequest(
            stream_id="door", settings=streams_pb2.StreamSettings(uri=SHOWN), update_mask=FieldMask(paths=["uri"])
        )
        await service.streams.UpdateStream(request)
        assert service.cameras.get("door")[0].uri == SHOWN


async def test_an_address_in_a_file_can_be_shown_kept_and_replaced(tmp_path: Any) -> None:
    secret = tmp_path / "uri"
    secret.write_text(SECRET + "\n")
    async with serving(KeptCameras(Stream.model_validate({"id": "door", "uri_file": str(secret)}))) as service:
        settings = (await service.streams.GetStream(streams_pb2.GetStreamRequest(stream_id="door"))).stream.settings
        assert settings.uri == SHOWN
        await service.streams.UpdateStream(streams_pb2.UpdateStreamRequest(stream_id="door", settings=settings))
        assert service.cameras.get("door")[0].uri_file == str(secret)
        secret.unlink()
        stream = (await service.streams.GetStream(streams_pb2.GetStreamRequest(stream_id="door"))).stream
        assert stream.settings.uri == ""
        settings.uri = "b.mp4"
        await service.streams.UpdateStream(streams_pb2.UpdateStreamRequest(stream_id="door", settings=settings))
        stream_now, _ = service.cameras.get("door")
        assert (stream_now.uri, stream_now.uri_file) == ("b.mp4", None)


async def test_every_setting_of_the_configuration_can_be_given_and_comes_back() -> None:
    fields = stream_fields(streams_pb2.StreamSettings())
    assert set(fields) == set(streams_pb2.StreamSettings.DESCRIPTOR.fields_by_name)
    assert {"id"} | {key for part in fields.values() for key in part} == set(Stream.model_fields)
    delays = [part["reconnect"] for part in fields.values() if "reconnect" in part]
    assert {key for part in delays for key in part} == set(Reconnect.model_fields)
    given = Stream.model_validate(
        {
            "id": "a",
            "uri": "rtsps://h/a",
            "transport": "udp",
            "connect_timeout_s": 1,
            "first_frame_timeout_s": 2,
            "key_frame_timeout_s": 3,
            "stall_timeout_s": 4,
            "reconnect": {"initial_s": 5, "max_s": 6, "jitter": 0},
            "max_fps": 7,
            "loop": True,
            "video_stream": 0,
            "image_interval_s": 8,
            "follow": True,
            "decode_device": "cuda:1",
            "privacy": "pseudonymous",
            "enabled": False,
        }
    )
    assert {name for name in Stream.model_fields if getattr(given, name) == getattr(Stream(id="b", uri="x"), name)} == {
        "uri_file",
        "tls_ca_file",
    }
    async with serving(KeptCameras(given)) as service:
        shown = (await service.streams.GetStream(streams_pb2.GetStreamRequest(stream_id="a"))).stream.settings
        await service.streams.CreateStream(streams_pb2.CreateStreamRequest(stream_id="c", settings=shown))
        assert service.cameras.get("c")[0] == given.model_copy(update={"id": "c"})


async def test_the_video_stream_that_players_show_is_an_absent_number() -> None:
    async with serving(KeptCameras(Stream(id="a", uri="a.mp4", video_stream=0))) as service:
        get = streams_pb2.GetStreamRequest(stream_id="a")
        shown = (await service.streams.GetStream(get)).stream.settings
        assert (shown.HasField("video_stream"), shown.video_stream) == (True, 0)
        request = streams_pb2.UpdateStreamRequest(stream_id="a", update_mask=FieldMask(paths=["video_stream"]))
        await service.streams.UpdateStream(request)
        assert service.cameras.get("a")[0].video_stream is None
        assert not (await service.streams.GetStream(get)).stream.settings.HasField("video_stream")


async def test_one_delay_is_changed_without_the_others() -> None:
    before = Stream.model_validate({"id": "a", "uri": "a.mp4", "reconnect": {"initial_s": 2, "max_s": 9}})
    async with serving(KeptCameras(before)) as service:
        settings = streams_pb2.StreamSettings(reconnect_jitter=0)
        request = streams_pb2.UpdateStreamRequest(
            stream_id="a", settings=settings, update_mask=FieldMask(paths=["reconnect_jitter"])
        )
        await service.streams.UpdateStream(request)
        assert service.cameras.get("a")[0].reconnect == Reconnect(initial_s=2, max_s=9, jitter=0)


async def test_files_that_the_configuration_does_not_name_cannot_be_read_over_the_api(tmp_path: Any) -> None:
    mine = tmp_path / "uri"
    mine.write_text(SECRET)
    before = Stream.model_validate({"id": "door", "uri_file": str(mine), "tls_ca_file": "ca.pem"})
    async with serving(KeptCameras(before, sources=Sources())) as service:
        for name in ("uri_file", "tls_ca_file"):
            settings = streams_pb2.StreamSettings(uri="" if name == "uri_file" else "rtsps://h/a")
            setattr(settings, name, "/etc/passwd")
            create = streams_pb2.CreateStreamRequest(stream_id="new", settings=settings)
            update = streams_pb2.UpdateStreamRequest(
                stream_id="door", settings=settings, update_mask=FieldMask(paths=[name])
            )
            for call in (service.streams.CreateStream(create), service.streams.UpdateStream(update)):
                code, details = await refused(call)
                assert code is grpc.StatusCode.PERMISSION_DENIED
                assert details.startswith(f"settings.{name}: ")
        kept = (await service.streams.GetStream(streams_pb2.GetStreamRequest(stream_id="door"))).stream.settings
        kept.max_fps = 3
        await service.streams.UpdateStream(streams_pb2.UpdateStreamRequest(stream_id="door", settings=kept))
        assert service.cameras.list() == [(before.model_copy(update={"max_fps": 3.0}), STARTED)]


@pytest.mark.parametrize(
    ("stream_id", "settings", "wrong"),
    [
        ("no good", streams_pb2.StreamSettings(uri="a.mp4"), "stream_id: "),
        ("a", streams_pb2.StreamSettings(), "settings.uri: must be given"),
        ("a", streams_pb2.StreamSettings(uri="a.mp4", max_fps=-1), "settings.max_fps: "),
        ("a", streams_pb2.StreamSettings(uri="a.mp4", stall_timeout=Duration()), "settings.stall_timeout: "),
        ("a", streams_pb2.StreamSettings(uri="a.mp4", reconnect_max=Duration()), "settings.reconnect_max: "),
        ("a", streams_pb2.StreamSettings(uri="a.mp4", reconnect_jitter=2), "settings.reconnect_jitter: "),
        ("a", streams_pb2.StreamSettings(uri="rtsp://u:a#b@h/a"), "settings.uri: the password contains"),
        ("a", streams_pb2.StreamSettings(uri="a.mp4", transport=7), "settings.transport: "),  # type: ignore[arg-type]
        ("a", streams_pb2.StreamSettings(uri="rtsp:/a:b@host"), "settings.uri: looks like a mistyped address"),
        ("a", streams_pb2.StreamSettings(uri="foo://host"), "settings.uri: foo:// is not supported"),
    ],
)
async def test_a_wrong_setting_is_refused_with_its_path(
    stream_id: str, settings: streams_pb2.StreamSettings, wrong: str
) -> None:
    async with serving() as service:
        request = streams_pb2.CreateStreamRequest(stream_id=stream_id, settings=settings)
        code, details = await refused(service.streams.CreateStream(request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details.startswith(wrong)
        assert service.cameras.list() == []


async def test_unknown_streams_existing_streams_and_unknown_masks_are_refused() -> None:
    async with serving(KeptCameras(Stream(id="door", uri="a.mp4"))) as service:
        settings = streams_pb2.StreamSettings(uri="b.mp4")
        create = streams_pb2.CreateStreamRequest(stream_id="door", settings=settings)
        assert (await refused(service.streams.CreateStream(create)))[0] is grpc.StatusCode.ALREADY_EXISTS
        update = streams_pb2.UpdateStreamRequest(stream_id="yard", settings=settings)
        calls = [
            service.streams.GetStream(streams_pb2.GetStreamRequest(stream_id="yard")),
            service.streams.UpdateStream(update),
            service.streams.DeleteStream(streams_pb2.DeleteStreamRequest(stream_id="yard")),
        ]
        assert [(await refused(call))[0] for call in calls] == [grpc.StatusCode.NOT_FOUND] * 3
        masked = streams_pb2.UpdateStreamRequest(stream_id="door", update_mask=FieldMask(paths=["file"]))
        code, details = await refused(service.streams.UpdateStream(masked))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details == "update_mask.paths[0]: no setting 'file'; did you mean uri_file?"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("/etc/passwd", "the path is not below any folder of sources.folders"),
        ("{videos}/../secret.mp4", "the path is not below"),
        ("{videos}/link/secret.mp4", "the path is not below"),
        ("file://{videos}/link/secret.mp4", "the path is not below"),
        ("/dev/video0", "the path is not below"),
        ("http://169.254.169.254/x", "http://169.254.169.254/x is a source of the kind http, which is off"),
    ],
)
async def test_a_client_may_name_allowed_kinds_and_paths_in_allowed_folders_only(
    tmp_path: Path, uri: str, reason: str
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "link").symlink_to(tmp_path)
    kept = KeptCameras(Stream(id="door", uri="/elsewhere/a.mp4"), sources=Sources(folders=(str(videos),)))
    async with serving(kept) as service:
        settings = streams_pb2.StreamSettings(uri=uri.format(videos=videos))
        create = streams_pb2.CreateStreamRequest(stream_id="new", settings=settings)
        update = streams_pb2.UpdateStreamRequest(
            stream_id="door", settings=settings, update_mask=FieldMask(paths=["uri"])
        )
        for call in (service.streams.CreateStream(create), service.streams.UpdateStream(update)):
            code, details = await refused(call)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert details.startswith(f"settings.uri: {reason}")
        allowed = streams_pb2.StreamSettings(uri=f"{videos}/a.mp4")
        await service.streams.CreateStream(streams_pb2.CreateStreamRequest(stream_id="new", settings=allowed))
        paused = streams_pb2.UpdateStreamRequest(  # the address of the configuration may stay
            stream_id="door", settings=streams_pb2.StreamSettings(paused=True), update_mask=FieldMask(paths=["paused"])
        )
        await service.streams.UpdateStream(paused)


async def test_a_file_with_an_address_may_name_only_what_a_client_may_name(tmp_path: Path) -> None:
    sources = Sources(folders=(str(tmp_path),))
    addresses = {"/etc/hostname": "not below any folder", "http://h/a": "add http to sources.allow", "": ""}
    async with serving(KeptCameras(sources=sources)) as service:
        for place, (address, reason) in enumerate(addresses.items()):
            given = tmp_path / f"{place}.txt"
            given.write_text(address or "rtsp://u:s3cret@h/a")
            settings = streams_pb2.StreamSettings(uri_file=str(given))
            call = service.streams.CreateStream(streams_pb2.CreateStreamRequest(stream_id="new", settings=settings))
            if not reason:
                assert (await call).stream.settings.uri == "rtsp://h/a"
                continue
            code, details = await refused(call)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert details.startswith("settings.uri_file: ")
            assert reason in details


async def test_without_folders_the_api_takes_no_path() -> None:
    async with serving(KeptCameras(sources=Sources())) as service:
        settings = streams_pb2.StreamSettings(uri="a.mp4")
        call = service.streams.CreateStream(streams_pb2.CreateStreamRequest(stream_id="new", settings=settings))
        code, details = await refused(call)
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert "list the folders that clients may use in sources.folders" in details


async def test_more_streams_than_the_limit_are_refused() -> None:
    async with serving(KeptCameras(Stream(id="a", uri="rtsp://h/a"), sources=Sources(max_streams=1))) as service:
        settings = streams_pb2.StreamSettings(uri="rtsp://h/b")
        call = service.streams.CreateStream(streams_pb2.CreateStreamRequest(stream_id="b", settings=settings))
        assert (await refused(call))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


# --- the server

SERVICES = ["", *sorted({path.split("/")[1] for path in RULES if path.startswith("/faceanalytics.v1.")})]  # all
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_is_not_serving_until_it_is_set() -> None:
    async with serving() as service:
        for serves in (None, True, False):
            if serves is not None:
                service.server.set_serving(serves)
            answers = [await service.health.Check(health_pb2.HealthCheckRequest(service=name)) for name in SERVICES]
            assert [answer.status for answer in answers] == [SERVING if serves else NOT_SERVING] * len(SERVICES)
            listed = await service.health.List(health_pb2.HealthListRequest())
            assert sorted(listed.statuses) == sorted(SERVICES)
        code, _ = await refused(service.health.Check(health_pb2.HealthCheckRequest(service="other")))
        assert code is grpc.StatusCode.NOT_FOUND


async def test_those_who_watch_health_see_the_end_and_do_not_hold_it_up() -> None:
    async with serving() as service:
        watch = service.health.Watch(health_pb2.HealthCheckRequest())
        unknown = service.health.Watch(health_pb2.HealthCheckRequest(service="other"))
        assert (await watch.read()).status == NOT_SERVING
        assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        service.server.set_serving(True)
        assert (await watch.read()).status == SERVING
        await asyncio.wait_for(service.server.stop(FOREVER_S), WAIT_S)
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.code() is grpc.StatusCode.OK


async def test_one_can_wait_until_it_serves() -> None:
    async with serving() as service:
        waiting = asyncio.create_task(service.server.wait_until_serving())
        await asyncio.sleep(0)
        assert not waiting.done()
        service.server.set_serving(True)
        await asyncio.wait_for(waiting, WAIT_S)


async def test_reflection_lists_the_services() -> None:
    async with serving() as service:
        stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await call.read()
        names = {one.name for one in answer.list_services_response.service}
        assert {*SERVICES[1:], "grpc.health.v1.Health"} <= names


async def test_a_port_in_use_is_a_clear_error() -> None:
    async with serving() as service:
        with pytest.raises(ConfigError, match=f"publish.listen: cannot listen on {service.server.address}"):
            await start_server(Publish(listen=service.server.address), Hub(Publish()), KeptCameras(), dict)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match="the port is in use"):
            await start_server(Publish(listen=address), Hub(Publish()), KeptCameras(), dict)


async def test_a_watch_that_begins_while_the_server_stops_is_unavailable() -> None:
    async with serving() as service:
        service.hub.close()
        watch = service.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(snapshot=True))
        assert (await refused(watch.read()))[0] is grpc.StatusCode.UNAVAILABLE


def test_an_undescribed_track_says_so_with_its_reasons() -> None:
    reasons = (Undescribed.CONFLICTING, Undescribed.TOO_FEW_SAMPLES)
    track = to_proto(summary(undescribed=reasons))
    assert not track.described
    assert list(track.undescribed_reasons) == [
        tracks_pb2.UNDESCRIBED_REASON_CONFLICTING,
        tracks_pb2.UNDESCRIBED_REASON_TOO_FEW_SAMPLES,
    ]
    assert to_proto(summary()).described
    for reason in Undescribed:
        assert to_proto(summary(undescribed=(reason,))).undescribed_reasons[0] > 0
