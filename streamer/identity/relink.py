"""Which lost track a new one continues: the same face, by identity, after motion could not tell. Pure.

The end of a track that could still be continued is held back for `gap_s` after the face was last seen, so that its id
is still open when the face returns. The new track is compared when it has enough analyses, when it has twice as many
and so on while it is young, and when another end is held back; each comparison is one more chance for a wrong link.
"""

from dataclasses import dataclass, replace

import numpy as np

from streamer.config import Relink as Settings
from streamer.identity.impostors import min_rate, threshold
from streamer.values import (
    CROP_SIZE,
    EndReason,
    FaceAnalysis,
    FaceCrop,
    ImpostorScores,
    TrackEnd,
    TrackSummary,
)

GROWTH = 2  # a young track is compared again when it has so many times the analyses
YOUNG = 8  # analyses until which a track may turn out to be the continuation of another
# Two poor crops resemble each other, whoever they show: by so much more cosine, per unit of quality that the better one
# of the two lacks, must they (python -m tests.benchmarks "Quality of crops": what 1 % of strangers reach).
GOOD_QUALITY = 0.6
MORE_IF_POOR = 0.8
HELD_REASONS = (EndReason.TIMEOUT, EndReason.LEFT_FRAME)  # after the others nobody returns to the same media time
NO_PIXELS = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)


@dataclass(slots=True, eq=False)
class Young:
    """A track that may turn out to be the continuation of another, with what it would bring along."""

    summary: TrackSummary
    answers: list[tuple[FaceCrop, FaceAnalysis]]  # without pixels
    next_comparison: int  # analyses


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A track whose end is held back."""

    end: TrackEnd
    summary: TrackSummary  # the newest


class Relinker:
    """The young and the held tracks of all cameras."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._impostors: ImpostorScores | None = None
        self._model_id = ""
        self._young: dict[str, Young] = {}
        self._held: dict[str, Held] = {}

    def use(self, impostors: ImpostorScores, model_id: str) -> None:
        """Compare templates of this model by these strangers from now on; before that nothing is joined."""
        self._impostors, self._model_id = impostors, model_id

    def add_analysis(self, summary: TrackSummary, crop: FaceCrop, analysis: FaceAnalysis) -> Held | None:
        """Take an analysis of an open track in; the held track that it continues. `summary` is the newest."""
        young = self._young.get(summary.key.id)
        if young is None:
            if summary.estimates.samples > 1 or summary.key.id in self._held:
                return None
            young = self._young[summary.key.id] = Young(summary, [], self._settings.min_samples)
        young.summary = summary
        young.answers.append((replace(crop, pixels=NO_PIXELS), analysis))
        if summary.estimates.samples > YOUNG:
            del self._young[summary.key.id]
        elif summary.estimates.samples >= young.next_comparison:
            young.next_comparison = GROWTH * summary.estimates.samples
            return self.partner(summary)
        return None

    def hold(self, end: TrackEnd, summary: TrackSummary | None) -> bool:
        """Whether the end of this track, whose newest summary this is, must wait; if so it is kept here."""
        fits = (
            self._impostors is not None
            and end.reason in HELD_REASONS
            and summary is not None
            and self._comparable(summary)
        )
        if not fits:
            return False
        assert summary is not None
        self._young.pop(end.key.id, None)
        self._held[end.key.id] = Held(end, summary)
        return True

    def waiting(self, camera: str) -> list[TrackSummary]:
        """The young tracks of a camera that can be compared, oldest first."""
        found = [young.summary for young in self._young.values() if young.summary.key.camera == camera]
        return sorted((one for one in found if self._comparable(one)), key=lambda one: one.key)

    def partner(self, new: TrackSummary) -> Held | None:
        """The held track that a young one continues, if there is exactly one that is similar enough."""
        if self._impostors is None or not self._comparable(new):
            return None
        lost = [held for held in self._held.values() if self._may_continue(held, new)]
        if not lost or min_rate(self._impostors, len(lost)) > self._settings.false_link_rate:
            return None
        min_cosine = threshold(self._impostors, self._settings.false_link_rate, len(lost), "relink.false_link_rate")
        cosines = [_cosine(new, held.summary) - _more_if_poor(new, held.summary) for held in lost]
        best, *others = sorted(range(len(lost)), key=lambda row: -cosines[row])
        if cosines[best] < min_cosine or (others and cosines[best] - cosines[others[0]] < self._settings.margin):
            return None
        return lost[best]

    def join(self, new: str, held: Held) -> list[tuple[FaceCrop, FaceAnalysis]]:
        """Both are open no more under their own; what the new one brings along."""
        del self._held[held.end.key.id]
        return self._young.pop(new).answers

    def forget(self, track_id: str) -> None:
        """A track has ended."""
        self._young.pop(track_id, None)
        self._held.pop(track_id, None)

    def over(self, camera: str, epoch: int, media_time: float) -> list[TrackEnd]:
        """The held ends of a camera whose time is up at this media time (s), or whose epoch is."""
        return [
            held.end
            for held in self._held.values()
            if held.end.key.camera == camera
            and (held.summary.epoch != epoch or media_time - held.summary.last.time > self._settings.gap_s)
        ]

    def late(self, now: float) -> list[TrackEnd]:
        """The held ends whose last frame arrived more than `gap_s` before `now` (s, monotonic)."""
        limit = now - self._settings.gap_s
        return [held.end for held in self._held.values() if held.summary.received < limit]

    def held(self, camera: str | None = None) -> list[TrackEnd]:
        """All held ends (of a camera), in the order in which they came."""
        return [held.end for held in self._held.values() if camera in (None, held.end.key.camera)]

    def _comparable(self, summary: TrackSummary) -> bool:
        identity = summary.estimates.identity
        enough = identity is not None and identity.evidence.samples >= self._settings.min_samples
        return enough and summary.estimates.model_id == self._model_id

    def _may_continue(self, held: Held, new: TrackSummary) -> bool:
        """Same camera and time base, never both at once, not too far apart."""
        before = held.summary
        same = before.key.camera == new.key.camera and before.epoch == new.epoch and before.key != new.key
        return same and 0 < new.first_seen - before.last.time <= self._settings.gap_s


def _cosine(new: TrackSummary, lost: TrackSummary) -> float:
    assert new.estimates.identity is not None
    assert lost.estimates.identity is not None
    return float(new.estimates.identity.template @ lost.estimates.identity.template)


def _more_if_poor(new: TrackSummary, lost: TrackSummary) -> float:
    """How much of their cosine they owe to being poor images."""
    assert new.estimates.identity is not None
    assert lost.estimates.identity is not None
    best = max(new.estimates.identity.evidence.best_quality, lost.estimates.identity.evidence.best_quality)
    return MORE_IF_POOR * max(0.0, GOOD_QUALITY - best)
