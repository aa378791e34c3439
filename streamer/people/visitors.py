"""Knows the visitors of a store: gives each live track of a stranger a pseudonym at once, and keeps it."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from streamer.config import StreamerConfig
from streamer.encryption import NotReadable
from streamer.identity.persons import NOBODY
from streamer.identity.visitors import Visitors
from streamer.people.appearances import (
    Appearance,
    appearance_of,
    beside,
    uncertainty_of,
    visits,
)
from streamer.people.curator import Curator, new_id
from streamer.people.past_index import OWNER as TEMPLATES
from streamer.people.travel import Travel
from streamer.people.visitor_rows import VisitorRows
from streamer.store.store import Store
from streamer.store.values import StoreUnavailable
from streamer.store.visitors import EndedTrack, ended_tracks, identified_ids, read_payloads, read_templates
from streamer.values import (
    ClockSource,
    Floats,
    IdentityReason,
    IdentityStatus,
    ImpostorScores,
    TrackSummary,
    VisitorSighting,
)

OWNER = "visitors"  # of the key that pseudonyms are encrypted with
GROWTH = 2  # factor by which a track's analyses must grow until it is compared again
MOST_OTHERS = 50  # newest tracks of a visitor that are evidence against a name
RECENT = 500  # newest tracks of a scene that a live one is compared with for having been beside it
UNSURE = (IdentityReason.AMBIGUOUS, IdentityReason.NOT_CONFIRMED, IdentityReason.GALLERY_NOT_READY)

Offset = Callable[[str], float | None]  # camera -> arrival minus its own clock, s

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class LiveTrack:
    """A track that has not ended."""

    summary: TrackSummary  # the newest
    began: datetime  # UTC, by its clock
    visitor_id: str = ""
    next_search: int = 0  # number of analyses
    sighting: VisitorSighting | None = None


class VisitorBook:
    """The visitors of one store. It is used from the asyncio loop only."""

    def __init__(
        self,
        config: StreamerConfig,
        curator: Curator,
        offset: Offset,
        republish: Callable[[Collection[str]], None],
    ) -> None:
        """`republish` publishes live tracks whose visitor has changed."""
        self.settings = config.visitors
        self.store: Store = curator.book.store
        self.known = Visitors(self.settings.false_join_rate)  # tracks with templates, not identified
        self.appearances: dict[str, Appearance] = {}  # by track, also those of tracks that were identified later
        self.merged: dict[str, str] = {}  # visitor -> the one who is left, in one step
        self.identified: set[str] = set()  # tracks that show a person of the gallery
        self.live: dict[str, LiveTrack] = {}
        self.model_id = ""  # of the templates in `known`; empty: they are not read yet
        self.wanted: tuple[str, ImpostorScores] | None = None  # model of the workers
        self.barred: set[str] = set()  # live tracks whose visitor was erased
        self.placed: set[str] = set()  # past tracks that have their first pseudonym, which is not published yet
        self.gone: set[str] = set()  # tracks whose stored pseudonym is to be removed
        self.travel = Travel(self.settings, self.store)
        self._curator = curator
        self._offset = offset
        self.republish = republish
        self._of_visitor: dict[str, set[str]] = {}
        self._of_scene: dict[str, list[str]] = {}

    async def open(self) -> None:
        """Read what is stored. Raises StoreUnavailable and NotReadable."""
        book = self._curator.book
        sealed, self._sealed_templates = await book.sealed_of(OWNER), await book.sealed_of(TEMPLATES)
        self._rows = VisitorRows(sealed, self._sealed_templates)
        rows, merged = await read_payloads(self.store)
        self.identified = await identified_ids(self.store)
        for track_id, payload, _ in rows:
            self._note(appearance_of(track_id, sealed.read_data(payload, track_id)))
        for visitor, payload, _ in merged:
            self.merged[visitor] = sealed.read_data(payload, visitor)["into"]
        self.store.companion = self._rows
        self.store.naming.visitor = self.sighting
        await self.travel.open(self.appearances.values(), self.identified)

    def use_impostors(self, impostors: ImpostorScores, model_id: str) -> None:
        """Compare templates of this model from now on, once they are read; see `load`."""
        self.wanted = model_id, impostors
        if model_id == self.model_id:
            self.known.use(impostors)

    async def load(self) -> None:
        """Read the templates of the workers' model, if they have another one. Raises StoreUnavailable."""
        if self.wanted is None or self.wanted[0] == self.model_id:
            return
        model_id = self.wanted[0]
        rows = await read_templates(self.store)
        if self.wanted[0] != model_id:
            return
        self.known = Visitors(self.settings.false_join_rate)
        self.known.use(self.wanted[1])
        for row in rows:
            if row.model_id == model_id:
                self._put_stored(row)
        self.model_id = model_id
        log.info("visitors: %d known", len(self.known))

    async def restore(self, track_ids: Iterable[str]) -> None:
        """Give pseudonyms to past tracks that no longer show a person of the gallery. Raises StoreUnavailable."""
        names = sorted(track_ids)
        times = {one.track_id: one for one in await ended_tracks(self.store, names)}
        for row in await read_templates(self.store, names):
            if row.model_id != self.model_id or row.track_id in self.identified:
                continue
            if row.track_id in times and not self.visitor_of(row.track_id):
                self._place(row, times[row.track_id])
            self._put_stored(row)

    def _place(self, row: Any, track: EndedTrack) -> None:
        """Give a past track that never had a pseudonym that of the visitor whom it resembles, or a new one."""
        if row.samples < self.settings.min_samples or row.quality < self.settings.min_quality:
            return
        match = self.known.match(self._template(row), row.quality)
        visitor = match.visitor_id if match is not None else new_id()
        unsure = self.uncertainty(track.camera, track.clock)
        scene = f"past {row.track_id}"  # its frames cannot be compared with those of others any longer
        times = (track.first_seen, track.last_seen, track.clock, unsure)
        self.keep(Appearance(row.track_id, track.camera, visitor, visitor, *times, scene, ()))
        self.placed.add(row.track_id)

    def _put_stored(self, row: Any) -> None:
        one = self.appearances.get(row.track_id)
        if one is None or not one.visitor_id or row.track_id in self.identified:
            return
        self.known.put(row.track_id, one.visitor_id, self._template(row), row.quality)

    def _template(self, row: Any) -> Floats:
        try:
            return self._sealed_templates.read_vector(row.template, row.track_id)
        except NotReadable as error:
            raise StoreUnavailable(str(error)) from error

    def see(self, summary: TrackSummary) -> TrackSummary:
        """Take in the newest summary of a track; return it with its visitor, if it has one."""
        track_id = summary.key.id
        live = self.live.get(track_id)
        if live is None:
            live = self.live[track_id] = LiveTrack(summary, _began(summary))
        live.summary = summary
        if summary.merged_into or any(one in NOBODY for one in summary.undescribed):
            if track_id in self.appearances:
                self.gone.add(track_id)
            self.forget([track_id])
            live.visitor_id, live.sighting = "", None
        elif summary.decision is not None and summary.decision.status is IdentityStatus.IDENTIFIED:
            self.identified.add(track_id)
            self.known.remove(track_id)
            live.next_search, live.sighting = 0, None
        else:
            self.identified.discard(track_id)
            self._decide(live)
        return summary if live.sighting is None else replace(summary, visitor=live.sighting)

    def follow(self, summary: TrackSummary) -> None:
        """Publish the step of a journey that a summary makes, after the summary itself. The last one ends the track."""
        live = self.live[summary.key.id]
        person = summary.decision.person_id if summary.decision is not None else ""
        visitor = summary.visitor.visitor_id if summary.visitor is not None else ""
        if self.settings.journeys and (person or visitor):
            self.travel.follow(summary, replace(self.appearance(live), person_id=person, visitor_id=visitor))
        if summary.final:
            del self.live[summary.key.id]
            self.barred.discard(summary.key.id)

    def _decide(self, live: LiveTrack) -> None:
        summary, track_id = live.summary, live.summary.key.id
        due = summary.final or summary.estimates.samples >= live.next_search
        if due and track_id not in self.barred and self._fits(summary):
            live.next_search = GROWTH * summary.estimates.samples
            self._search(live)
            self.keep(self.appearance(live), template=live)
        elif summary.final and track_id not in self.barred:
            self.keep(self.appearance(live))
        if live.visitor_id and (due or live.sighting is None):
            live.sighting = self.sighting(track_id)

    def _fits(self, summary: TrackSummary) -> bool:
        """Return whether the face of a track is good enough to be compared now."""
        identity, decision = summary.estimates.identity, summary.decision
        if not self.known.ready or identity is None or summary.estimates.model_id != self.model_id:
            return False
        enough = identity.evidence.samples >= self.settings.min_samples
        good = identity.evidence.best_quality >= self.settings.min_quality
        unsure = decision is not None and decision.reason in UNSURE
        early = decision is not None and decision.reason is IdentityReason.TOO_LITTLE_EVIDENCE and not summary.final
        return enough and good and not unsure and not early

    def _search(self, live: LiveTrack) -> None:
        """Give a track its visitor: whom it was said to show, else the one it resembles or has, else a new one.

        It may have joined by its first few analyses, so it leaves a visitor whom it no longer resembles.
        """
        identity, track_id = live.summary.estimates.identity, live.summary.key.id
        assert identity is not None
        links, current = self._curator.book.people.links, live.visitor_id
        joined = {track_id, *(one.track_id for one in live.summary.intervals)}
        one_with = {other for each in joined for other in links.group(each)} - joined
        said = next((visitor for each in sorted(one_with) if (visitor := self.visitor_of(each))), "")
        without = {self.visitor_of(other) for each in joined for other in links.apart_of(each)} | self._beside(live)
        alone = self._of_visitor.get(current, set()) <= {track_id}
        self.known.remove(track_id)
        template, quality = identity.template, identity.evidence.best_quality
        match = self.known.match(template, quality, without)
        if said or match is not None:
            chosen = said or (match.visitor_id if match is not None else "")
        else:
            stays = current and current not in without and (alone or self.known.may_stay(current, template, quality))
            chosen = current if stays else new_id()
        self.known.put(track_id, chosen, template, quality)
        live.visitor_id = chosen
        if current and alone and chosen != current:
            self.merge_id(current, chosen)

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
        names = sorted(self._of_visitor.get(visitor or "", set()) - {*track_ids}, reverse=True)
        others = [one for name in names if (one := self.known.template(name)) is not None]
        return np.stack(others[:MOST_OTHERS]) if others else None

    def _beside(self, live: LiveTrack) -> set[str]:
        """Return the visitors of tracks that are or were in view in the same frames."""
        mine = self.appearance(live)
        others = [self.appearance(one) for one in self.live.values() if one is not live]
        others += [self.appearances[name] for name in self._of_scene.get(mine.scene, ())[-RECENT:]]
        return {one.visitor_id for one in others if one.visitor_id and beside(mine, one)}

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

    def keep(self, one: Appearance, template: LiveTrack | None = None) -> None:
        """Note an appearance, which is stored together with its track; `template`: of a live track, too."""
        self._note(one)
        self.gone.discard(one.track_id)
        self._rows.keep(one)
        identity = template.summary.estimates.identity if template is not None else None
        if template is not None and identity is not None:
            estimates = template.summary.estimates
            self._rows.keep_face(
                *(one.track_id, estimates.model_id, estimates.samples),
                *(identity.evidence.best_quality, identity.template),
            )

    def merge_id(self, gone: str, left: str) -> None:
        """Let the id of a visitor lead to another one."""
        self.merged[gone] = left
        self._rows.merge(gone, left)

    def _note(self, one: Appearance) -> None:
        before = self.appearances.get(one.track_id)
        if before is not None:
            self._of_visitor.get(before.visitor_id, set()).discard(one.track_id)
        else:
            self._of_scene.setdefault(one.scene, []).append(one.track_id)
        self.appearances[one.track_id] = one
        if one.visitor_id:
            self._of_visitor.setdefault(one.visitor_id, set()).add(one.track_id)
            self.merged.pop(one.visitor_id, None)

    def forget(self, track_ids: Collection[str]) -> None:
        """Forget the pseudonyms of tracks; their rows are removed by the caller, or with their tracks."""
        for name in track_ids:
            one = self.appearances.pop(name, None)
            self._rows.forget(name)
            self.known.remove(name)
            self.identified.discard(name)
            if one is not None:
                members = self._of_visitor.get(one.visitor_id, set())
                members.discard(name)
                if not members:
                    self._of_visitor.pop(one.visitor_id, None)
                scene = self._of_scene.get(one.scene, [])
                if name in scene:
                    scene.remove(name)
                if not scene:
                    self._of_scene.pop(one.scene, None)

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
        names = sorted(self._of_visitor.get(visitor_id, ()))
        found = [self.current(name) for name in names if identified or name not in self.identified]
        return [one for one in found if one is not None]

    def visitors(self) -> list[str]:
        """Return the ids of all visitors, sorted."""
        return sorted(name for name, tracks in self._of_visitor.items() if tracks)

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


def _began(summary: TrackSummary) -> datetime:
    if summary.first_captured_at is not None:
        return summary.first_captured_at
    return datetime.now(UTC) - timedelta(seconds=summary.last.time - summary.first_seen)
