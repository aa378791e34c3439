"""Where a picture has changed, whatever the light and the noise."""

import numpy as np
import pytest

from streamer.attention.motion import MotionMap
from streamer.attention.places import cells_of
from streamer.values import Flags
from tests.support.scenes import SIZE, Blob, Scene

FPS = 10.0
NO_FACES = np.zeros((22, 40), bool)


class Watched:
    """A motion map that is given the pictures of a scene, one each 0.1 s."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.map = MotionMap((90, 160))
        self.frames = 0

    def see(self, *blobs: Blob, light: float | np.ndarray = 1.0, look: bool = False) -> Flags:
        self.map.see(self.frames / FPS, self.scene.picture(blobs, light), NO_FACES)
        moving = self.map.moving
        self.frames += 1
        if look:
            self.map.looked(None)
        return moving

    def rest(self, seconds: float) -> "Watched":
        for _ in range(round(seconds * FPS)):
            self.see(look=self.frames % 20 == 0)
        return self


@pytest.mark.parametrize("noise", [0.0, 1.0, 4.0])
def test_nothing_moves_in_a_still_room_whatever_the_noise(noise: float) -> None:
    watched = Watched(Scene(noise)).rest(3)
    moved = [np.count_nonzero(watched.see(look=number % 20 == 0)) for number in range(200)]
    assert max(moved) <= 2


@pytest.mark.parametrize("noise", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("side", [24, 60, 150])
def test_what_appears_moves_where_it_is(noise: float, side: int) -> None:
    watched = Watched(Scene(noise)).rest(5)
    moving = watched.see(Blob(300, 120, side))
    there = cells_of(np.array([[300, 120, 300 + side, 120 + side]], np.float32), SIZE, moving.shape)
    assert moving[there].mean() > 0.5
    assert np.count_nonzero(moving & ~there) <= 12  # the surroundings of large things


def test_slow_movement_adds_up_until_the_next_look() -> None:
    watched = Watched(Scene())
    for _ in range(30):
        watched.see(Blob(200, 100, 80), look=True)
    moved = [watched.see(Blob(200 + 1.5 * step, 100, 80)).any() for step in range(8)]  # 15 px/s
    assert moved[-1]
    assert not watched.see(Blob(200 + 1.5 * 7, 100, 80), look=True).any() or not watched.see(Blob(210.5, 100, 80)).any()


def test_exposure_flicker_and_a_lamp_in_a_corner_are_no_motion() -> None:
    watched = Watched(Scene()).rest(5)
    corner = 1 + 0.5 * np.exp(-np.hypot(*np.mgrid[-60:30, -100:60]) / 120)
    for number, light in enumerate([1.0, 0.8, 1.2, 1.3, 0.7, 1.1] * 3):
        assert np.count_nonzero(watched.see(light=light)) <= 10, number
    assert np.count_nonzero(watched.see(light=corner)) <= 20


def test_what_always_moves_counts_as_usual_and_a_person_before_it_still_moves() -> None:
    watched = Watched(Scene())
    random = np.random.default_rng(1)
    tree = [Blob(400 + random.uniform(-6, 6), 60 + random.uniform(-6, 6), 120, 20) for _ in range(900)]
    moving = [np.count_nonzero(watched.see(place, look=number % 5 == 0)) for number, place in enumerate(tree)]
    assert np.mean(moving[10:40]) > 1.5 * np.mean(moving[-100:])
    assert watched.map.busy.any()
    before_it = watched.see(tree[0], Blob(420, 90, 70))
    there = cells_of(np.array([[420, 90, 490, 160]], np.float32), SIZE, before_it.shape)
    assert before_it[there].mean() > 0.3


def test_a_cut_is_a_new_view_and_a_person_walking_is_not() -> None:
    watched, other = Watched(Scene()).rest(3), Scene(seed=7)
    for step in range(20):
        watched.see(Blob(20 * step, 80, 120))
        assert not watched.map.new_view
    watched.map.see(watched.frames / FPS, other.picture(), NO_FACES)
    assert watched.map.new_view


def test_light_switched_on_is_a_new_view() -> None:
    scene = Scene()
    watched = Watched(scene)
    for number in range(40):
        watched.see(light=0.01, look=number % 10 == 0)
    watched.see(light=1.0)
    assert watched.map.new_view


def test_a_look_at_a_part_is_remembered_there_only() -> None:
    watched = Watched(Scene()).rest(3)
    watched.see(Blob(100, 100, 80), Blob(400, 100, 80))
    left = cells_of(np.array([[60, 60, 220, 220]], np.float32), SIZE, (22, 40))
    watched.map.looked(left)
    moving = watched.see(Blob(100, 100, 80), Blob(400, 100, 80))
    assert not moving[left].any()
    assert moving[~left].any()
