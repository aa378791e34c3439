"""A recorded analysis from Python, with a real worker, beside the command line's; its files read again."""

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import faceanalytics as fa
from tests.end_to_end.programs import Program
from tests.support.patience import until
from tests.support.photographs import make_face_clip
from tests.support.recorded_files import write_results
from tests.support.videos import make_video

FILES = ("tracks.jsonl", "observations.jsonl", "summary.json", "embeddings.npz")


@pytest.fixture(scope="module")
def workers() -> Iterator[str]:
    """Where a worker looks for those who analyse: it takes seconds to start."""
    with tempfile.TemporaryDirectory(prefix="fa-") as name, Program("workers.serve", "--connect", f"ipc://{name}/w"):
        yield f"ipc://{name}/w"


def test_a_face_of_the_gallery_is_named_and_described(results: fa.Results) -> None:
    (track,) = results.tracks
    assert track.person == "eileen"
    assert track.decision is not None
    assert track.decision.status == "IDENTIFIED"
    assert track.decision.candidates[0].person == "eileen"
    assert track.age is not None
    assert track.age.low_years < track.age.years < track.age.high_years
    assert track.expression is not None
    assert track.expression.mostly == "happiness"
    assert track.attributes is not None
    assert track.attributes.scores.keys() == {"male"}
    assert track.end_reason == "END_OF_FILE"
    assert track.final
    (person,) = results.people
    assert (person.name, person.track_ids) == ("eileen", (track.track_id,))
    assert (person.first_seen_s, person.last_seen_s) == (track.first_seen_s, track.last_seen_s)
    counts: dict[str, Any] = {"frames": 50, "shots": 1, "people": 1, "tracks": 1, "lost_crops": 0}
    counts["crops"] = len(results.analyses)
    counts |= {"described_tracks": 1, "undescribed_tracks": 0, "false_faces": 0}
    whole = fa.Summary(run_id=results.header.run_id, **counts, dropped={}, complete=True, problem=None)
    assert results.summary == whole
    assert len(results.analyses) == track.samples
    assert {one.track_id for one in results.observations} == {track.track_id}
    assert set(results.observations[0].landmarks) == {"left_eye", "right_eye", "nose", "mouth_left", "mouth_right"}
    assert float(np.linalg.norm(results.embeddings[track.track_id])) == pytest.approx(1, abs=1e-5)
    assert results.header.source.name == "clip.mp4"


