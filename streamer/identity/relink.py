"""Finds the lost track that a new track continues, by identity, where the tracker's motion model could not. Pure.

The end of a track is held back for `gap_s` after the face was last seen, so that its id can continue if the face
returns. A new track is compared with the held ones when it has enough analyses, whenever their number has doubled while
it counts as new, and when another end is held back. Comparisons are rare because each may make a wrong link.
"""

from dataclasses import dataclass, replace

import numpy as np

from streamer.config import Relink as Settings
from streamer.identity.impostors import Doubles, min_rate, threshold
from streamer.values import (
    CROP_SIZE,
    EndReason,
    FaceAnalysis,
    FaceCrop,
    ImpostorScores,
    TrackEnd,
    TrackSummary,
)

GROWTH = 2  # factor by which a new track's analyses must grow for the next comparison
NEW_UNTIL = 8  # analyses up to which a track is new, that is, may turn out to continue another one
# Two poor crops resemble each other whoever they show. So the cosine must be higher by POOR_PENALTY for each unit of
# quality that the better one lacks to GOOD_QUALITY (measured as the cosine that 1 % of strangers reach,
# python -m tests.benchmarks "Quality of crops").
GOOD_QUALITY = 0.6
POOR_PENALTY = 0.8
# Strangers in one recording resemble each other more than those of the table, who were photographed in different
# places: they share the light and the camera, and templates of several crops have less noise than single images
# (python -m tests.benchmarks "Strangers in one scene").
SAME_SCENE = 0.2
HELD_REASONS = (EndReason.TIMEOUT, EndReason.LEFT_FRAME)  # after other ends nobody can return in the same epoch
NO_PIXELS = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)


@dataclass(slots=True, eq=False)
class NewTrack:
    """A track that may turn out to continue another one, and its analyses, which are then moved there."""

    summary: TrackSummary  # the newest
    analyses: list[tuple[FaceCrop, FaceAnalysis]]  # crops without pixels
    next_comparison: int  # number of analyses


@dataclass(frozen=True, slots=True, eq=False)
class HeldTrack:
    """A track whose end is held back."""

    end: TrackEnd
    summary: TrackSummary  # the newest


