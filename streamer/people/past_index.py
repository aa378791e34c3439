"""Searches the faces of past tracks of all streamers, by coarse copies in memory and the stored faces for what is left.

The stored faces are encrypted, so a database cannot compare them. The copies in memory take a quarter of them or less.
What does not fit into `store.search_memory_mb` is read for each search.
"""

import asyncio
import heapq
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import select, tuple_

from streamer.identity.compact_index import CompactIndex
from streamer.identity.face_index import Rows
from streamer.people.book import Book
from streamer.people.elsewhere import others
from streamer.people.keys import Sealed
from streamer.people.stored import parts_of
from streamer.store.past import PastTrack, past_tracks
from streamer.store.tables import templates, tracks
from streamer.values import Floats

OWNER = "templates"  # of the key that they are encrypted with
PAGE = 4096  # templates read at once
LATE = timedelta(seconds=60)  # a template may be committed this long after its time
SPARE = 4  # factor by which more candidates are taken, where some are gone or of other cameras
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
KEY = "S64"  # of the arrays that hold ids of tracks
READ_S = 600.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Source:
    """The templates of one streamer."""

    number: int
    of: str | None  # id of the streamer; None: this one
    read_to: tuple[datetime, str] = (BEGINNING, "")  # time and track
    recent: dict[str, datetime] = field(default_factory=dict)  # tracks that may be read again


@dataclass(frozen=True, slots=True)
class Match:
    """A past track and its similarity."""

    similarity: float  # cosine
    track: PastTrack
    streamer: str  # whose track it is
    template: Floats  # (512,)


