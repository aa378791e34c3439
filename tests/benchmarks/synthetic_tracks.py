"""Tracks whose truth is known, every crop analysed: built from images of known persons, or found in real clips.

What the benchmarks of the choice of crops, of split tracks and of quality are made of; the first says how.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamer.config import Detect
from streamer.detect.detector import Detector
from streamer.values import (
    Bytes,
    FaceAnalysis,
    Floats,
    Model,
)
from tests.benchmarks.clip_tracks import CLIPS, clip_tracks
from tests.benchmarks.degraded import SeenFace, seen
from tests.conftest import ROOT, shared_folder
from workers.research.data.face_set import FaceSet, fitted
from workers.research.data.sets import load_sets, open_set
from workers.runtime.engine import Analyses, Engine

FPS, SECONDS = 25, 20
FRAMES = FPS * SECONDS
TRACKS = 40  # of each kind
VERSIONS = 24  # different looks of a face in its track
BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One crop and its answer."""

    seen: SeenFace
    analysis: FaceAnalysis


@dataclass(frozen=True, slots=True, eq=False)
class Story:
    """One track: what it looks like in each frame (None: not usable), and the truth."""

    name: str
    looks: list[Look | None]  # by frame
    age: float | None = None
    template: Floats | None = None
    expressions: list[int | None] | None = None  # by frame; None: nothing is known
    fps: float = FPS


def face_set(name: str) -> FaceSet:
    os.environ.update(FACES=str(shared_folder() / "data" / "train"), TEACHER_OUTPUTS="unused")
    return open_set(name, load_sets(ROOT / "configs" / "train-small.yaml")[name])


def lite_detector() -> Detector:
    return Detector(Detect(weights=str(shared_folder() / "data" / "weights" / "yolov8-lite-t-face.onnx")))


def ages(engine: Engine) -> list[Story]:
    faces, dice = face_set("utkface_val"), np.random.default_rng(1)
    known = faces.labels.age
    assert known is not None
    rows = dice.choice(len(faces), TRACKS, replace=False)
    images = [fitted(faces.images.read(int(row))) for row in rows for _ in range(VERSIONS)]
    looks = _looked(engine, images, seed=1)
    return [
        Story(f"age {place:02}", _walk(dice, looks[place * VERSIONS : (place + 1) * VERSIONS]), age=float(known[row]))
        for place, row in enumerate(rows)
    ]


def identities(engine: Engine, seed: int = 2, count: int = 3) -> list[Story]:
    """Tracks of people who look like this many images of them in turn."""
    faces, dice = face_set("lfw_val"), np.random.default_rng(seed)
    people = faces.labels.identity
    assert people is not None
    names, counts = np.unique(people, return_counts=True)
    chosen = dice.choice(names[counts >= 5], TRACKS, replace=False)
    images, clean = [], []
    for person in chosen:
        rows = dice.permutation(np.flatnonzero(people == person))[:8]
        read = [fitted(faces.images.read(int(row))) for row in rows]
        images += [read[index % count] for index in range(VERSIONS)]
        clean.append(np.stack(read[3:]))
    looks = _looked(engine, images, seed=seed)
    stories = []
    for place, others in enumerate(clean):
        embeddings = engine.analyse(others).embeddings
        assert embeddings is not None
        template = embeddings.mean(axis=0)
        walk = _walk(dice, looks[place * VERSIONS : (place + 1) * VERSIONS])
        stories.append(Story(f"id {place:02}", walk, template=template / np.linalg.norm(template)))
    return stories


def expressions(engine: Engine) -> list[Story]:
    faces, dice = face_set("fer_val"), np.random.default_rng(3)
    labels = faces.labels.expression
    assert labels is not None
    each = 64  # looks of each expression
    rows = np.concatenate([dice.choice(np.flatnonzero(labels == kind), each) for kind in range(7)])
    looks = _looked(engine, [fitted(faces.images.read(int(row))) for row in rows], seed=3, aligned=False)
    stories = []
    for place in range(TRACKS):
        walk: list[Look | None] = []
        truth: list[int | None] = []
        while len(walk) < FRAMES:
            kind, count = int(dice.integers(7)), int(dice.integers(3 * FPS, 8 * FPS))
            some = [looks[kind * each + int(index)] for index in dice.choice(each, 12, replace=False)]
            walk += _walk(dice, some)[:count]
            truth += [kind] * count
        stories.append(Story(f"mood {place:02}", walk[:FRAMES], expressions=truth[:FRAMES]))
    return stories


def clip_stories(engine: Engine) -> list[list[Story]]:
    """The tracks of each clip whose face is usable at some time, each usable crop analysed."""
    clips = [clip_tracks(shared_folder() / "data" / "clips" / name) for name in CLIPS]
    return [stories for name, tracks in zip(CLIPS, clips, strict=True) if (stories := _told(engine, name, *tracks))]


def _told(engine: Engine, name: str, fps: float, tracks: dict[int, dict[int, SeenFace]]) -> list[Story]:
    stories = []
    for number, crops in tracks.items():
        looks: list[Look | None] = [None] * (max(crops) + 1)
        for look in _analysed(engine, list(crops.values()), identity=True):
            looks[look.seen.image] = look
        stories.append(Story(f"{name} {number}", looks, fps=fps))
    return stories


def _walk(dice: np.random.Generator, looks: Sequence[Look | None]) -> list[Look | None]:
    """A track in which the face looks the same for 0.1 to 1 s, then different."""
    walk: list[Look | None] = []
    while len(walk) < FRAMES:
        walk += [looks[int(dice.integers(len(looks)))]] * int(dice.integers(FPS // 10, FPS))
    return walk[:FRAMES]


def _looked(engine: Engine, images: Sequence[Bytes], seed: int, aligned: bool = True) -> list[Look | None]:
    """Each image made worse and analysed; None: not found, or not usable."""
    found = [one for one in seen(images, lite_detector(), seed, aligned=aligned) if not one.quality.reasons]
    looks: list[Look | None] = [None] * len(images)  # without embeddings if several persons are one track here
    for look in _analysed(engine, found, identity=aligned):
        looks[look.seen.image] = look
    return looks


def _analysed(engine: Engine, crops: Sequence[SeenFace], identity: bool) -> Iterator[Look]:
    for first in range(0, len(crops), BATCH):
        some = crops[first : first + BATCH]
        analyses = engine.analyse(np.stack([one.crop for one in some]))
        yield from map(Look, some, _split(engine, analyses, identity))


def _split(engine: Engine, analyses: Analyses, identity: bool) -> Iterator[FaceAnalysis]:
    embeddings, norms = (analyses.embeddings, analyses.norms) if identity else (None, None)
    there = analyses.age is not None, analyses.expression is not None
    model = Model(engine.model_id, *there, (), embeddings is not None)
    for row in range(len(analyses)):
        yield FaceAnalysis(
            model,
            None if analyses.age is None else float(analyses.age[row]),
            None if analyses.expression is None else analyses.expression[row],
            np.zeros(0, np.float32),
            None if embeddings is None else embeddings[row],
            None if norms is None else float(norms[row]),
        )
