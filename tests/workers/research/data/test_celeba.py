"""CelebA with its official label files, and Kaggle's copy of them."""

import re
from pathlib import Path

import pytest

from faceanalytics.errors import InputError
from tests.support.face_files import draw, edit, names, opened, shades, values, write
from workers.research.data.celeba import COLUMNS as CELEBA
from workers.research.data.face_set import impossible
from workers.swinface.labels import ATTRIBUTES

SLUGS = [task.slug for task in ATTRIBUTES]


def celeba_row(name: str, *present: str, columns: tuple[str, ...] = CELEBA) -> str:
    """As CelebA aligns its columns, with more than one blank."""
    return " ".join([name, *("1".rjust(2) if column in present else "-1" for column in columns)])


def celeba(root: Path, columns: tuple[str, ...] = CELEBA) -> Path:
    rows = [
        celeba_row("000001.jpg", "Male", "Bald", columns=columns),
        celeba_row("000002.jpg", "5_o_Clock_Shadow", columns=columns),
        celeba_row("000003.jpg", "Young", columns=columns),
    ]
    write(root / "Anno" / "list_attr_celeba.txt", "3", " ".join(columns), *rows)
    write(root / "Eval" / "list_eval_partition.txt", "000001.jpg 0", "000002.jpg 1", "000003.jpg 2")
    write(root / "Anno" / "identity_CelebA.txt", "000001.jpg 2880", "000002.jpg 2937", "000003.jpg 2880")
    draw(root / "Img" / "img_align_celeba", ["000001.jpg", "000002.jpg", "000003.jpg"])
    return root


def attributes_of(row: list[int]) -> list[str]:
    assert set(row) <= {0, 1}
    return [slug for slug, value in zip(SLUGS, row, strict=True) if value]


def test_celeba_is_put_in_the_order_of_the_tasks(tmp_path: Path) -> None:
    faces = opened(format="celeba", path=celeba(tmp_path), parts=["train", "validation", "test"])
    rows = values(faces.labels.attributes)
    assert [attributes_of(row) for row in rows] == [["gender", "bald"], ["five_oclock_shadow"], ["young"]]
    assert rows[0][4] == 1  # Gender is the fifth attribute of the tasks, Male the twenty-first of CelebA
    assert names(faces) == ["000001.jpg", "000002.jpg", "000003.jpg"]
    assert shades(faces) == [10, 20, 30]
    assert faces.where(2) == f"{tmp_path}/Anno/list_attr_celeba.txt:5: 000003.jpg"


def test_celeba_is_read_by_the_names_of_its_columns_whatever_their_order(tmp_path: Path) -> None:
    faces = opened(format="celeba", path=celeba(tmp_path, CELEBA[::-1]), parts=["train"])
    assert [attributes_of(row) for row in values(faces.labels.attributes)] == [["gender", "bald"]]


def test_celeba_parts_are_those_of_its_partition(tmp_path: Path) -> None:
    celeba(tmp_path)
    assert names(opened(format="celeba", path=tmp_path)) == ["000001.jpg"]
    assert names(opened(format="celeba", path=tmp_path, parts=["test", "validation"])) == ["000002.jpg", "000003.jpg"]


def test_celeba_knows_who_is_who_if_asked(tmp_path: Path) -> None:
    faces = opened(format="celeba", path=celeba(tmp_path), parts=["train", "validation", "test"], identities=True)
    assert (values(faces.labels.identity), faces.identities) == ([0, 1, 0], ("02880", "02937"))


def test_celeba_of_kaggle_is_the_same(tmp_path: Path) -> None:
    official = opened(format="celeba", path=celeba(tmp_path / "a"))
    kaggle = tmp_path / "b"
    lines = (tmp_path / "a" / "Anno" / "list_attr_celeba.txt").read_text().splitlines()[1:]
    rows = [",".join(line.split()) for line in lines]
    write(kaggle / "list_attr_celeba.csv", "image_id," + rows[0], *rows[1:])
    write(kaggle / "list_eval_partition.csv", "image_id,partition", "000001.jpg,0", "000002.jpg,1", "000003.jpg,2")
    draw(kaggle / "img_align_celeba" / "img_align_celeba", ["000001.jpg"])
    faces = opened(format="celeba", path=kaggle)
    assert values(faces.labels.attributes) == values(official.labels.attributes)
    assert shades(faces) == [10]


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        (1, "3", "x", ":1: expected the number of images"),
        (1, "3", "4", ":1: says 4 images, but 3 lines follow the header"),
        (2, "Male", "Female", ":2: not the 40 attributes of CelebA; unknown or missing: Female, Male"),
        (4, " -1", "", ":4: 40 columns, expected 41"),
        (4, " -1", " -1 -1", ":4: 42 columns, expected 41"),
        (5, " -1", " yes", ":5: 5_o_Clock_Shadow 'yes' is not a whole number"),
        (5, "000003", "000009", ":5: 000009.jpg is not in list_eval_partition"),
    ],
)
def test_celeba_says_what_is_wrong_with_a_line(line: int, old: str, new: str, message: str, tmp_path: Path) -> None:
    label_file = celeba(tmp_path) / "Anno" / "list_attr_celeba.txt"
    edit(label_file, line, old, new)
    with pytest.raises(InputError, match=re.escape(f"{label_file}{message}")):
        opened(format="celeba", path=tmp_path, parts=["train", "validation", "test"])


def test_celeba_keeps_impossible_values_to_be_listed(tmp_path: Path) -> None:
    label_file = celeba(tmp_path) / "Anno" / "list_attr_celeba.txt"
    edit(label_file, 3, " -1", "  7")
    found = impossible(opened(format="celeba", path=tmp_path))
    assert [(row, text.split(": ", 1)[0]) for row, text in found] == [(0, f"{label_file}:3")]


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the label file is missing; looked for .*list_attr_celeba\.txt"):
        opened(format="celeba", path=tmp_path)
    write(tmp_path / "list_attr_celeba.txt", "1", " ".join(CELEBA), celeba_row("a.jpg"))
    write(tmp_path / "list_eval_partition.txt", "a.jpg 0")
    with pytest.raises(InputError, match=r"no folder of images in .* set `images`"):
        opened(format="celeba", path=tmp_path)
    write(tmp_path / "list_eval_partition.txt", "a.jpg 3")
    with pytest.raises(InputError, match=r"list_eval_partition\.txt:1: partition '3' is not one of"):
        opened(format="celeba", path=tmp_path)
