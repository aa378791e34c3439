"""Write why each face was analysed or not, as JSON lines, for `streamer analyze --explain`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from faceanalytics.files import JsonLines
from streamer.recorded.records import answer_record, box, size_record
from streamer.values import Choice, FaceCrop, Observation, Quality, SendDecision, TrackKey, TrackState, TrackSummary


@dataclass(slots=True, eq=False)
class _Counts:
    """Counts of one track that has not ended."""

    decisions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    first_sent: float | None = None  # s, media time


class Explanation:
    """Writes explain.jsonl, in the order of the frames; only the counts of open tracks are kept in memory.

    In every line, `media_time_s` is that of the frame at which the line was written.
    """

    def __init__(self, lines: JsonLines, frame_size: tuple[int, int]) -> None:
        """`frame_size`: that of the header, px."""
        self._lines = lines
        self._frame_size = frame_size
        self._open: dict[str, _Counts] = {}  # by track id
        self._now = 0.0  # s, media time of the frame

    def observe(self, observation: Observation) -> None:
        """Write the decision on each face of a frame, and the boxes of tracks that are not confirmed or not in view."""
        self._now = observation.media_time
        for choice in observation.choices:
            self._write("choice", choice.key, _choice(choice))
            counts = self._open.setdefault(choice.key.id, _Counts())
            counts.decisions[choice.decision.value] += 1
            if choice.decision is SendDecision.UNUSABLE:
                counts.reasons.update(reason.value for reason in choice.quality.reasons)
            if choice.decision is SendDecision.SENT and counts.first_sent is None:
                counts.first_sent = self._now
        for track in observation.tracks:
            if track.state is not TrackState.CONFIRMED or track.detection is None:
                size = size_record(observation.frame_size, self._frame_size)
                self._write("state", track.key, {"state": track.state.value, "box": box(track.box), **size})

    def answer(self, crop: FaceCrop, summaries: Sequence[TrackSummary]) -> None:
        """Write the state of the crop's track after its analysis, and that of a track that it continues."""
        for summary in summaries:
            if not summary.final:
                record = {"crop_media_time_s": _time(crop.media_time), **answer_record(summary)}
                self._write("answer", summary.key, record)

    def end(self, key: TrackKey) -> None:
        """Write the summary of an ended track: how often each decision was made, and when its first crop was sent."""
        counts = self._open.pop(key.id, _Counts())
        record = {
            "decisions": dict(sorted(counts.decisions.items())),
            "unusable": dict(sorted(counts.reasons.items())),
            "first_sent_s": None if counts.first_sent is None else _time(counts.first_sent),
        }
        self._write("track", key, record)

    def _write(self, kind: str, key: TrackKey, record: dict[str, Any]) -> None:
        common = {"type": kind, "media_time_s": _time(self._now), "track_id": key.id, "number": key.number}
        self._lines.write(common | record)


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "crop_media_time_s": _time(choice.media_time),
        "decision": choice.decision.value,
        "expected_gain": round(choice.expected_gain, 3),
        "quality": _quality(choice.quality),
    }


def _quality(quality: Quality) -> dict[str, Any]:
    return {
        "value": round(quality.value, 4),
        "reasons": [reason.value for reason in quality.reasons],
        "factors": {name: round(value, 4) for name, value in quality.factors.items()},
        "eye_distance_px": round(quality.eye_distance, 2),
        "yaw_deg": round(quality.yaw, 1) + 0.0,
        "pitch_deg": round(quality.pitch, 1) + 0.0,
        "sharpness": round(quality.sharpness, 5),
    }


def _time(seconds: float) -> float:
    return round(seconds, 6)
