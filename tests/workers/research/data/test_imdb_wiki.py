"""IMDB-WIKI by its MATLAB files, and the age that it says."""

import datetime
import logging
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from faceanalytics.errors import InputError
from tests.support.face_files import draw, names, opened, shades, values, write
from workers.research.data.face_set import impossible
from workers.research.data.imdb_wiki import age_at


def datenum(year: int, month: int, day: int) -> int:
    """MATLAB's serial date: datenum(2000, 1, 1) is 730486 in its manual."""
    return datetime.date(year, month, day).toordinal() + 366


def test_matlabs_dates_are_those_of_its_manual() -> None:
    assert datenum(2000, 1, 1) == 730486


@pytest.mark.parametrize(
    ("born", "taken", "age"),
    [
        ((1980, 6, 30), 2010, 30),
        ((1980, 7, 1), 2010, 30),  # birthday on the day
        ((1980, 7, 2), 2010, 29),
        ((1980, 12, 31), 2010, 29),
        ((2000, 2, 29), 2001, 1),
        ((2000, 7, 1), 2001, 1),  # 365 days are less than a mean year
        ((1899, 9, 10), 1968, 68),
        ((2010, 7, 2), 2010, -1),  # wrong data stay wrong, to be listed
    ],
)
def test_an_age_is_whole_years_in_the_middle_of_the_year(born: tuple[int, int, int], taken: int, age: int) -> None:
    assert age_at(np.array([datenum(*born)]), np.array([taken])).tolist() == [age]


def test_an_age_is_that_of_a_hand_made_sum() -> None:
    # 723671 is 1981-05-05 (719529 + 4142 days: 11 years of 365, three leap days and 124 days after 1981-01-01)
    assert age_at(np.array([723671.0]), np.array([2009])).tolist() == [28]


def imdb(path: Path, **changes: object) -> Path:
    """Six faces of which one has no face, one a second face, and one no gender."""
    columns: dict[str, object] = {
        "dob": np.array([[datenum(1980, 1, 1)] * 6], np.int32),
        "photo_taken": np.array([[2000, 2001, 2002, 2003, 2004, 2150]], np.uint16),
        "full_path": np.array([[f"01/{number}.jpg" for number in range(6)]], object),
        "gender": np.array([[1.0, 0.0, np.nan, 1.0, 0.0, 1.0]]),
        "name": np.array([["Somebody"] * 6], object),
        "face_location": np.array([[np.zeros((1, 4))] * 6], object),
        "face_score": np.array([[3.5, 1.0, 2.0, -np.inf, 4.0, 5.0]]),
        "second_face_score": np.array([[np.nan, np.nan, np.nan, np.nan, 1.2, np.nan]]),
        "celeb_names": np.array([["A", "B"]], object),
        "celeb_id": np.array([[2, 1, 2, 1, 1, 1]]),
    }
    columns.update(changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {path.stem: {name: column for name, column in columns.items() if column is not None}})
    draw(path.parent, [f"01/{number}.jpg" for number in range(6)])
    return path


def test_imdb_leaves_out_what_its_options_say_and_says_how_much(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        faces = opened(format="imdb_wiki", path=imdb(tmp_path / "imdb.mat"))
    assert names(faces) == ["01/0.jpg", "01/1.jpg", "01/2.jpg", "01/5.jpg"]
    assert values(faces.labels.age) == [20, 21, 22, 170]
    assert values(faces.labels.gender) == [1, 0, -1, 1]
    assert (values(faces.labels.identity), faces.identities) == ([1, 0, 1, 0], ("00001", "00002"))
    assert shades(faces) == [10, 20, 30, 60]
    assert "2 of 6 faces are left out: 1 with a face score below 1, 1 with a second face" in caplog.text
    assert [row for row, _ in impossible(faces)] == [3]


def test_imdbs_options_change_what_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = imdb(tmp_path / "imdb.mat")
    everything = opened(format="imdb_wiki", path=path, min_face_score=-math.inf, single_face=False)
    assert len(everything) == 6
    few = opened(format="imdb_wiki", path=path, min_face_score=3, single_face=False, ages=[0, 100])
    assert names(few) == ["01/0.jpg", "01/4.jpg"]
    assert "4 of 6 faces are left out: 3 with a face score below 3, 1 with an age outside `ages`" in caplog.text


def test_wiki_does_not_know_who_is_who(tmp_path: Path) -> None:
    faces = opened(format="imdb_wiki", path=imdb(tmp_path / "wiki.mat", celeb_id=None, celeb_names=None))
    assert faces.labels.identity is None
    assert faces.labels.count() == {"age": 4, "gender": 3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dob": None}, "the struct has no field dob"),
        ({"dob": np.zeros((1, 5))}, "the fields differ in length"),
    ],
)
def test_a_matlab_file_of_another_form_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        opened(format="imdb_wiki", path=imdb(tmp_path / "imdb.mat", **changes))


def test_what_is_no_matlab_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "imdb.mat", "no matrices" * 50)
    with pytest.raises(InputError, match=r"imdb\.mat: not a MATLAB file"):
        opened(format="imdb_wiki", path=path)
    with pytest.raises(InputError, match=r"none\.mat: No such file"):
        opened(format="imdb_wiki", path=tmp_path / "none.mat")
    savemat(path, {"other": {"dob": 1}})
    with pytest.raises(InputError, match="has neither a struct `imdb` nor `wiki`"):
        opened(format="imdb_wiki", path=path)
