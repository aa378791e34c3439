"""Reads a store, or a backup of one, without changing it: beside a running streamer, or without one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Executable, event, select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from faceanalytics.errors import ConfigError, LostDependency
from streamer.config import Store as StoreConfig
from streamer.encryption import NotReadable, read_keys
from streamer.store import sqlite_driver
from streamer.store.database import FILE, expecting, postgres_url, redacted, sqlite_folder
from streamer.store.decisions import Naming
from streamer.store.migrate import is_newest
from streamer.store.schemas import schemas, schemas_elsewhere, search_path
from streamer.store.sealed import TOKEN_KEY, Columns, Sealed
from streamer.store.started import KEY
from streamer.store.tables import meta
from streamer.store.values import StoreUnavailable


class ReadingDatabase:
    """A database that is only read."""

    def __init__(self, engine: AsyncEngine, streamer: str) -> None:
        """`streamer`: id of the one whose tables they are; empty: there is only one."""
        self._engine = engine
        self._streamer = streamer

    @asynccontextmanager
    async def reading(
        self, within_s: float | None = None, of: str | None = None, one_moment: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """Lend a connection as a streamer's database does; nothing else writes for long, so there is no time limit.

        Raises StoreUnavailable if the database does not answer.
        """
        del within_s
        with expecting():
            async with self._engine.connect() as connection:
                if of is not None:
                    tables = schemas_elsewhere(self._streamer, of)
                    await connection.execution_options(schema_translate_map=tables)
                if one_moment and self._engine.dialect.name == "postgresql":
                    await connection.execution_options(isolation_level="REPEATABLE READ")
                yield connection


class StoreReader:
    """Offers what a ledger of people needs of a store to be read."""

    def __init__(self, config: StoreConfig, engine: AsyncEngine, secret: bytes) -> None:
        self.sealer = read_keys(Path(config.key_file) if config.key_file else None)
        self.columns = Columns(self.sealer)
        self.database = ReadingDatabase(engine, config.streamer or "")
        self.secret = secret
        self.naming = Naming()

    async def execute(self, *statements: Executable) -> None:
        """Write nothing: keys of people that a streamer would encrypt again stay as they are."""


@asynccontextmanager
async def read_store(config: StoreConfig, backup: Path | None = None) -> AsyncIterator[StoreReader]:
    """Open a store, or a backup, for reading. Raises ConfigError, MissingPackage and LostDependency."""
    if backup is not None or not config.database():
        file = backup or sqlite_folder(config) / FILE
        name = str(file)
        if not file.is_file():
            raise ConfigError(f"{file}: there is no store")
        quoted = str(file.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        url = URL.create("sqlite+aiosqlite", database=f"file:{quoted}", query={"mode": "ro", "uri": "true"})
        engine = create_async_engine(url, execution_options={"schema_translate_map": schemas("")})
        event.listen(engine.sync_engine, "do_connect", sqlite_driver.connect)
    else:
        name = redacted(config)
        url, streamer = postgres_url(config), config.streamer or ""
        place = search_path(url, streamer).get("options", "")
        read_only = {"connect_timeout": 5, "options": f"{place} -c default_transaction_read_only=on".strip()}
        tables = {"schema_translate_map": schemas(streamer)}
        engine = create_async_engine(url, connect_args=read_only, execution_options=tables)
    try:
        with expecting():
            async with engine.connect() as connection:
                if not await connection.run_sync(is_newest):
                    raise ConfigError(f"{name}: it is of another version; start a streamer of this version on it once")
                key = await connection.scalar(select(meta.c.value).where(meta.c.name == KEY))
        sealer = read_keys(Path(config.key_file) if config.key_file else None)
        secret = bytes.fromhex(Sealed(sealer, TOKEN_KEY).read(key or "", ""))
        yield StoreReader(config, engine, secret)
    except (StoreUnavailable, NotReadable) as error:
        raise LostDependency(f"store: cannot read {name}: {error}") from error
    finally:
        await engine.dispose()
