"""Folds the ledger into the people as they are now. Pure: the same entries always give the same people.

Undoing an entry gives what the ledger would have given without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamer.people.entries import FINAL, FOLDER, Action, Entry, Person


@dataclass(frozen=True, slots=True)
class People:
    """All people, and what was said about tracks. Ids of people are those who are left after merging."""

    people: Mapping[str, Person]  # by id
    merged: Mapping[str, str]  # id of a person who was merged -> id of the one who is left
    confirmed: Mapping[str, str]  # track id -> id of the person it shows
    rejected: Mapping[str, frozenset[str]]  # track id -> ids of people it does not show
    negatives: Mapping[str, frozenset[str]]  # person id -> ids of the references of rejected tracks
    undone: Mapping[int, int]  # entry -> the entry that undoes it
    erased: frozenset[str]  # ids of people

    def root(self, person_id: str) -> str:
        """Return the id of the person who is left after merging."""
        return self.merged.get(person_id, person_id)


@dataclass(slots=True)
class _Folding:
    people: dict[str, Person] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)  # one step
    confirmed: dict[str, tuple[str, str]] = field(default_factory=dict)  # track -> person, reference
    rejected: dict[tuple[str, str], str] = field(default_factory=dict)  # (track, person) -> reference
    erased: set[str] = field(default_factory=set)


def fold(entries: Sequence[Entry]) -> People:
    """Return the people that the entries, oldest first, make."""
    undone = _undone(entries)
    state = _Folding()
    state.erased = {one.person_id for one in entries if one.action is Action.ERASE}
    for entry in entries:
        if entry.action is not Action.UNDO and entry.id not in undone and entry.person_id not in state.erased:
            _apply(state, entry)
    merged = {name: _root(state.merged, name) for name in state.merged if name in state.people}
    known = _joined(state.people, merged, entries)

    def there(person: str) -> str | None:
        root = merged.get(person, person)
        return root if root in known or (person.startswith(FOLDER) and person not in state.erased) else None

    confirmed = {track: root for track, (person, _) in state.confirmed.items() if (root := there(person))}
    rejected: dict[str, frozenset[str]] = {}
    negatives: dict[str, frozenset[str]] = {}
    for (track, person), reference in state.rejected.items():
        root = there(person)
        if root is not None and confirmed.get(track) != root:
            rejected[track] = rejected.get(track, frozenset()) | {root}
            negatives[root] = negatives.get(root, frozenset()) | ({reference} if reference else set())
    return People(known, merged, confirmed, rejected, negatives, undone, frozenset(state.erased))


_SIMPLE = frozenset(
    {Action.CREATE, Action.UPDATE, Action.ENROL, Action.SET_ASIDE, Action.RESTORE, Action.DELETE_REFERENCE}
)


def extended(people: People, entry: Entry) -> People | None:
    """Return what `fold` returns with one more entry, if that is simple; None: fold all entries again."""
    name = entry.person_id
    if entry.action not in _SIMPLE or name in people.erased or {name} & {*people.merged, *people.merged.values()}:
        return None
    state = _Folding(people={name: people.people[name]} if name in people.people else {})
    _apply(state, entry)
    if name not in state.people:
        return None
    person = replace(state.people[name], version=entry.id, updated=entry.at)
    return replace(people, people={**people.people, name: person})


def _undone(entries: Sequence[Entry]) -> dict[int, int]:
    """Return the entries that do not count, each with the entry that undoes it; an undo may itself be undone."""
    final = {one.id for one in entries if one.action in FINAL}
    undone: dict[int, int] = {}
    for entry in reversed(entries):
        if entry.action is Action.UNDO and entry.id not in undone and "entry" in entry.data:
            target = int(entry.data["entry"])
            if target < entry.id and target not in final:
                undone.setdefault(target, entry.id)
    return undone


def _apply(state: _Folding, entry: Entry) -> None:
    data, person_id = entry.data, entry.person_id
    if entry.action is Action.CREATE:
        state.people[person_id] = Person(
            person_id, data["name"], (*data["labels"],), data["metadata"], (), frozenset(), entry.id, entry.at, entry.at
        )
        return
    person = state.people.get(person_id)
    if person is None and not person_id.startswith(FOLDER):
        return  # its creation was undone
    if entry.action in (Action.CONFIRM, Action.REJECT):
        _correct(state, entry)
    elif person is not None:
        state.people[person_id] = _changed(state, person, entry)


def _correct(state: _Folding, entry: Entry) -> None:
    track, person_id, reference = entry.data["track"], entry.person_id, entry.data["reference"]
    root = _root(state.merged, person_id)
    if entry.action is Action.REJECT:
        if track in state.confirmed and _root(state.merged, state.confirmed[track][0]) == root:
            del state.confirmed[track]
        state.rejected[track, person_id] = reference
        return
    for known in [pair for pair in state.rejected if pair[0] == track and _root(state.merged, pair[1]) == root]:
        del state.rejected[known]
    state.confirmed[track] = person_id, reference
    person = state.people.get(person_id)
    if person is not None and reference:
        state.people[person_id] = replace(person, references=(*person.references, reference))


def _changed(state: _Folding, person: Person, entry: Entry) -> Person:
    data = entry.data
    if entry.action is Action.UPDATE:
        labels = (*data.get("labels", person.labels),)
        metadata = data.get("metadata", person.metadata)
        return replace(person, name=data.get("name", person.name), labels=labels, metadata=metadata)
    if entry.action is Action.ENROL:
        return replace(person, references=(*person.references, *data["references"]))
    if entry.action is Action.SET_ASIDE:
        return replace(person, set_aside=person.set_aside | {data["reference"]})
    if entry.action is Action.RESTORE:
        return replace(person, set_aside=person.set_aside - {data["reference"]})
    if entry.action is Action.DELETE_REFERENCE:
        left = tuple(one for one in person.references if one != data["reference"])
        return replace(person, references=left, set_aside=person.set_aside - {data["reference"]})
    if entry.action is Action.MERGE:
        other, root = data["other"], _root(state.merged, person.person_id)
        if other in state.people and _root(state.merged, other) != root:
            state.merged[_root(state.merged, other)] = root
    return person


def _joined(people: Mapping[str, Person], merged: Mapping[str, str], entries: Iterable[Entry]) -> dict[str, Person]:
    """Return the people who are left, with the references of those who were merged into them and their versions."""
    newest: dict[str, Entry] = {}
    for entry in entries:
        for name in {entry.person_id, entry.data.get("other", entry.person_id)}:
            newest[merged.get(name, name)] = entry
    joined = {}
    for person_id, person in people.items():
        if person_id in merged:
            continue
        others = [people[name] for name, root in merged.items() if root == person_id]
        joined[person_id] = replace(
            person,
            references=tuple(one for each in (person, *others) for one in each.references),
            set_aside=frozenset().union(person.set_aside, *(one.set_aside for one in others)),
            version=newest[person_id].id,
            updated=newest[person_id].at,
        )
    return joined


def _root(merged: Mapping[str, str], person_id: str) -> str:
    while person_id in merged:
        person_id = merged[person_id]
    return person_id
