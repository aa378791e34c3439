"""Counts what a running store holds."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, text

from streamer.store.database import Database
from streamer.store.tables import events, metadata, runs

WITHIN_S = 2.0  # longest wait for a count: whoever asks how the store is doing waits for it
KEPT = timedelta(seconds=10)  # counting takes time in a large store: clients that ask together get one answer


@dataclass(frozen=True, slots=True)
class Overview:
    """What a store holds."""

    counted_at: datetime  # UTC
    rows: dict[str, int]  # by table
    oldest: int  # sequence of the oldest event; 0: there is no event
    oldest_at: datetime | None
    newest: int
    newest_at: datetime | None
    database_bytes: int
    runs: int  # of a streamer


class Overviews:
    """Counts on request, but not again within KEPT."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: Overview | None = None
        self._counting = asyncio.Lock()

    async def get(self) -> Overview:
        """Return what the store holds. Raises StoreUnavailable."""
        async with self._counting:
            if self._last is None or datetime.now(UTC) - self._last.counted_at >= KEPT:
                self._last = await self._count()
            return self._last

    async def _count(self) -> Overview:
        first = select(events.c.sequence, events.c.at).order_by(events.c.sequence).limit(1)
        last = select(events.c.sequence, events.c.at).order_by(events.c.sequence.desc()).limit(1)
        async with self._database.reading(WITHIN_S) as connection:
            rows = {
                table.name: await connection.scalar(select(func.count()).select_from(table)) or 0
                for table in metadata.sorted_tables
            }
            oldest = (await connection.execute(first)).one_or_none()
            newest = (await connection.execute(last)).one_or_none()
            if self._database.dialect == "postgresql":
                size = await connection.scalar(text("SELECT pg_database_size(current_database())")) or 0
            else:
                size = _files_bytes(Path(self._database.name))
        return Overview(
            datetime.now(UTC),
            rows,
            oldest.sequence if oldest is not None else 0,
            oldest.at if oldest is not None else None,
            newest.sequence if newest is not None else 0,
            newest.at if newest is not None else None,
            int(size),
            rows[runs.name],
        )


def _files_bytes(file: Path) -> int:
    """Return the size of a SQLite database with what it has not written back into its file yet."""
    size = 0
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            size += Path(f"{file}{suffix}").stat().st_size
    return size
