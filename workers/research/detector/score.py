"""How well a network finds the faces of held-out images: what the best weights are chosen by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from streamer.values import Bytes, Detections, Floats
from workers.research.detector.labels import Labelled
from workers.research.detector.teachers import GREY, overlap

SIDE = 640  # of the square that an image is scaled into, as the streamer does
MAX_UPSCALE = 1.5
MIN_SCORE, MAX_OVERLAP, SAME_FACE = 0.05, 0.5, 0.5
PRECISION = 0.97  # at which recall is stated
JUDGED_PX = 24.0  # width of the faces that count, in the image's pixels


@dataclass(frozen=True, slots=True)
class Scores:
    """Results over all images; faces that are small or unsure are neither wanted nor wrong."""

    faces: int
    recall: float  # at the precision 0.97
    threshold: float  # score from which that is
    recall_at_half: float  # at the score 0.5
    precision_at_half: float
    landmark_error: (
        float  # median over the found faces of the mean distance of five points, shares of the eyes' distance
    )

    @property
    def selection_score(self) -> float:
        """What the best weights have most of."""
        return self.recall - 0.5 * min(self.landmark_error, 1.0)


def score(model: Any, images: Mapping[str, Sequence[Labelled]], device: torch.device) -> tuple[Scores, dict[str, str]]:
    """The result over all sources, and for each `found/wanted +false` at the score 0.5."""
    scores, right, errors, wanted, by_source = [], [], [], 0, {}
    for name, items in images.items():
        found_here = wanted_here = wrong_here = 0
        for item in items:
            faces = detect(model, item.decoded(), device)
            hits, error, count = match(faces, item)
            counted = hits >= 0
            scores.extend(faces.scores[counted])
            right.extend(hits[counted] == 1)
            errors.extend(error)
            wanted_here += count
            strong = faces.scores >= 0.5
            found_here += int((strong & (hits == 1)).sum())
            wrong_here += int((strong & (hits == 0)).sum())
        wanted += wanted_here
        by_source[name] = f"{found_here}/{wanted_here} +{wrong_here}"
    return _summed(np.array(scores), np.array(right, bool), np.array(errors), wanted), by_source


def match(faces: Detections, item: Labelled) -> tuple[Any, list[float], int]:
    """For each face found, strongest first: 1 right, 0 wrong, -1 not judged; the errors of the right ones; how many
    were wanted. A face is right if its IoU with a label not yet taken is 0.5 at least."""
    wide = item.boxes[:, 2] - item.boxes[:, 0] >= JUDGED_PX
    open_rows = set(range(len(item.boxes)))
    ious, unsure = overlap(faces.boxes, item.boxes), overlap(faces.boxes, item.unsure)
    hits, errors = np.zeros(len(faces), int), []
    for row in range(len(faces)):
        best = max(open_rows, key=lambda other: float(ious[row, other]), default=None)
        if best is not None and ious[row, best] >= SAME_FACE:
            open_rows.discard(best)
            hits[row] = 1 if wide[best] else -1
            if wide[best] and faces.scores[row] >= 0.25:
                gap = np.linalg.norm(faces.landmarks[row] - item.landmarks[best], axis=1).mean()
                eyes = np.linalg.norm(item.landmarks[best, 0] - item.landmarks[best, 1])
                errors.append(float(gap / max(eyes, 1e-6)))
        elif unsure[row].max(initial=0) >= 0.3 or faces.boxes[row, 2] - faces.boxes[row, 0] < JUDGED_PX:
            hits[row] = -1
    return hits, errors, int(wide.sum())


def detect(model: Any, image: Bytes, device: torch.device) -> Detections:
    """The faces of a BGR image, strongest first, by a PoseModel in evaluation."""
    height, width = image.shape[:2]
    scale = min(SIDE / max(height, width), MAX_UPSCALE)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.full((-(-size[1] // 32) * 32, -(-size[0] // 32) * 32, 3), GREY, np.uint8)
    square[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    blob = torch.from_numpy(square[:, :, ::-1].copy()).permute(2, 0, 1)[None].to(device).float() / 255
    with torch.inference_mode():
        rows = model(blob)[0][0].float().cpu().numpy().T  # (anchors, 4 + 1 + 15): centre, size, score, landmarks
    rows = rows[rows[:, 4] >= MIN_SCORE]
    corners = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, 2:4]], axis=1)
    kept = list(cv2.dnn.NMSBoxes(corners.tolist(), rows[:, 4].tolist(), MIN_SCORE, MAX_OVERLAP))
    boxes = np.concatenate([corners[kept, :2], corners[kept, :2] + corners[kept, 2:]], axis=1) / scale
    landmarks = rows[kept, 5:].reshape(-1, 5, 3)[:, :, :2] / scale
    limits = np.array([width, height, width, height], np.float32)
    return Detections(
        np.asarray(boxes.clip(0, limits), np.float32), rows[kept, 4].astype(np.float32), landmarks.astype(np.float32)
    )


def _summed(scores: Floats, right: Any, errors: Floats, wanted: int) -> Scores:
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    hits = np.cumsum(right)
    precise = np.flatnonzero(hits >= PRECISION * np.arange(1, len(hits) + 1))
    last = int(precise[-1]) if len(precise) else -1
    strong = scores >= 0.5
    return Scores(
        faces=wanted,
        recall=float(hits[last] / max(wanted, 1)) if last >= 0 else 0.0,
        threshold=float(scores[last]) if last >= 0 else 1.0,
        recall_at_half=float(right[strong].sum() / max(wanted, 1)),
        precision_at_half=float(right[strong].mean()) if strong.any() else 1.0,
        landmark_error=float(np.median(errors)) if len(errors) else 1.0,
    )
