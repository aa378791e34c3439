"""Decides which summaries of a track are events of the log. Pure: no clock, no database."""

from streamer.store.values import LogKind
from streamer.values import EndReason, TrackSummary

ENDED = 10_000  # newest ended tracks that are remembered, to ignore what comes late


class Chronicle:
    """Follows the tracks of this run. It accepts the summaries that the hub accepts, see Hub.offer."""

    def __init__(self) -> None:
        # track id -> its revision, that of its decision, and its visitor
        self._open: dict[str, tuple[int, tuple[int, str]]] = {}
        self._ended: dict[str, None] = {}  # oldest first

    def take(self, summary: TrackSummary) -> list[LogKind] | None:
        """Return the events that a summary makes, often none; None: it is out of date and must not be published."""
        track_id = summary.key.id
        known = self._open.get(track_id)
        if track_id in self._ended or (known is not None and summary.revision < known[0]):
            return None
        visitor = summary.visitor.visitor_id if summary.visitor else ""
        decided = (summary.decision.revision if summary.decision else 0, visitor)
        kinds = [] if known else [LogKind.NEW]
        if summary.final:
            kinds.append(_end(summary))
            self._open.pop(track_id, None)
            self._forget(track_id)
            return kinds
        if known and decided != known[1]:
            kinds.append(LogKind.DECISION)
        self._open[track_id] = summary.revision, decided
        return kinds

    def _forget(self, track_id: str) -> None:
        self._ended[track_id] = None
        if len(self._ended) > ENDED:
            del self._ended[next(iter(self._ended))]


def _end(summary: TrackSummary) -> LogKind:
    if summary.merged_into:
        return LogKind.MERGE
    return LogKind.SPLIT if summary.end_reason is EndReason.SPLIT else LogKind.END
