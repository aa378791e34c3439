"""`streamer analyze` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
import yaml

from faceanalytics.files import hash_file
from tests.end_to_end.programs import PATIENT_DISPATCH, Program
from tests.support.http_cameras import web_camera
from tests.support.patch_detector import make_patch_video
from tests.support.patience import WAIT_S, until
from tests.support.videos import cut_off, make_audio

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


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_runs_give_the_same_bytes_and_every_face_is_found_once(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    for name in ("first", "second"):
        options = "--explain", "--embeddings"  # to explain draws, too
        done = analyze(tmp_path / name, patches / "detector.onnx", endpoint, *options, patches / "two.mp4")
        assert done.returncode == 0, done.stderr
    lines = ("tracks.jsonl", "observations.jsonl", "explain.jsonl")
    for name in (*lines, "annotated.mp4", "embeddings.npz", "summary.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    header, *tracks = records(tmp_path / "first" / "tracks.jsonl")
    assert header["model_id"] == "untrained"
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

    assert times(tmp_path / "out" / "annotated.mp4") == pytest.approx(times(patches / "one.mp4"), abs=1e-4)


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
    return {json.loads(line)["track_id"] for line in lines[1:-1]}  # without the header, and a line that may be cut


def test_a_signal_finalises_what_was_analysed(tmp_path: Path, patches: Path, endpoint: str, worker: Program) -> None:
    video = make_patch_video(tmp_path / "long.mp4", seconds=60, faces=3)
    config = tmp_path / "config.yaml"
    dispatch = {"bind": endpoint, "batch": 4, **PATIENT_DISPATCH}
    settings = {"detect": {"weights": str(patches / "detector.onnx")}, "dispatch": dispatch}
    config.write_text(yaml.safe_dump(settings))
    arguments = ("analyze", "--out", tmp_path / "out", "--config", config, "--external-workers", video)
    with Program("streamer", *arguments) as program:
        observed = tmp_path / "out" / "observations.jsonl.partial"
        until(lambda: observed.exists() and len(_tracks_in(observed)) == 3, "three tracks")
        program.signal(signal.SIGTERM)
        assert program.wait() == 128 + signal.SIGTERM
    assert not json.loads((tmp_path / "out" / "summary.json").read_text())["complete"]
    _, *tracks = records(tmp_path / "out" / "tracks.jsonl")
    assert {track["end_reason"] for track in tracks} == {"SHUTDOWN"}
    assert len(tracks) == 3


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


def test_a_worker_of_its_own_that_hangs_is_replaced(tmp_path: Path, patches: Path) -> None:
    dispatch = {"worker_silent_s": 5, "batch": 4}
    settings = {"detect": {"weights": str(patches / "detector.onnx")}, "dispatch": dispatch}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    arguments = ("--out", tmp_path / "out", "--weights", "untrained", "--config", tmp_path / "config.yaml")
    with Program("streamer", "analyze", *arguments, patches / "one.mp4") as program:
        program.wait_for("connected: model untrained")
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
