"""Combines the embeddings of a track into one identity template, and detects when the track has changed persons.

The template is the normalised sum of the embeddings. Each is weighted by the quality of its crop and by its length
before normalising, which grows with the recognisability of the face. Crops of one second share one weight, so that a
second with many crops does not dominate. Crops that do not resemble the others (outliers) are left out.
A swap is detected when several good crops in a row resemble each other but, taken together, not the crops before: the
tracker has taken one person for another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.aggregate.samples import Doubles, Sample
from streamer.config import Aggregate
from streamer.values import Floats

ROUNDS = 5  # maximum number of passes that leave out outliers
MIN_SAMPLES = 3  # with fewer samples none is left out
GOOD_ENOUGH = 0.5  # relative to the track's best quality; poorer crops do not distinguish persons


@dataclass(frozen=True, slots=True, eq=False)
class TemplateBase:
    """The sums over the embeddings that are no longer kept."""

    total: Doubles  # (512,) weighted sum of the embeddings
    agreement: float = 0.0  # sum of weight times cosine to the other crops
    weight: float = 0.0  # sum of the weights
    samples: int = 0  # crops that were used
    outliers: int = 0  # crops that were left out

    @classmethod
    def empty(cls) -> "TemplateBase":
        """Return a base without embeddings."""
        return cls(np.zeros(512))


class Template(NamedTuple):
    """The template and how well the crops agree on it."""

    vector: Floats  # (512,) unit length
    consistency: float | None  # mean cosine of a crop to all others, -1..1; None: only one crop
    samples: int  # crops that were used
    outliers: int  # crops that were left out


def estimate_template(settings: Aggregate, base: TemplateBase, samples: Sequence[Sample]) -> Template | None:
    """Return the template; None if the embeddings cancel each other out and have no direction."""
    combined = fold_template(settings, base, samples)
    length = float(np.linalg.norm(combined.total))
    if length == 0.0:
        return None
    consistency = combined.agreement / combined.weight if combined.samples > 1 else None
    return Template((combined.total / length).astype(np.float32), consistency, combined.samples, combined.outliers)


def fold_template(settings: Aggregate, base: TemplateBase, samples: Sequence[Sample]) -> TemplateBase:
    """Return the base with `samples` added, except those that do not resemble the others."""
    vectors, weights = _weighted_embeddings(samples)
    kept = np.ones(len(samples), bool)
    cosines = _cosines_to_others(base, vectors, weights, kept)
    for _ in range(ROUNDS if base.samples + len(samples) >= MIN_SAMPLES else 0):
        alike = cosines >= settings.identity_min_cosine
        if np.array_equal(alike, kept) or 2 * (base.samples + np.count_nonzero(alike)) <= base.samples + len(samples):
            break  # nothing changes now, or there would be no majority left
        kept = alike
        cosines = _cosines_to_others(base, vectors, weights, kept)
    return TemplateBase(
        total=base.total + (weights * kept) @ vectors,
        agreement=base.agreement + float((weights * kept) @ cosines),
        weight=base.weight + float(weights @ kept),
        samples=base.samples + int(np.count_nonzero(kept)),
        outliers=base.outliers + int(np.count_nonzero(~kept)),
    )


def find_swap(settings: Aggregate, base: TemplateBase, samples: Sequence[Sample], newest: int) -> int | None:
    """Return the index of the first sample of another person, if the sample at `newest` shows a swap; else None."""
    min_crops, min_cosine = settings.identity_swap_crops, settings.identity_min_cosine
    best = max(one.quality for one in samples)
    good = [place for place, one in enumerate(samples) if one.quality >= GOOD_ENOUGH * best]
    if newest not in good or base.samples + len(good) < 2 * min_crops:
        return None
    vectors, weights = _weighted_embeddings(samples)
    at = good.index(newest)
    for size in range(min_crops, 2 * min_crops + 1):
        for first in range(max(at - size + 1, 1), min(at, len(good) - size) + 1):
            start, window, known = good[first], good[first : first + size], good[max(first - size, 0) : first]
            if base.samples + first < min_crops or _agreement(vectors[known]) < min_cosine / 2:
                continue  # too little to compare with, or the crops before do not resemble each other
            if _agreement(vectors[window]) < min_cosine:
                continue  # the crops after are not of one person
            before = base.total + weights[:start] @ vectors[:start]
            after = weights[window] @ vectors[window]
            if after @ before < min_cosine * np.linalg.norm(after) * np.linalg.norm(before):
                return _first_after_swap(vectors, start, before / np.linalg.norm(before), after / np.linalg.norm(after))
    return None


def _first_after_swap(vectors: Doubles, start: int, before: Doubles, after: Doubles) -> int:
    """Move `start` back over the samples that resemble `after` more than `before`, poor ones included."""
    while start > 1 and vectors[start - 1] @ after > vectors[start - 1] @ before:
        start -= 1
    return start


def _agreement(vectors: Doubles) -> float:
    """Return the mean cosine of any two of the unit vectors (n, 512); 1 for a single one."""
    return float((vectors @ vectors.T)[_pairs(len(vectors))].mean()) if len(vectors) > 1 else 1.0


@cache
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of each pair of this many, once: they are asked for several times for each analysis."""
    return np.triu_indices(count, 1)


def _weighted_embeddings(samples: Sequence[Sample]) -> tuple[Doubles, Doubles]:
    """Return the embeddings (n, 512) and their weights (n,): quality times norm, divided by the crops of the second."""
    vectors = np.stack([one.embedding for one in samples if one.embedding is not None]).astype(np.float64)
    seconds: NDArray[np.intp] = np.array([one.second for one in samples], np.intp)
    _, which, counts = np.unique(seconds, return_inverse=True, return_counts=True)
    return vectors, np.array([one.weight * one.norm for one in samples]) / counts[which]


def _cosines_to_others(base: TemplateBase, vectors: Doubles, weights: Doubles, kept: NDArray[np.bool_]) -> Doubles:
    """Return the cosine (n,) of each embedding to the sum of the other kept ones; 1 if there are no others."""
    own = weights * kept
    total = base.total + own @ vectors
    along = vectors @ total
    length = np.sqrt(np.maximum(total @ total - 2 * own * along + own**2, 0.0))
    cosines = np.divide(along - own, length, out=np.ones(len(own)), where=length > 1e-9 * max(1.0, float(own.sum())))
    return np.clip(cosines, -1.0, 1.0)
