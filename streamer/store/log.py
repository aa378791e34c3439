"""Reads the log of events, from which interrupted watches go on."""

import hmac
from bisect import bisect_left
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, select

from streamer.store.database import Database
from streamer.store.decisions import Naming
from streamer.store.outbox import Outbox
from streamer.store.resume_token import ResumeTokens
from streamer.store.sealed import EVENT, Columns, readable
from streamer.store.started import DELETED_AT, Started, run_bytes
from streamer.store.tables import events, meta
from streamer.store.values import LogEvent, LogKind, Missing


class Log:
    """The log as far as it is stored, and what waits to be stored. All reads may raise StoreUnavailable."""

    def __init__(self, database: Database, started: Started, outbox: Outbox, columns: Columns, naming: Naming) -> None:
        self.instance_id = started.instance_id
        self._database = database
        self._started = started
        self._outbox = outbox
        self._naming = naming
        self._columns = columns
        self._run = run_bytes(started.instance_id)
        self._runs = [*(run.hex() for run in started.last_of_runs), self._run.hex()]
        self._lasts = list(started.last_of_runs.values())  # ascending
        self._tokens = ResumeTokens(started.key, self._run)

    @property
    def committed(self) -> int:
        """Newest sequence that is stored."""
        return self._outbox.committed

    @property
    def store_id(self) -> str:
        """Name of the store, 16 hexadecimal digits. Its backups have the same."""
        return hmac.digest(self._started.key, b"store id", "sha256")[:8].hex()

    def secret(self, purpose: bytes) -> bytes:
        """Return 32 secret bytes for a purpose, the same after a restart."""
        return hmac.digest(self._started.key, purpose, "sha256")

    def event_id(self, sequence: int) -> str:
        """Return the name of a stored event: the run that made it, and its sequence.

        Numbers alone would not do: after a restore from a backup they are given again, to other events.
        """
        return f"{self._runs[bisect_left(self._lasts, sequence)]}-{sequence}"

    def token(self, sequence: int, marks: frozenset[bytes] | None = None) -> str:
        """Return the token for a watch that has received everything up to this sequence; `marks`: see resume_token."""
        return self._tokens.make(sequence, marks)

    def marks_of(self, token: str) -> frozenset[bytes]:
        """Return the marks of the open tracks that the holder of a token has received. Raises ForgedToken."""
        return self._tokens.read(token)[2]

    def place_of(self, token: str) -> int:
        """Return the sequence up to which the holder of a token has received everything. Raises ForgedToken.

        A streamer that died may have published events that it had not stored, because its database did not work. Their
        numbers were given again to other events, which the holder has not received.
        """
        run, sequence, _ = self._tokens.read(token)
        if run == self._run:
            return sequence
        before_this_run = self._started.first_sequence - 1  # a later run, of a store that was put back from a backup
        return min(sequence, self._started.last_of_runs.get(run, before_this_run))

    async def place_at(self, since: datetime) -> int:
        """Return the sequence after which the events stored at `since` or later begin; 0 if some are deleted."""
        async with self._database.reading() as connection:
            deleted = await connection.scalar(select(meta.c.value).where(meta.c.name == DELETED_AT))
            if deleted is not None and datetime.fromisoformat(deleted) >= since:
                return 0
            first = await connection.scalar(select(func.min(events.c.sequence)).where(events.c.at >= since))
            newest = await connection.scalar(select(func.max(events.c.sequence)))
        if first is not None:
            return int(first) - 1
        waiting = next((one.sequence for one in self._outbox.unwritten() if one.at >= since), None)
        return max(newest or 0, self._outbox.committed) if waiting is None else waiting - 1

    async def missing(self, after: int, through: int) -> Missing | None:
        """Return what is no longer stored of the events after one sequence up to another; None: all are there."""
        waiting = [one.sequence for one in self._outbox.unwritten() if after < one.sequence <= through]
        stored_through = min(through, waiting[0] - 1) if waiting else through
        inside = (events.c.sequence > after) & (events.c.sequence <= stored_through)
        async with self._database.reading() as connection:
            first, last, count = (
                await connection.execute(
                    select(func.min(events.c.sequence), func.max(events.c.sequence), func.count()).where(inside)
                )
            ).one()
            absent = through - after - count - len(waiting)
            if absent <= 0:
                return None
            there = events.alias()
            follows = exists().where(there.c.sequence == events.c.sequence + 1)
            precedes = exists().where(there.c.sequence == events.c.sequence - 1)
            before_hole = await connection.scalar(select(func.min(events.c.sequence)).where(inside, ~follows))
            behind_hole = await connection.scalar(select(func.max(events.c.sequence)).where(inside, ~precedes))
        if count == 0:
            return Missing(after + 1, stored_through, absent)
        lowest = after + 1 if first > after + 1 else int(before_hole or after) + 1
        highest = stored_through if last < stored_through else int(behind_hole or stored_through + 1) - 1
        return Missing(lowest, highest, absent)

    async def read(self, after: int, through: int, limit: int) -> list[LogEvent]:
        """Return the events after one sequence up to another, in order, at most `limit`."""
        waiting = [one for one in self._outbox.unwritten() if after < one.sequence <= through]
        inside = (events.c.sequence > after) & (events.c.sequence <= through)
        async with self._database.reading() as connection:
            rows = await connection.execute(select(events).where(inside).order_by(events.c.sequence).limit(limit))
            found = {row.sequence: self.event_of(row) for row in rows}
        if len(found) < limit:  # all that is stored
            found |= {one.sequence: self._named(one) for one in waiting}
        return [found[sequence] for sequence in sorted(found)][:limit]

    def _named(self, event: LogEvent) -> LogEvent:
        """Return an event about a track with the names of today."""
        if not event.track_id:
            return event
        return replace(event, payload=self._naming.filled(event.payload))

    def event_of(self, row: Any) -> LogEvent:
        """Return the event of a row of the table."""
        payload = readable(self._columns, row.payload, EVENT, row.sequence)
        return self._named(LogEvent(row.sequence, row.at, LogKind(row.kind), row.camera, row.track_id, payload))
