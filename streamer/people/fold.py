"""Folds the ledger into the people as they are now. Pure: the same entries always give the same people.

Undoing an entry gives what the ledger would have given without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamer.people.entries import FINAL, FOLDER, Action, Entry, Person
from streamer.people.said import NOTHING, TrackLinks, linked, spread


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
    different: frozenset[frozenset[str]] = frozenset()  # pairs of ids of people who were said to be two people
    links: TrackLinks = NOTHING  # which tracks show one face, and which do not
    named: Mapping[str, str] = field(default_factory=dict)  # visitor id -> id of the person

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
    different: set[tuple[str, str]] = field(default_factory=set)
    named: dict[str, str] = field(default_factory=dict)  # visitor -> person


def fold(entries: Sequence[Entry]) -> People:
    """Return the people that the entries, oldest first, make."""
    undone = _undone(entries)
    state = _Folding()
    state.erased = {one.person_id for one in entries if one.action is Action.ERASE}
    counting = [
        one
        for one in entries
        if one.action is not Action.UNDO and one.id not in undone and one.person_id not in state.erased
    ]
    for entry in counting:
        _apply(state, entry)
    links = linked(counting)
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
    pairs = (frozenset({one, other}) for a, b in state.different if (one := there(a)) and (other := there(b)))
    different = frozenset(pair for pair in pairs if len(pair) == 2)
    confirmed, rejected = spread(links, confirmed, rejected)
    named = {visitor: root for visitor, person in state.named.items() if (root := there(person))}
    erased = frozenset(state.erased)
    return People(known, merged, confirmed, rejected, negatives, undone, erased, different, links, named)


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
    if entry.action is Action.CREATE or (entry.action is Action.NAME_VISITOR and "name" in data):
        state.people[person_id] = Person(
            person_id, data["name"], (*data["labels"],), data["metadata"], (), frozenset(), entry.id, entry.at, entry.at
        )
    if entry.action is Action.NAME_VISITOR:
        _name(state, entry)
    if entry.action in (Action.CREATE, Action.NAME_VISITOR):
        return
    person = state.people.get(person_id)
    if entry.action is Action.IMPORT:
        state.people[person_id] = _imported(person, entry)
        return
    if person is None and not person_id.startswith(FOLDER):
        return  # its creation was undone
    if entry.action in (Action.CONFIRM, Action.REJECT):
        _correct(state, entry)
    elif entry.action is Action.DIFFERENT_PEOPLE:
        state.different.add((person_id, data["other"]))
    elif person is not None and entry.action is Action.SPLIT:
        state.people[person_id] = _split(state, person, entry)
    elif person is not None:
        state.people[person_id] = _changed(state, person, entry)


def _imported(person: Person | None, entry: Entry) -> Person:
    """Return a person with what an export has of them; who is there already keeps their name."""
    data, at = entry.data, entry.at
    if person is None:
        person = Person(
            entry.person_id, data["name"], (*data["labels"],), data["metadata"], (), frozenset(), entry.id, at, at
        )
    new = tuple(one for one in data["references"] if one not in person.references)
    aside = person.set_aside | {one for one in data["aside"] if one in new}
    return replace(person, references=(*person.references, *new), set_aside=aside)


def _split(state: _Folding, target: Person, entry: Entry) -> Person:
    """Take references and tracks from one person, whoever of those merged into them has them, for the target.

    The entry is the target's, so that these stay when the other person is erased.
    """
    moved, other = set(entry.data["references"]), entry.data["other"]
    source, held, aside = _root(state.merged, other), set[str](), set[str]()
    for name, person in state.people.items():
        if _root(state.merged, name) == source and moved & {*person.references}:
            held |= moved & {*person.references}
            aside |= moved & person.set_aside
            left = tuple(one for one in person.references if one not in moved)
            state.people[name] = replace(person, references=left, set_aside=person.set_aside - moved)
    if other in state.erased:
        held = moved
    target = state.people[target.person_id]
    new = tuple(one for one in entry.data["references"] if one in held and one not in target.references)
    for track in entry.data["tracks"]:
        learnt = state.confirmed[track][1] if track in state.confirmed else ""
        state.confirmed[track] = target.person_id, learnt
        state.rejected.pop((track, target.person_id), None)
    return replace(target, references=(*target.references, *new), set_aside=target.set_aside | aside)


def _name(state: _Folding, entry: Entry) -> None:
    """Let the tracks of a visitor show a person, except those that were said to show somebody else."""
    person = state.people.get(entry.person_id)
    if person is not None:
        state.people[entry.person_id] = replace(person, references=(*person.references, *entry.data["references"]))
        state.named[entry.data["visitor"]] = entry.person_id
        for track in entry.data["tracks"]:
            if (track, entry.person_id) not in state.rejected:
                state.confirmed.setdefault(track, (entry.person_id, ""))


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
