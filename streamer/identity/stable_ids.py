"""Keeps the ids of groups when tracks are grouped again: an id moves with the majority of its tracks. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Renamed:
    """The ids of groups after grouping again."""

    ids: Mapping[str, str]  # track -> id of its group
    merged: Mapping[str, str]  # id that no group has any longer -> the one that has most of its tracks


def keep_ids(
    groups: Sequence[Sequence[str]],
    before: Mapping[str, str],
    first: Mapping[str, str],
    new_id: Callable[[], str],
    used: Collection[str] = (),
) -> Renamed:
    """Return the id of each track. `groups`: tracks; `before`: the ids they had; `first`: the ids they began with;
    `used`: ids of other groups.

    The pair of group and id with most tracks in common comes first; of equal ones, the id that sorts first, which is
    the oldest. A group that gets no id in this way was split off: it gets the id that most of its tracks began with,
    if no other group has it, which puts back what was merged, else a new one.
    """
    shared = Counter((before[track], at) for at, group in enumerate(groups) for track in group if track in before)
    given: dict[int, str] = {}
    taken: set[str] = set(used)
    for (name, at), _ in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
        if at not in given and name not in taken:
            given[at] = name
            taken.add(name)
    others = {name for name in before.values() if name not in taken}
    for at, group in enumerate(groups):
        if at not in given:
            began = Counter(first[track] for track in group if track in first)
            free = [(count, name) for name, count in began.items() if name not in taken]
            given[at] = min(free, key=lambda pair: (-pair[0], pair[1]))[1] if free else new_id()
            taken.add(given[at])
    ids = {track: given[at] for at, group in enumerate(groups) for track in group}
    merged = {}
    for name in sorted(others - taken):
        votes = Counter(ids[track] for track, id_before in before.items() if id_before == name and track in ids)
        if votes:
            merged[name] = min(votes.items(), key=lambda item: (-item[1], item[0]))[0]
    return Renamed(ids, merged)
