"""What follows from splits in the ledger: references that belong to another person then, and what is said no longer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from streamer.people.entries import Action, Entry, Person
from streamer.people.fold import People
from streamer.people.stored import StoredReference

MOVING = frozenset({Action.SPLIT, Action.UNDO})  # after which a reference may be that of another person


def may_move(before: Sequence[Entry], entries: Sequence[Entry]) -> set[str]:
    """Return the ids of references that belong to another person after the entries of another streamer."""
    if not any(one.action in MOVING for one in entries):
        return set()
    splits = [one for one in (*before, *entries) if one.action is Action.SPLIT]
    return {name for one in splits for name in one.data.get("references", ())}


def unsaid(
    before: Sequence[Entry], people: People, known: Collection[str], erased: Sequence[str], actor: str, now: datetime
) -> list[Entry]:
    """Return the entries that undo what was said about tracks of erased people before a split gave them the tracks.

    Without the split, which goes with them, it would count again. `known`: people with a key. The entries have no
    numbers yet.
    """
    splits = [one for one in before if one.action is Action.SPLIT and one.person_id in erased]
    tracks = {track for one in splits for track in one.data["tracks"]}
    return [
        Entry(0, now, actor, Action.UNDO, one.person_id, {"entry": one.id})
        for one in before
        if one.action is Action.CONFIRM and one.person_id in known and one.person_id not in erased
        if one.data["track"] in tracks and one.id not in people.undone
    ]


def with_stored(people: People, there: Mapping[str, StoredReference]) -> People:
    """Return people without references that are gone: those that a split gave to somebody who was erased."""
    known = {
        name: one if all(each in there for each in one.references) else _without(one, there)
        for name, one in people.people.items()
    }
    return replace(people, people=known)


def _without(person: Person, there: Mapping[str, StoredReference]) -> Person:
    references = tuple(one for one in person.references if one in there)
    return replace(person, references=references, set_aside=person.set_aside & {*references})
