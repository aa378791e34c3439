"""`streamer analyze` as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pandas
import psutil
import pytest
import yaml
from av.stream import Disposition

from faceanalytics.files import hash_file
from faceanalytics.results import read_results
from streamer.cli import main as streamer_main
from streamer.recorded.filenames import ANNOTATED, OUTPUTS, TABLE_FILES
from tests.end_to_end.programs import PATIENT_DISPATCH, Program
from tests.support.disk import small_files
from tests.support.http_cameras import web_camera
from tests.support.patch_detector import make_patch_video, paint
from tests.support.patience import WAIT_S, until
from tests.support.pictures import Track, numbered, write
from tests.support.timestamps import restamp_ts
from tests.support.videos import break_jpeg, cut_off, make_audio, make_video, write_resized

pytestmark = pytest.mark.slow


def analyze(
    out: Path, detector: Path, endpoint: str, *arguments: str | Path, stdin: Path | None = None, **settings: object
) -> "subprocess.CompletedProcess[str]":
    """With the workers that are there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    config = out.parent / f"{out.name}.yaml"
    dispatch = {"bind": endpoint, "batch": 4, **PATIENT_DISPATCH}
    data = {"detect": {"weights": str(detector)}, "dispatch": dispatch, **settings}
    config.write_text(yaml.safe_dump(data))
    command = [sys.executable, "-m", "streamer", "analyze", "--out", out, "--config", config, "--external-workers"]
    with (stdin or Path(os.devnull)).open("rb") as file:
        return subprocess.run(
            [*map(str, [*command, *arguments])], stdin=file, capture_output=True, text=True, timeout=2 * WAIT_S
        )


