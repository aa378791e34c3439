"""Whole clips as the attention sees them: small grey pictures, and what the detector finds in every frame.

The detections of a clip are computed once and kept in the temporary folder, so that policies can be compared quickly.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamer.config import Detect, Track
from streamer.detect.detector import Detector
from streamer.source.file import read_file
from streamer.track.kalman import Doubles
from streamer.track.shot_change import ShotChangeDetector
from streamer.values import LUMA_SIDE, Bytes, Detections, Transition
from tests.benchmarks.mot_data import Sequence

KEPT = Path(tempfile.gettempdir()) / "faceanalytics-attention"


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """The frames of one video in order."""

    name: str
    size: tuple[int, int]  # width, height px
    times: Doubles  # (frames,) s
    lumas: Bytes  # (frames, rows, columns)
    detections: list[Detections]
    cuts: list[bool]  # per frame: a new shot begins


def small_grey(pixels: Bytes) -> Bytes:
    """Reduce a frame (h, w, 3) BGR to its luma, the longer side LUMA_SIDE px."""
    height, width = pixels.shape[:2]
    scale = LUMA_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), size, interpolation=cv2.INTER_AREA))


def load(path: Path, detector: Detector) -> Clip:
    """Read a clip with all its detections, from the temporary folder if they are there."""
    name = hashlib.sha256(path.read_bytes() + detector.model_id.encode()).hexdigest()[:16]
    kept = KEPT / f"{name}.npz"
    if not kept.exists():
        KEPT.mkdir(exist_ok=True)
        partial = kept.with_suffix(".partial.npz")
        np.savez_compressed(partial, allow_pickle=False, **_look_at(path, detector))
        partial.replace(kept)
    with np.load(kept) as file:
        data = dict(file)
    counts = np.cumsum(data["counts"])[:-1]
    columns = (np.split(data[key], counts) for key in ("boxes", "scores", "landmarks"))
    found = [Detections(*rows) for rows in zip(*columns, strict=True)]
    width, height = data["size"].tolist()
    return Clip(path.name, (width, height), data["times"], data["lumas"], found, data["cuts"].tolist())


def _look_at(path: Path, detector: Detector) -> dict[str, Any]:
    times, lumas, found, cuts, size = [], [], [], [], (0, 0)
    shots = ShotChangeDetector(Track().shot_change_levels)
    for frame in read_file(path, "clip", 0):
        times.append(frame.media_time)
        lumas.append(small_grey(frame.pixels))
        found += detector.detect([frame.pixels])
        cuts.append(shots.see(frame.media_time, frame.pixels) in (Transition.CUT, Transition.FADE))
        size = frame.size
    return {
        "size": size,
        "times": np.array(times),
        "lumas": np.stack(lumas),
        "counts": [len(each) for each in found],
        "boxes": np.concatenate([each.boxes for each in found]),
        "scores": np.concatenate([each.scores for each in found]),
        "landmarks": np.concatenate([each.landmarks for each in found]),
        "cuts": cuts,
    }


def detector() -> Detector:
    return Detector(Detect())


def painted(sequence: Sequence) -> Clip:
    """Make a clip of a sequence without pictures: each true face and the body below it are a texture on a still room.

    What moves is then known as it would be from pictures, but for what moves beside the faces.
    """
    width, height = (float(np.concatenate([each.boxes for each in sequence.truth])[:, side].max()) for side in (2, 3))
    random = np.random.default_rng(0)
    rows, columns = round(LUMA_SIDE * height / width), LUMA_SIDE
    room = random.uniform(60, 180, (rows, columns))
    textures: dict[int, Doubles] = {}
    lumas = []
    for each in sequence.truth:
        scene = room + random.normal(0, 1, room.shape)
        for number, box in zip(each.ids.tolist(), each.boxes * (columns / width), strict=True):
            texture = textures.setdefault(number, random.uniform(30, 220, (16, 8)))
            side = box[2] - box[0]
            left, top = round(box[0] - side / 2), round(box[1])
            size = max(1, round(2 * side)), max(1, round(6 * side))
            body = cv2.resize(texture, size, interpolation=cv2.INTER_LINEAR)
            part = scene[max(top, 0) : top + size[1], max(left, 0) : left + size[0]]
            low, first = max(-top, 0), max(-left, 0)
            part[:] = body[low : low + part.shape[0], first : first + part.shape[1]]
        lumas.append(scene.clip(0, 255).astype(np.uint8))
    cuts = [False] * len(lumas)
    size = round(width), round(height)
    return Clip(sequence.name, size, sequence.times.astype(np.float32), np.stack(lumas), sequence.detections, cuts)
