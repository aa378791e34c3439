"""Knows which tracks show which visitor, in memory, and answers for single tracks and visitors."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from streamer.identity.visitors import Visitors
from streamer.people.appearances import Appearance, uncertainty_of, visits
from streamer.store.store import Store
from streamer.values import ClockSource, Floats, TrackSummary, VisitorSighting
from streamer.visitor_settings import Visitors as Settings

MOST_OTHERS = 50  # newest tracks of a visitor that are evidence against a name

Offset = Callable[[str], float | None]  # camera -> arrival minus its own clock, s


@dataclass(slots=True, eq=False)
class LiveTrack:
    """A track that has not ended."""

    summary: TrackSummary  # the newest
    began: datetime  # UTC, by its clock
    visitor_id: str = ""
    next_search: int = 0  # number of analyses
    sighting: VisitorSighting | None = None


class VisitorRegister:
    """The tracks of visitors, and how they are found."""

    def __init__(self, settings: Settings, store: Store, offset: Offset) -> None:
        self.settings = settings
        self.store = store
        self.known = Visitors(settings.false_join_rate)  # tracks with templates, not identified
        self.model_id = ""  # of the templates in `known`; empty: they are not read yet
        self.appearances: dict[str, Appearance] = {}  # by track, also those of tracks that were identified later
        self.merged: dict[str, str] = {}  # visitor -> the one who is left, in one step
        self.identified: set[str] = set()  # tracks that show a person of the gallery
        self.live: dict[str, LiveTrack] = {}
        self.of_visitor: dict[str, set[str]] = {}  # visitor -> tracks
        self.of_scene: dict[str, list[str]] = {}  # scene -> tracks
        self._offset = offset

    def others_of(
        self, track_ids: Collection[str], template: Floats | None, quality: float, model_id: str
    ) -> Floats | None:
        """Return the templates (n, 512) of the other tracks of the visitor whom a track shows; None: there are none.

        A track that shows nobody yet counts as the one whom its template resembles, if that is given. Tracks of people
        of the gallery are left out.
        """
        if model_id != self.model_id:
            return None
        visitor = next((name for one in track_ids if (name := self.known.of(one)) is not None), None)
        if visitor is None and template is not None:
            match = self.known.match(template, quality)
            visitor = match.visitor_id if match is not None else None
        names = sorted(self.of_visitor.get(visitor or "", set()) - {*track_ids}, reverse=True)
        others = [one for name in names if (one := self.known.template(name)) is not None]
        return np.stack(others[:MOST_OTHERS]) if others else None

    def uncertainty(self, camera: str, clock: ClockSource) -> float | None:
        """Return how far times of a camera may be from those of others, s; None: not known."""
        return uncertainty_of(clock, self._offset(camera))

    def appearance(self, live: LiveTrack) -> Appearance:
        """Return the appearance of a live track so far."""
        summary = live.summary
        seen = timedelta(seconds=summary.last.time - summary.first_seen)
        before = self.appearances.get(summary.key.id)
        return Appearance(
            summary.key.id,
            summary.key.camera,
            live.visitor_id,
            before.first_visitor_id if before is not None and before.first_visitor_id else live.visitor_id,
            live.began,
            summary.last.captured_at or live.began + seen,
            summary.clock_source,
            self.uncertainty(summary.key.camera, summary.clock_source),
            f"{summary.key.camera} {summary.epoch} {self.store.log.instance_id}"[-80:],
            tuple((one.first_seen, one.last_seen) for one in summary.intervals)
            or ((summary.first_seen, summary.last.time),),
        )

    def note(self, one: Appearance) -> None:
        """Take in an appearance, in place of an earlier one of its track."""
        before = self.appearances.get(one.track_id)
        if before is not None:
            self.of_visitor.get(before.visitor_id, set()).discard(one.track_id)
        else:
            self.of_scene.setdefault(one.scene, []).append(one.track_id)
        self.appearances[one.track_id] = one
        if one.visitor_id:
            self.of_visitor.setdefault(one.visitor_id, set()).add(one.track_id)
            self.merged.pop(one.visitor_id, None)

    def current(self, track_id: str) -> Appearance | None:
        """Return the appearance of a track with its newest times."""
        one, live = self.appearances.get(track_id), self.live.get(track_id)
        return one if live is None or one is None else self.appearance(live)

    def visitor_of(self, track_id: str) -> str:
        """Return the visitor of a track; empty: none."""
        one = self.appearances.get(track_id)
        return one.visitor_id if one is not None else ""

    def root(self, visitor_id: str) -> str:
        """Return the visitor who is left after merging."""
        seen = set[str]()
        while visitor_id in self.merged and visitor_id not in seen:
            seen.add(visitor_id)
            visitor_id = self.merged[visitor_id]
        return visitor_id

    def tracks_of(self, visitor_id: str, identified: bool = False) -> list[Appearance]:
        """Return the appearances of a visitor; `identified`: also those that show a person of the gallery now."""
        names = sorted(self.of_visitor.get(visitor_id, ()))
        found = [self.current(name) for name in names if identified or name not in self.identified]
        return [one for one in found if one is not None]

    def visitors(self) -> list[str]:
        """Return the ids of all visitors, sorted."""
        return sorted(name for name, tracks in self.of_visitor.items() if tracks)

    def sighting(self, track_id: str) -> VisitorSighting | None:
        """Return the visitor whom a track shows, as of this track; None: nobody."""
        mine = self.current(track_id)
        if mine is None or not mine.visitor_id:
            return None
        until = [one for one in self.tracks_of(mine.visitor_id, identified=True) if one.first_seen <= mine.first_seen]
        number = len(visits(until, self.settings.visit_gap_s))
        first = min(one.first_seen for one in until)
        return VisitorSighting(mine.visitor_id, number > 1, number, first)

    def undecided(self) -> Iterator[Appearance]:
        """Yield the tracks whose face is too poor to decide."""
        for name, one in self.appearances.items():
            if not one.visitor_id and name not in self.identified:
                yield one


def began(summary: TrackSummary) -> datetime:
    """Return when a track began, UTC; without a wall clock, as if it was last seen now."""
    if summary.first_captured_at is not None:
        return summary.first_captured_at
    return datetime.now(UTC) - timedelta(seconds=summary.last.time - summary.first_seen)
