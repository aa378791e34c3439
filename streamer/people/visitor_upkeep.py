"""Does what is due for visitors: groups them again at night and after an undo, and deletes what is due."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from streamer.people.curator import Curator
from streamer.people.entries import Action, Entry
from streamer.people.fold import People
from streamer.people.nightly import next_night, utc_now
from streamer.people.regrouping import Ids, Regrouping
from streamer.people.visitor_erasing import VisitorErasing
from streamer.people.visitors import VisitorBook
from streamer.store.store import Store
from streamer.store.values import StoreUnavailable
from streamer.store.visitors import delete_old, delete_rows, revise_visitors, template_ids
from streamer.values import ImpostorScores

LOOK_S = 1.0  # between two looks for what is due
CLEAN_S = 3600.0  # between two deletions of what is too old
AGAIN_S = 5.0  # pause after a failure of the store
OF_TRACKS = (Action.JOIN_TRACKS, Action.PART_TRACKS)

log = logging.getLogger(__name__)


class Upkeep:
    """Keeps the visitors of a store up to date."""

    def __init__(
        self,
        book: VisitorBook,
        regrouping: Regrouping,
        erasing: VisitorErasing,
        curator: Curator,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.settings = book.settings
        self._book = book
        self._regrouping = regrouping
        self._erasing = erasing
        self._curator = curator
        self._now = now
        self._wake = asyncio.Event()
        self._undone: set[str] = set()  # tracks that an undone entry is about
        self._restored: set[str] = set()  # tracks that no longer show a person
        curator.on_entries = self._noted

    @property
    def _people(self) -> People:
        return self._curator.book.people

    @property
    def _store(self) -> Store:
        return self._curator.book.store

    async def run(self) -> None:
        """Do what is due until cancelled."""
        clean = self._now()
        night, started = self._next_night(), False
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._erasing.finish()
                await self._book.load()
                if not started and self._book.model_id:
                    wrong = self._regrouping.contradicting(self._people)
                    if wrong:
                        await self._regrouping.around(self._people, wrong)
                    started = True
                await self._after_undo()
                if night is not None and self._now() >= night:
                    night = self._next_night()
                    await self._regrouping.everything(self._people)
                if self._now() >= clean:
                    clean = self._now() + timedelta(seconds=CLEAN_S)
                    await self._clean()
            except StoreUnavailable as error:
                log.warning("visitors: not up to date: %s", error)
                await asyncio.sleep(AGAIN_S)

    def use_impostors(self, impostors: ImpostorScores, model_id: str) -> None:
        """Compare templates of this model from now on, by these scores of strangers."""
        self._book.use_impostors(impostors, model_id)
        self._wake.set()

    def revised(self, track_id: str, identified: bool) -> None:
        """Note that a past track shows a person of the gallery now, or no longer does."""
        if identified and track_id not in self._book.identified:
            self._book.identified.add(track_id)
            self._book.known.remove(track_id)
        elif not identified and track_id in self._book.identified:
            self._book.identified.discard(track_id)
            self._restored.add(track_id)
            self._wake.set()

    def _noted(self, entries: Sequence[Entry]) -> None:
        """Note entries of the ledger: after an undo visitors are grouped again."""
        by_id = {one.id: one for one in self._curator.book.entries}
        for entry in entries:
            target = entry
            while target.action is Action.UNDO and int(target.data.get("entry", 0)) in by_id:
                target = by_id[int(target.data["entry"])]
            if entry.action is Action.UNDO and target.action in OF_TRACKS:
                self._undone |= {*target.data["tracks"], *target.data.get("others", ())}
                self._wake.set()

    async def _after_undo(self) -> None:
        restored, self._restored = self._restored, set()
        if restored:
            await self._book.restore(restored)
            placed, self._book.placed = self._book.placed, set()
            await revise_visitors(self._store, sorted(placed))
        undone, self._undone = self._undone, set()
        if undone:
            try:
                await self._regrouping.around(self._people, undone, Ids(undoing=True))
            except StoreUnavailable:
                self._undone |= undone
                raise

    async def _clean(self) -> None:
        """Remove what is too old, and pseudonyms of tracks that turned out to show nobody."""
        gone, self._book.gone = self._book.gone, set()
        try:
            await delete_rows(self._store, gone)
        except StoreUnavailable:
            self._book.gone |= gone
            raise
        self._book.barred &= self._book.live.keys() | self._book.erasing  # of the others nothing is stored
        old = await delete_old(self._store, self._now() - timedelta(days=self.settings.keep_days))
        self._book.forget(old - self._book.live.keys())
        there = await template_ids(self._store)
        for one in list(self._book.known.tracklets()):
            if one.id not in there and one.id not in self._book.live:
                self._book.known.remove(one.id)

    def _next_night(self) -> datetime | None:
        at = self.settings.regroup_at
        return next_night(at, self._now()) if at is not None else None
