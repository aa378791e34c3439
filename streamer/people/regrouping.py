"""Groups the tracks of visitors again: all of them every night, those that something was said about at once."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamer.identity.cluster import Links, Tracklet, cluster
from streamer.identity.stable_ids import Renamed, keep_ids
from streamer.people.appearances import pairs_beside
from streamer.people.curator import new_id
from streamer.people.fold import People
from streamer.people.said import TrackLinks
from streamer.people.visitors import VisitorBook
from streamer.store.visitors import revise_visitors
from streamer.values import ImpostorScores

NEW = "new"  # stands for an id that is not made yet

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Moved:
    """A track with another visitor."""

    track_id: str
    camera: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Ids:
    """Which ids the groups are to have, where the majority does not decide."""

    left: Mapping[str, str] = field(default_factory=dict)  # visitor -> the one whose id is kept if they are joined
    fresh: frozenset[str] = frozenset()  # tracks that lose their id
    undoing: bool = False  # tracks get the id back that they began with


MAJORITY = Ids()


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """What a thread needs to group tracks."""

    tracks: Sequence[Tracklet]
    links: Links
    impostors: ImpostorScores | None
    rate: float
    others: int  # visitors besides
    before: Mapping[str, str]
    first: Mapping[str, str]
    used: Collection[str]


class Regrouping:
    """Groups again and publishes what has changed."""

    def __init__(self, book: VisitorBook) -> None:
        self._book = book
        self.changing = asyncio.Lock()

    async def everything(self, people: People) -> list[Moved]:
        """Group all tracks that have a template of the workers' model. Raises StoreUnavailable."""
        async with self.changing:
            began, before = time.monotonic(), len(self._book.known)
            moved = await self._apply(self._task(people, None))
            seconds = time.monotonic() - began
            log.info(
                "visitors: grouped again in %.1f s: %d before, %d now, %d tracks changed",
                *(seconds, before, len(self._book.known), len(moved)),
            )
        return moved

    async def around(self, people: People, tracks: Iterable[str], ids: Ids = MAJORITY) -> list[Moved]:
        """Group the visitors of some tracks again, because something was said about these. Raises StoreUnavailable."""
        async with self.changing:
            return await self._apply(self._task(people, self._affected(people, tracks), ids))

    async def preview(self, people: People, tracks: Iterable[str], ids: Ids = MAJORITY) -> list[Moved]:
        """Return what `around` would change."""
        task = self._task(people, self._affected(people, tracks), ids)
        return self._moved(await asyncio.to_thread(_grouped, task, True))

    def contradicting(self, people: People) -> set[str]:
        """Return the tracks whose visitors contradict what was said: the streamer died before they were stored."""
        of, wrong = self._book.visitor_of, set[str]()
        for pairs, same in ((people.links.same, True), (people.links.apart, False)):
            for one, other in pairs:
                if of(one) and of(other) and (of(one) == of(other)) != same:
                    wrong |= {one, other}
        return wrong

    def _affected(self, people: People, tracks: Iterable[str]) -> set[str]:
        """Return the visitors of tracks and of those that are said to be one with them."""
        names = {one for track in tracks for one in people.links.group(track)}
        return {visitor for name in names if (visitor := self._book.visitor_of(name))}

    def _task(
        self,
        people: People,
        visitors: set[str] | None,
        ids: Ids = MAJORITY,
    ) -> _Task:
        """Return what is to be grouped: the tracks of these visitors (None: of all)."""
        book = self._book
        tracks = sorted(book.known.tracklets(visitors), key=lambda one: one.id)
        there = {one.id for one in tracks}
        if visitors is not None:  # those without a template, too: what was said holds for them
            loose = [one.track_id for name in sorted(visitors) for one in book.tracks_of(name)]
            tracks += [Tracklet(name, None, 0.0) for name in loose if name not in there]
            there.update(loose)
        shown = [book.current(name) for name in sorted(there)]
        appearances = [one for one in shown if one is not None]
        apart = [*pairs_beside(appearances), *sorted(_apart(people.links, there))]
        same = [pair for pair in sorted(people.links.same) if pair[0] in there and pair[1] in there]
        before = {one.track_id: one.visitor_id for one in appearances}
        if visitors is not None:
            began = {one.track_id: one.first_visitor_id for one in appearances}
            same += _kept_together(before, began, apart, ids.undoing)
            before = began if ids.undoing else {track: ids.left.get(name, name) for track, name in before.items()}
            before = {track: name for track, name in before.items() if track not in ids.fresh}
        everybody = set(book.visitors())
        used = everybody - (visitors if visitors is not None else everybody)
        first = {one.track_id: one.first_visitor_id for one in appearances if one.first_visitor_id}
        links = Links(apart=apart, same=same)
        others = 0 if visitors is None else max(0, len(book.known) - len(visitors))
        return _Task(tracks, links, book.known.impostors, book.settings.false_join_rate, others, before, first, used)

    async def _apply(self, task: _Task) -> list[Moved]:
        book = self._book
        renamed = await asyncio.to_thread(_grouped, task, False)
        moved = [one for one in self._moved(renamed) if book.visitor_of(one.track_id) == one.before]
        templates = {one.id: one for one in book.known.tracklets()}
        for one in moved:
            appearance = book.current(one.track_id)
            if appearance is None:
                continue
            live = book.live.get(one.track_id)
            if live is not None:
                live.visitor_id = one.after
            track = templates.get(one.track_id)
            book.keep(replace(appearance, visitor_id=one.after))
            if track is not None and track.template is not None:
                book.known.put(track.id, one.after, track.template, track.quality)
        for gone in sorted({one.before for one in moved} - set(book.visitors())):
            goal = renamed.merged.get(gone) or next(one.after for one in moved if one.before == gone)
            book.merge_id(gone, goal)
        affected = {one.after for one in moved} | {one.before for one in moved}
        again = {each.track_id for name in affected for each in book.tracks_of(name)}
        for name in again:
            live = book.live.get(name)
            if live is not None:
                live.sighting = book.sighting(name)
        changed = {one.track_id for one in moved}
        await revise_visitors(book.store, sorted(changed - book.live.keys()))
        book.republish(sorted(changed & book.live.keys()))
        return moved

    def _moved(self, renamed: Renamed) -> list[Moved]:
        """Return the tracks with another visitor."""
        found = []
        for track in sorted(renamed.ids):
            one = self._book.current(track)
            if one is not None and one.visitor_id != renamed.ids[track]:
                found.append(Moved(track, one.camera, one.visitor_id, renamed.ids[track]))
        return found


