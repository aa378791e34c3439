"""Ours and those it is compared with, all in one form: a sequence in, who is where in each frame out."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer import config
from streamer.detect.offline import import_ultralytics
from streamer.track.mot_file import followed
from streamer.track.tracker import Tracker
from streamer.values import TrackKey
from tests.benchmarks.mot_data import Sequence
from tests.benchmarks.mot_metrics import Labelled
from tests.benchmarks.sort import Sort

SORT_SCORE = 0.5  # SORT knows no scores and takes what the detector is sure of
# The thresholds of the paper, which follow every kind of sequence better here than ultralytics' own; buffer in frames.
BYTE = {
    "track_high_thresh": 0.6,
    "track_low_thresh": 0.1,
    "new_track_thresh": 0.7,
    "track_buffer": 30,
    "match_thresh": 0.9,
    "fuse_score": True,
    "gmc_method": "none",
    "proximity_thresh": 0.5,
    "appearance_thresh": 0.8,
    "with_reid": False,
}


class Found:
    """Detections as ultralytics' trackers want them."""

    def __init__(self, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        self.xyxy, self.conf, self.cls = boxes, scores, np.zeros(len(boxes), np.float32)

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, mask: Any) -> "Found":
        return Found(self.xyxy[mask], self.conf[mask])

    @property
    def xywh(self) -> NDArray[np.float32]:
        low, high = self.xyxy[:, :2], self.xyxy[:, 2:]
        return np.concatenate([(low + high) / 2, high - low], axis=1)


def ours(sequence: Sequence) -> list[Labelled]:
    tracker = Tracker(config.Track(), lambda number: TrackKey(str(number), "", number))
    frames = zip(sequence.times.tolist(), sequence.detections, strict=True)
    rows = [[(track.key.number, track.box) for track in tracks] for tracks in followed(tracker, frames)]
    return [_labelled([number for number, _ in row], [box for _, box in row]) for row in rows]


def sort(sequence: Sequence) -> list[Labelled]:
    tracker = Sort()
    answers = []
    for found in sequence.detections:
        ids, boxes = tracker.update(found.boxes[found.scores >= SORT_SCORE].astype(np.float64))
        answers.append(_labelled(ids, boxes))
    return answers


def byte_track(sequence: Sequence) -> list[Labelled]:
    return _ultralytics("BYTETracker", sequence)


def bot_sort(sequence: Sequence) -> list[Labelled]:
    return _ultralytics("BOTSORT", sequence)


TRACKERS: dict[str, Callable[[Sequence], list[Labelled]]] = {
    "ours": ours,
    "SORT": sort,
    "ByteTrack": byte_track,
    "BoT-SORT": bot_sort,
}


def ultralytics_tracker(name: str) -> Any:
    """BYTETracker or BOTSORT."""
    import_ultralytics()
    from ultralytics import trackers

    return getattr(trackers, name)(SimpleNamespace(**BYTE))


def _ultralytics(name: str, sequence: Sequence) -> list[Labelled]:
    tracker = ultralytics_tracker(name)
    answers = []
    for found in sequence.detections:
        rows = tracker.update(Found(found.boxes, found.scores)).reshape(-1, 8)
        answers.append(_labelled(rows[:, 4], rows[:, :4]))
    return answers


def _labelled(ids: Any, boxes: Any) -> Labelled:
    return Labelled(np.asarray(ids, np.int64), np.asarray(boxes, np.float64).reshape(-1, 4))
