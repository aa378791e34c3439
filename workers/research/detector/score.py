"""How well a network in training finds the faces of held-out images: the best weights are chosen by it.

Images are scaled, outputs decoded and faces matched as in the streamer and in `streamer evaluate-detector`. One thing
is deliberately different: the streamer puts each frame in the middle of a square; here grey is added on the right and
below, only up to the next multiple of the stride. Many held-out images are small, and squares take ten times as long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from streamer.config import Detect
from streamer.detect.letterbox import GREY
from streamer.detect.onnx_pose import decode_pose
from streamer.evaluate.score import Match, Truth, match, summarise
from streamer.values import Bytes, Detections
from workers.research.detector.labels import Labelled

CONFIG = Detect(min_score=0.05)  # weaker faces than the streamer takes, so that the precision can be followed
STRIDE = 32  # px, of the coarsest cells: the network takes multiples of it
PRECISION = 0.97  # at which recall is stated
HALF = 0.5  # the other score at which recall and precision are stated
LANDMARK_SCORE = 0.25  # score from which landmarks of found faces are judged
JUDGED_PX = 24.0  # narrower faces count neither as missed nor as false


@dataclass(frozen=True, slots=True)
class Scores:
    """Results over all images; small and unsure faces count neither as missed nor as false."""

    faces: int
    recall: float  # at the precision 0.97
    threshold: float  # score from which it is reached
    recall_at_half: float  # at the score 0.5
    precision_at_half: float
    landmark_error: float  # median over found faces of the mean distance of five points, in eye distances

    @property
    def selection_score(self) -> float:
        """The larger, the better the weights."""
        return self.recall - 0.5 * min(self.landmark_error, 1.0)


def score(model: Any, images: Mapping[str, Sequence[Labelled]], device: torch.device) -> tuple[Scores, dict[str, str]]:
    """Return the result over all sources, and for each of them `found/wanted +false` at the score 0.5."""
    matches: list[Match] = []
    by_source = {}
    for name, items in images.items():
        own = [match(truth(item), detect(model, item.decoded(), device), JUDGED_PX) for item in items]
        counts = summarise(own, LANDMARK_SCORE, PRECISION).levels[HALF]
        by_source[name] = f"{counts.hits}/{counts.faces} +{counts.false_hits}"
        matches += own
    summary = summarise(matches, LANDMARK_SCORE, PRECISION)
    at_half = summary.levels[HALF]
    scores = Scores(
        faces=at_half.faces,
        recall=summary.recall_at_precision or 0.0,
        threshold=1.0 if summary.score_at_precision is None else summary.score_at_precision,
        recall_at_half=at_half.recall or 0.0,
        precision_at_half=1.0 if at_half.precision is None else at_half.precision,
        landmark_error=summary.landmarks.median if summary.landmarks else 1.0,
    )
    return scores, by_source


def truth(item: Labelled) -> Truth:
    """Return the faces of an image, with the unsure ones ignored."""
    unsure = len(item.unsure)
    return Truth(
        np.concatenate([item.boxes, item.unsure]),
        np.repeat([False, True], [len(item.boxes), unsure]),
        np.concatenate([item.landmarks, np.full((unsure, 5, 2), np.nan, np.float32)]),
    )


def detect(model: Any, image: Bytes, device: torch.device) -> Detections:
    """Find the faces of a BGR image (h, w, 3) with a PoseModel in evaluation, boxes clipped, strongest first."""
    height, width = image.shape[:2]
    scale = min(CONFIG.input_size / max(height, width), CONFIG.max_upscale)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    padded = np.full((-(-size[1] // STRIDE) * STRIDE, -(-size[0] // STRIDE) * STRIDE, 3), GREY, np.uint8)
    padded[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    blob = torch.from_numpy(cv2.dnn.blobFromImage(padded, 1 / 255, swapRB=True)).to(device)
    with torch.inference_mode():
        values = model(blob)[0][0].float().cpu().numpy()
    faces = decode_pose(values, np.full(2, scale, np.float32), np.zeros(2, np.float32), CONFIG)
    limits = np.array([width, height, width, height], np.float32)
    return Detections(faces.boxes.clip(0, limits), faces.scores, faces.landmarks)
