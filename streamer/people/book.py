"""Keeps the ledger of people and their references in the store, and in memory what is needed to recognise them.

Each change is one transaction: after a crash there is all of it or nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Executable, delete, select, update
from sqlalchemy.exc import IntegrityError

from streamer.people.entries import Action, Entry
from streamer.people.fold import People, fold
from streamer.people.keys import Keys, Sealed
from streamer.people.ledger import ALL, Ledger
from streamer.people.moving import MOVING, may_move, unsaid, with_stored
from streamer.people.shared import notifying
from streamer.people.stored import (
    CHUNK,
    StoredReference,
    entry_columns,
    entry_of,
    entry_row,
    parts_of,
    reference_of,
    reference_row,
    references_of,
    references_question,
    rehomed,
)
from streamer.store.store import Store
from streamer.store.tables import ledger, person_keys, person_references
from streamer.store.values import StoreUnavailable

PIECE = 32  # bytes at the end of a sealed value, which differ from those of all others
OPENING_S = 600.0  # longest wait for a large gallery


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that is to be written."""

    action: Action
    person_id: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Book:
    """The ledger of one store. It is used from the asyncio loop only. Writing may raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.references: dict[str, StoredReference] = {}
        self.touched = set[str]()  # ids of people who have changed since the gallery was made, or ALL
        self._ledger = Ledger()
        self._models = Counter[str]()  # number of references by each
        self._owned: dict[str, set[str]] = {}  # person -> ids of the references under their key
        self._keys = Keys(store.sealer)
        self._sealed: dict[str, Sealed] = {}  # by owner

    async def open(self) -> None:
        """Read everything. Raises StoreUnavailable, NotReadable and MissingPackage."""
        async with self.store.database.reading(OPENING_S, one_moment=True) as connection:
            keys = (await connection.execute(select(person_keys))).all()
            rows = (await connection.execute(select(ledger).order_by(ledger.c.id))).all()
            references = (await connection.execute(references_question().order_by(person_references.c.created))).all()
        self._sealed = {row.owner: self._keys.read(row.key, row.owner) for row in keys}
        renewed = {row.owner: key for row in keys if (key := self._keys.renewed(row.key, row.owner)) is not None}
        if renewed:  # the store has another key, or has one now
            update_one = update(person_keys)
            statements = [update_one.where(person_keys.c.owner == one).values(key=renewed[one]) for one in renewed]
            await self.store.execute(*statements)
        self._ledger = Ledger(entry_of(row, self._sealed.get(row.person_id)) for row in rows)
        self.references, self._owned, self._models = {}, {}, Counter()
        self._keep(reference_of(row, self._sealed[row.person_id]) for row in references)
        self._ledger.people = with_stored(self._ledger.people, self.references)
        self.touched.add(ALL)

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries, oldest first."""
        return self._ledger.entries

    @property
    def people(self) -> People:
        """The people that they make."""
        return self._ledger.people

    async def append(
        self, actor: str, drafts: Sequence[Draft], references: Sequence[tuple[StoredReference, bytes]] = ()
    ) -> list[Entry]:
        """Write entries, and references with their pictures as JPEG (empty: none), in one transaction."""
        now, first = datetime.now(UTC), self._next_id()
        entries = [
            Entry(number, now, actor, each.action, each.person_id, each.data)
            for number, each in enumerate(drafts, first)
        ]
        sealed, statements = self._new_keys({one.person_id for one in entries})
        keys = {**self._sealed, **sealed}
        rows = [reference_row(keys[one.person_id], one, jpeg) for one, jpeg in references]
        statements += [person_references.insert().values(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)]
        written = [entry_row(sealed[one.person_id], one) for one in entries]
        statements += [ledger.insert().values(written[at : at + CHUNK]) for at in range(0, len(written), CHUNK)]
        moved = await self._moved(entries, references)
        statements += [rehomed(keys[one.person_id], one, jpeg) for one, jpeg in moved]
        await self._write(*statements)
        self._sealed.update(sealed)
        self._keep(one for one, _ in (*moved, *references))
        self._take(entries)
        return entries

    async def delete_reference(self, actor: str, person_id: str, reference_id: str) -> None:
        """Remove a reference for good."""
        entry = Entry(
            self._next_id(), datetime.now(UTC), actor, Action.DELETE_REFERENCE, person_id, {"reference": reference_id}
        )
        await self._write(
            delete(person_references).where(person_references.c.reference_id == reference_id),
            ledger.insert().values(entry_row(self._sealed[person_id], entry)),
        )
        self._drop([reference_id])
        self._take([entry])

    async def erase(self, actor: str, person_ids: Sequence[str]) -> dict[str, int]:
        """Destroy keys, references and what the ledger says of people. Returns the rows removed or emptied by table."""
        now, first = datetime.now(UTC), self._next_id()
        entries = [Entry(number, now, actor, Action.ERASE, name) for number, name in enumerate(person_ids, first)]
        again = unsaid(self.entries, self.people, self._sealed, person_ids, actor, now)
        entries += [replace(one, id=number) for number, one in enumerate(again, first + len(entries))]
        gone = {
            "person_references": sum(len(self._owned.get(name, ())) for name in person_ids),
            "ledger": self._ledger.count(person_ids),
            "person_keys": sum(name in self._sealed for name in person_ids),
        }
        await self._write(
            delete(person_references).where(person_references.c.person_id.in_(person_ids)),
            update(ledger).where(ledger.c.person_id.in_(person_ids)).values(payload=b""),
            delete(person_keys).where(person_keys.c.owner.in_(person_ids)),
            ledger.insert().values(
                [
                    entry_columns(one, b"")
                    if one.action is Action.ERASE
                    else entry_row(self._sealed[one.person_id], one)
                    for one in entries
                ]
            ),
        )
        self._take(entries)
        self._forget(set(person_ids))
        return gone

    async def take_in(self) -> list[Entry]:
        """Take in the entries that other streamers have written. Raises StoreUnavailable and NotReadable."""
        async with self.store.database.reading(one_moment=True) as connection:
            new = ledger.c.id >= self._next_id()
            rows = (await connection.execute(select(ledger).where(new).order_by(ledger.c.id))).all()
            if not rows:
                return []
            owners = sorted({row.person_id for row in rows} - self._sealed.keys())
            for part in parts_of(owners):
                found = await connection.execute(select(person_keys).where(person_keys.c.owner.in_(part)))
                self._sealed |= {row.owner: self._keys.read(row.key, row.owner) for row in found}
            entries = [entry_of(row, self._sealed.get(row.person_id)) for row in rows]
            moved = may_move(self.entries, entries)
            names = [name for one in entries for name in references_of(one) if name not in self.references]
            names = sorted({*names, *moved})
            references = list[StoredReference]()
            for part in parts_of(names):
                wanted = references_question().where(person_references.c.reference_id.in_(part))
                references += [
                    reference_of(row, self._sealed[row.person_id]) for row in await connection.execute(wanted)
                ]
        self._keep(references)
        erased = {one.person_id for one in entries if one.action is Action.ERASE}
        for one in entries:
            if one.action is Action.DELETE_REFERENCE:
                self._drop([one.data.get("reference", "")])
        self._take(entries)
        if erased:
            self._forget(erased)
        return entries

    async def drop_missing(self) -> int:
        """Forget the references that another streamer has removed without an entry. Raises StoreUnavailable."""
        names = [one.reference_id for one in self.references.values() if one.source == "REJECTED"]
        there = set[str]()
        async with self.store.database.reading() as connection:
            for part in parts_of(names):
                which = person_references.c.reference_id.in_(part)
                there |= set(await connection.scalars(select(person_references.c.reference_id).where(which)))
        self._drop(set(names) - there)
        return len(set(names) - there)

    def _forget(self, person_ids: Set[str]) -> None:
        """Keep nothing of erased people in memory, except when something was done."""
        for name in person_ids:
            self._sealed.pop(name, None)
            self._drop([*self._owned.get(name, ())])
        self._ledger.forget(person_ids)
        if any(one.action is Action.SPLIT for one in self.entries):
            self._ledger.people = with_stored(self._ledger.people, self.references)

    def _keep(self, references: Iterable[StoredReference]) -> None:
        for one in references:
            self._drop([one.reference_id])
            self.references[one.reference_id] = one
            self._models[one.model_id] += 1
            self._owned.setdefault(one.person_id, set()).add(one.reference_id)

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            one = self.references.pop(name, None)
            if one is not None:
                self._owned[one.person_id].discard(name)
                self._models[one.model_id] -= 1

    async def _write(self, *statements: Executable) -> None:
        """Write in one transaction, and notify other streamers. Raises StoreUnavailable."""
        try:
            await self.store.execute(*statements, *notifying(self.store.database))
        except IntegrityError as error:  # the lock was lost, and another streamer has given the number away
            raise StoreUnavailable("another streamer has changed people at the same moment; try again") from error

    async def _moved(
        self, entries: Sequence[Entry], new: Sequence[tuple[StoredReference, bytes]]
    ) -> list[tuple[StoredReference, bytes]]:
        """Return the references that another person has after these entries, under that person, with their pictures."""
        if not any(one.action in MOVING for one in entries):
            return []
        people, moved = fold([*self.entries, *entries]), []
        added = {one.reference_id for one, _ in new}
        for person in people.people.values():
            for name in person.references:
                one = self.references.get(name)
                if one is None or name in added or people.root(one.person_id) == person.person_id:
                    continue
                moved.append((replace(one, person_id=person.person_id), await self.crop(name)))
        return moved

    async def forget_rejected(self, track_ids: Set[str]) -> int:
        """Remove the faces of these tracks that were kept because they do not show somebody. Returns how many."""
        found = self.references.values()
        names = [one.reference_id for one in found if one.source == "REJECTED" and one.details["track"] in track_ids]
        for part in parts_of(names):
            await self._write(delete(person_references).where(person_references.c.reference_id.in_(part)))
        self._drop(names)
        return len(names)

    async def replace_embeddings(self, references: Sequence[StoredReference]) -> None:
        """Store references that were embedded by another model. Those that are gone by now stay gone."""
        there = [one for one in references if one.reference_id in self.references]
        statements = []
        for one in there:
            sealed = self._sealed[one.person_id].vector(one.embedding, one.reference_id)
            which = person_references.c.reference_id == one.reference_id
            statements.append(update(person_references).where(which).values(model_id=one.model_id, embedding=sealed))
        await self.store.execute(*statements)
        there = [one for one in there if one.reference_id in self.references]
        self._drop([one.reference_id for one in there])
        self._keep(there)
        self.touched |= {self.people.root(one.person_id) for one in there}

    def by_others(self, model_id: str) -> list[StoredReference]:
        """Return the references that other models than this one have embedded."""
        if self._models[model_id] == len(self.references):
            return []
        return [one for one in self.references.values() if one.model_id != model_id]

    async def crop(self, reference_id: str) -> bytes:
        """Return the picture of a reference as a JPEG; empty: it has none. Raises StoreUnavailable, NotReadable."""
        async with self.store.database.reading() as connection:
            which = person_references.c.reference_id == reference_id
            stored = await connection.scalar(select(person_references.c.crop).where(which))
        reference = self.references.get(reference_id)
        if stored is None or reference is None:
            return b""
        return self._sealed[reference.person_id].read_picture(stored, reference_id)

    async def stored_of(self, person_ids: Sequence[str]) -> list[bytes]:
        """Return the end of each sealed value and key of people, as the database has it."""
        async with self.store.database.reading() as connection:
            of_people = person_references.c.person_id.in_(person_ids)
            columns = (person_references.c.embedding, person_references.c.crop, person_references.c.details)
            rows = [value for row in await connection.execute(select(*columns).where(of_people)) for value in row]
            rows += await connection.scalars(select(person_keys.c.key).where(person_keys.c.owner.in_(person_ids)))
            rows += await connection.scalars(select(ledger.c.payload).where(ledger.c.person_id.in_(person_ids)))
        return [bytes(value)[-PIECE:] for value in rows if value]

    async def sealed_of(self, owner: str) -> Sealed:
        """Return what seals for an owner, with a new key for an owner without one."""
        if owner not in self._sealed:
            key, _ = self._keys.new(owner)
            insert = self.store.database.insert(person_keys).on_conflict_do_nothing()  # another streamer may be faster
            await self.store.execute(insert.values(owner=owner, key=key))
            async with self.store.database.reading() as connection:
                stored = await connection.scalar(select(person_keys.c.key).where(person_keys.c.owner == owner))
            if stored is None:
                raise StoreUnavailable(f"the key of {owner} is gone")
            self._sealed[owner] = self._keys.read(stored, owner)
        return self._sealed[owner]

    def _next_id(self) -> int:
        return self._ledger.newest() + 1

    def _take(self, entries: Sequence[Entry]) -> None:
        touched = self._ledger.add(entries)
        if ALL in touched:
            self._ledger.people = with_stored(self._ledger.people, self.references)
        self.touched |= touched

    def _new_keys(self, owners: set[str]) -> tuple[dict[str, Sealed], list[Executable]]:
        """Return what seals for each owner, and the statements that store the keys that are new."""
        sealed, statements = {}, list[Executable]()
        for owner in sorted(owners):
            if owner in self._sealed:
                sealed[owner] = self._sealed[owner]
                continue
            key, sealed[owner] = self._keys.new(owner)
            statements.append(person_keys.insert().values(owner=owner, key=key))
        return sealed, statements
