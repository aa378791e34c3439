"""Deletes what is older than the configuration keeps, and the oldest data of a store that has become too large."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Table, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from streamer import metrics
from streamer.config import Store as StoreConfig
from streamer.store.database import Database
from streamer.store.started import DELETED, DELETED_AT
from streamer.store.tables import audit, events, faces, jobs, meta, templates, tracks
from streamer.store.values import StoreUnavailable
from streamer.values import TrackState

EVERY_S = 3600.0
AGAIN_S = 60.0  # until the next attempt after a failure
READ_S = 600.0  # longest wait for the size of a large store
CHUNK = 500  # rows deleted in one transaction, so that events wait only shortly
PAGES = 2000  # of SQLite that one transaction gives back to the file system
ROW = 200  # bytes of a row besides its content, about
SHARE = 0.1  # of the oldest events that is deleted at once while the store is too large

Work: TypeAlias = Callable[[AsyncConnection], Awaitable[None]]
Transaction: TypeAlias = Callable[[Work], Awaitable[None]]

log = logging.getLogger(__name__)


class Retention:
    """Deletes old data every hour, a few rows at a time."""

    def __init__(self, config: StoreConfig, database: Database) -> None:
        self._config = config
        self._database = database
        self.ran: datetime | None = None  # UTC, when `run` last ended

    async def repeat(self, transaction: Transaction) -> None:
        """Delete what is too old or too much, every hour, in transactions between those of the writer."""
        while True:
            try:
                await self.run(transaction, datetime.now(UTC))
                await asyncio.sleep(EVERY_S)
            except StoreUnavailable as error:
                log.warning("store: old data is not deleted now: %s", error)
                await asyncio.sleep(AGAIN_S)

    async def run(self, transaction: Transaction, now: datetime) -> None:
        """Delete what is too old at `now`, or too much. Raises StoreUnavailable."""
        self._transaction, keep = transaction, self._config.keep
        if keep.events_days is not None:
            await self._delete_events(now - timedelta(days=keep.events_days))
        if keep.tracks_days is not None:
            await self._delete_tracks(now - timedelta(days=keep.tracks_days))
        if keep.faces_days is not None:
            await self._delete_rows(faces, faces.c.at < now - timedelta(days=keep.faces_days))
        await self._delete_rows(faces, faces.c.track_id.not_in(select(tracks.c.track_id)))
        if keep.templates_days is not None:
            await self._delete_rows(templates, templates.c.at < now - timedelta(days=keep.templates_days))
        await self._delete_rows(templates, templates.c.track_id.not_in(select(tracks.c.track_id)))
        if keep.jobs_days is not None:
            await self._delete_rows(jobs, jobs.c.ended < now - timedelta(days=keep.jobs_days))
        if keep.audit_days is not None:
            await self._delete_rows(audit, audit.c.time < now - timedelta(days=keep.audit_days))
        await self._shrink()
        if self._database.dialect == "sqlite":
            free, before = await self._free_pages(), math.inf
            while 0 < free < before:
                await self._transaction(_give_back_pages)
                free, before = await self._free_pages(), free
        self.ran = datetime.now(UTC)

    async def size(self) -> int:
        """Return the size of the content in bytes. Raises StoreUnavailable."""
        parts = (
            (events, events.c.payload),
            (tracks, tracks.c.payload),
            (faces, faces.c.jpeg),
            (templates, templates.c.template),
        )
        size = 0
        async with self._database.reading(READ_S) as connection:
            for table, content in parts:
                total = func.coalesce(func.sum(func.length(content)), 0)
                content_bytes, rows = (await connection.execute(select(total, func.count()).select_from(table))).one()
                size += int(content_bytes) + ROW * rows
        metrics.store_size_bytes.set(size)
        return size

    async def _shrink(self) -> None:
        """Delete the oldest data until the store is a tenth below its largest size."""
        limit = self._config.max_size_mb
        size = await self.size()
        if limit is None or size <= limit * 1e6:
            return
        log.warning("store: %.0f MB are more than store.max_size_mb (%g): deleting the oldest data", size / 1e6, limit)
        while size > (1 - SHARE) * limit * 1e6:
            async with self._database.reading(READ_S) as connection:
                table, time_of = (events, events.c.at)
                count = await connection.scalar(select(func.count()).select_from(events)) or 0
                if count == 0:  # the tracks alone are too much
                    table, time_of = (tracks, tracks.c.stored)
                    count = await connection.scalar(select(func.count()).select_from(tracks)) or 0
                place = max(1, int(SHARE * count))
                oldest = select(time_of).select_from(table).order_by(time_of).offset(place).limit(1)
                until = await connection.scalar(oldest)
            until = until or datetime.now(UTC)
            before = size
            await self._delete_events(until)
            await self._delete_tracks(until)
            await self._delete_rows(faces, faces.c.track_id.not_in(select(tracks.c.track_id)))
            size = await self.size()
            if size == before:
                return  # open tracks, or events of one moment

    async def _delete_events(self, until: datetime) -> None:
        """Delete the events stored before `until`, from the beginning of the log, so that it has no holes.

        An event with a wrong, old time, of a clock that was set later, stays as long as those before it.
        """
        first_kept = select(func.min(events.c.sequence)).where(events.c.at >= until).scalar_subquery()
        bounds = select(first_kept, func.min(events.c.sequence), func.max(events.c.sequence))
        async with self._database.reading(READ_S) as connection:
            kept, oldest, newest = (await connection.execute(bounds)).one()  # one question: events come meanwhile
        last = newest if kept is None else kept - 1
        while oldest and oldest <= last:
            through = min(last, oldest + CHUNK - 1)
            await self._transaction(partial(self._cut_log, through=through))
            metrics.store_deleted.labels("events").inc(through - oldest + 1)
            oldest = through + 1

    async def _cut_log(self, writer: AsyncConnection, through: int) -> None:
        at = await writer.scalar(select(func.max(events.c.at)).where(events.c.sequence <= through))
        await writer.execute(delete(events).where(events.c.sequence <= through))
        for name, value in ((DELETED, str(through)), (DELETED_AT, at.isoformat() if at else "")):
            if value:
                await writer.execute(self._database.upsert(meta), {"name": name, "value": value})

    async def _delete_tracks(self, until: datetime) -> None:
        ended = tracks.c.state == TrackState.ENDED.value
        await self._delete_rows(tracks, ended & (tracks.c.stored < until))

    async def _delete_rows(self, table: Table, which: ColumnElement[bool]) -> None:
        key = next(iter(table.primary_key))
        deleted = CHUNK
        while deleted == CHUNK:

            async def some(writer: AsyncConnection) -> None:
                nonlocal deleted
                chosen = select(key).where(which).limit(CHUNK)
                deleted = (await writer.execute(delete(table).where(key.in_(chosen)))).rowcount

            await self._transaction(some)
            metrics.store_deleted.labels(table.name).inc(deleted)

    async def _free_pages(self) -> int:
        async with self._database.reading(READ_S) as connection:
            return await connection.scalar(text("PRAGMA freelist_count")) or 0


async def _give_back_pages(writer: AsyncConnection) -> None:
    driver: Any = (await writer.get_raw_connection()).driver_connection
    await driver.execute_fetchall(f"PRAGMA incremental_vacuum({PAGES})")  # each row that is fetched frees one page
