"""Turned faces and faces that fill the picture: what is found, and how wrong the answers are, before and after.

Portraits are turned clockwise by known angles on a grey canvas: those of dlib-68-landmarks with faces from 60 px on,
by their labels, and portraits of the US Congress, by the landmarks that the detector finds in them upright. *Before* is
one look of the bundled detector, *after* is what images get now (`streamer/detect/stills.py`); cameras and recorded
videos take the same looks, only less often. A face is found if the detector's score is at least 0.5 and its box is
at the right place. It is *good* if there is no reason against its analysis. The landmark error (mean of five, in eye
distances) and the *false* ones (good, but wrong by more than 0.3) are those of good faces. Age is that of the bundled
face model; its error is the difference to the same portrait upright, a mean over the good faces of the Congress, like
the cosine of their embeddings to the upright one.

The second table has faces in pictures of several shapes, by the share of the shorter side that the longer side of the
face fills; beyond 1 the face is cut off. *Others* are boxes with a score of 0.5 at no labelled face: badges and letters
too, and unlabelled people.

The third has upright faces that the roll network must not touch: those whose landmarks change or are called wrong.
UTKFace's validation split and LFW are aligned, with a grey border here; LFW taught the network, the others did not.
The last lines are times on the machine.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from streamer.boxes import iou
from streamer.config import Crop, Detect
from streamer.detect.detector import Detector
from streamer.detect.roll import RollNetwork
from streamer.detect.stills import StillDetector
from streamer.detect.watch import Watch
from streamer.evaluate.labels import read_labels
from streamer.select.align import align
from streamer.select.quality import finish, geometry
from streamer.source.images import read_images
from streamer.values import Bytes, ClockSource, Detections, Floats, Frame
from tests.conftest import shared_folder
from tests.support.turning import close_up, moved, turned
from workers.runtime.engine import Engine
from workers.weights.registry import find

ANGLES = (0, 15, 30, 45, 60, 75, 90, 105, 120, 135, 150, 165, 180)
SHARES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
SIZES = {"square": (800, 800), "landscape": (960, 540), "portrait": (600, 800)}
PORTRAITS, CLOSE_UPS, UPRIGHT = 30, 8, 250
MIN_SCORE, MIN_PX = 0.5, 60
WRONG = 0.3  # eye distances
CLIPS = (
    "clips/head-pose-face-detection-female-and-male.gif",
    "clips/head-pose-face-detection-female.gif",
    "clips/face-demographics-walking-and-pause.gif",
    "clips/asl/book.mkv",
    "clips/stage-cuts.mp4",
)
EVERY = 3  # frames of a clip

Look = Callable[[Bytes], Detections]


def measure() -> dict[str, Any]:
    data = shared_folder() / "data"
    detector = Detector(Detect())
    stills = StillDetector(detector, MIN_SCORE)
    looks: dict[str, Look] = {
        "before": lambda pixels: _from(MIN_SCORE, detector.detect([pixels])[0]),
        "after": lambda pixels: stills.detect([pixels])[0],
    }
    faces = [*_labelled(data), *_congress(data, detector)]
    engine = Engine(find("default"), threads=1)
    return {
        "faces": len(faces),
        "turned": {name: [_turned(faces, angle, look, engine) for angle in ANGLES] for name, look in looks.items()},
        "large": {
            shape: {name: [_large(faces, share, size, look) for share in SHARES] for name, look in looks.items()}
            for shape, size in SIZES.items()
        },
        "upright": _upright(data, detector),
        "milliseconds": _times(detector),
    }


def _from(score: float, found: Detections) -> Detections:
    return found.rows(np.flatnonzero(found.scores >= score))


def _labelled(data: Path) -> list[dict[str, Any]]:
    """Pixels, box and landmarks of each face that is large enough."""
    faces = []
    for label in read_labels(data / "stills" / "dlib-68-landmarks" / "faces.xml", None):
        pixels = np.asarray(cv2.imread(str(label.source)), np.uint8)
        for box, points in zip(label.truth.boxes, label.truth.landmarks, strict=True):
            if box[2] - box[0] >= MIN_PX and np.isfinite(points).all():
                faces.append({"pixels": pixels, "box": box, "landmarks": points, "congress": False})
    return faces


def _congress(data: Path, detector: Detector) -> list[dict[str, Any]]:
    images = list(_images(data / "train" / "congress_portraits.parquet", PORTRAITS))
    found = [detector.detect([pixels])[0] for pixels in images]
    return [
        {"pixels": pixels, "box": one.boxes[0], "landmarks": one.landmarks[0], "congress": True}
        for pixels, one in zip(images, found, strict=True)
        if len(one) and one.scores[0] >= MIN_SCORE
    ]


def _images(path: Path, count: int, split: str | None = None) -> Iterator[Bytes]:
    rows = pq.read_table(path).to_pylist()
    rows = [row for row in rows if split is None or row["split"] == split]
    for index in np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int):
        yield np.asarray(cv2.imdecode(np.frombuffer(rows[index]["image"], np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _turned(faces: list[dict[str, Any]], angle: int, look: Look, engine: Engine) -> dict[str, Any]:
    found = good = 0
    errors: list[float] = []
    crops: list[tuple[Bytes, Bytes]] = []
    for face in faces:
        pixels, matrix = turned(face["pixels"], angle)
        seen = look(pixels)
        row = _at(seen, moved(_oval(face["box"]), matrix))
        if row is None:
            continue
        found += 1
        points = seen.landmarks[row]
        size = pixels.shape[1], pixels.shape[0]
        quality = geometry(float(seen.scores[row]), points, size, Crop(), bool(seen.turned[row]))
        crop = align(pixels, points)
        if quality.reasons or finish(quality, crop, Crop()).reasons:
            continue
        good += 1
        truth = moved(face["landmarks"], matrix)
        errors.append(float(np.linalg.norm(points - truth, axis=1).mean() / np.linalg.norm(truth[1] - truth[0])))
        if face["congress"]:
            crops.append((crop, align(face["pixels"], face["landmarks"])))
    result: dict[str, Any] = {"angle": angle, "found": found / len(faces), "good": good / len(faces)}
    result |= {"error": float(np.mean(errors)) if errors else None}
    result |= {"false": float(np.mean(np.array(errors) > WRONG)) if errors else None}
    if crops:
        now, upright = (engine.analyse(np.stack(side)) for side in zip(*crops, strict=True))
        assert now.age is not None
        assert upright.age is not None
        assert now.embeddings is not None
        assert upright.embeddings is not None
        result |= {
            "age_error": float(np.abs(now.age - upright.age).mean()),
            "cosine": float((now.embeddings * upright.embeddings).sum(axis=1).mean()),
        }
    return result


def _oval(box: Floats) -> Floats:
    """Points (16, 2) around a face."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray((box[:2] + box[2:]) / 2 + circle * (box[2:] - box[:2]) / 2, np.float32)


