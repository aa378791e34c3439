"""How long data is kept, how large the store may become, how its tables change, and how it is copied."""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, text, update

from faceanalytics.errors import ConfigError, LostDependency
from streamer.cli import main
from streamer.config import Store as StoreConfig
from streamer.store.backup import backup, contents, restore
from streamer.store.tables import audit, events, faces, metadata, tracks
from tests.support import builders
from tests.support.builders import summary
from tests.support.stored import Running, final, running

Place = Callable[..., StoreConfig]
NOW = datetime(2030, 6, 1, tzinfo=UTC)


async def aged(one: Running, names: list[str], days: float) -> None:
    """Make what is stored of these tracks older."""
    at = NOW - timedelta(days=days)
    await one.store.execute(
        update(events).where(events.c.track_id.in_(names)).values(at=at),
        update(tracks).where(tracks.c.track_id.in_(names)).values(stored=at),
        update(faces).where(faces.c.track_id.in_(names)).values(at=at),
    )


async def cleaned(one: Running) -> tuple[list[str], list[str], list[str]]:
    """The tracks of events, tracks and faces that are left after retention."""
    await one.store._retention.run(one.store._transaction, NOW)
    left = [sorted({row.track_id for row in await one.rows(table)}) for table in (events, tracks, faces)]
    return left[0], left[1], left[2]


async def test_each_kind_of_data_is_kept_for_its_own_time(place: Place) -> None:
    keep = {"events_days": 10, "tracks_days": 20, "faces_days": 15, "audit_days": 5}
    async with running(place(faces=True, keep=keep)) as one:
        for name, days in (("a", 30), ("b", 17), ("c", 12), ("d", 1)):
            one.put(summary(name))
            one.store.see(name, builders.crop(name))
            one.put(final(name))
            await one.settle()
            await aged(one, [name], days)
        one.put(summary("open"))
        await one.settle()
        await aged(one, ["open"], 99)
        entry = {"who": "x", "method": "m", "target": "t", "outcome": "OK"}
        await one.store.execute(audit.insert().values(time=NOW - timedelta(days=6), **entry))
        await one.store.execute(audit.insert().values(time=NOW - timedelta(days=4), **entry))
        assert await cleaned(one) == (["d", "open"], ["b", "c", "d", "open"], ["c", "d"])
        assert len(await one.rows(audit)) == 1


async def test_what_is_stored_while_old_data_is_deleted_stays(place: Place) -> None:
    async with running(place()) as one:

        async def delete() -> None:
            for _ in range(20):
                await one.store._retention.run(one.store._transaction, datetime.now(UTC))

        deleting = asyncio.create_task(delete())
        number = 0
        while not deleting.done():
            one.put(final(f"t{number:05}"))
            number += 1
            await asyncio.sleep(0.001)
        await deleting
        await one.settle()
        assert [sequence for sequence, _, _ in await one.events()] == list(range(1, 2 * number + 1))
        assert len(await one.rows(tracks)) == number


async def test_null_keeps_everything(place: Place) -> None:
    keep = dict.fromkeys(("events_days", "tracks_days", "faces_days", "audit_days"))
    async with running(place(keep=keep)) as one:
        one.put(final("a"))
        await one.settle()
        await aged(one, ["a"], 9999)
        assert await cleaned(one) == (["a"], ["a"], [])


async def test_a_store_that_is_too_large_loses_its_oldest_data(place: Place) -> None:
    async with running(place(max_size_mb=0.05)) as one:
        for number in range(100):
            one.put(final(f"t{number:03}"))
            await one.settle()
            await aged(one, [f"t{number:03}"], 5 - number / 1000)
        before = await one.store._retention.size()
        assert before > 50_000
        left_events, left_tracks, _ = await cleaned(one)
        assert await one.store._retention.size() <= 50_000
        assert left_tracks == left_events
        assert 0 < len(left_tracks) < 100
        assert left_tracks == [f"t{number:03}" for number in range(100 - len(left_tracks), 100)]  # the newest
        first = (await one.log())[0].sequence
        missing = await one.store.log.missing(0, 200)
        assert missing is not None
        assert (missing.first, missing.last, missing.count) == (1, first - 1, first - 1)