def _grouped(task: _Task, preview: bool) -> Renamed:
    rows = cluster(task.tracks, task.links, task.impostors, task.rate, task.others)
    groups = [[task.tracks[row].id for row in group] for group in rows]
    return keep_ids(groups, task.before, task.first, (lambda: NEW) if preview else new_id, task.used)


def _apart(links: TrackLinks, there: set[str]) -> set[tuple[str, str]]:
    """Return the pairs of these tracks that were said to show two faces, also through others."""
    mentioned = sorted({one for pair in links.apart for one in pair} | links.groups.keys())
    return {
        (min(one, other), max(one, other))
        for one in mentioned
        if one in there
        for other in links.apart_of(one)
        if other in there
    }


def _kept_together(
    before: Mapping[str, str], first: Mapping[str, str], apart: Iterable[tuple[str, str]], undoing: bool
) -> list[tuple[str, str]]:
    """Return pairs of tracks that stay with each other: those of one visitor that are apart from the same others.

    So what is said about some tracks of a visitor does not part the others. After an undo, tracks that began with
    different ids may part.
    """
    others: dict[str, set[str]] = {}
    for one, other in apart:
        if before.get(one) == before.get(other):
            others.setdefault(one, set()).add(other)
            others.setdefault(other, set()).add(one)
    kinds: dict[tuple[object, ...], str] = {}
    pairs = []
    for track in sorted(before):
        kind = (before[track], first[track] if undoing else "", frozenset(others.get(track, ())))
        if kind in kinds:
            pairs.append((kinds[kind], track))
        kinds[kind] = track
    return pairs
