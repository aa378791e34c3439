"""How results differ between groups of faces, and on faces made worse."""

from pathlib import Path

import cv2
import numpy as np

from tests.support.training import draw_table
from workers.research.data.face_set import Bytes
from workers.research.data.parquet import Columns, Parquet, open_parquet
from workers.research.evaluate.cli import DEGRADED
from workers.research.evaluate.degrade import DEGRADATIONS, degraded
from workers.research.evaluate.faces import evaluate_faces, make_plan
from workers.research.evaluate.inference import Floats


def answers(crops: Bytes) -> dict[str, Floats]:
    """Everybody is a man of 20."""
    count = len(crops)
    return {"age": np.full((count, 1), 20, np.float32), "gender": np.tile(np.array([0, 1], np.float32), (count, 1))}


def test_groups_have_the_numbers_of_their_faces_and_small_ones_are_left_out(tmp_path: Path) -> None:
    ages, genders = [20] * 12 + [50] * 12 + [80] * 6, [0] * 15 + [1] * 15
    path = draw_table(tmp_path / "faces.parquet", 30, age=ages, gender=genders)
    columns = Columns(age="age", gender="gender")
    faces = open_parquet("faces", Parquet(format="parquet", path=path, columns=columns))
    found = evaluate_faces(make_plan(faces, "faces", ("age", "gender")), answers, groups=True).details["groups"]
    assert {group: numbers["faces"] for group, numbers in found["age"].items()} == {"20-29": 12, "50-59": 12}
    assert found["age"]["50-59"]["mae_years"] == 30
    assert found["gender"]["female"]["gender_accuracy_percent"] == 0
    assert found["gender"]["male"]["gender_accuracy_percent"] == 100
    assert [numbers["faces"] for numbers in found["lightness"].values()] == [10, 10, 10]


def test_each_degradation_takes_something_away_and_keeps_the_form() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
    assert set(DEGRADED) == set(DEGRADATIONS)
    for how in DEGRADED:
        seen: list[Bytes] = []

        def network(shown: Bytes, seen: list[Bytes] = seen) -> dict[str, Floats]:
            seen.append(shown)
            return {}

        degraded(network, how)(crops)
        assert seen[0].shape == crops.shape
        assert seen[0].dtype == np.uint8
        strength = [cv2.Laplacian(image.astype(np.float32), -1).std() for image in (crops[0], seen[0][0])]
        assert strength[1] < strength[0] / 3
