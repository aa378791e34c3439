"""A database that stops working: live publishing goes on and says so, and what waited is stored when it works again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamer.config import Store as StoreConfig
from streamer.store.tables import tracks
from tests.support import builders
from tests.support.builders import summary
from tests.support.disk import small_files
from tests.support.patience import FACTOR, WAIT_S
from tests.support.postgres import Postgres
from tests.support.stored import Running, final, running

SOON_S = 2.0 * FACTOR  # longest wait for a database that does not answer; a busy one answers within it


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def stored(one: Running) -> dict[str, bool]:
    """Track -> whether its last event was stored when it was published."""
    return {each.summary.key.id: each.stored for each in one.published if each.sequence}


@asynccontextmanager
async def on_a_full_disk(config: StoreConfig, folder: Path) -> AsyncIterator[Running]:
    """A store whose disk is full from the second track on."""
    async with running(config) as one:
        one.put(summary("t1"))
        await one.settle()
        wal = folder / "store.sqlite-wal"
        with small_files(wal.stat().st_size + 100):
            one.put(summary("t2"))
            await eventually(lambda: one.store.state.degraded)
            one.put(final("t1"), summary("t3"))
            await eventually(lambda: len(stored(one)) == 3)
            yield one
        await eventually(lambda: not one.store.state.degraded)


async def test_a_full_disk_costs_no_event(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    async with on_a_full_disk(StoreConfig(folder=str(folder), commit_within_s=WAIT_S), folder) as one:
        assert "disk" in one.store.state.problem
        assert one.states == [False]
        assert stored(one) == {"t1": False, "t2": False, "t3": False}
        assert one.store.state.backlog == 3
        # a watch that resumes now gets them from memory
        assert await one.events() == [(1, "NEW", "t1"), (2, "NEW", "t2"), (3, "END", "t1"), (4, "NEW", "t3")]
        assert await one.store.log.missing(0, 4) is None
    async with running(StoreConfig(folder=str(folder)), clean=False) as again:
        assert (await again.events())[:4] == [(1, "NEW", "t1"), (2, "NEW", "t2"), (3, "END", "t1"), (4, "NEW", "t3")]


async def test_a_disk_that_is_free_again_is_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    config = StoreConfig(folder=str(folder), commit_within_s=WAIT_S)
    async with running(config) as one:
        one.put(summary("t1"))
        await one.settle()
        with small_files((folder / "store.sqlite-wal").stat().st_size + 100):
            one.put(summary("t2"))
            await eventually(lambda: one.store.state.degraded)
        await eventually(lambda: not one.store.state.degraded)
        one.put(summary("t3"))
        await one.settle()
        assert stored(one) == {"t1": True, "t2": False, "t3": True}
        assert one.states == [False, True]
        assert [name for _, _, name in await one.events()] == ["t1", "t2", "t3"]


async def test_beyond_the_backlog_the_oldest_are_lost_counted_and_a_gap(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    config = StoreConfig(folder=str(folder), commit_within_s=WAIT_S, max_backlog=16)
    async with running(config) as one:
        one.put(summary("t0"))
        await one.settle()
        with small_files((folder / "store.sqlite-wal").stat().st_size + 100):
            one.put(summary("t1"))
            await eventually(lambda: one.store.state.degraded)
            one.put(*(summary(f"u{number:02}") for number in range(29)))
            await eventually(lambda: one.store.state.lost > 0)
        await eventually(lambda: not one.store.state.degraded)
        assert one.store.state.lost == 14
        missing = await one.store.log.missing(0, 31)
        assert missing is not None
        assert (missing.first, missing.last, missing.count) == (2, 15, 14)
        assert [sequence for sequence, _, _ in await one.events()] == [1, *range(16, 32)]


async def test_what_waits_for_a_database_that_is_gone_for_long_is_limited(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    config = StoreConfig(folder=str(folder), commit_within_s=WAIT_S, max_backlog=16, faces=True)
    async with running(config) as one:
        one.put(summary("open"))
        await one.settle()
        with small_files((folder / "store.sqlite-wal").stat().st_size + 100):
            one.put(summary("t1"))
            await eventually(lambda: one.store.state.degraded)
            for number in range(200):
                one.put(summary(f"u{number:03}"))
                one.store.see(f"u{number:03}", builders.crop())
                one.put(final(f"u{number:03}"))
            assert len(one.store._newest) <= 17
            assert len(one.store._faces._best) <= 17
        await eventually(lambda: not one.store.state.degraded)
        await one.settle()
        found = {row.track_id for row in await one.rows(tracks)}
        assert {"open", "t1", "u199"} <= found
        assert len(found) < 20


async def test_a_removed_file_is_noticed_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    async with running(StoreConfig(folder=str(folder), commit_within_s=WAIT_S)) as one:
        one.put(summary("t1"))
        await one.settle()
        (folder / "store.sqlite").rename(folder / "elsewhere")
        one.put(summary("t2"))
        await eventually(lambda: "was removed or replaced" in one.store.state.problem)
        assert one.store.state.degraded
        (folder / "elsewhere").rename(folder / "store.sqlite")
        await eventually(lambda: not one.store.state.degraded)
        assert [name for _, _, name in await one.events()] == ["t1", "t2"]


@pytest.mark.postgres
async def test_a_killed_postgres_costs_no_event(postgres: Postgres) -> None:
    config = StoreConfig(url=postgres.database(), commit_within_s=SOON_S)
    async with running(config) as one:
        one.put(summary("t1"))
        await one.settle()
        postgres.kill()
        one.put(summary("t2"), final("t1"))
        await eventually(lambda: one.store.state.degraded)
        await eventually(lambda: len(stored(one)) == 2)
        assert stored(one) == {"t1": False, "t2": False}
        await asyncio.to_thread(postgres.start)
        await eventually(lambda: not one.store.state.degraded)
        one.put(summary("t3"))
        await one.settle()
        assert await one.events() == [(1, "NEW", "t1"), (2, "NEW", "t2"), (3, "END", "t1"), (4, "NEW", "t3")]


async def test_what_waits_when_the_streamer_stops_is_published_though_it_cannot_be_stored(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    config = StoreConfig(folder=str(folder), commit_within_s=WAIT_S)
    async with on_a_full_disk(config, folder) as one:
        one.put(final("t3"))
        await one.store.flush(WAIT_S)  # it does not wait for a database that does not work
        assert [each.summary.key.id for each in one.published if each.summary.final] == ["t1", "t3"]
