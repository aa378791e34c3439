"""Pictures of people: one file each, and all of them on a contact sheet."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.recorded.formats.contact_sheet import FACE, GAP, HEAD, PEOPLE, ROW, TEXT, WIDTH
from streamer.recorded.formats.faces import file_name
from streamer.recorded.formats.files import Formats, write_formats
from streamer.values import Bytes
from tests.support.stored_results import Seen, write_results
from tests.support.videos import image, make_video

TIMES = [frame / 25 for frame in range(50)]
BOTH = Formats(("faces", "contact-sheet"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "video.mp4")


def read(path: Path) -> Bytes:
    return np.asarray(cv2.imread(str(path)), np.uint8)


def slot(sheet: Bytes, row: int, column: int) -> Bytes:
    """A picture of a face on the sheet, or the white place where it would be."""
    top, left = HEAD + row * ROW + GAP, GAP + TEXT + column * (FACE + GAP)
    return sheet[top : top + FACE, left : left + FACE]


def test_each_person_has_a_picture_of_the_best_moment(video: Path, tmp_path: Path) -> None:
    box = (150.0, 110.0, 20.0, 20.0)
    tracks = [Seen("a", 1, 1, 0, 49, box, qualities={31: 0.9}), Seen("b", 2, 2, 10, 12, (0.0, 200.0, 60.0, 60.0))]
    folder = write_results(tmp_path, tracks, times=TIMES, names={1: "Anna B/../."}, video=video)
    written = write_formats(folder, Formats(("faces",)), video)
    assert [path.name for path in written] == ["person-001-Anna_B_____.jpg", "person-002.jpg"]
    best = read(written[0])
    assert best.shape == (38, 38, 3)
    assert np.abs(best.astype(int) - image(31, (320, 240))[101:139, 141:179]).mean() < 12
    assert not (folder / "contact-sheet.jpg").exists()


def test_pictures_of_people_who_are_no_longer_found_are_removed(video: Path, tmp_path: Path) -> None:
    folder = write_results(tmp_path, [Seen(str(n), n, n, 0, 9) for n in range(1, 12)], times=TIMES, video=video)
    write_formats(folder, BOTH, video)
    assert len(list((folder / "faces").iterdir())) == 11
    assert (folder / "contact-sheet-2.jpg").exists()
    (folder / "faces" / "of-mine.jpg").touch()
    write_results(tmp_path, [Seen("1", 1, 1, 0, 9)], times=TIMES, video=video)
    write_formats(folder, BOTH, video)
    assert sorted(path.name for path in (folder / "faces").iterdir()) == ["of-mine.jpg", "person-001.jpg"]
    assert sorted(path.name for path in folder.glob("*.jpg")) == ["contact-sheet.jpg"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (None, "person-007.jpg"),
        ("Žofie-2", "person-007-Žofie-2.jpg"),
        ("a\0b\\c:d*e?f\n", "person-007-a_b_c_d_e_f_.jpg"),
        ("x" * 300, f"person-007-{'x' * 60}.jpg"),
        ("王" * 300, f"person-007-{'王' * 60}.jpg"),
    ],
)
def test_any_name_is_a_file_name(name: str | None, file: str, tmp_path: Path) -> None:
    assert file_name({"number": 7, "name": name}) == file
    (tmp_path / file).touch()


def test_a_contact_sheet_has_a_row_per_person_and_pictures_over_time(video: Path, tmp_path: Path) -> None:
    box = (20.0, 90.0, 60.0, 60.0)
    tracks = [Seen("a", 1, 1, 0, 49, box), Seen("b", 2, 2, 0, 9, box)]
    folder = write_results(tmp_path, tracks, times=TIMES, names={1: "Anna Žižková 王"}, video=video)
    (path,) = write_formats(folder, Formats(("contact-sheet",)), video)
    sheet = read(path)
    assert sheet.shape == (HEAD + 2 * ROW + GAP, WIDTH, 3)
    shown = [[slot(sheet, row, column).mean() < 250 for column in range(4)] for row in (0, 1)]
    assert shown == [[True, True, False, False], [True, False, False, False]]
    assert not (folder / "faces").exists()


def test_many_people_are_on_several_pages(video: Path, tmp_path: Path) -> None:
    tracks = [Seen(str(n), n, n, 0, 1) for n in range(1, 2 * PEOPLE + 2)]
    folder = write_results(tmp_path, tracks, times=TIMES, video=video)
    written = write_formats(folder, Formats(("contact-sheet",)), video)
    assert [path.name for path in written] == ["contact-sheet.jpg", "contact-sheet-2.jpg", "contact-sheet-3.jpg"]
    assert [read(path).shape[0] for path in written] == [HEAD + n * ROW + GAP for n in (PEOPLE, PEOPLE, 1)]


def test_a_video_without_people_has_a_sheet_that_says_so(video: Path, tmp_path: Path) -> None:
    folder = write_results(tmp_path, [], times=TIMES, video=video)
    written = write_formats(folder, BOTH, video)
    assert [path.name for path in written] == ["contact-sheet.jpg"]
    assert (read(written[0])[HEAD:] < 128).any()


def test_the_same_results_give_the_same_bytes(video: Path, tmp_path: Path) -> None:
    tracks = [Seen("a", 1, 1, 0, 49), Seen("b", 2, 2, 0, 9)]
    folder = write_results(tmp_path, tracks, times=TIMES, video=video)
    first = [path.read_bytes() for path in write_formats(folder, BOTH, video)]
    assert [path.read_bytes() for path in write_formats(folder, BOTH, video)] == first
