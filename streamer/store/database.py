"""Opens the database: one connection that writes, and others that read."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from errno import EACCES
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Insert, Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from faceanalytics.errors import ConfigError
from faceanalytics.extras import require
from faceanalytics.files import exclusive
from streamer.config import Store as StoreConfig
from streamer.config import redact
from streamer.store import sqlite_driver
from streamer.store.migrate import migrate
from streamer.store.schemas import (
    USED,
    Schemas,
    lock_of,
    migrate_postgres,
    schemas,
    schemas_elsewhere,
    search_path,
)
from streamer.store.values import StoreUnavailable

FILE = "store.sqlite"
READERS = 4  # connections that read at the same time
LOCK_POLL_S = 0.25
CHECKPOINTS = 20  # attempts to empty the write-ahead log, which a reader may hold for a moment
_OPEN: dict[tuple[int, int], int] = {}  # descriptors by device and inode, see blocks_of
_BUGS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)  # a retry gives the same answer


def sqlite_folder(config: StoreConfig) -> Path:
    """Return the folder of the SQLite database."""
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    return Path(config.folder) if config.folder else state / "faceanalytics"


def made_file(config: StoreConfig) -> Path:
    """Return the file of the SQLite database, made if need be. Raises ConfigError."""
    folder = sqlite_folder(config)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder.resolve() / FILE
        # The log says who was where. A file that is there is not opened: closing it would drop the locks of SQLite.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        if not os.access(file, os.R_OK | os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
    except OSError as error:
        raise ConfigError(f"store: cannot use the folder {folder}: {error.strerror}; set store.folder") from error
    return file


def blocks_of(path: Path, size: int) -> Iterator[bytes]:
    """Read a file of a database in blocks.

    Its descriptor stays open: closing it would drop the locks that SQLite holds on the file in this process, and
    another program would then take the database for unused.
    """
    at = path.stat()
    if (at.st_dev, at.st_ino) not in _OPEN:
        _OPEN[at.st_dev, at.st_ino] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    descriptor, place = _OPEN[at.st_dev, at.st_ino], 0
    while block := os.pread(descriptor, size, place):
        place += len(block)
        yield block


def folder_of(config: StoreConfig | None) -> Path | None:
    """Return the folder of the SQLite database; None: there is no store, or it is in PostgreSQL."""
    return None if config is None or config.database() else sqlite_folder(config)


def redacted(config: StoreConfig) -> str:
    """Return the address of the PostgreSQL database without user and password."""
    return redact(config.database())


def postgres_url(config: StoreConfig) -> URL:
    """Return the address of the PostgreSQL database with its driver. Raises ConfigError, and MissingPackage."""
    require("postgres", "psycopg", use="store.url")
    try:
        return make_url(config.database()).set(drivername="postgresql+psycopg")
    except (SQLAlchemyError, ValueError) as error:
        raise ConfigError(f"store.url: {redacted(config)} is not the url of a database") from error


class Database:
    """The database of one store. Its errors are StoreUnavailable if a later attempt may succeed."""

    def __init__(self, config: StoreConfig) -> None:
        """Raises ConfigError for an unusable folder or url, MissingPackage without the driver."""
        self._held = ExitStack()
        self._writer: AsyncConnection | None = None
        self._file: Path | None = None
        self._inode = 0
        self._migrated = False
        self._within_s = config.commit_within_s
        self.name = ""  # in messages
        self.streamer = config.streamer or ""  # id of the streamer; empty: it has none
        url = self._postgres(config) if config.database() else self._sqlite(config)
        self.dialect = url.get_backend_name()
        self._url = url
        self._writing = self._engine(url, poolclass=NullPool)
        pool: dict[str, Any] = {"pool_size": READERS, "max_overflow": 0, "pool_timeout": config.commit_within_s}
        self._reading = self._engine(url, **pool, pool_pre_ping=self.dialect == "postgresql")

    def lock(self) -> None:
        """Keep other streamers from this SQLite database. Raises ConfigError if one uses it."""
        if self._file is None:
            return  # PostgreSQL: `writer` does it
        refusal = f"store: another streamer uses the folder {self._file.parent}; give each one its own (store.folder)"
        self._held.enter_context(exclusive(self._file.parent, refusal))

    async def writer(self, patience_s: float = 0.0) -> AsyncConnection:
        """Return the connection that writes, opened if need be.

        Raises ConfigError if another streamer still uses this PostgreSQL database after `patience_s` seconds.
        """
        self._check_file()
        if self._writer is None:
            writer = await self._writing.connect()
            try:
                await self._take_lock(writer, patience_s)
            except BaseException:
                await _drop(writer)
                raise
            self._writer = writer
        return self._writer

    async def migrate(self, patience_s: float) -> None:
        """Bring the tables to the form of this version. Raises ConfigError if that cannot be."""
        writer = await self.writer(patience_s)
        if self.dialect == "postgresql":
            await writer.run_sync(migrate_postgres, self.name, self.streamer, patience_s)
            self._migrated = True
        else:
            await writer.run_sync(migrate, self.name)

    async def drop_writer(self) -> None:
        """Close the connection that writes, after it has failed; `writer` opens another one."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await _drop(writer)

    @asynccontextmanager
    async def reading(
        self, within_s: float | None = None, of: str | None = None, one_moment: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """Lend a connection that sees the newest data, for `within_s` seconds (None: store.commit_within_s).

        `of`: id of another streamer whose tables are read. `one_moment`: all questions are answered by the data of one
        moment. Raises StoreUnavailable if the database does not answer.
        """
        try:
            with expecting():
                self._check_file()
                async with asyncio.timeout(within_s or self._within_s), self._reading.connect() as connection:
                    if of is not None:
                        await connection.execution_options(schema_translate_map=self.schemas_of(of))
                    if one_moment and self.dialect == "postgresql":
                        await connection.execution_options(isolation_level="REPEATABLE READ")
                    yield connection
        except TimeoutError:
            raise StoreUnavailable("no answer in time") from None

    def schemas_of(self, streamer: str) -> Schemas:
        """Return the schema_translate_map of the tables of a streamer of this database."""
        return schemas_elsewhere(self.streamer, streamer) if streamer != self.streamer else schemas(self.streamer)

    def conninfo(self) -> str:
        """Return the address of a PostgreSQL database for psycopg."""
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    def insert(self, table: Table) -> "postgresql.Insert | sqlite.Insert":
        """Return an INSERT that can say what to do with rows that are there already."""
        return postgresql.insert(table) if self.dialect == "postgresql" else sqlite.insert(table)

    def upsert(self, table: Table) -> Insert:
        """Return an INSERT that replaces the row with the same key."""
        statement = self.insert(table)
        keys = [column.name for column in table.primary_key]
        new = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=new)

    def files(self) -> list[str]:
        """Return the files of an SQLite database; those of PostgreSQL are not in reach."""
        return [] if self._file is None else [f"{self._file}{suffix}" for suffix in ("", "-wal")]

    async def rewrite(self, tables: Sequence[str]) -> None:
        """Write tables of PostgreSQL anew, so that nothing is left of deleted rows. Nobody else may write meanwhile."""
        writer = await self.writer()
        with expecting():
            driver: Any = (await writer.get_raw_connection()).driver_connection
            await driver.set_autocommit(True)
            try:
                for name in tables:
                    await driver.execute(f"VACUUM (FULL) {name}")
            finally:
                await driver.set_autocommit(False)

    async def overwrite(self, vacuum_bytes: int) -> bool:
        """Leave nothing of deleted rows in the files of SQLite. Nobody else may write meanwhile.

        Deleted rows were overwritten when they were deleted; versions of this program before did not do so, and a
        database of less than `vacuum_bytes` is written anew for that. Returns False if a reader holds the log.
        """
        writer = await self.writer()
        with expecting():
            driver: Any = (await writer.get_raw_connection()).driver_connection
            (pages,), (size,) = [
                (await driver.execute_fetchall(f"PRAGMA page_{what}"))[0] for what in ("count", "size")
            ]
            if pages * size < vacuum_bytes:
                await driver.execute("VACUUM")
            for _ in range(CHECKPOINTS):
                ((busy, _, _),) = await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
                if not busy:
                    return True
                await asyncio.sleep(LOCK_POLL_S)
        return False

    async def close(self) -> None:
        """Close all connections and let other streamers use the database."""
        if self._writer is not None:
            with contextlib.suppress(SQLAlchemyError, OSError):
                await self._writer.close()
            self._writer = None
        await self._reading.dispose()
        await self._writing.dispose()
        self._held.close()

    def _sqlite(self, config: StoreConfig) -> URL:
        file = made_file(config)
        self._file, self._inode, self.name = file, file.stat().st_ino, str(file)
        query = {"mode": "rw", "uri": "true"}  # a file that has vanished is not made again, empty
        quoted = str(file).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        return URL.create("sqlite+aiosqlite", database=f"file:{quoted}", query=query)

    def _postgres(self, config: StoreConfig) -> URL:
        self.name = redacted(config)
        return postgres_url(config)

    def _engine(self, url: URL, **options: Any) -> AsyncEngine:
        if url.get_backend_name() == "postgresql":
            options["connect_args"] = {
                "connect_timeout": 5,
                "application_name": "faceanalytics",
                **search_path(url, self.streamer),
            }
        options["execution_options"] = {"schema_translate_map": schemas(self.streamer)}
        engine = create_async_engine(url, **options)
        if url.get_backend_name() == "sqlite":
            event.listen(engine.sync_engine, "do_connect", sqlite_driver.connect)
            event.listen(engine.sync_engine, "connect", set_up_sqlite)
            begin = "BEGIN IMMEDIATE" if options.get("poolclass") is NullPool else "BEGIN"
            event.listen(engine.sync_engine, "begin", partial(begin_sqlite, begin))
        return engine

    def _check_file(self) -> None:
        """Raise StoreUnavailable if the file of the database was removed or replaced: SQLite would not notice."""
        if self._file is None:
            return
        try:
            there = self._file.stat().st_ino == self._inode
        except OSError:
            there = False
        if not there:
            raise StoreUnavailable(f"{self._file} was removed or replaced; put it back, or restart the streamer")

    async def _take_lock(self, writer: AsyncConnection, patience_s: float) -> None:
        if self.dialect != "postgresql":
            return
        until = time.monotonic() + patience_s
        while not await writer.scalar(text(f"SELECT pg_try_advisory_lock({lock_of(self.streamer)})")):
            if time.monotonic() >= until:
                which = f"a streamer with the id {self.streamer}" if self.streamer else "another streamer"
                raise ConfigError(
                    f"store: {which} uses the database {self.name}; give each one an id of its own (store.streamer), "
                    "or a database"
                )
            await asyncio.sleep(LOCK_POLL_S)
        if self._migrated:  # it is opened again
            await writer.execute(text(f"SELECT pg_try_advisory_lock_shared({USED})"))
        await writer.commit()


