"""People's references and the entries of the ledger as rows of the store, sealed by the keys of their people."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, Select, select, update

from streamer.people.entries import Action, Entry
from streamer.people.keys import Sealed
from streamer.store.tables import person_references
from streamer.values import Floats

CHUNK = 500  # rows written in one statement, and names asked for by one question


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


def references_question() -> Select[Any]:
    """Return the question for references without their pictures."""
    columns = [column for column in person_references.columns if column.name != "crop"]
    return select(*columns, person_references.c.crop.is_not(None).label("has_crop"))


def reference_of(row: Any, key: Sealed) -> StoredReference:
    """Return the reference of a row. Raises NotReadable."""
    name = row.reference_id
    embedding, details = key.read_vector(row.embedding, name), key.read_data(row.details, name)
    parts = (row.model_id, row.source, row.quality, embedding, bool(row.has_crop), details, row.created)
    return StoredReference(name, row.person_id, *parts)


def reference_row(key: Sealed, one: StoredReference, jpeg: bytes) -> dict[str, Any]:
    """Return the row of a reference and its picture; empty: it has none."""
    return {
        "reference_id": one.reference_id,
        "model_id": one.model_id,
        "source": one.source,
        "quality": one.quality,
        "created": one.created,
        **_under(key, one, jpeg),
    }


def rehomed(key: Sealed, one: StoredReference, jpeg: bytes) -> Executable:
    """Return what stores a reference under the key of another person."""
    which = person_references.c.reference_id == one.reference_id
    return update(person_references).where(which).values(_under(key, one, jpeg))


def _under(key: Sealed, one: StoredReference, jpeg: bytes) -> dict[str, Any]:
    name = one.reference_id
    return {
        "person_id": one.person_id,
        "embedding": key.vector(one.embedding, name),
        "crop": key.picture(jpeg, name) if jpeg else None,
        "details": key.data(one.details, name),
    }


def entry_of(row: Any, sealed: Sealed | None) -> Entry:
    """Return the entry of a row; without the key of its person it says only that something was done."""
    data = sealed.read_data(row.payload, row.id) if sealed is not None and row.payload else {}
    return Entry(row.id, row.at, row.actor, Action(row.action), row.person_id, data)


def entry_row(sealed: Sealed, entry: Entry) -> dict[str, Any]:
    """Return the row of an entry."""
    return entry_columns(entry, sealed.data(entry.data, entry.id))


def entry_columns(entry: Entry, payload: bytes) -> dict[str, Any]:
    """Return the row of an entry with this payload."""
    return {
        "id": entry.id,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action.value,
        "person_id": entry.person_id,
        "payload": payload,
    }


def references_of(entry: Entry) -> list[str]:
    """Return the ids of the references that an entry brings."""
    one = entry.data.get("reference", "") if entry.action is not Action.DELETE_REFERENCE else ""
    return [*entry.data.get("references", ()), *([one] if one else [])]


def parts_of(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the names, as many at a time as one question may have."""
    yield from (names[start : start + CHUNK] for start in range(0, len(names), CHUNK))
