"""insightface's RecordIO, against a writer that follows the description of dmlc-core, word for word."""

import logging
import multiprocessing
import pickle
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceanalytics.errors import InputError
from tests.support.face_files import names, opened, shade, shades, values
from workers.research.data.face_set import FaceSet

MAGIC = b"\x0a\x23\xd7\xce"  # 0xced7230a, little-endian


def part(flag: int, data: bytes) -> bytes:
    """Magic, a word of flag and length, data, zeros up to a multiple of four."""
    return MAGIC + struct.pack("<I", flag << 29 | len(data)) + data + b"\0" * (-len(data) % 4)


def record(data: bytes) -> bytes:
    """One record: where the magic number stands at a multiple of four, the data are split and it is left out."""
    pieces, start = [], 0
    for place in range(0, len(data) - 3, 4):
        if data[place : place + 4] == MAGIC:
            pieces.append(data[start:place])
            start = place + 4
    pieces.append(data[start:])
    if len(pieces) == 1:
        return part(0, data)
    flags = [1, *[2] * (len(pieces) - 2), 3]
    return b"".join(part(flag, piece) for flag, piece in zip(flags, pieces, strict=True))


def face(label: float | Sequence[float], image: bytes, key: int = 0) -> bytes:
    """Header of flag, label, id, id2, then the labels if there are several, then the image."""
    if isinstance(label, int | float):
        return struct.pack("<IfQQ", 0, label, key, 0) + image
    return struct.pack("<IfQQ", len(label), 0, key, 0) + np.array(label, "<f4").tobytes() + image


def write_records(folder: Path, records: Sequence[bytes], index: bool = True) -> Path:
    """train.rec and train.idx with keys from 0."""
    data, lines = b"", []
    for key, content in enumerate(records):
        lines.append(f"{key}\t{len(data)}\n")
        data += record(content)
    (folder / "train.rec").write_bytes(data)
    if index:
        (folder / "train.idx").write_text("".join(lines))
    return folder


def faces_of(folder: Path, labels: Sequence[float | Sequence[float]], **options: Any) -> Path:
    """As insightface packs a set: record 0 says where the images end, what follows them is about people."""
    head = face([len(labels) + 1, len(labels) + 3], b"")
    images = [face(label, shade(10 * key), key) for key, label in enumerate(labels, 1)]
    return write_records(folder, [head, *images, face([1, 3], b""), face([3, 5], b"")], **options)


def opened_in(folder: Path) -> FaceSet:
    return opened(format="recordio", path=folder)


def test_images_and_identities_are_those_that_record_0_speaks_of(tmp_path: Path) -> None:
    faces = opened_in(faces_of(tmp_path, [0, 0, 1, [2, 7.5]]))
    assert names(faces) == ["1", "2", "3", "4"]
    assert values(faces.labels.identity) == [0, 0, 1, 2]
    assert faces.identities == ("0", "1", "2")
    assert shades(faces) == [10, 20, 30, 40]


def test_without_such_a_record_all_records_are_images(tmp_path: Path) -> None:
    folder = write_records(tmp_path, [face(label, shade(10 * label + 10)) for label in (0, 1, 1)])
    faces = opened_in(folder)
    assert names(faces) == ["0", "1", "2"]
    assert (values(faces.labels.identity), shades(faces)) == ([0, 1, 1], [10, 20, 20])


def test_a_first_image_with_several_labels_is_an_image(tmp_path: Path) -> None:
    faces = opened_in(write_records(tmp_path, [face([0, 3], shade(5)), face([1, 3], shade(6))]))
    assert (values(faces.labels.identity), shades(faces)) == ([0, 1], [5, 6])


def test_gaps_in_the_labels_are_closed_and_the_labels_stay_as_names(tmp_path: Path) -> None:
    faces = opened_in(faces_of(tmp_path, [907, 5, 907, 11]))
    assert values(faces.labels.identity) == [2, 0, 2, 1]
    assert faces.identities == ("5", "11", "907")


def test_the_index_is_built_if_there_is_none(tmp_path: Path) -> None:
    with_index = opened_in(faces_of(tmp_path, [0, 1, 1]))
    (tmp_path / "train.idx").unlink()
    without = opened(format="recordio", path=tmp_path / "train.rec")
    assert names(without) == names(with_index)
    assert (values(without.labels.identity), shades(without)) == ([0, 1, 1], [10, 20, 30])


