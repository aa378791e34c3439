"""What was said about pairs of tracks: that they show one face, or two. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streamer.people.entries import Action, Entry

Pair = tuple[str, str]  # ids of two tracks, sorted


@dataclass(frozen=True, slots=True)
class TrackLinks:
    """Which tracks show one face and which do not."""

    same: frozenset[Pair]
    apart: frozenset[Pair]
    groups: Mapping[str, frozenset[str]]  # track -> all that are one with it, if there are others

    def group(self, track_id: str) -> frozenset[str]:
        """Return the tracks that were said to show the same face as a track, with itself."""
        return self.groups.get(track_id, frozenset({track_id}))

    def apart_of(self, track_id: str) -> frozenset[str]:
        """Return the tracks that were said to show another face, also through tracks that are one."""
        mine = self.group(track_id)
        others = {b if a in mine else a for a, b in self.apart if (a in mine) != (b in mine)}
        return frozenset(one for other in others for one in self.group(other))

    def contradicts(self, first: str, second: str) -> bool:
        """Return whether two tracks were said to show two faces, be it through others."""
        return second in self.apart_of(first)


NOTHING = TrackLinks(frozenset(), frozenset(), {})


def linked(entries: Iterable[Entry]) -> TrackLinks:
    """Return what the entries that count say; about a pair the newest word counts."""
    same: set[Pair] = set()
    apart: set[Pair] = set()
    for entry in entries:
        if entry.action is Action.JOIN_TRACKS:
            joined = set(_chain(entry.data["tracks"]))
            same |= joined
            apart -= joined
        elif entry.action is Action.PART_TRACKS:
            tracks, others = entry.data["tracks"], entry.data["others"]
            parted = {_pair(one, other) for one in tracks for other in others}
            apart |= parted
            same -= parted
            if entry.data.get("one"):
                same |= set(_chain(tracks))
    return TrackLinks(frozenset(same), frozenset(apart), _groups(same)) if same or apart else NOTHING


def spread(
    links: TrackLinks, confirmed: Mapping[str, str], rejected: Mapping[str, frozenset[str]]
) -> tuple[dict[str, str], dict[str, frozenset[str]]]:
    """Return who tracks show and do not show, when what was said of one track holds for those that are one with it.

    A track that shows another face than one of a person does not show this person. What was said of a track itself
    prevails.
    """
    who, not_who = dict(confirmed), dict(rejected)
    for track in sorted({one for pair in (*links.same, *links.apart) for one in pair}):
        group = sorted(links.group(track))
        not_there = frozenset(confirmed[one] for one in links.apart_of(track) if one in confirmed)
        said_not = frozenset().union(not_there, *(rejected.get(one, frozenset()) for one in group))
        person = confirmed.get(track) or next((confirmed[one] for one in group if one in confirmed), None)
        if person is not None and (track in confirmed or person not in said_not):
            who[track] = person
            said_not -= {person}
        if said_not:
            not_who[track] = said_not
    return who, not_who


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def _chain(tracks: Sequence[str]) -> Iterator[Pair]:
    for one, other in pairwise(tracks):
        yield _pair(one, other)


def _groups(same: Iterable[Pair]) -> dict[str, frozenset[str]]:
    """Return the tracks that are connected, for each of them."""
    root: dict[str, str] = {}

    def find(track: str) -> str:
        while root.setdefault(track, track) != track:
            root[track] = root[root[track]]
            track = root[track]
        return track

    for one, other in sorted(same):
        root[find(one)] = find(other)
    members: dict[str, set[str]] = {}
    for track in sorted(root):
        members.setdefault(find(track), set()).add(track)
    groups = [frozenset(group) for group in members.values()]
    return {track: group for group in groups for track in group}
