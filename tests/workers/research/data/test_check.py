"""`swinface data check`: what is in a set, and every problem with it."""

import argparse
import json
import logging
import os
import sys
import unicodedata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from faceanalytics.errors import ConfigError, UserError
from workers.research.data.check import Problem, Request, check_set, write_excluded
from workers.research.data.cli import add_data, data
from workers.research.data.face_set import UNKNOWN, FaceSet, Labels
from workers.research.data.images import Files
from workers.research.data.sheet import COLUMNS, FACE, GAP, HEAD, MARGIN, PAPER, ROWS, caption, choose, draw
from workers.research.data.statistics import People, count, describe
from workers.swinface.labels import ATTRIBUTES, EXPRESSIONS

NAMES = [task.score for task in ATTRIBUTES]


def check_data(*arguments: str | Path) -> int:
    """What `swinface data check` does with these arguments, in one process; its exit code."""
    parser = argparse.ArgumentParser(prog="swinface")
    add_data(parser.add_subparsers(dest="command"))
    try:
        return data(parser.parse_args(["data", "check", *map(str, arguments), "--workers", "1"]))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def colour(number: int) -> tuple[int, int, int]:
    """RGB of the face with this number."""
    return (20 + number * 7 % 200, 20 + number * 31 % 200, 20 + number * 83 % 200)


