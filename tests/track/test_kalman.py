"""The stacked filters against filterpy's general one, and against what they promise."""

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter

from streamer.track.kalman import (
    FRAME_RATE,
    MIN_SIZE,
    POSITION_WEIGHT,
    SURE_NOISE,
    VELOCITY_WEIGHT,
    Doubles,
    corners,
    measure,
)
from tests.support.box_filter import InspectedFilter


def to_centres(boxes: Doubles) -> Doubles:
    """(n, 4) x1 y1 x2 y2 as cx cy w h."""
    centres: Doubles = measure(boxes).reshape(4, -1).T
    return centres


def to_corners(centres: Doubles) -> Doubles:
    """(n, 4) cx cy w h as x1 y1 x2 y2."""
    return corners(centres.T.reshape(2, 2, -1)).T


class Reference:
    """One box in filterpy's 8x8 filter: x = (cx, cy, w, h, and their velocities)."""

    def __init__(self, box: Doubles) -> None:
        self._filter = KalmanFilter(dim_x=8, dim_z=4)
        self._filter.H = np.eye(4, 8)
        self._filter.x = np.concatenate([to_centres(box[None])[0], np.zeros(4)])[:, None]
        size = self._sizes()
        self._filter.P = np.diag(
            np.concatenate([(2 * POSITION_WEIGHT * size) ** 2, (10 * VELOCITY_WEIGHT * FRAME_RATE * size) ** 2])
        )

    def _sizes(self) -> Doubles:
        width, height = self._filter.x[2:4, 0]
        return np.array([width, height, width, height])

    def predict(self, dt: float) -> None:
        """Q of n frames of 1/30 s is the noise of one, brought through the frames that follow it, and summed."""
        n = dt * FRAME_RATE
        position = np.diag((POSITION_WEIGHT * self._sizes()) ** 2)
        velocity = np.diag((VELOCITY_WEIGHT * FRAME_RATE * self._sizes()) ** 2)
        carried = max(n - 1, 0)
        both = dt * carried / 2 * velocity
        far = n * position + dt**2 * carried * (2 * n - 1) / (6 * n) * velocity
        self._filter.predict(F=np.eye(8) + dt * np.eye(8, k=4), Q=np.block([[far, both], [both, n * velocity]]))
        self._keep_size()

    def update(self, box: Doubles, score: float) -> None:
        noise = (POSITION_WEIGHT * self._sizes()) ** 2 * max(1 - score, SURE_NOISE)
        self._filter.update(to_centres(box[None])[0], R=np.diag(noise))
        self._keep_size()

    def _keep_size(self) -> None:
        """The one rule of ours that no linear filter knows."""
        self._filter.x[2:4] = np.maximum(self._filter.x[2:4], MIN_SIZE)

    def difference(self, position: Doubles, velocity: Doubles, covariance: Doubles) -> float:
        """Largest difference of the state, and of the covariance in units of its scale."""
        whole = np.zeros((8, 8))
        for axis, ((a, b), (_, c)) in enumerate(covariance):
            whole[axis, axis], whole[axis + 4, axis + 4] = a, c
            whole[axis, axis + 4] = whole[axis + 4, axis] = b
        state = np.abs(np.concatenate([position, velocity]) - self._filter.x[:, 0]).max()
        scale = np.sqrt(np.outer(np.diag(self._filter.P), np.diag(self._filter.P)))
        return float(max(state, (np.abs(whole - self._filter.P) / scale).max()))


def random_box(random: np.random.Generator) -> Doubles:
    corner, size = random.uniform(0, 1000, 2), random.uniform(30, 200, 2)
    return np.concatenate([corner, corner + size])