def test_the_files_are_those_of_the_command_line(folder: Path, results: fa.Results, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--out", out, "--gallery", folder / "people", "--embeddings")
    with Program("streamer", "analyze", folder / "clip.mp4", *arguments) as program:
        assert program.wait() == 0, program.text
    assert results.folder == folder / "results"
    for name in FILES:
        assert (out / name).read_bytes() == (results.folder / name).read_bytes(), name
    again = fa.read_results(str(out))
    assert (again.header, again.summary, again.tracks) == (results.header, results.summary, results.tracks)
    assert (again.observations, again.analyses) == (results.observations, results.analyses)


def test_without_a_folder_nothing_is_left(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    results = fa.analyze(str(folder / "clip.mp4"), progress=lambda done, total: seen.append((done, total)))
    assert results.folder is None
    assert results.embeddings == {}
    assert seen == [(done, 50) for done in range(1, 51)]
    assert [track.person for track in results.tracks] == [None]


def test_settings_come_from_a_mapping_or_a_file(folder: Path, workers: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("track: {confirm_hits: 40}\n")
    late = fa.analyze(folder / "clip.mp4", config=tmp_path / "config.yaml", external_workers=workers)
    same = fa.analyze(folder / "clip.mp4", config={"track": {"confirm_hits": 40}}, external_workers=workers)
    assert len(late.observations) == len(same.observations) == 11
    assert late.header == same.header


def test_workers_of_ones_own_are_used(folder: Path, workers: str) -> None:
    results = fa.analyze(folder / "clip.mp4", external_workers=workers)
    assert len(results.tracks) == 1


def test_what_cannot_be_analysed_is_an_error_of_the_user(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = folder / "clip.mp4"
    with pytest.raises(fa.InputError, match="no such file"):
        fa.analyze("nowhere.mp4")
    with pytest.raises(fa.ConfigError, match=r"track\.lost: unknown key"):
        fa.analyze(clip, config={"track": {"lost": 1}})
    with pytest.raises(fa.ModelError, match="does not exist"):
        fa.analyze(clip, detector="nowhere.onnx")
    with pytest.raises(fa.ModelError):
        fa.analyze(clip, weights=tmp_path / "nowhere.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(fa.MissingPackage, match=r"faceanalytics\[worker\]' \(or pass external_workers\)"):
        fa.analyze(clip)


def test_ctrl_c_stops_the_analysis_and_its_worker(tmp_path: Path) -> None:
    clip = make_face_clip(tmp_path / "long.mp4", seconds=40)
    code = "import logging, faceanalytics as fa; logging.basicConfig(level=logging.INFO); fa.analyze({!r}, {!r})"
    script = code.format(str(clip), str(tmp_path / "out"))
    with Program(sys.executable, "-c", script, python="env") as program:  # not a module: `env` starts it
        program.wait_for(r"worker \S+ connected")
        program.wait_for(r"connected to")
        observed = tmp_path / "out" / "observations.jsonl.partial"
        until(lambda: observed.exists() and observed.read_text().count("\n") > 5, "some frames")
        program.signal(signal.SIGINT)
        program.wait()
    assert "KeyboardInterrupt" in program.text
    assert "worker stopped" in program.text
    assert not json.loads((tmp_path / "out" / "summary.json").read_text())["complete"]


# --- tables


def test_tracks_are_a_table(results: fa.Results) -> None:
    table = results.to_polars()
    assert isinstance(table, pl.DataFrame)
    assert table.height == 1
    row = table.row(0, named=True)
    (track,) = results.tracks
    assert row["identity_status"] == "IDENTIFIED"
    assert row["expression"] == "happiness"
    assert row["age_years"] == pytest.approx(track.age.years if track.age else None)
    assert row["attribute_male"] < 0.5
    assert row["presence_male"] == (track.attributes.presence["male"] if track.attributes else None)
    assert row["FaceRectWidth"] == track.box.width
    assert {name for name in table.columns if name.startswith("expression_")} == {
        f"expression_{name}" for name in (track.expression.distribution if track.expression else ())
    }


def test_frames_and_analyses_are_tables(results: fa.Results) -> None:
    frames, analyses = results.to_pandas("frames"), results.to_pandas("analyses")
    assert isinstance(frames, pd.DataFrame)
    assert frames["frame"].nunique() == len(results.frames) == results.summary.frames
    assert frames["success"].sum() == len(results.observations)
    assert frames.loc[frames["success"], "nose_x"].notna().all()
    assert frames.loc[~frames["success"], "nose_x"].isna().all()
    assert frames["timestamp"].is_monotonic_increasing
    assert frames["happiness"].notna().sum() == len(analyses)
    assert set(frames["expression"].dropna()) == {"happiness"}
    assert frames["yaw_deg"].abs().max() < 40
    assert analyses["answered"].all()
    assert len(analyses) == len(results.analyses)
    assert results.to_arrow("analyses").num_rows == len(results.analyses)
    with pytest.raises(ValueError, match="frames, tracks, people and analyses"):
        results.to_arrow("faces")  # type: ignore[arg-type]


def test_a_video_without_faces_gives_tables_without_tracks(results: fa.Results, workers: str, tmp_path: Path) -> None:
    empty = fa.analyze(make_video(tmp_path / "none.mp4", frames=5), external_workers=workers)
    assert empty.people == ()
    for name in ("frames", "tracks", "people", "analyses"):
        assert empty.to_polars(name).schema == results.to_polars(name).schema
    assert not empty.to_pandas("frames")["success"].any()
    assert len(empty.to_pandas("frames")) == len(empty.frames) == 5


def test_the_time_of_day_of_the_first_frame_is_that_of_the_caller(folder: Path, workers: str, tmp_path: Path) -> None:
    with pytest.raises(fa.ConfigError, match="has no offset from UTC; add Z, or an offset"):
        fa.analyze(folder / "clip.mp4", start_time="2026-11-30T12:00:00")
    with pytest.raises(fa.ConfigError, match="`out` must name a folder"):
        fa.analyze(folder / "clip.mp4", tables=["csv"])
    with pytest.raises(fa.ConfigError, match="'xls': choose from parquet, csv, jsonl"):
        fa.analyze(folder / "clip.mp4", tmp_path, tables=["xls"])
    begun = datetime(2026, 11, 30, 13, tzinfo=timezone(timedelta(hours=1)))
    out = tmp_path / "out"
    timed = fa.analyze(folder / "clip.mp4", out, start_time=begun, tables=["parquet"], external_workers=workers)
    assert (timed.header.start_time, timed.header.start_time_source) == (begun, "option")
    table = pd.read_parquet(tmp_path / "out" / "tables" / "frames.parquet")
    assert table["wall_clock"][25] == pd.Timestamp("2026-11-30T12:00:01Z")
    assert not (tmp_path / "out" / "tables" / "frames.csv").exists()


@pytest.mark.parametrize("package", ["pyarrow", "polars", "pandas"])
def test_a_missing_library_of_tables_names_its_extra(
    package: str, results: fa.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    line = rf"{package} is not installed: pip install 'faceanalytics\[analysis\]'"
    with pytest.raises(fa.MissingPackage, match=line):
        results.to_pandas() if package == "pandas" else results.to_polars()


# --- files


@pytest.fixture
def copy(results: fa.Results, tmp_path: Path) -> Path:
    """The files of the analysis, to be changed."""
    assert results.folder is not None
    return Path(shutil.copytree(results.folder, tmp_path / "copy"))


def rewrite(path: Path, change: Any) -> None:
    """Change the records of a file in place."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(record) + "\n" for record in change(records)))


def test_people_of_another_run_are_refused(copy: Path) -> None:
    write_results(copy.parent / "other")
    for name in ("people.jsonl", "shots.jsonl"):
        shutil.copy(copy.parent / "other" / name, copy)
        with pytest.raises(fa.InputError, match=rf"tracks\.jsonl and {name} are of different runs; analyse the video"):
            fa.read_results(copy)
        (copy / name).unlink()


def test_a_person_of_an_unknown_track_is_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path)
    rewrite(folder / "people.jsonl", lambda records: [records[0], {**records[1], "track_ids": ["t9"]}])
    with pytest.raises(fa.InputError, match=r"people\.jsonl is not a result of `streamer analyze`: 't9'"):
        fa.read_results(folder)


def test_another_schema_is_refused(copy: Path) -> None:
    rewrite(copy / "tracks.jsonl", lambda records: [{**records[0], "schema_version": 3}, *records[1:]])
    (copy / "summary.json").write_text('{"frames": 50, "complete": true}')
    with pytest.raises(fa.InputError, match="has schema_version 3, this version of faceanalytics reads 5"):
        fa.read_results(copy)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(fa.InputError, match=r"summary\.json does not exist: this is not a folder"):
        fa.read_results(tmp_path)


def test_an_analysis_that_has_not_finished_is_refused(copy: Path) -> None:
    (copy / "summary.json").unlink()
    (copy / "tracks.jsonl").rename(copy / "tracks.jsonl.partial")
    with pytest.raises(fa.InputError, match="the analysis has not finished"):
        fa.read_results(copy)


def test_files_of_two_analyses_are_refused(copy: Path) -> None:
    rewrite(copy / "observations.jsonl", lambda records: [{**records[0], "config_hash": "0" * 12}, *records[1:]])
    with pytest.raises(fa.InputError, match="of different runs; analyse the video again"):
        fa.read_results(copy)


def test_a_summary_of_another_run_is_refused(copy: Path) -> None:
    counts = json.loads((copy / "summary.json").read_text())
    (copy / "summary.json").write_text(json.dumps({**counts, "run_id": "0" * 32}))
    with pytest.raises(fa.InputError, match=r"summary\.json are of different runs; analyse the video again"):
        fa.read_results(copy)


def test_embeddings_of_another_run_are_refused(copy: Path) -> None:
    with np.load(copy / "embeddings.npz") as arrays:
        changed = {**arrays, "run_id": np.array("0" * 32)}
    np.savez(copy / "embeddings.npz", **changed)
    with pytest.raises(fa.InputError, match=r"embeddings\.npz is of another run"):
        fa.read_results(copy)


def test_files_that_only_partly_got_their_names_are_not_finished(copy: Path) -> None:
    """As after a crash at the very end: summary.json is the last."""
    (copy / "summary.json").unlink()
    with pytest.raises(fa.InputError, match="the analysis has not finished"):
        fa.read_results(copy)


def test_a_wrong_field_is_named(copy: Path) -> None:
    rewrite(copy / "tracks.jsonl", lambda records: [records[0], {**records[1], "first_seen_s": "early"}])
    with pytest.raises(fa.InputError, match=r"tracks\.jsonl is not a result of `streamer analyze`:\n  first_seen_s: "):
        fa.read_results(copy)


@pytest.mark.parametrize("text", ["", "not JSON\n", "[]\n", '{"type": "track"}\n'])
def test_a_damaged_file_is_refused(copy: Path, text: str) -> None:
    (copy / "observations.jsonl").write_text(text)
    with pytest.raises(fa.InputError, match=r"observations\.jsonl is not a result"):
        fa.read_results(copy)


# --- other formats


def test_other_formats_are_written_beside_the_results(folder: Path, workers: str, tmp_path: Path) -> None:
    formats = ["contact-sheet", "webvtt"]
    fa.analyze(folder / "clip.mp4", tmp_path / "out", formats=formats, external_workers=workers)
    made = {"people.vtt", "people.metadata.vtt", "contact-sheet.jpg"}
    assert made <= {path.name for path in (tmp_path / "out").iterdir()}
    assert not (tmp_path / "out" / "people.eaf").exists()
    with pytest.raises(fa.ConfigError, match="formats: 'srt': choose from mot, webvtt, eaf, faces, contact-sheet"):
        fa.analyze(folder / "clip.mp4", tmp_path / "out", formats=["srt"])
    with pytest.raises(fa.ConfigError, match="formats: they are files, so `out` must name a folder"):
        fa.analyze(folder / "clip.mp4", formats=["webvtt"])
