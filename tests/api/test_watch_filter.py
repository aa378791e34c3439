"""Watches with a filter: a track is sent from when it first fits until its end, also over interruptions."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from faceanalytics.v1 import tracks_pb2, tracks_pb2_grpc
from streamer.access.tokens import Scope
from streamer.api.track_messages import to_proto
from streamer.api.watch_filter import Wanted
from streamer.hub import Kind
from streamer.store.resume_token import ALL, MAX_MARKS, ResumeTokens
from streamer.store.values import TrackQuery
from streamer.values import AgeEstimate, TrackState, TrackSummary
from tests.api.test_resume import Place, decision_for, serving
from tests.api.test_server import events_of, read, refused
from tests.support import builders
from tests.support.guarded_server import bearer, guarded
from tests.support.stored import final, merged

OLD = tracks_pb2.TrackFilter(min_age_years=60)
EVENTS = {kind.value for kind in (Kind.NEW, Kind.UPDATE, Kind.END, Kind.MERGE)}


def aged(track: str, years: float | None, revision: int = 1, **changes: Any) -> TrackSummary:
    age = AgeEstimate(years, 0, 99, builders.evidence()) if years is not None else None
    return builders.summary(track, revision, age=age, **changes)


def ended(track: str, years: float | None, **changes: Any) -> TrackSummary:
    age = AgeEstimate(years, 0, 99, builders.evidence()) if years is not None else None
    return final(track, age=age, **changes)


# --- the decisions


def kinds(wanted: Wanted, kind: Kind, one: TrackSummary) -> list[str]:
    return [sent.value for sent in wanted.kinds(kind, to_proto(one))]


def test_a_track_is_new_when_it_first_fits_and_has_one_end() -> None:
    wanted = Wanted(TrackQuery(min_age=60), frozenset())
    assert kinds(wanted, Kind.NEW, aged("t", None)) == []
    assert kinds(wanted, Kind.UPDATE, aged("t", 59)) == []
    assert kinds(wanted, Kind.UPDATE, aged("t", 61)) == ["NEW"]
    assert kinds(wanted, Kind.UPDATE, aged("t", 40)) == ["UPDATE"]
    assert len(wanted.marks) == 1
    assert kinds(wanted, Kind.END, ended("t", 40)) == ["END"]
    assert wanted.marks == frozenset()
    assert kinds(wanted, Kind.NEW, aged("u", None)) == []
    assert kinds(wanted, Kind.END, ended("u", 40)) == []
    assert kinds(wanted, Kind.END, ended("v", 70)) == ["NEW", "END"]
    assert kinds(wanted, Kind.SNAPSHOT, aged("w", 70)) == ["SNAPSHOT"]
    assert kinds(wanted, Kind.SNAPSHOT, aged("x", 7)) == []


def test_the_marks_are_those_of_the_moment_at_which_an_event_is_sent() -> None:
    wanted = Wanted(TrackQuery(min_age=60), frozenset())
    events = wanted.kinds(Kind.END, to_proto(ended("t", 70)))
    assert (next(events), len(wanted.marks)) == (Kind.NEW, 1)
    assert (next(events), len(wanted.marks)) == (Kind.END, 0)


def test_who_follows_a_face_follows_it_beyond_a_merge() -> None:
    wanted = Wanted(TrackQuery(min_age=60), frozenset())
    assert kinds(wanted, Kind.NEW, aged("t1", 30)) == []
    assert kinds(wanted, Kind.NEW, aged("t2", 70)) == ["NEW"]
    assert kinds(wanted, Kind.MERGE, merged("t2", "t1")) == ["MERGE"]
    assert kinds(wanted, Kind.UPDATE, aged("t1", 30)) == ["UPDATE"]
    assert kinds(wanted, Kind.END, ended("t1", 30)) == ["END"]
    assert wanted.marks == frozenset()


def test_a_watch_that_was_not_filtered_before_ends_all_earlier_tracks() -> None:
    wanted = Wanted(TrackQuery(min_age=60), frozenset({ALL}))
    assert kinds(wanted, Kind.NEW, aged("new", 30)) == []
    assert kinds(wanted, Kind.END, ended("earlier", 30)) == ["END"]
    assert kinds(wanted, Kind.END, ended("new", 30)) == []
    assert kinds(wanted, Kind.NEW, aged("newer", 30)) == []
    wanted.keep(["open", "newer"])
    assert len(wanted.marks) == 1
    assert kinds(wanted, Kind.UPDATE, aged("open", 30)) == ["UPDATE"]
    assert kinds(wanted, Kind.UPDATE, aged("newer", 30)) == []


def test_too_many_open_tracks_are_all_tracks() -> None:
    wanted = Wanted(TrackQuery(), frozenset())
    for number in range(MAX_MARKS + 1):
        assert kinds(wanted, Kind.NEW, aged(f"t{number}", 1)) == ["NEW"]
    assert wanted.marks == frozenset({ALL})
    assert kinds(wanted, Kind.END, ended("t0", 1)) == ["END"]
    assert len(wanted.marks) == MAX_MARKS
    tokens = ResumeTokens(b"key", b"run8byte")
    token = tokens.make(7, wanted.marks)
    assert tokens.read(token) == (b"run8byte", 7, wanted.marks)
    assert len(token) < 2048
    assert tokens.read(tokens.make(7)) == (b"run8byte", 7, frozenset({ALL}))


# --- over a real server


async def test_a_watch_gets_the_tracks_that_fit(place: Place) -> None:
    async with serving(place) as service:
        await service.offer(aged("t0", 80), aged("t1", 20))
        watch = await service.watch(filter=OLD, snapshot=True)
        assert events_of(await read(watch, 2)) == [("SNAPSHOT", "t0", 1), ("SNAPSHOT_END", "", 0)]
        await service.offer(aged("t2", None), aged("t2", 61, 2), aged("t1", 30, 2), ended("t1", 30))
        messages = await read(watch, 1)
        await service.offer(aged("t2", 40, 3))
        messages += await read(watch, 1)
        await service.offer(ended("t2", 40), aged("t3", 9), ended("t3", 65), ended("t0", None))
        messages += await read(watch, 4)
        assert events_of(messages) == [
            ("NEW", "t2", 2),
            ("UPDATE", "t2", 3),
            ("END", "t2", 99),
            ("NEW", "t3", 99),
            ("END", "t3", 99),
            ("END", "t0", 99),
        ]
        sequences = [one.log_sequence for one in messages]
        assert [bool(one) for one in sequences] == [False, False, True, False, True, True]
        assert sorted(one for one in sequences if one) == [one for one in sequences if one]


async def test_a_resumed_watch_ends_what_was_sent_and_nothing_else(place: Place) -> None:
    async with serving(place) as service:
        watch = await service.watch(filter=OLD)
        await service.offer(aged("t1", None), aged("t2", None), aged("t1", 70, 2))
        token = (await read(watch, 1))[0].resume_token
        watch.cancel()
        await service.offer(ended("t1", 30), ended("t2", 30), aged("t3", None), ended("t3", 66))
    async with serving(place) as service:  # another run
        resumed = await service.resumed(3, resume_token=token, filter=OLD)
        assert events_of(resumed) == [("END", "t1", 99), ("NEW", "t3", 99), ("END", "t3", 99)]
        between = await service.resumed(1, resume_token=resumed[1].resume_token, filter=OLD)
        assert events_of(between) == [("END", "t3", 99)]


async def test_a_decision_while_the_client_was_away_is_found(place: Place) -> None:
    async with serving(place) as service:
        watch = await service.watch()
        await service.offer(aged("t1", 30))
        token = (await read(watch, 1))[0].resume_token
        await service.offer(aged("t1", 30, 2, decision=decision_for("ann")))
        other = replace(decision_for("bob"), revision=2)
        await service.offer(aged("t1", 30, 3, decision=other), ended("t1", 30, decision=other))
        # without a filter a decision is no event
        assert events_of(await service.resumed(1, resume_token=token)) == [("END", "t1", 99)]
        begin = tracks_pb2.WatchTracksRequest(filter=tracks_pb2.TrackFilter(persons=["ann"]), allow_gap=True)
        begin.since.FromSeconds(1)
        watch = service.tracks.WatchTracks(begin)
        messages = await read(watch, 2)
        assert events_of(messages) == [("NEW", "t1", 2), ("END", "t1", 99)]
        assert messages[0].track.decision.person == "ann"


def fates(messages: Sequence[tracks_pb2.WatchTracksResponse]) -> dict[str, Counter[str]]:
    """How often each track had each kind of event."""
    found: dict[str, Counter[str]] = {}
    for kind, track, _ in events_of(messages):
        if kind in EVENTS:
            found.setdefault(track, Counter())[kind] += 1
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_from_whichever_message_a_watch_goes_on_each_track_that_was_sent_ends_once(
    place: Place, seed: int
) -> None:
    chance = random.Random(seed)
    async with serving(place) as service:
        watch = await service.watch(filter=OLD)
        open_tracks: dict[str, int] = {}
        for number in range(60):
            if not open_tracks or chance.random() < 0.4:
                name = f"t{number:02}"
                open_tracks[name] = 1
                await service.offer(aged(name, chance.choice([None, 30, 70])))
                continue
            name = chance.choice(sorted(open_tracks))
            open_tracks[name] += 1
            years, decision = chance.choice([None, 30, 70]), decision_for(chance.choice(["ann", "bob"]))
            if chance.random() < 0.4:
                del open_tracks[name]
                into = chance.choice(sorted(open_tracks)) if open_tracks and chance.random() < 0.3 else ""
                await service.offer(merged(name, into) if into else ended(name, years, decision=decision))
            else:
                await service.offer(aged(name, years, open_tracks[name], decision=decision))
        for name in sorted(open_tracks):
            await service.offer(ended(name, 70))
        last = "zz"
        await service.offer(ended(last, 70))  # whatever the way, this is the last event
        messages: list[tracks_pb2.WatchTracksResponse] = []
        while not messages or (messages[-1].track.track_id, messages[-1].track.final) != (last, True):
            messages += await read(watch, 1)
            if messages[-1].type == tracks_pb2.EVENT_TYPE_NEW and messages[-1].track.track_id == last:
                messages += await read(watch, 1)
        for place_in_watch in range(len(messages) - 2):
            seen = messages[: place_in_watch + 1]
            rest = await service.watch(filter=OLD, resume_token=seen[-1].resume_token)
            while events_of(seen[-1:])[0][:2] != ("END", last):
                seen += await read(rest, 1)
            rest.cancel()
            for track, counts in fates(seen).items():
                assert counts["END"] + counts["MERGE"] == 1, (place_in_watch, track, counts)
                assert counts["NEW"] <= 1, (place_in_watch, track, counts)
                assert counts["NEW"] == 1 or any(one.track.merged_into == track for one in seen), track


async def test_a_filter_and_ids_of_streams_do_not_contradict_each_other(place: Place) -> None:
    async with serving(place) as service:
        both = tracks_pb2.WatchTracksRequest(stream_ids=["door"], filter=tracks_pb2.TrackFilter(stream_ids=["yard"]))
        code, text = await refused(service.tracks.WatchTracks(both).read())
        assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, "filter.stream_ids: not together with stream_ids")
        unknown = tracks_pb2.WatchTracksRequest(filter=tracks_pb2.TrackFilter(stream_ids=["attic"]))
        assert (await refused(service.tracks.WatchTracks(unknown).read()))[0] is grpc.StatusCode.NOT_FOUND
        watch = await service.watch(filter=tracks_pb2.TrackFilter(stream_ids=["yard"]))
        await service.offer(aged("t1", 1), aged("t2", 1, camera="yard"))
        assert events_of(await read(watch, 1)) == [("NEW", "t2", 1)]


async def test_only_what_has_ended_can_be_watched(place: Place) -> None:
    async with serving(place) as service:
        watch = await service.watch(filter=tracks_pb2.TrackFilter(states=[tracks_pb2.TRACK_STATE_ENDED]))
        await service.offer(aged("t1", 1), aged("t1", 1, 2, state=TrackState.LOST), ended("t1", 1))
        assert events_of(await read(watch, 2)) == [("NEW", "t1", 99), ("END", "t1", 99)]


async def test_a_filter_asks_no_more_than_the_token_may_know(tmp_path: Path) -> None:
    async with guarded(tmp_path, "door", "yard") as at, at.channel() as channel:
        watch: Any = tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks
        of_door = bearer(await at.token(Scope.READ, cameras=("door",)))
        other = tracks_pb2.WatchTracksRequest(filter=tracks_pb2.TrackFilter(stream_ids=["yard"]))
        assert (await refused(watch(other, metadata=of_door).read()))[0] is grpc.StatusCode.PERMISSION_DENIED
        who = tracks_pb2.WatchTracksRequest(filter=tracks_pb2.TrackFilter(persons=["ann"]))
        assert (await refused(watch(who, metadata=of_door).read()))[0] is grpc.StatusCode.PERMISSION_DENIED
        call = watch(tracks_pb2.WatchTracksRequest(filter=OLD), metadata=of_door)
        await call.initial_metadata()
        at.hub.offer(aged("t1", 70, camera="yard"), 0.0)
        at.hub.offer(aged("t2", 70), 0.0)
        assert (await call.read()).track.track_id == "t2"
