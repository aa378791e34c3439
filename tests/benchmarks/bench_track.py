"""Milliseconds per frame of the tracker, of SORT (own plain one on filterpy) and of ultralytics' ByteTrack.

The filter alone is compared with filterpy with one object per face. The faces move in cells of their own, so that
every track has just one detection to continue with. The detections are made before the timing starts.
"""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from filterpy.kalman import KalmanFilter

from streamer import config
from streamer.track.kalman import FRAME_RATE, POSITION_WEIGHT, VELOCITY_WEIGHT, Doubles
from streamer.track.tracker import Tracker
from streamer.values import Detections, TrackKey
from tests.benchmarks.sort import Sort
from tests.benchmarks.trackers import Found, ultralytics_tracker
from tests.support.box_filter import InspectedFilter

FACES = (10, 50, 200)
FRAMES = 60  # per block, after as many to warm up
BLOCKS = 5
NAMES = ("tracker", "sort", "bytetrack", "kalman", "filterpy")
SIZE = (1920, 1080)  # px
DT = 1 / FRAME_RATE


def measure() -> dict[str, Any]:
    """Medians over blocks, in which what is compared takes turns: {faces: {name: ms per frame}}."""
    return {str(faces): _measure(faces) for faces in FACES}


def _measure(faces: int) -> dict[str, float]:
    steps = {
        "tracker_ms": _tracker(faces),
        "sort_ms": _sort(faces),
        "bytetrack_ms": _byte_track(faces),
        "kalman_ms": _stacked(faces),
        "filterpy_ms": _per_object(faces),
    }
    blocks: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(BLOCKS):
        for name, step in steps.items():
            blocks[name].append(_milliseconds(step))
    return {name: statistics.median(times) for name, times in blocks.items()}


def _milliseconds(step: Callable[[], None]) -> float:
    """Of this process per call: other programs on the machine do not count."""
    start = time.process_time()
    for _ in range(FRAMES):
        step()
    return (time.process_time() - start) / FRAMES * 1000


def _scene(faces: int) -> list[Doubles]:
    """Boxes (n, 4) x1 y1 x2 y2 of faces that wander in cells of their own, seen with noise; frame by frame."""
    random = np.random.default_rng(faces)
    columns = int(np.ceil(np.sqrt(faces * SIZE[0] / SIZE[1])))
    row, column = np.divmod(np.arange(faces), columns)
    centres = (np.stack([column, row], 1) + 0.5) * SIZE[0] / columns
    speed = random.normal(0, 15, centres.shape)  # px/s
    width = 0.5 * SIZE[0] / columns
    frames = []
    for frame in range(1, FRAMES * (BLOCKS + 1) + 2):
        middle = centres + speed * np.sin(frame * DT) + random.normal(0, 0.02 * width, centres.shape)
        half = width / 2 * (1 + random.normal(0, 0.02, (faces, 1)))
        frames.append(np.concatenate([middle - half, middle + half], 1))
    return frames


def _run(update: Callable[[Any], Any], frame: Any) -> None:
    update(frame)


def _warm(step: Callable[[], None]) -> Callable[[], None]:
    _milliseconds(step)
    return step


def _tracker(faces: int) -> Callable[[], None]:
    tracker = Tracker(config.Track(), lambda number: TrackKey(str(number), "bench", number))
    landmarks = np.zeros((faces, 5, 2), np.float32)
    scores = np.full(faces, 0.8, np.float32)
    frames = enumerate([Detections(boxes.astype(np.float32), scores, landmarks) for boxes in _scene(faces)])

    def step() -> None:
        frame, found = next(frames)
        tracks, _ = tracker.update(frame * DT, found, SIZE)
        if len(tracks) != faces:
            raise RuntimeError(f"{len(tracks)} tracks of {faces} faces: the scene is not the steady one it should be")

    return _warm(step)


def _sort(faces: int) -> Callable[[], None]:
    tracker, frames = Sort(), iter(_scene(faces))
    return _warm(lambda: _run(tracker.update, next(frames)))


def _byte_track(faces: int) -> Callable[[], None]:
    tracker = ultralytics_tracker("BYTETracker")
    scores = np.full(faces, 0.8, np.float32)
    frames = iter([Found(boxes.astype(np.float32), scores) for boxes in _scene(faces)])
    return _warm(lambda: _run(tracker.update, next(frames)))


def _stacked(faces: int) -> Callable[[], None]:
    filters, frames = InspectedFilter(), iter(_scene(faces))
    filters.add(next(frames))
    scores = np.zeros(faces)

    def step() -> None:
        filters.predict(DT)
        filters.update(None, next(frames), scores)

    return _warm(step)


def _per_object(faces: int) -> Callable[[], None]:
    frames = iter(_scene(faces))
    filters = [_filterpy(box) for box in next(frames)]

    def step() -> None:
        for one, (x1, y1, x2, y2) in zip(filters, next(frames), strict=True):
            one.predict()
            one.update(np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]))

    return _warm(step)


def _filterpy(box: Doubles) -> KalmanFilter:
    """The usual filter of eight states; its noise stays that of the first size, which spares it work."""
    x1, y1, x2, y2 = box
    sizes = np.array([x2 - x1, y2 - y1] * 2)
    one = KalmanFilter(dim_x=8, dim_z=4)
    one.x = np.array([(x1 + x2) / 2, (y1 + y2) / 2, *sizes[:2], 0, 0, 0, 0])[:, None]
    one.F = np.eye(8) + DT * np.eye(8, k=4)
    one.H = np.eye(4, 8)
    one.P = np.diag(np.concatenate([(2 * POSITION_WEIGHT * sizes) ** 2, (10 * VELOCITY_WEIGHT / DT * sizes) ** 2]))
    one.Q = np.diag(np.concatenate([(POSITION_WEIGHT * sizes) ** 2, (VELOCITY_WEIGHT / DT * sizes) ** 2]))
    one.R = np.diag((POSITION_WEIGHT * sizes) ** 2)
    return one


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    heads = ("tracker ms", "SORT ms", "ratio", "ByteTrack ms", "ratio", "filter ms", "filterpy ms", "ratio")
    lines = [f"{'faces':>6}" + "".join(f"{head:>14}" for head in heads)]
    for faces, row in results.items():
        assert isinstance(row, dict)
        tracker, sort, byte, stacked, filterpy = (row[f"{name}_ms"] for name in NAMES)
        cells = f"{tracker:>14.2f}{sort:>14.2f}{sort / tracker:>14.1f}{byte:>14.2f}{byte / tracker:>14.1f}"
        lines.append(f"{faces:>6}{cells}{stacked:>14.3f}{filterpy:>14.2f}{filterpy / stacked:>14.0f}")
    return "\n".join(lines)


if __name__ == "__main__":
    measured = measure()
    print(table(measured))
    print(json.dumps(measured))