@contextlib.contextmanager
def expecting() -> Iterator[None]:
    """Turn errors of a database that does not work into StoreUnavailable; other errors are bugs and stay."""
    try:
        yield
    except (*_BUGS, TimeoutError):
        raise
    except (DBAPIError, PoolTimeout, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        raise StoreUnavailable(_one_line(cause)) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


async def _drop(connection: AsyncConnection) -> None:
    with contextlib.suppress(SQLAlchemyError, OSError):
        await connection.invalidate()
    with contextlib.suppress(SQLAlchemyError, OSError):
        await connection.close()


def set_up_sqlite(connection: Any, _: object) -> None:
    """Prepare a new connection."""
    connection.isolation_level = None  # the driver begins no transactions of its own, see begin_sqlite
    cursor = connection.cursor()
    cursor.execute("PRAGMA page_count")
    if cursor.fetchone()[0] == 0:
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")  # it writes to the file, and decides in a new one only
    pragmas: Sequence[str] = (
        "journal_mode=WAL",
        "synchronous=FULL",  # what is committed survives a power cut
        "busy_timeout=5000",
        "secure_delete=ON",  # what is deleted is overwritten
        "journal_size_limit=67108864",  # bytes
    )
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def begin_sqlite(statement: str, connection: Any) -> None:
    """Begin a transaction."""
    connection.exec_driver_sql(statement)
