"""What a look would gain, by formulas that are computed by hand here."""

import numpy as np
import pytest

from streamer.attention import gain
from tests.support.scenes import outlook

BOX = [100.0, 100.0, 140.0, 140.0]
MOVED, STILL = np.ones(1, np.float32), np.zeros(1, np.float32)


def test_a_box_is_off_by_a_quarter_of_a_face_as_often_as_a_gaussian_in_the_plane() -> None:
    random = np.random.default_rng(0).normal(0, 0.2, (100_000, 2))
    real = (np.hypot(*random.T) > gain.MAX_OFF).mean()
    assert gain.off_by_drift(np.array([0.2], np.float32))[0] == pytest.approx(real, abs=0.01)


def test_the_gain_of_a_track_grows_with_its_drift_if_its_place_has_moved() -> None:
    gains = [gain.uncertain(outlook([BOX], drift), MOVED, 1.0, 1.0)[0] for drift in (0.02, 0.05, 0.1, 0.15, 0.25, 0.4)]
    assert gains == sorted(gains)
    assert gains[0] < 0.01
    assert gains[3] < 1 < gains[4]
    assert gain.uncertain(outlook([BOX], 0.4), STILL, 1.0, 1.0)[0] == 0


def test_a_still_face_is_looked_at_after_a_second() -> None:
    assert gain.uncertain(outlook([BOX], 0.1, unseen=0.5), STILL, 1.0, 1.0)[0] < 0.5
    assert gain.uncertain(outlook([BOX], 0.1, unseen=1.0), STILL, 1.0, 1.0)[0] >= 1


def test_faces_that_move_as_predicted_are_looked_at_less_often() -> None:
    calm, wild = (gain.uncertain(outlook([BOX], 0.2), MOVED, surprise, 1.0)[0] for surprise in (0.5, 1.5))
    assert calm < 0.2 < 1 < wild


def test_a_new_face_is_looked_at_at_once_and_a_missed_one_soon() -> None:
    assert gain.confirming(outlook([BOX], confirmed=False))[0] >= 1
    assert gain.confirming(outlook([BOX]))[0] == 0
    times = np.array([0.03, 1.2], np.float32)
    soon, later = gain.losing(outlook([BOX, BOX], lost=True), times, 1.0)
    assert soon < 0.2 < 1 < later
    assert gain.losing(outlook([BOX]), np.array([9.0], np.float32), 1.0)[0] == 0


def test_a_moving_place_promises_a_face_the_more_the_longer_it_was_not_looked_at() -> None:
    since = np.array([0.03, 0.15, 0.3, 2.0], np.float32)
    fresh, tired = (gain.arriving(np.full(4, promise, np.float32), since, 1.0) for promise in (1.0, 0.1))
    assert (np.diff(fresh) > 0).all()
    assert fresh[1] >= 1 > tired[2]
    assert tired[3] > 1  # never for nothing
    assert (gain.arriving(np.full(4, 1.0, np.float32), since, 0.3) < fresh).all()
