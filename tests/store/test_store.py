"""The store on SQLite and on PostgreSQL: what is stored, in which order, and what is published when."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from faceanalytics.errors import ConfigError
from faceanalytics.v1 import tracks_pb2
from streamer.config import Store as StoreConfig
from streamer.store.database import blocks_of, made_file
from streamer.store.tables import faces, runs, tracks
from streamer.store.values import LogKind
from streamer.values import (
    EndReason,
    IdentityDecision,
    IdentityEstimate,
    IdentityStatus,
    TrackState,
)
from tests.support import builders
from tests.support.builders import summary
from tests.support.patience import WAIT_S
from tests.support.stored import Running, final, merged, running

Place = Callable[..., StoreConfig]


def shown(one: Running) -> list[tuple[str, int, int, bool]]:
    return [(each.summary.key.id, each.summary.revision, each.sequence, each.stored) for each in one.published]


def decision(person: str, revision: int) -> IdentityDecision:
    return IdentityDecision(IdentityStatus.IDENTIFIED, person, None, (), None, 0.4, 3, 0.5, revision)


async def test_events_are_stored_in_order_and_published_with_their_sequence(place: Place) -> None:
    async with running(place()) as one:
        one.put(summary("t1"), summary("t1", 2), summary("t2"), final("t1"), merged("t2", "t1"))
        await one.settle()
        assert await one.events() == [(1, "NEW", "t1"), (2, "NEW", "t2"), (3, "END", "t1"), (4, "MERGE", "t2")]
        assert shown(one) == [
            ("t1", 1, 1, True), ("t1", 2, 0, True), ("t2", 1, 2, True), ("t1", 99, 3, True), ("t2", 99, 4, True)
        ]  # fmt: skip
        assert one.states == []


async def test_a_track_that_is_confirmed_and_ended_at_once_has_two_events(place: Place) -> None:
    async with running(place()) as one:
        one.put(final("t1"), final("t1"), summary("t1"))
        await one.settle()
        assert await one.events() == [(1, "NEW", "t1"), (2, "END", "t1")]
        assert shown(one) == [("t1", 99, 2, True)]  # what came after the end was ignored


async def test_splits_and_decisions_have_kinds_of_their_own(place: Place) -> None:
    async with running(place()) as one:
        one.put(summary("t1", 1), summary("t1", 2, decision=decision("ann", 1)))
        one.put(summary("t1", 3, decision=decision("ann", 1)), summary("t1", 4, decision=decision("bob", 2)))
        one.put(final("t1", end_reason=EndReason.SPLIT, decision=decision("bob", 2)), summary("t2", split_from="t1"))
        await one.settle()
        kinds = [kind for _, kind, _ in await one.events()]
        assert kinds == ["NEW", "DECISION", "DECISION", "SPLIT", "NEW"]


async def test_nothing_is_published_before_it_is_stored(place: Place) -> None:
    """At the moment of its publication, another connection reads each event from the database."""
    one = Running(place(), lambda outgoing: checks.append(asyncio.ensure_future(stored(outgoing.sequence))))
    checks: list[asyncio.Future[bool]] = []

    async def stored(sequence: int) -> bool:
        return not sequence or [event.sequence for event in await one.store.log.read(sequence - 1, sequence, 1)] == [
            sequence
        ]

    await one.store.open()
    writing = asyncio.create_task(one.store.run())
    for number in range(200):
        one.put(summary(f"t{number}"), summary(f"t{number}", 2))
        if number % 7 == 0:
            await asyncio.sleep(0)
    await one.settle()
    assert len(checks) == 400
    assert all(await asyncio.gather(*checks))
    writing.cancel()
    await asyncio.wait([writing])
    await one.store.close()


async def test_the_stored_track_has_what_queries_need(place: Place) -> None:
    seen = datetime(2030, 1, 1, 12, 0, 1, 250_000, UTC)
    identity = IdentityEstimate(np.eye(1, 512, dtype=np.float32)[0], 0.9, 0, builders.evidence())
    async with running(place()) as one:
        one.put(final("t1", first_captured_at=seen.replace(microsecond=0), captured_at=seen, identity=identity,
                      decision=decision("ann", 1), quality=0.5, samples=3, model_id="m"))  # fmt: skip
        await one.settle()
        (row,) = await one.rows(tracks)
        assert (row.track_id, row.camera, row.state, row.person) == ("t1", "door", "ENDED", "ann")
        assert (row.first_seen, row.last_seen) == (seen.replace(microsecond=0), seen)
        assert (row.age, row.expression, row.attributes, row.described) == (None, None, "|", True)
        assert (row.end_reason, row.quality, row.samples, row.model_id) == ("TIMEOUT", 0.5, 3, "m")
        track = await one.track("t1")
        assert track.end_reason == tracks_pb2.END_REASON_TIMEOUT
        assert list(track.identity.embedding) == []  # no biometric vector is stored


async def test_open_tracks_of_a_streamer_that_died_end_with_their_last_stored_values(place: Place) -> None:
    async with running(place(checkpoint_s=0.05), clean=False) as one:
        one.put(summary("t1"), summary("t2"), final("t2"))
        await one.settle()
        one.put(summary("t1", 5, quality=0.75))
        async with asyncio.timeout(WAIT_S):
            while (await one.track("t1")).quality != 0.75:
                await asyncio.sleep(0.01)
    async with running(place()) as one:
        assert await one.events() == [(1, "NEW", "t1"), (2, "NEW", "t2"), (3, "END", "t2"), (4, "END", "t1")]
        track = tracks_pb2.Track.FromString((await one.log())[-1].payload)
        assert (track.track_id, track.quality, track.final, track.revision) == ("t1", 0.75, True, 6)
        assert track.end_reason == tracks_pb2.END_REASON_INTERRUPTED
        assert track.state == tracks_pb2.TRACK_STATE_ENDED
        assert track == await one.track("t1")
        one.put(summary("t3"))
        await one.settle()
        assert (await one.events())[-1] == (5, "NEW", "t3")


async def test_a_clean_end_leaves_nothing_to_repair(place: Place) -> None:
    async with running(place()) as one:
        one.put(summary("t1"), final("t1"))
    async with running(place()) as one:
        assert [kind for _, kind, _ in await one.events()] == ["NEW", "END"]
        first, second = await one.rows(runs)
    assert (first.run, first.first_sequence, second.run, second.first_sequence) == (1, 1, 2, 3)
    assert first.ended is not None
    assert second.ended is None
    assert first.instance_id != second.instance_id


async def test_one_store_serves_one_streamer(place: Place) -> None:
    async with running(place()):
        other = Running(place())
        with pytest.raises(ConfigError, match="another streamer uses"):
            await other.store.open()
    async with running(place()):
        pass


async def test_pictures_are_stored_if_wanted_and_only_the_best_one(place: Place) -> None:
    for wanted in (False, True):
        async with running(place(faces=wanted)) as one:
            one.put(summary("t1"))
            for quality in (0.3, 0.8, 0.5):
                one.store.see("t1", builders.crop(quality=quality, fill=int(100 * quality)))
            one.put(final("t1", end_reason=EndReason.LEFT_FRAME))
            await one.settle()
            found = await one.rows(faces)
            picture = await one.store.history.face("t1")
        assert [row.quality for row in found] == ([0.8] if wanted else [])
        assert picture[:2] == (b"\xff\xd8" if wanted else b"")


async def test_what_is_not_about_a_track_is_in_the_log_too(place: Place) -> None:
    async with running(place()) as one:
        one.store.note(LogKind.CAMERA, "door", b"{}")
        one.put(summary("t1"))
        await one.settle()
        assert await one.events() == [(1, "CAMERA", ""), (2, "NEW", "t1")]


async def test_a_track_is_confirmed_tentative_or_lost_in_the_table_until_it_has_ended(place: Place) -> None:
    async with running(place(checkpoint_s=0.05)) as one:
        one.put(summary("t1"), summary("t1", 2, state=TrackState.LOST))
        await one.settle()
        assert [row.state for row in await one.rows(tracks)] == ["LOST"]
        one.put(final("t1"))
        await one.settle()
        assert [row.state for row in await one.rows(tracks)] == ["ENDED"]


async def test_other_programs_never_take_a_store_that_is_in_use_for_unused(tmp_path: Path) -> None:
    config = StoreConfig(folder=str(tmp_path))
    async with running(config) as one:
        one.put(final())
        await one.settle()
        file = made_file(config)  # as the doctor does
        for path in one.store.database.files():  # as an erasure does
            assert sum(map(len, blocks_of(Path(path), 1 << 16))) == Path(path).stat().st_size
        script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM tracks').fetchone()"
        subprocess.run([sys.executable, "-c", script, str(file)], check=True)
        assert Path(f"{file}-wal").exists()  # whoever closes an unused database removes it
        assert len(await one.log()) == 2
