"""Visitors over gRPC: a live streamer with a store, painted people nobody has enrolled, and restarts."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

import faceanalytics as fa
from faceanalytics.internal.v1 import faces_pb2 as wire
from faceanalytics.v1 import gallery_pb2, tracks_pb2, visitors_pb2, visitors_pb2_grpc
from streamer.config import Store, StreamerConfig
from streamer.configfile import parse_config
from streamer.tools.watch import event_line
from tests.support.painted_people import person, write_image, write_video
from tests.support.patience import WAIT_S
from tests.support.receiver import Receiver
from tests.support.recognising import REVISION, Client, recognising, settings
from tests.support.sinking import QUICK, eventually

ADA, BOB = person(1), person(2)  # who are unlike
TABLE = wire.ImpostorScores(
    pairs=2_000_000, people=3000, shares=[1e-5, 0.001, 1], cosines=[0.5, 0.4, -1], source="card"
)
JOURNEY = tracks_pb2.EVENT_TYPE_JOURNEY
Place = Callable[..., Store]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Clips of ada and bob."""
    for name, who in (("ada", ADA), ("bob", BOB)):
        write_video(tmp_path / f"{name}.mp4", {who: [(0, 40)]}, 40)
    return tmp_path


def visiting(folder: Path, store: Store | None, **changes: Any) -> StreamerConfig:
    """A streamer with visitors."""
    found = {"enabled": True, "min_quality": 0.0, "journeys": True, **changes}
    made = settings(folder, store)
    return made.model_copy(update={"visitors": made.visitors.model_copy(update=found)})


class Desk:
    """Asks about visitors."""

    def __init__(self, client: Client, channel: aio.Channel) -> None:
        self.stub: Any = visitors_pb2_grpc.VisitorServiceStub(channel)
        self._client = client

    async def visitor_of(self, track: str) -> str:
        """The visitor whom a track shows, once it shows one."""
        await self._client.until(lambda: bool(self._client.seen[track].visitor.visitor_id))
        return self._client.seen[track].visitor.visitor_id

    async def until_one(self, one: str, other: str) -> None:
        """Wait until two tracks show one visitor."""
        async with asyncio.timeout(WAIT_S):
            while (await self._stored(one)) != (await self._stored(other)):
                await asyncio.sleep(0.05)

    async def until_apart(self, one: str, other: str) -> None:
        """Wait until two tracks show two visitors."""
        async with asyncio.timeout(WAIT_S):
            while (await self._stored(one)) == (await self._stored(other)):
                await asyncio.sleep(0.05)

    async def _stored(self, track: str) -> str:
        return (await self._client.track(track)).visitor.visitor_id

    async def list(self, **request: Any) -> list[visitors_pb2.Visitor]:
        return list((await self.stub.ListVisitors(visitors_pb2.ListVisitorsRequest(**request))).visitors)


def shows(client: Client, track: str, visitor: str) -> bool:
    """Whether a track was last said to show a visitor."""
    return track in client.seen and client.seen[track].visitor.visitor_id == visitor


def ways_of(found: Iterable[Any]) -> list[list[str]]:
    """The streams of appearances in their order, without repetitions: a clip that begins again makes a new track."""
    return [list(dict.fromkeys(each.stream_id for each in one.appearances)) for one in found]


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details() or ""


