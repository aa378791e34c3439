"""What evaluation reads: .bin files of insightface, lists of pairs, and the lists of IJB."""

import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceanalytics.errors import InputError
from workers.research.evaluate.bin_file import read_bin
from workers.research.evaluate.ijb_files import IjbFolder, read_faces, read_subjects, read_template_pairs
from workers.research.evaluate.pair_list import read_pairs


def encoded(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (112, 112, 3), np.uint8)
    return bytes(cv2.imencode(".png", noise)[1])


def write_bin(path: Path, bins: object, same: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps((bins, same), protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "stored", [bytes, lambda data: np.frombuffer(data, np.uint8), lambda data: np.array(list(data), np.uint8)]
)
@pytest.mark.parametrize("truths", [list, lambda same: [np.bool_(one) for one in same], np.array])
def test_bin_files_of_every_protocol_hold_the_same(
    tmp_path: Path, protocol: int, stored: Callable[[bytes], object], truths: Callable[[list[bool]], object]
) -> None:
    same = [True, False] * 5
    bins = [encoded(seed) for seed in range(19)] + [b""]
    path = write_bin(tmp_path / "a.bin", [stored(data) for data in bins], truths(same), protocol)
    images, pairs = read_bin(path)
    assert list(images.encoded) == bins
    assert pairs.same.tolist() == same
    assert (pairs.first.tolist(), pairs.second.tolist()) == (list(range(0, 20, 2)), list(range(1, 20, 2)))
    assert pairs.fold.tolist() == list(range(10))
    assert images.read(3).shape == (112, 112, 3)


def python2_text(data: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(data)) + data


def python2_array(data: bytes) -> bytes:
    """An array of uint8 as numpy in Python 2 pickles it."""
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01J" + struct.pack("<i", len(data)) + b"\x85" + dtype + b"\x89" + python2_text(data) + b"tb"
    return b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state


@pytest.mark.parametrize("stored", [python2_text, python2_array])
def test_a_bin_file_of_python_2_is_read(tmp_path: Path, stored: Callable[[bytes], bytes]) -> None:
    bins = [encoded(seed) for seed in range(20)]
    path = tmp_path / "lfw.bin"
    path.write_bytes(b"\x80\x02](" + b"".join(map(stored, bins)) + b"e](" + b"\x88\x89" * 5 + b"e\x86.")
    assert any("BINSTRING" in opcode.name for opcode, _, _ in pickletools.genops(path.read_bytes()))
    images, pairs = read_bin(path)
    assert list(images.encoded) == bins
    assert pairs.same.tolist() == [True, False] * 5


class Malicious:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, protocol: int) -> None:
    path = write_bin(tmp_path / "a.bin", [Malicious(tmp_path / "run")] * 20, [True] * 10, protocol)
    with pytest.raises(InputError, match=r"a\.bin: it holds posix\.mkdir, which a \.bin file does not need; refused"):
        read_bin(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name",
    [
        b"cos\nsystem\n",
        b"cbuiltins\neval\n",
        b"c__builtin__\neval\n",
        b"cnumpy\nload\n",
        b"cnumpy.core.numeric\nload\n",
    ],
)
def test_only_what_arrays_need_may_be_named(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x80\x02" + name + b".")
    with pytest.raises(InputError, match=r"which a \.bin file does not need"):
        read_bin(tmp_path / "a.bin")


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    bins = [np.array([b"a", None], object)] * 20
    with pytest.raises(InputError, match=r"damaged \(ValueError\)"):
        read_bin(write_bin(tmp_path / "a.bin", bins, [True] * 10))


@pytest.mark.parametrize(
    ("bins", "same", "reason"),
    [
        ([b"x"] * 19, [True] * 10, "19 images for 10 pairs, expected two for each"),
        ([b"x"] * 18, [True] * 9, "9 pairs cannot be divided into 10 folds"),
        ([b"x"] * 19 + ["text"], [True] * 10, "image 19 is str, expected bytes"),
        ([b"x"] * 20, [True] * 9 + [2], "issame of pair 9 is int, expected True or False"),
        ({"x": 1}, [True] * 10, "expected two lists, found dict and list of 10"),
    ],
)
def test_a_bin_file_of_another_form_is_refused(tmp_path: Path, bins: object, same: object, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_bin(write_bin(tmp_path / "a.bin", bins, same))


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps(([b"x"] * 20, [True] * 10))[:40]])
def test_a_damaged_bin_file_is_an_error_that_names_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.bin: not a \.bin file of insightface, or damaged"):
        read_bin(tmp_path / "a.bin")


