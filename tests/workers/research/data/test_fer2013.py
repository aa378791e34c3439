"""FER2013's table of pixels and the votes of FER+."""

import logging
import pickle
from pathlib import Path

import pytest

from faceanalytics.errors import InputError
from tests.support.face_files import names, opened, shades, values, write
from workers.research.data.face_set import impossible

PLUS = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def pixels(value: int) -> str:
    return " ".join([str(value)] * 48 * 48)


def table(path: Path, *rows: tuple[int, int, str]) -> Path:
    return write(
        path, "emotion,pixels,Usage", *(f"{emotion},{pixels(value)},{usage}" for emotion, value, usage in rows)
    )


def every_class(path: Path) -> Path:
    return table(path, *((emotion, 10 * emotion, "Training") for emotion in range(7)), (3, 99, "PrivateTest"))


def test_classes_are_put_in_our_order(tmp_path: Path) -> None:
    faces = opened(format="fer2013", path=every_class(tmp_path / "fer2013.csv"))
    assert values(faces.labels.expression) == [5, 2, 1, 3, 4, 0, 6]
    assert shades(faces) == [0, 10, 20, 30, 40, 50, 60]
    assert faces.images.read(2).shape == (48, 48, 3)
    assert names(faces)[3] == "fer0000003.png"
    assert faces.where(3) == f"{tmp_path}/fer2013.csv:5: fer0000003.png"


def test_the_part_is_that_of_the_usage(tmp_path: Path) -> None:
    path = every_class(tmp_path / "fer2013.csv")
    faces = opened(format="fer2013", path=path, usage=["PublicTest", "PrivateTest"])
    assert (names(faces), shades(faces)) == (["fer0000007.png"], [99])
    with pytest.raises(InputError, match="no faces of usage PublicTest"):
        opened(format="fer2013", path=path, usage=["PublicTest"])


def test_pixels_are_read_from_the_file_when_they_are_needed(tmp_path: Path) -> None:
    faces = opened(format="fer2013", path=every_class(tmp_path / "fer2013.csv"))
    sent = pickle.dumps(faces)
    assert len(sent) < 3000
    assert shades(pickle.loads(sent)) == shades(faces)


def test_columns_may_stand_in_another_order_and_in_quotes(tmp_path: Path) -> None:
    path = write(tmp_path / "icml_face_data.csv", "emotion, Usage, pixels", f'4, Training, "{pixels(7)}"')
    faces = opened(format="fer2013", path=path)
    assert (values(faces.labels.expression), shades(faces)) == ([4], [7])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"3,{pixels(1)}", r":3: 2 columns, expected 3"),
        (f"3,{pixels(1)} 1,Training", r":3: 2305 pixels, expected 2304"),
        ("3,1 2 3,Training", r":3: 3 pixels, expected 2304"),
        (f"sad,{pixels(1)},Training", r":3: emotion 'sad' is not a class number"),
        (f"3,{pixels(1)},Test", r":3: usage 'Test' is unknown"),
    ],
)
def test_a_wrong_line_is_named(row: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "fer2013.csv", "emotion,pixels,Usage", f"3,{pixels(1)},Training", row)
    with pytest.raises(InputError, match=rf"fer2013\.csv{message}"):
        opened(format="fer2013", path=path)


@pytest.mark.parametrize("value", ["256", "x", "-1"])
def test_a_wrong_pixel_is_named_when_it_is_read(value: str, tmp_path: Path) -> None:
    path = write(tmp_path / "fer2013.csv", "emotion,pixels,Usage", f"3,{value}{pixels(1)[1:]},Training")
    faces = opened(format="fer2013", path=path)
    with pytest.raises(InputError, match=r"fer2013\.csv:2: pixels are not 2304 numbers"):
        faces.images.read(0)


def test_a_class_that_does_not_exist_is_listed(tmp_path: Path) -> None:
    faces = opened(format="fer2013", path=table(tmp_path / "fer2013.csv", (7, 1, "Training")))
    assert [row for row, _ in impossible(faces)] == [0]


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv:1: expected the columns emotion, pixels, Usage"):
        opened(format="fer2013", path=write(tmp_path / "a.csv", "a,b", "1,2"))
    with pytest.raises(InputError, match=r"none\.csv: No such file"):
        opened(format="fer2013", path=tmp_path / "none.csv")


def plus(path: Path, *votes: str) -> Path:
    return write(path, PLUS, *(f"Training,fer{row:07d}.png,{vote}" for row, vote in enumerate(votes)))


def plus_set(folder: Path) -> tuple[Path, Path]:
    """Votes: happiness 7, tie, contempt, unknown, no face, sadness 4 of 10."""
    path = table(folder / "fer2013.csv", *((6, 10 * row, "Training") for row in range(6)))
    votes = plus(
        folder / "fer2013new.csv",
        "3,7,0,0,0,0,0,0,0,0",
        "5,5,0,0,0,0,0,0,0,0",
        "1,0,0,0,0,0,0,9,0,0",
        "1,0,0,0,0,0,0,0,9,0",
        "0,0,0,0,0,0,0,0,0,10",
        "2,0,0,4,2,0,2,0,0,0",
    )
    return path, votes


def test_the_most_votes_are_the_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, votes = plus_set(tmp_path)
    with caplog.at_level(logging.WARNING):
        faces = opened(format="fer2013", path=path, ferplus=votes)
    assert (values(faces.labels.expression), names(faces)) == ([3, 4], ["fer0000000.png", "fer0000005.png"])
    assert shades(faces) == [0, 50]
    assert "4 of 6 faces are left out: 1 with a tie, 1 contempt, 1 unknown, 1 NF" in caplog.text


def test_more_than_half_of_the_votes_may_be_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, votes = plus_set(tmp_path)
    faces = opened(format="fer2013", path=path, ferplus=votes, ferplus_rule="half")
    assert (values(faces.labels.expression), shades(faces)) == ([3], [0])
    assert "2 without a majority" in caplog.text


def test_votes_of_other_rows_are_refused(tmp_path: Path) -> None:
    path, votes = plus_set(tmp_path)
    lines = votes.read_text().splitlines()
    with pytest.raises(InputError, match=r"fer2013new\.csv: 5 rows, but .*fer2013\.csv has 6"):
        opened(format="fer2013", path=path, ferplus=write(votes, *lines[:-1]))
    lines[2] = lines[2].replace("Training", "PublicTest")
    with pytest.raises(InputError, match=r"fer2013new\.csv:3: Usage is not Training"):
        opened(format="fer2013", path=path, ferplus=write(votes, *lines))
