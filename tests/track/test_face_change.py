"""Another face in the place of one, where the picture as a whole hardly changes."""

import cv2
import numpy as np
import pytest

from streamer.config import Track as Settings
from streamer.track.face_change import FaceChanges
from streamer.track.shot_change import ShotChangeDetector
from streamer.values import Bytes, Track, TrackKey, TrackState

WIDTH, HEIGHT = 640, 480
LEVELS = Settings().shot_change_levels


def somebody(seed: int, x: int) -> Bytes:
    """Somebody far away in a room that is always the same."""
    coarse = np.random.default_rng(7).integers(20, 220, (6, 8, 3), np.uint8)
    pixels = np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)
    skin, coat = np.random.default_rng(seed).integers(20, 230, (2, 3)).tolist()
    cv2.rectangle(pixels, (x - 22, 218), (x + 22, 300), coat, -1)
    cv2.circle(pixels, (x, 200), 18, skin, -1)
    return pixels


def track(number: int, x: int, seen: bool = True) -> Track:
    box = np.array([x - 18, 182, x + 18, 218], np.float32)
    key = TrackKey(str(number), "cam", number)
    return Track(key, TrackState.CONFIRMED, box, 0.9, 0 if seen else None, 0.0, 0.0)


def doubted(seeds: list[int], step: float = 2.0) -> list[int]:
    """The frames in which the face is in doubt; it moves by up to `step` px a frame."""
    shots, faces, doubts = ShotChangeDetector(LEVELS), FaceChanges(LEVELS), []
    for place, seed in enumerate(seeds):
        x = 320 + round(step * 5 * np.sin(place / 5))
        began = shots.see(place / 25, somebody(seed, x))
        assert (began is not None) == (place == 0)
        if faces.see([track(1, x)], (WIDTH, HEIGHT), shots.difference):
            doubts.append(place)
    return doubts


def test_another_person_far_away_is_noticed_though_the_picture_hardly_changes() -> None:
    assert doubted([1] * 20 + [4] * 20) == [20]


@pytest.mark.parametrize("step", [0.0, 2.0, 8.0])
def test_a_person_who_moves_is_not_in_doubt(step: float) -> None:
    assert doubted([1] * 40, step) == []


def test_a_face_that_was_not_seen_before_is_not_in_doubt() -> None:
    shots, faces = ShotChangeDetector(LEVELS), FaceChanges(LEVELS)
    for place, seed in enumerate([1] * 10 + [4] * 3):
        shots.see(place / 25, somebody(seed, 320))
        assert faces.see([track(1, 320, seen=False)], (WIDTH, HEIGHT), shots.difference) == set()
    assert faces.see([track(2, 320)], (WIDTH, HEIGHT), shots.difference) == set()
