"""SORT (Bewley 2016) with its own settings, one filterpy object per face: what the tracker is compared with.

State: centre, area, aspect ratio, and the velocities of the first three. Written from the paper and its published
parameters; test_mot_metrics.py holds it to the figures that the original has on its own detections of TUD.
"""

import numpy as np
from filterpy.kalman import KalmanFilter
from scipy.optimize import linear_sum_assignment

from streamer.boxes import iou
from streamer.track.kalman import Doubles

MAX_AGE = 1  # frames without detection after which a track ends
MIN_HITS = 3  # frames with detection in a row from which a track counts
MIN_IOU = 0.3


class _Face:
    def __init__(self, number: int, box: Doubles) -> None:
        self.number = number
        self.missed = 0  # frames since it was seen
        self.streak = 0  # frames with detection in a row, the first one not counted
        self._filter = KalmanFilter(dim_x=7, dim_z=4)
        self._filter.F = np.eye(7) + np.eye(7, k=4)
        self._filter.H = np.eye(4, 7)
        self._filter.R[2:, 2:] *= 10
        self._filter.P *= 10
        self._filter.P[4:, 4:] *= 1000
        self._filter.Q[4:, 4:] *= 0.01
        self._filter.Q[-1, -1] *= 0.01
        self._filter.x[:4, 0] = _measured(box)

    def predict(self) -> None:
        if self._filter.x[2, 0] + self._filter.x[6, 0] <= 0:
            self._filter.x[6, 0] = 0
        self._filter.predict()
        if self.missed:
            self.streak = 0
        self.missed += 1

    def update(self, box: Doubles) -> None:
        self.missed = 0
        self.streak += 1
        self._filter.update(_measured(box))

    def box(self) -> Doubles:
        x, y, area, ratio = self._filter.x[:4, 0]
        width = np.sqrt(area * ratio)
        return np.array([x - width / 2, y - area / width / 2, x + width / 2, y + area / width / 2])


def _measured(box: Doubles) -> Doubles:
    (x1, y1, x2, y2) = box
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * (y2 - y1), (x2 - x1) / (y2 - y1)])


class Sort:
    """The faces of one camera."""

    def __init__(self) -> None:
        self._faces: list[_Face] = []
        self._frames = 0
        self._number = 0

    def update(self, boxes: Doubles) -> tuple[list[int], list[Doubles]]:
        """Boxes (n, 4) x1 y1 x2 y2 of the next frame to ids and boxes of the tracks that count."""
        self._frames += 1
        for face in self._faces:
            face.predict()
        self._faces = [face for face in self._faces if np.isfinite(face.box()).all()]
        places = np.array([face.box() for face in self._faces]).reshape(-1, 4)
        overlap = iou(places, boxes)
        left, right = linear_sum_assignment(overlap, maximize=True)
        paired = overlap[left, right] >= MIN_IOU
        for row, column in zip(left[paired].tolist(), right[paired].tolist(), strict=True):
            self._faces[row].update(boxes[column])
        for column in np.setdiff1d(np.arange(len(boxes)), right[paired]).tolist():
            self._number += 1
            self._faces.append(_Face(self._number, boxes[column]))
        shown = [f for f in self._faces if f.missed < 1 and (f.streak >= MIN_HITS or self._frames <= MIN_HITS)]
        answer = [face.number for face in shown], [face.box() for face in shown]
        self._faces = [face for face in self._faces if face.missed <= MAX_AGE]
        return answer
