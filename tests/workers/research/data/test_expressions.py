"""RAF-DB and both layouts of AffectNet."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest

from faceanalytics.errors import InputError
from tests.support.face_files import draw, edit, names, opened, shades, values, write
from workers.research.data.face_set import impossible

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


# --- RAF-DB ---


def rafdb(root: Path) -> Path:
    write(root / "EmoLabel" / "list_patition_label.txt", "train_00001.jpg 5", "train_00002.jpg 1", "test_0001.jpg 7")
    draw(root / "Image" / "aligned", [f"{name}_aligned.jpg" for name in ("train_00001", "train_00002", "test_0001")])
    draw(root / "Image" / "original", ["test_0001.jpg", "train_00001.jpg", "train_00002.jpg"])
    return root


def test_rafdb_counts_from_1_in_our_order(tmp_path: Path) -> None:
    faces = opened(format="rafdb", path=rafdb(tmp_path))
    assert values(faces.labels.expression) == [4, 0]  # sadness, surprise
    assert names(faces) == ["train_00001_aligned.jpg", "train_00002_aligned.jpg"]
    assert shades(faces) == [10, 20]
    faces = opened(format="rafdb", path=tmp_path, version="original", parts=["test"])
    assert (values(faces.labels.expression), names(faces), shades(faces)) == ([6], ["test_0001.jpg"], [10])
    assert faces.where(0).endswith("list_patition_label.txt:3: test_0001.jpg")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_00002.jpg", ":2: 1 columns, expected 2"),
        ("train_00002.jpg happy", ":2: expression 'happy' is not a whole number"),
        ("train_00002.jpg 0", ":2: expression 0 is not within 1..7"),
        ("00002.jpg 3", ":2: the image '00002.jpg' begins neither with train_ nor with test_"),
        ("train_00001.jpg 3", "lines 1, 2"),
    ],
)
def test_rafdb_says_what_is_wrong_with_a_line(line: str, message: str, tmp_path: Path) -> None:
    label_file = rafdb(tmp_path) / "EmoLabel" / "list_patition_label.txt"
    edit(label_file, 2, "train_00002.jpg 1", line)
    with pytest.raises(InputError, match=re.escape(message)):
        opened(format="rafdb", path=tmp_path)


def test_rafdb_keeps_a_class_that_does_not_exist_to_be_listed(tmp_path: Path) -> None:
    edit(rafdb(tmp_path) / "EmoLabel" / "list_patition_label.txt", 1, " 5", " 8")
    found = impossible(opened(format="rafdb", path=tmp_path))
    assert [text.partition(": ")[0].rpartition(":")[2] for _, text in found] == ["1"]


def test_a_image_that_is_not_there_is_named_when_it_is_read(tmp_path: Path) -> None:
    faces = opened(format="rafdb", path=rafdb(tmp_path))
    (tmp_path / "Image" / "aligned" / "train_00002_aligned.jpg").unlink()
    assert faces.images.read(0).shape == (8, 8, 3)
    with pytest.raises(InputError, match=r"Image/aligned/train_00002_aligned\.jpg: No such file"):
        faces.images.read(1)


# --- AffectNet ---


def affectnet_row(number: int, expression: object) -> str:
    return f"{number}/{number}.jpg,0,0,100,100,1.5;2.5;3.5,{expression},-0.5,0.25"


@pytest.mark.parametrize(("file", "header"), [("training.csv", True), ("validation.csv", False)])
def test_affectnet_is_put_in_our_order_and_other_classes_are_counted(
    file: str, header: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [affectnet_row(number, number) for number in range(11)]
    write(tmp_path / file, *([HEADER] if header else []), *rows)
    draw(tmp_path / "Manually_Annotated_Images", [f"{number}/{number}.jpg" for number in range(11)])
    part = "train" if file == "training.csv" else "validation"
    with caplog.at_level(logging.WARNING):
        faces = opened(format="affectnet", path=tmp_path, part=part)
    assert values(faces.labels.expression) == [6, 3, 4, 0, 1, 2, 5]
    assert shades(faces) == [10, 20, 30, 40, 50, 60, 70]
    assert names(faces)[3] == "3/3.jpg"
    assert "4 of 11 faces are left out: 1 contempt, 1 none, 1 uncertain, 1 no face" in caplog.text
    assert faces.where(0) == f"{tmp_path / file}:{1 + header}: 0/0.jpg"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg,0,0,1,1,,3", "training.csv:2: 7 columns, expected 9"),
        (affectnet_row(1, "happy"), "training.csv:2: expression 'happy' is not a whole number"),
        (affectnet_row(1, -2), "training.csv:2: expression -2 is not within 0..10"),
    ],
)
def test_affectnet_says_what_is_wrong_with_a_line(line: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "training.csv", HEADER, line)
    with pytest.raises(InputError, match=re.escape(message)):
        opened(format="affectnet", path=tmp_path)


def test_affectnet_keeps_a_class_that_does_not_exist_to_be_listed(tmp_path: Path) -> None:
    write(tmp_path / "training.csv", HEADER, affectnet_row(1, 11))
    draw(tmp_path / "Manually_Annotated_Images", ["1/1.jpg"])
    assert len(impossible(opened(format="affectnet", path=tmp_path))) == 1


def annotate(root: Path, *expressions: object) -> Path:
    draw(root / "images", [f"{number}.jpg" for number in range(len(expressions))])
    (root / "annotations").mkdir()
    for number, expression in enumerate(expressions):
        np.save(root / "annotations" / f"{number}_exp.npy", np.array(expression))
    return root


def test_affectnets_annotation_files_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    annotate(tmp_path / "train_set", "0", "1", "7", 3)  # text in the release, numbers in copies
    annotate(tmp_path / "val_set", "6")
    with caplog.at_level(logging.WARNING):
        faces = opened(format="affectnet_npy", path=tmp_path)
    assert (values(faces.labels.expression), names(faces)) == ([6, 3, 0], ["0.jpg", "1.jpg", "3.jpg"])
    assert "1 of 4 faces are left out: 1 contempt" in caplog.text
    assert values(opened(format="affectnet_npy", path=tmp_path, part="validation").labels.expression) == [5]


@pytest.mark.parametrize("content", [None, b"", b"no array", b"\x93NUMPY"])
def test_an_invalid_annotation_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = annotate(tmp_path / "train_set", "0", "1") / "annotations" / "1_exp.npy"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"1_exp\.npy: "):
        opened(format="affectnet_npy", path=tmp_path)
