"""Our tracker compared with others, on the same detections of public sequences, also with frames missing.

There are six videos of real faces (LTFT) and seven of people (second halves of five of MOT17, YOLOX detections; two of
TUD). IDF1, HOTA and MOTA are in %, means over the sequences; identity switches are sums. Purity is the share of boxes
on true ones that are on the main person of their track. LTFT's truth consists of the detector's own boxes, which
flatters the HOTA and MOTA of a tracker that returns them, so IDF1 and the switches count there. SORT is as published
(own plain one); ByteTrack and BoT-SORT are those of ultralytics with the thresholds of ByteTrack's paper and without
camera motion. They count frames, ours seconds.

Our settings were chosen on seven of the sequences (`CHOSEN_ON`); the others are listed apart below. The model of how
far an unseen face moves was fitted to the true tracks of the six face videos, and earlier methods were selected with
all of these in view, so the sequences apart may also include a point of selection bias.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.mot_data import DROPS, Sequence, sequences
from tests.benchmarks.mot_metrics import score
from tests.benchmarks.trackers import TRACKERS
from tests.conftest import shared_folder

CHOSEN_ON = ("bengal", "sidewalk", "terminal_1", "MOT17-02", "MOT17-09", "MOT17-10", "TUD-Campus")
GROUPS: dict[str, Callable[[str], bool]] = {
    "faces, LTFT": lambda name: name.startswith("ltft"),
    "people, MOT17": lambda name: name.startswith("mot17val"),
    "people, TUD": lambda name: name.startswith("tud"),
    "all sequences": lambda name: True,
    "chosen on": lambda name: name.endswith(CHOSEN_ON),
    "apart": lambda name: not name.endswith(CHOSEN_ON),
    "faces apart": lambda name: name.startswith("ltft") and not name.endswith(CHOSEN_ON),
}
DROP_GROUPS = ("faces, LTFT", "faces apart", "all sequences", "apart")
MEASURES = ("idf1", "hota", "mota", "switches", "purity")
Row = dict[str, dict[str, float]]  # tracker: measure: share 0..1, or a number of switches


def measure() -> dict[str, Any]:
    """The rows of all sequences with every frame, and the means of groups of them for each way of losing frames."""
    there = sequences(shared_folder() / "data" / "tracking")
    whole: dict[str, Row] = {}
    thinned: dict[str, dict[str, Row]] = {group: {} for group in DROP_GROUPS}
    for drop, pick in DROPS.items():
        rows = {sequence.name: _judge(sequence.only(pick(len(sequence.times)))) for sequence in there}
        whole = whole or rows
        for group in DROP_GROUPS:
            names = [name for name in rows if GROUPS[group](name)]
            thinned[group][drop] = {
                tracker: {measure: round(_mean(rows, names, tracker, measure), 4) for measure in ("idf1", "hota")}
                for tracker in TRACKERS
            }
    return {"sequences": whole, "frames": thinned}


def _judge(sequence: Sequence) -> Row:
    answer = {}
    for name, follow in TRACKERS.items():
        scores = score(sequence.truth, sequence.without_optional(follow(sequence)))
        answer[name] = {measure: round(float(getattr(scores, measure)), 4) for measure in MEASURES}
    return answer


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    lines = [f"{'every frame':<16}" + "".join(f"{name:>28}" for name in TRACKERS)]
    lines.append(" " * 16 + f"{'IDF1':>9}{'HOTA':>6}{'MOTA':>6}{'switch':>7}" * len(TRACKERS))
    whole: dict[str, Row] = results["sequences"]
    lines += [f"{name.rpartition('/')[2]:<16}" + _row(whole, [name]) for name in whole]
    lines += [f"{group:<16}" + _cells(whole, group) for group in GROUPS]
    for group in ("faces, LTFT", "all sequences"):
        names = [name for name in whole if GROUPS[group](name)]
        shares = (f"{name} {100 * _mean(whole, names, name, 'purity'):.1f}" for name in TRACKERS)
        lines += ["", f"purity, {group}, every frame: {', '.join(shares)}"]
    for measure in ("idf1", "hota"):
        for group, drops in results["frames"].items():
            lines += ["", f"{measure.upper()}, {group}; frames that arrive"]
            lines.append(" " * 16 + "".join(f"{drop:>8}" for drop in drops))
            for tracker in TRACKERS:
                shares = (100 * row[tracker][measure] for row in drops.values())
                lines.append(f"{tracker:<16}" + "".join(f"{share:>8.1f}" for share in shares))
    return "\n".join(lines)


def _cells(rows: dict[str, Row], group: str) -> str:
    return _row(rows, [name for name in rows if GROUPS[group](name)])


def _row(rows: dict[str, Row], names: list[str]) -> str:
    cells = ""
    for tracker in TRACKERS:
        idf1, hota, mota = (100 * _mean(rows, names, tracker, measure) for measure in ("idf1", "hota", "mota"))
        switches = sum(rows[name][tracker]["switches"] for name in names)
        cells += f"{idf1:>9.1f}{hota:>6.1f}{mota:>6.1f}{switches:>7.0f}"
    return cells


def _mean(rows: dict[str, Row], names: list[str], tracker: str, measure: str) -> float:
    return sum(rows[name][tracker][measure] for name in names) / len(names)


def main() -> int:
    folder: Path = shared_folder() / "data" / "tracking"
    if not folder.is_dir():
        print(f"needs the sequences of the data folder at {folder} (FACEANALYTICS_SHARED)", file=sys.stderr)
        return 3
    measured = measure()
    print(table(measured))
    print(json.dumps(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
