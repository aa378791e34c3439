"""Filter all face boxes at once with constant-velocity Kalman filters in stacked arrays; time is in seconds.

The four axes (centre x, centre y, width, height) are independent, so the usual 8x8 filter splits into four 2x2 filters,
which need no matrices: per axis a position p, a velocity v and the covariance [[a, b], [b, c]]. Process and measurement
noise grow with the box (DeepSORT, Wojke 2017; the weights are per frame at 30 frames/s), and measurements with a high
score have less noise (NSA of StrongSORT).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]

FRAME_RATE = 30.0  # 1/s, for which the weights are stated
POSITION_WEIGHT = 1 / 20  # standard deviation of a position over the box's size, per frame
VELOCITY_WEIGHT = 1 / 160  # standard deviation of a velocity over the box's size, in sizes per frame, per frame
SURE_NOISE = 0.05  # share of the measurement variance that remains at score 1
MIN_SIZE = 1.0  # px
REPLAY_STEPS = 6  # steps in which a gap is replayed
REPLAY_SCORE = 0.9  # score of the virtual measurements of a replay


class BoxFilter:
    """The filters of n boxes. Rows are in the order in which the boxes were added, without those dropped by `keep`."""

    def __init__(self) -> None:
        # axes: p px, v px/s and the covariances a, b, c; centre and size; x and y; box
        self._state: Doubles = np.zeros((5, 2, 2, 0))
        self._seen: Doubles = np.zeros((5, 2, 2, 0))  # the same after the last correction

    def __len__(self) -> int:
        return int(self._state.shape[3])

    @property
    def position(self) -> Doubles:
        """Return (n, 4) cx cy w h, px."""
        return self._rows(0)

    def boxes(self) -> Doubles:
        """Return (n, 4) x1 y1 x2 y2, px, at least MIN_SIZE wide and high."""
        return corners(self._state[0]).T

    def places(self) -> Doubles:
        """Return the centres and sizes (2, 2, n), px, as a view of the state: do not modify it."""
        places: Doubles = self._state[0]
        return places

    def speeds(self) -> Doubles:
        """Return the upper bound (2, n) of the centres' speeds, px/s: velocity plus its standard deviation."""
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
        """Drop the boxes where the mask (n,) is False."""
        self._state = self._state[..., mask]
        self._seen = self._seen[..., mask]

    def predict(self, dt: float) -> None:
        """Predict all boxes dt seconds ahead. At constant size, one long step equals several short ones."""
        _advance(self._state, dt)

    def correct(self, rows: Rows | Sequence[int] | None, measured: Doubles, scores: Doubles) -> None:
        """Correct the given rows (k,), each at most once, by the result of `measure` (2, 2, k), with scores (k,) 0..1.

        None: all rows in their order, which needs no copies. Nothing is checked.
        """
        if rows is None:
            _correct(self._state, measured, scores)
            self._seen = self._state.copy()
            return
        state = self._state[..., rows]
        _correct(state, measured, scores)
        self._state[..., rows] = self._seen[..., rows] = state

    def replay(self, rows: Rows | Sequence[int], seconds: Doubles, boxes: Doubles) -> None:
        """Replay the time since the given rows (k,) were last corrected, `seconds` (k,) ago, with virtual measurements
        on the straight line to the boxes (k, 4) x1 y1 x2 y2, which `correct` then takes.

        The velocity becomes that of the gap, instead of the one before it or one that the jump at its end suggests:
        the observation-centric re-update of OC-SORT (Cao 2023). Raises ValueError if a box is not finite.
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
        """Set all velocities to zero."""
        self._state[1] = 0

    def scale(self, across: float, down: float) -> None:
        """Carry all boxes over into a frame whose width and height are these multiples of the present one's."""
        factor = np.array([across, down])[:, None]
        for state in (self._state, self._seen):
            state[:2] *= factor
            state[2:] *= factor**2

    def hold(self, rows: Rows | Sequence[int]) -> None:
        """Put the given boxes back where they were last corrected, at rest."""
        state = self._seen[..., rows]
        state[1] = 0
        self._state[..., rows] = state

    def ahead(self, dt: float) -> tuple[Doubles, Doubles]:
        """Return all boxes (n, 4) x1 y1 x2 y2, px, `dt` seconds ahead, and how uncertain their centres will be.

        The second value (n,) is the standard deviation along the less certain axis, in sizes of the face.
        """
        state = self._state
        if dt > 0:
            state = state.copy()
            _advance(state, dt)
        spread = np.sqrt(state[2, 0]) / state[0, 1]
        return corners(state[0]).T, spread.max(axis=0, initial=0.0)

    def hold_size(self, rows: Rows | Sequence[int]) -> None:
        """Keep the size of the given boxes while they move: a lost face that was growing may not keep growing."""
        self._state[1, 1, :, rows] = 0

    def _rows(self, quantity: int) -> Doubles:
        rows: Doubles = self._state[quantity].reshape(4, -1).T.copy()
        return rows


def measure(boxes: Doubles) -> Doubles:
    """Convert boxes (n, 4) x1 y1 x2 y2 to centres and sizes (2, 2, n), at least MIN_SIZE wide and high.

    Raises ValueError if a box is not finite.
    """
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
    """Convert centres and sizes (2, 2, n) to (4, n) x1 y1 x2 y2, enlarged by `margin` of their size on each side."""
    middle, size = places
    half = (0.5 + margin) * size
    return np.concatenate([middle - half, middle + half])


def _advance(state: Doubles, dt: float | Doubles) -> None:
    """Advance states (5, 2, 2, n) by dt seconds, one value for all or (n,), in place."""
    p, v, a, b, c = state
    square = p[1] * p[1]
    steps = dt * FRAME_RATE
    more = np.maximum(steps - 1, 0.0)  # noise of earlier frames that the velocity carries on; zero within one frame
    noise = (VELOCITY_WEIGHT * FRAME_RATE) ** 2
    turned = dt * c  # added by the variance of the velocity
    a += dt * (b + b + turned)
    a += (steps * POSITION_WEIGHT**2 + dt**2 * more * (2 * steps - 1) / (6 * steps) * noise) * square
    b += turned
    if np.any(more):
        b += (dt * more / 2 * noise) * square
    c += (steps * noise) * square
    p += dt * v
    np.maximum(p[1], MIN_SIZE, out=p[1])


def _correct(state: Doubles, measured: Doubles, scores: Doubles) -> None:
    """Correct states (5, 2, 2, k) with measurements (2, 2, k) of scores (k,), in place."""
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
