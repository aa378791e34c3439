"""Groups the tracks of whole recordings to people, by the cosines of their templates. Pure.

The two groups that are most similar are joined first, again and again (average linkage): the similarity of two groups
is the mean cosine of a track of one to a track of the other. Two tracks that show one after the other both persons of
a mixed track therefore stay apart once either has company, and long chains of look-alikes do not form.

A join needs the cosine from which at most `false_join_rate` of the groups would join a stranger's. It follows from the
scores of strangers and from the number of groups that are left (see `join_threshold`). Poor crops resemble each other
whoever they show: the cosine must be higher for them, and tracks that have nothing better do not join at all.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.identity.impostors import share_of_pairs
from streamer.identity.relink import poor_penalty
from streamer.values import Floats, ImpostorScores

Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

# Strangers of one place resemble each other more than those whom the scores were measured on, so a short recording is
# judged like one with this many groups (python -m tests.benchmarks "People of recordings").
MIN_GROUPS = 30
BLOCK = 256  # rows of the table of similarities that are computed at a time
APART = -2.0  # below every similarity


@dataclass(frozen=True, slots=True, eq=False)
class Tracklet:
    """What is compared of one track."""

    id: str
    template: Floats | None  # (512,) unit length; None: too poor to compare
    quality: float  # 0..1, of the best crop
    name: str = ""  # of the gallery; empty: not identified


@dataclass(frozen=True, slots=True)
class Links:
    """What is known about pairs of tracks (ids) besides their faces."""

    apart: Sequence[tuple[str, str]] = ()  # two people: seen beside each other
    same: Sequence[tuple[str, str]] = ()  # one person; where `apart` contradicts, it prevails


def cluster(
    tracks: Sequence[Tracklet],
    links: Links,
    impostors: ImpostorScores | None,
    false_join_rate: float,
    others: int = 0,
) -> list[list[int]]:
    """Return the people as lists of indices into `tracks`, each ascending, in the order of their first track.

    Without `impostors` no tracks are joined by their faces. `others`: people besides, for whom the threshold allows.
    """
    groups = _Groups(tracks, links)
    for first, second in _known_pairs(tracks, links):
        groups.join_if_allowed(first, second)
    if impostors is not None:
        _join_similar(groups, impostors, false_join_rate, others)
    return sorted(sorted(members) for members in groups.members.values())


def join_threshold(known: ImpostorScores, false_join_rate: float, groups: int) -> float:
    """Return the cosine from which at most `false_join_rate` of this many groups would join a stranger's.

    Beyond the scores that were measured the tail is continued by the slope of its last decade. The tail of cosines
    falls faster and faster, so this asks for more than needed, never for less.
    """
    share = share_of_pairs(false_join_rate, max(groups, MIN_GROUPS) - 1)
    lowest = float(known.shares[0])
    if share < lowest:
        decade = float(np.interp(10 * lowest, known.shares, known.cosines))
        return float(known.cosines[0]) + (float(known.cosines[0]) - decade) * math.log10(lowest / share)
    return float(known.cosines[int(np.searchsorted(known.shares, share * (1 + 1e-9), side="right")) - 1])


class _Groups:
    """The groups so far, by the lowest index of their tracks."""

    def __init__(self, tracks: Sequence[Tracklet], links: Links) -> None:
        place = {one.id: row for row, one in enumerate(tracks)}
        count = len(tracks)
        self.members = {row: [row] for row in range(count)}
        self.names = {row: {one.name} - {""} for row, one in enumerate(tracks)}
        self.sums = np.zeros((count, 512))  # of the templates
        self.means = np.zeros((count, 512), np.float32)
        self.sizes = np.zeros(count)  # tracks that have a template
        self.quality = np.zeros(count)  # of the best crop of these
        self._group = list(range(count))  # of each track
        self._apart: dict[int, set[int]] = {row: set() for row in range(count)}  # groups that may not join
        for row, one in enumerate(tracks):
            if one.template is not None:
                self.sums[row], self.sizes[row], self.quality[row] = one.template, 1, one.quality
                self.means[row] = one.template
        for first, second in links.apart:
            if first in place and second in place:
                self._apart[place[first]].add(place[second])
                self._apart[place[second]].add(place[first])

    def apart(self, group: int) -> Rows:
        """Return the groups that may not join this one."""
        mine = self.names[group]
        others = set(self._apart[group])
        if mine:
            others |= {other for other, names in self.names.items() if names and names != mine}
        return np.array(sorted(others), np.int64)

    def join_if_allowed(self, first: int, second: int) -> None:
        """Join the groups of two tracks unless they are one already or may not join."""
        one, other = self._group[first], self._group[second]
        if one != other and other not in self.apart(one):
            self.join(min(one, other), max(one, other))

    def join(self, kept: int, gone: int) -> None:
        """Let the group `kept` have the tracks of `gone` too."""
        for row in self.members[gone]:
            self._group[row] = kept
        self.members[kept] += self.members.pop(gone)
        self.names[kept] |= self.names.pop(gone)
        self.sums[kept] += self.sums[gone]
        self.sizes[kept] += self.sizes[gone]
        self.sizes[gone] = 0
        if self.sizes[kept]:
            self.means[kept] = self.sums[kept] / self.sizes[kept]
        self.quality[kept] = max(self.quality[kept], self.quality[gone])
        for other in self._apart.pop(gone):
            self._apart[other].discard(gone)
            self._apart[other].add(kept)
            self._apart[kept].add(other)

    def similarities(self, some: Rows) -> Doubles:
        """Return the mean cosine (n, m) of the tracks of `some` (n,) groups to those of all rows (m,), minus penalties.

        Pairs that may not join, and rows that are no group (any more) or have no template, have APART.
        """
        found: Doubles = (self.means[some] @ self.means.T).astype(np.float64)
        found -= poor_penalty(np.maximum(self.quality[some][:, None], self.quality[None]))
        found[:, self.sizes == 0] = APART
        for row, group in enumerate(some.tolist()):
            found[row, group] = APART
            found[row, self.apart(group)] = APART
        return found


def _known_pairs(tracks: Sequence[Tracklet], links: Links) -> Iterable[tuple[int, int]]:
    """Yield the pairs of tracks that are one person whatever their faces say: as linked, then by name."""
    place = {one.id: row for row, one in enumerate(tracks)}
    for one, other in links.same:
        if one in place and other in place:
            yield place[one], place[other]
    first: dict[str, int] = {}
    for row, track in enumerate(tracks):
        if track.name and first.setdefault(track.name, row) != row:
            yield first[track.name], row


def _join_similar(groups: _Groups, impostors: ImpostorScores, false_join_rate: float, others: int) -> None:
    """Join the most similar groups until none is similar enough.

    For each group only its best partner is kept, so that memory grows with the tracks and not with their pairs. When
    that partner is joined to another group, the similarity becomes an upper limit, and the group looks for its best
    partner again only when it comes first.
    """
    count = len(groups.sizes)
    best, partner = np.full(count, APART), np.full(count, -1, np.int64)
    is_limit = np.zeros(count, np.bool_)
    there = np.flatnonzero(groups.sizes)
    for start in range(0, len(there), BLOCK):
        some = there[start : start + BLOCK]
        table = groups.similarities(some)
        best[some], partner[some] = table.max(axis=1), table.argmax(axis=1)
    left = len(there)
    while left > 1:
        one = int(np.argmax(best))
        if best[one] < join_threshold(impostors, false_join_rate, left + others):
            return
        if not is_limit[one]:
            kept, gone = sorted((one, int(partner[one])))
            groups.join(kept, gone)
            best[gone] = APART
            is_limit |= (partner == kept) | (partner == gone)
            left -= 1
            one = kept
        (row,) = groups.similarities(np.array([one]))
        best[one], partner[one], is_limit[one] = row.max(), row.argmax(), False
        closer = row > best
        best[closer], partner[closer], is_limit[closer] = row[closer], one, False