def test_an_invalid_image_of_a_bin_file_is_named_with_its_pair(tmp_path: Path) -> None:
    images, _ = read_bin(write_bin(tmp_path / "a.bin", [b"no image"] * 20, [True] * 10))
    with pytest.raises(InputError, match=r"a\.bin: image 7 \(of pair 3\): not an image"):
        images.read(7)


def write_list(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "list.txt").write_text("".join(line + "\n" for line in lines))
    return tmp_path / "list.txt"


def test_the_list_of_lfw_has_folds_and_two_kinds_of_lines(tmp_path: Path) -> None:
    (tmp_path / "Ann_Lee").mkdir()
    (tmp_path / "Ann_Lee" / "Ann_Lee_0002.png").write_bytes(encoded(0))
    path = write_list(tmp_path, "2\t1", "Ann_Lee\t1\t2", "Ann_Lee\t2\tBo\t13", "Bo\t1\t13", "Bo\t1\tAnn_Lee\t1")
    files, pairs = read_pairs(path, tmp_path)
    names = [(files.name(a), files.name(b)) for a, b in zip(pairs.first, pairs.second, strict=True)]
    assert names == [
        ("Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0002.png"),
        ("Ann_Lee/Ann_Lee_0002.png", "Bo/Bo_0013.jpg"),
        ("Bo/Bo_0001.jpg", "Bo/Bo_0013.jpg"),
        ("Bo/Bo_0001.jpg", "Ann_Lee/Ann_Lee_0001.jpg"),
    ]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.fold.tolist() == [0, 0, 1, 1]
    assert len(files) == 4  # each image once


