"""Estimates the attributes of a face over time from averaged logits, and decides which are present or absent.

The samples of one second are one vote, weighted by the best quality among them. An attribute that cannot change while a
person is in view is the mean of all votes. One that can change (glasses, a hat, a smile) forgets old votes
exponentially, with the time constant in MEMORY_S. A vote is a logit within +-4, so that no single image decides.
A decision needs `attribute_seconds` of evidence, and a mean that is still beyond 0.5 +- `attribute_margin` (as a
probability) when its standard error is subtracted. Otherwise the attribute is UNDECIDED.
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

# s, time constants of the attributes that may change within a track; the others never forget
MEMORY_S = {
    faces_pb2.ATTRIBUTE_SMILING: 3.0,
    faces_pb2.ATTRIBUTE_MOUTH_SLIGHTLY_OPEN: 3.0,
    faces_pb2.ATTRIBUTE_NARROW_EYES: 3.0,
    faces_pb2.ATTRIBUTE_BLURRY: 3.0,
    faces_pb2.ATTRIBUTE_EYEGLASSES: 10.0,
    faces_pb2.ATTRIBUTE_WEARING_HAT: 10.0,
}
MIN_SPREAD = 1.0  # logits, least standard deviation of a vote: a few votes may agree by chance


@dataclass(frozen=True, slots=True, eq=False)
class AttributeBase:
    """The sums over the votes that are no longer kept, as remembered at `time`; each (k,)."""

    weight: Doubles  # sum of the weights
    weighted: Doubles  # sum of weight times logit
    squared: Doubles  # sum of weight times logit squared
    seconds: Doubles  # sum of the squared weight of each second
    time: float = 0.0  # s, media time

    @classmethod
    def empty(cls, count: int) -> "AttributeBase":
        """Return a base without votes for `count` attributes."""
        zeros = np.zeros(count)
        return cls(zeros, zeros, zeros, zeros)


class Attributes(NamedTuple):
    """The estimate of each attribute."""

    scores: Floats  # (k,) 0..1
    presence: tuple[Presence, ...]  # (k,)


def estimate_attributes(
    settings: Aggregate, which: Sequence[int], base: AttributeBase, samples: Sequence[Sample]
) -> Attributes:
    """Estimate the attributes with the indices `which` into the proto's Attribute; there is at least one sample."""
    combined = fold_attributes(which, base, samples)
    mean = combined.weighted / combined.weight
    seconds = combined.weight**2 / combined.seconds
    spread = np.sqrt(np.maximum(combined.squared / combined.weight - mean**2, 0.0) + MIN_SPREAD**2)
    margin = math.log((0.5 + settings.attribute_margin) / (0.5 - settings.attribute_margin))
    decided = (seconds >= settings.attribute_seconds) & (np.abs(mean) - spread / np.sqrt(seconds) >= margin)
    presence = tuple(
        (Presence.PRESENT if logit > 0 else Presence.ABSENT) if clear else Presence.UNDECIDED
        for logit, clear in zip(mean.tolist(), decided.tolist(), strict=True)
    )
    return Attributes((1 / (1 + np.exp(-mean))).astype(np.float32), presence)


def fold_attributes(which: Sequence[int], base: AttributeBase, samples: Sequence[Sample]) -> AttributeBase:
    """Return the base with `samples` added, as remembered at the last of them."""
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
