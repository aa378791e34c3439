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

_SIZES = [2, 3, 2, 3]  # the size that scales the noise of cx, cy, w, h


class BoxFilter:
    """The filters of n boxes; row i of each answer belongs to the box that was added as the i-th of those kept."""

    def __init__(self) -> None:
        self._state: Doubles = np.zeros((5, 0, 4))  # p px, v px/s, and the covariances a, b, c; per box and axis
        self._seen: Doubles = np.zeros((5, 0, 4))  # the same after the last correction

    def __len__(self) -> int:
        return int(self._state.shape[1])

    @property
    def position(self) -> Doubles:
        """(n, 4) cx cy w h, px."""
        position: Doubles = self._state[0].copy()
        return position

    @property
    def velocity(self) -> Doubles:
        """(n, 4) of cx cy w h, px/s."""
        velocity: Doubles = self._state[1].copy()
        return velocity

    @property
    def covariance(self) -> Doubles:
        """(n, 4, 2, 2) of position and velocity, per axis."""
        _, _, a, b, c = self._state
        return np.stack([np.stack([a, b], -1), np.stack([b, c], -1)], -1)

    def boxes(self) -> Doubles:
        """(n, 4) x1 y1 x2 y2, px, at least MIN_SIZE wide and high."""
        return to_corners(self._state[0])

    def add(self, boxes: Doubles) -> None:
        """Start a filter at rest for each of the boxes (k, 4) x1 y1 x2 y2. Raises ValueError if one is not finite."""
        position = _measured(boxes)
        size = position[:, _SIZES]
        state = np.zeros((5, len(position), 4))
        state[0] = position
        state[2] = (2 * POSITION_WEIGHT * size) ** 2
        state[4] = (10 * VELOCITY_WEIGHT * FRAME_RATE * size) ** 2
        self._state = np.concatenate([self._state, state], axis=1)
        self._seen = np.concatenate([self._seen, state], axis=1)

    def keep(self, mask: Mask) -> None:
        """Forget the boxes where the mask (n,) is False."""
        self._state = self._state[:, mask]
        self._seen = self._seen[:, mask]

    def predict(self, dt: float) -> None:
        """Move all boxes on by dt seconds. One long step equals the short ones it consists of (at constant size)."""
        _advance(self._state, dt)

    def update(self, rows: Rows | Sequence[int], boxes: Doubles, scores: Doubles) -> None:
        """Correct the given rows (k,), each at most once, by detections (k, 4) x1 y1 x2 y2 with scores (k,) 0..1.

        Raises ValueError if a box or a score is not finite.
        """
        measured = _measured(boxes)
        if not np.isfinite(scores).all():
            raise ValueError("a score is not finite")
        self._state[:, rows] = self._seen[:, rows] = _corrected(self._state[:, rows], measured, scores)

    def replay(self, rows: Rows | Sequence[int], seconds: Doubles, boxes: Doubles) -> None:
        """Go through the time since the given rows (k,) were last corrected, `seconds` (k,) ago, once more: as if what
        they follow had been seen on the straight way to the boxes (k, 4) x1 y1 x2 y2, which `update` then takes.

        So the velocity is that of the gap, not what it was before or what the jump at its end makes of it: the
        observation-centric re-update of OC-SORT (Cao 2023). Raises ValueError if a box is not finite.
        """
        state = self._seen[:, rows].copy()
        begin, end = state[0].copy(), _measured(boxes)
        step = seconds[:, None] / REPLAY_STEPS
        scores = np.full(len(end), REPLAY_SCORE)
        for number in range(1, REPLAY_STEPS):
            _advance(state, step)
            state = _corrected(state, begin + (end - begin) * number / REPLAY_STEPS, scores)
        _advance(state, step)
        self._state[:, rows] = state

    def stop(self) -> None:
        """Let all boxes stay where they are."""
        self._state[1] = 0

    def hold_size(self, rows: Rows | Sequence[int]) -> None:
        """Let the given boxes keep their size while they move: what grew before it was lost need not go on growing."""
        self._state[1, rows, 2:] = 0

    def distances(self, rows: Rows | Sequence[int], boxes: Doubles) -> Doubles:
        """(k, m) squared Mahalanobis distance of the given rows (k,) to each of the boxes (m, 4) x1 y1 x2 y2."""
        p, _, a, _, _ = self._state[:, rows]
        spread = a + (POSITION_WEIGHT * p[:, _SIZES]) ** 2
        off = to_centres(boxes)[None] - p[:, None]
        squared: Doubles = np.einsum("kma,ka->km", off**2, 1 / spread)
        return squared


def to_centres(boxes: Doubles) -> Doubles:
    """(n, 4) x1 y1 x2 y2 as cx cy w h."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def to_corners(centres: Doubles) -> Doubles:
    """(n, 4) cx cy w h as x1 y1 x2 y2."""
    middle, half = centres[:, :2], centres[:, 2:] / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def _measured(boxes: Doubles) -> Doubles:
    """Boxes as cx cy w h, at least MIN_SIZE wide and high."""
    if not np.isfinite(boxes).all():
        raise ValueError("a box is not finite")
    centres = to_centres(np.asarray(boxes, np.float64))
    np.maximum(centres[:, 2:], MIN_SIZE, out=centres[:, 2:])
    return centres


def _advance(state: Doubles, dt: float | Doubles) -> None:
    """Bring states (5, n, 4) on by dt seconds, one for all or (n, 1), in place."""
    p, v, a, b, c = state
    size = p[:, _SIZES]
    steps = dt * FRAME_RATE
    more = np.maximum(steps - 1, 0)  # noise of earlier frames that the velocity carries on; none within one frame
    noise_p = (POSITION_WEIGHT * size) ** 2
    noise_v = (VELOCITY_WEIGHT * FRAME_RATE * size) ** 2
    a += 2 * dt * b + dt**2 * c + steps * noise_p + dt**2 * more * (2 * steps - 1) / (6 * steps) * noise_v
    b += dt * c + dt * more / 2 * noise_v
    c += steps * noise_v
    p += dt * v
    np.maximum(p[:, 2:], MIN_SIZE, out=p[:, 2:])


def _corrected(state: Doubles, measured: Doubles, scores: Doubles) -> Doubles:
    """States (5, k, 4) after the measurements (k, 4) cx cy w h with scores (k,)."""
    p, v, a, b, c = state
    noise = (POSITION_WEIGHT * p[:, _SIZES]) ** 2 * np.maximum(1 - scores, SURE_NOISE)[:, None]
    gain_p = a / (a + noise)
    gain_v = b / (a + noise)
    off = measured - p
    p = p + gain_p * off
    np.maximum(p[:, 2:], MIN_SIZE, out=p[:, 2:])
    return np.stack([p, v + gain_v * off, a * (1 - gain_p), b * (1 - gain_p), c - gain_v * b])
