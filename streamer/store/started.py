"""Begins a run: finds where the log ends, and ends the tracks that a dead streamer has left open."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from streamer.encryption import Sealer
from streamer.store.database import Database
from streamer.store.keys_in_use import KEYS, remark, with_key
from streamer.store.rows import event_row, interrupted, track_row
from streamer.store.sealed import TOKEN_KEY, TRACK, Columns, Sealed, readable
from streamer.store.tables import events, meta, runs, shared_meta, tracks
from streamer.store.values import LogEvent, LogKind
from streamer.values import TrackState

DELETED = "deleted_through"  # name in meta: newest sequence that retention has deleted
DELETED_AT = "deleted_until"  # name in meta: time of that event
KEY = "key"  # name in meta: secret of the resume tokens, hexadecimal


@dataclass(frozen=True, slots=True)
class Started:
    """A run that has begun."""

    run: int
    instance_id: str
    key: bytes  # of the resume tokens
    secret: bytes  # of all streamers of the database
    sequence: int  # newest of the log
    first_sequence: int  # of this run
    last_of_runs: dict[bytes, int]  # earlier runs, by the 8 bytes in their tokens -> their last sequence in the log
    interrupted: int  # tracks that were ended
    remark: str  # what the log should say about encryption


async def start_run(
    database: Database, writer: AsyncConnection, now: datetime, sealer: Sealer | None = None
) -> Started:
    """Write a run into the store, and an END for each track that is still open there.

    Raises SQLAlchemyError, and ConfigError if a key is missing that rows are encrypted with.
    """
    secret, columns = Sealed(sealer, TOKEN_KEY), Columns(sealer)
    async with writer.begin():
        values = {row.name: row.value for row in await writer.execute(select(meta.c.name, meta.c.value))}
        keys = with_key(values.get(KEYS), sealer, is_new=KEY not in values)
        shared = await _shared_key(database, writer, secret) if database.streamer else None
        key = secret.read(values[KEY], "") if KEY in values else _new_key(shared, database.streamer)
        rows = {KEY: values.get(KEY) or secret.write(key, "")} | ({} if keys is None else {KEYS: keys})
        for name, value in rows.items():
            await writer.execute(database.upsert(meta), {"name": name, "value": value})
        newest = await writer.scalar(select(func.max(events.c.sequence)))
        sequence = max(newest or 0, int(values.get(DELETED, 0)))
        earlier = (await writer.execute(select(runs).order_by(runs.c.run))).all()
        instance, first = str(uuid4()), sequence + 1
        run = earlier[-1].run + 1 if earlier else 1
        await writer.execute(runs.insert().values(run=run, instance_id=instance, started=now, first_sequence=first))
        ended = await _end_open(database, writer, sequence, now, columns)
    firsts = [*(one.first_sequence for one in earlier), first][1:]
    lasts = {run_bytes(one.instance_id): after - 1 for one, after in zip(earlier, firsts, strict=True)}
    keys_of_store = bytes.fromhex(key), bytes.fromhex(shared or key)
    return Started(run, instance, *keys_of_store, sequence + ended, first, lasts, ended, remark(keys))


async def _shared_key(database: Database, writer: AsyncConnection, sealed: Sealed) -> str:
    """Return the secret of the streamer without an id, which is that of all, made if need be."""
    which = select(shared_meta.c.value).where(shared_meta.c.name == KEY)
    stored = await writer.scalar(which)
    if stored is None:
        row = {"name": KEY, "value": sealed.write(secrets.token_hex(32), "")}
        await writer.execute(database.insert(shared_meta).on_conflict_do_nothing(), row)
        stored = await writer.scalar(which)
    assert stored is not None
    return sealed.read(stored, "")


def _new_key(shared: str | None, streamer: str) -> str:
    """Return a key for resume tokens: those of one streamer say nothing to another."""
    if shared is None:
        return secrets.token_hex(32)
    return hmac.digest(bytes.fromhex(shared), b"streamer " + streamer.encode(), hashlib.sha256).hex()


def run_bytes(instance_id: str) -> bytes:
    """Return the 8 bytes that name a run in its tokens."""
    return bytes.fromhex(instance_id.replace("-", ""))[:8]


async def _end_open(database: Database, writer: AsyncConnection, sequence: int, now: datetime, columns: Columns) -> int:
    open_tracks = select(tracks.c.track_id, tracks.c.last_seen, tracks.c.payload)
    unended = open_tracks.where(tracks.c.state != TrackState.ENDED.value).order_by(tracks.c.track_id)
    found = (await writer.execute(unended)).all()
    rows, log = [], []
    for number, row in enumerate(found, sequence + 1):
        track = interrupted(readable(columns, row.payload, TRACK, row.track_id))
        log.append(LogEvent(number, now, LogKind.END, track.stream_id, track.track_id, track.SerializeToString()))
        rows.append(columns.track(track_row(track, now, row.last_seen)))
    if found:
        await writer.execute(events.insert(), [columns.event(event_row(one)) for one in log])
        await writer.execute(database.upsert(tracks), rows)
    return len(found)
