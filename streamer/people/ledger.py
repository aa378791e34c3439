"""Keeps the entries and the people that they make. A new entry folds again only what it concerns.

That are the people who were merged with one another, or of whom something was said about the same track.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from streamer.people.entries import Action, Entry
from streamer.people.fold import People, extended, fold

_KNOWN = frozenset(
    {
        Action.CREATE,
        Action.UPDATE,
        Action.ENROL,
        Action.IMPORT,
        Action.SET_ASIDE,
        Action.RESTORE,
        Action.DELETE_REFERENCE,
        Action.CONFIRM,
        Action.REJECT,
        Action.MERGE,
        Action.UNDO,
        Action.ERASE,
    }
)  # others may concern more people: then all is folded again
ALL = "*"  # among the people who have changed: anybody may have


class Ledger:
    """The entries of a ledger, oldest first, and the people."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = list(entries)
        self.people = fold(self.entries)
        self._places: dict[str, list[int]] = {}  # person -> places of the entries
        self._linked: dict[str, set[str]] = {}  # person -> people and, with a zero before them, tracks; and back
        self._about: dict[int, str] = {}  # entry -> person
        self._others = any(one.action not in _KNOWN for one in self.entries)
        for place, entry in enumerate(self.entries):
            self._note(place, entry)

    def add(self, entries: Sequence[Entry]) -> set[str]:
        """Add entries; return the ids of people who may have changed, or ALL."""
        first = len(self.entries)
        self.entries += entries
        for place, entry in enumerate(entries, first):
            self._note(place, entry)
            self._others |= entry.action not in _KNOWN
        simple = extended(self.people, entries[0]) if len(entries) == 1 else None
        if simple is not None:
            self.people = simple
            return {entries[0].person_id}
        if self._others:
            self.people = fold(self.entries)
            return {ALL}
        group, tracks = self._group({one.person_id for one in entries})
        places = sorted(place for name in group for place in self._places.get(name, ()))
        self._put(group, tracks, fold([self.entries[place] for place in places]), places)
        return group

    def forget(self, person_ids: Set[str]) -> None:
        """Keep nothing of what the entries about people say."""
        for name in person_ids:
            for place in self._places.get(name, ()):
                self.entries[place] = replace(self.entries[place], data={})

    def count(self, person_ids: Iterable[str]) -> int:
        """Return the number of entries about people."""
        return sum(len(self._places.get(name, ())) for name in person_ids)

    def newest(self) -> int:
        """Return the id of the newest entry; 0: there are no entries."""
        return self.entries[-1].id if self.entries else 0

    def _note(self, place: int, entry: Entry) -> None:
        self._places.setdefault(entry.person_id, []).append(place)
        self._about[entry.id] = entry.person_id
        if entry.action is Action.MERGE and "other" in entry.data:
            self._link(entry.person_id, entry.data["other"])
        elif entry.action is Action.UNDO and entry.data.get("entry") in self._about:
            self._link(entry.person_id, self._about[entry.data["entry"]])
        elif entry.action in (Action.CONFIRM, Action.REJECT) and "track" in entry.data:
            self._link(entry.person_id, "\0" + entry.data["track"])

    def _link(self, one: str, other: str) -> None:
        self._linked.setdefault(one, set()).add(other)
        self._linked.setdefault(other, set()).add(one)

    def _group(self, names: set[str]) -> tuple[set[str], set[str]]:
        """Return the people whom entries about these may concern, and the tracks."""
        found, left = set(names), list(names)
        while left:
            more = self._linked.get(left.pop(), set()) - found
            found |= more
            left += more
        tracks = {one for one in found if one.startswith("\0")}
        return found - tracks, {one[1:] for one in tracks}

    def _put(self, group: set[str], tracks: set[str], part: People, places: Sequence[int]) -> None:
        """Take over what a part of the entries makes of some people."""
        before, ids = self.people, {self.entries[place].id for place in places}
        self.people = replace(
            before,
            people=_patched(before.people, group, part.people),
            merged=_patched(before.merged, group, part.merged),
            confirmed=_patched(before.confirmed, tracks, part.confirmed),
            rejected=_patched(before.rejected, tracks, part.rejected),
            negatives=_patched(before.negatives, group, part.negatives),
            undone=_patched(before.undone, ids, part.undone),
            erased=(before.erased - group) | part.erased,
        )


def _patched(before: Mapping[Any, Any], gone: Set[Any], new: Mapping[Any, Any]) -> dict[Any, Any]:
    after = dict(before)
    for one in gone:
        after.pop(one, None)
    after.update(new)
    return after
