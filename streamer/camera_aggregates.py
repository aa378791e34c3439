"""Counts the tracks of cameras whose tracks are not published: how many, of what age, for how long. Pure: no clock.

An interval is a record for JSON, the same for the log of the store, for sinks and for results of recordings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamer.labels import EXPRESSIONS
from streamer.privacy import Privacy
from streamer.values import Floats, TrackSummary

AGES = (0, 13, 18, 25, 35, 45, 55, 65)  # years, lower bounds of the groups
DWELL_S = (0, 2, 5, 15, 60, 300)  # s, lower bounds

Record = dict[str, Any]


@dataclass(slots=True, eq=False)
class Tally:
    """The tracks of one camera in one interval."""

    tracks: int = 0
    described: int = 0
    ages: list[int] = field(default_factory=lambda: [0] * len(AGES))
    dwell: list[int] = field(default_factory=lambda: [0] * len(DWELL_S))
    dwell_s: float = 0.0  # sum
    expression_s: Floats = field(default_factory=lambda: np.zeros(len(EXPRESSIONS), np.float32))  # (7,)

    def add(self, summary: TrackSummary) -> None:
        """Count a track that has ended."""
        dwell_s = max(0.0, sum(one.last_seen - one.first_seen for one in summary.intervals))
        if not summary.intervals:
            dwell_s = max(0.0, summary.last.time - summary.first_seen)
        self.tracks += 1
        self.dwell[_place(DWELL_S, dwell_s)] += 1
        self.dwell_s += dwell_s
        age, expression = summary.estimates.age, summary.estimates.expression
        if not summary.described or (age is None and expression is None):
            return
        self.described += 1
        if age is not None:
            self.ages[_place(AGES, age.years)] += 1
        if expression is not None:
            self.expression_s += expression.distribution * np.float32(dwell_s)

    def record(self, settings: Privacy) -> Record:
        """Return the counts; those of too few tracks (privacy.min_tracks) are left out."""
        record: Record = {"tracks": self.tracks, "described": self.described}
        if self.described >= settings.min_tracks:
            if any(self.ages):
                record["ages"] = _groups(AGES, self.ages, "years")
            if (seconds := float(self.expression_s.sum())) > 0:
                shares = zip(EXPRESSIONS, self.expression_s.tolist(), strict=True)
                record["expressions"] = [
                    {"expression": name, "share": round(share / seconds, 3)} for name, share in shares
                ]
        if self.tracks >= settings.min_tracks:
            record["dwell"] = _groups(DWELL_S, self.dwell, "s")
            record["mean_dwell_s"] = round(self.dwell_s / self.tracks, 1)
        return record


def _place(bounds: Sequence[int], value: float) -> int:
    return max(0, sum(value >= bound for bound in bounds) - 1)


def _groups(bounds: Sequence[int], counts: Sequence[int], unit: str) -> list[Record]:
    groups = []
    for lower, upper, tracks in zip(bounds, (*bounds[1:], None), counts, strict=True):
        groups.append({f"min_{unit}": lower, f"max_{unit}": upper, "tracks": tracks})
    return groups


class Intervals:
    """The interval that is being counted, for each camera. Times are Unix time in s."""

    def __init__(self, settings: Privacy, now: float) -> None:
        self._settings = settings
        self._start = now
        self._tallies: dict[str, Tally] = {}

    def add(self, summary: TrackSummary) -> None:
        """Count a track that has ended in the present interval."""
        self._tallies.setdefault(summary.key.camera, Tally()).add(summary)

    def ended(self, now: float, cameras: Sequence[str], stopping: bool = False) -> list[tuple[str, Record]]:
        """Return the counts of the interval by camera, if it has ended, or because the streamer stops.

        `cameras`: those that are counted, also if they have seen nobody.
        """
        length = self._settings.aggregate_s
        end = (self._start // length + 1) * length
        if now < end and not stopping:
            return []
        end, begun = min(end, now), self._start
        tallies, self._tallies = self._tallies, {}
        self._start = max(now // length * length, end)
        return [
            (camera, {"start_s": begun, "end_s": end, **tallies.get(camera, Tally()).record(self._settings)})
            for camera in sorted({*cameras, *tallies})
        ]
