"""Kill an analysis with SIGKILL at random moments until it is done, and compare all bytes with an undisturbed run.

`python -m tests.benchmarks.resume_drill --kills 50 --workers 2 [VIDEO]` starts the run again and again, each time until
a random moment, mostly after its first new frame; where it ends before it has been killed often enough, the next round
begins in a new folder. Without VIDEO it makes a clip that every installation can analyse. The last line is JSON: kills,
rounds, rounds with the same bytes, and the seconds of an undisturbed run and of one that goes on just before the end.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import yaml

from tests.end_to_end.programs import PATIENT_DISPATCH, SLOW_FACE, Program
from tests.support.patch_detector import make_patch_video, write_lite_patch_detector

STEP_S = 0.02
LOADING = 0.1  # share of the kills before the first new frame
MEAN_S = 0.5  # time between the first new frame and a kill
EMPTY = 2000  # bytes of a journal without answers, at most


def main() -> int:
    """Run the drill. Returns 1 if bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("video", type=Path, nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fa-drill-") as name, ExitStack() as stack:
        folder = Path(name)
        for _ in range(options.workers):
            worker = ("workers.serve", "--connect", f"ipc://{folder}/w", "--weights", "untrained", "--device", "cpu")
            stack.enter_context(Program(*worker))
        return _drill(folder, options.video, options.kills, random.Random(options.seed), options.workers)


def _drill(folder: Path, video: Path | None, kills: int, moments: random.Random, workers: int) -> int:
    settings: dict[str, object] = {"dispatch": {"bind": f"ipc://{folder}/w", "batch": 4, **PATIENT_DISPATCH}}
    if video is None:
        video = make_patch_video(folder / "clip.mp4", seconds=16, faces=3, speed=SLOW_FACE)
        settings["detect"] = {"weights": str(write_lite_patch_detector(folder / "detector.onnx"))}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "streamer", "analyze", str(video), "--config", str(folder / "config.yaml")]
    command += ["--external-workers", "--explain", "--embeddings", "--quiet", "--out"]
    took_s = _run(command, folder / "undisturbed")
    expected, killed, rounds, same = _contents(folder / "undisturbed"), 0, 0, 0
    went_on_s = 0.0
    while killed < kills or rounds == 0:
        out, size = folder / f"round-{rounds}", 0
        while killed < kills and _kill(command, out, moments):
            killed += 1
            size = _journal(out)
            print(f"kill {killed} in round {rounds}: {size} bytes kept", flush=True)
        went_on_s = _run(command, out) if not (out / "summary.json").exists() else went_on_s
        rounds += 1
        if _contents(out) == expected:
            same += 1
        shutil.rmtree(out)
    left = [path.name for path in Path(tempfile.gettempdir()).glob("faceanalytics-*") if (path / "in-use").exists()]
    result = {"kills": killed, "workers": workers, "rounds": rounds, "same_bytes": same}
    seconds = {"undisturbed_s": round(took_s, 1), "last_one_s": round(went_on_s, 1)}
    print(json.dumps({**result, **seconds, "temporary_folders": len(left)}))
    return 0 if same == rounds else 1


def _run(command: list[str], out: Path) -> float:
    """Run it to its end and return the seconds."""
    began = time.monotonic()
    subprocess.run([*command, str(out)], check=True)
    return time.monotonic() - began


def _kill(command: list[str], out: Path, moments: random.Random) -> bool:
    """Start it and kill it at a random moment. False: it was done before."""
    before = _journal(out)
    while_loading = moments.random() < LOADING
    with subprocess.Popen([*command, str(out)]) as process:
        while not while_loading and process.poll() is None and _journal(out) <= max(before, EMPTY):
            time.sleep(STEP_S)
        until = time.monotonic() + moments.expovariate(1 / MEAN_S)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(STEP_S)
        if process.poll() is None:
            process.kill()
            return True
        if process.returncode:
            raise SystemExit(f"the analysis failed with exit code {process.returncode}")
    return False


def _journal(out: Path) -> int:
    try:
        return os.stat(out / "journal.partial").st_size  # noqa: PTH116
    except FileNotFoundError:
        return 0


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


if __name__ == "__main__":
    sys.exit(main())
