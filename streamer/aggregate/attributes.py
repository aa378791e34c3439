"""Attributes over time: averaged logits, and whether they are evidence enough to say yes or no.

Each second of images is one vote, weighted by its best quality. What does not change while a person is there is the
mean of all votes; what may change (glasses, a hat, a smile) forgets old votes, with a memory that fits how long it
lasts. A vote is a logit of at most +-4, so that no single image decides, and a decision needs two things: so many
seconds of evidence, and a mean that lies clear of even by its own standard error. Anything else is UNDECIDED.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faceanalytics.v1 import faces_pb2
from streamer.aggregate.samples import Doubles, Sample, shares_of_seconds
from streamer.config import Aggregate
from streamer.values import Floats, Presence

# s, how long each attribute that may change within a track is remembered
MEMORY_S = {
    faces_pb2.ATTRIBUTE_SMILING: 3.0,
    faces_pb2.ATTRIBUTE_MOUTH_SLIGHTLY_OPEN: 3.0,
    faces_pb2.ATTRIBUTE_NARROW_EYES: 3.0,
    faces_pb2.ATTRIBUTE_BLURRY: 3.0,
    faces_pb2.ATTRIBUTE_EYEGLASSES: 10.0,
    faces_pb2.ATTRIBUTE_WEARING_HAT: 10.0,
}
MIN_SPREAD = 1.0  # logits: votes that agree by chance do not pass for certain


@dataclass(frozen=True, slots=True, eq=False)
class AttributeBase:
    """The votes that are no longer kept, as remembered at `time`; each (k,)."""

    weight: Doubles
    weighted: Doubles  # weight times logit
    squared: Doubles  # weight times logit squared
    seconds: Doubles  # sum of the seconds' squared weights
    time: float = 0.0  # s, media time

    @classmethod
    def empty(cls, count: int) -> "AttributeBase":
        nothing = np.zeros(count)
        return cls(nothing, nothing, nothing, nothing)


class Attributes(NamedTuple):
    scores: Floats  # (k,) 0..1
    presence: tuple[Presence, ...]


def estimate_attributes(
    settings: Aggregate, which: Sequence[int], base: AttributeBase, samples: Sequence[Sample]
) -> Attributes:
    """Of the attributes at these places of the proto's Attribute; there is at least one sample."""
    whole = fold_attributes(which, base, samples)
    mean = whole.weighted / whole.weight
    seconds = whole.weight**2 / whole.seconds
    spread = np.sqrt(np.maximum(whole.squared / whole.weight - mean**2, 0.0) + MIN_SPREAD**2)
    margin = math.log((0.5 + settings.attribute_margin) / (0.5 - settings.attribute_margin))
    decided = (seconds >= settings.attribute_seconds) & (np.abs(mean) - spread / np.sqrt(seconds) >= margin)
    presence = tuple(
        (Presence.PRESENT if logit > 0 else Presence.ABSENT) if clear else Presence.UNDECIDED
        for logit, clear in zip(mean.tolist(), decided.tolist(), strict=True)
    )
    return Attributes((1 / (1 + np.exp(-mean))).astype(np.float32), presence)


def fold_attributes(which: Sequence[int], base: AttributeBase, samples: Sequence[Sample]) -> AttributeBase:
    """The base with these samples in it, as remembered at the last of them."""
    memory = np.array([MEMORY_S.get(faces_pb2.Attribute.ValueType(place + 1), math.inf) for place in which])
    times = np.array([one.time for one in samples])
    shares, begins = shares_of_seconds(samples)
    best = np.maximum.reduceat(np.array([one.weight for one in samples]), begins)
    votes = shares * np.repeat(best, np.diff(np.append(begins, len(times))))
    weights = votes[:, None] * np.exp((times - times[-1])[:, None] / memory)  # (n, k)
    logits = np.stack([one.attributes for one in samples])
    kept = np.exp((base.time - times[-1]) / memory)
    return AttributeBase(
        weight=base.weight * kept + weights.sum(0),
        weighted=base.weighted * kept + (weights * logits).sum(0),
        squared=base.squared * kept + (weights * logits**2).sum(0),
        seconds=base.seconds * kept**2 + (np.add.reduceat(weights, begins, axis=0) ** 2).sum(0),
        time=float(times[-1]),
    )
