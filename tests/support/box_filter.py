"""The filter of boxes with a look at what the tracker does not need: velocities, covariances, checked updates."""

from collections.abc import Sequence

import numpy as np

from streamer.track.kalman import BoxFilter, Doubles, Rows, measure


class InspectedFilter(BoxFilter):
    @property
    def velocity(self) -> Doubles:
        """(n, 4) of cx cy w h, px/s."""
        return self._rows(1)

    @property
    def covariance(self) -> Doubles:
        """(n, 4, 2, 2) of position and velocity, per axis."""
        a, b, c = self._rows(2), self._rows(3), self._rows(4)
        return np.stack([np.stack([a, b], -1), np.stack([b, c], -1)], -1)

    def update(self, rows: Rows | Sequence[int] | None, boxes: Doubles, scores: Doubles) -> None:
        """Correct the rows (k,) by boxes (k, 4) x1 y1 x2 y2 with scores (k,). Raises ValueError as `measure` does."""
        self.correct(rows, measure(boxes), scores)
