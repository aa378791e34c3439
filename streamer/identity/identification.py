"""Decides which person of the gallery a track shows, or that it shows none of them. Pure: no clock, no socket.

Each search of the gallery is one more chance for a stranger to be named. So a track is searched when it has enough
analyses, then whenever their number has doubled, and once at its end. Between searches the decision stays. A
decision for or against a person changes only if several contradicting searches in a row agree (hysteresis).
"""

from dataclasses import dataclass, replace

from streamer.config import Gallery as Settings
from streamer.identity.gallery import Gallery
from streamer.values import (
    Candidate,
    IdentityDecision,
    IdentityReason,
    IdentityStatus,
    TrackSummary,
)

GROWTH = 2  # factor by which a track's analyses must grow for the next search


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledGallery:
    """A gallery and its threshold."""

    gallery: Gallery
    threshold: float  # cosine from which a person is named


@dataclass(slots=True)
class _Track:
    """The decision for one track, and the searches that contradict it."""

    decision: IdentityDecision
    model_id: str
    next_search: int  # number of samples
    against: tuple[IdentityStatus, str] | None = None  # status and person by which the newest searches contradict it
    searches_against: int = 0  # number of these searches in a row


class Identifier:
    """Makes the decisions for the tracks of all cameras."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: EnrolledGallery | None = None
        self._tracks: dict[str, _Track] = {}

    def use(self, known: EnrolledGallery | None) -> None:
        """Use this gallery from now on; None: the gallery is not ready."""
        self._known = known
        for track in self._tracks.values():
            track.next_search = 0

    def decide(self, summary: TrackSummary) -> IdentityDecision:
        """Return the decision for a track, given its newest summary. The track is forgotten after its final summary."""
        track, model_id = self._tracks.get(summary.key.id), summary.estimates.model_id
        if track is None or track.model_id not in ("", model_id):  # a change of the model resets the decision
            undecided = _undecided(IdentityReason.TOO_LITTLE_EVIDENCE, summary)
            undecided = undecided if track is None else _with_revision(track.decision, undecided)
            track = self._tracks[summary.key.id] = _Track(undecided, model_id, 0)
        track.model_id = model_id
        if summary.estimates.samples >= track.next_search or summary.final:
            self._update(track, summary)
        if summary.final:
            del self._tracks[summary.key.id]
        return track.decision

    def _update(self, track: _Track, summary: TrackSummary) -> None:
        """Search the gallery if template and gallery are ready. Otherwise the result of an earlier search stays."""
        track.next_search, problem = self._next_search(summary)
        if problem is not None:
            if track.decision.threshold is None:
                track.decision = _with_revision(track.decision, _undecided(problem, summary))
        elif track.decision.threshold is None or summary.estimates.samples > track.decision.samples:
            track.decision = self._search(track, summary)

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

    def _search(self, track: _Track, summary: TrackSummary) -> IdentityDecision:
        assert self._known is not None
        assert summary.estimates.identity is not None
        threshold = self._known.threshold
        candidates = self._known.gallery.search(summary.estimates.identity.template, max(2, self._settings.candidates))
        answer, reason = self._result(candidates, threshold)
        status, person = self._with_hysteresis(track, answer, candidates[0], threshold)
        if answer[0] is IdentityStatus.IDENTIFIED:
            reason = IdentityReason.NOT_CONFIRMED
        found = IdentityDecision(
            status=status,
            person=person,
            reason=None if status is IdentityStatus.IDENTIFIED else reason,
            candidates=candidates[: self._settings.candidates],
            margin=candidates[0].similarity - candidates[1].similarity if len(candidates) > 1 else None,
            threshold=threshold,
            samples=summary.estimates.samples,
            best_quality=summary.estimates.identity.evidence.best_quality,
            revision=1,
        )
        return _with_revision(track.decision, found)

    def _result(
        self, candidates: tuple[Candidate, ...], threshold: float
    ) -> tuple[tuple[IdentityStatus, str], IdentityReason | None]:
        """Return the result of one search by itself, and the reason why it names no person."""
        best = candidates[0]
        if best.similarity < threshold:
            return (IdentityStatus.UNKNOWN, ""), IdentityReason.BELOW_THRESHOLD
        if len(candidates) > 1 and best.similarity - candidates[1].similarity < self._settings.margin:
            return (IdentityStatus.UNDECIDED, ""), IdentityReason.AMBIGUOUS
        return (IdentityStatus.IDENTIFIED, best.person), None

    def _with_hysteresis(
        self, track: _Track, answer: tuple[IdentityStatus, str], best: Candidate, threshold: float
    ) -> tuple[IdentityStatus, str]:
        """Return the result after hysteresis: a decision stays until several searches in a row contradict it alike."""
        before = (track.decision.status, track.decision.person)
        if before[0] is IdentityStatus.UNDECIDED or self._is_compatible(before, answer, best, threshold):
            track.against, track.searches_against = None, 0
            return answer if before[0] is IdentityStatus.UNDECIDED else before
        track.searches_against = track.searches_against + 1 if track.against == answer else 1
        track.against = answer
        if track.searches_against < self._settings.switch_searches:
            return before
        track.against, track.searches_against = None, 0
        return answer

    def _is_compatible(
        self,
        before: tuple[IdentityStatus, str],
        answer: tuple[IdentityStatus, str],
        best: Candidate,
        threshold: float,
    ) -> bool:
        """Return whether the result `answer` of a search is compatible with the decision `before`."""
        if answer == before:
            return True
        if before[0] is not IdentityStatus.IDENTIFIED or best.person != before[1]:
            return False
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
