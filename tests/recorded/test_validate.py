"""Results are checked line by line and against each other; what is wrong is named with its file and line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamer.cli import main
from streamer.recorded.tables import FORMATS, write_tables
from streamer.recorded.validate import validate
from tests.support.recorded_files import write_lines, write_nothing, write_results

Record = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_results(tmp_path / "results")


def change(path: Path, line: int, **changes: Any) -> None:
    """Change the record in a line (from 1) of a file."""
    records = [json.loads(text) for text in path.read_text().splitlines()]
    records[line - 1] |= changes
    write_lines(path, records)


def test_whole_results_are_valid_with_their_tables_and_without_faces(folder: Path, tmp_path: Path) -> None:
    write_tables(folder, FORMATS)
    found = validate(folder)
    assert found.problems == []
    assert found.counts["frame"] == 10
    assert found.counts["rows"] == 12  # 5 frames without a face, 7 faces
    nothing = write_nothing(tmp_path / "nothing")
    write_tables(nothing, FORMATS)
    assert validate(nothing).problems == []


@pytest.mark.parametrize(
    ("name", "line", "changes", "said"),
    [
        ("tracks.jsonl", 2, {"first_seen_s": "early"}, "first_seen_s: Input should be a valid number"),
        ("tracks.jsonl", 2, {"mood": 1}, "mood: Extra inputs are not permitted"),
        ("tracks.jsonl", 3, {"age": {"years": 1.0}}, "age.low_years: Field required"),
        ("tracks.jsonl", 3, {"type": "person"}, "has type 'person', expected track"),
        ("tracks.jsonl", 3, {"track_id": "t2"}, "track_id: t2 is that of an earlier line too"),
        ("tracks.jsonl", 3, {"first_seen_s": 0.3}, "first_seen_s is after last_seen_s"),
        ("tracks.jsonl", 1, {"schema_version": 4}, "schema_version: Input should be 5"),
        ("observations.jsonl", 2, {"frame": 1}, "frame: 1, expected 0"),
        ("observations.jsonl", 3, {"media_time_s": 0.0}, "media_time_s is not after that of the frame before"),
        ("observations.jsonl", 3, {"faces": 2}, "frame 1 lacks 1 of its observations"),
        ("observations.jsonl", 3, {"faces": 0}, "frame 1 has more observations than its 0 faces"),
        ("observations.jsonl", 3, {"shot": 2}, "shot is before that of the frame before"),
        ("observations.jsonl", 4, {"frame": 2}, "frame and media_time_s are not those of the frame record before"),
        ("observations.jsonl", 4, {"yaw_deg": 200}, "yaw_deg: Input should be less than or equal to 180"),
        ("observations.jsonl", 4, {"track_id": "t9"}, "track_id: t9 is not in tracks.jsonl"),
        ("observations.jsonl", 5, {"frame": 4}, "frame: it has not come yet"),
        ("observations.jsonl", 1, {"run_id": "f" * 32}, "run_id: it is of another run than tracks.jsonl"),
        ("people.jsonl", 1, {"config_hash": "1"}, "the header is not that of tracks.jsonl"),
        ("people.jsonl", 2, {"track_ids": ["t1", "t8"]}, "track_ids: t8 is not in tracks.jsonl"),
        ("people.jsonl", 3, {"track_ids": ["t1"]}, "track_ids: t1 is one of person 1 too"),
        ("people.jsonl", 3, {"described": True}, "described: not one of the person's tracks is"),
        ("people.jsonl", 3, {"number": 3}, "number: 3, expected 2"),
        ("people.jsonl", 2, {"first_seen_s": 1.0}, "first_seen_s: people are not in the order"),
        ("people.jsonl", 3, {"intervals": [{"track_id": "t1", "start_s": 0.0, "end_s": 0.1}]}, "none of the person's"),
        ("people.jsonl", 3, {"intervals": [{"track_id": "t2", "start_s": 0.0, "end_s": 9.5}]}, "after the last frame"),
        ("shots.jsonl", 3, {"shot": 4}, "shot: 4, expected 2"),
        ("shots.jsonl", 3, {"start_frame": 6}, "does not begin where the one before ended"),
        ("shots.jsonl", 3, {"transition": "WIPE"}, "transition: Input should be 'START', 'CUT' or 'FADE'"),
    ],
)  # fmt: skip
def test_a_problem_is_named_with_its_line(folder: Path, name: str, line: int, changes: Record, said: str) -> None:
    change(folder / name, line, **changes)
    problems = validate(folder).problems
    assert any(f"{name}:" in one and said in one for one in problems), problems
    assert all(one.startswith(str(folder)) for one in problems)


@pytest.mark.parametrize(
    ("name", "number"),
    [("frames", 11), ("tracks", 1), ("people", 7), ("described_tracks", 3), ("false_faces", 1), ("shots", 1)],
)
def test_the_counts_of_the_summary_are_those_of_the_lines(folder: Path, name: str, number: int) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, name: number}))
    (problem,) = validate(folder).problems
    assert problem.startswith(f"{folder}/summary.json: {name}: {number}, but there are ")


def spoil_parquet(folder: Path) -> None:
    (folder / "tables" / "frames.parquet").write_bytes(b"PAR1")


def cut_csv(folder: Path) -> None:
    path = folder / "tables" / "frames.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def rename_column(folder: Path) -> None:
    path = folder / "tables" / "tracks.csv"
    path.write_text(path.read_text().replace("face_id", "face", 1))


def spoil_row(folder: Path) -> None:
    change(folder / "tables" / "analyses.jsonl", 2, frame="one")


def another_run(folder: Path) -> None:
    for path in folder.glob("*.js*"):
        path.write_text(path.read_text().replace("0123456789abcdef" * 2, "f" * 32))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_parquet, "frames.parquet: it is not a Parquet file"),
        (cut_csv, "frames.csv: it has 11 rows, expected 12; export the tables again"),
        (rename_column, "tracks.csv:1: the heading does not have the columns of the schema"),
        (spoil_row, "analyses.jsonl:2: frame: Input should be a valid integer"),
        (another_run, "frames.parquet: it was made of the results of another run; export the tables again"),
    ],
)
def test_tables_are_checked_too(folder: Path, spoil: Callable[[Path], None], said: str) -> None:
    write_tables(folder, FORMATS)
    spoil(folder)
    problems = validate(folder).problems
    assert any(said in one for one in problems), problems


def test_an_analysis_that_has_not_finished_is_checked_as_far_as_it_goes(folder: Path) -> None:
    (folder / "summary.json").unlink()
    for name in ("people.jsonl", "shots.jsonl"):
        (folder / name).unlink()
    for name in ("tracks.jsonl", "observations.jsonl"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / f"{name}.partial").write_text("".join(lines[: len(lines) // 2]))
        (folder / name).unlink()
    (problem,) = validate(folder).problems
    assert problem == f"{folder}/summary.json: is missing: the analysis has not finished, or was stopped"


def test_the_command_prints_problems_and_says_by_its_exit_code_whether_there_are_any(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tables(folder, FORMATS)
    write_tables(write_nothing(tmp_path / "more" / "tables"), FORMATS)  # the name of a video
    assert main(["results", "validate", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"{folder}: no problems in 10 frames, 7 observations, 3 analyses, 3 tracks" in out
    assert f"{tmp_path}/more/tables: no problems in 2 frames" in out
    assert len(out.splitlines()) == 2
    (folder / "observations.jsonl").write_text("".join(["{}\n"] * 100))
    assert main(["results", "validate", str(folder)]) == 3
    out = capsys.readouterr().out
    assert f"{folder}/observations.jsonl:2: has type None, expected frame or observation or analysis" in out
    assert " more\n" in out
    assert main(["results", "validate", str(tmp_path / "more" / "nowhere")]) == 3
    assert "no results of `streamer analyze` are there" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "not JSON\n", "[]\n", '{"type":"track"}\n'])
def test_a_damaged_file_is_a_problem(folder: Path, text: str) -> None:
    (folder / "tracks.jsonl").write_text(text)
    assert any("tracks.jsonl" in one for one in validate(folder).problems)
