"""Encrypts what a store has with the first key of store.key_file, in small transactions, also while a streamer runs."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Column, Connection, Table, bindparam, select, text, update

from faceanalytics.errors import ConfigError
from faceanalytics.v1 import tracks_pb2
from streamer.config import Store as StoreConfig
from streamer.encryption import NotReadable, Sealer, read_keys
from streamer.store.beside import Beside, opened
from streamer.store.keys_in_use import KEYS, with_key
from streamer.store.sealed import EVENT, FACE, SETTINGS, TOKEN_KEY, TRACK, Columns, Sealed
from streamer.store.started import KEY
from streamer.store.tables import events, faces, meta, streams, tracks
from streamer.store.values import Row

CHUNK = 500  # rows in one transaction, so that a streamer waits only shortly

Again: TypeAlias = Callable[[Any], Row]  # a row as it is stored -> the columns to change


@dataclass(frozen=True, slots=True)
class Encrypted:
    """What was done."""

    changed: dict[str, int]  # rows by table
    unreadable: dict[str, int]  # rows that no key opens; they stay as they are
    rewritten: bool  # the files were rewritten, so that no plain bytes are left in them


def encrypt(config: StoreConfig) -> Encrypted:
    """Encrypt all rows that the first key has not encrypted. Raises ConfigError, LostDependency."""
    sealer = read_keys(Path(config.key_file) if config.key_file else None)
    if sealer is None:
        raise ConfigError("name a key with store.key_file; `streamer keys encryption` makes one")
    with opened(config) as store, store.holding() as alone:
        _announce(store, sealer, alone)
        changed, unreadable = Counter[str](), Counter[str]()
        for table, content, again in _parts(sealer):
            _table(store, table, content, again, (changed, unreadable))
        with store.engine.begin() as connection:
            _meta(connection, sealer)
            if not unreadable.total():
                connection.execute(meta.update().where(meta.c.name == KEYS).values(value=sealer.ids[0]))
        if alone:
            _rewrite(store)
        return Encrypted(dict(changed), dict(unreadable), alone)


def _announce(store: Beside, sealer: Sealer, alone: bool) -> None:
    """Note that rows with the first key come. A streamer that runs must have that key, to read them."""
    with store.engine.begin() as connection:
        values = {row.name: row.value for row in connection.execute(select(meta))}
        keys = with_key(values.get(KEYS), sealer, is_new=KEY not in values)
        if not alone and values.get(KEYS, "").split(" ")[0] != sealer.ids[0]:
            raise ConfigError(f"store: the streamer that uses {store.name} began without this key; restart it first")
        if KEYS in values:
            connection.execute(meta.update().where(meta.c.name == KEYS).values(value=keys))
        else:
            connection.execute(meta.insert().values(name=KEYS, value=keys))


def _parts(sealer: Sealer) -> list[tuple[Table, Column[Any], Again]]:
    columns, settings = Columns(sealer), Sealed(sealer, SETTINGS)

    def event(row: Any) -> Row:
        if columns.is_current(row.payload):
            return {}
        payload = columns.open(row.payload, EVENT, row.sequence)
        return {"payload": columns.event({"sequence": row.sequence, "payload": payload})["payload"]}

    def track(row: Any) -> Row:
        if columns.is_current(row.payload):
            return {}
        payload = columns.open(row.payload, TRACK, row.track_id)
        person = tracks_pb2.Track.FromString(payload).decision.person or None
        sealed = columns.track({"track_id": row.track_id, "person": person, "payload": payload})
        return {"payload": sealed["payload"], "person": sealed["person"]}

    def face(row: Any) -> Row:
        if columns.is_current(row.jpeg):
            return {}
        jpeg = columns.open(row.jpeg, FACE, row.track_id)
        return {"jpeg": columns.face({"track_id": row.track_id, "jpeg": jpeg})["jpeg"]}

    def stream(row: Any) -> Row:
        if settings.is_current(row.settings):
            return {}
        return {"settings": settings.write(settings.read(row.settings, row.id), row.id)}

    return [
        (events, events.c.payload, event),
        (tracks, tracks.c.payload, track),
        (faces, faces.c.jpeg, face),
        (streams, streams.c.settings, stream),
    ]


def _table(
    store: Beside, table: Table, content: Column[Any], again: Again, counts: tuple[Counter[str], Counter[str]]
) -> None:
    changed, unreadable = counts
    key = next(iter(table.primary_key))
    place: Any = None
    while True:
        with store.engine.begin() as connection:
            wanted = select(key, content).order_by(key).limit(CHUNK).with_for_update()
            rows = connection.execute(wanted if place is None else wanted.where(key > place)).all()
            new = []
            for row in rows:
                try:
                    values = again(row)
                except NotReadable:
                    unreadable[table.name] += 1
                    continue
                if values:
                    new.append({**values, "_key": row[0]})
            if new:
                connection.execute(update(table).where(key == bindparam("_key")), new)
                changed[table.name] += len(new)
        if len(rows) < CHUNK:
            return
        place = rows[-1][0]


def _meta(connection: Connection, sealer: Sealer) -> None:
    secret = Sealed(sealer, TOKEN_KEY)
    stored = connection.scalar(select(meta.c.value).where(meta.c.name == KEY).with_for_update())
    if stored is not None and not secret.is_current(stored):
        value = secret.write(secret.read(stored, ""), "")
        connection.execute(meta.update().where(meta.c.name == KEY).values(value=value))


def _rewrite(store: Beside) -> None:
    """Rewrite the files of the tables: deleted and replaced rows stay in the old ones."""
    with store.engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        if store.engine.dialect.name == "sqlite":
            raw.execute("VACUUM")
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in (events, tracks, faces, streams, meta):
            connection.execute(text(f"VACUUM FULL {table.name}"))
