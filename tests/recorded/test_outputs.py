"""The files of one run: which belong together, and when they get their names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceanalytics.errors import ConfigError, InputError
from streamer.recorded.filenames import OUTPUTS, TABLE_FILES
from streamer.recorded.outputs import identified, refuse_to_remove, run_files
from streamer.values import IdentityEstimate, TrackSummary
from tests.support.builders import evidence, summary
from tests.support.disk import small_files

SOURCE = {"name": "a.mp4", "sha256": "5" * 64}
LINES = {"tracks.jsonl", "observations.jsonl", "people.jsonl", "shots.jsonl"}
PARTIAL = {f"{name}.partial" for name in LINES}
HEADER = {
    "type": "header",
    "source": SOURCE,
    "model_id": "small",
    "config_hash": "1",
    "run_id": "r",
}


def templates(count: int) -> list[TrackSummary]:
    identity = IdentityEstimate(np.full(512, 512**-0.5, np.float32), None, 0, evidence())
    return [summary(f"t{number}", identity=identity) for number in range(count)]


def write(folder: Path, count: int = 1, explain: bool = False, **header: Any) -> None:
    with run_files(folder, {**HEADER, **header}, explain) as files:
        files.tracks.write({"type": "track"})
        files.finish({"frames": 3}, templates(count) if count else None)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_every_file_says_of_which_run_and_source_it_is(tmp_path: Path) -> None:
    write(tmp_path, explain=True)
    for name in ("tracks.jsonl", "observations.jsonl", "people.jsonl", "shots.jsonl", "explain.jsonl"):
        header = json.loads((tmp_path / name).read_text().splitlines()[0])
        assert (header["run_id"], header["source"]["sha256"]) == ("r", "5" * 64)
    counts = json.loads((tmp_path / "summary.json").read_text())
    assert counts == {"run_id": "r", "source_sha256": "5" * 64, "frames": 3}
    with np.load(tmp_path / "embeddings.npz") as arrays:
        assert (str(arrays["run_id"]), str(arrays["source_sha256"])) == ("r", "5" * 64)
        assert arrays["embedding"].shape == (1, 512)


def test_the_id_is_that_of_everything_that_decides_the_files() -> None:
    first = identified(HEADER, explain=False)
    assert first == identified(HEADER, explain=False)
    assert first["run_id"] == identified({**HEADER, "source": {**SOURCE, "name": "b.mp4"}}, explain=False)["run_id"]
    others = [
        identified(HEADER, explain=True),
        identified({**HEADER, "model_id": "large"}, explain=False),
        identified({**HEADER, "config_hash": "2"}, explain=False),
        identified({**HEADER, "source": {**SOURCE, "sha256": "6" * 64}}, explain=False),
    ]
    assert len({each["run_id"] for each in [first, *others]}) == 5


def test_outputs_of_an_earlier_run_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    lines = LINES
    for name in (*OUTPUTS, *(f"{name}.partial" for name in OUTPUTS), "notes.txt", "tracks.csv"):
        (tmp_path / name).write_text("old")
    with run_files(tmp_path, HEADER, explain=False) as files:
        assert names(tmp_path) == {*(f"{name}.partial" for name in lines), "notes.txt", "tracks.csv"}
        files.finish({"frames": 3}, None)
    assert names(tmp_path) == {*lines, "summary.json", "notes.txt", "tracks.csv"}


def test_nothing_has_its_name_before_everything_is_written(tmp_path: Path) -> None:
    with run_files(tmp_path, HEADER, explain=True) as files:
        files.finish({"frames": 3}, templates(1))
        assert all(name.endswith(".partial") for name in names(tmp_path))
    assert names(tmp_path) == set(OUTPUTS) - {"annotated.mp4", "report.html", *TABLE_FILES}


@pytest.mark.parametrize(("size", "count", "named"), [(5_000, 10, "embeddings.npz"), (100, 0, "tracks.jsonl")])
def test_a_disk_that_is_full_leaves_lines_under_the_partial_name_only(
    tmp_path: Path, size: int, count: int, named: str
) -> None:
    (tmp_path / "summary.json").write_text("old")
    with pytest.raises(ConfigError, match=rf"cannot write {tmp_path}/{named}: File too large"), small_files(size):
        write(tmp_path, count)
    lines = {name for name in names(tmp_path) if name.endswith(".jsonl.partial")}
    assert names(tmp_path) == lines
    for name in lines:
        content = (tmp_path / name).read_text()
        assert not content or content.endswith("\n")


def test_a_summary_that_cannot_be_written_leaves_no_results(tmp_path: Path) -> None:
    def fail() -> None:
        with run_files(tmp_path, HEADER, explain=False) as files:
            (tmp_path / "summary.json.partial").symlink_to("/dev/full")
            files.finish({"frames": 3}, None)

    with pytest.raises(ConfigError, match=r"cannot write .*/summary\.json: No space left"):
        fail()
    assert names(tmp_path) == PARTIAL


def test_an_error_of_the_analysis_is_not_taken_for_one_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="worker"), run_files(tmp_path, HEADER, False):
        raise ConnectionError("worker")
    assert names(tmp_path) == PARTIAL


def test_a_run_that_goes_on_and_is_stopped_at_once_can_still_go_on(tmp_path: Path) -> None:
    (tmp_path / "journal.partial").write_text("answers")
    with pytest.raises(InputError, match="stopped"), run_files(tmp_path, HEADER, False, kept=["journal.partial"]):
        raise InputError("stopped")
    assert names(tmp_path) == {"journal.partial"}


def test_a_run_with_nothing_to_analyse_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame"), run_files(tmp_path, HEADER, False):
        raise InputError("no frame")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("name", ["annotated.mp4", "link.mp4"])
def test_a_video_is_never_removed_as_an_earlier_output(tmp_path: Path, name: str) -> None:
    (tmp_path / "annotated.mp4").write_text("a video")
    if name == "link.mp4":
        (tmp_path / name).symlink_to("annotated.mp4")
    with pytest.raises(ConfigError, match=f"{name} would be removed"):
        refuse_to_remove([(tmp_path / "other.mp4", tmp_path / "other"), (tmp_path / name, tmp_path)])
    refuse_to_remove([(tmp_path / name, tmp_path / "out")])
