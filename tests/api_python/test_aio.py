"""The client for asyncio: its watches over streamers that are killed, and its calls; real servers and processes."""

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

import faceanalytics as fa
from faceanalytics import aio
from faceanalytics.conditions import Conditions
from faceanalytics.events import Story
from faceanalytics.messages import fill, to_values
from faceanalytics.system_values import value_of
from faceanalytics.v1 import streams_pb2, system_pb2, tracks_pb2
from streamer.access.tokens import Scope
from tests.api.test_server import final, summary
from tests.api_python.test_connections import feeder
from tests.end_to_end.programs import Program, free_port
from tests.support.guarded_server import Guarded, guarded
from tests.support.patience import WAIT_S
from tests.tools.test_resuming import Streamer as Stored
from tests.tools.test_watch import Running


@asynccontextmanager
async def server(folder: Path, *streams: str) -> AsyncIterator[tuple[Guarded, aio.Streamer]]:
    """A server without a store, and a client of it."""
    async with asyncio.timeout(WAIT_S), guarded(folder, *streams) as at, aio.connect(at.server.address) as streamer:
        yield at, streamer


# --- watches


@pytest.mark.slow
def test_a_program_and_a_streamer_that_are_killed_again_and_again_count_right(tmp_path: Path) -> None:
    """The program keeps each event and its token in one line: none is lost, none comes twice."""
    address, kept, chance = f"127.0.0.1:{free_port()}", tmp_path / "kept.jsonl", random.Random(7)

    def client() -> Program:
        return Program("tests.support.aio_client", address, kept)

    for turn in range(4):
        dying = () if turn % 2 else ("--die-after", str(chance.randrange(20, 60)))
        with client() as watching, feeder(tmp_path, address, *dying) as program:
            if dying:  # it dies between a commit and its publication, and the client watches the next one
                assert program.wait() == -signal.SIGKILL
                with feeder(tmp_path, address) as program:
                    watching.wait_for("Disconnected(\n.*)*Snapshot(\n.*)*TrackEnded")
            else:
                watching.wait_for("Snapshot(\n.*)*TrackEnded")
            watching.signal(signal.SIGKILL)
            program.signal(signal.SIGKILL)
    with client() as watching, feeder(tmp_path, address) as program:
        watching.wait_for("Snapshot")
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        watching.wait_for("Snapshot(\n.*)*Disconnected")
    lines = [json.loads(line) for line in kept.read_bytes().splitlines()]
    numbers = [line["number"] for line in lines if line["number"] is not None]
    assert len(numbers) > 40
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert "Missed" not in {line["kind"] for line in lines}


