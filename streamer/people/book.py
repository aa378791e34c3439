"""Keeps the ledger of people and their references in the store, and in memory what is needed to recognise them.

Each change is one transaction: after a crash there is all of it or nothing.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Executable, delete, select, update

from streamer.people.entries import Action, Entry
from streamer.people.fold import People, extended, fold
from streamer.people.keys import Keys, Sealed
from streamer.store.store import Store
from streamer.store.tables import ledger, person_keys, person_references
from streamer.values import Floats

PIECE = 32  # bytes at the end of a sealed value, which differ from those of all others
CHUNK = 500  # rows written in one statement


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
        self.entries: list[Entry] = []
        self.people: People = fold(())
        self._keys = Keys(store.sealer)
        self._sealed: dict[str, Sealed] = {}  # by owner

    async def open(self) -> None:
        """Read everything. Raises StoreUnavailable, NotReadable and MissingPackage."""
        async with self.store.database.reading() as connection:
            keys = (await connection.execute(select(person_keys))).all()
            rows = (await connection.execute(select(ledger).order_by(ledger.c.id))).all()
            columns = [column for column in person_references.columns if column.name != "crop"]
            found = select(*columns, person_references.c.crop.is_not(None).label("has_crop"))
            references = (await connection.execute(found.order_by(person_references.c.created))).all()
        self._sealed = {row.owner: self._keys.read(row.key, row.owner) for row in keys}
        renewed = {row.owner: key for row in keys if (key := self._keys.renewed(row.key, row.owner)) is not None}
        if renewed:  # the store has another key, or has one now
            update_one = update(person_keys)
            statements = [update_one.where(person_keys.c.owner == one).values(key=renewed[one]) for one in renewed]
            await self.store.execute(*statements)
        self.entries = [self._entry(row) for row in rows]
        self.references = {row.reference_id: self._reference(row) for row in references}
        self.people = fold(self.entries)

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
        statements.append(ledger.insert().values([_row(sealed[one.person_id], one) for one in entries]))
        await self.store.execute(*statements)
        self._sealed.update(sealed)
        self.references.update({one.reference_id: one for one, _ in references})
        self._take(entries)
        return entries

    async def delete_reference(self, actor: str, person_id: str, reference_id: str) -> None:
        """Remove a reference for good."""
        entry = Entry(
            self._next_id(), datetime.now(UTC), actor, Action.DELETE_REFERENCE, person_id, {"reference": reference_id}
        )
        await self.store.execute(
            delete(person_references).where(person_references.c.reference_id == reference_id),
            ledger.insert().values(_row(self._sealed[person_id], entry)),
        )
        self.references.pop(reference_id, None)
        self._take([entry])

    async def erase(self, actor: str, person_ids: Sequence[str]) -> dict[str, int]:
        """Destroy keys, references and what the ledger says of people. Returns the rows removed or emptied by table."""
        now, first = datetime.now(UTC), self._next_id()
        entries = [Entry(number, now, actor, Action.ERASE, name) for number, name in enumerate(person_ids, first)]
        gone = {
            "person_references": sum(one.person_id in person_ids for one in self.references.values()),
            "ledger": sum(one.person_id in person_ids for one in self.entries),
            "person_keys": sum(name in self._sealed for name in person_ids),
        }
        await self.store.execute(
            delete(person_references).where(person_references.c.person_id.in_(person_ids)),
            update(ledger).where(ledger.c.person_id.in_(person_ids)).values(payload=b""),
            delete(person_keys).where(person_keys.c.owner.in_(person_ids)),
            ledger.insert().values([_columns(one, b"") for one in entries]),
        )
        for name in person_ids:
            self._sealed.pop(name, None)
        self.references = {name: one for name, one in self.references.items() if one.person_id not in person_ids}
        self.entries = [replace(one, data={}) if one.person_id in person_ids else one for one in self.entries]
        self._take(entries)
        return gone

    async def forget_rejected(self, track_ids: Set[str]) -> int:
        """Remove the faces of these tracks that were kept because they do not show somebody. Returns how many."""
        found = self.references.values()
        names = [one.reference_id for one in found if one.source == "REJECTED" and one.details["track"] in track_ids]
        await self.store.execute(delete(person_references).where(person_references.c.reference_id.in_(names)))
        for name in names:
            del self.references[name]
        return len(names)

    async def replace_embedding(self, reference: StoredReference) -> None:
        """Store a reference that was embedded by another model."""
        values = {
            "model_id": reference.model_id,
            "embedding": self._sealed[reference.person_id].vector(reference.embedding, reference.reference_id),
        }
        which = person_references.c.reference_id == reference.reference_id
        await self.store.execute(update(person_references).where(which).values(values))
        self.references[reference.reference_id] = reference

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
            sealed, statements = self._new_keys({owner})
            await self.store.execute(*statements)
            self._sealed[owner] = sealed[owner]
        return self._sealed[owner]

    def _next_id(self) -> int:
        return self.entries[-1].id + 1 if self.entries else 1

    def _take(self, entries: Sequence[Entry]) -> None:
        self.entries += entries
        simple = extended(self.people, entries[0]) if len(entries) == 1 else None
        self.people = simple or fold(self.entries)

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
