"""What many subscribers get is encoded once, shows each only what it may see, and costs bounded memory."""

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

import pytest

from faceanalytics.v1 import tracks_pb2
from streamer.access.tokens import Scope
from streamer.api import shared
from streamer.api.shared import Answer, Shared, SharedEvents
from streamer.api.track_messages import to_proto
from streamer.hub import Event, Kind
from streamer.values import TrackSummary
from tests.api.test_attacks import speaking
from tests.api.test_guard import known_person, watch
from tests.api.test_server import final, summary
from tests.support.crowd import rss_mb
from tests.support.guarded_server import guarded
from tests.support.patience import WAIT_S


async def test_an_event_is_made_once_for_all_its_subscribers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, bool]] = []

    def counted(one: TrackSummary, include_embedding: bool = False) -> tracks_pb2.Track:
        made.append((one.key.id, include_embedding))
        return to_proto(one, include_embedding)

    monkeypatch.setattr(shared, "to_proto", counted)
    async with guarded(tmp_path, heartbeat_s=60) as at, at.channel() as channel:
        calls = [watch(channel, None, include_embedding=number % 2 == 0) for number in range(20)]
        for call in calls:
            await call.initial_metadata()
        at.hub.offer(summary("t1"), time.monotonic())
        at.hub.offer(final("t1"), time.monotonic())
        async with asyncio.timeout(WAIT_S):
            got = [[await one.read() for _ in range(2)] for one in calls]
        assert sorted(made) == [("t1", False)] * 2 + [("t1", True)] * 2
        for number, messages in enumerate(got):
            assert [(one.sequence, one.type) for one in messages] == [
                (1, tracks_pb2.EVENT_TYPE_NEW),
                (2, tracks_pb2.EVENT_TYPE_END),
            ]
            assert all(one.HasField("published_at") for one in messages)
            assert len(messages[0].track.identity.embedding) == (512 if number % 2 == 0 else 0)


@pytest.mark.parametrize("first", [Scope.READ, Scope.BIOMETRIC])
async def test_who_comes_first_does_not_decide_what_others_see(tmp_path: Path, first: Scope) -> None:
    async with guarded(tmp_path) as at, at.channel() as channel:
        secrets = {
            Scope.READ: await at.token(Scope.READ),
            Scope.BIOMETRIC: await at.token(Scope.READ, Scope.BIOMETRIC),
        }
        order = sorted(secrets, key=lambda scope: scope is not first)
        calls = {scope: watch(channel, secrets[scope], include_embedding=True) for scope in order}
        for call in calls.values():
            await call.initial_metadata()
        at.hub.offer(known_person(), time.monotonic())
        async with asyncio.timeout(WAIT_S):
            got: dict[Scope, Any] = {scope: await call.read() for scope, call in calls.items()}
        assert got[Scope.BIOMETRIC].track.decision.person == "Ada"
        assert len(got[Scope.BIOMETRIC].track.identity.embedding) == 512
        assert b"Ada" not in got[Scope.READ].SerializeToString()
        assert not got[Scope.READ].track.identity.embedding
        assert got[Scope.READ].track.track_id == "t1"


def test_a_message_in_two_parts_is_one_message() -> None:
    track = tracks_pb2.Track(track_id="t1", decision=tracks_pb2.IdentityDecision(person="Ada"))
    common = Shared(tracks_pb2.WatchTracksResponse(type=tracks_pb2.EVENT_TYPE_NEW, track=track, log_sequence=7))
    own = tracks_pb2.WatchTracksResponse(sequence=3, resume_token="x").SerializeToString()
    whole = tracks_pb2.WatchTracksResponse.FromString(Answer(common, own).encoded(biometric=True))
    assert (whole.sequence, whole.resume_token, whole.log_sequence, whole.track) == (3, "x", 7, track)
    less = tracks_pb2.WatchTracksResponse.FromString(Answer(common, own).encoded(biometric=False))
    assert (less.sequence, less.track.track_id, less.track.decision.person) == (3, "t1", "")


def test_what_is_kept_for_others_is_bounded_and_never_of_another_event() -> None:
    events = SharedEvents()
    for number in range(3 * shared.KEPT):
        one = summary(f"t{number}", revision=number + 1)
        message: Any = events.of(Event(Kind.UPDATE, one), include_embedding=False).message
        assert (message.track.track_id, message.track.revision) == (f"t{number}", number + 1)
    assert len(events._kept) == shared.KEPT
    same = events.of(Event(Kind.UPDATE, one), include_embedding=False)
    assert same.message is message
    other: Any = events.of(Event(Kind.END, one, 5, stored=False), include_embedding=False).message
    assert (other.type, other.log_sequence, other.unstored) == (tracks_pb2.EVENT_TYPE_END, 5, True)


async def test_a_stalled_subscriber_costs_bounded_memory(tmp_path: Path) -> None:
    async with guarded(tmp_path, max_pending=1000) as at, speaking(at) as (stalled, ended, _):
        assert stalled.transport is not None
        stalled.call(1, "/faceanalytics.v1.TrackService/WatchTracks", b"")
        async with asyncio.timeout(WAIT_S):
            while not at.hub._subscribers:
                await asyncio.sleep(0.01)
        stalled.transport.pause_reading()
        gc.collect()
        before = rss_mb()
        for number in range(30_000):  # about 12 MB of messages; the queue takes 1,000
            at.hub.offer(summary(f"t{number:06}"), time.monotonic())
            at.hub.offer(final(f"t{number:06}"), time.monotonic())
            if number % 100 == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(WAIT_S):
            while at.hub._subscribers:  # it was given up
                await asyncio.sleep(0.01)
        assert rss_mb() - before < 100
        assert not ended[0]
