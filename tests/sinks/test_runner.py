"""The runner on SQLite and PostgreSQL, with real files and a real HTTP server as receivers."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streamer.config import Store as StoreConfig
from streamer.sink_settings import FilesSink
from streamer.sinks.delivery import Refused, SinkEvent, Undelivered
from streamer.sinks.encode import Encoder
from streamer.sinks.runner import SinkRunner
from streamer.store.backup import contents
from streamer.store.follow import Follower
from streamer.store.values import LogKind
from streamer.values import Candidate, IdentityDecision, IdentityStatus
from tests.support.builders import summary
from tests.support.receiver import FAILURES, Receiver, at_random
from tests.support.sinking import eventually, metric, settings, sinking
from tests.support.stored import Running, final, merged, running

Place = Callable[..., StoreConfig]


def lines(folder: Path, name: str = "file") -> list[dict[str, Any]]:
    path = folder / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def seen_of(events: Sequence[Mapping[str, Any]]) -> list[tuple[int, str, str]]:
    return [(int(one["sequence"]), one["type"].split(".")[-1], one.get("subject", "")) for one in events]


def files(folder: Path, **changes: Any) -> dict[str, Any]:
    return settings(type="files", name="file", folder=str(folder), **changes)


def webhook(receiver: Receiver, **changes: Any) -> dict[str, Any]:
    return settings(type="webhook", name="hook", url=receiver.url, **changes)


async def test_events_are_delivered_in_order_once_they_are_stored(place: Place, tmp_path: Path) -> None:
    async with sinking(place(), files(tmp_path / "out")) as (one, _sinks):
        one.put(summary("t1"), summary("t1", 2), summary("t2"), final("t1"), merged("t2", "t1"))
        await one.settle()
        await eventually(lambda: len(lines(tmp_path / "out")) == 4)
        assert seen_of(lines(tmp_path / "out")) == [
            (1, "new", "t1"),
            (2, "new", "t2"),
            (3, "end", "t1"),
            (4, "merge", "t2"),
        ]
        await eventually(lambda: metric("lag_events", "file") == 0)
        assert metric("state", "file", state="working") == 1


async def test_a_sink_goes_on_where_it_was_after_a_restart(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with sinking(place(), files(out)) as (one, _):
        one.put(summary("t1"), final("t1"))
    async with running(place()) as one:  # without the sink
        one.put(summary("t2"), final("t2"))
    async with sinking(place(), files(out, start="now")) as (one, _):
        one.put(summary("t3"))
    assert [number for number, _, _ in seen_of(lines(out))] == [1, 2, 3, 4, 5]
    assert [(sink.name, sink.sequence, sink.behind) for sink in contents(place()).sinks] == [("file", 5, 0)]


async def test_a_new_sink_begins_now_or_with_the_oldest_event(place: Place, tmp_path: Path) -> None:
    now, oldest = files(tmp_path / "out", start="now"), settings(type="files", name="all", folder=str(tmp_path / "out"))
    async with running(place()) as one:
        one.put(summary("t1"))
    async with sinking(place(), now, oldest) as (one, _):
        one.put(summary("t2"))
    # killed: t1 and t2 are ended at the next start
    assert [track for _, _, track in seen_of(lines(tmp_path / "out"))] == ["t2"]
    assert [track for _, _, track in seen_of(lines(tmp_path / "out", "all"))] == ["t1", "t1", "t2"]


async def test_events_are_chosen_by_kind_and_camera(place: Place, tmp_path: Path) -> None:
    ends = files(tmp_path / "out", events=["END", "CAMERA"], cameras=["door"])
    async with sinking(place(), ends) as (one, _):
        one.put(summary("t1"), summary("t2", camera="yard"), final("t1"), final("t2", camera="yard"))
        one.store.note(LogKind.CAMERA, "yard", b'{"change": "added"}')
        one.store.note(LogKind.CAMERA, "door", b'{"change": "removed"}')
    found = lines(tmp_path / "out")
    assert seen_of(found) == [(3, "end", "t1"), (6, "changed", "door")]
    assert found[1]["data"] == {"change": "removed"}
    assert contents(place()).sinks[0].sequence == 6


async def test_who_a_person_is_leaves_only_if_wanted(place: Place, tmp_path: Path) -> None:
    named = IdentityDecision(
        IdentityStatus.IDENTIFIED, "ann", None, (Candidate("ann", 0.7), Candidate("bob", 0.2)), None, 0.4, 3, 0.5, 1
    )
    plain, full = (
        files(tmp_path / "out"),
        settings(type="files", name="full", folder=str(tmp_path / "out"), biometric=True),
    )
    async with sinking(place(), plain, full) as (one, _):
        one.put(summary("t1"), final("t1", decision=named))
    assert "ann" not in (tmp_path / "out" / "file.jsonl").read_text()
    decision = lines(tmp_path / "out", "full")[1]["data"]["decision"]
    assert (decision["person"], [each["person"] for each in decision["candidates"]]) == ("ann", ["ann", "bob"])
    assert lines(tmp_path / "out")[1]["data"]["decision"]["status"] == "IDENTITY_STATUS_IDENTIFIED"


async def test_a_receiver_that_is_down_costs_only_its_backlog(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Receiver() as receiver:
        down = webhook(receiver)
    before = metric("failures_total", "hook")
    async with sinking(place(), down, files(tmp_path / "out")) as (one, _sinks):
        for number in range(50):
            one.put(summary(f"t{number:02}"), final(f"t{number:02}"))
        await one.settle()
        assert len([each for each in one.published if each.sequence]) == 100
        await eventually(lambda: len(lines(tmp_path / "out")) == 100)
        await eventually(lambda: metric("failures_total", "hook") >= before + 3)
        assert metric("lag_events", "hook") == 100
        assert metric("lag_seconds", "hook") > 0
        assert metric("state", "hook", state="failing") == 1
        back = Receiver(receiver.server_address[1])
        with back:
            await eventually(lambda: len(back.events) == 100)
            await eventually(lambda: metric("lag_events", "hook") == 0)
    assert [number for number, _, _ in seen_of(back.events)] == list(range(1, 101))
    text = [record.getMessage() for record in caplog.records if record.getMessage().startswith("sink hook")]
    assert [line.split(": ")[1].split()[0] for line in text if "behind" not in line or "again" in line] == [
        f"http://127.0.0.1:{receiver.server_address[1]}", "delivers"
    ]  # fmt: skip
    assert "geheim" not in caplog.text


@pytest.mark.parametrize("batched", [False, True])
async def test_a_receiver_that_fails_at_random_gets_everything_in_order(place: Place, batched: bool) -> None:
    with Receiver(behave=at_random(3, 0.3)) as receiver:
        sink = webhook(receiver, batched=batched, batch=7, timeout_s=0.5)
        async with sinking(place(), sink) as (one, sinks):
            for number in range(60):
                one.put(summary(f"t{number % 20:02}-{number // 20}"), final(f"t{number % 20:02}-{number // 20}"))
                await asyncio.sleep(0.005)
            await one.settle()
            await eventually(lambda: sinks.behind == 0)
        check_complete(receiver.events, 120)


def check_complete(events: Sequence[Mapping[str, Any]], count: int) -> None:
    """Nothing is lost, the order of each track is kept, and doubles have the same id and content."""
    contents_of: dict[str, set[str]] = defaultdict(set)
    for one in events:
        contents_of[one["id"]].add(json.dumps(one, sort_keys=True))
    assert len(contents_of) == count
    assert {len(content) for content in contents_of.values()} == {1}
    order: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for one in events:
        if one["id"] not in seen:
            seen.add(one["id"])
            order[one["subject"]].append(int(one["sequence"]))
    assert all(earlier < later for numbers in order.values() for earlier, later in pairwise(numbers))


async def test_a_refused_event_is_counted_and_left_out(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    def behave(body: bytes) -> str:
        return "400" if b'"subject":"t3"' in body else "ok"

    for batched in (False, True):
        before = metric("refused_total", "hook")
        with Receiver(behave=behave) as receiver:
            async with sinking(place(), webhook(receiver, batched=batched, start="now")) as (one, sinks):
                one.put(*(summary(f"t{number}") for number in range(6)), *(final(f"t{number}") for number in range(6)))
                await one.settle()
                await eventually(lambda: sinks.behind == 0)
        assert [track for _, _, track in seen_of(receiver.events)] == ["t0", "t1", "t2", "t4", "t5"] * 2
        assert metric("refused_total", "hook") - before == 2
    assert len([record for record in caplog.records if "refuses event" in record.getMessage()]) == 2


async def test_events_that_are_deleted_before_they_are_delivered_are_a_counted_gap(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = metric("skipped_total", "file")
    async with sinking(place(), files(tmp_path / "out")) as (one, _):
        one.put(summary("t1"))
    async with running(place(keep={"events_days": 1})) as one:
        one.put(summary("t2"), summary("t3"))
        await one.settle()
        later = datetime.now(UTC) + timedelta(days=2)
        await one.store._retention.run(one.store._transaction, later)
        one.put(summary("t4"))
    async with sinking(place(), files(tmp_path / "out")) as (one, _):
        one.put(summary("t5"))
    found = seen_of(lines(tmp_path / "out"))
    assert [track for _, _, track in found if track in ("t2", "t3")] == ["t2", "t3"]  # ended as interrupted
    gap = 1 + 2  # t1 ended as interrupted, t2, t3
    assert metric("skipped_total", "file") - before == gap
    assert len([record for record in caplog.records if "were deleted" in record.getMessage()]) == 1


async def test_holes_in_the_log_are_counted_too(place: Place, tmp_path: Path) -> None:
    before = metric("skipped_total", "file")
    async with running(place()) as one:
        one.put(*(summary(f"t{number}") for number in range(9)))
        await one.settle()
        from streamer.store.tables import events

        await one.store.execute(events.delete().where(events.c.sequence.in_([3, 4, 7])))
    async with sinking(place(), files(tmp_path / "out", batch=2)):
        pass
    assert metric("skipped_total", "file") - before == 3


async def test_what_is_stored_twice_has_the_same_id_and_what_is_not_has_another(place: Place, tmp_path: Path) -> None:
    for name in ("first", "second"):
        async with sinking(place(), settings(type="files", name=name, folder=str(tmp_path / "out"))) as (one, _):
            one.put(final(f"t-{name}"))
    first, second = lines(tmp_path / "out", "first"), lines(tmp_path / "out", "second")
    assert first == second[:2]
    runs = {one["id"].rpartition("-")[0] for one in second}
    assert len(runs) == 2  # two starts
    assert len({one["source"] for one in second}) == 1


async def test_the_place_is_not_lost_if_the_streamer_is_killed(place: Place, tmp_path: Path) -> None:
    async with sinking(place(), files(tmp_path / "out"), clean=False) as (one, sinks):
        one.put(summary("t1"), final("t1"))
        await one.settle()
        await eventually(lambda: sinks._runners[0].kept == 2)
    async with sinking(place(), files(tmp_path / "out")) as (one, _):
        one.put(final("t2"))
    assert [number for number, _, _ in seen_of(lines(tmp_path / "out"))] == [1, 2, 3, 4]


class Shown:
    """A sink that shows cameras, and whose every second call fails."""

    name = "shown"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.states: list[dict[str, str]] = []
        self.events: list[str] = []
        self.bug: Exception | None = None
        self._count = 0

    async def open(self) -> None:
        self.calls.append("open")

    async def deliver(self, events: Sequence[SinkEvent]) -> None:
        self._count += 1
        self.calls.append("deliver")
        if self._count % 2:
            self.events += [one.track_id for one in events[:2]]
            if self.bug is not None:
                raise self.bug
            raise Undelivered("every second call", delivered=min(2, len(events)))
        self.events += [one.track_id for one in events]

    async def cameras(self, states: Mapping[str, str]) -> None:
        self.calls.append("cameras")
        self.states.append(dict(states))

    async def close(self) -> None:
        self.calls.append("close")


async def run_with(one: Running, sink: Shown, **changes: Any) -> tuple[SinkRunner, "asyncio.Task[None]"]:
    configured = FilesSink.model_validate(
        {"type": "files", "name": "shown", "folder": "x", "retry": {"initial_s": 0.02}, **changes}
    )
    follower = Follower(one.store, list(LogKind), configured.cameras)
    encoder = Encoder(one.store.log, lambda message: message)
    runner = SinkRunner(configured, sink, follower, encoder, one.store.log, 0)
    one.store.commits.add(runner.wake)
    return runner, asyncio.create_task(runner.run())


async def test_what_was_acknowledged_of_a_batch_is_not_delivered_again(tmp_path: Path) -> None:
    async with running(StoreConfig(folder=str(tmp_path))) as one:
        one.put(*(summary(f"t{number}") for number in range(5)))
        await one.settle()
        sink = Shown()
        runner, task = await run_with(one, sink)
        await eventually(lambda: not runner.behind)
        assert sink.events == ["t0", "t1", "t2", "t3", "t4"]
        task.cancel()


async def test_states_of_cameras_are_shown_when_they_change_and_after_each_connection(tmp_path: Path) -> None:
    async with running(StoreConfig(folder=str(tmp_path))) as one:
        sink = Shown()
        runner, task = await run_with(one, sink, cameras=["door"])
        runner.show({"door": "RUNNING", "yard": "ERROR"})
        await eventually(lambda: sink.states[-1:] == [{"door": "RUNNING"}])
        runner.show({"door": "RUNNING", "yard": "RUNNING"})
        runner.show({"door": "ERROR"})
        await eventually(lambda: sink.states[-1:] == [{"door": "ERROR"}])
        one.put(summary("t1"))
        await one.settle()
        await eventually(lambda: not runner.behind and sink.calls.count("open") == 2)
        assert sink.calls[-4:] == ["deliver", "close", "open", "cameras"]
        task.cancel()


async def test_a_bug_of_a_sink_is_reported_and_stops_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(StoreConfig(folder=str(tmp_path))) as one:
        sink = Shown()
        sink.bug = ZeroDivisionError("of a library")
        runner, task = await run_with(one, sink)
        one.put(summary("t1"), summary("t2"))
        await one.settle()
        await eventually(lambda: not runner.behind)
        task.cancel()
    assert any(record.exc_info and "ZeroDivisionError" in record.getMessage() for record in caplog.records)


async def test_a_refusal_at_a_place_skips_that_event_only(tmp_path: Path) -> None:
    class Picky(Shown):
        async def deliver(self, events: Sequence[SinkEvent]) -> None:
            for place, event in enumerate(events):
                if event.track_id in ("t1", "t4"):
                    raise Refused("not this one", place)
                self.events.append(event.track_id)

    async with running(StoreConfig(folder=str(tmp_path))) as one:
        one.put(*(summary(f"t{number}") for number in range(5)))
        await one.settle()
        sink = Picky()
        runner, task = await run_with(one, sink)
        await eventually(lambda: not runner.behind)
        assert sink.events == ["t0", "t2", "t3"]
        task.cancel()


async def test_a_store_that_does_not_work_delays_delivery_and_loses_nothing(tmp_path: Path) -> None:
    from tests.support.disk import small_files

    folder = tmp_path / "store"
    async with sinking(StoreConfig(folder=str(folder), commit_within_s=240), files(tmp_path / "out")) as (one, _sinks):
        one.put(summary("t1"))
        await one.settle()
        await eventually(lambda: len(lines(tmp_path / "out")) == 1)
        with small_files((folder / "store.sqlite-wal").stat().st_size + 100):
            one.put(summary("t2"))
            await eventually(lambda: one.store.state.degraded)
            one.put(final("t1"), summary("t3"))
            await eventually(lambda: len([each for each in one.published if each.sequence]) == 4)
            assert len(lines(tmp_path / "out")) == 1  # what is not stored is not delivered
        await eventually(lambda: not one.store.state.degraded)
        await eventually(lambda: len(lines(tmp_path / "out")) == 4)


def test_the_receiver_of_the_tests_knows_all_failures() -> None:
    assert {"500", "reset", "half", "hang"} <= set(FAILURES)
