"""Gives unknown faces pseudonyms while they are seen: each track joins the visitor whom it resembles, or is a new one.

A visitor is compared by the mean cosine of a track to all of the visitor's tracks, as `cluster` compares groups of
whole recordings, and by the same threshold: at most `false_join_rate` of the visitors join a stranger's tracks. Pure.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.identity.cluster import Tracklet, join_threshold
from streamer.identity.relink import poor_penalty
from streamer.values import Floats, ImpostorScores

EMBEDDING = 512
GROWTH = 2  # factor by which the table of visitors grows
FIRST_ROWS = 64
STAYS = 0.05  # cosine below the threshold with which a track still stays with its visitor


@dataclass(frozen=True, slots=True)
class Match:
    """The visitor whom a track resembles most."""

    visitor_id: str
    similarity: float  # mean cosine to the visitor's tracks, minus the penalty for poor crops
    threshold: float  # from which they are one


class Visitors:
    """The visitors of one model, by the templates of their tracks."""

    def __init__(self, false_join_rate: float) -> None:
        self._rate = false_join_rate
        self._impostors: ImpostorScores | None = None
        self._tracks: dict[str, tuple[str, Floats, float]] = {}  # track -> visitor, template (512,), quality
        self._rows: dict[str, int] = {}  # visitor -> row
        self._names: list[str] = []  # row -> visitor; empty: free
        self._free: list[int] = []
        self._sums = np.zeros((FIRST_ROWS, EMBEDDING), np.float32)
        self._sizes = np.zeros(FIRST_ROWS, np.float32)
        self._quality = np.zeros(FIRST_ROWS, np.float32)  # 0..1, of the best crop

    def use(self, impostors: ImpostorScores) -> None:
        """Compare by these scores of strangers from now on. Without any, no tracks are joined."""
        self._impostors = impostors

    @property
    def ready(self) -> bool:
        """Whether tracks can be compared."""
        return self._impostors is not None

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, track_id: str) -> str | None:
        """Return the visitor of a track; None: it has none, or no template."""
        found = self._tracks.get(track_id)
        return None if found is None else found[0]

    def template(self, track_id: str) -> Floats | None:
        """Return the template (512,) of a track; None: it has none."""
        found = self._tracks.get(track_id)
        return found[1] if found is not None else None

    def tracklets(self, visitor_ids: Collection[str] | None = None) -> Iterator[Tracklet]:
        """Yield the tracks of these visitors (None: of all), in the order in which they came."""
        for track_id, (visitor, template, quality) in self._tracks.items():
            if visitor_ids is None or visitor in visitor_ids:
                yield Tracklet(track_id, template, quality)

    def match(self, template: Floats, quality: float, without: Collection[str] = ()) -> Match | None:
        """Return the visitor whom a track of this template (512,) and quality belongs to; None: a new one.

        `without`: visitors who cannot be meant.
        """
        if self._impostors is None or not self._rows:
            return None
        count = len(self._names)
        sizes = self._sizes[:count]
        scores = np.full(count, -2.0)
        there = sizes > 0
        means = (self._sums[:count] @ template.astype(np.float32))[there] / sizes[there]
        scores[there] = means - poor_penalty(np.maximum(self._quality[:count][there], quality).astype(np.float64))
        for name in without:
            if name in self._rows:
                scores[self._rows[name]] = -2.0
        best = int(scores.argmax())
        needed = join_threshold(self._impostors, self._rate, len(self._rows) + 1)
        return Match(self._names[best], float(scores[best]), needed) if scores[best] >= needed else None

    def may_stay(self, visitor_id: str, template: Floats, quality: float) -> bool:
        """Return whether a track of this template (512,) and quality still resembles its visitor's other tracks."""
        row = self._rows.get(visitor_id)
        if row is None or self._impostors is None:
            return True
        mean = float(self._sums[row] @ template.astype(np.float32)) / float(self._sizes[row])
        score = mean - float(poor_penalty(np.array([max(float(self._quality[row]), quality)]))[0])
        return score >= join_threshold(self._impostors, self._rate, len(self._rows) + 1) - STAYS

    def put(self, track_id: str, visitor_id: str, template: Floats, quality: float) -> None:
        """Let a track be one of a visitor, who may be new, with its newest template."""
        self.remove(track_id)
        row = self._row(visitor_id)
        self._tracks[track_id] = visitor_id, template, quality
        self._sums[row] += template
        self._sizes[row] += 1
        self._quality[row] = max(self._quality[row], quality)

    def remove(self, track_id: str) -> None:
        """Forget a track. A visitor without another one is forgotten, too."""
        found = self._tracks.pop(track_id, None)
        if found is None:
            return
        visitor, template, _ = found
        row = self._rows[visitor]
        self._sums[row] -= template
        self._sizes[row] -= 1
        if self._sizes[row] <= 0:
            del self._rows[visitor]
            self._names[row] = ""
            self._free.append(row)
            self._sums[row], self._sizes[row], self._quality[row] = 0, 0, 0

    def pairs(self, visitor_ids: Collection[str]) -> tuple[list[str], NDArray[np.float64]]:
        """Return those of these visitors who can be compared, and their mean cosines (n, n) minus penalties."""
        names = [name for name in sorted(set(visitor_ids)) if name in self._rows]
        rows = np.array([self._rows[name] for name in names], np.int64)
        means = self._sums[rows] / np.maximum(self._sizes[rows], 1)[:, None]
        quality = self._quality[rows].astype(np.float64)
        table = (means @ means.T).astype(np.float64)
        return names, table - poor_penalty(np.maximum(quality[:, None], quality[None]))

    @property
    def impostors(self) -> ImpostorScores | None:
        """The scores of strangers in use."""
        return self._impostors

    def _row(self, visitor_id: str) -> int:
        row = self._rows.get(visitor_id)
        if row is not None:
            return row
        if self._free:
            row = self._free.pop()
            self._names[row] = visitor_id
        else:
            row = len(self._names)
            self._names.append(visitor_id)
            if row == len(self._sizes):
                more = (GROWTH - 1) * row
                self._sums = np.concatenate([self._sums, np.zeros((more, EMBEDDING), np.float32)])
                self._sizes = np.concatenate([self._sizes, np.zeros(more, np.float32)])
                self._quality = np.concatenate([self._quality, np.zeros(more, np.float32)])
        self._rows[visitor_id] = row
        return row
