"""A whole recorded analysis against what one would write first: people found, wall clock and CPU time.

The other program (tests/benchmarks/naive.py) runs ultralytics' `track` with the same weights on every frame, and
SwinFace on every face of every frame. Ours detects in every frame, too, unless a lower effort is given (`--effort`).
Each run is a process of its own; what the same process takes for the first two frames alone, mostly for loading, is
subtracted. They take turns; the table has medians. Ratios are theirs to ours. The nine sign-language clips show three
people, and part of somebody at the edge of two of them; how many there are in the crowd is not known. Ours writes all
its files, and counts people over the whole recording, of whom those that are too poor to compare count each time;
theirs counts tracks.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.conftest import shared_folder
from tests.support.composed import Scene, compose

ROUNDS = 3
SIGNERS = ("again", "bird", "book", "brother", "milk", "learn", "no", "please", "school")
EFFORTS = {"every frame": 5, "effort 3": 3, "effort 1": 1}
Run = dict[str, float]


def measure() -> dict[str, Any]:
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (clip, first) in _recordings(Path(folder)).items():
            runs: dict[str, list[Run]] = {kind: [] for kind in (*EFFORTS, "theirs")}
            for _ in range(ROUNDS):
                for kind, found_by in runs.items():
                    run = _theirs if kind == "theirs" else partial(_ours, EFFORTS[kind])
                    whole, start = run(clip, Path(folder)), run(first, Path(folder))
                    used = {what: whole[what] - start[what] for what in ("wall_s", "cpu_s")}
                    found_by.append({**whole, **used})
            rows[name] = {
                kind: {what: statistics.median(one[what] for one in found) for what in found[0]}
                for kind, found in runs.items()
            }
    return rows


def table(results: dict[str, Any]) -> str:
    lines = [
        f"{'recording':<28}{'effort':<13}{'frames':>8}{'people':>8}{'tracks':>8}{'wall s':>9}{'CPU s':>9}"
        f"{'their tracks':>14}{'wall s':>9}{'CPU s':>9}{'ratio wall':>12}{'CPU':>7}"
    ]
    for name, row in results.items():
        theirs = row["theirs"]
        for kind, ours in ((kind, one) for kind, one in row.items() if kind != "theirs"):
            lines.append(
                f"{name:<28}{kind:<13}{ours['frames']:>8.0f}{ours['people']:>8.0f}{ours['tracks']:>8.0f}"
                f"{ours['wall_s']:>9.1f}{ours['cpu_s']:>9.1f}"
                f"{theirs['tracks']:>14.0f}{theirs['wall_s']:>9.1f}{theirs['cpu_s']:>9.1f}"
                f"{theirs['wall_s'] / ours['wall_s']:>12.2f}{theirs['cpu_s'] / ours['cpu_s']:>7.2f}"
            )
            name = ""
    return "\n".join(lines)


def _recordings(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Compose the recordings; beside each, its first two frames alone."""
    clips = shared_folder() / "data/clips"
    signers = [Scene(clips / f"asl/{name}.mkv") for name in SIGNERS]
    crowd = Scene(clips / "street-crowd-1080p.mp4", length_s=12)
    scenes = {
        "nine clips of 3, 640x480": (signers * 2, (640, 480)),
        "the same, 720p": (signers * 2, (1280, 720)),
        "crowd in the street, 720p": ([crowd], (1280, 720)),
        "stage with cuts, 640x360": ([Scene(clips / "stage-cuts.mp4")] * 3, (640, 360)),
    }
    made = {}
    for number, (name, (shown, size)) in enumerate(scenes.items()):
        whole, first = folder / f"recording-{number}.mp4", folder / f"first-{number}.mp4"
        compose(whole, shown, size)
        compose(first, [Scene(shown[0].clip, length_s=0.08)], size)
        made[name] = whole, first
    return made


def _ours(effort: int, clip: Path, folder: Path) -> Run:
    out = folder / "out" / clip.stem
    options = "--out", str(out), "--overwrite", "--effort", str(effort)
    used, _ = _run("-m", "streamer", "analyze", str(clip), *options)
    summary = json.loads((out / "summary.json").read_text())
    people = len((out / "people.jsonl").read_text().splitlines()) - 1
    return used | {"people": float(people)} | {name: float(summary[name]) for name in ("frames", "tracks")}


def _theirs(clip: Path, folder: Path) -> Run:
    del folder
    used, printed = _run("-m", "tests.benchmarks.naive", str(clip))
    found = json.loads(printed.splitlines()[-1])
    return used | {"frames": float(found["frames"]), "tracks": float(len(found["tracks"])), "faces": found["faces"]}


def _run(*arguments: str) -> tuple[Run, str]:
    """Run a Python program; return the seconds it took, its children's CPU time included, and what it printed."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, "-W", "ignore", *arguments], capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise RuntimeError(f"{arguments} failed:\n{done.stderr[-2000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": wall, "cpu_s": cpu}, done.stdout


if __name__ == "__main__":
    print(table(measure()))
