"""Erases people from what other streamers of the database have stored, and carries out what others have erased.

Whoever erases a person removes the pictures and templates of all streamers at once. The id of the person in tracks and
events is removed by the streamer that they belong to, which publishes the revisions, at once or when it starts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

from sqlalchemy import delete, select

from streamer.people.book import Book
from streamer.people.entries import Action
from streamer.people.live import LiveGallery
from streamer.people.shared import holders, notifying
from streamer.people.stored import parts_of
from streamer.store.forget import forget_faces, forget_tracks, overwrite_tables
from streamer.store.schemas import lock_of
from streamer.store.store import Store
from streamer.store.tables import faces, streamers, templates, tracks, visitor_tracks
from streamer.store.values import StoreUnavailable

WITHIN_S = 60.0  # longest wait for another streamer
POLL_S = 0.1
AGAIN_S = 5.0
WORKER_S = 30.0  # longest wait until live tracks are decided again
OF_TRACKS = (faces, templates, visitor_tracks)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Elsewhere:
    """What an erasure has done to what other streamers have stored."""

    removed: dict[str, int]  # rows by table
    found: list[str]  # what must be gone and is not
    remaining: list[str]  # what goes later, in words


async def others(store: Store) -> dict[str, int]:
    """Return the other streamers of the database, each with the newest erasure that it has carried out."""
    if store.database.dialect != "postgresql":
        return {}
    async with store.database.reading() as connection:
        rows = (await connection.execute(select(streamers).order_by(streamers.c.name))).all()
    return {row.name: row.forgotten for row in rows if row.name != store.database.streamer}


async def forget_faces_elsewhere(store: Store, people: Collection[str], track_ids: Sequence[str]) -> Elsewhere:
    """Remove the pictures, templates and pseudonyms of tracks that show people. Raises StoreUnavailable.

    The other streamers notice which pseudonyms are gone, and publish revisions: see Past.faces_gone.
    """
    done = Elsewhere({table.name: 0 for table in OF_TRACKS}, [], [])
    elsewhere = await others(store)
    for other in elsewhere:
        async with store.database.reading(of=other) as connection:
            named = tracks.c.person.in_(store.columns.persons(people))
            names = sorted({*track_ids, *await connection.scalars(select(tracks.c.track_id).where(named))})
        for table in OF_TRACKS:
            for part in parts_of(names):
                which = table.c.track_id.in_(part)
                before = await store.count(table, which, of=other)
                await store.execute(delete(table).where(which), of=other)
                left = await store.count(table, which, of=other)
                done.removed[table.name] += before - left
                if left:
                    done.found.append(f"{table.name} of {_shown(other)}: {left} rows")
        await overwrite_tables(store, OF_TRACKS, of=other)
    if elsewhere:
        await store.execute(*notifying(store.database))
    return done


async def confirm(store: Store, entry_id: int, done: Elsewhere) -> None:
    """Wait until the other streamers have carried out an erasure. Raises StoreUnavailable."""
    missing: list[str] = []
    try:
        async with asyncio.timeout(WITHIN_S):
            while True:
                missing = [name for name, forgotten in (await others(store)).items() if forgotten < entry_id]
                running = await holders(store.database, missing, lock_of) if missing else set[str]()
                if not running:
                    break
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        running = await holders(store.database, missing, lock_of)
    done.found += [f"{_shown(name)}: it has not confirmed it within {WITHIN_S:g} s" for name in sorted(running)]
    done.remaining += [
        f"ids without a name in tracks and events of {_shown(name)}, which does not run: it removes them when it starts"
        for name in sorted({*missing} - running)
    ]


def _shown(name: str) -> str:
    return f"the streamer {name}" if name else "the streamer without an id"


async def nothing(*about: object) -> None:
    """Do nothing."""
    del about


class Forgetting:
    """Carries out the erasures of other streamers, and those of calls that failed, also from before the start."""

    def __init__(self, book: Book, live: LiveGallery) -> None:
        self._book = book
        self._live = live
        self._done = 0  # id of the newest erasure that this streamer has carried out
        self._own = set[int]()  # ids of erasures that a call to this streamer carries out now
        self._wake = asyncio.Event()
        self.flush: Callable[[], Awaitable[None]] = nothing  # stores the faces of tracks that wait
        self.forget: Callable[[set[str]], Awaitable[None]] = nothing  # stores the faces of these tracks no longer
        self.faces_gone: Callable[[], Awaitable[None]] = nothing  # called when faces of past tracks may be gone
        self.live_of: Callable[[str], set[str]] = lambda _: set()  # live tracks of a person, with what they joined
        self.shown = set[str]()  # tracks that showed erased people when these were erased

    def erased(self, person_id: str) -> None:
        """Note which live tracks show a person who is erased, before they lose the name, and carry the erasure out."""
        self.shown |= self.live_of(person_id)
        self.wake()

    async def open(self) -> None:
        """Note that this streamer is one of the database's, as which it may have to go on. Raises StoreUnavailable."""
        store = self._book.store
        erased = [one.id for one in self._book.entries if one.action is Action.ERASE]
        mine = streamers.c.name == store.database.streamer
        row = {"name": store.database.streamer, "started": datetime.now(UTC), "forgotten": max(erased, default=0)}
        insert = store.database.insert(streamers).values(row)
        start = insert.on_conflict_do_update(index_elements=["name"], set_={"started": row["started"]})
        await store.execute(start)
        async with store.database.reading() as connection:
            self._done = await connection.scalar(select(streamers.c.forgotten).where(mine)) or 0
        self.wake()

    def wake(self) -> None:
        """Look for new erasures soon."""
        self._wake.set()

    @contextmanager
    def by_a_call(self, entry_ids: Sequence[int]) -> Iterator[None]:
        """Leave erasures to the caller; those that fail are carried out here afterwards."""
        self._own |= {*entry_ids}
        try:
            yield
        finally:
            self._own -= {*entry_ids}
            self.wake()

    async def carried_out(self, entry_ids: Sequence[int]) -> None:
        """Note that this streamer has carried out erasures of its own. Raises StoreUnavailable."""
        if not [one for one in self._pending() if one[0] < entry_ids[0]]:
            await self._note(entry_ids[-1])

    async def run(self) -> None:
        """Carry out what comes, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._carry_out()
            except StoreUnavailable as error:
                log.warning("people: an erasure is not carried out now: %s", error)
                await asyncio.sleep(AGAIN_S)
                self._wake.set()

    async def _carry_out(self) -> None:
        pending = [*takewhile(lambda one: one[0] not in self._own, self._pending())]
        if not pending:
            return
        store, people = self._book.store, {name for _, name in pending}
        if self._live.model is not None and not await self._live.settled(WORKER_S):  # without a model nobody is named
            raise StoreUnavailable("live tracks are not decided again yet: no worker is connected")
        await self.flush()
        forgotten = await forget_tracks(store, people)
        faces_of = {*forgotten.tracks, *self.shown}
        await self.forget(faces_of)
        await forget_faces(store, faces_of)
        self.shown -= faces_of
        await self._book.forget_rejected(forgotten.tracks)
        await store.settle()
        await overwrite_tables(store, (faces, templates))
        await self.faces_gone()
        await self._note(pending[-1][0])
        log.info(
            "people: %d erased through another streamer, or in a call that failed, %d tracks revised",
            len(people),
            len(forgotten.tracks),
        )

    def entries_of(self, person_id: str) -> list[int]:
        """Return the ids of the entries by which a person was erased; empty: nobody has."""
        entries = self._book.entries
        return [one.id for one in entries if one.action is Action.ERASE and one.person_id == person_id]

    def _pending(self) -> list[tuple[int, str]]:
        entries = self._book.entries
        return [(one.id, one.person_id) for one in entries if one.action is Action.ERASE and one.id > self._done]

    async def _note(self, entry_id: int) -> None:
        store = self._book.store
        mine = streamers.c.name == store.database.streamer
        await store.execute(streamers.update().where(mine).values(forgotten=entry_id))
        self._done = entry_id
