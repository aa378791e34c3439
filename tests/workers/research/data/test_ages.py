"""Ages by table: Adience, MORPH, apparent ages."""

import math
import re
from pathlib import Path

import pytest

from faceanalytics.errors import InputError
from tests.support.face_files import draw, names, opened, shades, values, write
from workers.research.data.face_set import impossible

# --- Adience ---


ADIENCE = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\tfiducial_score"


def adience_row(image: str, age: str, gender: str) -> str:
    return f"30601258@N03\t{image}\t1\t{age}\t{gender}\t0\t414\t1086\t1383\t-115\t30\t17"


def adience_file(number: int, age: str = "35", gender: str = "m") -> str:
    return f"30601258@N03/coarse_tilt_aligned_face.1.{number}.jpg"


def test_adience_gives_the_middle_of_a_group(tmp_path: Path) -> None:
    cases = [("(25, 32)", "f"), ("(60, 100)", "m"), ("35", "u"), ("None", "m"), ("(0, 2)", "")]
    rows = [adience_row(f"{number}.jpg", age, gender) for number, (age, gender) in enumerate(cases)]
    write(tmp_path / "fold_0_data.txt", ADIENCE, *rows)
    draw(tmp_path / "faces", [adience_file(number) for number in range(5)])
    faces = opened(format="adience", path=tmp_path, folds=[0])
    assert values(faces.labels.age)[:3] == [28.5, 80, 35]
    assert math.isnan(values(faces.labels.age)[3])
    assert values(faces.labels.age)[4] == 1
    assert values(faces.labels.gender) == [0, 1, -1, 1, -1]
    assert names(faces)[0] == adience_file(0)
    assert shades(faces) == [10, 20, 30, 40, 50]
    assert faces.where(1).startswith(f"{tmp_path}/fold_0_data.txt:3: ")


def test_adience_reads_the_folds_and_images_asked_for(tmp_path: Path) -> None:
    for fold in (1, 3):
        write(tmp_path / f"fold_frontal_{fold}_data.txt", ADIENCE, adience_row(f"{fold}.jpg", f"{fold}", "f"))
    draw(tmp_path / "aligned", [f"30601258@N03/landmark_aligned_face.1.{fold}.jpg" for fold in (1, 3)])
    faces = opened(format="adience", path=tmp_path, folds=[3, 1], frontal=True, version="aligned")
    assert (values(faces.labels.age), shades(faces)) == ([3, 1], [20, 10])
    with pytest.raises(InputError, match=r"fold_frontal_0_data\.txt: No such file"):
        opened(format="adience", path=tmp_path, frontal=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (adience_row("1.jpg", "old", "f"), ":2: age 'old' is neither a group such as (25, 32), a number nor None"),
        (adience_row("1.jpg", "35", "x"), ":2: gender 'x' is not one of 'f', 'm', 'u', ''"),
        ("a\tb", ":2: 2 columns, expected 12"),
        (adience_row("", "35", "f"), ":2: original_image is empty"),
    ],
)
def test_adience_says_what_is_wrong_with_a_line(row: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "fold_2_data.txt", ADIENCE, row)
    with pytest.raises(InputError, match=re.escape(f"{path}{message}")):
        opened(format="adience", path=tmp_path, folds=[2])


# --- MORPH ---


def test_morphs_table_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path / "morph.csv",
        "id_num,image_num,dob,doa,race,gender,age,photo",
        "012345,0,01/01/1960,01/01/1992,B,M,32,Album2\\012345_00M32.JPG",
        "3,0,01/01/1960,01/01/1992,W,F,29,Album2\\000003_00F29.JPG",
    )
    draw(tmp_path, ["Album2/012345_00M32.JPG", "Album2/000003_00F29.JPG"])
    faces = opened(format="morph", path=path)
    assert (values(faces.labels.age), values(faces.labels.gender)) == ([32, 29], [1, 0])
    assert (values(faces.labels.identity), faces.identities) == ([0, 1], ("012345", "3"))
    assert shades(faces) == [10, 20]
    renamed = write(tmp_path / "copy.csv", "filename,Age,Sex", "Album2/012345_00M32.JPG,32,male")
    faces = opened(format="morph", path=renamed)
    assert (values(faces.labels.gender), faces.labels.identity) == ([1], None)


