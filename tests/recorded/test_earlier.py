"""What a new analysis does in a folder in which there is something already."""

import json
from pathlib import Path
from typing import Any

import pytest

from faceanalytics.errors import ConfigError
from streamer.recorded.earlier import Plan, claimed, finished, header_of, plan
from streamer.recorded.filenames import JOURNAL
from streamer.recorded.journal import Journal
from streamer.recorded.outputs import identified, removable, written

HEADER = identified(
    {"type": "header", "source": {"name": "a.mp4", "sha256": "5" * 64}, "model_id": "small", "config_hash": "1"},
    explain=False,
)
OTHER = identified({**HEADER, "config_hash": "2", "model_id": "large"}, explain=False)


def results(folder: Path, header: dict[str, Any], ending: str = "") -> None:
    for name in ("tracks.jsonl", "observations.jsonl", "people.jsonl", "shots.jsonl"):
        (folder / f"{name}{ending}").write_text(json.dumps(header) + "\n{}\n")
    if not ending:
        (folder / "summary.json").write_text(json.dumps({"run_id": header["run_id"], "frames": 3}, indent=1))


def journal(folder: Path, header: dict[str, Any]) -> None:
    with Journal(folder / JOURNAL, header, go_on=False):
        pass


def planned(folder: Path, overwrite: bool = False) -> Plan:
    return plan(folder, HEADER, removable(folder), overwrite)


def is_finished(folder: Path) -> bool:
    return finished(folder, HEADER["run_id"], written(explain=False, embeddings=False)) is not None


def test_an_empty_folder_or_one_with_other_files_is_begun(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert planned(tmp_path) is Plan.BEGIN
    assert not is_finished(tmp_path)
    assert header_of(tmp_path) is None


def test_finished_results_of_the_same_analysis_are_taken(tmp_path: Path) -> None:
    results(tmp_path, HEADER)
    assert is_finished(tmp_path)
    assert header_of(tmp_path) == HEADER
    (tmp_path / "observations.jsonl").unlink()
    assert not is_finished(tmp_path)
    assert planned(tmp_path) is Plan.BEGIN


def test_an_unfinished_analysis_goes_on(tmp_path: Path) -> None:
    results(tmp_path, HEADER, ".partial")
    journal(tmp_path, HEADER)
    assert planned(tmp_path) is Plan.GO_ON


def test_results_that_were_stopped_go_on(tmp_path: Path) -> None:
    results(tmp_path, HEADER)
    journal(tmp_path, HEADER)
    assert not is_finished(tmp_path)
    assert planned(tmp_path) is Plan.GO_ON


@pytest.mark.parametrize("ending", ["", ".partial"])
@pytest.mark.parametrize("with_journal", [False, True])
def test_another_analysis_is_refused_with_what_differs_and_what_to_do(
    tmp_path: Path, ending: str, with_journal: bool
) -> None:
    results(tmp_path, OTHER, ending)
    if with_journal:
        journal(tmp_path, OTHER)
    assert not is_finished(tmp_path)
    said = "differs in the face model, the settings of the configuration: repeat it as it was .*--overwrite"
    with pytest.raises(ConfigError, match=said):
        planned(tmp_path)
    assert planned(tmp_path, overwrite=True) is Plan.BEGIN


def test_a_renamed_video_is_the_same_video(tmp_path: Path) -> None:
    renamed = {**HEADER, "source": {**HEADER["source"], "name": "b.mp4"}}
    results(tmp_path, renamed)
    assert is_finished(tmp_path)


def test_a_file_that_is_no_result_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "annotated.mp4").write_text("a video")
    with pytest.raises(ConfigError, match=r"holds annotated\.mp4, which this analysis would remove"):
        planned(tmp_path)


def test_a_journal_that_cannot_be_read_is_no_reason_to_refuse(tmp_path: Path) -> None:
    results(tmp_path, HEADER, ".partial")
    (tmp_path / JOURNAL).write_bytes(b"")
    assert planned(tmp_path) is Plan.BEGIN


def test_two_analyses_do_not_write_into_one_folder_at_once(tmp_path: Path) -> None:
    busy = pytest.raises(ConfigError, match="another analysis is writing into")
    with claimed(tmp_path / "new" / "folder"), busy, claimed(tmp_path / "new" / "folder"):
        pass
    with claimed(tmp_path / "new" / "folder"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot make the folder"), claimed(tmp_path / "file"):
        pass
