"""Faces in regions: the best size in the input, small faces of crowds, and faces that random regions cut."""

import csv
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from streamer.boxes import iou
from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.detect.letterbox import GREY
from streamer.detect.parts import look_at_parts
from streamer.evaluate.labels import read_labels
from streamer.source.images import read_images
from streamer.values import Bytes, Detections, Floats
from tests.benchmarks.accuracy_detect import PUBLIC
from tests.conftest import shared_folder
from workers.research.detector.teachers import agree, find, open_teacher, usual_scales

WIDE = 3.0  # face sizes
OFF = 0.25  # face sizes
AT_ONCE = 6  # faces whose regions are looked at together
EVERY_PICTURE, EVERY_FRAME = 4, 7
MOST = 60  # faces of a picture: there are some with hundreds of a few pixels
WIDTHS = ((12, 24), (24, 48), (48, 96))  # px in the picture
BEST = (10, 14, 20, 28, 40, 56)  # px in the detector's input
ALONE = 2.5  # face sizes
MARGIN, PLACES = 16, ((0, 0), (3, 5), (5, 3), (7, 7))  # px
SETS = ("crowds", "street")
RANDOM = 30  # looks at each frame
RANDOM_SIDES = 80, 400  # px
CLOSE_INPUT = 1920  # px, of the detector that says where faces are
NONE = np.zeros((0, 4), np.float32)
Row = tuple[str, float, float | None, float | None]  # set, width, landmark error of whole and regions; None: missed


def best_size(detector: Detector, width: int) -> dict[str, Any]:
    """Recall and landmark error of labelled faces of this width in the input."""
    errors: list[float | None] = []
    for label in read_labels(shared_folder() / "data" / "stills" / "dlib-68-landmarks" / "faces.xml", None):
        pixels = np.asarray(cv2.imread(str(label.source)), np.uint8)
        (seen,) = detector.detect([pixels])
        for points in label.truth.landmarks:
            middle = np.linalg.norm(seen.landmarks.mean(axis=1) - points.mean(axis=0), axis=1)
            box = seen.boxes[int(middle.argmin())]
            scale = width / (box[2] - box[0])
            if scale <= detector.config.max_upscale:
                errors += [_alone(detector, pixels, box, points, scale, place) for place in PLACES]
    found = [error for error in errors if error is not None]
    return {"width": width, "looks": len(errors), "found": len(found), "error": statistics.median(found)}