async def test_two_strangers_are_merged_and_named_and_their_past_has_the_name(place: Place, clips: Path) -> None:
    config = visiting(clips, place())
    async with recognising(config, impostors=TABLE) as client, aio.insecure_channel(client.address) as channel:
        desk = Desk(client, channel)
        first = await client.play("door", clips / "ada.mp4", loop=True)
        ada = await desk.visitor_of(first)
        assert not client.seen[first].visitor.seen_before
        second = await client.play("yard", clips / "bob.mp4", loop=True)
        bob = await desk.visitor_of(second)
        assert ada != bob
        await client.stop("door")
        again = await client.play("hall", clips / "ada.mp4", loop=True)  # at another camera
        assert await desk.visitor_of(again) == ada

        def journeys() -> list[Any]:
            return [one for one in client.events if one.type == JOURNEY and one.track.track_id == again]

        await client.until(lambda: bool(journeys()))
        journey = journeys()[0]
        assert f"visitor {ada[-6:]}  after door, " in (event_line(journey) or "")
        step = journey.track.journey
        assert (step.step, step.from_stream_id, client.seen[step.from_track_id].stream_id) == (1, "door", "door")
        await client.stop("hall")
        await client.stop("yard")
        merge = visitors_pb2.MergeVisitorsRequest(visitor_id=bob, other_visitor_id=ada)
        dry = await desk.stub.MergeVisitors(
            visitors_pb2.MergeVisitorsRequest(visitor_id=bob, other_visitor_id=ada, dry_run=True)
        )
        assert {(first, ada, bob), (again, ada, bob)} <= {(one.track_id, one.before, one.after) for one in dry.changes}
        assert (await desk.visitor_of(first)) == ada
        merged = await desk.stub.MergeVisitors(merge)
        assert (merged.visitor.visitor_id, list(merged.visitor.merged_ids)) == (bob, [ada])
        await client.until(lambda: client.seen[first].visitor.visitor_id == bob)
        assert [one.type for one in client.events if one.track.track_id == first][-1] == REVISION
    async with (
        recognising(config, impostors=TABLE) as client,
        aio.insecure_channel(client.address) as channel,
    ):  # after a restart
        desk = Desk(client, channel)
        (one,) = await desk.list()
        assert (one.visitor_id, one.visits, list(one.stream_ids)) == (bob, 1, ["door", "hall", "yard"])
        answer = await desk.stub.GetVisitor(visitors_pb2.GetVisitorRequest(visitor_id=ada))  # leads to the one left
        assert ways_of([answer]) == [["door", "yard", "hall"]]
        assert (await client.track(first)).visitor.visitor_id == bob
        new = gallery_pb2.Person(display_name="Bob")
        named = await desk.stub.NameVisitor(visitors_pb2.NameVisitorRequest(visitor_id=bob, new_person=new))
        assert named.references >= 3
        for track in (first, second, again):
            revised = await client.until_named(track, "Bob")
            assert (revised.final, revised.decision.confirmed, revised.HasField("visitor")) == (True, True, False)
        assert await desk.list() == []
        (shown,) = await desk.list(include_named=True)
        assert (shown.person, shown.person_id) == ("Bob", named.person.person_id)
        live = await client.play("gate", clips / "bob.mp4", loop=True)  # later tracks are recognised
        await client.until_named(live, "Bob")
    async with recognising(config, impostors=TABLE) as client, aio.insecure_channel(client.address) as channel:
        desk = Desk(client, channel)
        assert {(await client.track(one)).decision.person for one in (first, second, again)} == {"Bob"}
        resumed = client.tracks.WatchTracks(tracks_pb2.WatchTracksRequest(since=Timestamp(seconds=1)))
        heard = list[Any]()
        async with asyncio.timeout(WAIT_S):
            while len(heard) < 2:  # those who were away hear of the merge and of the name
                event = await resumed.read()
                heard += [event.type] if event.track.track_id == first and event.type == REVISION else []
        ways = (await desk.stub.ListJourneys(visitors_pb2.ListJourneysRequest(min_streams=2))).journeys
        assert ({one.person for one in ways}, ways_of(ways)) == ({"Bob"}, [["door", "yard", "hall", "gate"]])
        await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=named.entry_id))
        for track in (first, second, again):
            await client.until(partial(shows, client, track, bob))
            assert not client.seen[track].decision.person
        await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=merged.entry_id))
        await client.until(lambda: client.seen[first].visitor.visitor_id == ada)
        await client.until(lambda: client.seen[again].visitor.visitor_id == ada)
        assert (await client.track(second)).visitor.visitor_id == bob
        assert (await client.gallery.ListPeople(gallery_pb2.ListPeopleRequest())).people == []


async def test_what_is_said_of_tracks_holds_now_at_night_and_after_a_kill(place: Place, clips: Path) -> None:
    config = visiting(clips, place())
    async with recognising(config, impostors=TABLE) as client, aio.insecure_channel(client.address) as channel:
        desk = Desk(client, channel)
        track = {}
        for camera, name in (("a", "ada"), ("b", "ada"), ("c", "bob")):
            track[camera] = await client.play(camera, clips / f"{name}.mp4", loop=True)
            await desk.visitor_of(track[camera])
            await client.stop(camera)
        ada, bob = client.seen[track["a"]].visitor.visitor_id, client.seen[track["c"]].visitor.visitor_id
        assert await desk.visitor_of(track["b"]) == ada != bob
        part: dict[str, Any] = {"track_id": track["a"], "other_track_id": track["b"]}
        dry = await desk.stub.PartTracks(visitors_pb2.PartTracksRequest(**part, dry_run=True))
        assert {one.track_id for one in dry.visitor_changes} & set(part.values())
        parted = await desk.stub.PartTracks(visitors_pb2.PartTracksRequest(**part))
        await desk.until_apart(track["a"], track["b"])
        await desk.stub.RegroupVisitors(visitors_pb2.RegroupVisitorsRequest())
        await desk.until_apart(track["a"], track["b"])
        join = visitors_pb2.JoinTracksRequest(track_id=track["a"], other_track_id=track["c"])
        joined = await desk.stub.JoinTracks(join)
        await desk.until_one(track["a"], track["c"])
        code, text = await refusal(
            desk.stub.JoinTracks(visitors_pb2.JoinTracksRequest(track_id=track["b"], other_track_id=track["c"]))
        )
        assert (code, "were said to show different people" in text) == ("FAILED_PRECONDITION", True)
        bob_is = gallery_pb2.EnrollFromTrackRequest(
            track_id=track["c"], new_person=gallery_pb2.Person(display_name="Bob")
        )
        await client.gallery.EnrollFromTrack(bob_is)
        await client.until_named(track["c"], "Bob")
        await client.until_named(track["a"], "Bob")  # one with it
        await client.until_named(track["b"], "")  # another one than both
    async with recognising(config, impostors=TABLE) as client, aio.insecure_channel(client.address) as channel:
        desk = Desk(client, channel)
        assert (await client.track(track["a"])).decision.person == "Bob"
        assert (await client.track(track["b"])).decision.person == ""
        await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=joined.entry_id))
        await client.until_named(track["a"], "")
        await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=parted.entry_id))
        await desk.until_one(track["a"], track["b"])


