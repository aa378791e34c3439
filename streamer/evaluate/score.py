"""Detections against labelled faces: matching, recall and precision, landmark error. Arrays in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.boxes import covered, iou
from streamer.values import LANDMARK_NAMES, Detections, Floats

SAME_FACE = 0.5  # IoU from which a detection is of a face
COVERED = 0.5  # share of a detection's area inside an ignored face, from which it is ignored, too
FALSE_HIT, IGNORED = -1, -2  # in place of the row of a face
SIZES = (0, 12, 24, 48, 96)  # px, width: where the classes of size begin
HEIGHTS = {"easy": 50, "medium": 30, "hard": 10}  # px, least height of the faces of each level
LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # scores at which recall and precision are reported
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The labelled faces of one image."""

    boxes: Floats  # (n, 4) x1 y1 x2 y2, pixels
    ignored: Bools  # (n,) faces that count neither as missed nor as false
    landmarks: Floats  # (n, 5, 2) x y, pixels; NaN where a face has none

    def __post_init__(self) -> None:
        shapes, count = (self.boxes.shape, self.ignored.shape, self.landmarks.shape), len(self.boxes)
        if shapes != (wanted := ((count, 4), (count,), (count, 5, 2))):
            raise ValueError(f"boxes, ignored and landmarks have shapes {shapes}, expected {wanted}")


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """One image: the face of each detection."""

    truth: Truth
    found: Detections
    counted: Bools  # (n,) the faces of `truth` that should be found
    faces: Ints  # (m,) for each detection the row of its face, FALSE_HIT or IGNORED


@dataclass(frozen=True, slots=True)
class Counts:
    faces: int
    hits: int
    false_hits: int

    @property
    def recall(self) -> float | None:
        """The share of the faces that were found; None without faces."""
        return self.hits / self.faces if self.faces else None

    @property
    def precision(self) -> float | None:
        """The share of the detections that are faces; None without detections."""
        return self.hits / (self.hits + self.false_hits) if self.hits + self.false_hits else None


@dataclass(frozen=True, slots=True)
class LandmarkError:
    """Distances between labelled and found landmarks, as shares of the labelled distance between the eyes."""

    faces: int
    mean: float
    median: float
    worst: float  # 95 of 100 faces are below
    each: dict[str, float]  # mean, by the landmark's name


@dataclass(frozen=True, slots=True)
class Level:
    """The result for the faces of a level, see by_height."""

    least_height: int  # px
    faces: int
    average_precision: float | None  # None without faces


@dataclass(frozen=True, slots=True)
class Score:
    """The result of a detector on many images."""

    images: int
    ignored: int  # labelled faces that are ignored
    at_score: Counts  # of the detections from the requested score on
    by_size: dict[str, Counts]  # the same, by width: of the face, of a false hit its own
    levels: dict[float, Counts]  # of the detections from each of LEVELS on
    average_precision: float | None  # area under precision over recall; None without faces
    recall_at_precision: float | None  # the largest recall at the requested precision; None if it is never reached
    score_at_precision: float | None  # the score from which it is reached
    by_height: dict[str, Level]
    landmarks: LandmarkError | None  # of the hits from the requested score on; None without labelled landmarks


def match(truth: Truth, found: Detections, min_width: float) -> Match:
    """Assign detections to faces greedily: the strongest one first, each to the free face that it overlaps most.

    A detection is of that face from an IoU of 0.5 on. A detection without a face is ignored if half of it lies in an
    ignored face (a labelled region may hold many) or if it is narrower than `min_width` pixels; else it is a false hit.
    Labelled faces narrower than that are ignored faces, too.
    """
    counted = ~truth.ignored & (_widths(truth.boxes) >= min_width)
    overlaps = iou(found.boxes, truth.boxes)
    ignored = (covered(found.boxes, truth.boxes[~counted]) >= COVERED).any(axis=1)
    ignored |= _widths(found.boxes) < min_width
    faces = np.where(ignored, IGNORED, FALSE_HIT).astype(np.int64)
    free = counted.copy()
    for row in np.argsort(-found.scores, kind="stable"):
        chances = np.where(free, overlaps[row], 0)
        if len(chances) and chances.max() >= SAME_FACE:
            faces[row] = chances.argmax()
            free[faces[row]] = False
    return Match(truth, found, counted, faces)


def by_height(matches: Sequence[Match]) -> dict[str, Level]:
    """Return average precisions by the protocol of WIDER FACE (Yang et al. 2016, arXiv 1511.06523), in three levels.

    Each detection, the strongest first, is of the labelled face that it overlaps most, from an IoU of 0.5 on. It is
    right if it is the first one of this face, ignored if the face is not of the level, and else false, however small it
    is. WIDER FACE chooses the faces of its levels by how well an older method proposes them; here they are those of at
    least HEIGHTS pixels, so that each level contains the one before.
    """
    found = {}
    for name, least in HEIGHTS.items():
        some = [_at_level(one, least) for one in matches]
        faces = sum(count for _, _, count in some)
        counts, hits = _joined([one for one, _, _ in some], np.bool_), _joined([one for _, one, _ in some], np.bool_)
        scores = _joined([one.found.scores for one in matches], np.float32)
        _, precision, recall = curve(scores[counts], hits[counts], faces)
        found[name] = Level(least, faces, average_precision(precision, recall) if faces else None)
    return found


