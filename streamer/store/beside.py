"""Opens a store for a command, whether a streamer uses it or not: short transactions, and no second streamer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial

from sqlalchemy import Engine, create_engine, event, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from faceanalytics.errors import ConfigError, LostDependency
from faceanalytics.files import exclusive
from streamer.access.audit import Entry
from streamer.access.tokens import Token
from streamer.config import Store as StoreConfig
from streamer.store.audit import entry_of, row_of
from streamer.store.database import (
    begin_sqlite,
    made_file,
    postgres_url,
    redacted,
    set_up_sqlite,
)
from streamer.store.migrate import is_newest, migrate
from streamer.store.schemas import lock_of, migrate_postgres, schema_of, schemas, search_path
from streamer.store.tables import audit, tokens
from streamer.store.tokens import added, revoked, token_of

START_S = 20.0  # longest wait for a streamer that brings its tables up to date
POLL_S = 0.2


class Beside:
    """A store that a command has opened. Errors of the database are LostDependency where it is opened."""

    def __init__(self, config: StoreConfig, engine: Engine, name: str) -> None:
        self.config = config
        self.engine = engine
        self.name = name
        self._lock = lock_of(config.streamer or "")

    @contextmanager
    def holding(self) -> Iterator[bool]:
        """Keep streamers from the store for a while; gives False if one uses it, which goes on."""
        if self.config.database():
            with self.engine.connect() as connection:
                got = bool(connection.scalar(text(f"SELECT pg_try_advisory_lock({self._lock})")))
                connection.rollback()
                try:
                    yield got
                finally:
                    if got:
                        connection.execute(text(f"SELECT pg_advisory_unlock({self._lock})"))
                        connection.commit()
            return
        lock = exclusive(made_file(self.config).parent, "")
        try:
            lock.__enter__()
        except ConfigError:
            yield False
            return
        try:
            yield True
        finally:
            lock.__exit__(None, None, None)

    def prepare(self) -> None:
        """Bring the tables to the form of this version, unless a streamer does. Raises ConfigError."""
        until = time.monotonic() + START_S
        while not self._is_newest():
            with self.holding() as alone:
                if alone:
                    with self.engine.connect() as connection:
                        if self.config.database():
                            migrate_postgres(connection, self.name, self.config.streamer or "", START_S)
                        else:
                            migrate(connection, self.name)
                    return
            if time.monotonic() >= until:
                raise ConfigError(f"store: a streamer of another version uses {self.name}; restart or stop it first")
            time.sleep(POLL_S)

    def _is_newest(self) -> bool:
        with self.engine.connect() as connection:
            schema = schema_of(self.config.streamer or "")
            if schema is not None and not inspect(connection).has_table("alembic_version", schema):
                return False
            return is_newest(connection)


@contextmanager
def opened(config: StoreConfig) -> Iterator[Beside]:
    """Open a store, made if need be. Raises ConfigError, MissingPackage and LostDependency."""
    if config.database():
        name = redacted(config)
        url, streamer = postgres_url(config), config.streamer or ""
        arguments = {"connect_timeout": 5, **search_path(url, streamer)}
        engine = create_engine(
            url, connect_args=arguments, execution_options={"schema_translate_map": schemas(streamer)}
        )
    else:
        file = made_file(config)
        name = str(file)
        quoted = name.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        engine = create_engine(
            f"sqlite:///file:{quoted}?mode=rw&uri=true", execution_options={"schema_translate_map": schemas("")}
        )
        event.listen(engine, "connect", set_up_sqlite)
        event.listen(engine, "begin", partial(begin_sqlite, "BEGIN IMMEDIATE"))
    one = Beside(config, engine, name)
    try:
        one.prepare()
        yield one
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise LostDependency(f"store: {name}: {' '.join(str(cause).split())}") from error
    finally:
        engine.dispose()


class TokenTable:
    """A TokenStore for commands: each method is one short transaction."""

    def __init__(self, store: Beside) -> None:
        self._engine = store.engine

    async def find(self, sha256: str) -> Token | None:
        return next((token for token in await self.all() if token.sha256 == sha256), None)

    async def any(self) -> bool:
        return bool(await self.all())

    async def all(self) -> list[Token]:
        with self._engine.begin() as connection:
            return [token_of(row) for row in connection.execute(select(tokens).order_by(tokens.c.created, tokens.c.id))]

    async def add(self, token: Token) -> None:
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        with self._engine.begin() as connection:
            connection.execute(added(insert(tokens), token))

    async def revoke(self, token_id: str, when: datetime) -> None:
        with self._engine.begin() as connection:
            connection.execute(revoked(token_id, when))


class AuditTable:
    """Writes and reads the audit log for commands."""

    def __init__(self, store: Beside) -> None:
        self._engine = store.engine

    def keep(self, entry: Entry, not_listed: int) -> None:
        """Add an entry."""
        with self._engine.begin() as connection:
            connection.execute(audit.insert().values(row_of(entry, not_listed)))

    def read(self, since: datetime | None) -> list[tuple[Entry, int]]:
        """Return the entries since a time, oldest first, each with the refusals before it that are not listed."""
        wanted = select(audit).order_by(audit.c.time, audit.c.id)
        if since is not None:
            wanted = wanted.where(audit.c.time >= since)
        with self._engine.begin() as connection:
            return [entry_of(row) for row in connection.execute(wanted)]
