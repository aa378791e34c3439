"""Who a face is, as one vector; how well the crops agree on it; and whether the track has changed persons.

The template is the normalised sum of the embeddings, each weighted by its crop's quality and by its own length, which
grows with how recognisable a face is; crops of one second are averaged first, so that a long still second does not
dominate. Crops that do not resemble the others are left out. When several good crops in a row resemble each other, but
together not what was there before, the tracker has taken one person for another: that is a swap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.aggregate.samples import Doubles, Sample
from streamer.config import Aggregate
from streamer.values import Floats

ROUNDS = 5  # of leaving out, at most
FEWEST = 3  # samples, before any is left out
GOOD_ENOUGH = 0.5  # of the track's best quality: poorer crops do not tell persons apart


@dataclass(frozen=True, slots=True, eq=False)
class TemplateBase:
    """The embeddings that are no longer kept."""

    total: Doubles  # (512,) weighted sum
    agreement: float = 0.0  # sum of weight times cosine to the rest
    weight: float = 0.0  # sum of weights
    samples: int = 0
    outliers: int = 0

    @classmethod
    def empty(cls) -> "TemplateBase":
        return cls(np.zeros(512))


class Template(NamedTuple):
    vector: Floats  # (512,) unit length
    consistency: float | None  # mean cosine of a crop to all others, -1..1; None: there is only one crop
    samples: int  # crops that went in
    outliers: int  # crops that were left out


def estimate_template(settings: Aggregate, base: TemplateBase, samples: Sequence[Sample]) -> Template | None:
    """None if the embeddings cancel each other out, so that they point nowhere."""
    whole = fold_template(settings, base, samples)
    length = float(np.linalg.norm(whole.total))
    if length == 0.0:
        return None
    consistency = whole.agreement / whole.weight if whole.samples > 1 else None
    return Template((whole.total / length).astype(np.float32), consistency, whole.samples, whole.outliers)


def fold_template(settings: Aggregate, base: TemplateBase, samples: Sequence[Sample]) -> TemplateBase:
    """The base with these samples in it, without those that do not resemble the rest."""
    vectors, weights = _weighed(samples)
    kept = np.ones(len(samples), bool)
    cosines = _to_the_rest(base, vectors, weights, kept)
    for _ in range(ROUNDS if base.samples + len(samples) >= FEWEST else 0):
        alike = cosines >= settings.identity_min_cosine
        if np.array_equal(alike, kept) or 2 * (base.samples + np.count_nonzero(alike)) <= base.samples + len(samples):
            break  # it stays like this; or there is no majority that the others could be strangers to
        kept = alike
        cosines = _to_the_rest(base, vectors, weights, kept)
    return TemplateBase(
        total=base.total + (weights * kept) @ vectors,
        agreement=base.agreement + float((weights * kept) @ cosines),
        weight=base.weight + float(weights @ kept),
        samples=base.samples + int(np.count_nonzero(kept)),
        outliers=base.outliers + int(np.count_nonzero(~kept)),
    )


def find_swap(settings: Aggregate, base: TemplateBase, samples: Sequence[Sample], newest: int) -> int | None:
    """The place of the first sample of another person, if the sample at `newest` makes that plain; else None."""
    needed, least = settings.identity_swap_crops, settings.identity_min_cosine
    best = max(one.quality for one in samples)
    good = [place for place, one in enumerate(samples) if one.quality >= GOOD_ENOUGH * best]
    if newest not in good or base.samples + len(good) < 2 * needed:
        return None
    vectors, weights = _weighed(samples)
    at = good.index(newest)
    for size in range(needed, 2 * needed + 1):
        for first in range(max(at - size + 1, 1), min(at, len(good) - size) + 1):
            start, window, known = good[first], good[first : first + size], good[max(first - size, 0) : first]
            if base.samples + first < needed or _agreement(vectors[known]) < least / 2:
                continue  # too little to go by: most of what was there resembles nobody
            if _agreement(vectors[window]) < least:
                continue  # and what came is not one person
            before = base.total + weights[:start] @ vectors[:start]
            after = weights[window] @ vectors[window]
            if after @ before < least * np.linalg.norm(after) * np.linalg.norm(before):
                return _begin(vectors, start, before / np.linalg.norm(before), after / np.linalg.norm(after))
    return None


def _begin(vectors: Doubles, start: int, before: Doubles, after: Doubles) -> int:
    """The first of the samples up to `start` that are more like `after` than like `before`: poor ones are, too."""
    while start > 1 and vectors[start - 1] @ after > vectors[start - 1] @ before:
        start -= 1
    return start


def _agreement(vectors: Doubles) -> float:
    """Mean cosine of any two of them; 1 for one alone."""
    return float((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)].mean()) if len(vectors) > 1 else 1.0


def _weighed(samples: Sequence[Sample]) -> tuple[Doubles, Doubles]:
    """The embeddings (n, 512) and their weights (n,): quality times norm, shared among those of one second."""
    vectors = np.stack([one.embedding for one in samples if one.embedding is not None]).astype(np.float64)
    seconds: NDArray[np.intp] = np.array([one.second for one in samples], np.intp)
    _, which, counts = np.unique(seconds, return_inverse=True, return_counts=True)
    return vectors, np.array([one.weight * one.norm for one in samples]) / counts[which]


def _to_the_rest(base: TemplateBase, vectors: Doubles, weights: Doubles, kept: NDArray[np.bool_]) -> Doubles:
    """The cosine (n,) of each embedding to the sum of the kept ones without itself; 1 where there are no others."""
    own = weights * kept
    total = base.total + own @ vectors
    along = vectors @ total
    length = np.sqrt(np.maximum(total @ total - 2 * own * along + own**2, 0.0))
    cosines = np.divide(along - own, length, out=np.ones(len(own)), where=length > 1e-9 * max(1.0, float(own.sum())))
    return np.clip(cosines, -1.0, 1.0)