def _at_level(one: Match, least: int) -> tuple[Bools, Bools, int]:
    """Return which detections (m,) count, which of them are right, and how many faces there are."""
    wanted = ~one.truth.ignored & (one.truth.boxes[:, 3] - one.truth.boxes[:, 1] >= least)
    overlaps = iou(one.found.boxes, one.truth.boxes)
    counts, hits = np.ones(len(overlaps), np.bool_), np.zeros(len(overlaps), np.bool_)
    free = wanted.copy()
    for row in np.argsort(-one.found.scores, kind="stable") if len(wanted) else ():
        face = int(overlaps[row].argmax())
        if overlaps[row, face] >= SAME_FACE:
            counts[row], hits[row] = wanted[face], free[face]
            free[face] = False
    return counts, hits, int(wanted.sum())


def landmark_errors(truth: Floats, found: Floats) -> Floats:
    """Return distances (n, 5) between landmarks (n, 5, 2) over the eye distance in `truth`; NaN where it has none."""
    eyes = np.linalg.norm(truth[:, 1] - truth[:, 0], axis=1)
    errors: Floats = np.linalg.norm(found - truth, axis=2) / eyes[:, None]
    return errors


def curve(scores: Floats, hits: Bools, faces: int) -> tuple[Floats, Floats, Floats]:
    """Return score, precision and recall, (k,) each: of all detections from each distinct score on, strongest first."""
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    last = np.append(scores[1:] != scores[:-1], True) if len(scores) else np.zeros(0, np.bool_)
    right, taken = np.cumsum(hits), np.arange(1, len(hits) + 1)
    return scores[last], (right / taken)[last], right[last] / max(faces, 1)


def average_precision(precision: Floats, recall: Floats) -> float:
    """Return the area under the curve, with the best precision at each recall or a larger one (all points, as COCO)."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


def summarise(matches: Sequence[Match], min_score: float, precision: float) -> Score:
    """Count the detections from `min_score` on, and find the largest recall at this `precision`."""
    wanted = sum(int(one.counted.sum()) for one in matches)
    hits = _joined([one.faces >= 0 for one in matches], np.bool_)
    counts = _joined([one.faces != IGNORED for one in matches], np.bool_)
    scores = _joined([one.found.scores for one in matches], np.float32)
    levels, precisions, recalls = curve(scores[counts], hits[counts], wanted)
    enough = np.flatnonzero(precisions >= precision)
    best = enough[recalls[enough].argmax()] if len(enough) and wanted else None
    face_sizes = _joined([_widths(one.truth.boxes)[one.counted] for one in matches], np.float64)
    sizes = _joined([_sizes(one) for one in matches], np.float64)
    strong = counts & (scores >= min_score)
    by_size = {}
    for lower, upper in zip(SIZES, (*SIZES[1:], np.inf), strict=True):
        inside = strong & (sizes >= lower) & (sizes < upper)
        faces = int(((face_sizes >= lower) & (face_sizes < upper)).sum())
        if faces or inside.any():
            by_size[_name(lower, upper)] = _count(faces, hits[inside])
    return Score(
        images=len(matches),
        ignored=sum(int((~one.counted).sum()) for one in matches),
        at_score=_count(wanted, hits[strong]),
        by_size=by_size,
        levels={level: _count(wanted, hits[counts & (scores >= level)]) for level in LEVELS},
        average_precision=average_precision(precisions, recalls) if wanted else None,
        recall_at_precision=None if best is None else float(recalls[best]),
        score_at_precision=None if best is None else float(levels[best]),
        by_height=by_height(matches),
        landmarks=_landmarks(matches, min_score),
    )


def _landmarks(matches: Sequence[Match], min_score: float) -> LandmarkError | None:
    errors = []
    for one in matches:
        rows = np.flatnonzero((one.faces >= 0) & (one.found.scores >= min_score))
        errors.append(landmark_errors(one.truth.landmarks[one.faces[rows]], one.found.landmarks[rows]))
    known = np.concatenate(errors) if errors else np.zeros((0, 5))
    known = known[np.isfinite(known).all(axis=1)]
    if not len(known):
        return None
    faces = known.mean(axis=1)
    each = dict(zip(LANDMARK_NAMES, (float(value) for value in known.mean(axis=0)), strict=True))
    return LandmarkError(
        len(known), float(faces.mean()), float(np.median(faces)), float(np.percentile(faces, 95)), each
    )


def _count(faces: int, hits: Bools) -> Counts:
    return Counts(faces, int(hits.sum()), int((~hits).sum()))


def _sizes(one: Match) -> Floats:
    """Return the width (m,) by which each detection is counted: that of its face, else its own."""
    sizes, hits = _widths(one.found.boxes).copy(), one.faces >= 0
    sizes[hits] = _widths(one.truth.boxes)[one.faces[hits]]
    return sizes


def _name(lower: float, upper: float) -> str:
    if not lower:
        return f"< {upper:g} px"
    return f"{lower:g}-{upper:g} px" if np.isfinite(upper) else f">= {lower:g} px"


def _joined(parts: Sequence[NDArray[np.generic]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts).astype(kind) if parts else np.zeros(0, kind)


def _widths(boxes: Floats) -> Floats:
    return boxes[:, 2] - boxes[:, 0]