def _at(seen: Detections, oval: Floats) -> int | None:
    """The face at a place: centres closer than half of the longer side, and sizes alike."""
    low, high = oval.min(axis=0), oval.max(axis=0)
    for row, box in enumerate(seen.boxes):
        near = np.linalg.norm((box[:2] + box[2:] - low - high) / 2) < 0.4 * (high - low).max()
        if near and 0.5 < (box[2:] - box[:2]).max() / (high - low).max() < 1.8:
            return row
    return None


def _large(faces: list[dict[str, Any]], share: float, size: tuple[int, int], look: Look) -> dict[str, Any]:
    chosen = [face for face in faces if face["congress"]][:CLOSE_UPS] + [face for face in faces if not face["congress"]]
    hits = others = 0
    for face in chosen:
        pixels, box = close_up(face["pixels"], tuple(face["box"].tolist()), share, size)
        overlap = iou(look(pixels).boxes, box[None])[:, 0]
        hits += bool((overlap > 0.5).any())
        others += len(overlap) - bool((overlap > 0.5).any())
    return {"share": share, "faces": len(chosen), "hits": hits, "others": others}


def _upright(data: Path, detector: Detector) -> dict[str, Any]:
    sets: dict[str, Iterator[Bytes]] = {
        "UTKFace, validation": _images(data / "train" / "utkface_aligned.parquet", UPRIGHT, "val"),
        "LFW": _images(data / "train" / "lfw_grey_aligned.parquet", UPRIGHT),
        "Congress": _images(data / "train" / "congress_portraits.parquet", UPRIGHT),
    }
    counts = {
        name: _count(map(_bordered if name != "Congress" else _same, some), detector) for name, some in sets.items()
    }
    crowds = (
        np.asarray(cv2.imread(str(path)), np.uint8) for path in sorted((data / "train" / "crowds").glob("*.jpg"))[::4]
    )
    counts["crowds"] = _count(crowds, detector)
    for clip in CLIPS:
        counts[Path(clip).stem] = _count((pixels for _, pixels in list(read_images(data / clip))[::EVERY]), detector)
    return counts


