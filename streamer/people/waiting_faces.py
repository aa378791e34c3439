"""Holds the faces of tracks that have ended until they are stored."""

import asyncio
import logging
from collections.abc import Collection
from datetime import UTC, datetime

from streamer import metrics
from streamer.config import StreamerConfig
from streamer.identity.persons import NOBODY
from streamer.people.curator import Curator
from streamer.people.past_index import OWNER
from streamer.store.tables import templates
from streamer.store.values import Row
from streamer.values import TrackSummary

CHUNK = 200  # rows written at once
WAITING = 10_000  # most templates that wait for a database that does not work

log = logging.getLogger(__name__)


class WaitingFaces:
    """The faces that wait, by track."""

    def __init__(self, config: StreamerConfig, curator: Curator) -> None:
        self._config = config
        self._curator = curator
        self._waiting: dict[str, TrackSummary] = {}
        self._barred: set[str] = set()  # live tracks whose faces are not to be stored
        self._storing = asyncio.Lock()
        self._lost = 0  # faces since the database stopped working

    def keep(self, summary: TrackSummary) -> None:
        """Take in the final summary of a track, whose face is stored soon."""
        store = self._config.store
        tracks = {summary.key.id, *(one.track_id for one in summary.intervals)}
        if tracks & self._barred:
            self._barred -= tracks
            if summary.merged_into:  # what was seen of it counts for that track now
                self._barred.add(summary.merged_into)
            return
        if store is None or not store.templates or self._curator.live.known is None:
            return
        if summary.estimates.identity is not None and not any(one in NOBODY for one in summary.undescribed):
            self._waiting[summary.key.id] = summary
            if len(self._waiting) > WAITING:
                del self._waiting[next(iter(self._waiting))]
                self._count_lost(1)

    async def forget(self, track_ids: Collection[str], live: Collection[str]) -> None:
        """Do not store the faces of these tracks, live ones or not. Those that are stored can be removed now."""
        self._barred |= {one for one in track_ids if one in live}
        for track_id in track_ids:
            self._waiting.pop(track_id, None)
        async with self._storing:  # what is being written is there now
            pass

    def give_up(self) -> None:
        """Count the faces that are not stored when the streamer stops."""
        if self._waiting:
            self._count_lost(len(self._waiting))
            log.error("people: the faces of %d past tracks are not stored: the streamer stops", len(self._waiting))

    def _count_lost(self, count: int) -> None:
        if not self._lost:
            log.error("people: the database does not work for too long, and faces of past tracks are lost")
        self._lost += count
        metrics.templates_lost.inc(count)

    async def flush(self) -> None:
        """Store the faces that wait. Raises StoreUnavailable."""
        async with self._storing:
            await self._store_all()

    async def _store_all(self) -> None:
        if not self._waiting:
            return
        summaries, now = list(self._waiting.values()), datetime.now(UTC)
        sealed = await self._curator.book.sealed_of(OWNER)
        rows: list[Row] = []
        for one in summaries:
            assert one.estimates.identity is not None
            rows.append(
                {
                    "track_id": one.key.id,
                    "model_id": one.estimates.model_id,
                    "samples": one.estimates.samples,
                    "quality": one.estimates.identity.evidence.best_quality,
                    "template": sealed.vector(one.estimates.identity.template, one.key.id),
                    "at": now,
                }
            )
        store = self._curator.book.store
        for start in range(0, len(rows), CHUNK):
            await store.execute(
                store.database.insert(templates).values(rows[start : start + CHUNK]).on_conflict_do_nothing()
            )
        for one in summaries:
            if self._waiting.get(one.key.id) is one:
                del self._waiting[one.key.id]
        if self._lost:
            log.warning("people: faces of past tracks are stored again; %d are lost", self._lost)
            self._lost = 0
