"""MOTA, IDF1 and identity switches of the tracker on detections in MOT format, by py-motmetrics."""

from collections import defaultdict
from pathlib import Path

import motmetrics
import numpy as np

from streamer.boxes import iou
from streamer.config import Track
from streamer.track.mot_file import track_file

Boxes = dict[int, list[tuple[int, np.ndarray[tuple[int], np.dtype[np.float64]]]]]


def read_mot(path: Path, stride: int = 1) -> Boxes:
    """Read number and box (left, top, right, bottom) of each object by frame: every `stride`-th, renumbered from 1."""
    frames: Boxes = defaultdict(list)
    for row in np.loadtxt(path, delimiter=",", ndmin=2):
        frame, number = int(row[0]) - 1, int(row[1])
        if frame % stride == 0:
            frames[frame // stride + 1].append((number, np.concatenate([row[2:4], row[2:4] + row[4:6]])))
    return frames


def distances(truth: Boxes, tracks: Boxes, frame: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """1 - IoU of all pairs in a frame, nan below the IoU of 0.5 that counts as found."""
    rows, columns = (
        np.array([box for _, box in boxes.get(frame, [])], np.float64).reshape(-1, 4) for boxes in (truth, tracks)
    )
    overlap = iou(rows, columns)
    return np.where(overlap >= 0.5, 1 - overlap, np.nan)


def score(truth: Boxes, tracks: Boxes) -> tuple[float, float, int]:
    """MOTA, IDF1 (0..1) and the number of switches, by py-motmetrics."""
    events = motmetrics.MOTAccumulator(auto_id=True)
    for frame in range(1, max([*truth, *tracks]) + 1):
        ids = [[number for number, _ in boxes.get(frame, [])] for boxes in (truth, tracks)]
        events.update(*ids, distances(truth, tracks, frame))
    row = motmetrics.metrics.create().compute(events, metrics=["mota", "idf1", "num_switches"]).iloc[0]
    return float(row["mota"]), float(row["idf1"]), int(row["num_switches"])


def measured(folder: Path, sequence: Path, fps: float, stride: int) -> tuple[float, float, int]:
    """The tracker's score on a sequence of which every `stride`-th frame is taken."""
    source, out = folder / "det.txt", folder / "mot.txt"
    kept = [line.split(",") for line in (sequence / "det.txt").read_text().splitlines()]
    kept = [row for row in kept if (int(row[0]) - 1) % stride == 0]
    source.write_text("".join(",".join([str((int(row[0]) - 1) // stride + 1), *row[1:]]) + "\n" for row in kept))
    track_file(source, fps / stride, out, Track())
    return score(read_mot(sequence / "gt.txt", stride), read_mot(out))
