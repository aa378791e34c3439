"""Zip archives from anybody: what is in them is read, and what would do harm is refused before it is decompressed."""

import stat
import zipfile
from pathlib import Path

import pytest

from faceanalytics.archives import MOST_ENTRIES, Unreadable, is_archive, packed_files
from faceanalytics.errors import InputError
from tests.support.archives import overlapping, with_flag, write_bomb, write_many, write_zip

MOST = 64 << 20


def read_all(path: Path, most: int = MOST) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for one in packed_files(path, most):
        try:
            found[one.name] = one.read()
        except Unreadable as error:
            found[one.name] = str(error)
    return found


def test_files_come_sorted_and_folders_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    files = {"b/2.jpg": b"two", "a/1.jpg": b"one", "a/": b"", ".DS_Store": b"x", "__MACOSX/a/._1.jpg": b"x"}
    path = write_zip(tmp_path / "a.zip", files)
    assert is_archive(path)
    assert read_all(path) == {"a/1.jpg": b"one", "b/2.jpg": b"two"}


def test_paths_that_lead_elsewhere_are_names_only(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"../../evil.jpg": b"x", "/etc/passwd.jpg": b"y", "a\nb\x1b.jpg": b"z"})
    names = [*read_all(path)]
    assert len(names) == 3
    assert all(name.isprintable() for name in names)
    assert [one.name for one in tmp_path.iterdir()] == ["a.zip"]


def test_a_bomb_is_refused_before_it_is_decompressed(tmp_path: Path) -> None:
    (reason,) = read_all(write_bomb(tmp_path / "a.zip")).values()
    assert "as no picture does" in str(reason)
    (reason,) = read_all(write_bomb(tmp_path / "large.zip"), 1 << 20).values()
    assert "at most 1 MiB" in str(reason)


def test_archives_in_archives_encrypted_files_and_links_are_refused_one_by_one(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"inner.zip": b"PK", "good.jpg": b"x"})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    found = read_all(path)
    assert found["good.jpg"] == b"x"
    assert "archive within the archive" in str(found["inner.zip"])
    assert found["link.jpg"] == "it is a link"
    locked = with_flag(write_zip(tmp_path / "locked.zip", {"1.jpg": b"x"}), 1)
    assert "encrypted" in str(read_all(locked)["1.jpg"])


def test_too_many_entries_and_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"at most {MOST_ENTRIES} are read"):
        read_all(write_many(tmp_path / "many.zip", 100_000))
    path = write_zip(tmp_path / "over.zip", {f"{number}.jpg": bytes(range(256)) * 9 for number in range(50)})
    try:
        found = read_all(overlapping(path))
    except InputError:
        return  # new versions of Python refuse it as a whole
    assert all("cannot be decompressed" in str(one) for name, one in found.items() if name != "0.jpg")


@pytest.mark.parametrize("keep", [0, 10, 60, 150])
def test_a_damaged_archive_is_an_error_of_the_input(tmp_path: Path, keep: int) -> None:
    path = write_zip(tmp_path / "a.zip", {"1.jpg": b"one" * 100, "2.jpg": b"two"})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.zip"):
        read_all(path)


def test_a_damaged_file_is_refused_alone(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"1.jpg": b"one" * 100, "2.jpg": b"two"})
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF
    path.write_bytes(data)
    found = read_all(path)
    assert found["2.jpg"] == b"two"
    assert "cannot be decompressed" in str(found["1.jpg"])
