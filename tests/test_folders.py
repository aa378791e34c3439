"""The walk over folders: what people put there, whatever systems, links and odd entries lie beside it."""

import logging
import os
import unicodedata
from pathlib import Path

import pytest

from faceanalytics.errors import InputError
from faceanalytics.folders import Skipped, files_in, folders_in, walk

HIDDEN = (
    ".cache/1.jpg", ".hidden.jpg", "._1.jpg", "ada/.DS_Store", "ada/.ipynb_checkpoints/1-checkpoint.jpg",
    "__MACOSX/ada/._1.jpg", "ada/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "Thumbs.db", "ada/thumbs.db", "desktop.ini",
    "$RECYCLE.BIN/1.jpg", "#recycle/1.jpg", "lost+found/1.jpg",
)  # fmt: skip


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(folder: Path) -> tuple[list[str], Skipped]:
    skipped = Skipped()
    return list(walk(folder, skipped)), skipped


def test_hidden_entries_and_those_of_systems_are_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "ada/1.jpg", "ada/a b/2.jpg", "zoe.jpg", "MACOSX/1.jpg", *HIDDEN)
    names, skipped = found(tmp_path)
    assert names == ["MACOSX/1.jpg", "ada/1.jpg", "ada/a b/2.jpg", "zoe.jpg"]
    assert len(skipped.hidden) == len(HIDDEN)
    with caplog.at_level(logging.INFO):
        skipped.report()
    (line,) = caplog.messages
    assert line.startswith("hidden files and folders, skipped: 13 (")
    assert folders_in(tmp_path, Skipped()) == ["MACOSX", "ada"]
    assert files_in(tmp_path, Skipped()) == ["zoe.jpg"]


def test_a_hidden_folder_that_is_asked_for_is_walked(tmp_path: Path) -> None:
    put(tmp_path, ".faces/1.jpg")
    assert found(tmp_path / ".faces")[0] == ["1.jpg"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    put(tmp_path, "set/ada/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "set" / "bob").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "ada" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere" / "itself").symlink_to(".")
    names, skipped = found(tmp_path / "set")
    assert names == ["ada/1.jpg", "bob/2.jpg"]
    assert [Path(loop).name for loop in skipped.loops] == ["up", "itself"]
    names, skipped = found(tmp_path / "set" / "ada")
    assert (names, len(skipped.loops)) == (["1.jpg"], 1), "also to a folder above the one that is walked"


def test_a_folder_named_like_an_image_is_a_folder_and_a_pipe_is_nothing(tmp_path: Path) -> None:
    put(tmp_path, "folder.jpg/1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")  # reading it would wait forever
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "gone.jpg")
    names, skipped = found(tmp_path)
    assert names == ["folder.jpg/1.jpg", "nowhere.jpg"], "a link to nothing is there, so that its error is reported"
    assert [Path(entry).name for entry in skipped.special] == ["pipe.jpg"]


def test_names_come_as_the_file_system_has_them(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    put(tmp_path, composed, apart)
    (tmp_path / os.fsdecode(b"\xe9.jpg")).write_bytes(b"x")
    assert sorted(found(tmp_path)[0]) == sorted([composed, apart, os.fsdecode(b"\xe9.jpg")])


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    put(tmp_path, "file")
    for name, reason in (("none", "No such file"), ("file", "Not a directory")):
        with pytest.raises(InputError, match=f"{name}: {reason}"):
            found(tmp_path / name)
