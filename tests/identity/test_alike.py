"""Pictures that were taken for one person are divided where they show several."""

import numpy as np

from streamer.identity.alike import alike
from streamer.values import Floats


def around(place: int, count: int, spread: float) -> list[Floats]:
    chance, found = np.random.default_rng(place), []
    for _ in range(count):
        vector = np.zeros(512)
        vector[place] = 1
        vector += chance.normal(size=512) * spread / np.sqrt(512)
        found.append((vector / np.linalg.norm(vector)).astype(np.float32))
    return found


def test_two_people_are_divided_and_a_single_other_picture_stands_alone() -> None:
    pictures = [*around(1, 4, 0.5), *around(2, 3, 0.5), *around(3, 1, 0.0)]
    assert alike(pictures, 0.4) == [[0, 1, 2, 3], [4, 5, 6], [7]]
    assert alike(pictures, -1.0) == [list(range(8))]


def test_a_head_that_turns_is_one_person() -> None:
    steps = np.linspace(0, 1.4, 8)  # radians; the ends have a cosine of 0.17
    turned = []
    for angle in steps:
        vector = np.zeros(512, np.float32)
        vector[0], vector[1] = np.cos(angle), np.sin(angle)
        turned.append(vector)
    assert alike(turned, 0.4) == [list(range(8))]
    assert alike([], 0.4) == []
    assert alike(turned[:1], 0.4) == [[0]]
