"""How far a face gets while it is not seen: what the tracker's rescue and the joining of tracks rest on.

`python -m tests.benchmarks.accuracy_gaps` fits the law of association.py to the gaps of 0.1 to 3 s in the true tracks
of LTFT's faces (the detections that are on them, filtered as the tracker does), on all videos and on either half, and
prints the filter's own deviation beside the true one. Then, of absences of 0.4 to 10 s, how many a gate of place and
size would let pass, and how many pairs of different people whose absences are as long.
"""

import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy.optimize import minimize

from streamer.track.kalman import Doubles, measure
from tests.benchmarks.mot_data import Sequence, sequences
from tests.conftest import shared_folder
from tests.support.box_filter import InspectedFilter

MIN_HITS = 3  # before a gap counts
HALVES = (("bengal", "sidewalk", "terminal_1"), ("choke1", "street", "terminal_2"))
STEPS = ((0.1, 0.3), (0.3, 0.6), (0.6, 1.0), (1.0, 2.0), (2.0, 3.0))  # s
FREEDOM = 3.0  # of Student's t
GATE = (3.0, 6.0, 0.6, 0.05)  # face sizes, and per second; logarithm of the ratio of sizes, and per second
TimedBox = tuple[float, Doubles]  # s, x1 y1 x2 y2


def main() -> int:
    folder = shared_folder() / "data" / "tracking"
    if not folder.is_dir():
        print(f"needs the sequences of the data folder at {folder} (FACEANALYTICS_SHARED)", file=sys.stderr)
        return 3
    faces = [sequence for sequence in sequences(folder) if sequence.name.startswith("ltft")]
    gaps = {sequence.name: np.array([gap for one in _tracks(sequence) for gap in _gaps(one)]) for sequence in faces}
    for names in (HALVES[0] + HALVES[1], *HALVES):
        rows = np.concatenate([found for name, found in gaps.items() if name.endswith(names)])
        print(f"{len(rows):>4} gaps of {', '.join(names)}: " + "{:.3f} + ({:.2f} + {:.2f} v) t".format(*_fit(rows)))
    rows = np.concatenate(list(gaps.values()))
    for low, high in STEPS:
        some = rows[(rows[:, 0] >= low) & (rows[:, 0] < high)]
        away, own = np.median(np.hypot(some[:, 1], some[:, 2])) / 1.18, np.median(some[:, 6])
        grown = 1.48 * np.median(np.abs(some[:, 5]))
        print(
            f"{low:.1f}-{high:.1f} s: {len(some):>4} gaps, deviation {away:.2f} face sizes, the filter's {own:.2f}; "
            f"of the size's logarithm {grown:.2f}"
        )
    same, other = (np.concatenate(kind) for kind in zip(*map(_absences, faces), strict=True))
    kept = ", ".join(f"{100 * _passes(pairs).mean():.0f} % of {len(pairs)}" for pairs in (same, other))
    print(f"gate of place and size: {kept} pairs of the same and of different people pass")
    return 0


def _tracks(sequence: Sequence) -> list[list[TimedBox]]:
    """The true boxes of each person."""
    tracks: dict[int, list[TimedBox]] = defaultdict(list)
    for time, frame in zip(sequence.times.tolist(), sequence.truth, strict=True):
        for person, box in zip(frame.ids.tolist(), frame.boxes, strict=True):
            tracks[person].append((time, box))
    return list(tracks.values())


def _gaps(track: list[TimedBox]) -> Iterator[tuple[float, ...]]:
    """Of each gap: s; offset from the prediction in x and y, speed in x and y, in face sizes (per s); logarithm of the
    ratio of sizes; the filter's deviation in x, in face sizes."""
    filters, hits = InspectedFilter(), 0
    for (before, _), (time, box) in zip([track[0], *track[:-1]], track, strict=True):
        gap = time - before
        if gap > STEPS[-1][1]:
            filters, hits = InspectedFilter(), 0
        if not hits:
            filters.add(box[None])
        else:
            place, velocity = filters.position[0], filters.velocity[0]
            filters.predict(gap)
            size, found = min(place[2:]), measure(box[None]).ravel()
            if gap >= STEPS[0][0] and hits >= MIN_HITS:
                offset = (found[:2] - place[:2] - velocity[:2] * gap) / size
                grown = 0.5 * math.log(found[2] * found[3] / (place[2] * place[3]))
                own = math.sqrt(filters.covariance[0, 0, 0, 0]) / size
                yield gap, *offset, *(velocity[:2] / size), grown, own
            filters.update([0], box[None], np.array([0.9]))
        hits += 1


def _fit(rows: Doubles) -> Doubles:
    """The scale at 0 s, per s, and per face size of speed and s, that make the gaps likeliest."""

    def unlikely(logs: Doubles) -> float:
        still, drift, share = np.exp(logs)
        scale = still + rows[:, :1] * (drift + share * np.abs(rows[:, 3:5]))
        off = rows[:, 1:3] / scale
        return float((np.log(scale) + (FREEDOM + 1) / 2 * np.log1p(off**2 / FREEDOM)).mean())

    found: Doubles = np.exp(minimize(unlikely, np.log([0.1, 0.5, 0.3]), method="Nelder-Mead").x)
    return found


def _absences(sequence: Sequence) -> tuple[Doubles, Doubles]:
    """Where a person was last seen and where the same one (a) or another (b) came next, 0.4 to 10 s later: (n, 3) s,
    distance in sizes of the larger face, |logarithm| of the ratio of their sizes."""
    ends: list[tuple[int, TimedBox]] = []
    begins: list[tuple[int, TimedBox]] = []
    same: list[tuple[float, float, float]] = []
    for person, track in enumerate(_tracks(sequence)):
        ends.append((person, track[-1]))
        begins.append((person, track[0]))
        for before, after in pairwise(track):
            if after[0] - before[0] > 0.4:
                ends.append((person, before))
                begins.append((person, after))
                same += _between(before, after)
    other = [pair for who, end in ends for whom, begin in begins if who != whom for pair in _between(end, begin)]
    return np.array(same).reshape(-1, 3), np.array(other).reshape(-1, 3)


def _between(before: TimedBox, after: TimedBox) -> list[tuple[float, float, float]]:
    gap = after[0] - before[0]
    if not 0.4 < gap <= 10:
        return []
    (x, y, w, h), (u, v, k, m) = measure(np.stack([before[1], after[1]])).reshape(4, 2).T.tolist()
    sizes = math.sqrt(w * h), math.sqrt(k * m)
    return [(gap, math.hypot(u - x, v - y) / max(sizes), abs(math.log(sizes[1] / sizes[0])))]


def _passes(pairs: Doubles) -> Doubles:
    gap, shift, ratio = pairs.T
    passes: Doubles = (shift <= GATE[0] + GATE[1] * gap) & (ratio <= GATE[2] + GATE[3] * gap)
    return passes


if __name__ == "__main__":
    sys.exit(main())
