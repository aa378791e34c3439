"""Tables of results: their rows, and that pandas, polars and DuckDB load each form in one line with the right types."""

import csv
import json
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import faceanalytics as fa
from faceanalytics.errors import InputError
from streamer.cli import main
from streamer.labels import EXPRESSIONS
from streamer.recorded.columns import TABLES, columns
from streamer.recorded.recording import Recording
from streamer.recorded.rows import Rows
from streamer.recorded.table_files import arrow_schema
from streamer.recorded.tables import FORMATS, table_rows, write_tables
from tests.support.recorded_files import face, header, time, write_lines, write_nothing, write_results

ATTRIBUTES = ("male",)
ROWS = {"frames": 12, "tracks": 3, "people": 2, "analyses": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with all their tables."""
    folder = write_results(tmp_path_factory.mktemp("tables") / "results")
    write_tables(folder, FORMATS)
    return folder


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    recording = Recording(folder)
    made = Rows(recording.header, recording.tracks, recording.people)
    with recording.analyses(made.rank) as analyses:
        return list(table_rows(recording, made, analyses, table))


def test_frames_have_a_row_per_face_and_one_without_a_face_in_order(folder: Path) -> None:
    found = rows(folder, "frames")
    assert [(one["frame"], one["success"], one.get("face_id")) for one in found] == [
        (0, False, None), (1, True, 1), (2, True, 1), (2, True, 2), (3, True, 1), (3, True, 2), (4, False, None),
        (5, False, None), (6, False, None), (7, False, None), (8, True, 3), (9, True, 3),
    ]  # fmt: skip
    assert [one["shot"] for one in found] == [1] * 7 + [2] * 5
    ann = found[4]
    assert (ann["timestamp"], ann["timecode"]) == (0.12, "00:00:00.120")
    assert ann["wall_clock"] == datetime(2026, 11, 30, 12, 0, 0, 120_000, UTC)
    assert (ann["person"], ann["person_name"], ann["track_id"]) == (1, "ann", "t1")
    assert (ann["FaceRectX"], ann["FaceRectHeight"], ann["FaceScore"]) == (30.0, 40.5, 0.9)
    assert (ann["yaw_deg"], ann["pitch_deg"], ann["roll_deg"], ann["nose_y"]) == (-12.5, 3.0, 0.5, 20.0)
    assert (ann["frame_width"], ann["frame_height"], ann["time_estimated"]) == (640, 480, False)


def test_scores_stand_in_the_frames_that_were_analysed_and_the_published_expression_in_each(folder: Path) -> None:
    found = {(one["frame"], one.get("face_id")): one for one in rows(folder, "frames")}
    assert [key for key, one in found.items() if one["analysed"]] == [(1, 1), (3, 1), (8, 3)]
    assert found[3, 1]["happiness"] == 0.7  # its crop has waited for two frames
    assert "happiness" not in found[2, 1]
    assert found[3, 1]["age_years"] == 30.5
    assert [found[frame, 1]["expression"] for frame in (1, 2, 3)] == ["happiness", "happiness", None]
    assert found[2, 1]["track_age_years"] == 31.25
    lost = found[2, 2]
    assert (lost["described"], lost["skipped"], lost["roll_deg"]) == (False, ["LOW_SHARPNESS"], None)
    assert (lost["expression"], lost["track_age_years"], lost["age_years"]) == (None, None, None)


def test_a_track_that_is_not_described_has_no_scores_in_frames_but_keeps_them_in_analyses(tmp_path: Path) -> None:
    folder = write_results(tmp_path)
    records = [json.loads(line) for line in (folder / "tracks.jsonl").read_text().splitlines()]
    records[2] |= {"described": False, "undescribed_reasons": ["FALSE_FACE"], "age": None, "expression": None}
    write_lines(folder / "tracks.jsonl", records)
    found = [one for one in rows(folder, "frames") if one.get("face_id") == 1]
    assert [one["analysed"] for one in found] == [True, False, True]
    assert all(one.get("happiness") is None and one["age_years"] is None for one in found)
    crops = [one for one in rows(folder, "analyses") if one["face_id"] == 1]
    assert [(one["described"], one["happiness"]) for one in crops] == [(False, 0.7), (False, 0.7)]


def test_tracks_and_people_are_in_the_order_of_their_beginning(folder: Path) -> None:
    found = rows(folder, "tracks")
    assert [(one["face_id"], one["person"], one["person_name"]) for one in found] == [
        (1, 1, "ann"), (2, 2, None), (3, 1, "ann")
    ]  # fmt: skip
    assert [one["described"] for one in found] == [True, False, True]
    assert found[1]["undescribed_reasons"] == ["LOW_QUALITY", "BORDER"]
    assert (found[0]["seen_s"], found[0]["expression"], found[0]["expression_happiness"]) == (0.08, "happiness", 0.7)
    assert found[0]["last_seen_at"] == datetime(2026, 11, 30, 12, 0, 0, 120_000, UTC)
    first, second = rows(folder, "people")
    assert (first["person"], first["track_ids"], first["appearances"]) == (1, ["t1", "t3"], 2)
    assert (first["age_low_years"], first["presence_male"], first["best_frame"]) == (25.0, "ABSENT", 1)
    assert (second["uncertain"], second["described"], second["best_frame"]) == (True, False, None)


# --- one line each


EXPECTED = {
    "text": ("str", pl.String, "VARCHAR"),
    "number": ("float64", pl.Float64, "DOUBLE"),
    "whole": ("int64", pl.Int64, "BIGINT"),
    "truth": ("bool", pl.Boolean, "BOOLEAN"),
    "texts": ("object", pl.List(pl.String), "VARCHAR[]"),
    "time": ("datetime64[us, UTC]", pl.Datetime("us", "UTC"), "TIMESTAMP WITH TIME ZONE"),
}


@pytest.mark.parametrize("table", TABLES)
def test_parquet_loads_in_one_line_with_every_type(folder: Path, table: str) -> None:
    path = folder / "tables" / f"{table}.parquet"
    frame, polar, duck = pd.read_parquet(path), pl.read_parquet(path), duckdb.sql(f"SELECT * FROM '{path}'")
    assert len(frame) == polar.height == len(duck.fetchall()) == ROWS[table]
    names = [one.name for one in columns(table, ATTRIBUTES)]
    assert list(frame.columns) == polar.columns == duck.columns == names
    for one, kind in zip(columns(table, ATTRIBUTES), duck.types, strict=True):
        pandas_type, polars_type, duck_type = EXPECTED[one.type]
        assert polar.schema[one.name] == polars_type, one.name
        assert str(kind) == duck_type, one.name
        if not one.null:  # numpy has no whole numbers and truths that are missing
            assert str(frame.dtypes[one.name]) == pandas_type, one.name


@pytest.mark.parametrize("table", TABLES)
def test_csv_loads_in_one_line_with_its_types(folder: Path, table: str) -> None:
    path = folder / "tables" / f"{table}.csv"
    frame, duck = pd.read_csv(path), duckdb.sql(f"SELECT * FROM '{path}'")
    polar = pl.read_csv(path, infer_schema_length=None)
    assert len(frame) == polar.height == len(duck.fetchall()) == ROWS[table]
    for one, kind in zip(columns(table, ATTRIBUTES), duck.types, strict=True):
        if one.type in ("number", "whole", "truth") and polar[one.name].null_count() == 0:
            assert str(frame.dtypes[one.name]) == EXPECTED[one.type][0], one.name
            assert polar.schema[one.name] == EXPECTED[one.type][1], one.name
            assert str(kind) == EXPECTED[one.type][2], one.name
    if table == "frames":
        assert str(duck.types[duck.columns.index("wall_clock")]) == "TIMESTAMP WITH TIME ZONE"


@pytest.mark.parametrize("table", TABLES)
def test_json_lines_load_in_one_line_and_have_every_column(folder: Path, table: str) -> None:
    path = folder / "tables" / f"{table}.jsonl"
    frame, duck = pd.read_json(path, lines=True), duckdb.sql(f"SELECT * FROM '{path}'")
    polar = pl.read_ndjson(path, infer_schema_length=None)
    assert len(frame) == polar.height == len(duck.fetchall()) == ROWS[table]
    names = [one.name for one in columns(table, ATTRIBUTES)]
    assert duck.columns == names
    assert set(frame.columns) == set(polar.columns) == set(names)  # in an order of their own


@pytest.mark.parametrize("table", TABLES)
def test_all_forms_hold_the_same_and_so_do_the_tables_of_python(folder: Path, table: str) -> None:
    stored = pq.read_table(folder / "tables" / f"{table}.parquet")
    assert fa.read_results(folder).to_arrow(table).equals(stored)  # type: ignore[arg-type]
    lines = [json.loads(line) for line in (folder / "tables" / f"{table}.jsonl").read_text().splitlines()]
    with (folder / "tables" / f"{table}.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    for row, line, cell in zip(stored.to_pylist(), lines, cells, strict=True):
        for name, value in row.items():
            if isinstance(value, datetime):
                value = f"{value:%Y-%m-%dT%H:%M:%S.%f}Z"
            assert line[name] == value
            text = " ".join(value) if isinstance(value, list) else value
            truth = {True: "true", False: "false"}.get(text) if isinstance(text, bool) else text
            assert cell[name] == ("" if truth is None else str(truth))


def test_parquet_holds_the_header_and_the_meaning_of_each_column(folder: Path) -> None:
    schema = pq.read_schema(folder / "tables" / "frames.parquet")
    assert schema.metadata[b"faceanalytics.run_id"] == header()["run_id"].encode()
    assert schema.metadata[b"faceanalytics.schema_version"] == b"5"
    assert json.loads(schema.metadata[b"faceanalytics.header"]) == header()
    assert schema.field("timestamp").metadata == {b"description": b"time since the first frame", b"unit": b"s"}


def test_the_same_results_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = write_results(tmp_path)
    paths = write_tables(again, FORMATS)
    assert [path.relative_to(again) for path in paths] == [
        Path("tables") / f"{table}.{form}" for table in TABLES for form in FORMATS
    ]
    for path in paths:
        assert path.read_bytes() == (folder / path.relative_to(again)).read_bytes(), path.name


def test_a_video_without_faces_has_tables_with_types_and_without_rows(tmp_path: Path) -> None:
    write_tables(write_nothing(tmp_path), FORMATS)
    for table in TABLES:
        stored = pq.read_table(tmp_path / "tables" / f"{table}.parquet")
        assert stored.schema.equals(arrow_schema(columns(table, ATTRIBUTES)))
        assert stored.num_rows == (2 if table == "frames" else 0)
        assert (tmp_path / "tables" / f"{table}.csv").read_text().startswith("input,")
    assert not pl.read_parquet(tmp_path / "tables" / "frames.parquet")["success"].any()


def test_what_the_weights_lack_is_empty_and_keeps_its_type(tmp_path: Path) -> None:
    outputs = {"age": False, "expression": False, "attributes": [], "identity": False}
    folder = write_results(tmp_path, outputs=outputs, start_time=None, start_time_source=None)
    write_tables(folder, FORMATS)
    for table in TABLES:
        stored = pq.read_table(tmp_path / "tables" / f"{table}.parquet")
        assert stored["age_years"].type == pa.float64()
        assert stored["age_years"].null_count == stored.num_rows
        assert not [name for name in stored.column_names if name.startswith(("attribute_", "presence_"))]
        clock = stored["wall_clock" if table in ("frames", "analyses") else "first_seen_at"]
        assert (clock.type, clock.null_count) == (pa.timestamp("us", tz="UTC"), stored.num_rows)


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)"])
def test_a_name_is_no_formula_in_a_spreadsheet_and_unchanged_elsewhere(tmp_path: Path, name: str) -> None:
    write_tables(write_results(tmp_path, name=name), FORMATS)
    table = pd.read_csv(tmp_path / "tables" / "people.csv")
    assert table["person_name"][0] == f"'{name}"
    assert pd.read_parquet(tmp_path / "tables" / "people.parquet")["person_name"][0] == name
    assert fa.read_results(tmp_path).people[0].name == name


# --- long recordings


def long_recording(folder: Path, frames: int) -> Path:
    """Results in which one face is seen in every frame."""
    write_results(folder)
    lines = [header()]
    for number in range(frames):
        at = {"frame": number, "media_time_s": time(number)}
        lines += [{"type": "frame", **at, "shot": 1, "faces": 1}, face(1, "t1") | at]
    write_lines(folder / "observations.jsonl", lines)
    return folder


def test_a_longer_recording_needs_no_more_memory(tmp_path: Path) -> None:
    peaks = []
    for frames in (6_000, 18_000):
        folder = long_recording(tmp_path / str(frames), frames)
        tracemalloc.start()
        write_tables(folder, ("csv", "jsonl"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


# --- the command


def test_the_command_makes_the_tables_of_every_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("monday", "tuesday"):
        write_results(tmp_path / name)
    assert main(["export", str(tmp_path), "--tables", "csv, parquet"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{tmp_path}/monday/tables/frames.parquet"
    assert len(out) == 16
    total = duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/*/tables/people.parquet'").fetchone()
    assert total == (4,)


def test_what_cannot_be_exported_is_an_error_that_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_results(tmp_path)
    assert main(["export", str(folder)]) == 2
    assert "nothing to make: add" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["export", str(folder), "--tables", "xls"])
    assert "'xls': choose from parquet, csv, jsonl" in capsys.readouterr().err
    (folder / "summary.json").unlink()
    assert main(["export", str(folder), "--tables", "csv"]) == 3
    assert "summary.json does not exist: the analysis has not finished" in capsys.readouterr().err


def test_files_of_two_runs_are_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path)
    lines = (folder / "observations.jsonl").read_text()
    (folder / "observations.jsonl").write_text(lines.replace(header()["run_id"], "f" * 32))
    with pytest.raises(InputError, match=r"is of another run than tracks\.jsonl beside it; analyse the video again"):
        write_tables(folder, ("csv",))
    assert list((folder / "tables").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "line", "change", "said"),
    [
        ("observations.jsonl", 4, {"track_id": "t9"}, "'t9' is missing"),
        ("observations.jsonl", 4, {"box": 1}, "not subscriptable"),
        ("tracks.jsonl", 3, {"intervals": 1}, "is not iterable"),
        ("people.jsonl", 2, {"best": {"frame": 1}, "first_seen_s": "soon"}, "unsupported type"),
        ("tracks.jsonl", 1, {"schema_version": 4}, "it has schema_version 4, this version reads 5"),
    ],
)
def test_damaged_records_are_an_error_that_names_their_file(
    tmp_path: Path, name: str, line: int, change: dict[str, Any], said: str
) -> None:
    folder = write_results(tmp_path)
    records = [json.loads(text) for text in (folder / name).read_text().splitlines()]
    records[line - 1] |= change
    write_lines(folder / name, records)
    with pytest.raises(InputError, match=said) as caught:
        write_tables(folder, ("csv",))
    assert f"{name} was not written by `streamer analyze`" in str(caught.value)


def test_parquet_needs_a_package_that_the_error_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_results(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(folder), "--tables", "csv,jsonl"]) == 0
    with pytest.raises(fa.MissingPackage, match=r"faceanalytics\[analysis\]' \(or use --tables csv,jsonl\)"):
        fa.analyze("clip.mp4", tmp_path, tables=["parquet"])


def test_names_of_the_labels_are_columns() -> None:
    for table in ("frames", "analyses"):
        assert {one.name for one in columns(table, ())} > set(EXPRESSIONS)
