"""Answers questions about visitors: who was there, how many, for how long, and on which way."""

import statistics
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from streamer.identity.unique import Unique, unique
from streamer.people.appearances import Appearance, dwell, order, visits
from streamer.people.curator import Curator
from streamer.people.visitors import VisitorBook
from streamer.store.store import Store
from streamer.store.visitors import tracks_of_people
from streamer.values import IdentityStatus

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Period:
    """Which appearances are meant."""

    since: datetime | None = None  # UTC; seen at this time or later
    before: datetime | None = None  # UTC; first seen before this time
    cameras: Collection[str] = ()  # empty: all

    def has(self, one: Appearance) -> bool:
        """Return whether an appearance is meant."""
        if self.cameras and one.camera not in self.cameras:
            return False
        if self.since is not None and one.last_seen < self.since:
            return False
        return self.before is None or one.first_seen < self.before


@dataclass(frozen=True, slots=True)
class Visitor:
    """What is known of a visitor."""

    visitor_id: str
    appearances: Sequence[Appearance]  # oldest first
    visits: int
    dwell: timedelta
    person_id: str  # empty: not named
    merged_ids: tuple[str, ...]
    present: bool


@dataclass(frozen=True, slots=True)
class Count:
    """Numbers of a period."""

    people: Unique
    returning: int
    visits: int
    median_dwell: timedelta
    p90_dwell: timedelta
    undecided: int
    hour: datetime | None = None
    camera: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of a period, and of its hours and cameras."""

    total: Count
    hours: Sequence[Count] = field(default_factory=tuple)
    cameras: Sequence[Count] = field(default_factory=tuple)


class VisitorQueries:
    """Reads from memory, except tracks of people of the gallery, which it reads from the store."""

    def __init__(self, book: VisitorBook, curator: Curator) -> None:
        self._book = book
        self._curator = curator
        self._gap_s = book.settings.visit_gap_s

    def visitor(self, visitor_id: str, cameras: Collection[str] = ()) -> Visitor | None:
        """Return a visitor as seen by some cameras (empty: all); None: not seen by them."""
        person = self._curator.book.people.named.get(visitor_id, "")
        found = self._book.tracks_of(visitor_id, identified=bool(person))
        shown = sorted((one for one in found if not cameras or one.camera in cameras), key=order)
        if not shown:
            return None
        parts = visits(shown, self._gap_s)
        return Visitor(
            visitor_id,
            shown,
            len(parts),
            sum((dwell(one) for one in parts), timedelta()),
            person,
            tuple(sorted(name for name in self._book.merged if self._book.root(name) == visitor_id)),
            any(one.track_id in self._book.live for one in shown),
        )

    def visitors(self, period: Period, min_visits: int, named: bool, id_suffix: str = "") -> list[Visitor]:
        """Return the visitors who were seen in a period, the last one first."""
        found = []
        for visitor_id in self._ending(id_suffix):
            one = self.visitor(visitor_id, period.cameras)
            if one is None or (one.person_id and not named) or one.visits < min_visits:
                continue
            if any(period.has(each) for each in one.appearances):
                found.append(one)
        return sorted(found, key=lambda one: (max(each.last_seen for each in one.appearances), one.visitor_id))[::-1]

    def _ending(self, id_suffix: str) -> Collection[str]:
        """Return the visitors one of whose ids ends with this, also of those that were merged."""
        there = self._book.visitors()
        if not id_suffix:
            return there
        roots = {self._book.root(one) for one in (*there, *self._book.merged) if one.endswith(id_suffix)}
        return roots.intersection(there)

    def counts(self, period: Period, by_hour: bool, by_camera: bool, offset: timedelta) -> Counts:
        """Return how many visitors were there. Hours begin where those of a local time do, `offset` from UTC."""
        total = self._count(period)
        shown = [one for name in self._book.visitors() for one in self._book.tracks_of(name)]
        shown = [one for one in (*shown, *self._book.undecided()) if period.has(one)]
        hours = list[Count]()
        if by_hour:
            begins = {hour for one in shown for hour in _hours(one, period, offset)}
            for hour in sorted(begins):
                since = max(hour, period.since) if period.since is not None else hour
                before = min(hour + HOUR, period.before) if period.before is not None else hour + HOUR
                hours.append(replace(self._count(replace(period, since=since, before=before)), hour=hour))
        cameras = list[Count]()
        if by_camera:
            for camera in sorted({one.camera for one in shown}):
                cameras.append(replace(self._count(replace(period, cameras=(camera,))), camera=camera))
        return Counts(total, hours, cameras)

    def _count(self, period: Period) -> Count:
        there, returning, stays = list[str](), 0, list[timedelta]()
        for visitor_id in self._book.visitors():
            shown = self._book.tracks_of(visitor_id)
            seen = [one for one in shown if period.has(one)]
            if not seen:
                continue
            there.append(visitor_id)
            wanted = {one.track_id for one in seen}
            inside = [
                number
                for number, visit in enumerate(visits(shown, self._gap_s))
                if wanted & {e.track_id for e in visit}
            ]
            returning += inside[0] > 0 or len(inside) > 1
            stays += [dwell(visit, period.since, period.before) for visit in visits(seen, self._gap_s)]
        undecided = sum(period.has(one) for one in self._book.undecided())
        names, similar = self._book.known.pairs(there)
        known = self._book.known.impostors
        people = unique(len(there), similar if names else similar[:0, :0], known, self._rate, undecided)
        return Count(people, returning, len(stays), _quantile(stays, 0.5), _quantile(stays, 0.9), undecided)

    @property
    def _rate(self) -> float:
        return self._book.settings.false_join_rate

    async def appearances(
        self, visitor_ids: Collection[str], person_ids: Collection[str], period: Period
    ) -> list[Appearance]:
        """Return the appearances of these visitors and people (both empty: of all), oldest first.

        Raises StoreUnavailable.
        """
        found: dict[str, Appearance] = {}
        everybody = not visitor_ids and not person_ids
        for visitor_id in self._book.visitors() if everybody else [self._book.root(one) for one in visitor_ids]:
            person = self._curator.book.people.named.get(visitor_id, "")
            for one in self._book.tracks_of(visitor_id, identified=bool(person)):
                found[one.track_id] = replace(one, person_id=person)
        if everybody or person_ids:
            for one in await self._of_people(person_ids, period):
                found[one.track_id] = one
        return sorted((one for one in found.values() if period.has(one)), key=order)

    async def _of_people(self, person_ids: Collection[str], period: Period) -> list[Appearance]:
        roots = {self._curator.book.people.root(one) for one in person_ids}
        merged = self._curator.book.people.merged
        ids = sorted(roots | {name for name, root in merged.items() if root in roots})
        store: Store = self._book.store
        found = {}
        for each in await tracks_of_people(store, ids, period.since, period.before):
            known = self._book.appearances.get(each.track_id)
            unsure = self._book.uncertainty(each.camera, each.clock)
            of_row = Appearance(
                *(each.track_id, each.camera, "", "", each.first_seen, each.last_seen, each.clock, unsure, "", ())
            )
            found[each.track_id] = replace(known or of_row, person_id=each.person_id)
        for track_id, live in self._book.live.items():
            found.pop(track_id, None)
            decision = live.summary.decision
            if decision is not None and decision.status is IdentityStatus.IDENTIFIED:
                person = decision.person_id or decision.person
                if not roots or person in roots:
                    found[track_id] = replace(self._book.appearance(live), person_id=person)
        return list(found.values())

    def journeys(
        self, appearances: Iterable[Appearance], least: int, cameras: Collection[str]
    ) -> list[list[Appearance]]:
        """Return the ways of people and visitors over at least `least` cameras and one of some, oldest first."""
        subjects: dict[str, list[Appearance]] = {}
        for one in appearances:
            subjects.setdefault(one.person_id or one.visitor_id, []).append(one)
        found = [way for members in subjects.values() for way in visits(members, self._gap_s)]
        found = [way for way in found if len({one.camera for one in way}) >= least]
        found = [way for way in found if not cameras or any(one.camera in cameras for one in way)]
        return sorted(found, key=lambda way: order(way[0]))

    def is_live(self, track_id: str) -> bool:
        """Return whether a track has not ended."""
        return track_id in self._book.live


def _hours(one: Appearance, period: Period, offset: timedelta) -> Iterator[datetime]:
    """Yield the hours in which an appearance was seen within a period, by their starts in UTC."""
    first = max(one.first_seen, period.since) if period.since is not None else one.first_seen
    last = min(one.last_seen, period.before) if period.before is not None else one.last_seen
    local = first + offset
    hour = local.replace(minute=0, second=0, microsecond=0) - offset
    while hour <= last:
        yield hour.astimezone(UTC)
        hour += HOUR


def _quantile(values: Sequence[timedelta], share: float) -> timedelta:
    if not values:
        return timedelta()
    ranked = sorted(values)
    if share == 0.5:
        return timedelta(seconds=statistics.median(one.total_seconds() for one in ranked))
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
