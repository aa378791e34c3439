"""Files of results on disks that are full or closed to us."""

from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError
from faceanalytics.files import JsonLines, write_json
from tests.support.disk import small_files


def full(path: Path) -> Path:
    """The place of a file whose disk is full."""
    path.symlink_to("/dev/full")
    return path


def test_lines_get_their_name_when_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    with JsonLines(path) as lines:
        lines.write({"a": 1})
        assert not path.exists()
    assert path.read_text() == '{"a":1}\n'
    assert not (tmp_path / "lines.jsonl.partial").exists()


def test_the_first_line_can_be_replaced_at_the_end(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "lines.jsonl") as lines:
        for number in range(3):
            lines.write({"a": number})
        lines.replace_first({"all": 3})
    assert (tmp_path / "lines.jsonl").read_text() == '{"all":3}\n{"a":1}\n{"a":2}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["lines.jsonl"]


def test_a_full_disk_while_the_first_line_is_replaced_keeps_the_lines(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "lines.jsonl")
    lines.write({"a": 1})
    full(tmp_path / "lines.jsonl.partial.partial")
    with pytest.raises(ConfigError, match="No space left"), lines:
        lines.replace_first({"b": 2})
    assert (tmp_path / "lines.jsonl.partial").read_text() == '{"a":1}\n'


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    full(tmp_path / "lines.jsonl.partial")
    with pytest.raises(ConfigError, match=f"cannot write {path}: No space left"), JsonLines(path) as lines:
        lines.write({"a": 1})
    assert not path.exists()


def test_trouble_while_closing_does_not_hide_the_first_error(tmp_path: Path) -> None:
    full(tmp_path / "lines.jsonl.partial")
    lines = JsonLines(tmp_path / "lines.jsonl")
    with pytest.raises(ConfigError):
        lines.write({"a": 1})
    with pytest.raises(KeyError, match="first"), lines:
        raise KeyError("first")


@pytest.mark.parametrize("name", ["missing/lines.jsonl", "folder", "."])
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"cannot write {name}: "), JsonLines(Path(name)) as lines:
        lines.write({"a": 1})


def test_json_on_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    full(tmp_path / "summary.json.partial")
    with pytest.raises(ConfigError, match=r"cannot write .*summary\.json: No space left"):
        write_json(tmp_path / "summary.json", {"frames": 1})
    assert not list(tmp_path.iterdir())


def test_lines_that_a_full_disk_cuts_off_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"

    def fill() -> None:
        with JsonLines(path) as lines, small_files(100):
            for _ in range(100):
                lines.write({"text": "x" * 20})

    with pytest.raises(ConfigError, match=f"cannot write {path}: File too large"):
        fill()
    assert not path.exists()
    assert (tmp_path / "lines.jsonl.partial").read_text() == '{"text":"xxxxxxxxxxxxxxxxxxxx"}\n' * 3


def test_a_longer_first_line_does_not_cut_off_the_last_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with JsonLines(tmp_path / "lines.jsonl") as lines:
            lines.write({"a": 1})
            lines.write({"b": 2})
            lines.replace_first({"a": "longer"})
            raise KeyError("later")

    with pytest.raises(KeyError, match="later"):
        fail()
    assert (tmp_path / "lines.jsonl.partial").read_text() == '{"a":"longer"}\n{"b":2}\n'
