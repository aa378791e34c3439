"""Our tracker beside others, on the same detections of public sequences, also with frames missing.

Six videos of real faces (LTFT), seven of people (second halves of five of MOT17, YOLOX detections; two of TUD).
IDF1, HOTA and MOTA in %, means over the sequences; identity switches are sums. LTFT's truth consists of the detector's
own boxes, which flatters the HOTA and MOTA of whoever gives those back, so IDF1 and the switches count there. SORT as
published (own plain one), ByteTrack and BoT-SORT by ultralytics with the thresholds of ByteTrack's paper and without
camera motion; they count frames, ours seconds. Our thresholds were chosen on LTFT and TUD, our
methods with an eye on all of these: no sequence is held out, expect a point or more of selection bias for ours.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.mot_data import DROPS, Sequence, sequences
from tests.benchmarks.mot_metrics import judge
from tests.benchmarks.trackers import TRACKERS
from tests.conftest import shared_folder

GROUPS = {"ltft": "faces, LTFT", "mot17val": "people, MOT17", "tud": "people, TUD", "": "all sequences"}
DROP_GROUPS = ("ltft", "")
MEASURES = ("idf1", "hota", "mota", "switches")
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
            thinned[group][drop] = {
                tracker: {measure: round(_mean(rows, group, tracker, measure), 4) for measure in ("idf1", "hota")}
                for tracker in TRACKERS
            }
    return {"sequences": whole, "frames": thinned}


def _judge(sequence: Sequence) -> Row:
    answer = {}
    for name, follow in TRACKERS.items():
        scores = judge(sequence.truth, sequence.without_optional(follow(sequence)))
        answer[name] = {measure: round(float(getattr(scores, measure)), 4) for measure in MEASURES}
    return answer


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    lines = [f"{'every frame':<16}" + "".join(f"{name:>28}" for name in TRACKERS)]
    lines.append(" " * 16 + f"{'IDF1':>9}{'HOTA':>6}{'MOTA':>6}{'switch':>7}" * len(TRACKERS))
    whole: dict[str, Row] = results["sequences"]
    lines += [f"{name.rpartition('/')[2]:<16}" + _cells(whole, name) for name in whole]
    lines += [f"{title:<16}" + _cells(whole, group) for group, title in GROUPS.items()]
    for measure in ("idf1", "hota"):
        for group, drops in results["frames"].items():
            lines += ["", f"{measure.upper()}, {GROUPS[group]}; frames that arrive"]
            lines.append(" " * 16 + "".join(f"{drop:>8}" for drop in drops))
            for tracker in TRACKERS:
                shares = (100 * row[tracker][measure] for row in drops.values())
                lines.append(f"{tracker:<16}" + "".join(f"{share:>8.1f}" for share in shares))
    return "\n".join(lines)


def _cells(rows: dict[str, Row], group: str) -> str:
    cells = ""
    for tracker in TRACKERS:
        idf1, hota, mota = (100 * _mean(rows, group, tracker, measure) for measure in ("idf1", "hota", "mota"))
        switches = sum(row[tracker]["switches"] for name, row in rows.items() if name.startswith(group))
        cells += f"{idf1:>9.1f}{hota:>6.1f}{mota:>6.1f}{switches:>7.0f}"
    return cells


def _mean(rows: dict[str, Row], group: str, tracker: str, measure: str) -> float:
    values = [row[tracker][measure] for name, row in rows.items() if name.startswith(group)]
    return sum(values) / len(values)


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
