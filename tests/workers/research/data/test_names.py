"""Sets whose labels are the names of files and folders."""

import logging
from pathlib import Path

import pytest

from faceanalytics.errors import InputError
from tests.support.face_files import draw, names, opened, shades, values, write
from workers.research.data.face_set import impossible


def test_folders_are_people(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    draw(tmp_path, ["zoe/1.png", "adam/b.jpg", "adam/a.jpg", "adam/more/c.jpg"])
    write(tmp_path / "adam" / "notes.txt", "no image")
    (tmp_path / "nobody").mkdir()
    with caplog.at_level(logging.WARNING):
        faces = opened(format="folders", path=tmp_path)
    assert names(faces) == ["adam/a.jpg", "adam/b.jpg", "adam/more/c.jpg", "zoe/1.png"]
    assert (values(faces.labels.identity), faces.identities) == ([0, 0, 0, 1], ("adam", "zoe"))
    assert shades(faces) == [30, 20, 40, 10]
    assert "no images in 1 of 3 folders: nobody" in caplog.text


def test_images_of_nobody_are_an_error(tmp_path: Path) -> None:
    draw(tmp_path, ["adam/a.jpg", "stray.jpg"])
    with pytest.raises(InputError, match=r"1 images in .* are not in a person's folder\n  stray\.jpg"):
        opened(format="folders", path=tmp_path)


@pytest.mark.parametrize("format_", ["folders", "fgnet", "utkface", "agedb"])
def test_an_empty_or_missing_folder_is_an_error(format_: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no images|no faces"):
        opened(format=format_, path=tmp_path)
    with pytest.raises(InputError, match="none: No such file"):
        opened(format=format_, path=tmp_path / "none")


def test_fgnet_names_say_person_and_age(tmp_path: Path) -> None:
    draw(tmp_path, ["001A02.JPG", "001A43a.JPG", "001A43b.JPG", "082A05.jpg"])
    faces = opened(format="fgnet", path=tmp_path)
    assert values(faces.labels.age) == [2, 43, 43, 5]
    assert (values(faces.labels.identity), faces.identities) == ([0, 0, 0, 1], ("001", "082"))
    assert shades(faces) == [10, 20, 30, 40]


def test_utkface_names_say_age_and_the_reverse_of_our_gender(tmp_path: Path) -> None:
    draw(tmp_path, ["part1/26_0_2_20170116.jpg", "26_1_4_20170117.jpg.chip.jpg", "116_1_3_20170120.jpg"])
    faces = opened(format="utkface", path=tmp_path)
    assert names(faces) == ["116_1_3_20170120.jpg", "26_1_4_20170117.jpg.chip.jpg", "part1/26_0_2_20170116.jpg"]
    assert values(faces.labels.age) == [116, 26, 26]
    assert values(faces.labels.gender) == [0, 0, 1]  # 0 is male there


def test_utkface_names_without_a_field_are_all_named_and_may_be_excluded(tmp_path: Path) -> None:
    wrong = ["39_1_20170116174525125.jpg.chip.jpg", "61_1_20170109142408075.jpg.chip.jpg"]
    draw(tmp_path, ["26_0_2_20170116.jpg", *wrong])
    with pytest.raises(InputError) as caught:
        opened(format="utkface", path=tmp_path)
    assert "2 images" in str(caught.value)
    assert str(caught.value).endswith("list them in `exclude`\n" + "\n".join(f"  {name}" for name in wrong))
    exclude = write(tmp_path / "exclude.txt", "# without a race", *wrong)
    faces = opened(format="utkface", path=tmp_path, exclude=exclude)
    assert names(faces) == ["26_0_2_20170116.jpg"]


def test_an_impossible_name_is_listed(tmp_path: Path) -> None:
    draw(tmp_path, ["260_0_2_20170116.jpg", "26_3_2_20170116.jpg"])
    assert [row for row, _ in impossible(opened(format="utkface", path=tmp_path))] == [0, 1]


def test_agedb_names_say_person_age_and_gender(tmp_path: Path) -> None:
    draw(tmp_path, ["0_MariaCallas_35_f.jpg", "1_MariaCallas_40_f.jpg", "2_Jean_Gabin_60_m.jpg"])
    faces = opened(format="agedb", path=tmp_path)
    assert (values(faces.labels.age), values(faces.labels.gender)) == ([35, 40, 60], [0, 0, 1])
    assert (values(faces.labels.identity), faces.identities) == ([1, 1, 0], ("Jean_Gabin", "MariaCallas"))


def test_the_folders_of_fer2013_are_expressions(tmp_path: Path) -> None:
    folders = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    draw(tmp_path, [f"train/{folder}/1.jpg" for folder in folders] + ["test/happy/1.jpg"])
    faces = opened(format="fer2013_folders", path=tmp_path)
    assert values(faces.labels.expression) == [5, 2, 1, 3, 6, 4, 0]
    assert (names(faces)[0], shades(faces)[0]) == ("train/angry/1.jpg", 10)
    assert names(opened(format="fer2013_folders", path=tmp_path, parts=["test"])) == ["test/happy/1.jpg"]
    draw(tmp_path, ["test/contempt/1.jpg"])
    with pytest.raises(InputError, match="test/contempt: the folder's name is not an expression"):
        opened(format="fer2013_folders", path=tmp_path, parts=["test"])