def _alone(
    detector: Detector, pixels: Bytes, box: Floats, points: Floats, scale: float, place: tuple[int, int]
) -> float | None:
    """Return the landmark error of a face in the middle of a part of a picture; None if it is not found."""
    x1, y1, x2, y2 = around(box[None], ALONE)[0].clip(0, (pixels.shape[1], pixels.shape[0]) * 2).round().astype(int)
    tile = cv2.resize(pixels[y1:y2, x1:x2], None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    left, top = MARGIN + place[0], MARGIN + place[1]
    high, wide = (-(-(side + 2 * MARGIN + 8) // 32) * 32 for side in tile.shape[:2])
    canvas = np.full((high, wide, 3), GREY, np.uint8)
    canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    (found,) = detector.detect([canvas], unscaled=True)
    exact = np.array([tile.shape[1] / (x2 - x1), tile.shape[0] / (y2 - y1)])
    truth = (points - (x1, y1)) * exact + (left, top)
    eyes = np.linalg.norm(truth[0] - truth[1])
    near = np.linalg.norm(found.landmarks.mean(axis=1) - truth.mean(axis=0), axis=1) < eyes / 2
    rows = np.flatnonzero(near & (found.scores >= 0.5))
    return float(np.linalg.norm(found.landmarks[rows[0]] - truth, axis=1).mean() / eyes) if len(rows) else None


def small_faces(detector: Detector) -> dict[str, Any]:
    """Recall and landmark error by set and width of the face in its picture, and false detections by set."""
    data, random = shared_folder() / "data", np.random.default_rng(0)
    teachers = [open_teacher(data / "weights" / f"{stem}.onnx") for stem in PUBLIC.values()]
    rows: list[Row] = []
    false = {name: np.zeros(2, np.int64) for name in SETS}
    for name, pixels in _pictures():
        agreed = agree([find(teacher, pixels, usual_scales(pixels)) for teacher in teachers])
        truth, anything = agreed.faces, np.concatenate([agreed.faces.boxes, agreed.unsure])
        (whole,) = detector.detect([pixels])
        order = random.permutation(len(truth))
        for first in range(0, len(order), AT_ONCE):
            faces = truth.rows(order[first : first + AT_ONCE])
            sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1)[:, None]
            off = np.tile(random.uniform(-OFF, OFF, (len(faces), 2)) * sides, 2)
            expected = np.asarray(faces.boxes + off, np.float32)
            (sight,) = look_at_parts(detector, [pixels], [around(expected, WIDE)], [expected])
            seen = whole, sight.faces if sight else whole
            missed_or_not = zip(*(_errors(found, faces) for found in seen), strict=True)
            widths = (faces.boxes[:, 2] - faces.boxes[:, 0]).tolist()
            rows += [(name, width, *errors) for width, errors in zip(widths, missed_or_not, strict=True)]
            if sight and sight.looked is not None:
                false[name] += [_false(found, anything, sight.looked) for found in seen]
    summaries = [_summary(rows, name, low, high) for name in SETS for low, high in WIDTHS]
    return {"by_width": summaries, "false": {name: counts.tolist() for name, counts in false.items()}}


def _errors(found: Detections, truth: Detections) -> list[float | None]:
    """Return the landmark error of each face of the truth in eye distances; None if it is not found."""
    found = found.rows(np.flatnonzero(found.scores >= 0.5))
    table = iou(truth.boxes, found.boxes)
    results: list[float | None] = []
    for row, points in enumerate(truth.landmarks):
        if not len(found) or table[row].max() < 0.5:
            results.append(None)
            continue
        distances = np.linalg.norm(found.landmarks[int(table[row].argmax())] - points, axis=1)
        results.append(float(distances.mean() / np.linalg.norm(points[0] - points[1])))
    return results


def _false(found: Detections, anything: Floats, looked: Floats) -> int:
    """Count the detections in the regions (n, 4) that are nothing which a public detector has found."""
    boxes = found.boxes[found.scores >= 0.5]
    centres = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    inside = ((centres >= looked[:, :2]) & (centres < looked[:, 2:])).all(axis=2)
    return int((np.any(inside, axis=1) & (iou(boxes, anything).max(axis=1, initial=0) < 0.3)).sum())


def _summary(rows: Sequence[Row], name: str, low: int, high: int) -> dict[str, Any]:
    chosen = [(whole, parts) for of, width, whole, parts in rows if of == name and low <= width < high]
    pairs = [(whole, parts) for whole, parts in chosen if whole is not None and parts is not None]
    errors = [statistics.median(values) for values in zip(*pairs, strict=True)] if pairs else [None, None]
    return {
        "set": name,
        "width": [low, high],
        "faces": len(chosen),
        "whole": sum(whole is not None for whole, _ in chosen),
        "regions": sum(parts is not None for _, parts in chosen),
        "both": len(pairs),
        "errors": errors,
    }


def around(boxes: Floats, times: float) -> Floats:
    """Return squares (n, 4) around boxes, `times` as long as their longer side."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, times / 2 * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)[:, None]
    return np.concatenate([centre - half, centre + half], axis=1)


def street_frames() -> list[Bytes]:
    return [pixels for _, pixels in read_images(shared_folder() / "data" / "clips" / "street-crowd-1080p.mp4")]


def _pictures() -> Iterator[tuple[str, Bytes]]:
    crowds = shared_folder() / "data" / "train" / "crowds"
    with (crowds / "index.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file) if 0 < int(row["faces"]) <= MOST]
    for name in names[::EVERY_PICTURE]:
        yield "crowds", np.asarray(cv2.imread(str(crowds / name)), np.uint8)
    for pixels in street_frames()[::EVERY_FRAME]:
        yield "street", pixels


def random_regions() -> dict[str, int]:
    """Count looks at random regions, those that needed the whole frame, the faces, and those false or cut."""
    detector, closely = Detector(Detect()), Detector(Detect(input_size=CLOSE_INPUT))
    random, counts = np.random.default_rng(1), dict.fromkeys(("looks", "whole", "faces", "false"), 0)
    for pixels in street_frames()[::EVERY_FRAME]:
        both = [one.detect([pixels])[0] for one in (detector, closely)]
        there = np.concatenate([faces.boxes[faces.scores >= 0.2] for faces in both])
        for _ in range(RANDOM):
            side = random.uniform(*RANDOM_SIDES, (random.integers(1, 5), 2))
            corner = random.uniform(0, 1, side.shape) * ((pixels.shape[1], pixels.shape[0]) - side)
            regions = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
            (sight,) = look_at_parts(detector, [pixels], [regions], [NONE])
            counts["looks"] += 1
            if sight is None:
                counts["whole"] += 1
                continue
            boxes = sight.faces.boxes[sight.faces.scores >= 0.5]
            counts["faces"] += len(boxes)
            counts["false"] += int((iou(boxes, there).max(axis=1, initial=0) < 0.5).sum())
    return counts