def paint(folder: Path, name: str, number: int = 0, size: tuple[int, int] = (112, 112)) -> str:
    """An image of one colour, of (width, height); its name."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((size[1], size[0], 3), colour(number)[::-1], np.uint8))
    return name


def set_of(folder: Path, names: list[str], identities: tuple[str, ...] = (), **labels: Any) -> FaceSet:
    """A set of these images with these columns of labels."""
    types: dict[str, Any] = {"age": np.float32, "age_spread": np.float32, "attributes": np.int8}
    columns = {name: np.array(column, types.get(name, np.int64)) for name, column in labels.items()}
    return FaceSet("mine", Files(folder, names), Labels(**columns), identities)


def attributes(*present: str) -> list[int]:
    return [int(name in present) for name in NAMES]


@pytest.fixture
def utkface(tmp_path: Path) -> Path:
    """A configuration with a set of six faces, of whom one is 200 years old, and one is a damaged image."""
    folder = tmp_path / "faces"
    for number, age in enumerate((3, 31, 34, 39, 200)):
        paint(folder, f"{age}_{number % 2}_0_2017.jpg", number, (112, 112 + number))
    (folder / "50_1_0_2017.jpg").write_bytes(b"\xff\xd8\xff no image")
    config = tmp_path / "sets.yaml"
    config.write_text(f"sets:\n  utk: {{format: utkface, path: {folder}}}\n")
    return config


def test_labels_are_counted(tmp_path: Path) -> None:
    none = [UNKNOWN] * len(NAMES)
    faces = set_of(
        tmp_path,
        list("abcde"),
        ("ann", "ben", "eve"),
        identity=[0, 0, 0, 1, UNKNOWN],
        age=[9.9, 10, 35, np.nan, 130],
        gender=[0, 1, 1, UNKNOWN, 2],
        expression=[0, 3, 3, 6, UNKNOWN],
        attributes=[attributes("bald"), attributes("bald", "male"), attributes(), attributes("male"), none],
    )
    statistics = count(faces)
    assert statistics.known == {"identity": 4, "age": 4, "gender": 4, "attributes": 4, "expression": 4}
    assert statistics.people == People(2, 1, 1, 2.0, 3)
    assert statistics.ages == {"0-9": 1, "10-19": 1, "20-29": 0, "30-39": 1}
    assert statistics.genders == {"female": 1, "male": 2}
    assert statistics.expressions is not None
    assert (tuple(statistics.expressions), statistics.expressions["happiness"]) == (EXPRESSIONS, 2)
    assert statistics.attributes is not None
    assert (statistics.attributes["bald"], statistics.attributes["male"], statistics.attributes["young"]) == (
        0.5,
        0.5,
        0,
    )
    text = "\n".join(describe(statistics))
    assert "people       2, 1 to 3 images each, median 2, 1 more without an image" in text
    assert "30-39 1 (33.3%)" in text
    assert "happiness 2 (50.0%)" in text


def test_a_set_without_labels_has_no_counts(tmp_path: Path) -> None:
    statistics = count(set_of(tmp_path, ["a"]))
    assert (statistics.known, statistics.people, statistics.ages, statistics.attributes) == ({}, None, None, None)
    assert list(describe(statistics)) == ["known        nothing"]
    assert count(set_of(tmp_path, ["a"], age=[np.nan])).ages == {}


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    names = [paint(tmp_path, "a.png"), paint(tmp_path, "b.png", size=(60, 80)), "gone.png", "a.png"]
    faces = set_of(tmp_path, names, age=[-3, 4, 5, 6], gender=[0, 1, 7, 0])
    report = check_set(faces, Request())
    found = [(problem.kind, problem.image) for problem in report.problems]
    assert found == [
        ("impossible label", "a.png"),
        ("impossible label", "gone.png"),
        ("repeated name", "a.png"),
        ("unreadable image", "gone.png"),
    ]
    lines = [problem.message for problem in report.problems]
    assert lines[0] == "mine: a.png: age -3.0 is not within 0..120 years"
    assert "is listed 2 times" in lines[2]
    assert f"{tmp_path / 'gone.png'}: No such file" in lines[3]
    assert report.sizes is not None
    assert report.sizes.sizes == {"112x112": 2, "60x80": 1}
    assert (report.sizes.images, report.sizes.not_square, report.sizes.not_112) == (3, 1, 1)


def test_a_set_with_problems_is_refused_until_they_are_left_out(
    utkface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    excluded, report = tmp_path / "exclude.txt", tmp_path / "report.json"
    excluded.write_text("# what I know of\n")
    assert check_data(utkface, "--exclude-out", excluded, "--out", report) == 3
    said = capsys.readouterr()
    assert "utk: 6 faces" in said.out
    assert "problems     impossible label 1, unreadable image 1" in said.out
    assert "200_0_0_2017.jpg: age 200.0 is not within 0..120 years" in said.out
    assert f"add `exclude: {excluded}` to the set to leave them out" in said.err
    problems = json.loads(report.read_text())["sets"]["utk"]["problems"]
    assert [problem["image"] for problem in problems] == ["200_0_0_2017.jpg", "50_1_0_2017.jpg"]
    lines = excluded.read_text().splitlines()
    assert lines[0] == "# what I know of"
    assert [line.split(" # ")[0] for line in lines[1:]] == ["200_0_0_2017.jpg", "50_1_0_2017.jpg"]

    utkface.write_text(utkface.read_text().replace("}", f", exclude: {excluded}}}"))
    assert check_data(utkface, "--out", report) == 0
    written = json.loads(report.read_text())["sets"]["utk"]
    assert written["problems"] == []
    assert written["statistics"]["ages"] == {"0-9": 1, "10-19": 0, "20-29": 0, "30-39": 3}
    assert written["sizes"]["sizes"] == {"112x112": 1, "112x113": 1, "112x114": 1, "112x115": 1}


def test_without_being_asked_no_file_is_written_and_the_way_out_is_said(
    utkface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert check_data(utkface) == 3
    assert "utk has 2. Fix them, or leave these images out: --set NAME --exclude-out FILE" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_set_that_cannot_be_used_does_not_hide_the_others(
    utkface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = utkface.read_text().splitlines()
    utkface.write_text("\n".join([lines[0], f"  gone: {{format: utkface, path: {tmp_path / 'nowhere'}}}", lines[1]]))
    assert check_data(utkface) == 3
    said = capsys.readouterr()
    assert said.out.index("gone: cannot be used") < said.out.index("utk: 6 faces")
    assert "unusable set: " in said.out
    assert "gone has 1, utk has 2" in said.err
    assert check_data(utkface, "--exclude-out", tmp_path / "x.txt") == 2
    assert "one set at a time" in capsys.readouterr().err


def test_images_are_read_as_many_as_asked_for(tmp_path: Path) -> None:
    names = [paint(tmp_path, f"{number}.png", size=(10 + number, 10)) for number in range(12)]
    faces = set_of(tmp_path, names)
    some = [check_set(faces, Request(images=5)).sizes for _ in range(2)]
    assert some[0] is not None
    assert some[0].images == 5
    assert some[0] == some[1]
    nothing = check_set(faces, Request(images=0)).sizes
    assert nothing is not None
    assert nothing.images == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "celeba"], "has no such set. It has utk"),
        (["--out", "no/folder/x.json"], "there is no folder no/folder"),
        (["--exclude-out", "no/folder/x.txt"], "there is no folder no/folder"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    arguments: list[str], message: str, utkface: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_data(utkface, *arguments) == 2
    said = capsys.readouterr()
    assert (message in said.err, said.out) == (True, "")


@pytest.mark.parametrize("name", ["#1.png", "a #1.png", " a.png"])
def test_a_name_that_the_file_would_read_otherwise_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rename the image"):
        write_excluded(tmp_path / "x.txt", [Problem("unreadable image", name, "why")])
    assert list(tmp_path.iterdir()) == []


def test_captions_say_the_labels_in_words(tmp_path: Path) -> None:
    faces = set_of(
        tmp_path,
        ["a", "b"],
        ("Ann",),
        identity=[0, UNKNOWN],
        age=[34, np.nan],
        age_spread=[2.5, np.nan],
        gender=[1, UNKNOWN],
        expression=[3, UNKNOWN],
        attributes=[attributes("male", "wearing_hat"), [UNKNOWN] * len(NAMES)],
    )
    assert caption(faces, 0) == {
        "person": "Ann",
        "labels": "age 34 ± 2.5, male, happiness",
        "attributes": "male, wearing hat",
    }
    assert caption(faces, 1) == {"labels": "nothing known"}
    assert caption(set_of(tmp_path, ["a"], attributes=[attributes()]), 0) == {"attributes": "none of the attributes"}


def test_the_sheet_shows_every_value_of_the_labels_and_nothing_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    expression = np.where(np.arange(3000) % 600 == 5, random.integers(0, 7, 3000), 6)  # nearly all neutral
    expression[:7] = np.arange(7)
    age = random.integers(1, 60, 3000)
    age[100] = 97
    faces = set_of(tmp_path, [str(number) for number in range(3000)], age=age, expression=expression)
    refused = set(range(200, 3000, 2))
    rows = choose(faces, COLUMNS * ROWS, refused)
    assert len(set(rows)) == COLUMNS * ROWS
    assert not refused & set(rows)
    assert set(expression[rows]) == set(range(7))
    assert {0, 1, 2, 3, 4, 5, 9} == set(age[rows] // 10)
    assert rows == choose(faces, COLUMNS * ROWS, refused)
    assert list(expression[rows]) == sorted(expression[rows])


def test_where_only_people_are_known_a_row_is_one_person(tmp_path: Path) -> None:
    identity = [number % 10 for number in range(90)] + [10] * 3
    faces = set_of(tmp_path, [str(row) for row in range(93)], tuple(map(str, range(11))), identity=identity)
    rows = choose(faces, COLUMNS * ROWS)
    people = np.array(identity)[rows].reshape(ROWS, COLUMNS)
    assert (people == people[:, :1]).all()
    assert len(set(people[:, 0])) == ROWS


def test_the_sheet_is_an_image_of_the_faces_over_their_captions(tmp_path: Path) -> None:
    folder, sheets = tmp_path / "faces", tmp_path / "sheets"
    names = [paint(folder, f"{number}.png", number) for number in range(10)]
    paint(folder, "3.png", 3, (50, 100))
    faces = set_of(folder, names, age=range(20, 30), attributes=[attributes("bald")] * 9 + [attributes(*NAMES)])
    sheets.mkdir()
    check_set(faces, Request(sheets=sheets))
    sheet = np.asarray(Image.open(sheets / "mine.png"))
    assert sheet.shape[1] == 2 * MARGIN + COLUMNS * (FACE + GAP) - GAP
    for place in range(8):
        left = MARGIN + place * (FACE + GAP)
        middle = sheet[HEAD + FACE // 2, left + FACE // 2]
        assert tuple(middle) == colour(place)
        below = sheet[HEAD + FACE + 4 : HEAD + FACE + 34, left : left + FACE]
        assert (below != PAPER).any(axis=2).sum() > 50  # letters
        right = sheet[HEAD + FACE + 4 : HEAD + FACE + 34, left + FACE + 1 : left + FACE + GAP - 1]
        assert (right == PAPER).all()
    assert tuple(sheet[HEAD + FACE // 2, MARGIN + 3 * (FACE + GAP) + 4]) != colour(3)  # a narrow image stays narrow
    assert sheet.shape[0] > HEAD + 2 * FACE + 300  # forty attributes take their room


def test_a_image_that_cannot_be_read_leaves_its_place_grey(tmp_path: Path) -> None:
    faces = set_of(tmp_path, ["gone.png"], ("a" * 100,), identity=[0])
    sheet = np.asarray(draw(faces, [0]))
    assert tuple(sheet[HEAD + FACE - 10, MARGIN + FACE // 2]) == (228, 228, 226)
    assert (sheet[HEAD + FACE + 2 :, MARGIN + FACE + 1 :] == PAPER).all()  # the long name is broken


def test_folders_of_people_are_those_that_a_person_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    people = tmp_path / "people"
    for name in ("ada/1.jpg", "bob/1.jpg", "bob/x.jpg/2.jpg", os.fsdecode(b"Ren\xe9/caf\xe9.jpg")):
        paint(people, "any.jpg")
        (people / name).parent.mkdir(parents=True, exist_ok=True)
        (people / "any.jpg").rename(people / name)
    for name in (
        ".ipynb_checkpoints/1.jpg",
        "__MACOSX/ada/1.jpg",
        "ada/._1.jpg",
        "ada/@eaDir/1.jpg",
        "ada/.cache/1.jpg",
    ):
        paint(people, name)
    (people / "ada" / "all").symlink_to(people)
    (people / "bob" / "3.jpg").write_bytes(b"no image")
    (tmp_path / "sets.yaml").write_text(f"sets: {{people: {{format: folders, path: {people}}}}}")
    with caplog.at_level(logging.INFO):
        assert check_data(tmp_path / "sets.yaml", "--out", tmp_path / "out.json") == 3
    printed = capsys.readouterr().out
    assert "people: 5 faces" in printed
    assert "3, 1 to 3 images each" in printed
    assert "hidden files and folders, skipped: 5 (" in caplog.text
    assert "links to a folder above them, skipped: 1 (" in caplog.text
    (problem,) = json.loads((tmp_path / "out.json").read_text())["sets"]["people"]["problems"]
    assert problem["image"] == "bob/3.jpg"


def test_names_of_any_bytes_are_printed_and_can_be_excluded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"Ren\xe9/bad\xe9.jpg")
    (tmp_path / "people" / name).parent.mkdir(parents=True)
    (tmp_path / "people" / name).write_bytes(b"no image")
    paint(tmp_path / "people", "ada/1.jpg")
    sets = tmp_path / "sets.yaml"
    sets.write_text(f"sets: {{people: {{format: folders, path: {tmp_path / 'people'}}}}}")
    assert check_data(sets, "--out", tmp_path / "out.json", "--exclude-out", tmp_path / "bad.txt") == 3
    assert r"people: Ren\xe9/bad\xe9.jpg: " in capsys.readouterr().out
    text = (tmp_path / "out.json").read_bytes().decode()
    assert json.loads(text)["sets"]["people"]["problems"][0]["image"] == r"Ren\xe9/bad\xe9.jpg"
    sets.write_text(
        f"sets: {{people: {{format: folders, path: {tmp_path / 'people'}, exclude: {tmp_path / 'bad.txt'}}}}}"
    )
    assert check_data(sets) == 0


def test_two_folders_that_look_the_same_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("NFC", "NFD"):
        paint(tmp_path / "people", f"{unicodedata.normalize(form, 'José')}/1.jpg")
    (tmp_path / "sets.yaml").write_text(f"sets: {{people: {{format: folders, path: {tmp_path / 'people'}}}}}")
    assert check_data(tmp_path / "sets.yaml") == 3
    assert "several folders look the same to readers: José" in capsys.readouterr().out
