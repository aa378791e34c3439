"""Several streamers on one PostgreSQL database: what is shared and what is not."""

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import create_engine, text

from faceanalytics.errors import ConfigError
from streamer.access.tokens import Scope, new_token, utc_now
from streamer.config import Store as StoreConfig
from streamer.people.shared import Changing, holders
from streamer.store.backup import backup, contents, restore
from streamer.store.beside import opened
from streamer.store.database import postgres_url
from streamer.store.schemas import lock_of
from streamer.store.values import ForgedToken
from tests.support.patience import WAIT_S
from tests.support.postgres import Postgres
from tests.support.stored import Running, final, running

pytestmark = pytest.mark.postgres


def config(url: str, streamer: str | None) -> StoreConfig:
    return StoreConfig(url=url, streamer=streamer, commit_within_s=WAIT_S)


async def test_each_has_a_log_of_its_own_and_tokens_are_shared(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.store.store.LOCK_S", 0.2)
    url = postgres.database()
    async with running(config(url, None)) as plain, running(config(url, "a")) as a, running(config(url, "b-2")) as b:
        plain.put(final("t0"))
        a.put(final("t1"), final("t2"))
        b.put(final("t3"))
        for one in (plain, a, b):
            await one.settle()
        assert [track for _, _, track in await a.events()] == ["t1", "t1", "t2", "t2"]
        assert await b.events() == [(1, "NEW", "t3"), (2, "END", "t3")]
        assert await plain.events() == [(1, "NEW", "t0"), (2, "END", "t0")]
        assert await b.store.history.get("t1") is None
        made, token = new_token("x", [Scope.READ], (), None, utc_now())
        await a.store.tokens.add(token)
        assert [one.id for one in await b.store.tokens.all()] == [token.id]
        assert made
        assert a.store.secret == b.store.secret == plain.store.secret
        with pytest.raises(ForgedToken):
            b.store.log.place_of(a.store.log.token(1))
        with opened(config(url, "a")) as beside, beside.engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM events")) == 4
        assert contents(config(url, "a")).counts["events"] == 4
        with pytest.raises(ConfigError, match=r"a streamer with the id a uses the database .* an id of its own"):
            await Running(StoreConfig(url=url, streamer="a")).store.open()
    async with running(config(url, "a")) as again:
        assert again.store.sequence == 4


async def test_a_backup_has_the_tables_of_one_streamer_and_is_put_into_a_database_of_its_own(
    postgres: Postgres, tmp_path: Path
) -> None:
    url, copy = postgres.database(), tmp_path / "copy.sqlite"
    async with running(config(url, "a")) as a:
        a.put(final("t1"))
        await a.settle()
        backup(config(url, "a"), copy)
    with pytest.raises(ConfigError, match=r"remove store\.streamer"):
        restore(config(url, "b"), copy)
    other = StoreConfig(folder=str(tmp_path / "other"))
    restore(other, copy)
    async with running(other) as one:
        assert [track for _, _, track in await one.events()] == ["t1", "t1"]


async def test_the_tables_do_not_change_while_others_use_them(postgres: Postgres) -> None:
    url = postgres.database()
    async with running(config(url, "a")):
        engine = create_engine(postgres_url(config(url, None)))
        with engine.begin() as connection:  # as a database of an earlier version
            connection.execute(text("DROP TABLE public.streamers"))
            connection.execute(text("UPDATE public.alembic_version SET version_num = '0005'"))
        engine.dispose()
        with pytest.raises(ConfigError, match="tables of another version, and other streamers use it"):
            await Running(config(url, "b")).store.open()
    async with running(config(url, "b")):
        pass


async def test_one_changes_people_at_a_time_and_a_lost_lock_is_given_back(postgres: Postgres) -> None:
    url, taken = postgres.database(), list[str]()

    async def nothing() -> list[object]:
        return []

    async with running(config(url, "a")) as a, running(config(url, "b")) as b:
        first, second = (Changing(one.store.database, nothing) for one in (a, b))  # type: ignore[arg-type]

        async def change() -> None:
            async with second:
                taken.append("second")

        async with first:
            waiting = asyncio.create_task(change())
            await asyncio.sleep(0.2)
            taken.append("first")
        await asyncio.wait_for(waiting, WAIT_S)
        assert taken == ["first", "second"]
        assert await holders(a.store.database, ["a", "b", "c"], lock_of) == {"a", "b"}
        await first.__aenter__()
        await first._connection.close()  # it is lost with its machine
        async with second:
            taken.append("third")
        await first.__aexit__(None, None, None)
        async with first:
            taken.append("fourth")
        assert taken[2:] == ["third", "fourth"]
        await first.close()
        await second.close()


def test_sqlite_is_for_one_streamer() -> None:
    with pytest.raises(ValidationError, match="several streamers share a store in PostgreSQL only"):
        StoreConfig(folder="x", streamer="a")
    for name in ("A", "a b", "", '"', "x" * 41):
        with pytest.raises(ValidationError):
            StoreConfig(url="postgresql://h/d", streamer=name)