class PastIndex:
    """The faces of past tracks by one model. It is used from the asyncio loop only. All may raise StoreUnavailable."""

    def __init__(self, book: Book, memory_mb: float) -> None:
        self._book = book
        self._most_bytes = memory_mb * 1e6
        self._model_id = ""
        self._busy = asyncio.Lock()
        self._clear()

    def __len__(self) -> int:
        return len(self._index)

    async def search(self, probe: Floats, count: int, model_id: str, cameras: Collection[str]) -> list[Match]:
        """Return the past tracks of these cameras (empty: all) most similar to a unit probe (512,), best first."""
        async with self._busy:
            await self._update(model_id)
            wanted, best = count, list[Match]()
            while len(self._index):
                ids = await asyncio.to_thread(self._index.candidates, probe, wanted)
                found = await self._compared(ids, probe)
                if len(found) < len(ids):
                    continue  # some were gone, and are forgotten now
                best = _best([one for one in found if not cameras or one.track.camera in cameras], count)
                if len(found) == len(self._index):
                    break
                others_below = found[wanted - 1].similarity  # what was not found is not more similar
                if len(best) == count and best[-1].similarity >= others_below:
                    break
                wanted *= SPARE
            if self._full:
                best = _best([*best, *await self._beyond(probe, count, cameras)], count)
            return best

    async def reconcile(self) -> None:
        """Forget the faces whose templates are no longer stored, because somebody was erased or they were too old."""
        async with self._busy:
            for source in self._sources.values():
                mine = np.flatnonzero(self._owner[: self._filled] == source.number)
                pages = self._pages(source, templates.c.track_id, from_start=True)
                stored = [np.array([row.track_id for row in rows], KEY) async for rows in pages]
                gone = mine[~np.isin(self._names[mine], np.concatenate([np.zeros(0, KEY), *stored]))]
                await asyncio.to_thread(self._index.remove, gone)
                self._names[gone] = b""

    def _clear(self) -> None:
        self._index = CompactIndex()
        self._names = np.zeros(PAGE, KEY)  # of tracks; the place is the id in the index
        self._owner = np.zeros(PAGE, np.int16)
        self._filled = 0
        self._full = False
        self._sources: dict[str, _Source] = {}

    async def _update(self, model_id: str) -> None:
        """Take in what was stored since the last search."""
        if model_id != self._model_id:
            self._clear()
            self._model_id = model_id
        store = self._book.store
        sealed = await self._book.sealed_of(OWNER)
        for name in (store.database.streamer, *await others(store)):
            of = None if name == store.database.streamer else name
            source = self._sources.setdefault(name, _Source(len(self._sources), of))
            if self._full:
                return
            at, _ = source.read_to
            source.recent = {name: time for name, time in source.recent.items() if time > at - LATE}
            source.read_to = max(at - LATE, BEGINNING), ""
            async for rows in self._pages(source, templates.c.template):
                new = [row for row in rows if row.track_id not in source.recent]
                if new:
                    await asyncio.to_thread(self._add, source.number, sealed, new)
                source.read_to = rows[-1].at, rows[-1].track_id
                source.recent |= {row.track_id: row.at for row in rows if row.at > rows[-1].at - LATE}
                self._full = self._index.bytes() + self._names.nbytes > self._most_bytes
                if self._full:
                    text = "people: past faces beyond %d are read at each search (store.search_memory_mb)"
                    log.warning(text, len(self))
                    return

    async def _pages(self, source: _Source, column: Any, from_start: bool = False) -> AsyncIterator[Sequence[Any]]:
        """Yield the rows of templates of the model, oldest first, behind the place that was read to."""
        after = (BEGINNING, "") if from_start else source.read_to
        place = tuple_(templates.c.at, templates.c.track_id)
        while True:
            wanted = select(templates.c.track_id, templates.c.at, column).where(templates.c.model_id == self._model_id)
            wanted = wanted.where(place > after).order_by(templates.c.at, templates.c.track_id).limit(PAGE)
            async with self._book.store.database.reading(READ_S, of=source.of) as connection:
                rows = (await connection.execute(wanted)).all()
            if rows:
                yield rows
                after = rows[-1].at, rows[-1].track_id
            if len(rows) < PAGE:
                return

    def _add(self, number: int, sealed: Sealed, rows: Sequence[Any]) -> None:
        vectors = np.stack([sealed.read_vector(row.template, row.track_id) for row in rows])
        end = self._filled + len(rows)
        if end > len(self._names):
            self._names = np.concatenate([self._names, np.zeros(max(end, len(self._names)), KEY)])
            self._owner = np.concatenate([self._owner, np.zeros(max(end, len(self._owner)), np.int16)])
        self._names[self._filled : end] = [row.track_id for row in rows]
        self._owner[self._filled : end] = number
        self._index.add(np.arange(self._filled, end), vectors)
        self._filled = end

    async def _compared(self, found: Rows, probe: Floats) -> list[Match]:
        """Return these by their stored faces, best first. What is gone is forgotten."""
        matches = list[Match]()
        sealed = await self._book.sealed_of(OWNER)
        for name, source in self._sources.items():
            mine = found[self._owner[found] == source.number]
            ids = {self._names[one].decode(): int(one) for one in mine.tolist()}
            for part in parts_of(sorted(ids)):
                database, columns = self._book.store.database, self._book.store.columns
                rows = await past_tracks(database, columns, part, source.of)
                there = [row for row in rows if row.sealed_template]
                gone = [ids[one] for one in {*part} - {row.track_id for row in there}]
                if gone:
                    self._index.remove(np.array(gone))
                matches += _matches(sealed, there, probe, name)
        return _best(matches, len(matches))

    async def _beyond(self, probe: Floats, count: int, cameras: Collection[str]) -> list[Match]:
        """Return the best of those that are not in memory."""
        sealed, best = await self._book.sealed_of(OWNER), list[tuple[float, str, str | None, str]]()
        for name, source in self._sources.items():
            async for rows in self._pages(source, templates.c.template):
                allowed = await self._of_cameras([row.track_id for row in rows], source, cameras)
                new = [row for row in rows if row.track_id in allowed and row.track_id not in source.recent]
                if new:
                    scores = await asyncio.to_thread(_scores, sealed, new, probe)
                    scored = [(score, row.track_id, source.of, name) for score, row in zip(scores, new, strict=True)]
                    best = heapq.nlargest(count, [*best, *scored], key=lambda one: one[:2])
        found = list[Match]()
        for _, track_id, of, name in best:
            database, columns = self._book.store.database, self._book.store.columns
            found += _matches(sealed, await past_tracks(database, columns, [track_id], of), probe, name)
        return found

    async def _of_cameras(self, names: Sequence[str], source: _Source, cameras: Collection[str]) -> set[str]:
        if not cameras:
            return set(names)
        allowed = set[str]()
        async with self._book.store.database.reading(of=source.of) as connection:
            for part in parts_of(names):
                which = tracks.c.track_id.in_(part) & tracks.c.camera.in_(sorted(cameras))
                allowed |= set(await connection.scalars(select(tracks.c.track_id).where(which)))
        return allowed


def _matches(sealed: Sealed, rows: Sequence[PastTrack], probe: Floats, streamer: str) -> list[Match]:
    found = []
    for row in rows:
        if row.sealed_template:
            template = sealed.read_vector(row.sealed_template, row.track_id)
            found.append(Match(float(template @ probe), row, streamer, template))
    return found


def _scores(sealed: Sealed, rows: Sequence[Any], probe: Floats) -> list[float]:
    scores: list[float] = (np.stack([sealed.read_vector(row.template, row.track_id) for row in rows]) @ probe).tolist()
    return scores


def _best(found: Sequence[Match], count: int) -> list[Match]:
    return heapq.nlargest(count, found, key=lambda one: (one.similarity, one.track.track_id))