@pytest.mark.parametrize("seed", range(5))
def test_the_filter_equals_filterpy_over_random_motion_gaps_and_time_steps(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.stack([random_box(random) for _ in range(12)])
    filters, references = InspectedFilter(), [Reference(box) for box in truth]
    filters.add(truth)
    for _ in range(120):
        dt = float(random.choice([1 / 240, 1 / 60, 1 / 30, 0.04, 1 / 12.5, random.uniform(0.001, 0.9)]))
        filters.predict(dt)
        centres = to_centres(truth) + random.normal(0, 3, truth.shape)
        truth = to_corners(np.concatenate([centres[:, :2], centres[:, 2:].clip(20, 300)], axis=1))
        seen = np.flatnonzero(random.random(len(truth)) < 0.6)  # the others have a gap
        scores = random.uniform(0, 1, len(seen))
        filters.update(seen, truth[seen], scores)
        for reference in references:
            reference.predict(dt)
        for row, score in zip(seen, scores, strict=True):
            references[row].update(truth[row], score)
        states = zip(references, filters.position, filters.velocity, filters.covariance, strict=True)
        assert max(reference.difference(*state) for reference, *state in states) < 1e-9


@pytest.mark.parametrize("frames", [1, 2, 7, 30])
def test_one_long_step_equals_the_short_ones_it_consists_of(frames: int) -> None:
    long, short = InspectedFilter(), InspectedFilter()
    for filters in (long, short):
        filters.add(np.array([[100.0, 100, 180, 200]]))
        filters.predict(1 / 30)
        filters.update([0], np.array([[104.0, 97, 184, 197]]), np.array([0.5]))  # moved, of the same size
    long.predict(frames / FRAME_RATE)
    for _ in range(frames):
        short.predict(1 / FRAME_RATE)
    np.testing.assert_allclose(long.position, short.position, atol=1e-9)
    np.testing.assert_allclose(long.velocity, short.velocity, atol=1e-9)
    np.testing.assert_allclose(long.covariance, short.covariance, rtol=1e-12)


def test_a_step_shorter_than_a_frame_only_adds_uncertainty() -> None:
    filters = InspectedFilter()
    filters.add(np.array([[0.0, 0, 50, 60]]))
    before = filters.covariance
    filters.predict(1e-4)
    after = filters.covariance
    assert (np.linalg.eigvalsh(after) > 0).all()
    assert (np.diagonal(after, axis1=2, axis2=3) > np.diagonal(before, axis1=2, axis2=3)).all()


def test_a_steady_motion_is_foreseen() -> None:
    filters = InspectedFilter()
    box, step = np.array([[0.0, 0, 50, 60]]), np.array([[4.0, 2, 4, 2]])
    filters.add(box)
    for frame in range(1, 60):
        filters.predict(0.04)
        filters.update([0], box + frame * step, np.array([0.9]))
    np.testing.assert_allclose(filters.velocity[0, :2], [100, 50], rtol=0.02)
    filters.predict(0.4)
    np.testing.assert_allclose(filters.boxes(), box + 69 * step, atol=1.0)


def test_after_a_gap_the_velocity_is_that_of_the_way_through_it() -> None:
    """Two boxes stand still, are not seen for a while and for a longer while, and have moved at 60 and 30 px/s."""
    filters, plain = InspectedFilter(), InspectedFilter()
    boxes = np.array([[0.0, 0, 50, 60], [300, 0, 350, 60]])
    for one in (filters, plain):
        one.add(boxes)
        for _ in range(30):
            one.predict(1 / 30)
            one.update([0, 1], boxes, np.array([0.9, 0.9]))
        one.predict(0.5)
        one.update([1], boxes[1:], np.array([0.9]))
        one.predict(0.5)
    moved = boxes + np.array([[60.0, 0, 60, 0], [15, 0, 15, 0]])
    filters.replay([0, 1], np.array([1.0, 0.5]), moved)
    for one in (filters, plain):
        one.update([0, 1], moved, np.array([0.9, 0.9]))
        assert (np.linalg.eigvalsh(one.covariance) > 0).all()
    np.testing.assert_allclose(filters.velocity[:, 0], [60, 30], rtol=0.2)
    np.testing.assert_allclose(filters.boxes(), moved, atol=1)
    assert (filters.covariance[:, :2, 1, 1] < plain.covariance[:, :2, 1, 1]).all()


def test_rows_stay_in_order_when_some_are_forgotten() -> None:
    filters = InspectedFilter()
    boxes = np.array([[0.0, 0, 10, 10], [100, 0, 120, 10], [200, 0, 230, 10]])
    filters.add(boxes[:2])
    filters.add(boxes[2:])
    filters.keep(np.array([True, False, True]))
    assert len(filters) == 2
    np.testing.assert_allclose(filters.boxes(), boxes[[0, 2]])


def test_no_box_ever_gets_smaller_than_a_pixel() -> None:
    filters = InspectedFilter()
    filters.add(np.array([[5.0, 5, 5.001, 5.001], [100, 100, 200, 200]]))
    for frame in range(1, 8):
        filters.predict(0.05)
        shrinking = np.array([[100.0, 100, 200 - 14 * frame, 200 - 14 * frame]])
        filters.update([1], shrinking, np.array([1.0]))
    for _ in range(50):
        filters.predict(1.0)
    assert np.isfinite(filters.boxes()).all()
    assert (filters.position[:, 2:] >= MIN_SIZE).all()


def test_a_lost_box_keeps_its_size_and_a_stopped_one_its_place() -> None:
    filters = InspectedFilter()
    filters.add(np.array([[0.0, 0, 50, 50]]))
    filters.predict(0.04)
    filters.update([0], np.array([[10.0, 10, 70, 70]]), np.array([0.9]))
    before = filters.position
    filters.hold_size([0])
    filters.predict(0.2)
    np.testing.assert_array_equal(filters.position[:, 2:], before[:, 2:])
    assert (filters.position[:, :2] > before[:, :2]).all()
    before = filters.position
    filters.stop()
    filters.predict(0.2)
    np.testing.assert_array_equal(filters.position, before)


def test_how_fast_a_box_may_be_is_its_velocity_and_what_is_not_known_of_it() -> None:
    filters = InspectedFilter()
    boxes = np.array([[0.0, 0, 40, 50], [500, 500, 540, 550]])
    filters.add(boxes)
    new = 10 * VELOCITY_WEIGHT * FRAME_RATE * np.array([40, 50])
    np.testing.assert_allclose(filters.speeds(), [[new[0]] * 2, [new[1]] * 2])
    for frame in range(1, 60):
        filters.predict(0.04)
        filters.update([0], boxes[:1] - frame * np.array([4, 0, 4, 0]), np.array([0.9]))
    (moving, _), (still, _) = filters.speeds()
    assert 100 < moving < 100 + new[0]
    assert 0 < still < new[1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(wrong: float) -> None:
    filters = InspectedFilter()
    filters.add(np.array([[0.0, 0, 10, 10]]))
    with pytest.raises(ValueError, match="box is not finite"):
        filters.add(np.array([[0, 0, wrong, 10]]))
    with pytest.raises(ValueError, match="box is not finite"):
        filters.update([0], np.array([[0, 0, wrong, 10]]), np.array([0.5]))
    np.testing.assert_allclose(filters.boxes(), [[0, 0, 10, 10]])


def test_corners_and_centres_are_each_others_inverse() -> None:
    boxes = np.stack([random_box(np.random.default_rng(seed)) for seed in range(5)])
    np.testing.assert_allclose(to_corners(to_centres(boxes)), boxes)
