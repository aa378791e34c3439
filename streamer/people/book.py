"""Keeps the ledger of people and their references in the store, and in memory what is needed to recognise them.

Each change is one transaction: after a crash there is all of it or nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Executable, Select, delete, select, update
from sqlalchemy.exc import IntegrityError

from streamer.people.entries import Action, Entry, Person
from streamer.people.fold import People, fold
from streamer.people.keys import Keys, Sealed
from streamer.people.ledger import ALL, Ledger
from streamer.people.shared import notifying
from streamer.store.store import Store
from streamer.store.tables import ledger, person_keys, person_references
from streamer.store.values import StoreUnavailable
from streamer.values import Floats

PIECE = 32  # bytes at the end of a sealed value, which differ from those of all others
CHUNK = 500  # rows written in one statement
OPENING_S = 600.0  # longest wait for a large gallery
MOVING = frozenset({Action.SPLIT, Action.UNDO})  # after which a reference may be that of another person


@dataclass(frozen=True, slots=True, eq=False)
class StoredReference:
    """One face of a person, embedded, or of a track that does not show the person."""

    reference_id: str
    person_id: str  # under whose key it is stored
    model_id: str  # of the weights that made the embedding
    source: str  # IMAGE, TRACK or REJECTED
    quality: float  # 0..1
    embedding: Floats  # (512,) before normalisation; of unit length if it is the template of a track
    has_crop: bool
    details: Mapping[str, str]  # file: its name; digest: SHA-256 of the file; track: id
    created: datetime  # UTC


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
            references = (await connection.execute(_references().order_by(person_references.c.created))).all()
        self._sealed = {row.owner: self._keys.read(row.key, row.owner) for row in keys}
        renewed = {row.owner: key for row in keys if (key := self._keys.renewed(row.key, row.owner)) is not None}
        if renewed:  # the store has another key, or has one now
            update_one = update(person_keys)
            statements = [update_one.where(person_keys.c.owner == one).values(key=renewed[one]) for one in renewed]
            await self.store.execute(*statements)
        self._ledger = Ledger(self._entry(row) for row in rows)
        self.references, self._owned, self._models = {}, {}, Counter()
        self._keep(self._reference(row) for row in references)
        self._ledger.people = self._with_stored(self._ledger.people)
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
        rows = [self._reference_row(sealed, one, jpeg) for one, jpeg in references]
        statements += [person_references.insert().values(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)]
        written = [_row(sealed[one.person_id], one) for one in entries]
        statements += [ledger.insert().values(written[at : at + CHUNK]) for at in range(0, len(written), CHUNK)]
        moved = await self._moved(entries, references)
        keys = {**self._sealed, **sealed}
        statements += [_rehomed(keys[one.person_id], one, jpeg) for one, jpeg in moved]
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
            ledger.insert().values(_row(self._sealed[person_id], entry)),
        )
        self._drop([reference_id])
        self._take([entry])

    async def erase(self, actor: str, person_ids: Sequence[str]) -> dict[str, int]:
        """Destroy keys, references and what the ledger says of people. Returns the rows removed or emptied by table."""
        now, first = datetime.now(UTC), self._next_id()
        entries = [Entry(number, now, actor, Action.ERASE, name) for number, name in enumerate(person_ids, first)]
        entries += self._unsaid(actor, now, first + len(entries), person_ids)
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
                    _columns(one, b"") if one.action is Action.ERASE else _row(self._sealed[one.person_id], one)
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
            entries = [self._entry(row) for row in rows]
            moved = self._may_move(entries)
            names = [name for one in entries for name in references_of(one) if name not in self.references]
            names = sorted({*names, *moved})
            references = list[StoredReference]()
            for part in parts_of(names):
                wanted = _references().where(person_references.c.reference_id.in_(part))
                references += [self._reference(row) for row in await connection.execute(wanted)]
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
            self._ledger.people = self._with_stored(self._ledger.people)

    def _may_move(self, entries: Sequence[Entry]) -> set[str]:
        """Return the ids of references that belong to another person after the entries of another streamer."""
        if not any(one.action in MOVING for one in entries):
            return set()
        splits = [one for one in (*self.entries, *entries) if one.action is Action.SPLIT]
        return {name for one in splits for name in one.data.get("references", ())}

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

    def _unsaid(self, actor: str, now: datetime, first: int, erased: Sequence[str]) -> list[Entry]:
        """Return the entries that undo what was said about tracks of these people before a split gave them the tracks.

        Without the split, which goes with them, it would count again.
        """
        splits = [one for one in self.entries if one.action is Action.SPLIT and one.person_id in erased]
        tracks = {track for one in splits for track in one.data["tracks"]}
        said = [
            one
            for one in self.entries
            if one.action is Action.CONFIRM and one.person_id in self._sealed and one.person_id not in erased
            if one.data["track"] in tracks and one.id not in self.people.undone
        ]
        return [
            Entry(number, now, actor, Action.UNDO, one.person_id, {"entry": one.id})
            for number, one in enumerate(said, first)
        ]

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
            self._ledger.people = self._with_stored(self._ledger.people)
        self.touched |= touched

    def _with_stored(self, people: People) -> People:
        """Return people without references that are gone: those that a split gave to somebody who was erased."""
        there = self.references
        known = {
            name: one if all(each in there for each in one.references) else _without(one, there)
            for name, one in people.people.items()
        }
        return replace(people, people=known)

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

    def _reference_row(self, sealed: Mapping[str, Sealed], one: StoredReference, jpeg: bytes) -> dict[str, Any]:
        key = sealed.get(one.person_id) or self._sealed[one.person_id]
        return {
            "reference_id": one.reference_id,
            "person_id": one.person_id,
            "model_id": one.model_id,
            "source": one.source,
            "quality": one.quality,
            "embedding": key.vector(one.embedding, one.reference_id),
            "crop": key.picture(jpeg, one.reference_id) if jpeg else None,
            "details": key.data(one.details, one.reference_id),
            "created": one.created,
        }

    def _entry(self, row: Any) -> Entry:
        sealed = self._sealed.get(row.person_id)
        data = sealed.read_data(row.payload, row.id) if sealed is not None and row.payload else {}
        return Entry(row.id, row.at, row.actor, Action(row.action), row.person_id, data)

    def _reference(self, row: Any) -> StoredReference:
        key, name = self._sealed[row.person_id], row.reference_id
        embedding, details = key.read_vector(row.embedding, name), key.read_data(row.details, name)
        parts = (row.model_id, row.source, row.quality, embedding, bool(row.has_crop), details, row.created)
        return StoredReference(name, row.person_id, *parts)


def _without(person: Person, there: Mapping[str, StoredReference]) -> Person:
    references = tuple(one for one in person.references if one in there)
    return replace(person, references=references, set_aside=person.set_aside & {*references})


def _rehomed(key: Sealed, one: StoredReference, jpeg: bytes) -> Executable:
    """Return what stores a reference under the key of another person."""
    name = one.reference_id
    values = {
        "person_id": one.person_id,
        "embedding": key.vector(one.embedding, name),
        "crop": key.picture(jpeg, name) if jpeg else None,
        "details": key.data(one.details, name),
    }
    return update(person_references).where(person_references.c.reference_id == name).values(values)


def _references() -> Select[Any]:
    """Return the question for references without their pictures."""
    columns = [column for column in person_references.columns if column.name != "crop"]
    return select(*columns, person_references.c.crop.is_not(None).label("has_crop"))


def references_of(entry: Entry) -> list[str]:
    """Return the ids of the references that an entry brings."""
    one = entry.data.get("reference", "") if entry.action is not Action.DELETE_REFERENCE else ""
    return [*entry.data.get("references", ()), *([one] if one else [])]


def parts_of(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the names, as many at a time as one question may have."""
    yield from (names[start : start + CHUNK] for start in range(0, len(names), CHUNK))


def _row(sealed: Sealed, entry: Entry) -> dict[str, Any]:
    return _columns(entry, sealed.data(entry.data, entry.id))


def _columns(entry: Entry, payload: bytes) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action.value,
        "person_id": entry.person_id,
        "payload": payload,
    }