async def test_a_watch_begins_after_a_given_token_or_at_a_given_time(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with asyncio.timeout(WAIT_S):
        with Stored(address, tmp_path, summary("t1"), final("t1"), summary("t2"), final("t2")):
            async with aio.connect(address) as streamer:
                begin = datetime.now(UTC) - timedelta(days=1)
                told = [event async for event in until_snapshot(streamer.watch(since=begin))]
                assert [(type(event), event.track.track_id) for event in told[:-1]] == [
                    (fa.TrackStarted, "t1"),
                    (fa.TrackEnded, "t1"),
                    (fa.TrackStarted, "t2"),
                    (fa.TrackEnded, "t2"),
                ]
                assert [event.log_sequence for event in told[:-1]] == [1, 2, 3, 4]
                assert len({event.instance_id for event in told}) == 1
                for place, event in enumerate(told[:-1]):
                    again = [other async for other in until_snapshot(streamer.watch(resume_token=event.resume_token))]
                    assert [other.log_sequence for other in again[:-1]] == [1, 2, 3, 4][place + 1 :]
                with pytest.raises(fa.ConfigError, match="time zone"):
                    streamer.watch(since=datetime.now())
                with pytest.raises(fa.StreamerError, match="not made by this store") as raised:
                    await anext(streamer.watch(resume_token="forged", allow_gap=False))
                assert raised.value.code == "INVALID_ARGUMENT"
                forged = streamer.watch(resume_token="forged")
                assert isinstance(await anext(forged), fa.Disconnected)
                assert await anext(forged) == fa.Missed(None)
                assert isinstance(await anext(forged), fa.Snapshot)


async def until_snapshot(watch: aio.AioWatch) -> AsyncIterator[Any]:
    async with watch:
        async for event in watch:
            yield event
            if isinstance(event, fa.Snapshot):
                return


def test_a_gap_is_a_value() -> None:
    gap = tracks_pb2.Gap(to=9, count=5, **{"from": 5})
    message = tracks_pb2.WatchTracksResponse(type=tracks_pb2.EVENT_TYPE_GAP, gap=gap, sequence=1, resume_token="a")
    (missed,) = Story().events(message)
    assert isinstance(missed, fa.Missed)
    assert (missed.count, missed.first, missed.last, missed.resume_token) == (5, 5, 9, "a")


def test_every_event_about_a_track_becomes_one_that_says_so() -> None:
    track = tracks_pb2.Track(track_id="t", final=True, stream_id="door")
    kinds = {number: name.removeprefix("EVENT_TYPE_") for name, number in tracks_pb2.EventType.items()}
    without = {"UNSPECIFIED", "SNAPSHOT", "SNAPSHOT_END", "HEARTBEAT", "GAP"}
    names = {}
    for number, name in kinds.items():
        if name not in without:
            (event,) = Story().events(tracks_pb2.WatchTracksResponse(type=number, track=track, sequence=2))
            names[name] = type(event).__name__
    assert names == {
        "NEW": "TrackStarted",
        "UPDATE": "TrackUpdated",
        "END": "TrackEnded",
        "MERGE": "TrackMerged",
        "REVISION": "TrackRevised",
        "JOURNEY": "TrackTravelled",
    }


async def test_a_watch_ends_when_it_is_closed_also_from_another_task() -> None:
    with Running() as running:
        async with asyncio.timeout(WAIT_S), aio.connect(running.address) as streamer:
            watch = streamer.watch()
            assert isinstance(await anext(watch), fa.Snapshot)
            waiting = asyncio.create_task(rest(watch))
            await asyncio.sleep(0.1)
            watch.close()
            assert await waiting == []
            assert await rest(watch) == []
            open_at_the_end = streamer.watch()
            assert isinstance(await anext(open_at_the_end), fa.Snapshot)
        assert await rest(open_at_the_end) == []  # the end of the block closes it


async def test_a_watch_that_waits_for_a_streamer_ends_when_it_is_closed() -> None:
    async with asyncio.timeout(WAIT_S), aio.connect(f"127.0.0.1:{free_port()}") as streamer:
        watch = streamer.watch()
        while not isinstance(lost := await anext(watch), fa.Disconnected) or lost.retry_in_s < 2:
            pass
        waiting = asyncio.create_task(rest(watch))
        await asyncio.sleep(0.1)
        watch.close()
        assert await waiting == []


async def rest(watch: aio.AioWatch) -> list[fa.Event]:
    return [event async for event in watch]


# --- tracks


async def test_tracks_are_found_live_and_past_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "TRACKS_PAGE", 2)
    address = f"127.0.0.1:{free_port()}"
    past = [one for number in range(5) for one in (summary(f"t{number}"), final(f"t{number}"))]
    async with asyncio.timeout(WAIT_S):
        with Stored(address, tmp_path, *past, summary("t7")):
            async with aio.connect(address) as streamer:
                found = [track.track_id async for track in streamer.list_tracks(past=True)]
                assert found == ["t0", "t1", "t2", "t3", "t4", "t7"]
                assert [track.track_id async for track in streamer.list_tracks()] == ["t7"]
                ended = [track async for track in streamer.list_tracks(["door"], past=True, states=["ended"])]
                assert [track.track_id for track in ended] == found[:-1]
                assert ended[0] == await streamer.get_track("t0")
                assert await streamer.get_face("t0") is None
                later = datetime.now(UTC) + timedelta(hours=1)
                assert [track async for track in streamer.list_tracks(past=True, seen_since=later)] == []
                with pytest.raises(fa.ConfigError, match="expressions: 'glad' is not one of SURPRISE, FEAR"):
                    await anext(streamer.list_tracks(expressions=["glad"]))
                with pytest.raises(fa.StreamerError) as raised:
                    await streamer.get_track("t9")
                assert raised.value.code == "NOT_FOUND"


# --- cameras and the streamer