def _same(pixels: Bytes) -> Bytes:
    return pixels


def _bordered(pixels: Bytes) -> Bytes:
    return np.asarray(cv2.copyMakeBorder(pixels, 56, 56, 56, 56, cv2.BORDER_CONSTANT, value=(114, 114, 114)), np.uint8)


def _count(images: Iterator[Bytes], detector: Detector) -> dict[str, int]:
    """Count faces that could be analysed before, those whose landmarks differ now, and those called wrong."""
    watch, faces, different, wrong = Watch(detector), 0, 0, 0
    for number, pixels in enumerate(images):
        plain = detector.detect([pixels])[0]
        plain = plain.rows(np.flatnonzero(plain.scores >= MIN_SCORE))
        frame = Frame("cam", number, 0.0, None, ClockSource.FILE_PTS, 0.0, pixels)  # an epoch of its own
        given = watch.detect([frame])[0]
        for box, points in zip(plain.boxes, plain.landmarks, strict=True):
            if (box[2:] - box[:2]).max() < 20:
                continue
            faces += 1
            same = [row for row in range(len(given)) if np.array_equal(given.landmarks[row], points)]
            different += not same
            wrong += any(given.turned[row] for row in same)
    return {"faces": faces, "different": different, "wrong": wrong}


def _times(detector: Detector) -> dict[str, float]:
    rolls, pixels = RollNetwork(), np.full((720, 1280, 3), 114, np.uint8)
    box = np.array([[600, 300, 700, 430]], np.float32)
    runs: dict[str, Callable[[], object]] = {
        "one look": partial(detector.detect, [pixels]),
        "roll of 1 face": partial(rolls.directions, pixels, box),
        "roll of 8 faces": partial(rolls.directions, pixels, np.repeat(box, 8, axis=0)),
    }
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(25):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn >= 3:
                spent[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in spent.items()}


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    lines = [f"{results['faces']} faces, turned{'before:':>12}{'':>38}after:"]
    heading = f"{'found':>7}{'good':>7}{'error':>7}{'false':>7}{'years':>7}{'cosine':>8}"
    lines.append(f"{'roll':>6}{heading}   {heading}")
    for before, after in zip(results["turned"]["before"], results["turned"]["after"], strict=True):
        lines.append(f"{before['angle']:>6}{_cells(before)}   {_cells(after)}")
    for shape, by_look in results["large"].items():
        lines += ["", f"{shape}: found of {by_look['after'][0]['faces']} +others, by the share of the shorter side"]
        lines.append(f"{'':<7}" + "".join(f"{row['share']:>9.0%}" for row in by_look["after"]))
        for name, rows in by_look.items():
            lines.append(f"{name:<7}" + "".join(f"{row['hits']:>5} +{row['others']:<2}" for row in rows))
    lines += ["", f"{'upright faces':<50}{'faces':>7}{'different':>11}{'called wrong':>14}"]
    for name, row in results["upright"].items():
        lines.append(f"{name:<50}{row['faces']:>7}{row['different']:>11}{row['wrong']:>14}")
    lines += ["", "; ".join(f"{name} {value:.2f} ms" for name, value in results["milliseconds"].items())]
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> str:
    shares = f"{row['found']:>7.0%}{row['good']:>7.0%}"
    error = f"{'-':>7}{'-':>7}" if row["error"] is None else f"{row['error']:>7.2f}{row['false']:>7.0%}"
    age = f"{row['age_error']:>7.1f}{row['cosine']:>8.2f}" if "age_error" in row else f"{'-':>7}{'-':>8}"
    return shares + error + age


if __name__ == "__main__":
    print(table(measure()))