def test_a_general_list_is_parted_in_order_or_names_its_folds(tmp_path: Path) -> None:
    lines = [f"a/{number}.jpg b/{number}.jpg {number % 2}" for number in range(20)]
    _, pairs = read_pairs(write_list(tmp_path, *lines), tmp_path)
    assert pairs.fold.tolist() == [number // 2 for number in range(20)]
    assert pairs.same.tolist() == [False, True] * 10
    _, pairs = read_pairs(write_list(tmp_path, "x.jpg y.jpg 1 7", "y.jpg z.jpg 0 3", "x.jpg z.jpg 0 7"), tmp_path)
    assert pairs.fold.tolist() == [1, 0, 1]


def test_paths_with_blanks_stand_between_tabs(tmp_path: Path) -> None:
    files, _ = read_pairs(write_list(tmp_path, "my face.jpg\tb.jpg\t1\t0", "c.jpg\tb.jpg\t0\t1"), tmp_path)
    assert [files.name(row) for row in range(3)] == ["my face.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["a b 1 0", "", "a c 0"], r"list\.txt:3: expected 4 columns .* found 3"),
        (["a b"], r"list\.txt:1: expected 3 or 4 columns"),
        (["a b 1 0", "a b yes 0"], r"list\.txt:2: 'yes' is neither 1"),
        (["a b 1 0", "a b 0 first"], r"list\.txt:2: 'first' is not the number of a fold"),
        (["a b 1 0", "a c 0 0"], "all pairs are in one fold"),
        (["a b 1"] * 9, "9 pairs cannot be divided into 10 folds"),
        (
            ["2 1", "A 1 2", "A 1 B 2", "B 1 2"],
            "3 pairs, but its first line announces 2 folds with 1 pairs of each kind",
        ),
        (["2 1", "A 1 2", "A 1 B 2 3", "B 1 2", "A 1 B 1"], r"list\.txt:3: .* found 5 columns"),
        (["2 1", "A 1 2", "A 1 B two", "B 1 2", "A 1 B 1"], r"list\.txt:3: 'two' is not the number of an image"),
        ([], "the list is empty"),
    ],
)
def test_a_wrong_list_of_pairs_is_an_error_with_its_line(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_pairs(write_list(tmp_path, *lines), tmp_path)


def ijb(tmp_path: Path, **files: list[str]) -> IjbFolder:
    """A folder of ijbc with these lists of meta/."""
    (tmp_path / "meta").mkdir()
    (tmp_path / "loose_crop").mkdir()
    for name, lines in files.items():
        suffix = ".csv" if name.startswith("1N") else ".txt"
        (tmp_path / "meta" / f"ijbc_{name.removeprefix('_')}{suffix}").write_text(
            "".join(f"{line}\n" for line in lines)
        )
    return IjbFolder(tmp_path, "ijbc")


POINTS = "46.060 62.026 87.785 60.323 68.851 77.656 52.162 99.875 86.450 98.648 0.999"


def test_the_lists_of_ijb_say_template_medium_landmarks_and_score(tmp_path: Path) -> None:
    folder = ijb(
        tmp_path, face_tid_mid=["1.jpg 5 690", "2.jpg 6 691"], name_5pts_score=[f"1.jpg {POINTS}", f"2.jpg {POINTS}"]
    )
    faces = read_faces(folder)
    assert faces.names == ("1.jpg", "2.jpg")
    assert (faces.template.tolist(), faces.medium.tolist()) == ([5, 6], [690, 691])
    assert faces.landmarks.shape == (2, 5, 2)
    assert faces.landmarks[1, 2].tolist() == pytest.approx([68.851, 77.656])
    assert faces.score.tolist() == pytest.approx([0.999, 0.999])


@pytest.mark.parametrize(
    ("media", "points", "reason"),
    [
        (["1.jpg 5 690", "2.jpg 6"], [], r"face_tid_mid\.txt:2: expected 3 columns, found 2"),
        (["1.jpg 5 x"], [f"1.jpg {POINTS}"], r"face_tid_mid\.txt:1: .*'x'"),
        (["1.jpg 5 690"], ["1.jpg 1 2 3"], r"5pts_score\.txt:1: expected 12 columns, found 4"),
        (["1.jpg 5 690"], [f"1.jpg {POINTS.replace('99.875', 'nan')}"], r"5pts_score\.txt:1: a number is not finite"),
        (["1.jpg 5 690"], [f"1.jpg {POINTS}"] * 2, "has 1 images, .* has 2"),
        (["1.jpg 5 690", "3.jpg 5 1"], [f"{n}.jpg {POINTS}" for n in (1, 2)], r"mid\.txt:2: 3\.jpg, but .* has 2\.jpg"),
        ([], [], "the list is empty"),
    ],
)
def test_a_wrong_list_of_faces_is_an_error_with_its_line(
    tmp_path: Path, media: list[str], points: list[str], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        read_faces(ijb(tmp_path, face_tid_mid=media, name_5pts_score=points))


def test_template_pairs_are_three_numbers(tmp_path: Path) -> None:
    path = write_list(tmp_path, "1 11065 1", "1 11066 0")
    pairs = read_template_pairs(path)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([1, 1], [11065, 11066])
    assert pairs.same.tolist() == [True, False]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["1 2 1", "1 3"], r"list\.txt:2: expected 3 columns, found 2"),
        (["1 2", "1 3"], r"list\.txt:1: expected 3 columns"),
        (["1 2 1", "1 x 0"], r"list\.txt:2: 'x' is not a whole number"),
        (["1 2 1", "1 3 2"], r"list\.txt:2: 2 is neither 1"),
        ([], "the list is empty"),
    ],
)
def test_a_wrong_list_of_template_pairs_is_an_error_with_its_line(
    tmp_path: Path, lines: list[str], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        read_template_pairs(write_list(tmp_path, *lines))


def test_subjects_are_found_by_the_heading_and_once_per_template(tmp_path: Path) -> None:
    path = write_list(tmp_path, "TEMPLATE_ID,SUBJECT_ID,FILENAME", "9,4,img/1.jpg", "3,7,img/2.jpg", "9,4,img/3.jpg")
    subjects = read_subjects(path)
    assert (subjects.template.tolist(), subjects.subject.tolist()) == ([3, 9], [7, 4])


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["TEMPLATE,SUBJECT_ID", "1,2"], r"list\.txt:1: the header has no TEMPLATE_ID"),
        (["TEMPLATE_ID,SUBJECT_ID,F", "1,2,x", "1,2"], r"list\.txt:3: 2 columns, the header has 3"),
        (["TEMPLATE_ID,SUBJECT_ID", "1,2", "1,3"], r"list\.txt:3: template 1 shows subject 3, but 2"),
        (["TEMPLATE_ID,SUBJECT_ID", "1,x"], r"list\.txt:2: 'x' is not a whole number"),
        (["TEMPLATE_ID,SUBJECT_ID"], "the list is empty"),
    ],
)
def test_a_wrong_list_of_subjects_is_an_error_with_its_line(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_subjects(write_list(tmp_path, *lines))


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    folder = IjbFolder(tmp_path, "ijbb")
    with pytest.raises(InputError) as caught:
        folder.check(("1:1", "1:N"))
    for name in ("ijbb_face_tid_mid.txt", "ijbb_template_pair_label.txt", "ijbb_1N_gallery_S2.csv", "loose_crop/"):
        assert name in str(caught.value)
