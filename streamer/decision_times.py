"""Measures how long it takes until it is decided whom a track shows: a name is of use before the person has left."""

from dataclasses import dataclass

from streamer import metrics
from streamer.values import IdentityStatus, TrackSummary


@dataclass(slots=True)
class _Open:
    first_sight: float  # s, monotonic, arrival of the first frame with the face
    decided: bool = False


class DecisionTimes:
    """The tracks that have not ended. It is used from the asyncio loop only."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def see(self, summary: TrackSummary, now: float) -> None:
        """Take in what is published of a track at `now` (s, monotonic).

        A decision that is made at the end of a track comes too late, and does not count. A track that was merged into
        another one is decided with that one.
        """
        track_id = summary.key.id
        if summary.final:
            track = self._open.pop(track_id, None)
            if track is not None and not track.decided and not summary.merged_into and summary.decision is not None:
                metrics.identity_undecided.inc()
            return
        track = self._open.get(track_id)
        if track is None:
            since = summary.last.time - summary.first_seen  # until it was confirmed
            track = self._open[track_id] = _Open(summary.received - max(0.0, since))
        if track.decided or summary.decision is None or summary.decision.status is IdentityStatus.UNDECIDED:
            return
        track.decided = True
        metrics.identity_decision_seconds.observe(max(0.0, now - track.first_sight))