@pytest.mark.parametrize("index", [True, False])
def test_a_record_whose_data_hold_the_magic_number_is_put_together_again(index: bool, tmp_path: Path) -> None:
    image = shade(200)
    padding = -(24 + len(image)) % 4
    tail = b"\0" * padding + MAGIC + b"abc!" + MAGIC + MAGIC + b"z"  # bytes behind a PNG are not looked at
    packed = [face(0, image + tail), face(1, shade(100)), face(struct.unpack("<f", MAGIC)[0], b"")]
    assert record(packed[0]).count(MAGIC) == 4  # in four parts
    folder = write_records(tmp_path, packed[:2], index)
    faces = opened_in(folder)
    assert (values(faces.labels.identity), shades(faces)) == ([0, 1], [200, 100])
    records: Any = faces.images
    assert records.file.record(0, 0) == packed[0]


def test_a_header_that_holds_the_magic_number_is_read(tmp_path: Path) -> None:
    key = struct.unpack("<Q", MAGIC + b"\0\0\0\0")[0]
    content = struct.pack("<IfQQ", 0, 3.0, key, 0) + shade(9)
    assert record(content).startswith(part(1, content[:8]))
    faces = opened_in(write_records(tmp_path, [content, face(4, shade(8))]))
    assert (faces.identities, shades(faces)) == (("3", "4"), [9, 8])


def test_lengths_that_are_no_multiple_of_four_are_padded(tmp_path: Path) -> None:
    folder = write_records(tmp_path, [face(key, shade(key) + b"\0" * key) for key in range(7)], index=False)
    assert shades(opened_in(folder)) == list(range(7))