LINES = ("tracks.jsonl", "observations.jsonl", "shots.jsonl")


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_runs_give_the_same_bytes_and_every_face_is_found_once(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    for name in ("first", "second"):
        options = "--explain", "--embeddings", "--annotate"
        done = analyze(tmp_path / name, patches / "detector.onnx", endpoint, *options, patches / "two.mp4")
        assert done.returncode == 0, done.stderr
    for name in (*LINES, "explain.jsonl", "annotated.mp4", "embeddings.npz", "summary.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    header, *tracks = records(tmp_path / "first" / "tracks.jsonl")
    assert re.fullmatch("swinface-[0-9a-f]{12}", header["model_id"])
    assert header["source"]["name"] == "two.mp4"
    assert len(tracks) == 2
    for track in tracks:
        assert track["final"]
        assert track["end_reason"] == "END_OF_FILE"
        assert track["samples"] > 1
        assert sum(track["expression"]["distribution"].values()) == pytest.approx(1, abs=1e-3)
        assert 3.8 <= track["last_seen_s"] <= 4.0
    _, *seen = records(tmp_path / "first" / "observations.jsonl")
    kinds = [line["type"] for line in seen]
    assert kinds.count("observation") > 2 * 90  # of 100 frames, less those before the tracks were confirmed
    assert kinds.count("analysis") == sum(track["samples"] for track in tracks)
    _, *reasons = records(tmp_path / "first" / "explain.jsonl")
    kinds = [line["type"] for line in reasons]
    assert kinds.count("answer") == sum(track["samples"] for track in tracks)
    assert [line["decisions"]["SENT"] for line in reasons if line["type"] == "track"] == [t["samples"] for t in tracks]
    assert json.loads((tmp_path / "first" / "summary.json").read_text())["complete"]
    with np.load(tmp_path / "first" / "embeddings.npz") as templates:
        assert list(templates["track_id"]) == [track["track_id"] for track in tracks]
        assert np.linalg.norm(templates["embedding"], axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert not list((tmp_path / "first").glob("*.partial"))


def test_tables_of_two_runs_are_the_same_and_the_results_are_valid(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second"):
        options = "--explain", "--tables", "parquet,csv,jsonl", "--start-time", "2026-11-30T13:00:00+01:00"
        done = analyze(tmp_path / name, patches / "detector.onnx", endpoint, *options, patches / "two.mp4")
        assert done.returncode == 0, done.stderr
    tables = sorted((tmp_path / "first" / "tables").iterdir())
    assert len(tables) == 12
    for path in tables:
        assert path.read_bytes() == (tmp_path / "second" / "tables" / path.name).read_bytes(), path.name
    assert streamer_main(["results", "validate", str(tmp_path)]) == 0, capsys.readouterr().out
    frames = pandas.read_parquet(tmp_path / "first" / "tables" / "frames.parquet")
    assert frames["frame"].nunique() == 100
    assert frames["wall_clock"].iloc[-1] == pandas.Timestamp("2026-11-30T12:00:03.96Z")
    assert frames["analysed"].sum() == sum(one["samples"] for one in records(tmp_path / "first" / "tracks.jsonl")[1:])


def test_a_start_time_without_an_offset_or_of_several_videos_is_refused(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    detector, video = patches / "detector.onnx", patches / "one.mp4"
    done = analyze(tmp_path / "out", detector, endpoint, "--start-time", "2026-11-30T12:00:00", video)
    assert (done.returncode, "has no offset from UTC; add Z" in done.stderr) == (2, True)
    start = "--start-time", "2026-11-30T12:00:00Z"
    done = analyze(tmp_path / "out", detector, endpoint, *start, video, patches / "two.mp4")
    assert (done.returncode, "it is that of one video; analyse the videos one at a time" in done.stderr) == (2, True)


def test_standard_input_and_the_web_give_the_results_of_the_file(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    video = patches / "one.mp4"

    def results(name: str, *arguments: str | Path) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
        done = analyze(tmp_path / name, patches / "detector.onnx", endpoint, *arguments, stdin=video)
        assert done.returncode == 0, done.stderr
        assert "secret" not in done.stdout + done.stderr
        header, *tracks = records(tmp_path / name / "tracks.jsonl")
        assert header["source"]["sha256"] == hash_file(video)
        _, *seen = records(tmp_path / name / "observations.jsonl")
        return header["source"]["name"], tracks, seen

    _, *file = results("file", video)
    assert results("stdin", "-", "--annotate") == ("stdin", *file)
    assert (tmp_path / "stdin" / "annotated.mp4").exists()
    with web_camera(patches) as server:
        assert results("web", "--allow-url", server.url("one.mp4?token=secret", "u:secret")) == ("one.mp4", *file)


def test_a_signal_ends_the_reading_of_standard_input(tmp_path: Path, patches: Path, endpoint: str) -> None:
    command = ["analyze", "-", "--out", tmp_path / "out", "--external-workers"]
    with subprocess.Popen(
        [sys.executable, "-m", "streamer", *map(str, command)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: bool(psutil.Process(process.pid).num_threads() > 1), "it reads")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(WAIT_S) == 130
    assert "stopped" in said or not said


def test_the_annotated_video_has_the_times_of_the_source(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    done = analyze(tmp_path / "out", patches / "detector.onnx", endpoint, "--annotate", patches / "one.mp4")
    assert done.returncode == 0, done.stderr

    def times(path: Path) -> list[float]:
        with av.open(str(path)) as container:
            return [frame.time for frame in container.decode(video=0) if frame.time is not None]

    assert times(tmp_path / "out" / "annotated.mp4") == pytest.approx(times(patches / "one.mp4"), abs=1e-6)


def test_results_are_not_drawn_into_another_video(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    assert analyze(tmp_path / "out", patches / "detector.onnx", endpoint, patches / "one.mp4").returncode == 0
    command = ["annotate", patches / "two.mp4", "--results", tmp_path / "out", "--out", tmp_path / "drawn.mp4"]
    done = subprocess.run([sys.executable, "-m", "streamer", *map(str, command)], capture_output=True, text=True)
    assert done.returncode == 3
    assert "a different video" in done.stderr
    assert not (tmp_path / "drawn.mp4").exists()


def test_what_cannot_be_read_is_said_and_the_rest_is_analysed(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    (tmp_path / "text.mp4").write_text("this is no video\n" * 100)
    cut = cut_off(make_patch_video(tmp_path / "long.mkv", seconds=3, faces=1), 0.6)
    videos = [tmp_path / "missing.mp4", tmp_path / "text.mp4", make_audio(tmp_path / "sound.m4a"), cut]
    done = analyze(tmp_path / "out", patches / "detector.onnx", endpoint, *videos, patches / "one.mp4")
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    for name in ("missing.mp4", "text.mp4", "sound.m4a", cut.name):
        assert name in done.stderr
    assert len(records(tmp_path / "out" / "one" / "tracks.jsonl")) == 2
    header, *tracks = records(tmp_path / "out" / cut.stem / "tracks.jsonl")
    assert header["source"]["name"] == cut.name
    assert len(tracks) == 1


def test_boxes_are_upright_and_square_and_the_header_leads_back_to_the_stored_picture(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    shown = np.full((480, 640, 3), 90, np.uint8)
    paint(shown, 400, 100)
    stored = np.asarray(cv2.resize(shown[:, ::-1], (320, 480), interpolation=cv2.INTER_AREA), np.uint8)
    mirror = (-(1 << 16), 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    dummy = Track(numbered(1, (320, 240)), disposition=Disposition.default)
    video = write(
        tmp_path / "oblong.mov", dummy, Track([stored] * 30, aspect=Fraction(2), matrix=mirror, options={"crf": "18"})
    )
    done = analyze(tmp_path / "out", patches / "detector.onnx", endpoint, "--annotate", video)
    assert done.returncode == 0, done.stderr
    assert "reading video stream 1 of 2" in done.stderr
    header, *found = records(tmp_path / "out" / "observations.jsonl")
    source = header["source"]
    assert (source["video_stream"], source["width"], source["height"]) == (1, 640, 480)
    geometry = source["geometry"]
    assert (geometry["stored_width"], geometry["stored_height"]) == (320, 480)
    assert geometry["sample_aspect_ratio"] == "2:1"
    assert geometry["matrix"] == [[-0.5, 0, 320], [0, 1, 0]]
    box = next(record["box"] for record in found if record["type"] == "observation")
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    assert box["width"] == pytest.approx(box["height"], rel=0.2)
    x, y = np.array(geometry["matrix"]) @ (*middle, 1)
    patch = stored[round(y) - 5 : round(y) + 5, round(x) - 5 : round(x) + 5]
    assert np.abs(patch.astype(int) - 90).mean() > 20  # not the grey around the face
    with av.open(str(tmp_path / "out" / "annotated.mp4")) as drawn:
        assert (drawn.streams.video[0].width, drawn.streams.video[0].height) == (640, 480)
    done = analyze(tmp_path / "none", patches / "detector.onnx", endpoint, "--video-stream", "2", video)
    assert done.returncode == 3
    listed = "its video streams are 0: h264 320x240, default; 1: h264 320x480"
    assert f"oblong.mov: has no video stream 2; {listed}" in done.stderr


def test_wrong_timestamps_are_said_in_the_header_and_flagged(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    plain = make_patch_video(tmp_path / "plain.ts", seconds=4, faces=2)
    wrong = restamp_ts(plain, tmp_path / "wrong.ts", lambda n, stamp: stamp + 36_000 * 90_000 * (n in {50, 70}))
    tracks = {}
    for video in (plain, wrong):
        out = tmp_path / video.stem
        done = analyze(out, patches / "detector.onnx", endpoint, "--explain", video)
        assert done.returncode == 0, done.stderr
        tracks[video.stem] = [(one["first_seen_s"], one["last_seen_s"]) for one in records(out / "tracks.jsonl")[1:]]
    assert tracks["wrong"] == tracks["plain"]
    headers = [
        records(out / name)[0] for name in ("tracks.jsonl", "observations.jsonl", "shots.jsonl", "explain.jsonl")
    ]
    assert [header["time_base"] for header in headers] == [
        {"zero": "first frame", "source": "estimated", "estimated_frames": 2, "restarts": 0}
    ] * 4
    flagged = [one["media_time_s"] for one in records(out / "observations.jsonl") if one.get("time_estimated")]
    assert flagged == [2.0] * 3 + [2.8] * 3  # the frame and its two faces
    assert "frames without a usable timestamp, timed by their neighbours: 2" in done.stderr
    header = records(tmp_path / "plain" / "tracks.jsonl")[0]
    assert header["time_base"] == {"zero": "first frame", "source": "pts", "estimated_frames": 0, "restarts": 0}


def test_frames_that_were_dropped_make_the_result_incomplete(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    video = break_jpeg(make_video(tmp_path / "a.avi", codec="mjpeg", frames=10), 4)
    done = analyze(tmp_path / "out", patches / "detector.onnx", endpoint, video)
    assert done.returncode == 5
    assert "incomplete:" in done.stderr
    assert "1 damaged" in done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["frames"], summary["dropped"], summary["complete"]) == (9, {"damaged": 1}, False)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "no such file"), (b"this is no video\n" * 100, "not a video"), (b"", "empty")],
)
def test_a_single_unreadable_video_is_exit_code_3(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / "video.mp4").write_bytes(content)
    done = analyze(tmp_path / "out", patches / "detector.onnx", endpoint, tmp_path / "video.mp4")
    assert done.returncode == 3
    assert complaint in done.stderr.lower()
    assert "Traceback" not in done.stderr


def _tracks_in(observations: Path) -> set[str]:
    """Ids of the tracks of a file that is being written."""
    lines = observations.read_text().splitlines()
    found = [json.loads(line) for line in lines[1:-1]]  # without the header, and a line that may be cut
    return {record["track_id"] for record in found if record["type"] == "observation"}


def test_a_signal_finalises_what_was_analysed(tmp_path: Path, patches: Path, endpoint: str, worker: Program) -> None:
    video = make_patch_video(tmp_path / "long.mp4", seconds=60, faces=3)
    config = tmp_path / "config.yaml"
    dispatch = {"bind": endpoint, "batch": 4, **PATIENT_DISPATCH}
    settings = {"detect": {"weights": str(patches / "detector.onnx")}, "dispatch": dispatch}
    config.write_text(yaml.safe_dump(settings))
    arguments = ("analyze", "--out", tmp_path / "out", "--config", config, "--external-workers", video)
    others = ("--annotate", "--report", "--tables", "jsonl", "--formats", "webvtt,faces")
    with Program("streamer", *arguments, *others) as program:
        observed = tmp_path / "out" / "observations.jsonl.partial"
        until(lambda: observed.exists() and len(_tracks_in(observed)) == 3, "three tracks")
        program.signal(signal.SIGTERM)
        assert program.wait() == 128 + signal.SIGTERM
    assert not json.loads((tmp_path / "out" / "summary.json").read_text())["complete"]
    _, *tracks = records(tmp_path / "out" / "tracks.jsonl")
    assert {track["end_reason"] for track in tracks} == {"SHUTDOWN"}
    assert len(tracks) == 3
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made >= {"annotated.mp4", "report.html", "tables", "people.vtt", "people.jsonl", "shots.jsonl"}
    assert "faces" not in made  # of pictures, which would take another pass over the video
    assert "pictures are left out after a signal" in program.text


def test_a_new_run_leaves_nothing_of_an_older_one(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    """Another video, or other options: annotate must not draw by the older explain.jsonl."""
    out, detector = tmp_path / "out", patches / "detector.onnx"
    every = "--explain", "--embeddings", "--report"
    assert analyze(out, detector, endpoint, *every, patches / "one.mp4").returncode == 0
    lacking = {ANNOTATED, *TABLE_FILES}  # to explain does not draw
    assert {path.name for path in out.iterdir()} == set(OUTPUTS) - lacking
    assert analyze(out, detector, endpoint, *every, "--annotate", patches / "one.mp4").returncode == 0
    first = records(out / "tracks.jsonl")[0]
    assert {path.name for path in out.iterdir()} == set(OUTPUTS) - set(TABLE_FILES)
    page = (out / "report.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert 'href="annotated.mp4#t=' in page
    assert analyze(out, detector, endpoint, patches / "two.mp4").returncode == 2  # not unasked
    assert records(out / "tracks.jsonl")[0] == first
    done = analyze(out, detector, endpoint, "--overwrite", patches / "two.mp4")
    assert done.returncode == 0
    assert "removed the results of an earlier run: summary.json, " in done.stderr
    assert {path.name for path in out.iterdir()} == {
        "tracks.jsonl",
        "observations.jsonl",
        "people.jsonl",
        "shots.jsonl",
        "summary.json",
    }
    header = records(out / "tracks.jsonl")[0]
    assert header["run_id"] != first["run_id"]
    assert json.loads((out / "summary.json").read_text())["run_id"] == header["run_id"]


def test_a_full_disk_is_said_and_leaves_no_results(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    out, detector = tmp_path / "out", patches / "detector.onnx"
    assert analyze(out, detector, endpoint, "--embeddings", patches / "one.mp4").returncode == 0
    with small_files(20_000):  # the process inherits it
        done = analyze(out, detector, endpoint, "--embeddings", "--overwrite", patches / "two.mp4")
    assert done.returncode == 2
    assert f"cannot write {out}/observations.jsonl: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    lines = {f"{name}.jsonl.partial" for name in ("tracks", "observations", "people", "shots")}
    assert {path.name for path in out.iterdir()} == lines | {"journal.partial"}
    assert len(records(out / "observations.jsonl.partial")) > 10  # whole lines only
    done = analyze(out, detector, endpoint, "--embeddings", patches / "two.mp4")
    assert done.returncode == 0
    assert "goes on with an unfinished analysis" in done.stderr


def test_a_video_among_the_outputs_is_not_removed(tmp_path: Path, patches: Path) -> None:
    video = tmp_path / "annotated.mp4"
    video.write_bytes((patches / "one.mp4").read_bytes())
    done = analyze(tmp_path, patches / "detector.onnx", f"ipc://{tmp_path}/w", video)
    assert done.returncode == 2
    assert f"{video} would be removed as an earlier result; choose another folder" in done.stderr
    assert video.read_bytes() == (patches / "one.mp4").read_bytes()


@pytest.mark.parametrize("sizes", [((640, 480), (1280, 960)), ((1280, 960), (640, 480))])
def test_faces_are_followed_when_the_frame_size_changes(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    with av.open(str(patches / "two.mp4")) as container:
        frames = [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in container.decode(video=0)]
    resized = [np.asarray(cv2.resize(each, sizes[row // 50]), np.uint8) for row, each in enumerate(frames)]
    video = write_resized(tmp_path / "resized.ts", resized)
    done = analyze(tmp_path / "out", patches / "detector.onnx", endpoint, "--annotate", video)
    assert done.returncode == 0, done.stderr
    header, *tracks = records(tmp_path / "out" / "tracks.jsonl")
    assert (header["source"]["width"], header["source"]["height"]) == sizes[0]
    assert len(tracks) == 2
    assert all((track["frame_width"], track["frame_height"]) == sizes[1] for track in tracks)
    _, *seen = records(tmp_path / "out" / "observations.jsonl")
    faces = [line for line in seen if line["type"] == "observation"]
    assert len(faces) > 2 * 90
    for face in faces:
        width, height = face.get("frame_width", sizes[0][0]), face.get("frame_height", sizes[0][1])
        assert (width, height) == sizes[face["media_time_s"] >= 2.0]
        assert face["box"]["x"] + face["box"]["width"] <= width * 1.02
        assert face["box"]["width"] == pytest.approx(width / 10, rel=0.2)
    assert "the frame size changes from {}x{} to {}x{} at 2.00 s".format(*sizes[0], *sizes[1]) in done.stderr
    with av.open(str(tmp_path / "out" / "annotated.mp4")) as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {sizes[0]}
    found = read_results(tmp_path / "out")
    assert {(one.frame_width, one.frame_height) for one in found.observations} == set(sizes)


def test_a_worker_without_the_weights_of_the_configuration_is_exit_code_4(
    tmp_path: Path, patches: Path, small_file: Path
) -> None:
    settings = {"detect": {"weights": str(patches / "detector.onnx")}, "dispatch": {"model": "another"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    arguments = ("--out", tmp_path / "out", "--weights", small_file, "--config", tmp_path / "config.yaml")
    with Program("streamer", "analyze", *arguments, patches / "one.mp4") as program:
        assert program.wait() == 4, program.text
    said = r"its weights are swinface-\w+, but dispatch\.model of the streamer is another"
    assert len(re.findall(said, program.text)) == 2
    assert "Traceback" not in program.text


def test_without_workers_a_signal_still_ends_it(tmp_path: Path, patches: Path) -> None:
    config = tmp_path / "config.yaml"
    settings = {"detect": {"weights": str(patches / "detector.onnx")}, "dispatch": {"bind": f"ipc://{tmp_path}/w"}}
    config.write_text(yaml.safe_dump(settings))
    arguments = ("analyze", "--out", tmp_path / "out", "--config", config, "--external-workers", patches / "one.mp4")
    with Program("streamer", *arguments) as program:
        program.wait_for("waiting for a worker")
        program.signal(signal.SIGTERM)
        assert program.wait() == 128 + signal.SIGTERM


def test_it_starts_and_stops_a_worker_of_its_own(tmp_path: Path, patches: Path) -> None:
    arguments = ("--out", tmp_path / "out", "--weights", "untrained", "--config", tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"detect": {"weights": str(patches / "pose.onnx")}}))
    with Program("streamer", "analyze", *arguments, patches / "one.mp4") as program:
        assert program.wait() == 0, program.text
    assert "untrained" in program.text.lower()
    assert len(records(tmp_path / "out" / "tracks.jsonl")) == 2


def test_a_worker_of_its_own_that_hangs_is_replaced(tmp_path: Path, patches: Path, small_file: Path) -> None:
    dispatch = {"worker_silent_s": 5, "batch": 4}
    settings = {"detect": {"weights": str(patches / "detector.onnx")}, "dispatch": dispatch}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    arguments = ("--out", tmp_path / "out", "--weights", small_file, "--config", tmp_path / "config.yaml")
    with Program("streamer", "analyze", *arguments, patches / "one.mp4") as program:
        program.wait_for("connected: model swinface-")
        (worker,) = psutil.Process(program.process.pid).children()
        worker.suspend()
        program.wait_for("worker is stuck and is killed")
        assert program.wait() == 0, program.text
    assert len(records(tmp_path / "out" / "tracks.jsonl")) == 2


@pytest.mark.parametrize("weights", ["missing.pt", "text.pt"])
def test_invalid_swinface_weights_are_exit_code_4(tmp_path: Path, patches: Path, weights: str) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"detect": {"weights": str(patches / "detector.onnx")}}))
    arguments = ("--out", tmp_path / "out", "--weights", tmp_path / weights, "--config", tmp_path / "config.yaml")
    with Program("streamer", "analyze", *arguments, patches / "one.mp4") as program:
        assert program.wait() == 4, program.text
    assert weights in program.text
    assert "Traceback" not in program.text


# people per clip, as the data folder's inventory says
PEOPLE = {
    "face-demographics-walking-and-pause.gif": 3,
    "head-pose-face-detection-female-and-male.gif": 2,
    "head-pose-face-detection-female.gif": 1,
    "people-detection.gif": 0,
    "asl/again.mkv": 1,
    "asl/bird.mkv": 2,  # the second one is cut in half by the edge; the inventory does not count him
    "asl/book.mkv": 1,
}


@pytest.mark.shared
def test_real_clips_have_as_many_tracks_as_people(tmp_path: Path, shared: Path, endpoint: str, worker: Program) -> None:
    clips = [shared / "data/clips" / name for name in PEOPLE]
    detector = shared / "data/weights/yolov8-lite-t-face.onnx"
    done = analyze(tmp_path / "out", detector, endpoint, *clips)
    assert done.returncode == 0, done.stderr
    found = {name: len(records(tmp_path / "out" / Path(name).stem / "tracks.jsonl")) - 1 for name in PEOPLE}
    assert found == PEOPLE
