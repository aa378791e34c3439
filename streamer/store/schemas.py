"""Where the tables of several streamers are in one PostgreSQL database.

A streamer without an id (store.streamer) has its tables in the schema that its user has by default. One with an id has
them in a schema of its own. People, their keys and references, tokens and the audit log are shared: they are those of
the schema `public`. A schema of its own has empty tables of these names, too, because the migrations are the same.
"""

import hashlib
import time

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from faceanalytics.errors import ConfigError
from streamer.store.migrate import is_newest, migrate
from streamer.store.tables import SHARED

PUBLIC = "public"
PREFIX = "streamer_"  # of schemas
ADVISORY_LOCK = 0x0FACE  # of PostgreSQL, held by the connection that writes, of a streamer without an id
USED = 0x0FACE_01  # held by all streamers together; by one alone while it changes the shared tables
MIGRATING = 0x0FACE_02  # held by a streamer that starts
PEOPLE = 0x0FACE_03  # held while people are changed
POLL_S = 0.25

Schemas = dict[str | None, str | None]


def schema_of(streamer: str) -> str | None:
    """Return the schema of a streamer; None: the default one."""
    return PREFIX + streamer if streamer else None


def lock_of(streamer: str) -> int:
    """Return the number of the advisory lock that a streamer holds."""
    if not streamer:
        return ADVISORY_LOCK
    digest = hashlib.sha256(b"faceanalytics streamer " + streamer.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def schemas(streamer: str) -> Schemas:
    """Return SQLAlchemy's schema_translate_map of a streamer; None is the default schema."""
    return {None: schema_of(streamer), SHARED: PUBLIC if streamer else None}


def schemas_elsewhere(own: str, other: str) -> Schemas:
    """Return the schema_translate_map with which one streamer reads the tables of another one."""
    return {**schemas(own), None: schema_of(other) or PUBLIC}


def search_path(url: URL, streamer: str) -> dict[str, str]:
    """Return the arguments of a connection that finds the tables of a streamer first."""
    if not streamer:
        return {}
    before = url.query.get("options", "")
    return {"options": f'{before} -csearch_path="{schema_of(streamer)}",{PUBLIC}'.strip()}


def migrate_postgres(connection: Connection, where: str, streamer: str, patience_s: float) -> None:
    """Bring the tables of a streamer to the form of this version, and hold USED from now on.

    Raises ConfigError if shared tables must change while other streamers use them.
    """
    _take(connection, f"pg_try_advisory_lock({MIGRATING})", where, patience_s)
    try:
        if not streamer:
            if not is_newest(connection):
                _migrate_shared(connection, where, streamer)
        else:
            with _path(connection, streamer, PUBLIC):
                if not is_newest(connection):
                    _migrate_shared(connection, where, streamer)
            connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema_of(streamer)}"'))
            connection.commit()
            with _path(connection, streamer, f'"{schema_of(streamer)}"'):
                migrate(connection, where)
        _take(connection, f"pg_try_advisory_lock_shared({USED})", where, patience_s)
    finally:
        connection.rollback()
        connection.execute(text(f"SELECT pg_advisory_unlock({MIGRATING})"))
        connection.commit()


def _migrate_shared(connection: Connection, where: str, streamer: str) -> None:
    alone = [f"pg_try_advisory_lock({USED})"]
    if streamer:
        alone.append(f"pg_try_advisory_lock({ADVISORY_LOCK})")  # of a streamer of a version before there were ids
    held = [one for one in alone if connection.scalar(text(f"SELECT {one}"))]
    connection.commit()
    try:
        if len(held) < len(alone):
            raise ConfigError(
                f"store: the database {where} has tables of another version, and other streamers use it; stop all of "
                "them, start this version once, then start the others in this version, too"
            )
        migrate(connection, where)
    finally:
        connection.rollback()
        for one in held:
            connection.execute(text(f"SELECT {one.replace('try_advisory_lock', 'advisory_unlock')}"))
        connection.commit()


class _path:  # noqa: N801
    """Names are looked up in one schema only meanwhile."""

    def __init__(self, connection: Connection, streamer: str, only: str) -> None:
        self._connection = connection
        self._after = f'"{schema_of(streamer)}", {PUBLIC}'
        self._only = only

    def __enter__(self) -> None:
        self._set(self._only)

    def __exit__(self, *_: object) -> None:
        self._connection.rollback()
        self._set(self._after)

    def _set(self, path: str) -> None:
        self._connection.exec_driver_sql(f"SET search_path TO {path}")
        self._connection.commit()


def _take(connection: Connection, lock: str, where: str, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while not connection.scalar(text(f"SELECT {lock}")):
        if time.monotonic() >= until:
            raise ConfigError(f"store: another streamer changes the tables of the database {where}; try again later")
        connection.rollback()
        time.sleep(POLL_S)
    connection.commit()
