"""Public face detectors as teachers: the faces that each finds in an image, and those they agree on.

Three kinds are known by the outputs of the ONNX file: YOLOv8-lite face (three grids of 80 channels), YuNet
(cls, obj, bbox, kps of strides 8, 16, 32) and SCRFD with keypoints (nine outputs, two anchors per cell).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faceanalytics.errors import ModelError
from streamer.boxes import iou
from streamer.config import Detect
from streamer.detect.letterbox import GREY, suppressed
from streamer.detect.onnx_lite import LiteModel
from streamer.detect.session import open_session
from streamer.values import Bytes, Detections, Floats

SIDE = 640  # px, of the square that each teacher sees
STRIDES = (8, 16, 32)
WEAKEST = 0.3  # score from which a face of a teacher counts
SAME_FACE = 0.5  # IoU from which boxes of two teachers are one face
SAME_TEACHERS_FACE = 0.4  # the same, among the boxes of one teacher
STEP = 448  # pixels between the squares of an image that is larger than one: every face up to 192 px is whole in one


@dataclass(frozen=True, slots=True)
class Teacher:
    """A public detector."""

    name: str  # of its file
    look: Callable[[Bytes], Detections]  # the faces in a BGR square (640, 640, 3), pixels of it; may overlap


@dataclass(frozen=True, slots=True)
class Agreement:
    """The faces of an image according to several teachers."""

    faces: Detections  # found by at least two of them: means weighted by score; the score is the mean
    unsure: Floats  # (n, 4) boxes x1 y1 x2 y2 found by one alone, or only weakly: neither face nor background


def open_teacher(path: Path) -> Teacher:
    """Open the detector in an ONNX file, on the CPU. Raises ModelError."""
    if not path.is_file():
        raise ModelError(f"the teacher {path} does not exist: name the ONNX file of a public face detector")
    session = open_session(path, "cpu")
    outputs = session.get_outputs()
    if LiteModel.understands(session) and session.get_inputs()[0].shape[3] == SIDE:
        lite = LiteModel(session, Detect(min_score=WEAKEST, input_size=SIDE))
        return Teacher(path.stem, lambda square: lite.detect([square])[0])
    _check_square(path, session)
    if {f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES} == {
        output.name for output in outputs
    }:
        return Teacher(path.stem, lambda square: _look_as_yunet(session, square))
    if [output.shape[-1] for output in outputs] == [1, 1, 1, 4, 4, 4, 10, 10, 10]:
        return Teacher(path.stem, lambda square: _look_as_scrfd(session, square))
    raise ModelError(
        f"{path} is not a teacher of a known layout: {len(outputs)} outputs, the first of shape {outputs[0].shape}. "
        f"Known are YOLOv8-lite face, YuNet and SCRFD with keypoints, for images of {SIDE}x{SIDE}"
    )


def find(teacher: Teacher, image: Bytes, scales: Sequence[float]) -> Detections:
    """Find faces in a BGR image (h, w, 3), in its pixels, strongest first.

    At each scale the resized image is searched in squares that overlap. A face cut by the side of a square is left to
    the next square, unless the image ends there, too.
    """
    found = [_at_scale(teacher, image, scale) for scale in scales]
    faces = Detections(
        np.concatenate([faces.boxes for faces in found]),
        np.concatenate([faces.scores for faces in found]),
        np.concatenate([faces.landmarks for faces in found]),
    )
    rows = suppressed(faces.boxes, faces.scores, WEAKEST, SAME_TEACHERS_FACE)
    return Detections(faces.boxes[rows], faces.scores[rows], faces.landmarks[rows])


def usual_scales(image: Bytes) -> tuple[float, ...]:
    """Return scales at which faces of all sizes are found: the image in one square, half that, twice that, unscaled.

    None enlarges more than twice.
    """
    fitting = min(SIDE / max(image.shape[:2]), 2.0)
    return tuple(sorted({fitting / 2, fitting, min(fitting * 2, 2.0), max(fitting, 1.0)}))


def agree(found: Sequence[Detections], sure: float = 0.5) -> Agreement:
    """Combine the faces that each teacher found in one image.

    Greedy: the strongest remaining face takes from each other teacher the one it overlaps most, from an IoU of 0.5 on.
    Two teachers make a face if the mean of their scores is at least `sure`.
    """
    left = {(teacher, row) for teacher, faces in enumerate(found) for row in range(len(faces))}
    boxes, scores, landmarks, unsure = [], [], [], []
    while left:
        seed = max(left, key=lambda key: (float(found[key[0]].scores[key[1]]), key))
        group = [seed]
        for teacher in range(len(found)):
            rivals = sorted(row for other, row in left if other == teacher and teacher != seed[0])
            if not rivals:
                continue
            overlaps = iou(found[seed[0]].boxes[seed[1] :][:1], found[teacher].boxes[rivals])[0]
            if overlaps.max() >= SAME_FACE:
                group.append((teacher, rivals[int(overlaps.argmax())]))
        left -= set(group)
        strengths = np.array([found[teacher].scores[row] for teacher, row in group], np.float32)
        weights = strengths / strengths.sum()
        box = np.einsum("n,nc->c", weights, np.stack([found[teacher].boxes[row] for teacher, row in group]))
        if len(group) < 2 or strengths.mean() < sure:
            unsure.append(box)
            continue
        boxes.append(box)
        scores.append(strengths.mean())
        landmarks.append(
            np.einsum("n,npc->pc", weights, np.stack([found[teacher].landmarks[row] for teacher, row in group]))
        )
    faces = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(landmarks, np.float32).reshape(-1, 5, 2),
    )
    return Agreement(faces, np.array(unsure, np.float32).reshape(-1, 4))


def _check_square(path: Path, session: Any) -> None:
    """Raise ModelError if the file takes only images of another size."""
    shape = session.get_inputs()[0].shape[2:]
    if any(isinstance(side, int) and side != SIDE for side in shape):
        raise ModelError(f"{path} takes images of {shape[1]}x{shape[0]} only; teachers are shown {SIDE}x{SIDE}")


def _at_scale(teacher: Teacher, image: Bytes, scale: float) -> Detections:
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
    parts = []
    for top in _starts(size[1]):
        for left in _starts(size[0]):
            piece = scaled[top : top + SIDE, left : left + SIDE]
            square = np.full((SIDE, SIDE, 3), GREY, np.uint8)
            square[: piece.shape[0], : piece.shape[1]] = piece
            faces = teacher.look(square)
            inner = np.array([left > 0, top > 0, left + SIDE < size[0], top + SIDE < size[1]])
            cut = np.stack([faces.boxes[:, 0] < 4, faces.boxes[:, 1] < 4, *(faces.boxes[:, 2:] > SIDE - 4).T], axis=1)
            rows = ~(cut & inner).any(axis=1)
            corner, real = np.array([left, top], np.float32), np.array(size, np.float32) / (width, height)
            parts.append(
                Detections(
                    ((faces.boxes[rows] + np.tile(corner, 2)) / np.tile(real, 2)).astype(np.float32),
                    faces.scores[rows],
                    ((faces.landmarks[rows] + corner) / real).astype(np.float32),
                )
            )
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
    )


def _starts(length: int) -> list[int]:
    """Return the starts of the squares along a side of `length` pixels."""
    if length <= SIDE:
        return [0]
    return [*range(0, length - SIDE, STEP), length - SIDE]


def _look_as_yunet(session: Any, square: Bytes) -> Detections:
    """Run OpenCV's YuNet: BGR 0..255; centre and log size relative to the cell, score = sqrt(class * object)."""
    blob = np.ascontiguousarray(square.transpose(2, 0, 1)[None], np.float32)
    outputs = dict(zip([entry.name for entry in session.get_outputs()], _run(session, blob), strict=True))
    parts = []
    for stride in STRIDES:
        known, there, box, points = (outputs[f"{kind}_{stride}"][0] for kind in ("cls", "obj", "bbox", "kps"))
        scores = np.sqrt(np.clip(known, 0, 1) * np.clip(there, 0, 1)).reshape(-1)
        cells = np.flatnonzero(scores >= WEAKEST)
        corner = np.stack([cells % (SIDE // stride), cells // (SIDE // stride)], axis=1).astype(np.float32)
        centre, half = (corner + box[cells, :2]) * stride, np.exp(box[cells, 2:]) * stride / 2
        landmarks = (points[cells].reshape(-1, 5, 2) + corner[:, None]) * stride
        parts.append((np.concatenate([centre - half, centre + half], axis=1), scores[cells], landmarks))
    boxes, scores, landmarks = (np.concatenate(columns).astype(np.float32) for columns in zip(*parts, strict=True))
    return Detections(boxes, scores, landmarks)


def _look_as_scrfd(session: Any, square: Bytes) -> Detections:
    """Run InsightFace's SCRFD: RGB (x - 127.5) / 128; distances of sides and points from the corner of the cell."""
    blob = (
        np.ascontiguousarray(square[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) - np.float32(127.5)
    ) / np.float32(128)
    outputs = [output.reshape(-1, output.shape[-1]) for output in _run(session, blob)]
    parts = []
    for level, stride in enumerate(STRIDES):
        scores, sides, points = outputs[level].reshape(-1), outputs[3 + level] * stride, outputs[6 + level] * stride
        rows = np.flatnonzero(scores >= WEAKEST)
        cells = rows // 2  # two anchors in each
        corner = np.stack([cells % (SIDE // stride), cells // (SIDE // stride)], axis=1).astype(np.float32) * stride
        boxes = np.concatenate([corner - sides[rows, :2], corner + sides[rows, 2:]], axis=1)
        parts.append((boxes, scores[rows], points[rows].reshape(-1, 5, 2) + corner[:, None]))
    boxes, scores, landmarks = (np.concatenate(columns).astype(np.float32) for columns in zip(*parts, strict=True))
    return Detections(boxes, scores, landmarks)


def _run(session: Any, blob: Floats) -> list[Floats]:
    found: list[Floats] = session.run(None, {session.get_inputs()[0].name: blob})
    return found
