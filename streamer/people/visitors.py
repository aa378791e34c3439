"""Knows the visitors of a store: gives each live track of a stranger a pseudonym at once, and keeps it."""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from streamer.config import StreamerConfig
from streamer.encryption import NotReadable
from streamer.identity.persons import NOBODY
from streamer.identity.visitors import Visitors
from streamer.people.appearances import (
    Appearance,
    appearance_of,
    beside,
)
from streamer.people.curator import Curator, new_id
from streamer.people.past_index import OWNER as TEMPLATES
from streamer.people.travel import Travel
from streamer.people.visitor_register import LiveTrack, Offset, VisitorRegister, began
from streamer.people.visitor_rows import VisitorRows
from streamer.store.values import StoreUnavailable
from streamer.store.visitors import (
    EndedTrack,
    ended_tracks,
    identified_ids,
    read_payloads,
    read_templates,
    stored_ids,
)
from streamer.values import (
    Floats,
    IdentityReason,
    IdentityStatus,
    ImpostorScores,
    TrackSummary,
)

OWNER = "visitors"  # of the key that pseudonyms are encrypted with
GROWTH = 2  # factor by which a track's analyses must grow until it is compared again
RECENT = 500  # newest tracks of a scene that a live one is compared with for having been beside it
UNSURE = (IdentityReason.AMBIGUOUS, IdentityReason.NOT_CONFIRMED, IdentityReason.GALLERY_NOT_READY)

log = logging.getLogger(__name__)


class VisitorBook(VisitorRegister):
    """The visitors of one store. It is used from the asyncio loop only."""

    def __init__(
        self,
        config: StreamerConfig,
        curator: Curator,
        offset: Offset,
        republish: Callable[[Collection[str]], None],
    ) -> None:
        """`republish` publishes live tracks whose visitor has changed."""
        super().__init__(config.visitors, curator.book.store, offset)
        self.wanted: tuple[str, ImpostorScores] | None = None  # model of the workers
        self.barred: set[str] = set()  # tracks whose faces were removed, and which stay without a pseudonym
        self.erasing: set[str] = set()  # those of them of which something may still be stored
        self.placed: set[str] = set()  # past tracks that have their first pseudonym, which is not published yet
        self.gone: set[str] = set()  # tracks whose stored pseudonym is to be removed
        self.travel = Travel(self.settings, self.store)
        self._curator = curator
        self.republish = republish

    async def open(self) -> None:
        """Read what is stored. Raises StoreUnavailable and NotReadable."""
        book = self._curator.book
        sealed, self._sealed_templates = await book.sealed_of(OWNER), await book.sealed_of(TEMPLATES)
        self._rows = VisitorRows(sealed, self._sealed_templates)
        rows, merged = await read_payloads(self.store)
        self.identified = await identified_ids(self.store)
        for track_id, payload, _ in rows:
            self.note(appearance_of(track_id, sealed.read_data(payload, track_id)))
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
            if row.model_id != self.model_id or row.track_id in self.identified or row.track_id in self.barred:
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
            live = self.live[track_id] = LiveTrack(summary, began(summary))
        live.summary = summary
        if self.barred & {track_id, *(one.track_id for one in summary.intervals)}:
            self.barred |= {track_id, *filter(None, [summary.merged_into])}
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
        alone = self.of_visitor.get(current, set()) <= {track_id}
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

    def _beside(self, live: LiveTrack) -> set[str]:
        """Return the visitors of tracks that are or were in view in the same frames."""
        mine = self.appearance(live)
        others = [self.appearance(one) for one in self.live.values() if one is not live]
        others += [self.appearances[name] for name in self.of_scene.get(mine.scene, ())[-RECENT:]]
        return {one.visitor_id for one in others if one.visitor_id and beside(mine, one)}

    def keep(self, one: Appearance, template: LiveTrack | None = None) -> None:
        """Note an appearance, which is stored together with its track; `template`: of a live track, too."""
        self.note(one)
        self.gone.discard(one.track_id)
        self._rows.keep(one)
        identity = template.summary.estimates.identity if template is not None else None
        if template is not None and identity is not None:
            estimates = template.summary.estimates
            self._rows.keep_face(
                *(one.track_id, estimates.model_id, estimates.samples),
                *(identity.evidence.best_quality, identity.template),
            )

    async def unstored(self) -> set[str]:
        """Return the tracks whose appearance was stored and no longer is. Raises StoreUnavailable."""
        stored = [name for name in self.appearances if not self._rows.waits(name)]
        there = await stored_ids(self.store)
        return {name for name in stored if name not in there and not self._rows.waits(name)}

    def merge_id(self, gone: str, left: str) -> None:
        """Let the id of a visitor lead to another one."""
        self.merged[gone] = left
        self._rows.merge(gone, left)

    def forget(self, track_ids: Collection[str]) -> None:
        """Forget the pseudonyms of tracks; their rows are removed by the caller, or with their tracks."""
        for name in track_ids:
            one = self.appearances.pop(name, None)
            self._rows.forget(name)
            self.known.remove(name)
            self.identified.discard(name)
            if one is not None:
                members = self.of_visitor.get(one.visitor_id, set())
                members.discard(name)
                if not members:
                    self.of_visitor.pop(one.visitor_id, None)
                scene = self.of_scene.get(one.scene, [])
                if name in scene:
                    scene.remove(name)
                if not scene:
                    self.of_scene.pop(one.scene, None)
