"""Reads the log part by part for those who deliver it elsewhere, and keeps how far they are."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select

from streamer.store.store import Store
from streamer.store.tables import events, sinks
from streamer.store.values import LogEvent, LogKind, Missing

WINDOW = 2_000  # events that one read looks at, wanted or not


@dataclass(frozen=True, slots=True)
class Part:
    """What follows a place in the log."""

    events: list[LogEvent]  # that are wanted, in order
    through: int  # sequence up to which these are all that is wanted
    missing: Missing | None  # events up to there that are no longer stored, wanted or not


class Follower:
    """Reads the stored events of some kinds and cameras. All calls may raise StoreUnavailable."""

    def __init__(self, store: Store, kinds: Collection[LogKind], cameras: Collection[str]) -> None:
        """`cameras`: ids; empty: all."""
        self._store = store
        wanted = events.c.kind.in_([kind.value for kind in kinds])
        self._wanted = wanted & events.c.camera.in_(cameras) if cameras else wanted

    async def read(self, after: int, limit: int) -> Part:
        """Return what is wanted behind a sequence, at most `limit` events. What waits to be stored comes later."""
        newest = self._store.log.committed
        if after >= newest:
            return Part([], after, None)
        behind = events.c.sequence > after
        async with self._store.database.reading() as connection:
            if self._store.database.dialect == "postgresql":  # one state for all questions, as SQLite has it anyway
                await connection.execution_options(isolation_level="REPEATABLE READ")
            through = min(newest, after + WINDOW)
            inside = behind & (events.c.sequence <= through)
            bounds = select(func.min(events.c.sequence), func.count()).where(inside)
            first, count = (await connection.execute(bounds)).one()
            if count == 0:
                first = await connection.scalar(select(func.min(events.c.sequence)).where(behind)) or newest + 1
            if first > after + 1:  # retention has deleted the beginning
                last = min(first - 1, newest)
                return Part([], last, Missing(after + 1, last, last - after))
            query = select(events).where(inside & self._wanted).order_by(events.c.sequence).limit(limit)
            found = [self._store.log.event_of(row) for row in await connection.execute(query)]
            complete = count == through - after
            if len(found) == limit:
                through = found[-1].sequence
            if complete:
                return Part(found, through, None)
            present = behind & (events.c.sequence <= through)
            count = await connection.scalar(select(func.count()).select_from(events).where(present)) or 0
        absent = through - after - count
        return Part(found, through, Missing(after + 1, through, absent) if absent else None)

    async def oldest(self) -> int:
        """Return the sequence before the oldest stored event."""
        async with self._store.database.reading() as connection:
            first = await connection.scalar(select(func.min(events.c.sequence)))
        return self._store.log.committed if first is None else min(first - 1, self._store.log.committed)


async def read_places(store: Store) -> dict[str, int]:
    """Return the sequence that each sink is done with, by name. Raises StoreUnavailable."""
    async with store.database.reading() as connection:
        rows = await connection.execute(select(sinks.c.name, sinks.c.sequence))
        return {row.name: row.sequence for row in rows}


async def write_places(store: Store, places: Mapping[str, int]) -> None:
    """Keep the sequence that each of these sinks is done with. Raises StoreUnavailable."""
    now = datetime.now(UTC)
    rows = [{"name": name, "sequence": sequence, "updated": now} for name, sequence in places.items()]
    if rows:
        await store.execute(store.database.upsert(sinks).values(rows))
