"""Copies a store: a running one into a file, and such a file into an empty store. The file is an SQLite database."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, create_engine, func, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from faceanalytics.errors import ConfigError, LostDependency
from faceanalytics.files import exclusive, replacing, sync
from faceanalytics.scratch import scratch_folder
from streamer.config import Store as StoreConfig
from streamer.store.database import FILE, postgres_url, redacted, sqlite_folder
from streamer.store.migrate import migrate, revision
from streamer.store.schemas import lock_of, schemas, search_path
from streamer.store.tables import audit, events, metadata, runs, sinks, tracks

CHUNK = 1000  # rows copied at once


@dataclass(frozen=True, slots=True)
class SinkPlace:
    """How far a sink is, as the store knows it."""

    name: str
    sequence: int  # of the newest event that it is done with
    behind: int  # events of the log after it
    updated: datetime  # UTC


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store holds."""

    place: str
    revision: str
    counts: dict[str, int]  # rows by table
    first_event: datetime | None
    last_event: datetime | None
    started: datetime | None  # of the newest run
    running: bool  # it has not ended: it runs, or died
    sinks: list[SinkPlace]  # by name


def backup(config: StoreConfig, out: Path) -> None:
    """Copy a store, which may be in use, as it is at one moment. Raises ConfigError and LostDependency."""
    if out.exists():
        raise ConfigError(f"{out} exists already; choose another name")
    if config.database():
        with replacing(out) as partial, _postgres(config) as source, source.connect() as reading:
            reading.execution_options(isolation_level="REPEATABLE READ")
            _copy(reading, partial)
        return
    file = _sqlite_file(config)
    with replacing(out) as partial:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
        try:
            connection = sqlite3.connect(f"file:{_quoted(file)}?mode=ro", uri=True, isolation_level=None)
            try:
                connection.execute("VACUUM INTO ?", (str(partial),))
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise ConfigError(f"cannot copy {file} to {out}: {error}") from error
        with partial.open("rb+") as copy:
            sync(copy)


def restore(config: StoreConfig, file: Path) -> None:
    """Fill an empty store from a backup. Raises ConfigError, LostDependency."""
    if config.streamer:
        raise ConfigError(
            "a backup is put into a database of its own, because it has all people: remove store.streamer and name an "
            "empty database"
        )
    if not _is_store(file):
        raise ConfigError(f"{file} is not a backup of a store")
    with scratch_folder() as folder:
        copy = Path(shutil.copy(file, folder / FILE))
        with _engine(f"sqlite:///{copy}") as engine, engine.connect() as connection:
            migrate(connection, str(file))
        if config.database():
            with (
                _engine(f"sqlite:///{copy}") as source,
                _postgres(config) as target,
                source.connect() as reading,
                target.connect() as writing,
            ):
                _refuse_used(writing, redacted(config))
                migrate(writing, redacted(config))
                _copy_rows(reading, writing)
                writing.commit()
            return
        place = sqlite_folder(config)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        refusal = f"store: a streamer uses the folder {place}; stop it first"
        with exclusive(place, refusal):
            if (place / FILE).exists() and _is_store(place / FILE):
                raise ConfigError(f"{place / FILE} holds a store already; move it away first")
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    (place / f"{FILE}{suffix}").unlink()
            with replacing(place / FILE) as partial:
                shutil.copy(copy, partial)
                partial.chmod(0o600)


def contents(config: StoreConfig) -> Contents:
    """Return what a store holds, which may be in use. Raises ConfigError and LostDependency."""
    if config.database():
        with _postgres(config) as engine, engine.connect() as connection:
            return _contents(connection, redacted(config))
    file = _sqlite_file(config)
    with _engine(f"sqlite:///file:{_quoted(file)}?mode=ro&uri=true") as engine, engine.connect() as connection:
        return _contents(connection, str(file))


def _contents(connection: Connection, place: str) -> Contents:
    present = revision(connection)
    if present is None:
        raise ConfigError(f"{place} holds no store yet")
    tables = [table for table in metadata.sorted_tables if inspect(connection).has_table(table.name)]
    counts = {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables}
    first, last = connection.execute(select(func.min(events.c.at), func.max(events.c.at))).one()
    run = connection.execute(select(runs).order_by(runs.c.run.desc()).limit(1)).one_or_none()
    ended = run is None or run.ended is not None
    newest = connection.scalar(select(func.max(events.c.sequence))) or 0
    rows = connection.execute(select(sinks).order_by(sinks.c.name)).all() if sinks in tables else []
    places = [SinkPlace(row.name, row.sequence, max(0, newest - row.sequence), row.updated) for row in rows]
    return Contents(place, present, counts, first, last, run.started if run else None, not ended, places)


def _copy(reading: Connection, file: Path) -> None:
    """Copy all rows into a new SQLite file."""
    present = revision(reading)
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
    with _engine(f"sqlite:///{file}") as target, target.connect() as writing:
        migrate(writing, str(file))
        if revision(writing) != present:
            raise ConfigError(
                f"the store has revision {present}, this version makes {revision(writing)}; use its own version"
            )
        _copy_rows(reading, writing)
        writing.commit()


def _copy_rows(reading: Connection, writing: Connection) -> None:
    for table in metadata.sorted_tables:
        key = next(iter(table.primary_key))
        rows = reading.execution_options(yield_per=CHUNK).execute(select(table).order_by(key))
        for part in rows.mappings().partitions(CHUNK):
            writing.execute(table.insert(), [dict(row) for row in part])
    if writing.dialect.name == "postgresql":  # its counter has not seen these rows
        writing.execute(text("SELECT setval('audit_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM audit), false)"))


def _refuse_used(connection: Connection, place: str) -> None:
    if not connection.scalar(text(f"SELECT pg_try_advisory_lock({lock_of('')})")):
        raise ConfigError(f"store: a streamer uses the database {place}; stop it first")
    used: list[Table] = [tracks, events, audit]
    present = [table for table in used if inspect(connection).has_table(table.name)]
    if any(connection.scalar(select(func.count()).select_from(table)) for table in present):
        raise ConfigError(f"{place} holds a store already; use an empty database")
    for table in reversed(metadata.sorted_tables):
        if inspect(connection).has_table(table.name):
            connection.execute(table.delete())
    connection.commit()


def _sqlite_file(config: StoreConfig) -> Path:
    file = sqlite_folder(config) / FILE
    if not file.exists():
        raise ConfigError(f"there is no store at {file}; name its configuration with --config")
    return file


def _is_store(file: Path) -> bool:
    try:
        with _engine(f"sqlite:///file:{_quoted(file)}?mode=ro&uri=true") as engine, engine.connect() as connection:
            return revision(connection) is not None
    except LostDependency:
        return False


@contextmanager
def _postgres(config: StoreConfig) -> Iterator[Engine]:
    url, streamer = postgres_url(config), config.streamer or ""
    with _engine(url.render_as_string(hide_password=False), streamer, search_path(url, streamer)) as engine:
        yield engine


@contextmanager
def _engine(url: str, streamer: str = "", arguments: dict[str, str] | None = None) -> Iterator[Engine]:
    """Make an engine. Errors of its database are LostDependency."""
    options = {"schema_translate_map": schemas(streamer)}
    engine = create_engine(url, connect_args=arguments or {}, execution_options=options)
    try:
        yield engine
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise LostDependency(f"store: {' '.join(str(cause).split())}") from error
    finally:
        engine.dispose()


def _quoted(file: Path) -> str:
    return str(file.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
