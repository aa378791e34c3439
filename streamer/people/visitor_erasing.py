"""Erases visitors: removes pseudonym, templates and pictures of all their tracks, at last also if the store fails."""

import logging
from dataclasses import dataclass

from streamer.people.curator import Curator
from streamer.people.past import Past
from streamer.people.regrouping import Regrouping
from streamer.people.visitors import VisitorBook
from streamer.store.forget import forget_faces, overwrite
from streamer.store.tables import templates, visitor_tracks
from streamer.store.values import StoreUnavailable, Unfinished
from streamer.store.visitors import revise_visitors

MOST_TRACKS = 5000  # of a visitor that are looked for afterwards

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gone:
    """What an erasure of a visitor has removed."""

    removed: dict[str, int]  # rows by table
    found: tuple[str, ...]  # what must be gone and is not
    remaining: tuple[str, ...]  # what was not in reach


class VisitorErasing:
    """Erases visitors of a store."""

    def __init__(self, book: VisitorBook, regrouping: Regrouping, curator: Curator, past: Past) -> None:
        self._book = book
        self._regrouping = regrouping
        self._curator = curator
        self._past = past
        curator.on_forgotten = self.forgotten

    async def erase(self, visitor_id: str) -> Gone:
        """Erase a visitor, whose id is that after merging. Raises StoreUnavailable, and Unfinished
        if `finish` has to go on."""
        store = self._curator.book.store
        async with self._regrouping.changing:
            shown = await self._past.with_joined({one.track_id for one in self._book.tracks_of(visitor_id)})
            self._book.erasing |= shown
            try:
                removed, remaining = await self._remove(shown)
            except StoreUnavailable as error:
                raise Unfinished(str(error)) from error
            found = []
            for table in (templates, visitor_tracks):  # somebody who is still there may be pictured again
                count = await store.count(table, table.c.track_id.in_(sorted(shown)[:MOST_TRACKS]))
                if count:
                    found.append(f"{table.name}: {count} rows")
        log.info("visitors: one was erased, with %d tracks", len(shown))
        return Gone(removed, tuple(found), (*remaining, "backups, sinks and clients that have received events"))

    async def finish(self) -> None:
        """Carry out the erasures that have failed. Raises StoreUnavailable."""
        if not self._book.erasing or self._regrouping.changing.locked():
            return
        async with self._regrouping.changing:
            shown = set(self._book.erasing)
            await self._remove(shown)
        log.info("visitors: an erasure that had failed is done, of %d tracks", len(shown))

    async def forgotten(self, track_ids: set[str]) -> None:
        """Take their pseudonyms from tracks whose faces are removed. Raises StoreUnavailable."""
        book, store = self._book, self._curator.book.store
        had = {name for name in track_ids if book.visitor_of(name)}
        book.forget(track_ids)
        book.barred |= track_ids
        for name in track_ids & book.live.keys():
            book.live[name].visitor_id, book.live[name].sighting = "", None
        book.republish(sorted(had & book.live.keys()))
        await store.settle()  # of those that have just ended, too, the newest revision is stored then
        await revise_visitors(store, sorted(had - book.live.keys()))

    async def _remove(self, shown: set[str]) -> tuple[dict[str, int], list[str]]:
        """Remove what is stored of tracks; return the rows by table, and what may remain."""
        store = self._curator.book.store
        await self._past.forget(shown)
        await store.settle()  # with what was about to be written
        removed = await forget_faces(store, shown)
        removed["person_references"] = await self._curator.book.forget_rejected(shown)
        remaining = await overwrite(store)
        self._book.erasing -= shown
        return removed, remaining
