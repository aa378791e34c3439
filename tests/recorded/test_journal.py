"""What the models have answered survives a killed process, and damage to it costs time only."""

import random
from pathlib import Path

import numpy as np
import pytest

from faceanalytics.errors import ConfigError
from streamer.recorded.filenames import JOURNAL
from streamer.recorded.journal import Array, Journal, Kind, journal_header, packed, unpacked
from tests.support.disk import small_files

HEADER = {"run_id": "r"}


def answer(number: int) -> list[Array]:
    return [np.full((2, 3), number, np.float32), np.array([True, False]), np.zeros((0, 4), np.float32), np.array(1.5)]


def write(folder: Path, calls: int = 5) -> Path:
    path = folder / JOURNAL
    with Journal(path, HEADER, go_on=False) as journal:
        for number in range(calls):
            journal.keep(Kind.FACES, number, 10 + number, answer(number))
            journal.keep(Kind.ANALYSES, 100 * number, 20, answer(-number))
    return path


def recalled(path: Path, calls: int = 5) -> list[bool]:
    """Which answers are recalled, each of them right; those that are not are given again and kept."""
    found = []
    with Journal(path, HEADER, go_on=True) as journal:
        for number in range(calls):
            for kind, name, checksum, value in (
                (Kind.FACES, number, 10 + number, number),
                (Kind.ANALYSES, 100 * number, 20, -number),
            ):
                arrays = journal.recall(kind, name, checksum)
                found.append(arrays is not None)
                if arrays is None:
                    arrays = journal.keep(kind, name, checksum, answer(value))
                for one, other in zip(arrays, answer(value), strict=True):
                    assert (one.dtype, one.shape) == (other.dtype, other.shape)
                    np.testing.assert_array_equal(one, other)
    return found


def test_all_answers_are_recalled_once(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert recalled(path) == [True] * 10
    assert journal_header(path) == HEADER
    with Journal(path, HEADER, go_on=True) as journal:
        assert journal.kept_words() == "5 searches for faces and 5 batches of faces are done"
        assert journal.recall(Kind.FACES, 0, 10) is not None
        assert journal.recall(Kind.FACES, 0, 10) is None


def test_an_answer_to_another_input_is_not_recalled(tmp_path: Path) -> None:
    with Journal(write(tmp_path), HEADER, go_on=True) as journal:
        assert journal.recall(Kind.FACES, 1, 99) is None
        assert [journal.recalls] == [False]
        assert journal.recall(Kind.FACES, 2, 12) is not None
        assert journal.recalls
        assert journal.recall(Kind.ROLLS, 3, 13) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_journal_that_was_cut_off_is_continued(tmp_path: Path, seed: int) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    length = random.Random(seed).randrange(len(whole))
    path.write_bytes(whole[:length])
    found = recalled(path)
    assert found == sorted(found, reverse=True)  # what comes before the cut, and nothing behind it
    if journal_header(path) is not None:
        assert recalled(path) == [True] * 10


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_byte_costs_what_comes_behind_it(tmp_path: Path, seed: int) -> None:
    path = write(tmp_path)
    content = bytearray(path.read_bytes())
    place = random.Random(seed).randrange(len(content))
    content[place] ^= 0x55
    path.write_bytes(content)
    found = recalled(path)
    assert found == sorted(found, reverse=True)
    assert not all(found)


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    assert write(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_reported_and_what_fits_is_recalled(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    with pytest.raises(ConfigError, match=rf"cannot write {path}: File too large"), small_files(1000):
        write(tmp_path, calls=50)
    found = recalled(path)
    assert any(found)
    assert found == sorted(found, reverse=True)


def test_what_is_no_journal_has_no_header(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    assert journal_header(path) is None
    for content in (b"", b"text\n" * 100):
        path.write_bytes(content)
        assert journal_header(path) is None


def test_recalled_arrays_have_one_layout() -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    (array,) = unpacked(packed([turned]))
    np.testing.assert_array_equal(array, turned)
    assert array.flags.c_contiguous
    assert array.flags.writeable
