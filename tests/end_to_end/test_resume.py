"""Analyses that are killed or stopped, and started again: nothing is computed twice, and the bytes are the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from faceanalytics.files import hash_file
from tests.end_to_end.programs import PATIENT_DISPATCH, SLOW_FACE, Program
from tests.support.patch_detector import make_patch_video
from tests.support.patience import WAIT_S, until
from tests.support.videos import cut_off, make_audio

pytestmark = pytest.mark.slow

EVERYTHING = ("--explain", "--embeddings")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, patches: Path, endpoint: str) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    dispatch = {"bind": endpoint, "batch": 4, **PATIENT_DISPATCH}
    path.write_text(yaml.safe_dump({"detect": {"weights": str(patches / "detector.onnx")}, "dispatch": dispatch}))
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_patch_video(tmp_path_factory.mktemp("video") / "three.mp4", seconds=8, faces=3, speed=SLOW_FACE)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, config: Path, video: Path, worker: Program) -> Path:
    """The results of a run that nothing disturbs."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert analyze(config, out, video, *EVERYTHING).returncode == 0
    return out


@pytest.fixture
def second_worker(endpoint: str, small_file: Path) -> Iterator[Program]:
    with Program("workers.serve", "--connect", endpoint, "--weights", small_file, "--device", "cpu") as program:
        program.wait_for("connected to|waiting for a streamer")
        yield program


def command(config: Path, out: Path, *arguments: str | Path) -> list[str]:
    fixed = ("-m", "streamer", "analyze", "--out", out, "--config", config, "--external-workers")
    return [sys.executable, *map(str, (*fixed, *arguments))]


def analyze(config: Path, out: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(config, out, *arguments), capture_output=True, text=True, timeout=2 * WAIT_S)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def kept_bytes(out: Path) -> int:
    try:
        return (out / "journal.partial").stat().st_size
    except FileNotFoundError:
        return 0