async def test_visitors_are_counted_split_and_erased(place: Place, clips: Path) -> None:
    config = visiting(clips, place(faces=True))
    assert config.store is not None
    async with recognising(config, impostors=TABLE) as client, aio.insecure_channel(client.address) as channel:
        desk = Desk(client, channel)
        track = {}
        for camera, name in (("a", "ada"), ("b", "ada"), ("c", "bob")):
            track[camera] = await client.play(camera, clips / f"{name}.mp4", loop=True)
            await desk.visitor_of(track[camera])
            await client.stop(camera)
        ada = client.seen[track["a"]].visitor.visitor_id
        asked = visitors_pb2.CountVisitorsRequest(by_hour=True, by_stream=True)
        counts = await desk.stub.CountVisitors(asked)
        assert (counts.total.visitors, counts.total.low, counts.total.visits) == (2, 2, 2)
        assert counts.total.high >= 2 + counts.total.undecided_tracks
        assert [(one.stream_id, one.visitors) for one in counts.streams] == [("a", 1), ("b", 1), ("c", 1)]
        assert len(counts.hours) in (1, 2)
        some = await desk.stub.CountVisitors(visitors_pb2.CountVisitorsRequest(stream_ids=["c"]))
        assert some.total.visitors == 1
        of_ada = (await desk.stub.GetVisitor(visitors_pb2.GetVisitorRequest(visitor_id=ada))).appearances
        chosen = [one.track_id for one in of_ada if one.stream_id == "b"]
        split = await desk.stub.SplitVisitor(visitors_pb2.SplitVisitorRequest(visitor_id=ada, track_ids=chosen))
        await client.until(lambda: client.seen[track["b"]].visitor.visitor_id == split.visitor_id)
        assert (await client.track(track["a"])).visitor.visitor_id == ada
        wrong = visitors_pb2.SplitVisitorRequest(visitor_id=ada, track_ids=["x"])
        assert (await refusal(desk.stub.SplitVisitor(wrong)))[0] == "INVALID_ARGUMENT"
        await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=split.entry_id))
        await client.until(lambda: client.seen[track["b"]].visitor.visitor_id == ada)
        erased = await desk.stub.EraseVisitor(visitors_pb2.EraseVisitorRequest(visitor_id=ada))
        assert list(erased.found) == []
        assert erased.removed_rows["visitor_tracks"] >= 2
        assert erased.removed_rows["templates"] >= 2
        assert not (await client.track(track["a"])).HasField("visitor")
        (left,) = await desk.list()
        whole = await desk.stub.GetVisitor(visitors_pb2.GetVisitorRequest(visitor_id=left.visitor_id))
        assert left.newest_track_id == whole.appearances[-1].track_id
        assert [one.visitor_id for one in await desk.list(id_suffix=left.visitor_id[-6:])] == [left.visitor_id]
        assert await desk.list(id_suffix="x") == []
        assert left.visitor_id == client.seen[track["c"]].visitor.visitor_id
        gone = visitors_pb2.GetVisitorRequest(visitor_id=ada)
        assert (await refusal(desk.stub.GetVisitor(gone)))[0] == "NOT_FOUND"
    async with recognising(config, impostors=TABLE) as client, aio.insecure_channel(client.address) as channel:
        desk = Desk(client, channel)
        assert [one.visitor_id for one in await desk.list()] == [left.visitor_id]
        returned = await client.play("d", clips / "ada.mp4", loop=True)  # she is somebody new
        assert await desk.visitor_of(returned) not in (ada, left.visitor_id)


def templates_of(config: StreamerConfig) -> set[str]:
    """The tracks that have a template in the SQLite database of a streamer that has stopped."""
    assert config.store is not None
    assert config.store.folder is not None
    with closing(sqlite3.connect(Path(config.store.folder) / "store.sqlite")) as database:
        return {name for (name,) in database.execute("SELECT track_id FROM templates")}


