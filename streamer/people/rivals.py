"""Names a person once among past tracks that were there at the same time. Pure.

Which faces were in one frame is not stored. Two tracks of a camera were, if both were followed for longer than the
tracker keeps a face that it does not see.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from streamer.config import StreamerConfig
from streamer.identity.one_per_frame import EVERY_CAMERA, hidden
from streamer.store.past import Span, spans_from
from streamer.values import IdentityDecision, IdentityStatus, TrackSummary

Face = TypeVar("Face")

LATE_S = 5.0  # tracks come in the order of their births, give or take this


def spans_of_live(track: TrackSummary) -> tuple[Span, ...]:
    """Return when a live track was there, as `spans_of` does."""
    known = track.first_captured_at.timestamp() if track.first_captured_at is not None else None
    there = [(one.first_seen, one.last_seen) for one in track.intervals]
    return spans_from(track.key.id, known, track.first_seen, there or [(track.first_seen, track.last.time)])


@dataclass(slots=True)
class _Claim(Generic[Face]):
    face: Face
    track_id: str
    spans: tuple[Span, ...]
    decision: IdentityDecision

    def rank(self) -> tuple[bool, float, str]:
        best = self.decision.candidates[0].similarity if self.decision.candidates else -1.0
        return not self.decision.confirmed, -best, self.track_id


class Rivals(Generic[Face]):
    """Takes tracks with the decisions that searches made, and gives them back when no later one can compete."""

    def __init__(self, config: StreamerConfig, exempt: Container[str]) -> None:
        """`exempt`: ids of people who may be named twice in a frame."""
        self._mirrors = {*config.gallery.mirrors}
        self._exempt = exempt
        self._hidden_s = config.track.lost_s
        self._open: dict[str, list[_Claim[Face]]] = {}  # by camera

    def add(
        self, face: Face, camera: str, track_id: str, spans: tuple[Span, ...], decision: IdentityDecision
    ) -> list[tuple[Face, IdentityDecision]]:
        """Take in a track, by its birth. Returns tracks with the decisions that count for them."""
        competes = decision.status is IdentityStatus.IDENTIFIED and bool(spans)
        if not competes or {camera, EVERY_CAMERA} & self._mirrors or decision.person_id in self._exempt:
            return [(face, decision)]
        before = self._open.setdefault(camera, [])
        settled: list[tuple[Face, IdentityDecision]] = []
        if before and max(one.spans[-1][1] for one in before) + LATE_S < spans[0][0]:
            settled = self._settle(before)
            before.clear()
        before.append(_Claim(face, track_id, spans, decision))
        return settled

    def close(self) -> list[tuple[Face, IdentityDecision]]:
        """Return all tracks that are left."""
        left = [one for claims in self._open.values() for one in self._settle(claims)]
        self._open.clear()
        return left

    def _settle(self, claims: Sequence[_Claim[Face]]) -> list[tuple[Face, IdentityDecision]]:
        named: dict[str, list[_Claim[Face]]] = {}
        found = []
        for one in sorted(claims, key=_Claim.rank):
            others = named.setdefault(one.decision.person_id or one.decision.person, [])
            rival = next((other for other in others if self._beside(one, other)), None)
            if rival is None or one.decision.confirmed:
                others.append(one)
                found.append((one.face, one.decision))
            else:
                found.append((one.face, hidden(one.decision, rival.track_id)))
        return found

    def _beside(self, one: _Claim[Face], other: _Claim[Face]) -> bool:
        return any(
            min(end, other_end) - max(start, other_start) > self._hidden_s
            for start, end in one.spans
            for other_start, other_end in other.spans
        )
