"""The label files of the published code."""

import math
import re
from pathlib import Path

import pytest

from faceanalytics.errors import InputError
from tests.support.face_files import draw, names, opened, shades, values, write
from workers.research.data.celeba import COLUMNS as CELEBA
from workers.research.data.face_set import impossible


def test_ages_and_genders_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "label.txt", "path age gender", "01/a.jpg 31.0 1.0", "01/b.jpg nan 0.0", "c.jpg 7 nan")
    draw(tmp_path / "data", ["01/a.jpg", "01/b.jpg", "c.jpg"])
    faces = opened(format="swinface", holds="age_gender", path=path)
    assert values(faces.labels.gender) == [1, 0, -1]
    ages = values(faces.labels.age)
    assert (ages[0], math.isnan(ages[1]), ages[2]) == (31, True, 7)
    assert (shades(faces), faces.where(2)) == ([10, 20, 30], f"{path}:4: c.jpg")


def test_attributes_stand_in_the_order_of_the_tasks(tmp_path: Path) -> None:
    row = ["-1"] * 40
    row[4] = row[9] = "1"  # Gender and Bald
    path = write(tmp_path / "label.txt", "whatever", " ".join(["a.jpg", *row]))
    draw(tmp_path, ["a.jpg"])
    faces = opened(format="swinface", holds="celeba", path=path)
    assert [place for place, value in enumerate(values(faces.labels.attributes)[0]) if value == 1] == [4, 9]


@pytest.mark.parametrize("lines", [[" ".join(CELEBA)], ["3", " ".join(CELEBA)], ["image_id " + " ".join(CELEBA)]])
def test_celebas_own_file_is_not_taken_for_a_converted_one(lines: list[str], tmp_path: Path) -> None:
    path = write(tmp_path / "label.txt", *lines, " ".join(["a.jpg", *["1"] * 40]))
    with pytest.raises(InputError, match=rf"label\.txt:{len(lines)}: these are CelebA's columns in CelebA's order"):
        opened(format="swinface", holds="celeba", path=path)


def test_raf_may_be_split_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "list.txt", "train_00001.jpg 5", "test_0001.jpg 7")
    draw(tmp_path / "images", ["train_00001.jpg", "test_0001.jpg"])
    folder = tmp_path / "images"
    faces = opened(format="swinface", holds="raf", path=path, images=folder)
    assert (values(faces.labels.expression), shades(faces)) == ([4, 6], [10, 20])
    assert names(opened(format="swinface", holds="raf", path=path, images=folder, part="test")) == ["test_0001.jpg"]


def test_affectnet_is_in_our_order_already(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", "image x expression y", "a.jpg 0.5 6 1", "b.jpg 0.5 8 1")
    draw(tmp_path, ["a.jpg", "b.jpg"])
    faces = opened(format="swinface", holds="affectnet", path=path)
    assert values(faces.labels.expression) == [6, 8]
    assert [row for row, _ in impossible(faces)] == [1]


def test_fgnet_has_ages(tmp_path: Path) -> None:
    path = write(tmp_path / "label.txt", "name age", "001A02.JPG 2", "001A43a.JPG 43")
    draw(tmp_path, ["001A02.JPG", "001A43a.JPG"])
    assert values(opened(format="swinface", holds="fgnet", path=path).labels.age) == [2, 43]


@pytest.mark.parametrize(
    ("holds", "line", "message"),
    [
        ("age_gender", "a b.jpg 31 1.0", ":3: 4 columns, expected 3"),
        ("age_gender", "b.jpg old 1.0", ":3: age 'old' is not a number"),
        ("age_gender", "b.jpg 31 male", ":3: gender 'male' is not one of '1.0', '1', '0.0', '0', 'nan'"),
        ("celeba", "b.jpg 1 -1", ":3: 3 columns, expected 41"),
        ("raf", "test_1.jpg", ":3: 1 columns, expected 2"),
        ("affectnet", "b.jpg 1 -1", ":3: expression -1 is not a label"),
        ("fgnet", "001A02.JPG nan", ":3: age is nan"),
    ],
)
def test_a_wrong_line_is_named(holds: str, line: str, message: str, tmp_path: Path) -> None:
    header = "train_1.jpg 1" if holds == "raf" else "x y z"
    path = write(tmp_path / "label.txt", header, "", line)
    with pytest.raises(InputError, match=re.escape(f"{path}{message}")):
        opened(format="swinface", holds=holds, path=path)
