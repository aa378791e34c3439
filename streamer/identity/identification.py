"""Decides which person of the gallery a track shows, or that it shows none of them. Pure: no clock, no socket.

Each search of the gallery is one more chance for a stranger to be named. So a track is searched when it has enough
analyses, then whenever their number has doubled, and once at its end. Between searches the decision stays. A
decision for or against a person changes only if several contradicting searches in a row agree (hysteresis).
"""

from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from streamer.config import Gallery as Settings
from streamer.identity.corrections import NOTHING_SAID, Corrections
from streamer.identity.gallery import Gallery
from streamer.identity.look_alikes import LookAlikes
from streamer.values import (
    Candidate,
    Floats,
    IdentityDecision,
    IdentityReason,
    IdentityStatus,
    TrackSummary,
)

GROWTH = 2  # factor by which a track's analyses must grow for the next search

# ids of a track, its template (512,), quality and model -> templates (n, 512) of its visitor's other tracks; None: none
OthersOf = Callable[[Collection[str], Floats, float, str], Floats | None]


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledGallery:
    """A gallery, its threshold, and what people said about tracks."""

    gallery: Gallery
    threshold: float  # cosine from which a person is named
    names: Mapping[str, str] = field(default_factory=dict)  # by id, if the gallery has ids in place of names
    corrections: Corrections = NOTHING_SAID
    twins: Container[str] = frozenset()  # people who may be named twice in one frame


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """The face of a track as it is searched for."""

    template: Floats  # (512,) unit length
    samples: int  # analyses behind it
    best_quality: float  # 0..1, of their best crop
    track_ids: tuple[str, ...]  # of the track and of those that were joined to it
    others: Floats | None = None  # (n, 512) unit length, the other tracks of the visitor whom it shows; None: none


@dataclass(slots=True)
class _Track:
    """The decision for one track, and the searches that contradict it."""

    decision: IdentityDecision
    model_id: str
    next_search: int  # number of samples
    against: tuple[IdentityStatus, str] | None = None  # status and person by which the newest searches contradict it
    searches_against: int = 0  # number of these searches in a row
    changed: bool = False  # the gallery, since the newest search: what it finds now counts at once