def test_morphs_genders_in_other_words_must_be_explained(tmp_path: Path) -> None:
    path = write(tmp_path / "morph.csv", "filename,age,gender", "a.jpg,32,0", "b.jpg,33,1")
    draw(tmp_path, ["a.jpg", "b.jpg"])
    with pytest.raises(InputError, match=r"morph\.csv:2: gender '0' is not one of"):
        opened(format="morph", path=path)
    faces = opened(format="morph", path=path, genders={"0": "male", "1": "female"})
    assert values(faces.labels.gender) == [1, 0]


def test_morphs_table_without_a_column_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "morph.csv", "filename,sex", "a.jpg,M")
    with pytest.raises(
        InputError, match=r"morph\.csv:1: missing columns, any of these names \(age: age\); it has filename, sex"
    ):
        opened(format="morph", path=path)


def test_morph_without_its_table_is_read_by_names(tmp_path: Path) -> None:
    draw(tmp_path, ["Album1/012345_00M32.JPG", "Album1/012345_01M33.JPG", "Album1/000003_10F29.JPG"])
    faces = opened(format="morph", path=tmp_path)
    assert names(faces)[0] == "Album1/000003_10F29.JPG"
    assert (values(faces.labels.age), values(faces.labels.gender)) == ([29, 32, 33], [0, 1, 1])
    assert (values(faces.labels.identity), faces.identities) == ([0, 1, 1], ("000003", "012345"))


# --- apparent ages ---


@pytest.mark.parametrize(
    "lines",
    [
        ["a.jpg;20.5;3.25", "b.jpg;61;4"],
        ["a.jpg,20.5,3.25", "b.jpg,61,4"],
        ["image;mean;std", "a.jpg;20.5;3.25", "b.jpg;61;4"],
        [
            "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age",
            "a.jpg,38,20.5,3.25,22",
            "b.jpg,37,61,4,60",
        ],
    ],
)
def test_apparent_ages_have_a_spread(lines: list[str], tmp_path: Path) -> None:
    path = write(tmp_path / "Reference.csv", *lines)
    draw(tmp_path, ["a.jpg", "b.jpg"])
    faces = opened(format="lap", path=path)
    assert (values(faces.labels.age), values(faces.labels.age_spread)) == ([20.5, 61], [3.25, 4])
    assert (names(faces), shades(faces)) == (["a.jpg", "b.jpg"], [10, 20])
    assert values(faces.lines) == [len(lines) - 1, len(lines)]


def test_the_faces_of_appa_real_have_a_suffix(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.csv", "file_name,apparent_age_avg,apparent_age_std", "000001.jpg,20,3")
    draw(tmp_path / "valid", ["000001.jpg_face.jpg"])
    faces = opened(format="lap", path=path, images=tmp_path / "valid", suffix="_face.jpg")
    assert (names(faces), shades(faces)) == (["000001.jpg_face.jpg"], [10])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.jpg;20"], ":1: 2 columns, expected 3"),
        (["a.jpg;20;3", "b.jpg;20"], ":2: 2 columns, expected 3"),
        (["a.jpg;20;3", "b.jpg;old;3"], ":2: mean 'old' is not a number"),
    ],
)
def test_apparent_ages_say_what_is_wrong_with_a_line(lines: list[str], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", *lines)
    with pytest.raises(InputError, match=re.escape(f"{path}{message}")):
        opened(format="lap", path=path)


def test_a_negative_spread_is_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a.jpg;20;-3", "b.jpg;140;3")
    draw(tmp_path, ["a.jpg", "b.jpg"])
    assert [row for row, _ in impossible(opened(format="lap", path=path))] == [0, 1]
