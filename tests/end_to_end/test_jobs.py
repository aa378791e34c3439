"""Recordings as jobs of a real streamer with a real worker: their files, kills of all kinds, cameras beside them."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest
import yaml

from faceanalytics.v1 import analysis_pb2, analysis_pb2_grpc
from tests.end_to_end import programs
from tests.end_to_end.programs import PATIENT_DISPATCH, PATIENT_TRACK, SLOW_FACE, Program, Subscriber, address_of
from tests.support.job_server import parts
from tests.support.patch_detector import make_patch_video
from tests.support.patience import WAIT_S, until

pytestmark = pytest.mark.slow

EVERYTHING = ("--explain", "--embeddings", "--report", "--formats", "webvtt,faces", "--tables", "csv")


def serve(folder: Path, patches: Path, endpoint: str, cameras: dict[str, str] | None = None) -> Program:
    (folder / "in").mkdir(exist_ok=True)
    return programs.serve(
        folder, patches / "detector.onnx", endpoint, cameras or {}, track=PATIENT_TRACK,
        store={"folder": str(folder / "store")}, jobs={"inputs": [str(folder / "in")]},
    )  # fmt: skip


def command(program: Program, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "streamer", "jobs", *map(str, arguments), "--server", address_of(program)]


def run(program: Program, *arguments: str | Path, code: int = 0) -> str:
    """What `streamer jobs` prints, errors included."""
    done = subprocess.run(command(program, *arguments), capture_output=True, text=True, timeout=2 * WAIT_S)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def processes(program: Program) -> list[psutil.Process]:
    """The processes of the jobs of a streamer."""
    children = psutil.Process(program.process.pid).children(recursive=True)
    return [child for child in children if "streamer.tools.job_process" in child.cmdline()]


def folder_of(folder: Path, job: str) -> Path:
    return folder / "store" / "jobs" / "jobs" / job


def kept_bytes(folder: Path, job: str) -> int:
    try:
        return (folder_of(folder, job) / "results" / "journal.partial").stat().st_size
    except FileNotFoundError:
        return 0


def wait_for_bytes(folder: Path, job: str, size: int) -> None:
    until(lambda: kept_bytes(folder, job) >= size, f"{size} bytes of the journal")


def wait_for_end(process: psutil.Process) -> None:
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "the end of a process")


def state(program: Program, job: str) -> analysis_pb2.Job:
    with grpc.insecure_channel(address_of(program)) as channel:
        stub = analysis_pb2_grpc.AnalysisServiceStub(channel)
        return stub.GetJob(analysis_pb2.GetJobRequest(job_id=job)).job


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_patch_video(tmp_path_factory.mktemp("video") / "three.mp4", seconds=8, faces=3, speed=SLOW_FACE)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, video: Path, patches: Path, endpoint: str, worker: Program
) -> Path:
    """What `streamer analyze` makes of the video with the settings of the streamer."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = {
        "detect": {"weights": str(patches / "detector.onnx")},
        "track": PATIENT_TRACK,
        "dispatch": {"bind": endpoint, "batch": 4, **PATIENT_DISPATCH},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    fixed = ("--config", folder / "config.yaml", "--external-workers", "--out", folder / "out", *EVERYTHING)
    done = subprocess.run(
        [sys.executable, "-m", "streamer", "analyze", *map(str, fixed), str(video)],
        capture_output=True, text=True, timeout=2 * WAIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "out"


@contextmanager
def streamer(folder: Path, patches: Path, endpoint: str, **cameras: str) -> Iterator[Program]:
    with serve(folder, patches, endpoint, cameras) as program:
        address_of(program)
        yield program
        assert program.process.poll() is None, program.text
        program.signal(signal.SIGTERM)
        assert program.wait() == 128 + signal.SIGTERM, program.text


def test_the_files_of_a_job_are_those_of_analyze(
    tmp_path: Path, patches: Path, endpoint: str, video: Path, undisturbed: Path
) -> None:
    with streamer(tmp_path, patches, endpoint) as program:
        said = run(program, "add", video, *EVERYTHING, "--out", tmp_path / "fetched")
        assert "SUCCEEDED" in said
        assert contents(tmp_path / "fetched") == contents(undisturbed)
        (tmp_path / "in" / "three.mp4").write_bytes(video.read_bytes())
        job = run(program, "add", "--path", "three.mp4", *EVERYTHING).strip()
        assert "SUCCEEDED" in run(program, "watch", job)
        listed = run(program, "results", job).splitlines()
        assert sorted(line.split(maxsplit=2)[2] for line in listed) == sorted(contents(undisturbed))
        cut = tmp_path / "again" / "tracks.jsonl.partial"  # of a download that was cut off
        cut.parent.mkdir()
        cut.write_bytes((undisturbed / "tracks.jsonl").read_bytes()[:1000])
        run(program, "results", job, "--out", tmp_path / "again")
        assert contents(tmp_path / "again") == contents(undisturbed)
        assert [one["state"] for one in json.loads(run(program, "list", "--json"))["jobs"]] == [
            "JOB_STATE_SUCCEEDED"
        ] * 2
        run(program, "delete", job)
        assert not folder_of(tmp_path, job).exists()
        assert "NOT_FOUND" in run(program, "results", job, code=2)
        assert list((tmp_path / "store" / "jobs").rglob("*.mp4")) == []  # no recording stays
        assert (tmp_path / "in" / "three.mp4").exists()


def test_a_job_goes_on_after_its_streamer_was_killed_again_and_again(
    tmp_path: Path, patches: Path, endpoint: str, video: Path, undisturbed: Path
) -> None:
    moments, job, reached = random.Random(1), "", []
    for _ in range(3):
        with serve(tmp_path, patches, endpoint) as program:
            if not job:
                job = run(program, "add", video, *EVERYTHING, "--request-id", "one").strip()
            wait_for_bytes(tmp_path, job, kept_bytes(tmp_path, job) + moments.randrange(1, 25_000))
            (child,) = processes(program)
            program.process.kill()
            wait_for_end(child)
            reached.append(kept_bytes(tmp_path, job))
    assert reached == sorted(reached)  # nothing of it is lost
    with streamer(tmp_path, patches, endpoint) as program:
        assert "1 had not ended and go on" in program.text
        again = run(program, "add", video, *EVERYTHING, "--request-id", "one", "--out", tmp_path / "fetched")
        assert again.splitlines()[0] == job
        assert contents(tmp_path / "fetched") == contents(undisturbed)


def test_a_signal_stops_the_streamer_at_once_and_the_job_goes_on_later(
    tmp_path: Path, patches: Path, endpoint: str, video: Path, undisturbed: Path
) -> None:
    with streamer(tmp_path, patches, endpoint) as program:
        job = run(program, "add", video, *EVERYTHING).strip()
        until(lambda: kept_bytes(tmp_path, job) > 20_000, "work of the job")
    with streamer(tmp_path, patches, endpoint) as program:
        assert "SUCCEEDED" in run(program, "watch", job)
        run(program, "results", job, "--out", tmp_path / "fetched")
    assert contents(tmp_path / "fetched") == contents(undisturbed)


def test_a_cancelled_job_stops_and_leaves_nothing(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    film = make_patch_video(tmp_path / "long.mp4", seconds=60, faces=3, speed=SLOW_FACE)
    with streamer(tmp_path, patches, endpoint) as program:
        job, waits = [run(program, "add", film).strip() for _ in range(2)]
        until(lambda: kept_bytes(tmp_path, job) > 0, "work of the job")
        assert state(program, waits).jobs_before == 1
        (child,) = processes(program)
        assert child.nice() > 10
        with Program("streamer", *command(program, "watch", job)[3:]) as watch:
            watch.wait_for("RUNNING")
            assert "CANCELLED" in run(program, "cancel", job)
            assert not child.is_running()
            assert watch.wait() == 5
        assert not folder_of(tmp_path, job).exists()
        until(lambda: state(program, waits).state == analysis_pb2.JOB_STATE_RUNNING, "the next job")
        run(program, "cancel", waits)
        assert list((tmp_path / "store" / "jobs" / "jobs").iterdir()) == []


def test_what_cannot_be_analysed_fails_and_the_streamer_lives(
    tmp_path: Path, patches: Path, endpoint: str, worker: Program
) -> None:
    text, lists = tmp_path / "text.mp4", tmp_path / "list.ffconcat"
    text.write_text("this is no video\n" * 100)
    lists.write_text(f"ffconcat version 1.0\nfile {patches / 'one.mp4'}\n")  # it would read another file
    (tmp_path / "in").mkdir()
    gone = tmp_path / "in" / "gone.mp4"
    gone.write_bytes((patches / "one.mp4").read_bytes())
    cut = tmp_path / "cut.mp4"
    film = make_patch_video(tmp_path / "long.mkv", seconds=30, faces=2, speed=SLOW_FACE)
    cut.write_bytes(film.read_bytes()[:-20_000])
    with streamer(tmp_path, patches, endpoint) as program:
        killed = run(program, "add", film).strip()
        job = run(program, "add", "--path", gone).strip()
        gone.unlink()
        until(lambda: kept_bytes(tmp_path, killed) > 0, "work of the job")
        os.kill(processes(program)[0].pid, signal.SIGKILL)
        assert "killed by SIGKILL" in run(program, "watch", killed, code=3)
        assert "gone.mp4" in run(program, "watch", job, code=3)
        for file in (text, lists):
            said = run(program, "add", file, "--watch", code=3)
            assert f"FAILED, {file.name}, {file.name}: " in said
            assert str(tmp_path) not in said
        assert "SUCCEEDED" in run(program, "add", cut, "--watch")
        assert len(list((tmp_path / "store" / "jobs" / "jobs").iterdir())) == 1
        assert "Traceback" not in program.text


def test_an_upload_of_a_killed_client_leaves_nothing(tmp_path: Path, patches: Path, endpoint: str) -> None:
    with streamer(tmp_path, patches, endpoint) as program:
        script = (
            "import sys, time, grpc; from faceanalytics.v1 import analysis_pb2_grpc as a;"
            "from tests.support.job_server import parts\n"
            "def slow():\n"
            "    for part in list(parts(b'x' * 5000))[:20]:\n        yield part\n"
            "    print('half', flush=True); time.sleep(10000)\n"
            "a.AnalysisServiceStub(grpc.insecure_channel(sys.argv[1])).UploadRecording(slow())"
        )
        incoming = tmp_path / "store" / "jobs" / "incoming"
        with subprocess.Popen([sys.executable, "-c", script, address_of(program)]) as client:
            until(lambda: any(incoming.rglob("*.mp4")), "the beginning of it")
            client.kill()
        until(lambda: list(incoming.iterdir()) == [], "that nothing is left")
        with grpc.insecure_channel(address_of(program)) as channel:
            stub = analysis_pb2_grpc.AnalysisServiceStub(channel)
            assert stub.UploadRecording(parts(b"x" * 5000)).upload_id


def test_a_camera_is_analysed_while_a_job_runs(tmp_path: Path, patches: Path, endpoint: str, worker: Program) -> None:
    film = make_patch_video(tmp_path / "long.mp4", seconds=60, faces=3, speed=SLOW_FACE)
    live = make_patch_video(tmp_path / "live.mp4", seconds=120, faces=2, speed=SLOW_FACE)
    with streamer(tmp_path, patches, endpoint, door=str(live)) as program, Subscriber(address_of(program)) as seen:

        def samples() -> int:
            newest = {track.track_id: track.samples for track in seen.tracks("door", "NEW", "UPDATE", "SNAPSHOT")}
            return sum(newest.values())

        until(lambda: samples() > 0, "the first analyses of the camera")
        job = run(program, "add", film).strip()
        until(lambda: state(program, job).frames_done > 20, "frames of the job")
        before, frames = samples(), state(program, job).frames_done
        until(lambda: samples() >= before + 6, "further analyses of the camera")
        now = state(program, job)
        assert now.state == analysis_pb2.JOB_STATE_RUNNING
        until(lambda: state(program, job).frames_done > frames, "further frames of the job")
        run(program, "cancel", job)
