"""The answers of one model about one face, in order of media time: what every estimate is made of.

Answers may come in any order: each finds its place, and estimates see them sorted. Only the newest are kept one by one;
what is older has become part of each estimate's base and cannot change any more.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.values import FaceAnalysis, FaceCrop, Floats

Doubles = NDArray[np.float64]

KEPT = 128  # samples that are kept one by one at most; then the oldest half becomes the base
MIN_QUALITY = 0.01  # a crop of quality 0 still counts a little, so that one analysis always gives an estimate
LOGIT_LIMIT = 4.0  # no single crop speaks louder for or against an attribute (a softmax of 0.982)
SECOND = 1.0  # s: crops of the same second are one look at the face, however many they are


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One analysis of one crop."""

    time: float  # s, media time
    quality: float  # 0..1, of the crop
    age: float | None  # years
    expression: Doubles | None  # (7,) softmax
    attributes: Doubles  # (k,) logits of "present", at most LOGIT_LIMIT
    embedding: Floats | None  # (512,) unit length
    norm: float  # of the embedding before normalising; 0 without one

    @property
    def weight(self) -> float:
        """How much it counts: its quality, but never nothing."""
        return max(self.quality, MIN_QUALITY)

    @property
    def second(self) -> int:
        """Which second of the media time it is from."""
        return int(self.time // SECOND)


def sample_of(crop: FaceCrop, analysis: FaceAnalysis) -> Sample:
    """The sample that an analysis of this crop is."""
    scores = np.clip(analysis.attributes.astype(np.float64), 1e-6, 1 - 1e-6)
    return Sample(
        time=crop.media_time,
        quality=crop.quality.value,
        age=analysis.age,
        expression=None if analysis.expression is None else analysis.expression.astype(np.float64),
        attributes=np.clip(np.log(scores / (1 - scores)), -LOGIT_LIMIT, LOGIT_LIMIT),
        embedding=analysis.embedding,
        norm=analysis.embedding_norm or 0.0,
    )


def place_of(samples: Sequence[Sample], time: float) -> int:
    """Where a sample of this media time (s) belongs: after those of the same time."""
    return bisect_right(samples, time, key=lambda one: one.time)


def foldable(samples: Sequence[Sample]) -> int:
    """How many of the oldest may become the base now: up to the half of KEPT, whole seconds only; 0: not yet."""
    if len(samples) <= KEPT:
        return 0
    half = KEPT // 2
    whole = [place for place in range(1, half + 1) if samples[place].second != samples[place - 1].second]
    return whole[-1] if whole else half


def shares_of_seconds(samples: Sequence[Sample]) -> tuple[Doubles, NDArray[np.intp]]:
    """How much of its second each sample is, (n,) summing to 1 in each second, by quality; and the place at which each
    second begins."""
    weights = np.array([one.weight for one in samples])
    seconds = np.array([one.second for one in samples])
    begins = np.flatnonzero(np.diff(seconds, prepend=seconds[0] - 1))
    counts = np.diff(np.append(begins, len(seconds)))
    return weights / np.repeat(np.add.reduceat(weights, begins), counts), begins
