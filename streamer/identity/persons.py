"""Gives one summary per person: aggregates analyses, joins and splits tracks, and names people.

Persons wraps the Aggregator and has the same three inputs. When a track continues an earlier one, its observations and
crops get the earlier track's key before they are aggregated. So everything downstream sees one track with an interval
of absence. In the same way, after the tracker has taken one person for another, the rest of its track gets the key of a
new track.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from streamer import metrics
from streamer.aggregate.aggregator import Aggregator
from streamer.config import StreamerConfig
from streamer.identity.beside import Beside
from streamer.identity.identification import EnrolledGallery, Identifier, OthersOf, Probe
from streamer.identity.one_per_frame import OnePerFrame
from streamer.identity.relink import HELD_REASONS, HeldTrack, Relinker
from streamer.values import (
    EndReason,
    FaceAnalysis,
    FaceCrop,
    Floats,
    IdentityDecision,
    IdentityStatus,
    ImpostorScores,
    Interval,
    Observation,
    Track,
    TrackEnd,
    TrackKey,
    TrackSummary,
    Undescribed,
)

NOBODY = (Undescribed.CONFLICTING, Undescribed.FALSE_FACE)  # no name is published for these tracks


@dataclass(slots=True, eq=False)
class _Person:
    """The state of an open track besides its aggregation."""

    track_id: str  # id of the present interval
    since: float  # s, media time, start of the present interval
    newest: TrackSummary | None = None
    seen: tuple[Observation, Track] | None = None  # the last frame in which it was detected, and the track there
    intervals: list[Interval] = field(default_factory=list)  # past ones
    decided: int = 0  # revision of the last decision counted in the metrics


class Persons:
    """Aggregates, joins, splits and names the tracks of all cameras."""

    def __init__(self, config: StreamerConfig, new_key: Callable[[TrackKey], TrackKey]) -> None:
        """`new_key` makes the key of a track that is split off another one."""
        self._aggregator = Aggregator(config.aggregate, new_key)
        self._settings = config.gallery
        self._identifier = Identifier(config.gallery) if config.gallery.folder else None
        self._relinker = Relinker(config.relink) if config.relink.enabled else None
        self._persons: dict[str, _Person] = {}  # by id of the published track
        self._continues: dict[str, TrackKey] = {}  # id of the tracker's track -> key of the published track
        self._beside = Beside()
        self._one_per_frame = OnePerFrame(config.gallery, self._beside)
        self._unsettled: set[str] = set()  # open tracks that have gained or lost their name to another one
        self._others_of: OthersOf | None = None

    def use_gallery(self, known: EnrolledGallery | None) -> list[TrackSummary]:
        """Name people of this gallery from now on. Returns the open tracks that it changes, with a new revision.

        None: there is no gallery, and nobody is named.
        """
        if known is None:
            self._identifier = None
            self._one_per_frame = OnePerFrame(self._settings, self._beside)
        elif self._identifier is None:
            self._identifier = Identifier(self._settings, self._others_of)
        if known is not None and self._identifier is not None:
            self._identifier.use(known)
            self._one_per_frame.use(known.twins, known.gallery, known.corrections)
        again = [(person, person.newest) for person in self._persons.values() if person.newest is not None]
        for person, newest in again:
            self._search(person, newest)
        self._unsettled.clear()  # they are among these
        return [changed for person, newest in again if (changed := self._decided_again(person, newest)) is not None]

    def decide_past(self, before: IdentityDecision, probe: Probe) -> IdentityDecision | None:
        """Return the decision for a track that has ended; None: there is no gallery."""
        return self._identifier.decide_past(before, probe) if self._identifier is not None else None

    def _decided_again(self, person: _Person, newest: TrackSummary) -> TrackSummary | None:
        """Return the summary of an open track with a new revision; None: its identity stays."""
        decision, before = self._decide(person, newest), newest.decision
        if decision == before or (decision and before and _who(decision) == _who(before)):
            return None
        revision = self._aggregator.revise(newest.key.id)
        person.newest = replace(newest, decision=decision, revision=revision)
        return person.newest

    def again(self, track_ids: Collection[str]) -> list[TrackSummary]:
        """Return the open ones of these tracks with a new revision, because their visitor has changed."""
        changed = []
        for name in track_ids:
            person = self._persons.get(name)
            if person is not None and person.newest is not None:
                person.newest = replace(person.newest, revision=self._aggregator.revise(name))
                changed.append(person.newest)
        return changed

    def use_visitors(self, others_of: OthersOf) -> None:
        """Take the other tracks of visitors as evidence against names from now on."""
        self._others_of = others_of
        if self._identifier is not None:
            self._identifier.others_of = others_of

    def use_impostors(self, impostors: ImpostorScores, model_id: str) -> None:
        """Join tracks from now on, by templates of this model and by these scores of strangers."""
        if self._relinker is not None:
            self._relinker.use(impostors, model_id)

    def use_blank(self, model_id: str, embedding: Floats) -> None:
        """Recognise what is no face by the embedding (512,) of images without content, see blank.py."""
        self._aggregator.use_blank(model_id, embedding)

    def waits(self, key: TrackKey) -> bool:
        """Return whether the tracker's track may show another person since its newest crops, and one more decides."""
        return self._aggregator.waits(self._key(key).id)

    def undecided(self, key: TrackKey) -> bool:
        """Return whether it is undecided whom the tracker's track shows, although there is a gallery."""
        person = self._persons.get(self._key(key).id)
        decision = person.newest.decision if person is not None and person.newest is not None else None
        return decision is not None and decision.status is IdentityStatus.UNDECIDED

    def _published(self, observation: Observation) -> Observation:
        """Return the observation with the keys under which its tracks are published."""
        if not self._continues:
            return observation
        tracks = tuple(self._renamed(track) for track in observation.tracks)
        skipped = {self._id(track_id): reasons for track_id, reasons in observation.skipped.items()}
        crops = tuple(replace(crop, key=self._key(crop.key)) for crop in observation.crops)
        choices = tuple(replace(choice, key=self._key(choice.key)) for choice in observation.choices)
        return replace(observation, tracks=tracks, skipped=skipped, crops=crops, choices=choices)

    def observe(self, observation: Observation) -> tuple[Observation, list[TrackSummary]]:
        """Take in a frame, except its crops and ends, which go to `add_analysis` and `finish`.

        Returns the observation with the keys under which its tracks are published, and the summaries that it changes.
        """
        changed = []
        if self._relinker is not None:
            for end in self._relinker.expired(observation.camera, observation.epoch, observation.media_time):
                changed += self._end(end)
        published = self._published(observation)
        for track_id in self._beside.observe(published):
            self._unsettled |= {track_id, *self._one_per_frame.settle(track_id)}
        changed += [self._complete(summary) for summary in self._aggregator.observe(published)]
        if self._relinker is not None:
            bare = replace(published, crops=(), ended=(), skipped={}, choices=())
            for track in published.tracks:
                if track.detection is not None and track.key.id in self._persons:
                    self._persons[track.key.id].seen = (bare, track)
        return published, self._settled(changed)

    def add_analysis(self, crop: FaceCrop, analysis: FaceAnalysis) -> list[TrackSummary]:
        """Take in an analysis and return the summaries that it changes. The crop has the tracker's key."""
        tracker_id = crop.key.id
        crop = replace(crop, key=self._key(crop.key))
        changed = self._add_analysis(tracker_id, crop, analysis)
        if self._relinker is not None and len(changed) == 1:
            held = self._relinker.add_analysis(changed[0], crop, analysis)
            if held is not None:
                changed += self._join(changed[0].key, held)
        return self._settled(changed)

    def finish(self, end: TrackEnd) -> list[TrackSummary]:
        """End a track whose crops are all answered or lost; return the summaries that this changes."""
        end = replace(end, key=self._continues.pop(end.key.id, end.key))
        person = self._persons.get(end.key.id)
        if self._relinker is None or not self._relinker.hold(end, person.newest if person else None):
            if end.reason not in HELD_REASONS:  # then nobody can return to the held tracks either
                return [*self.release(end.key.camera), *self._settled(self._end(end))]
            return self._settled(self._end(end))
        changed: list[TrackSummary] = []
        for new in self._relinker.comparable(end.key.camera):
            held = self._relinker.partner(new)
            if held is not None:
                changed += self._join(new.key, held)
        return self._settled(changed)

    def release(self, camera: str | None = None) -> list[TrackSummary]:
        """End all held tracks (of one camera) now; return their final summaries."""
        ends = self._relinker.held_ends(camera) if self._relinker else []
        return self._settled([summary for end in ends for summary in self._end(end)])

    def release_overdue(self, now: float) -> list[TrackSummary]:
        """End the held tracks that wait too long by the clock `now` (s, monotonic); return their final summaries.

        `observe` does the same by media time, but not while the camera gives no frames.
        """
        ends = self._relinker.overdue(now) if self._relinker else []
        return self._settled([summary for end in ends for summary in self._end(end)])

    def open_ends(self, reason: EndReason) -> list[TrackEnd]:
        """Return an end for each track that has not ended."""
        return self._aggregator.open_ends(reason)

    def _join(self, new: TrackKey, held: HeldTrack) -> list[TrackSummary]:
        """End the new track and let the held one continue, with the analyses of the new one."""
        assert self._relinker is not None
        old = held.end.key
        analyses = self._relinker.join(new.id, held)
        joined, person = self._persons[new.id], self._persons[old.id]
        assert joined.newest is not None
        changed = self._end(
            TrackEnd(new, EndReason.MERGED, joined.newest.last.time, confirmed=True), merged_into=old.id
        )
        metrics.tracks_merged.labels(old.camera).inc()
        person.intervals += [Interval(person.track_id, person.since, held.summary.last.time), *joined.intervals]
        person.track_id, person.since = joined.track_id, joined.since
        self._continues[new.id] = old
        self._unsettled |= {old.id, *self._one_per_frame.settle(old.id)}
        if joined.seen is not None:
            observation, track = joined.seen
            self._aggregator.observe(replace(observation, tracks=(self._renamed(track),)))
            person.seen = (observation, self._renamed(track))
        updates: list[TrackSummary] = []
        for crop, analysis in analyses:
            updates += self._add_analysis(new.id, replace(crop, key=self._key(new)), analysis)
        return [*changed, *(one for one in updates if one.final), *updates[-1:]]

    def _add_analysis(self, tracker_id: str, crop: FaceCrop, analysis: FaceAnalysis) -> list[TrackSummary]:
        """Aggregate an analysis. If that splits the track, the tracker's track `tracker_id` gets the new key."""
        summaries = self._aggregator.add_analysis(crop, analysis)
        if len(summaries) > 1:
            ended, new = summaries
            self._beside.split(ended.key.id, new.key.id, new.first_seen)
            self._continues[tracker_id] = new.key
            metrics.tracks_ended.labels(new.key.camera, EndReason.SPLIT.value).inc()
            if self._relinker is not None:
                self._relinker.forget(ended.key.id)
        return [self._complete(summary) for summary in summaries]

    def _end(self, end: TrackEnd, merged_into: str = "") -> list[TrackSummary]:
        if self._relinker is not None:
            self._relinker.forget(end.key.id)
        summary = self._aggregator.finish(end)
        return [] if summary is None else [self._complete(replace(summary, merged_into=merged_into))]

    def _complete(self, summary: TrackSummary) -> TrackSummary:
        """Return the newest summary of a track with its intervals and decision."""
        track_id = summary.key.id
        person = self._persons.get(track_id)
        if person is None:
            person = self._persons[track_id] = _Person(track_id, summary.first_seen)
        intervals = (*person.intervals, Interval(person.track_id, person.since, summary.last.time))
        complete = replace(summary, intervals=intervals, decision=self._decide(person, summary))
        person.newest = complete
        if summary.final:
            del self._persons[track_id]
            self._leave(complete)
        return complete

    def _leave(self, final: TrackSummary) -> None:
        """Take in that a track has ended, or that another one competes for names in its place."""
        track_id = final.key.id
        if final.merged_into:
            self._unsettled |= self._one_per_frame.forget(track_id)
            self._beside.join(track_id, final.merged_into)
        else:
            track_ids = (track_id, *(one.track_id for one in final.intervals))
            self._one_per_frame.end(track_id, final.key.camera, track_ids)

    def _settled(self, changed: list[TrackSummary]) -> list[TrackSummary]:
        """Return these summaries and those of tracks that have gained or lost their name to one of them."""
        found = list(changed)
        while self._unsettled:
            person = self._persons.get(min(self._unsettled))
            self._unsettled.remove(min(self._unsettled))
            again = self._decided_again(person, person.newest) if person is not None and person.newest else None
            found += [] if again is None else [again]
        return found

    def _search(self, person: _Person, summary: TrackSummary) -> IdentityDecision | None:
        """Return what a search finds for a track, by itself; other tracks may have lost or gained their name by it."""
        if self._identifier is None:
            return None
        track_ids = [one.track_id for one in (*person.intervals, *summary.intervals)]
        found = self._identifier.decide(summary, track_ids)
        if any(reason in NOBODY for reason in summary.undescribed):
            self._unsettled |= self._one_per_frame.forget(summary.key.id)
            return None
        ids = (summary.key.id, *track_ids)
        self._unsettled |= self._one_per_frame.claim(summary.key.id, summary.key.camera, found, ids)
        return found

    def _decide(self, person: _Person, summary: TrackSummary) -> IdentityDecision | None:
        found = self._search(person, summary)
        if found is None:
            return None
        decision = self._one_per_frame.shown(summary.key.id, found)
        if decision.revision != person.decided:
            person.decided = decision.revision
            metrics.identity_decisions.labels(decision.status.value.lower()).inc()
        return decision

    def _key(self, key: TrackKey) -> TrackKey:
        return self._continues.get(key.id, key)

    def _id(self, track_id: str) -> str:
        key = self._continues.get(track_id)
        return track_id if key is None else key.id

    def _renamed(self, track: Track) -> Track:
        key = self._continues.get(track.key.id)
        if key is None:
            return track
        newest = self._persons[key.id].newest
        assert newest is not None
        return track._replace(key=key, first_seen=newest.first_seen)


def _who(decision: IdentityDecision) -> tuple[object, ...]:
    """Return what a change of the gallery may change, and clients should hear of at once."""
    return decision.status, decision.person_id, decision.person, decision.reason, decision.confirmed