@pytest.mark.parametrize(
    "form", ["{aligned}\t/data/{key}.jpg\t{label}", "{key}\t{label}\t{key}.jpg", "1\tp\t{label}\t1\t2\t3\t4"]
)
def test_labels_are_taken_from_the_list(form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = [0, 2, 2]
    folder = faces_of(tmp_path, labels)
    lines = [form.format(aligned=1, key=key, label=label) for key, label in enumerate(labels, 1)]
    (folder / "train.lst").write_text("\n".join(lines))
    with caplog.at_level(logging.WARNING):
        assert opened_in(folder).identities == ("0", "2")
    assert caplog.text == ""


@pytest.mark.parametrize(("lines", "message"), [(2, "2 lines for 3 images"), (3, "disagrees with the records")])
def test_a_list_of_other_records_is_not_believed(
    lines: int, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = faces_of(tmp_path, [0, 1, 1])
    (folder / "train.lst").write_text("1\ta.jpg\t7\n" * lines)
    with caplog.at_level(logging.WARNING):
        assert values(opened_in(folder).labels.identity) == [0, 1, 1]
    assert message in caplog.text


def test_a_list_line_that_says_nothing_is_named(tmp_path: Path) -> None:
    folder = faces_of(tmp_path, [0, 1])
    (folder / "train.lst").write_text("1\ta.jpg\t0\n1\tb.jpg\n")
    with pytest.raises(InputError, match=r"train\.lst:2: expected"):
        opened_in(folder)


def test_a_set_goes_to_another_process_as_a_path(tmp_path: Path) -> None:
    faces = opened_in(faces_of(tmp_path, [0, 1, 1]))
    assert len(pickle.dumps(faces)) < 2000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(shades, (faces,)) == [10, 20, 30]


def test_many_records_have_the_labels_of_their_headers(tmp_path: Path) -> None:
    labels = [key % 977 for key in range(5000)]
    folder = write_records(
        tmp_path, [face(label if label % 2 else [label], b"\0" * (label % 9 + 1)) for label in labels]
    )
    assert values(opened_in(folder).labels.identity) == labels


# --- what is damaged ---


def damaged(folder: Path, offset: int, data: bytes) -> Path:
    path = folder / "train.rec"
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)
    return folder


def offset_of(folder: Path, key: int) -> int:
    return int((folder / "train.idx").read_text().splitlines()[key].split("\t")[1])


def test_a_record_without_the_magic_number_is_named(tmp_path: Path) -> None:
    folder = faces_of(tmp_path, [0, 1, 1])
    offset = offset_of(folder, 2)
    damaged(folder, offset, b"oops")
    expected = f"{folder / 'train.rec'}: record 2 at byte {offset} begins with 0x73706f6f"
    with pytest.raises(InputError, match=re.escape(expected)):
        opened_in(folder)
    (folder / "train.idx").unlink()
    with pytest.raises(InputError, match=re.escape(expected)):
        opened_in(folder)


@pytest.mark.parametrize("index", [True, False])
def test_a_record_that_ends_beyond_the_file_is_named(index: bool, tmp_path: Path) -> None:
    folder = write_records(tmp_path, [face(0, shade(1)), face(1, shade(2))])
    offset = offset_of(folder, 1)
    path = folder / "train.rec"
    path.write_bytes(path.read_bytes()[:-20])
    if not index:
        (folder / "train.idx").unlink()
    with pytest.raises(InputError, match=rf"record 1 at byte {offset} .*ends beyond the end of the file"):
        opened_in(folder)


def test_an_offset_beyond_the_file_is_named(tmp_path: Path) -> None:
    folder = write_records(tmp_path, [face(0, shade(1)), face(1, shade(2))])
    (folder / "train.idx").write_text("0\t0\n1\t99999\n")
    with pytest.raises(InputError, match="record 1 at byte 99999 starts beyond the end of the file"):
        opened_in(folder)


def test_a_record_without_an_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    folder = write_records(tmp_path, [face(0, shade(1)), face(1, b"no image")])
    faces = opened_in(folder)
    expected = f"{folder / 'train.rec'}: record 1 at byte {offset_of(folder, 1)}: not an image"
    with pytest.raises(InputError, match=re.escape(expected)):
        faces.images.read(1)


def test_a_record_too_short_for_its_header_is_named(tmp_path: Path) -> None:
    folder = write_records(tmp_path, [face(0, shade(1)), b"short"])
    with pytest.raises(InputError, match=r"record 1 at byte \d+ of 5 bytes has no header"):
        opened_in(folder)


def test_parts_in_a_wrong_order_are_named(tmp_path: Path) -> None:
    content = face(0, shade(1))
    (tmp_path / "train.rec").write_bytes(part(1, content[:8]) + part(0, content))
    (tmp_path / "train.idx").write_text("0\t0\n")
    with pytest.raises(InputError, match="record 0 at byte 16 goes on with a part of kind 0"):
        opened_in(tmp_path)
    (tmp_path / "train.rec").write_bytes(part(2, content))
    with pytest.raises(InputError, match="record 0 at byte 0 begins with a part of kind 2"):
        opened_in(tmp_path)


def test_missing_images_are_counted(tmp_path: Path) -> None:
    folder = faces_of(tmp_path, [0, 1, 1])
    lines = (folder / "train.idx").read_text().splitlines(keepends=True)
    (folder / "train.idx").write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(InputError, match="record 0 announces images 1 to 3, but the file has 2 of them"):
        opened_in(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\t0\n1\tx\n", r"train\.idx:2: expected a key and an offset, found '1\\tx'"),
        ("0\t0\n1\n", r"train\.idx:2: "),
        ("0\t0\t5\n1\t2\n", r"train\.idx:1: "),
        ("0\t0\n0\t0\n", "a key is listed twice"),
        ("", "no records"),
    ],
)
def test_a_wrong_index_is_named(text: str, message: str, tmp_path: Path) -> None:
    folder = write_records(tmp_path, [face(0, shade(1)), face(1, shade(2))])
    (folder / "train.idx").write_text(text)
    with pytest.raises(InputError, match=message):
        opened_in(folder)


@pytest.mark.parametrize("label", [-1.0, 0.5, float("nan")])
def test_a_label_that_is_no_identity_is_named(label: float, tmp_path: Path) -> None:
    folder = write_records(tmp_path, [face(0, shade(1)), face(label, shade(2))])
    with pytest.raises(InputError, match=r"record 1 at byte \d+ has the label .*, which is not an identity"):
        opened_in(folder)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.rec: No such file"):
        opened_in(tmp_path)
    (tmp_path / "train.rec").write_bytes(b"")
    with pytest.raises(InputError, match=r"train\.rec: cannot mmap an empty file"):
        opened_in(tmp_path)


def test_aligned_images_are_found_by_the_keys(tmp_path: Path) -> None:
    (tmp_path / "aligned").mkdir()
    folder = faces_of(tmp_path, [0, 1])
    for key in (1, 2):
        (tmp_path / "aligned" / f"{key}.jpg").write_bytes(shade(100 + key))
    faces = opened(format="recordio", path=folder, images=tmp_path / "aligned")
    assert (names(faces), shades(faces)) == (["1", "2"], [101, 102])