@pytest.mark.parametrize("person", [False, True])
@pytest.mark.parametrize("in_view", [True, False])
async def test_who_is_erased_while_the_face_is_not_stored_yet_leaves_none(
    clips: Path, in_view: bool, person: bool
) -> None:
    config = visiting(clips, Store(folder=str(clips / "store")))
    write_image(clips / "ada.png", [ADA])
    async with recognising(config, impostors=TABLE) as client, aio.insecure_channel(client.address) as channel:
        desk = Desk(client, channel)
        other = await client.play("b", clips / "bob.mp4", loop=True)
        await desk.visitor_of(other)
        if person:
            ada = (await client.create("Ada")).person_id
            await client.add(ada, clips / "ada.png")
        track = await client.play("a", clips / "ada.mp4", loop=True)
        await (client.until_named(track, "Ada") if person else desk.visitor_of(track))
        if not in_view:
            await client.stop("a")
        if person:
            done = await client.gallery.ErasePerson(gallery_pb2.ErasePersonRequest(person_id=ada))
            assert list(done.report.found) == []
        else:
            asked = visitors_pb2.EraseVisitorRequest(visitor_id=client.seen[track].visitor.visitor_id)
            assert list((await desk.stub.EraseVisitor(asked)).found) == []
        assert not (await client.track(track)).HasField("visitor")
        if in_view:
            await client.stop("a")
        await client.stop("b")
    assert other in templates_of(config)
    assert track not in templates_of(config)


async def test_a_journey_reaches_sinks_and_python_programs(clips: Path) -> None:
    answers = iter(["500 after"])  # then "ok": the second time it is a double

    def behave(body: bytes) -> str:
        return next(answers, "ok")

    with Receiver(behave=behave) as receiver:
        shared = {"events": ["JOURNEY"], "biometric": True, "retry": QUICK}
        file = {"type": "files", "name": "file", "folder": str(clips / "out"), **shared}
        hook = {"type": "webhook", "name": "hook", "url": receiver.url, **shared}
        sinks = parse_config({"sinks": [file, hook]}, "test").sinks
        config = visiting(clips, Store(folder=str(clips / "store"))).model_copy(update={"sinks": sinks})
        async with recognising(config, impostors=TABLE) as client, aio.insecure_channel(client.address) as channel:
            desk = Desk(client, channel)
            first = await client.play("door", clips / "ada.mp4", loop=True)
            ada = await desk.visitor_of(first)
            await client.stop("door")
            second = await client.play("yard", clips / "ada.mp4")
            await eventually(lambda: len(receiver.events) == 2)
            async with fa.aio.connect(client.address) as streamer:
                watching = streamer.watch(since=datetime(2026, 1, 1, tzinfo=UTC))
                async with asyncio.timeout(WAIT_S), watching as watch:
                    travelled = await anext(until_travelled(watch))
                known = await streamer.get_track(first)
    (line,) = (clips / "out" / "file.jsonl").read_text().splitlines()
    delivered = json.loads(line)
    assert receiver.events == [delivered, delivered]
    body = delivered["data"]
    assert (delivered["type"], delivered["subject"]) == ("faceanalytics.track.journey", second)
    assert (body["stream_id"], body["visitor"]["visitor_id"]) == ("yard", ada)
    assert (body["journey"]["from_stream_id"], body["journey"]["from_track_id"]) == ("door", first)
    assert travelled.log_sequence == int(delivered["sequence"])
    visitor, step = travelled.track.visitor, travelled.track.journey
    assert visitor is not None
    assert step is not None
    assert (visitor.visitor_id, visitor.seen_before, visitor.visits) == (ada, False, 1)
    assert (step.step, step.from_track_id, step.from_stream_id) == (1, first, "door")
    assert step.gap_s == pytest.approx(float(body["journey"]["gap"].removesuffix("s")))
    assert (known.visitor, known.journey) == (visitor, None)


async def until_travelled(watch: fa.AioWatch) -> AsyncIterator[fa.TrackTravelled]:
    """The first step of a journey."""
    async for event in watch:
        if isinstance(event, fa.TrackTravelled):
            yield event
            return


async def test_without_visitors_calls_say_what_is_missing(clips: Path) -> None:
    async with (
        recognising(settings(clips, Store(folder=str(clips / "store")))) as client,
        aio.insecure_channel(client.address) as channel,
    ):
        code, text = await refusal(Desk(client, channel).stub.ListVisitors(visitors_pb2.ListVisitorsRequest()))
        assert (code, "visitors.enabled" in text) == ("FAILED_PRECONDITION", True)
        track = await client.play("door", clips / "ada.mp4")
        assert not client.seen[track].HasField("visitor")
