"""Defines a sample, one analysis of one face as the estimates use it, and operations on lists of samples.

Lists are in order of media time, whatever order the answers arrive in. Only the newest samples of a track are kept;
older ones are folded into the base of each estimate, where they no longer change.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.aggregate.covering import cover
from streamer.values import FaceAnalysis, FaceCrop, Floats

Doubles = NDArray[np.float64]

KEPT = 128  # maximum number of samples kept; beyond it the oldest half is folded
MIN_QUALITY = 0.01  # weight of a crop of quality 0: above 0, so that one analysis always gives an estimate
LOGIT_LIMIT = 4.0  # limit of a crop's evidence for or against an attribute (a softmax of 0.982)
SECOND = 1.0  # s, crops of the same second count as one look at the face


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
    weakest: str = ""  # the factor of the quality that reduces it most; empty: unknown
    inside: float = 1.0  # 0..1, share of the crop inside the frame
    cover: float | None = None  # how much less the mouth has the colour of skin, see covering.py; None: unknown

    @property
    def weight(self) -> float:
        """The weight in estimates: the quality, at least MIN_QUALITY."""
        return max(self.quality, MIN_QUALITY)

    @property
    def second(self) -> int:
        """The number of the second of media time that the crop is from."""
        return int(self.time // SECOND)


def sample_of(crop: FaceCrop, analysis: FaceAnalysis) -> Sample:
    """Return the sample of an analysis."""
    factors = crop.quality.factors
    scores = np.clip(analysis.attributes.astype(np.float64), 1e-6, 1 - 1e-6)
    return Sample(
        time=crop.media_time,
        quality=crop.quality.value,
        age=analysis.age,
        expression=None if analysis.expression is None else analysis.expression.astype(np.float64),
        attributes=np.clip(np.log(scores / (1 - scores)), -LOGIT_LIMIT, LOGIT_LIMIT),
        embedding=analysis.embedding,
        norm=analysis.embedding_norm or 0.0,
        weakest=min(factors, key=factors.__getitem__) if factors else "",
        inside=factors.get("inside", 1.0),
        cover=cover(crop.pixels) if crop.pixels.any() else None,  # joined tracks do not keep pixels
    )


def place_of(samples: Sequence[Sample], time: float) -> int:
    """Return the index at which to insert a sample of a media time (s): after those of the same time."""
    return bisect_right(samples, time, key=lambda one: one.time)


def foldable(samples: Sequence[Sample]) -> int:
    """Return how many of the oldest samples to fold now, 0 unless there are more than KEPT.

    It is at most half of KEPT, and seconds are not divided unless one is longer than that.
    """
    if len(samples) <= KEPT:
        return 0
    half = KEPT // 2
    whole = [place for place in range(1, half + 1) if samples[place].second != samples[place - 1].second]
    return whole[-1] if whole else half


def shares_of_seconds(samples: Sequence[Sample]) -> tuple[Doubles, NDArray[np.intp]]:
    """Return the share (n,) of each sample in its second, by weight, and the index at which each second begins.

    The shares of one second sum to 1.
    """
    weights = np.array([one.weight for one in samples])
    seconds = np.array([one.second for one in samples])
    begins = np.flatnonzero(np.diff(seconds, prepend=seconds[0] - 1))
    counts = np.diff(np.append(begins, len(seconds)))
    return weights / np.repeat(np.add.reduceat(weights, begins), counts), begins