class Relinker:
    """The new and the held tracks of all cameras."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._impostors: ImpostorScores | None = None
        self._model_id = ""
        self._new: dict[str, NewTrack] = {}
        self._held: dict[str, HeldTrack] = {}

    def use(self, impostors: ImpostorScores, model_id: str) -> None:
        """Compare templates of this model from now on, by these scores of strangers. Until then none are joined."""
        self._impostors, self._model_id = impostors, model_id

    def add_analysis(self, summary: TrackSummary, crop: FaceCrop, analysis: FaceAnalysis) -> HeldTrack | None:
        """Take in an analysis of an open track with its newest summary; return the held track that it continues."""
        track = self._new.get(summary.key.id)
        if track is None:
            if summary.estimates.samples > 1 or summary.key.id in self._held:
                return None
            track = self._new[summary.key.id] = NewTrack(summary, [], self._settings.min_samples)
        track.summary = summary
        track.analyses.append((replace(crop, pixels=NO_PIXELS), analysis))
        if summary.estimates.samples > NEW_UNTIL:
            del self._new[summary.key.id]
        elif summary.estimates.samples >= track.next_comparison:
            track.next_comparison = GROWTH * summary.estimates.samples
            return self.partner(summary)
        return None

    def hold(self, end: TrackEnd, summary: TrackSummary | None) -> bool:
        """Hold the end of a track back if another may continue it; return whether it is held."""
        fits = (
            self._impostors is not None
            and end.reason in HELD_REASONS
            and summary is not None
            and self._comparable(summary)
        )
        if not fits:
            return False
        assert summary is not None
        self._new.pop(end.key.id, None)
        self._held[end.key.id] = HeldTrack(end, summary)
        return True

    def comparable(self, camera: str) -> list[TrackSummary]:
        """Return the new tracks of a camera that can be compared, oldest first."""
        found = [track.summary for track in self._new.values() if track.summary.key.camera == camera]
        return sorted((one for one in found if self._comparable(one)), key=lambda one: one.key)

    def partner(self, new: TrackSummary) -> HeldTrack | None:
        """Return the held track that a new one continues, if it is similar enough and leads the others by `margin`."""
        if self._impostors is None or not self._comparable(new):
            return None
        candidates = [held for held in self._held.values() if self._may_continue(held, new)]
        if not candidates or min_rate(self._impostors, len(candidates)) > self._settings.false_link_rate:
            return None
        min_cosine = threshold(
            self._impostors, self._settings.false_link_rate, len(candidates), "relink.false_link_rate"
        )
        min_cosine += SAME_SCENE
        cosines = [_cosine(new, held.summary) - _poor_penalty(new, held.summary) for held in candidates]
        best, *others = sorted(range(len(candidates)), key=lambda row: -cosines[row])
        if cosines[best] < min_cosine or (others and cosines[best] - cosines[others[0]] < self._settings.margin):
            return None
        return candidates[best]

    def join(self, new: str, held: HeldTrack) -> list[tuple[FaceCrop, FaceAnalysis]]:
        """Forget both tracks, which are joined now. Returns the analyses of the new one."""
        del self._held[held.end.key.id]
        return self._new.pop(new).analyses

    def forget(self, track_id: str) -> None:
        """Forget a track that has ended."""
        self._new.pop(track_id, None)
        self._held.pop(track_id, None)

    def expired(self, camera: str, epoch: int, media_time: float) -> list[TrackEnd]:
        """Return the held ends of a camera that are over by this media time (s), or because the epoch has changed."""
        return [
            held.end
            for held in self._held.values()
            if held.end.key.camera == camera
            and (held.summary.epoch != epoch or media_time - held.summary.last.time > self._settings.gap_s)
        ]

    def overdue(self, now: float) -> list[TrackEnd]:
        """Return the held ends whose last frame arrived more than `gap_s` before `now` (s, monotonic)."""
        limit = now - self._settings.gap_s
        return [held.end for held in self._held.values() if held.summary.received < limit]

    def held_ends(self, camera: str | None = None) -> list[TrackEnd]:
        """Return all held ends (of one camera), in the order in which they were held."""
        return [held.end for held in self._held.values() if camera in (None, held.end.key.camera)]

    def _comparable(self, summary: TrackSummary) -> bool:
        identity = summary.estimates.identity
        enough = identity is not None and identity.evidence.samples >= self._settings.min_samples
        return enough and summary.estimates.model_id == self._model_id

    def _may_continue(self, held: HeldTrack, new: TrackSummary) -> bool:
        """Return whether the times allow it: same camera and epoch, no overlap, at most `gap_s` between the tracks."""
        before = held.summary
        same = before.key.camera == new.key.camera and before.epoch == new.epoch and before.key != new.key
        return same and 0 < new.first_seen - before.last.time <= self._settings.gap_s


def _cosine(new: TrackSummary, lost: TrackSummary) -> float:
    assert new.estimates.identity is not None
    assert lost.estimates.identity is not None
    return float(new.estimates.identity.template @ lost.estimates.identity.template)


def _poor_penalty(new: TrackSummary, lost: TrackSummary) -> float:
    """Return the part of the cosine that two tracks owe to the poor quality of their crops."""
    assert new.estimates.identity is not None
    assert lost.estimates.identity is not None
    best = max(new.estimates.identity.evidence.best_quality, lost.estimates.identity.evidence.best_quality)
    return float(poor_penalty(np.array(best)))


def poor_penalty(best: Doubles) -> Doubles:
    """Return the part of a cosine that two tracks owe to the poor quality (0..1) of the better one's best crop."""
    return POOR_PENALTY * np.maximum(0.0, GOOD_QUALITY - best)
