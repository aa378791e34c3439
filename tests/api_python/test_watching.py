"""The events of a watch, with real servers that come and go."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

import faceanalytics as fa
from faceanalytics.track_values import to_track
from faceanalytics.v1 import tracks_pb2
from streamer.api.track_messages import to_proto
from streamer.recorded.records import track_record
from tests.api.test_server import final, summary
from tests.support.patience import WAIT_S
from tests.tools.test_watch import Running, nobody_listens, threaded


def test_events_are_values_with_the_state_after_them() -> None:
    with Running() as running, fa.watch(running.address, embeddings=True) as events:
        running.offer(summary("t1"))
        first = next(events)
        assert isinstance(first, fa.Snapshot)
        assert first.vanished == ()
        assert first.gap_s is None
        if not first.tracks:  # it was offered after the snapshot
            started = next(events)
            assert isinstance(started, fa.TrackStarted)
        running.offer(summary("t2", camera="yard"))
        new = next(events)
        assert isinstance(new, fa.TrackStarted)
        assert (new.track.track_id, new.track.stream_id, new.track.state) == ("t2", "yard", "CONFIRMED")
        assert new.track.embedding is not None
        assert float(np.linalg.norm(new.track.embedding)) == pytest.approx(1, abs=1e-5)
        running.offer(summary("t2", revision=5, camera="yard", quality=0.75))
        update = next(events)
        assert isinstance(update, fa.TrackUpdated)
        assert update.track.quality == 0.75
        running.offer(final("t2", camera="yard"))
        end = next(events)
        assert isinstance(end, fa.TrackEnded)
        assert (end.track.end_reason, end.track.final) == ("SHUTDOWN", True)


def test_only_chosen_streams_are_heard_of() -> None:
    with Running() as running:
        running.offer(summary("t1"), summary("t2", camera="yard"))
        with fa.watch(running.address, ["yard"]) as events:
            first = next(events)
    assert isinstance(first, fa.Snapshot)
    assert [track.track_id for track in first.tracks] == ["t2"]


def test_a_gap_is_reported_with_what_vanished_in_it() -> None:
    with Running() as first:
        first.offer(summary("t1"), summary("t2"))
        events = fa.watch(first.address)
        before = next(events)
        assert isinstance(before, fa.Snapshot)
        if len(before.tracks) < 2:  # they were offered after the snapshot
            for _ in range(2 - len(before.tracks)):
                assert isinstance(next(events), fa.TrackStarted)
        first.leave()
        lost = next(events)
    assert isinstance(lost, fa.Disconnected)
    assert 0.5 <= lost.retry_in_s <= 1
    with Running(first.address) as second:
        second.offer(summary("t2"), summary("t3"))
        while not isinstance(event := next(events), fa.Snapshot):
            assert isinstance(event, fa.Disconnected)
    events.close()
    assert event.gap_s is not None
    assert event.gap_s > 0
    assert [track.track_id for track in event.vanished] == ["t1"]
    assert [track.track_id for track in event.tracks] == ["t2", "t3"]


def test_a_streamer_that_is_not_there_yet_is_waited_for() -> None:
    address = nobody_listens()
    events = fa.watch(address)
    missing = next(events)
    assert isinstance(missing, fa.Disconnected)
    assert address in missing.reason
    with Running(address):
        while not isinstance(event := next(events), fa.Snapshot):
            assert isinstance(event, fa.Disconnected)
    assert event.gap_s is None
    events.close()


@pytest.mark.parametrize("connected", [True, False])
def test_a_watch_is_closed_from_another_thread(connected: bool) -> None:
    with Running() as running:
        events = fa.watch(running.address if connected else nobody_listens())
        next(events)
        threading.Timer(0.3, events.close).start()
        assert [*events] == []  # it ends, also while it waits to connect again


def test_heartbeats_come_only_if_asked_for() -> None:
    with Running(heartbeat_s=0.1) as running, fa.watch(running.address, heartbeats=True) as events:
        kinds = [type(next(events)) for _ in range(3)]
    assert kinds == [fa.Snapshot, fa.Heartbeat, fa.Heartbeat]


def test_a_streamer_that_refuses_is_an_error_of_the_user() -> None:
    with Running() as running, pytest.raises(fa.LostDependency, match="INVALID_ARGUMENT"):
        next(fa.watch(running.address, min_interval_s=-1.0))


def test_wrong_arguments_are_refused_at_once() -> None:
    with pytest.raises(fa.ConfigError, match="host:port"):
        fa.watch("here")
    with pytest.raises(TypeError, match="sequence of ids"):
        fa.watch("127.0.0.1:1", "door")


async def test_an_event_loop_goes_on_while_it_watches() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    counting = asyncio.create_task(count())
    with Running(heartbeat_s=0.3) as running:
        kinds = []
        watching = fa.watch_async(running.address, heartbeats=True)
        async for event in watching:
            kinds.append(type(event))
            if len(kinds) == 2:
                break
        await watching.aclose()
    counting.cancel()
    assert kinds == [fa.Snapshot, fa.Heartbeat]
    assert turns > 5


async def test_a_watch_is_cancelled_with_its_task() -> None:
    with Running() as running:

        async def follow() -> None:
            async for _ in fa.watch_async(running.address):
                pass

        task = asyncio.create_task(follow())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, WAIT_S)


def test_a_live_track_says_the_same_as_its_record() -> None:
    made = final("t1")
    record = TypeAdapter(fa.Track).validate_python(track_record(made, (0, 0)))
    live = to_track(to_proto(made))
    for name in fa.Track.__dataclass_fields__:
        mine, other = getattr(live, name), getattr(record, name)
        assert repr(mine) == repr(other) or near(mine, other), name


def near(mine: Any, other: Any) -> bool:
    """Equal up to rounding, part by part."""
    if isinstance(mine, float):
        return mine == pytest.approx(other, abs=0.01)
    if isinstance(mine, dict):
        return mine.keys() == other.keys() and all(near(mine[key], other[key]) for key in mine)
    if isinstance(mine, tuple):
        return len(mine) == len(other) and all(map(near, mine, other))
    if hasattr(mine, "__dataclass_fields__"):
        return type(mine) is type(other) and all(
            near(getattr(mine, name), getattr(other, name)) for name in mine.__dataclass_fields__
        )
    return bool(mine == other)


def test_the_snapshot_of_a_busy_server_begins_again() -> None:
    class Busy:
        """Breaks off within its first snapshot."""

        calls = 0

        def WatchTracks(self, request: Any, context: Any) -> Any:  # noqa: N802
            self.calls += 1
            kind, end = tracks_pb2.EVENT_TYPE_SNAPSHOT, tracks_pb2.EVENT_TYPE_SNAPSHOT_END
            yield tracks_pb2.WatchTracksResponse(type=kind, sequence=1, track=to_proto(summary("t1")))
            if self.calls > 1:
                yield tracks_pb2.WatchTracksResponse(type=end, sequence=2)

        def GetTrack(self, request: Any, context: Any) -> Any: ...  # noqa: N802

        def ListTracks(self, request: Any, context: Any) -> Any: ...  # noqa: N802

        def CountTracks(self, request: Any, context: Any) -> Any: ...  # noqa: N802

    with threaded(Busy()) as address, fa.watch(address) as events:  # type: ignore[arg-type]
        kinds = [type(next(events)), type(next(events))]
    assert kinds == [fa.Disconnected, fa.Snapshot]
