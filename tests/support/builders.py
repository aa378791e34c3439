"""Small values for tests."""

from dataclasses import fields, replace
from typing import Any

import numpy as np

from streamer.values import (
    ClockSource,
    EndReason,
    Evidence,
    FaceAnalysis,
    FaceCrop,
    Model,
    Quality,
    Sighting,
    TrackEnd,
    TrackEstimates,
    TrackKey,
    TrackState,
    TrackSummary,
)


def key(name: str = "a", camera: str = "cam", number: int = 1) -> TrackKey:
    return TrackKey(name, camera, number)


def crop(track: str = "a", time: float = 0.0, quality: float = 0.5, received: float = 0.0, fill: int = 0) -> FaceCrop:
    pixels = np.full((112, 112, 3), fill, np.uint8)
    return FaceCrop(key(track), time, received, 0.9, Quality(quality), pixels)


def end(track: str = "a", reason: EndReason = EndReason.TIMEOUT, time: float = 0.0) -> TrackEnd:
    return TrackEnd(key(track), reason, time, confirmed=True)


def model(name: str = "test", **changes: Any) -> Model:
    """A model with all outputs."""
    return replace(Model(name, age=True, expression=True, attributes=tuple(range(40)), identity=True), **changes)


# outputs of a small model: of the attributes only `gender`
SMALL = Model("small", age=True, expression=True, attributes=(4,), identity=True, licence="research only")


def analysis(age: float = 30.0, expression: int = 6) -> FaceAnalysis:
    embedding = np.zeros(512, np.float32)
    embedding[0] = 1
    shares = np.zeros(7, np.float32)
    shares[expression] = 1
    return FaceAnalysis(model(), age, shares, np.full(40, 0.25, np.float32), embedding, 20.0)


def evidence(samples: int = 2, best_quality: float = 0.5, last_inferred: float = 1.5, revision: int = 1) -> Evidence:
    return Evidence(samples, best_quality, last_inferred, revision)


def split_key(old: TrackKey) -> TrackKey:
    """The key of what is split off a track."""
    return replace(old, id=f"{old.id}+", number=old.number + 1000)


def summary(track: str = "t1", revision: int = 1, camera: str = "door", **changes: Any) -> TrackSummary:
    """A summary in which the fields named in `changes` differ, wherever they are: its own, those of the last sighting
    (`time`, `captured_at`, `box`, ...) or of the estimates (`age`, `samples`, ...)."""

    def of(kind: type) -> dict[str, Any]:
        return {each.name: changes.pop(each.name) for each in fields(kind) if each.name in changes}

    box = np.array([0, 0, 10, 10], np.float32)
    made = TrackSummary(
        key=TrackKey(track, camera, 1),
        epoch=0,
        state=TrackState.CONFIRMED,
        first_seen=0.0,
        first_captured_at=None,
        clock_source=ClockSource.FILE_PTS,
        last=replace(Sighting(1.0, None, box, None, (640, 480), 0.9), **of(Sighting)),
        quality=0.0,
        reasons=(),
        estimates=TrackEstimates(**of(TrackEstimates)),
        revision=revision,
        split_from="",
        final=False,
        end_reason=None,
        received=0.0,
    )
    return replace(made, **changes)