class Identifier:
    """Makes the decisions for the tracks of all cameras."""

    def __init__(self, settings: Settings, others_of: OthersOf | None = None) -> None:
        """`others_of`: what visitors are known by; None: there are no visitors."""
        self.others_of = others_of
        self._settings = settings
        self._known: EnrolledGallery | None = None
        self._look_alikes: LookAlikes | None = None
        self._tracks: dict[str, _Track] = {}

    def use(self, known: EnrolledGallery | None) -> None:
        """Use this gallery from now on; None: the gallery is not ready."""
        self._known = known
        self._look_alikes = LookAlikes(known.gallery, known.threshold) if known is not None else None
        for track in self._tracks.values():
            track.next_search, track.changed = 0, True

    def decide(self, summary: TrackSummary, joined: Collection[str] = ()) -> IdentityDecision:
        """Return the decision for a track, given its newest summary. The track is forgotten after its final summary.

        `joined`: ids of tracks that were joined to it.
        """
        track, model_id = self._tracks.get(summary.key.id), summary.estimates.model_id
        if track is None or track.model_id not in ("", model_id):  # a change of the model resets the decision
            undecided = _undecided(IdentityReason.TOO_LITTLE_EVIDENCE, summary)
            undecided = undecided if track is None else _with_revision(track.decision, undecided)
            track = self._tracks[summary.key.id] = _Track(undecided, model_id, 0)
        track.model_id = model_id
        if summary.estimates.samples >= track.next_search or summary.final:
            self._update(track, summary, (summary.key.id, *joined))
        if summary.final:
            del self._tracks[summary.key.id]
        return self._shown(track.decision)

    def decide_past(self, before: IdentityDecision, probe: Probe) -> IdentityDecision:
        """Return the decision for a track that has ended, of the model of the gallery, which must be ready."""
        inner = replace(before, person=before.person_id or before.person)
        track = _Track(inner, "", 0, changed=True)
        found = self._search(track, probe) if probe.template.any() else inner
        return self._shown(self._confirmed(inner, found, probe.track_ids) or found)

    def _shown(self, decision: IdentityDecision) -> IdentityDecision:
        """Return the decision with names in place of ids, and the ids beside them."""
        if self._known is None or not self._known.names:
            return decision
        names = self._known.names
        candidates = tuple(
            Candidate(names.get(one.person, one.person), one.similarity, one.person) for one in decision.candidates
        )
        name = names.get(decision.person, decision.person)
        return replace(decision, person=name, person_id=decision.person, candidates=candidates)

    def _confirmed(
        self, before: IdentityDecision, found: IdentityDecision, track_ids: Collection[str]
    ) -> IdentityDecision | None:
        """Return the decision that somebody made, with the candidates that were found; None: nobody has."""
        person = self._known.corrections.person_of(track_ids) if self._known is not None else None
        if person is None:
            return None
        said = replace(found, status=IdentityStatus.IDENTIFIED, person=person, reason=None, confirmed=True)
        return _with_revision(before, said)

    def _update(self, track: _Track, summary: TrackSummary, track_ids: tuple[str, ...]) -> None:
        """Decide again. What somebody has said counts, and else what is found."""
        before = track.decision
        self._find(track, summary, track_ids)
        track.decision = self._confirmed(before, track.decision, track_ids) or track.decision

    def _find(self, track: _Track, summary: TrackSummary, track_ids: tuple[str, ...]) -> None:
        """Search the gallery if template and gallery are ready. Otherwise the result of an earlier search stays."""
        track.next_search, problem = self._next_search(summary)
        if problem is not None:
            if track.decision.threshold is None or track.decision.confirmed:
                track.decision = _with_revision(track.decision, _undecided(problem, summary))
        elif track.decision.threshold is None or summary.estimates.samples > track.decision.samples or track.changed:
            assert summary.estimates.identity is not None
            template, evidence = summary.estimates.identity.template, summary.estimates.identity.evidence
            quality, others = evidence.best_quality, None
            if self.others_of is not None:
                others = self.others_of(track_ids, template, quality, summary.estimates.model_id)
            probe = Probe(template, summary.estimates.samples, quality, track_ids, others)
            track.decision = self._search(track, probe)
            track.changed = False

    def _next_search(self, summary: TrackSummary) -> tuple[int, IdentityReason | None]:
        """Return the number of samples for the next search, and the reason why there can be no search now."""
        identity, settings = summary.estimates.identity, self._settings
        if self._known is None or summary.estimates.model_id not in ("", self._known.gallery.model_id):
            return summary.estimates.samples + 1, IdentityReason.GALLERY_NOT_READY
        if identity is None or identity.evidence.samples < settings.min_samples:
            return settings.min_samples, IdentityReason.TOO_LITTLE_EVIDENCE
        if identity.evidence.best_quality < settings.min_quality:
            return summary.estimates.samples + 1, IdentityReason.TOO_LITTLE_EVIDENCE
        return GROWTH * summary.estimates.samples, None

    def _search(self, track: _Track, probe: Probe) -> IdentityDecision:
        assert self._known is not None
        assert self._look_alikes is not None
        known, threshold = self._known, self._known.threshold
        excluded = known.corrections.not_of(probe.track_ids)
        candidates = known.gallery.search(probe.template, max(2, self._settings.candidates), excluded)
        required = self._required(track.decision, candidates[0].person, probe) if candidates else threshold
        answer, reason = self._result(candidates, probe, required)
        status, person = self._with_hysteresis(track, answer, candidates, threshold)
        if answer[0] is IdentityStatus.IDENTIFIED:
            reason = IdentityReason.NOT_CONFIRMED
        found = IdentityDecision(
            status=status,
            person=person,
            reason=None if status is IdentityStatus.IDENTIFIED else reason,
            candidates=candidates[: self._settings.candidates],
            margin=candidates[0].similarity - candidates[1].similarity if len(candidates) > 1 else None,
            threshold=threshold,
            samples=probe.samples,
            best_quality=probe.best_quality,
            revision=1,
            required=required if required > threshold else None,
        )
        return _with_revision(track.decision, found)

    def _required(self, before: IdentityDecision, person: str, probe: Probe) -> float:
        """Return the cosine from which the face is named as a person.

        It is higher if the person has look-alikes, and if the other tracks of the visitor whom the face shows are less
        similar to the person than the threshold, by as much: so the mean of face and visitor reaches it. A face that
        has the name already keeps it, because tracks that are named are no longer those of a visitor.
        """
        assert self._known is not None
        assert self._look_alikes is not None
        known = self._known
        least = self._look_alikes.required(person, known.corrections.not_of(probe.track_ids))
        has_it = before.status is IdentityStatus.IDENTIFIED and before.person == person
        if probe.others is None or not len(probe.others) or has_it:
            return least
        scores = known.gallery.scores_of(person, np.asarray(probe.others, np.float64))
        assert scores is not None
        return max(least, 2 * known.threshold - float(scores.mean()))

    def _result(
        self, candidates: tuple[Candidate, ...], probe: Probe, required: float
    ) -> tuple[tuple[IdentityStatus, str], IdentityReason | None]:
        """Return the result of one search by itself, and the reason why it names no person.

        `required`: cosine from which the first candidate is named.
        """
        assert self._known is not None
        assert self._look_alikes is not None
        known = self._known
        excluded = known.corrections.not_of(probe.track_ids)
        if not candidates or candidates[0].similarity < known.threshold:
            first = known.gallery.search(probe.template, 1)
            was_said = any(one.person in excluded and one.similarity >= known.threshold for one in first)
            reason = IdentityReason.REJECTED if was_said else IdentityReason.BELOW_THRESHOLD
            return (IdentityStatus.UNKNOWN, ""), reason
        best = candidates[0]
        template = np.asarray(probe.template, np.float64)
        if best.similarity < required:
            return (IdentityStatus.UNDECIDED, ""), IdentityReason.LOOK_ALIKE
        second = candidates[1] if len(candidates) > 1 else Candidate("", -2.0)
        lead = self._look_alikes.lead(best.person, second.person, self._settings.margin)
        if best.similarity - second.similarity < lead or known.corrections.resembles_other(
            best.person, template, best.similarity
        ):
            return (IdentityStatus.UNDECIDED, ""), IdentityReason.AMBIGUOUS
        return (IdentityStatus.IDENTIFIED, best.person), None

    def _with_hysteresis(
        self, track: _Track, answer: tuple[IdentityStatus, str], candidates: tuple[Candidate, ...], threshold: float
    ) -> tuple[IdentityStatus, str]:
        """Return the result after hysteresis: a decision stays until several searches in a row contradict it alike.

        After a change of the gallery one search is enough.
        """
        before = (track.decision.status, track.decision.person)
        best = candidates[0] if candidates else Candidate("", -1.0)
        undecided = before[0] is IdentityStatus.UNDECIDED or track.decision.confirmed
        if undecided or self._is_compatible(before, answer, best, threshold, track.changed):
            track.against, track.searches_against = None, 0
            return answer if undecided else before
        track.searches_against = track.searches_against + 1 if track.against == answer else 1
        track.against = answer
        if track.searches_against < self._settings.switch_searches and not track.changed:
            return before
        track.against, track.searches_against = None, 0
        return answer

    def _is_compatible(
        self,
        before: tuple[IdentityStatus, str],
        answer: tuple[IdentityStatus, str],
        best: Candidate,
        threshold: float,
        changed: bool,
    ) -> bool:
        """Return whether the result `answer` of a search is compatible with the decision `before`."""
        if answer == before:
            return True
        if before[0] is not IdentityStatus.IDENTIFIED or best.person != before[1]:
            return False
        if changed and answer[0] is IdentityStatus.UNDECIDED:
            return False  # somebody said so, or enrolled somebody who is as similar
        return answer[0] is IdentityStatus.UNDECIDED or best.similarity >= threshold - self._settings.hysteresis


def _undecided(reason: IdentityReason, summary: TrackSummary) -> IdentityDecision:
    quality = summary.estimates.identity.evidence.best_quality if summary.estimates.identity else 0.0
    return IdentityDecision(
        IdentityStatus.UNDECIDED, "", reason, (), None, None, summary.estimates.samples, quality, revision=1
    )


def _with_revision(before: IdentityDecision, after: IdentityDecision) -> IdentityDecision:
    """Return the decision `after` with its revision, which grows if status or person changed."""
    changed = (after.status, after.person) != (before.status, before.person)
    return replace(after, revision=before.revision + changed)
