"""The face of a track as it is compared with people, live or past, and what a change of the gallery does to it."""

from dataclasses import dataclass

import numpy as np

from streamer.identity.persons import NOBODY
from streamer.people.rivals import spans_of_live
from streamer.store.past import PastTrack, Span
from streamer.values import Floats, IdentityDecision, IdentityReason, IdentityStatus, TrackSummary

NOT_SEARCHED = IdentityDecision(
    IdentityStatus.UNDECIDED, "", IdentityReason.TOO_LITTLE_EVIDENCE, (), None, None, 0, 0.0, revision=0
)
NO_FACE = np.zeros(512, np.float32)  # is compared with nobody


@dataclass(frozen=True, slots=True, eq=False)
class TrackFace:
    """A track, live or past, with its face."""

    track_id: str
    camera: str
    joined: tuple[str, ...]  # ids of the tracks that are one with it
    model_id: str
    samples: int  # analyses behind the template
    quality: float  # 0..1
    template: Floats | None  # (512,) unit length; None: not known
    decision: IdentityDecision | None
    past: PastTrack | None = None  # None: it is live, or ended a moment ago
    spans: tuple[Span, ...] = ()  # when it was there


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of the gallery does, or would do, to a track."""

    track_id: str
    camera: str
    before: IdentityDecision | None
    after: IdentityDecision
    past: PastTrack | None = None  # None: it is live


def live_face(summary: TrackSummary) -> TrackFace:
    """Return the face of a live track."""
    identity = summary.estimates.identity
    usable = identity is not None and not any(one in NOBODY for one in summary.undescribed)
    return TrackFace(
        track_id=summary.key.id,
        camera=summary.key.camera,
        joined=(summary.key.id, *(one.track_id for one in summary.intervals)),
        model_id=summary.estimates.model_id,
        samples=summary.estimates.samples,
        quality=identity.evidence.best_quality if identity is not None else 0.0,
        template=identity.template if identity is not None and usable else None,
        decision=summary.decision,
        spans=spans_of_live(summary),
    )