def kill_when(config: Path, out: Path, size: int, *arguments: str | Path) -> bool:
    """Start it and kill it once its journal has this size. False: it was done before."""
    with subprocess.Popen(
        command(config, out, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        until(lambda: process.poll() is not None or kept_bytes(out) >= size, f"{size} bytes of the journal")
        killed = process.poll() is None
        process.kill()
    return killed


def test_a_run_killed_again_and_again_gives_the_bytes_of_an_undisturbed_one(
    tmp_path: Path, config: Path, video: Path, undisturbed: Path
) -> None:
    out, moments = tmp_path / "out", random.Random(1)
    reached = []
    for _ in range(4):
        size = kept_bytes(out)
        if not kill_when(config, out, size + moments.randrange(1, 25_000), video, *EVERYTHING):
            break
        reached.append(kept_bytes(out))
    assert len(reached) > 1
    assert reached == sorted(reached)  # nothing of it is lost
    done = analyze(config, out, video, *EVERYTHING)
    assert done.returncode == 0, done.stderr
    assert "goes on with an unfinished analysis" in done.stderr
    assert contents(out) == contents(undisturbed)


def test_with_two_workers_it_is_the_same(
    tmp_path: Path, config: Path, video: Path, undisturbed: Path, second_worker: Program
) -> None:
    out = tmp_path / "out"
    assert kill_when(config, out, 50_000, video, *EVERYTHING)
    assert analyze(config, out, video, *EVERYTHING).returncode == 0
    assert contents(out) == contents(undisturbed)


@pytest.mark.parametrize("damage", ["cut", "byte", "empty", "other"])
def test_a_damaged_journal_costs_time_only(
    tmp_path: Path, config: Path, video: Path, patches: Path, undisturbed: Path, damage: str
) -> None:
    out = tmp_path / "out"
    journal = out / "journal.partial"
    assert kill_when(config, out, 50_000, video, *EVERYTHING)
    content = journal.read_bytes()
    if damage == "other":
        assert kill_when(config, tmp_path / "other", 20_000, patches / "two.mp4", *EVERYTHING)
        journal.write_bytes((tmp_path / "other" / "journal.partial").read_bytes())
        refused = analyze(config, out, video, *EVERYTHING)
        assert refused.returncode == 2
        assert "differs in the content of the video" in refused.stderr
        content = b""
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if content else b""
    journal.write_bytes({"cut": content[:middle], "byte": changed}.get(damage, b""))
    done = analyze(config, out, video, *EVERYTHING)
    assert done.returncode == 0, done.stderr
    assert contents(out) == contents(undisturbed)


def test_a_signal_completes_the_results_and_the_next_run_goes_on(
    tmp_path: Path, config: Path, video: Path, undisturbed: Path
) -> None:
    out = tmp_path / "out"
    with Program("streamer", *command(config, out, video, *EVERYTHING)[3:]) as program:
        until(lambda: kept_bytes(out) > 50_000, "frames that are done")
        program.signal(signal.SIGINT)
        assert program.wait() == 130, program.text
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["complete"], summary["problem"]) == (False, "stopped before its end")
    assert kept_bytes(out) > 50_000
    done = analyze(config, out, video, *EVERYTHING)
    assert done.returncode == 0, done.stderr
    assert contents(out) == contents(undisturbed)


def test_finished_results_are_not_made_again_and_others_not_replaced_unasked(
    tmp_path: Path, config: Path, video: Path, undisturbed: Path
) -> None:
    before = {path: (path.stat().st_mtime_ns, hash_file(path)) for path in undisturbed.iterdir()}
    again = analyze(config, undisturbed, video, *EVERYTHING)
    assert again.returncode == 0
    assert "analysed before" in again.stdout
    refused = analyze(config, undisturbed, video, "--sample-fps", "5", "--resume")
    assert refused.returncode == 2
    assert "the part of the video" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert {path: (path.stat().st_mtime_ns, hash_file(path)) for path in undisturbed.iterdir()} == before
    out = tmp_path / "out"
    assert analyze(config, out, video, "--sample-fps", "5").returncode == 0
    assert json.loads((out / "summary.json").read_text())["frames"] == 40
    assert analyze(config, out, video, *EVERYTHING, "--overwrite").returncode == 0
    assert contents(out) == contents(undisturbed)


def test_a_tree_with_broken_files_is_analysed_as_each_file_alone(
    tmp_path: Path, config: Path, video: Path, patches: Path, worker: Program
) -> None:
    tree, out = tmp_path / "tree", tmp_path / "out"
    for number in range(6):
        folder = tree / str(number % 3) / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.mp4").write_bytes((patches / f"{('one', 'two')[number % 2]}.mp4").read_bytes())
    (tree / "0" / "text.mp4").write_text("this is no video\n" * 100)
    make_audio(tree / "1" / "sound.mp4")
    cut_off(make_patch_video(tmp_path / "whole.mkv", seconds=3, faces=1, speed=SLOW_FACE), 0.6).rename(
        tree / "2" / "cut.mkv"
    )
    with Program("streamer", *command(config, out, tree)[3:]) as program:
        until(lambda: sum(path.name == "summary.json" for path in out.rglob("*")) > 1, "some results")
        program.process.kill()
    done = analyze(config, out, tree, "--progress", "json")
    assert done.returncode == 5, done.stderr
    assert "videos without results: 2 of 9" in done.stderr
    run = json.loads((out / "run.json").read_text())
    statuses = {Path(one["name"]).name: one["status"] for one in run["videos"]}
    broken = {"text.mp4": "failed", "sound.mp4": "failed", "cut.mkv": "incomplete"}
    assert statuses == {f"{number}.mp4": "complete" for number in range(6)} | broken
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [one["video"] for one in events if one.get("status") == "failed"] == [
        str(tree / "0" / "text.mp4"),
        str(tree / "1" / "sound.mp4"),
    ]
    assert events[-1] == {
        "event": "end",
        "exit_code": 5,
        "videos": {"complete": 6, "failed": 2, "incomplete": 1},
    }
    assert any(one["finished_before"] for one in events if one["event"] == "video")
    alone = analyze(config, tmp_path / "alone", tree / "0" / "deep" / "3.mp4")
    assert alone.returncode == 0
    among_others = contents(out / "0" / "deep" / "3")
    assert among_others.pop("embeddings.npz")  # by which the people of all videos are compared
    assert contents(tmp_path / "alone") == among_others
    assert not list(out.rglob("*.partial"))


def test_the_worker_of_a_killed_run_ends_and_its_temporary_folders_go(
    tmp_path: Path, config: Path, video: Path, small_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    arguments = ("--out", tmp_path / "out", "--config", config, "--weights", small_file)
    with Program("streamer", "analyze", *arguments, video) as program:
        process = psutil.Process(program.process.pid)
        until(lambda: bool(process.children()), "its worker")
        (child,) = process.children()
        time.sleep(random.Random(2).random())
        program.process.kill()
        program.process.wait()
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the end of the worker")
    assert list(tmp_path.glob("faceanalytics-*"))
    missing = analyze(config, tmp_path / "other", tmp_path / "missing.mp4")
    assert missing.returncode == 3
    assert not list(tmp_path.glob("faceanalytics-*"))


def test_quiet_prints_problems_only(tmp_path: Path, config: Path, patches: Path, worker: Program) -> None:
    done = analyze(config, tmp_path / "out", patches / "one.mp4", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = analyze(config, tmp_path / "other", patches / "one.mp4", os.fspath(tmp_path / "none.mp4"), "--quiet")
    assert done.returncode == 5
    assert done.stdout == ""
    assert "none.mp4: no such file" in done.stderr
