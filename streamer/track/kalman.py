"""Constant-velocity Kalman filters over face boxes, all of them in stacked arrays, time in seconds.

The four axes (centre x, centre y, width, height) do not influence one another, so the usual 8x8 filter is four 2x2
filters, and those need no matrices: per axis a position p, a velocity v and the covariance [[a, b], [b, c]].
Process and measurement noise grow with the box (DeepSORT, Wojke 2017; the weights are per frame at 30 frames/s), and
the measurement of a sure detection counts more (StrongSORT's NSA).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]

FRAME_RATE = 30.0  # 1/s, of the model the weights belong to
POSITION_WEIGHT = 1 / 20  # standard deviation of a position over the box's size, per frame
VELOCITY_WEIGHT = 1 / 160  # standard deviation of a velocity over the box's size, in sizes per frame, per frame
SURE_NOISE = 0.05  # share of the measurement variance that is left at score 1
MIN_SIZE = 1.0  # px
REPLAY_STEPS = 6  # in which a gap is gone through once more
REPLAY_SCORE = 0.9  # of what is supposed to have been seen on the way


class BoxFilter:
    """The filters of n boxes; row i of each answer belongs to the box that was added as the i-th of those kept."""

    def __init__(self) -> None:
        # p px, v px/s, and the covariances a, b, c; of the place and the size; of x and y; per box
        self._state: Doubles = np.zeros((5, 2, 2, 0))
        self._seen: Doubles = np.zeros((5, 2, 2, 0))  # the same after the last correction

    def __len__(self) -> int:
        return int(self._state.shape[3])

    @property
    def position(self) -> Doubles:
        """(n, 4) cx cy w h, px."""
        return self._rows(0)

    @property
    def velocity(self) -> Doubles:
        """(n, 4) of cx cy w h, px/s."""
        return self._rows(1)

    @property
    def covariance(self) -> Doubles:
        """(n, 4, 2, 2) of position and velocity, per axis."""
        a, b, c = self._rows(2), self._rows(3), self._rows(4)
        return np.stack([np.stack([a, b], -1), np.stack([b, c], -1)], -1)

    def boxes(self) -> Doubles:
        """(n, 4) x1 y1 x2 y2, px, at least MIN_SIZE wide and high."""
        return corners(self._state[0]).T

    def places(self) -> Doubles:
        """(2, 2, n) centres and sizes, px; of the filters themselves, not to be changed."""
        places: Doubles = self._state[0]
        return places

    def speeds(self) -> Doubles:
        """(2, n) how fast the centres may be, px/s: the velocity and its standard deviation together."""
        _, v, _, _, c = self._state
        speeds: Doubles = np.abs(v[0]) + np.sqrt(c[0])
        return speeds

    def add(self, boxes: Doubles) -> None:
        """Start a filter at rest for each of the boxes (k, 4) x1 y1 x2 y2. Raises ValueError if one is not finite."""
        position = measure(boxes)
        state = np.zeros((5, *position.shape))
        state[0] = position
        state[2] = (2 * POSITION_WEIGHT * position[1]) ** 2
        state[4] = (10 * VELOCITY_WEIGHT * FRAME_RATE * position[1]) ** 2
        self._state = np.concatenate([self._state, state], axis=3)
        self._seen = np.concatenate([self._seen, state], axis=3)

    def keep(self, mask: Mask) -> None:
        """Forget the boxes where the mask (n,) is False."""
        self._state = self._state[..., mask]
        self._seen = self._seen[..., mask]

    def predict(self, dt: float) -> None:
        """Move all boxes on by dt seconds. One long step equals the short ones it consists of (at constant size)."""
        _advance(self._state, dt)

    def update(self, rows: Rows | Sequence[int] | None, boxes: Doubles, scores: Doubles) -> None:
        """Correct the given rows (k,), each at most once, by detections (k, 4) x1 y1 x2 y2 with scores (k,) 0..1; None:
        all rows in their order, which needs no copies. Raises ValueError if a box or a score is not finite.
        """
        if np.count_nonzero(np.isfinite(scores)) < len(scores):
            raise ValueError("a score is not finite")
        self.correct(rows, measure(boxes), scores)

    def correct(self, rows: Rows | Sequence[int] | None, measured: Doubles, scores: Doubles) -> None:
        """`update` for what `measure` gave (2, 2, k), unchecked."""
        if rows is None:
            _correct(self._state, measured, scores)
            self._seen = self._state.copy()
            return
        state = self._state[..., rows]
        _correct(state, measured, scores)
        self._state[..., rows] = self._seen[..., rows] = state

    def replay(self, rows: Rows | Sequence[int], seconds: Doubles, boxes: Doubles) -> None:
        """Go through the time since the given rows (k,) were last corrected, `seconds` (k,) ago, once more: as if what
        they follow had been seen on the straight way to the boxes (k, 4) x1 y1 x2 y2, which `update` then takes.

        So the velocity is that of the gap, not what it was before or what the jump at its end makes of it: the
        observation-centric re-update of OC-SORT (Cao 2023). Raises ValueError if a box is not finite.
        """
        state = self._seen[..., rows]
        begin, end = state[0].copy(), measure(boxes)
        step = seconds / REPLAY_STEPS
        scores = np.full(len(seconds), REPLAY_SCORE)
        for number in range(1, REPLAY_STEPS):
            _advance(state, step)
            _correct(state, begin + (end - begin) * number / REPLAY_STEPS, scores)
        _advance(state, step)
        self._state[..., rows] = state

    def stop(self) -> None:
        """Let all boxes stay where they are."""
        self._state[1] = 0

    def hold_size(self, rows: Rows | Sequence[int]) -> None:
        """Let the given boxes keep their size while they move: what grew before it was lost need not go on growing."""
        self._state[1, 1, :, rows] = 0

    def _rows(self, quantity: int) -> Doubles:
        rows: Doubles = self._state[quantity].reshape(4, -1).T.copy()
        return rows


def measure(boxes: Doubles) -> Doubles:
    """(2, 2, n) centres and sizes of the boxes (n, 4) x1 y1 x2 y2, at least MIN_SIZE wide and high. Raises ValueError
    if one is not finite."""
    if np.count_nonzero(np.isfinite(boxes)) < boxes.size:
        raise ValueError("a box is not finite")
    low, high = boxes.T.reshape(2, 2, -1)
    measured = np.empty((2, 2, len(boxes)))
    np.add(low, high, out=measured[0])
    measured[0] *= 0.5
    np.subtract(high, low, out=measured[1])
    np.maximum(measured[1], MIN_SIZE, out=measured[1])
    return measured


def corners(places: Doubles, margin: float = 0.0) -> Doubles:
    """(4, n) x1 y1 x2 y2 of centres and sizes (2, 2, n), larger by `margin` of their size on each side."""
    middle, size = places
    half = (0.5 + margin) * size
    return np.concatenate([middle - half, middle + half])


def _advance(state: Doubles, dt: float | Doubles) -> None:
    """Bring states (5, 2, 2, n) on by dt seconds, one for all or (n,), in place."""
    p, v, a, b, c = state
    square = p[1] * p[1]
    steps = dt * FRAME_RATE
    more = np.maximum(steps - 1, 0.0)  # noise of earlier frames that the velocity carries on; none within one frame
    noise = (VELOCITY_WEIGHT * FRAME_RATE) ** 2
    turned = dt * c  # what the velocity's spread adds
    a += dt * (b + b + turned)
    a += (steps * POSITION_WEIGHT**2 + dt**2 * more * (2 * steps - 1) / (6 * steps) * noise) * square
    b += turned
    if np.any(more):
        b += (dt * more / 2 * noise) * square
    c += (steps * noise) * square
    p += dt * v
    np.maximum(p[1], MIN_SIZE, out=p[1])


def _correct(state: Doubles, measured: Doubles, scores: Doubles) -> None:
    """Correct states (5, 2, 2, k) by the measurements (2, 2, k) with scores (k,), in place."""
    p, v, a, b, c = state
    noise = p[1] * p[1]
    noise *= POSITION_WEIGHT**2 * np.maximum(1 - scores, SURE_NOISE)
    spread = a + noise
    gain_p, gain_v, off = a / spread, b / spread, measured - p
    p += gain_p * off
    v += gain_v * off
    c -= gain_v * b
    left = 1 - gain_p
    a *= left
    b *= left
    np.maximum(p[1], MIN_SIZE, out=p[1])
