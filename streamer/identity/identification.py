"""Who a face is: open-set decisions with evidence and hysteresis, one state per track. Pure: no clock, no socket.

Each search of the gallery is one more chance for a stranger to be taken for somebody, so a track is searched when it
has enough analyses, then when it has twice as many, and so on, and once at its end. Between searches the decision
stands.
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

GROWTH = 2  # a track is searched again when it has so many times the analyses


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledGallery:
    """The gallery as decisions need it."""

    gallery: Gallery
    threshold: float  # cosine from which on somebody is named


@dataclass(slots=True)
class _Track:
    """What is decided of one track."""

    decision: IdentityDecision
    model_id: str
    next_search: int  # samples
    against: tuple[IdentityStatus, str] | None = None  # another answer than the decision's, of the newest searches
    searches_against: int = 0  # how many of them in a row


class Identifier:
    """Decisions for all tracks of all cameras."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: EnrolledGallery | None = None
        self._tracks: dict[str, _Track] = {}

    def use(self, known: EnrolledGallery | None) -> None:
        """Decide by this gallery from now on; None: it is not ready."""
        self._known = known
        for track in self._tracks.values():
            track.next_search = 0

    def decide(self, summary: TrackSummary) -> IdentityDecision:
        """The decision for a track whose newest summary this is; a final one is forgotten afterwards."""
        track, model_id = self._tracks.get(summary.key.id), summary.estimates.model_id
        if track is None or track.model_id not in ("", model_id):  # nothing is kept over a change of the model
            undecided = _undecided(IdentityReason.TOO_LITTLE_EVIDENCE, summary)
            undecided = undecided if track is None else _turned(track.decision, undecided)
            track = self._tracks[summary.key.id] = _Track(undecided, model_id, 0)
        track.model_id = model_id
        if summary.estimates.samples >= track.next_search or summary.final:
            self._look(track, summary)
        if summary.final:
            del self._tracks[summary.key.id]
        return track.decision

    def _look(self, track: _Track, summary: TrackSummary) -> None:
        """Search if there is something to search with and in; what was found before stays if there is not."""
        track.next_search, problem = self._when(summary)
        if problem is not None:
            if track.decision.threshold is None:
                track.decision = _turned(track.decision, _undecided(problem, summary))
        elif track.decision.threshold is None or summary.estimates.samples > track.decision.samples:
            track.decision = self._search(track, summary)

    def _when(self, summary: TrackSummary) -> tuple[int, IdentityReason | None]:
        """The number of samples at which to look again, and why it is no use now."""
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
        answer, reason = self._answer(candidates, threshold)
        status, person = self._kept(track, answer, candidates[0], threshold)
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
        return _turned(track.decision, found)

    def _answer(
        self, candidates: tuple[Candidate, ...], threshold: float
    ) -> tuple[tuple[IdentityStatus, str], IdentityReason | None]:
        """What this search says by itself."""
        best = candidates[0]
        if best.similarity < threshold:
            return (IdentityStatus.UNKNOWN, ""), IdentityReason.BELOW_THRESHOLD
        if len(candidates) > 1 and best.similarity - candidates[1].similarity < self._settings.margin:
            return (IdentityStatus.UNDECIDED, ""), IdentityReason.AMBIGUOUS
        return (IdentityStatus.IDENTIFIED, best.person), None

    def _kept(
        self, track: _Track, answer: tuple[IdentityStatus, str], best: Candidate, threshold: float
    ) -> tuple[IdentityStatus, str]:
        """The answer after hysteresis: what was decided stays until several searches in a row say otherwise."""
        before = (track.decision.status, track.decision.person)
        if before[0] is IdentityStatus.UNDECIDED or self._holds(before, answer, best, threshold):
            track.against, track.searches_against = None, 0
            return answer if before[0] is IdentityStatus.UNDECIDED else before
        track.searches_against = track.searches_against + 1 if track.against == answer else 1
        track.against = answer
        if track.searches_against < self._settings.switch_searches:
            return before
        track.against, track.searches_against = None, 0
        return answer

    def _holds(
        self,
        before: tuple[IdentityStatus, str],
        answer: tuple[IdentityStatus, str],
        best: Candidate,
        threshold: float,
    ) -> bool:
        """Whether a search that says `answer` leaves what was decided `before` as it is."""
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


def _turned(before: IdentityDecision, after: IdentityDecision) -> IdentityDecision:
    """The new decision with its revision: one more if status or person changed."""
    changed = (after.status, after.person) != (before.status, before.person)
    return replace(after, revision=before.revision + changed)
