"""Tracks when the detector looks only where something can have changed, against tracks of every frame.

![Accuracy against the detector's time](images/attention.png)

The clips of the data folder are replayed in media time, from the detections of every frame, which are computed once.
Whole frames cost 1; regions cost the area of the input into which they are packed. A face counts as found in a region
if 90 % of it lies there, whatever the scale; cut faces, which the streamer looks at again, are missed here. IDF1 is
that of the tracks against those of every frame, and `found` is the share of their faces, from 24 px on, with a box of
IoU 0.5. `live` are the boxes of confirmed tracks as published at once, predicted between looks; `recorded` are those of
the same tracks afterwards, interpolated between two looks. `tracks` are those of half a second and 24 px or more. Two
clips are left out of the means: `people-detection.gif` has no face, and in `shop-from-above` what is tracked are masks
and backs that are taken for faces in single frames. The settings were chosen on these clips and tracks.

The six face videos of LTFT, 800 frames of each, have no pictures: each true face and a body below it were painted as a
moving texture on a still room. Their IDF1 is against the true tracks.

The scenes are painted, 120 s at 10 frames/s, with a detector that makes no errors, live: looks per second, the share of
the detector's time for every frame, the delay until a face that can be found is tracked and published (three looks),
and the time in which a tracked face was lost. The last line is the time of the attention itself.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from streamer import config
from streamer.attention.attention import Attention
from streamer.attention.looks import Look
from tests.benchmarks import attention_scenes
from tests.benchmarks.attention_clips import Clip, detector, load, painted
from tests.benchmarks.attention_replay import Replay, compare, replay
from tests.benchmarks.mot_data import sequences
from tests.benchmarks.mot_metrics import score
from tests.conftest import ROOT, shared_folder
from tests.support.scenes import Blob, Scene, candidate, outlook, preview

NO_FACES = ("people-detection", "shop-from-above")
IMAGE = ROOT / "docs" / "images" / "attention.png"
DEFAULT = "effort 3"
FRAMES = 800  # of each video of LTFT
MEASURES = ("time", "looks", "idf1_live", "idf1_recorded", "found_live", "found_recorded", "tracks", "tracks_every")

Policy = Callable[[Clip], Replay]


def policies() -> dict[str, Policy]:
    every: dict[str, Policy] = {f"every {n}": partial(replay, settings=None, every=n) for n in (1, 2, 3, 4, 6)}
    return every | {f"effort {n}": partial(replay, settings=config.Attention(effort=n)) for n in (4, 3, 2, 1)}


def measure() -> dict[str, Any]:
    data = shared_folder() / "data"
    clips = data / "clips"
    found = detector()
    paths = sorted([*clips.glob("*.gif"), *clips.glob("*.mp4"), *clips.glob("asl/*.mkv")])
    results = {
        "clips": _of_clips([load(path, found) for path in paths]),
        "ltft": _of_sequences(data / "tracking"),
        "scenes": attention_scenes.measure(),
        "choose_us": _own_time(),
    }
    plot(results, IMAGE)
    return results


def _of_clips(clips: list[Clip]) -> dict[str, dict[str, dict[str, float]]]:
    every = [replay(clip, None) for clip in clips]
    return {
        name: {
            clip.name: {key: round(value, 4) for key, value in compare(reference, policy(clip)).items()}
            for clip, reference in zip(clips, every, strict=True)
        }
        for name, policy in policies().items()
    }


def _of_sequences(folder: Path) -> dict[str, dict[str, float]]:
    videos = [each.only(np.arange(min(FRAMES, len(each.times)))) for each in sequences(folder) if "ltft" in each.name]
    clips, answer = [painted(each) for each in videos], {}
    for name, policy in policies().items():
        rows = []
        for video, clip in zip(videos, clips, strict=True):
            given = policy(clip)
            idf1 = score(video.truth, given.live).idf1, score(video.truth, given.recorded).idf1
            rows.append((given.per_frame(), given.looks / len(clip.times), *idf1))
        keys = "time", "looks", "idf1_live", "idf1_recorded"
        means = np.mean(rows, axis=0).tolist()
        answer[name] = {key: round(mean, 4) for key, mean in zip(keys, means, strict=True)}
    return answer


def _own_time() -> dict[str, float]:
    """Median time of a choice for one camera, µs of CPU, with this number of faces beside two people who walk."""
    answer = {}
    for faces in (0, 1, 6, 20):
        attention, scene, times = Attention(config.Attention(), live=True), Scene(), list[float]()
        boxes = [[30 * number, 60, 30 * number + 25, 90] for number in range(faces)]
        for frame in range(300):
            walkers = [Blob((6 * frame) % 560, 150, 90), Blob((560 - 4 * frame) % 560, 220, 60)]
            asked = candidate(preview(scene.picture(walkers), frame / 10), outlook(boxes, drift=0.1, unseen=0.1))
            began = time.process_time_ns()
            (choice,) = attention.choose([asked], frame / 10)
            times.append((time.process_time_ns() - began) / 1000)
            if isinstance(choice, Look):
                attention.looked("cam", choice, outlook(boxes), 0, 0.03)
        answer[str(faces)] = float(round(np.median(times)))
    return answer


def means(results: dict[str, Any], policy: str) -> dict[str, float]:
    """The means of the clips with faces; the time and looks are per frame of all of them."""
    rows = [row for name, row in results["clips"][policy].items() if not name.startswith(NO_FACES)]
    answer = {key: float(np.mean([row[key] for row in rows])) for key in MEASURES[:-2]}
    return answer | {key: sum(row[key] for row in rows) for key in MEASURES[-2:]}


def table(results: dict[str, Any]) -> str:
    head = f"{'time':>7}{'looks':>7}{'IDF1 live':>11}{'recorded':>10}{'found live':>12}{'recorded':>10}{'tracks':>9}"
    lines = [f"{'clips, means':<38}{head}"]
    lines += [_row(name, means(results, name)) for name in results["clips"]]
    lines += ["", f"{DEFAULT + ', clip by clip':<38}{head}"]
    lines += [_row(name, row) for name, row in results["clips"][DEFAULT].items()]
    lines += ["", f"{'LTFT, means':<38}{'time':>7}{'looks':>7}{'IDF1 live':>11}{'recorded':>10}"]
    for name, row in results["ltft"].items():
        idf1 = f"{100 * row['idf1_live']:>11.1f}{100 * row['idf1_recorded']:>10.1f}"
        lines.append(f"{name:<38}{row['time']:>7.2f}{row['looks']:>7.2f}{idf1}")
    lines += ["", f"{'scenes':<38}{'looks/s':>9}{'time':>7}{'delay s':>9}{'lost s':>8}"]
    for name, row in results["scenes"].items():
        delay = "-" if row["delay_s"] is None else f"{row['delay_s']:.1f}"
        lines.append(f"{name:<38}{row['looks_per_s']:>9.2f}{row['time']:>7.3f}{delay:>9}{row['lost_s']:>8.1f}")
    own = ", ".join(f"{us:.0f} us with {faces} faces" for faces, us in results["choose_us"].items())
    return "\n".join([*lines, "", f"a choice for one camera: {own}"])


def _row(name: str, row: dict[str, float]) -> str:
    shares = (
        f"{row['time']:>7.2f}{row['looks']:>7.2f}{100 * row['idf1_live']:>11.1f}{100 * row['idf1_recorded']:>10.1f}"
    )
    found = f"{100 * row['found_live']:>12.1f}{100 * row['found_recorded']:>10.1f}"
    return f"{name:<38}{shares}{found}{row['tracks']:>5.0f}/{row['tracks_every']:.0f}"


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw IDF1 over the detector's time, for the clips and for LTFT."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    clips = {name: means(results, name) for name in results["clips"]}
    for ax, rows, title in ((axes[0], clips, "clips, against every frame"), (axes[1], results["ltft"], "LTFT")):
        for start, colour, label in (("every", "#888888", "every nth frame"), ("effort", "#2f6db5", "attention")):
            for key, style in (("idf1_recorded", "-"), ("idf1_live", "--")):
                points = sorted((row["time"], 100 * row[key]) for name, row in rows.items() if name.startswith(start))
                kind = "interpolated" if style == "-" else "predicted"
                ax.plot(*zip(*points, strict=True), style, marker="o", color=colour, label=f"{label}, {kind}")
        for name, row in rows.items():
            if name.startswith("effort"):
                ax.annotate(name[-1], (row["time"], 100 * row["idf1_recorded"]), (0, 6), textcoords="offset points")
        ax.set_title(title)
        ax.set_xlabel("detector time, share of that for every frame")
        ax.set_ylabel("IDF1, %")
        ax.grid(alpha=0.3)
    axes[0].legend(loc="lower right")
    figure.savefig(path, dpi=80, metadata={"Software": None})
    pyplot.close(figure)


if __name__ == "__main__":
    measured = measure()
    print(table(measured))
    sys.exit(0)