async def test_cameras_are_added_changed_and_removed(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    async with server(tmp_path, "door") as (at, streamer):
        del at
        made = await streamer.create_stream(
            "yard", uri=str(tmp_path / "a.mp4"), max_fps=5, stall_timeout=2.5, transport="udp"
        )
        assert (made.stream_id, made.state, made.error_code) == ("yard", "CONNECTING", None)
        assert made.settings["stall_timeout"] == timedelta(seconds=2.5)
        assert (made.settings["max_fps"], made.settings["transport"]) == (5.0, "UDP")
        assert [one.stream_id for one in await streamer.list_streams()] == ["door", "yard"]
        changed = await streamer.update_stream("yard", max_fps=8, stall_timeout=timedelta(seconds=4))
        assert changed == await streamer.get_stream("yard")
        assert (changed.settings["max_fps"], changed.settings["transport"]) == (8.0, "UDP")
        default = await streamer.update_stream("yard", stall_timeout=None)
        assert default.settings["stall_timeout"] == timedelta(seconds=5)
        await streamer.delete_stream("yard")
        assert [one.stream_id for one in await streamer.list_streams()] == ["door"]
        with pytest.raises(fa.StreamerError, match="max_fps") as raised:
            await streamer.update_stream("door", max_fps=-1)
        assert raised.value.code == "INVALID_ARGUMENT"
        with pytest.raises(fa.ConfigError, match="maxfps: there is no such setting; did you mean max_fps"):
            await streamer.update_stream("door", maxfps=1)
        with pytest.raises(fa.ConfigError, match="transport: 'tpc' is not one of TCP, UDP"):
            await streamer.create_stream("other", uri="rtsp://10.0.0.5/main", transport="tpc")


async def test_it_says_which_models_it_has_and_whether_it_serves(tmp_path: Path) -> None:
    async with server(tmp_path) as (at, streamer):
        (model,) = await streamer.list_models()
        assert (model.model_id, model.workers, model.attributes) == ("small", 1, ("MALE",))
        assert not await streamer.is_serving()
        at.server.set_serving(True)
        assert await streamer.is_serving()


async def test_it_says_what_it_does_and_what_it_has_stored(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with asyncio.timeout(WAIT_S):
        with Stored(address, tmp_path, summary("t1"), final("t1")):
            async with aio.connect(address) as streamer:
                store = await streamer.get_store()
                assert (store.kind, store.contents and store.contents["newest_sequence"]) == ("SQLITE", 2)
                stats = await streamer.get_stats()
                assert stats.process is not None
                assert stats.process["started_at"] <= datetime.now(UTC)
                assert (await streamer.get_capacity()).streams_running == 0
    async with server(tmp_path) as (_, streamer):
        with pytest.raises(fa.StreamerError) as raised:
            await streamer.get_store()
        assert (raised.value.code, raised.value.reason) == ("FAILED_PRECONDITION", "NO_STORE")


async def test_a_watch_hears_of_tracks_that_fit() -> None:
    with Running() as running:
        async with asyncio.timeout(WAIT_S), aio.connect(running.address) as streamer:
            watch = streamer.watch(persons=["nobody"], described=True)
            assert isinstance(await anext(watch), fa.Snapshot)
            both = fa.watch(running.address, states=["confirmed"])
            first = await asyncio.to_thread(next, both)
            assert isinstance(first, fa.Snapshot)
            running.offer(summary("t1"))
            started = await asyncio.to_thread(next, both)
            assert isinstance(started, fa.TrackStarted)
            watch.close()
            assert await rest(watch) == []
            both.close()
            with pytest.raises(fa.ConfigError, match="'asleep' is not one of TENTATIVE"):
                streamer.watch(states=["asleep"])


async def test_the_token_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(tmp_path, "door") as (at, _):
        (tmp_path / "token").write_text(await at.token(Scope.READ))
        monkeypatch.setenv("FACEANALYTICS_TOKEN_FILE", str(tmp_path / "token"))
        async with aio.connect(at.server.address) as streamer:
            assert [one.stream_id for one in await streamer.list_streams()] == ["door"]


# --- values


def test_values_have_the_fields_of_their_messages() -> None:
    """After a change of the API, add its fields to faceanalytics/system_values.py."""
    pairs: list[tuple[type[Any], Message]] = [
        (fa.StreamStatus, streams_pb2.Stream()),
        (fa.ModelStatus, system_pb2.Model()),
        (fa.Capacity, system_pb2.GetCapacityResponse()),
        (fa.Stats, system_pb2.GetStatsResponse()),
        (fa.StoreStatus, system_pb2.GetStoreResponse()),
    ]
    for kind, message in pairs:
        assert {one.name for one in fields(kind)} == {one.name for one in message.DESCRIPTOR.fields}, kind
        assert isinstance(value_of(kind, message), kind)
    ours = {one.name for one in tracks_pb2.TrackFilter.DESCRIPTOR.fields} - {"stream_ids"}
    assert set(Conditions.__annotations__) == ours


def test_values_go_into_messages_and_come_back() -> None:
    message = tracks_pb2.TrackFilter()
    values = {
        "stream_ids": ("door", "yard"),
        "seen_since": datetime(2030, 5, 1, 12, tzinfo=UTC),
        "seen_before": None,
        "states": ("LOST", "ENDED"),
        "persons": (),
        "min_age_years": 18.0,
        "max_age_years": None,
        "expressions": ("HAPPINESS",),
        "attributes": ("EYEGLASSES",),
        "described": True,
        "unnamed": False,
    }
    fill(message, values)
    assert to_values(message) == values
    stream = streams_pb2.Stream(frames_dropped={"overload": 3}, settings=streams_pb2.StreamSettings(max_fps=2))
    assert to_values(stream)["frames_dropped"] == {"overload": 3}
    assert to_values(stream)["settings"]["max_fps"] == 2.0
    request = streams_pb2.UpdateStreamRequest()
    fill(request, {"settings": {"connect_timeout": 1.5}})
    assert to_values(request)["settings"]["connect_timeout"] == timedelta(seconds=1.5)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"stream_ids": "door"}, "stream_ids: expected a list"),
        ({"described": "yes"}, "described: "),
        ({"seen_since": datetime(2030, 5, 1)}, "seen_since: has no time zone"),
        ({"nothing": 1}, "nothing: there is no such setting"),
    ],
)
def test_values_that_do_not_fit_are_errors_with_their_names(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(fa.ConfigError, match=problem):
        fill(tracks_pb2.TrackFilter(), values)
