"""Encrypted galleries: what was written is read with the passphrase, and every other byte or word is an error."""

import stat
from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.gallery_file import PART, check_gallery, is_gallery, read_gallery, write_gallery

WORDS = "correct horse battery"
RECORDS = [b"", b"one", bytes(range(256)) * 1000, b"last"]  # of four parts


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "a.fagallery"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faceanalytics.gallery_file.COST", 1 << 14)  # it is read often here
        write_gallery(path, WORDS, RECORDS)
    return path


def changed(file: Path, folder: Path, data: bytes) -> Path:
    path = folder / file.name
    path.write_bytes(data)
    return path


def test_records_come_back_and_nobody_else_may_read_the_file(file: Path) -> None:
    assert list(read_gallery(file, WORDS)) == RECORDS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert is_gallery(file)
    assert not any(bytes(range(200)) in file.read_bytes() for _ in "a")
    with pytest.raises(ConfigError, match="exists already"):
        write_gallery(file, WORDS, [])


def test_a_wrong_passphrase_is_told_from_damage(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the passphrase is wrong"):
        check_gallery(file, WORDS + "!")
    data = file.read_bytes()
    for place in (len(data) - 1, len(data) - PART, len(data) // 2):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(InputError, match="damaged"):
            check_gallery(changed(file, tmp_path, bytes(damaged)), WORDS)


def test_parts_that_are_cut_off_left_out_or_exchanged_are_found(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    start, sealed = 10 + 4 + int.from_bytes(data[10:14]), PART + 16
    parts = [data[at : at + sealed] for at in range(start, len(data), sealed)]
    head = data[:start]
    for wrong in (parts[:-1], parts[1:], [parts[1], parts[0], *parts[2:]], [*parts, parts[-1]], [*parts[:-1], b""]):
        with pytest.raises(InputError, match="damaged"):
            check_gallery(changed(file, tmp_path, head + b"".join(wrong)), WORDS)
    for length in (0, 5, 12, 40, start - 1, start, start + 5, len(data) - 1):
        with pytest.raises(InputError, match=r"no gallery|damaged"):
            check_gallery(changed(file, tmp_path, data[:length]), WORDS)


@pytest.mark.parametrize("change", [(b'"version": 1', b'"version": 2'), (b"16384", b"16385"), (b"16384", b"99999")])
def test_a_header_that_asks_for_anything_else_is_refused(
    file: Path, tmp_path: Path, change: tuple[bytes, bytes]
) -> None:
    with pytest.raises(InputError, match=r"version 2|damaged"):
        check_gallery(changed(file, tmp_path, file.read_bytes().replace(*change)), WORDS)


def test_a_short_passphrase_is_refused_and_a_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 8"):
        write_gallery(tmp_path / "a.fagallery", "short", [])

    def failing() -> "list[bytes]":
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        write_gallery(tmp_path / "a.fagallery", WORDS, (one for one in failing()))
    assert list(tmp_path.iterdir()) == []
