"""The public sequences of the data folder, whole or with frames missing."""

from collections.abc import Callable
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streamer.boxes import iou
from streamer.track.kalman import Doubles
from streamer.values import Detections
from tests.benchmarks.mot_metrics import FOUND, Labelled

TUD_RATE = 25.0  # frames/s
DISTRACTORS = (2, 7, 8, 12)  # classes of MOT17 that one may find or not: on vehicles, static, distractors, reflections
BURST = 6.0  # frames, mean length of what is lost in a row, and of what is kept


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """The frames of a video in order: what a detector found, and what is there."""

    name: str
    times: Doubles  # (frames,) s
    detections: list[Detections]
    truth: list[Labelled]
    optional: list[Doubles]  # per frame (n, 4) x1 y1 x2 y2: whoever finds these is neither praised nor blamed

    def only(self, frames: NDArray[np.intp]) -> "Sequence":
        """The same video of which only these frames arrive."""
        pick = frames.tolist()
        return Sequence(
            self.name,
            self.times[frames],
            [self.detections[i] for i in pick],
            [self.truth[i] for i in pick],
            [self.optional[i] for i in pick],
        )

    def without_optional(self, tracks: list[Labelled]) -> list[Labelled]:
        """The tracks of each frame but those on optional boxes, as TrackEval does for MOT17."""
        return [self._without(*frame) for frame in zip(tracks, self.truth, self.optional, strict=True)]

    @staticmethod
    def _without(tracks: Labelled, truth: Labelled, optional: Doubles) -> Labelled:
        if not len(optional):
            return tracks
        overlap = iou(np.concatenate([truth.boxes, optional]), tracks.boxes)
        rows, columns = linear_sum_assignment(np.where(overlap >= FOUND, overlap, 0), maximize=True)
        excused = columns[(rows >= len(truth.ids)) & (overlap[rows, columns] >= FOUND)]
        return Labelled(np.delete(tracks.ids, excused), np.delete(tracks.boxes, excused, axis=0))


def burst(frames: int) -> NDArray[np.intp]:
    """Which frames arrive if half is lost in bursts: a chain of two states, the same one each time."""
    random = np.random.default_rng(0)
    switches = random.random(frames) < 1 / BURST
    return np.flatnonzero(np.cumsum(switches) % 2 == 0)


DROPS: dict[str, Callable[[int], NDArray[np.intp]]] = {
    "all": np.arange,
    "1/2": lambda frames: np.arange(0, frames, 2),
    "1/3": lambda frames: np.arange(0, frames, 3),
    "1/6": lambda frames: np.arange(0, frames, 6),
    "bursts": burst,
}


def sequences(folder: Path) -> list[Sequence]:
    """All sequences below the folder `tracking`, by name."""
    rates = {path.parent: float(path.read_text().split()[1]) for path in folder.glob("ltft/*/info")}
    rates |= {path.parent: _mot_rate(path) for path in folder.glob("mot17val/*/seqinfo.ini")}
    rates |= dict.fromkeys(folder.glob("tud/*"), TUD_RATE)
    return [read(path, rate, str(path.relative_to(folder))) for path, rate in sorted(rates.items())]


def _mot_rate(path: Path) -> float:
    parser = ConfigParser()
    parser.read(path)
    return parser.getfloat("Sequence", "frameRate")


def read(folder: Path, rate: float, name: str) -> Sequence:
    """det.txt and gt.txt of a folder in the text format of MOTChallenge."""
    found, real = (np.loadtxt(folder / file, delimiter=",", ndmin=2) for file in ("det.txt", "gt.txt"))
    frames = int(max(found[:, 0].max(), real[:, 0].max()))
    optional = np.isin(real[:, 7], DISTRACTORS) if "MOT17" in name else np.zeros(len(real), bool)
    counts = (real[:, 6] != 0) & ~optional
    return Sequence(
        name,
        np.arange(1, frames + 1) / rate,
        [_detections(rows) for rows in _by_frame(found, frames)],
        [Labelled(rows[:, 1].astype(int), _corners(rows)) for rows in _by_frame(real[counts], frames)],
        [_corners(rows) for rows in _by_frame(real[optional], frames)],
    )


def _by_frame(rows: Doubles, frames: int) -> list[Doubles]:
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return np.split(rows, np.searchsorted(rows[:, 0], np.arange(2, frames + 1)))


def _corners(rows: Doubles) -> Doubles:
    return np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)


def _detections(rows: Doubles) -> Detections:
    landmarks = np.zeros((len(rows), 5, 2), np.float32)
    return Detections(_corners(rows).astype(np.float32), rows[:, 6].clip(0, 1).astype(np.float32), landmarks)
