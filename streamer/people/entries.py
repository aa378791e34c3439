"""The entries of the ledger of people: what was done, by whom and when. An entry is never changed, only undone."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

TRACKS = "tracks"  # in place of the id of a person, in entries about tracks of nobody
FOLDER = "folder-"  # begins the ids of people of gallery.folder, who are not in the ledger


class Action(enum.Enum):
    """What an entry says. `data` has the values that are named here."""

    CREATE = "CREATE"  # name, labels, metadata
    UPDATE = "UPDATE"  # those of name, labels and metadata that change
    ENROL = "ENROL"  # references: ids; track: id, where they come from one
    SET_ASIDE = "SET_ASIDE"  # reference: id
    RESTORE = "RESTORE"  # reference: id
    DELETE_REFERENCE = "DELETE_REFERENCE"  # reference: id; its data is gone, so this cannot be undone
    CONFIRM = "CONFIRM"  # track: id shows the person; reference: id of its template, or empty
    REJECT = "REJECT"  # track: id does not show the person; reference: id of its template, or empty
    MERGE = "MERGE"  # other: id of the person who is this one as well
    UNDO = "UNDO"  # entry: id of the entry that no longer counts
    DIFFERENT_PEOPLE = "DIFFERENT_PEOPLE"  # other: id of a person who looks like this one and is not
    ERASE = "ERASE"  # of the person nothing is left; cannot be undone
    SPLIT = "SPLIT"  # other: id of who had them; references: ids, tracks: ids that belong to this person
    IMPORT = "IMPORT"  # name, labels, metadata; references: ids, aside: those of them that are set aside
    JOIN_TRACKS = "JOIN_TRACKS"  # tracks: ids that show one face
    PART_TRACKS = "PART_TRACKS"  # tracks: ids that show another face than others: ids; one: the first show one face
    NAME_VISITOR = "NAME_VISITOR"  # visitor: id; tracks: ids show the person; references: ids; a new one: as CREATE


FINAL = frozenset({Action.ERASE, Action.DELETE_REFERENCE})  # what they removed cannot be put back


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger."""

    id: int  # from 1, ascending
    at: datetime  # UTC
    actor: str  # name and id of the token, or `anonymous`
    action: Action
    person_id: str
    data: Mapping[str, Any] = field(default_factory=dict)  # empty also if the person was erased


@dataclass(frozen=True, slots=True)
class Person:
    """A person as the ledger has it now."""

    person_id: str
    name: str
    labels: tuple[str, ...]
    metadata: Mapping[str, str]
    references: tuple[str, ...]  # ids, oldest first, also of people who were merged into this one
    set_aside: frozenset[str]  # ids of the references that are kept and not compared with
    version: int  # id of the newest entry about the person
    created: datetime  # UTC
    updated: datetime  # UTC