async def test_sqlite_gives_space_back(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    async with running(StoreConfig(folder=str(folder))) as one:
        one.put(*(final(f"t{number:04}") for number in range(2000)))
        await one.settle()
        await aged(one, [f"t{number:04}" for number in range(2000)], 99)
        async with one.store.database.reading() as connection:
            before = await connection.scalar(text("PRAGMA page_count"))
        await cleaned(one)
        async with one.store.database.reading() as connection:
            assert await connection.scalar(text("PRAGMA page_count")) < before / 3


def one_schema() -> MetaData:
    """The tables of a database with one streamer."""
    found = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(found, schema=None)  # type: ignore[arg-type]  # None means without one
    return found


async def test_the_migrations_make_the_tables_that_the_code_uses(place: Place) -> None:
    async with running(place()) as one:
        async with one.store.database.reading() as connection:
            different = await connection.run_sync(
                lambda sync: compare_metadata(MigrationContext.configure(sync), one_schema())
            )
        assert different == []


async def test_a_database_of_a_newer_version_is_refused(place: Place) -> None:
    async with running(place()) as one:
        await one.store.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    newer = Running(place())
    with pytest.raises(ConfigError, match=r"changed by a newer version .*revision 9999.*restore a backup"):
        await newer.store.open()


async def test_a_running_store_is_copied_and_put_back(place: Place, tmp_path: Path) -> None:
    config, copy = place(faces=True), tmp_path / "copy.sqlite"
    async with running(config) as one:
        one.put(summary("t1"), summary("t2"), final("t1"))
        one.store.see("t2", builders.crop())
        await one.settle()
        backup(config, copy)
        one.put(final("t2"))
        await one.settle()
        assert contents(config).counts["events"] == 4
    assert copy.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match="exists already"):
        backup(config, copy)
    other = StoreConfig(folder=str(tmp_path / "other"))
    restore(other, copy)
    async with running(other) as one:
        kinds = [(kind, track) for _, kind, track in await one.events()]
        assert kinds == [("NEW", "t1"), ("NEW", "t2"), ("END", "t1"), ("END", "t2")]  # it was open in the copy
        assert [row.track_id for row in await one.rows(faces)] == ["t2"]
    with pytest.raises(ConfigError, match="holds a store already"):
        restore(other, copy)
    with pytest.raises(ConfigError, match="holds a store already"):
        restore(config, copy)


@pytest.mark.postgres
async def test_a_copy_of_sqlite_is_put_into_postgres(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    copy = tmp_path / "copy.sqlite"
    async with running(StoreConfig(folder=str(tmp_path / "one"))) as one:
        one.put(final("t1"))
        await one.settle()
        entry = {"who": "x", "method": "m", "target": "t", "outcome": "OK"}
        await one.store.execute(audit.insert().values(time=NOW, **entry))
        backup(StoreConfig(folder=str(tmp_path / "one")), copy)
    target = StoreConfig(url=request.getfixturevalue("postgres").database())
    restore(target, copy)
    async with running(target) as one:
        assert await one.events() == [(1, "NEW", "t1"), (2, "END", "t1")]
        await one.store.execute(audit.insert().values(time=NOW, **entry))
        assert [row.id for row in await one.rows(audit)] == [1, 2]


def test_the_command_says_what_there_is_and_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "status"]) == 2
    assert "there is no store at" in capsys.readouterr().err
    assert main(["store", "backup"]) == 2
    assert "name the file: streamer store backup FILE" in capsys.readouterr().err
    other = tmp_path / "other.sqlite"
    sqlite3.connect(other).close()
    assert main(["store", "restore", str(other)]) == 2
    assert "is not a backup of a store" in capsys.readouterr().err
    (tmp_path / "off.yaml").write_text("store: null")
    assert main(["store", "status", "--config", str(tmp_path / "off.yaml")]) == 2
    assert "has no store" in capsys.readouterr().err


async def test_a_database_that_cannot_be_reached_at_the_start_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(LostDependency, match=r"store: cannot open .*set `store: null`"):
        await Running(StoreConfig(url=f"postgresql://u:secret@/db?host={tmp_path}")).store.open()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot use the folder"):
        Running(StoreConfig(folder=str(tmp_path / "file")))
