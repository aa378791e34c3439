"""Who is it: templates of several images (IJB), and the search for a person among many."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.research.evaluate.verification import unit

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
CHUNK = 1024  # probes at once
RANKS = (1, 5)
FPIRS = (0.01, 0.1)
NOBODY = -1  # subject of a probe that is not in the gallery


class Templates:
    """Features of templates, summed while the images come; no more than one row per medium is held.

    A template's feature: the mean of its images' features within each medium (a video's frames), their sum over the
    media, at length 1. An image's feature is f(x) + f(mirrored x), times the detector's score (insightface, N1D1F2).
    """

    def __init__(self, template: Integers, medium: Integers, width: int) -> None:
        """`template` and `medium` (n,): of each image."""
        groups, self._group = np.unique(np.stack([template, medium], 1), axis=0, return_inverse=True)
        self.template = groups[:, 0]  # of each group, ascending
        self._sums = np.zeros((len(groups), width), np.float32)
        self._counts = np.zeros(len(groups), np.int64)

    def add(self, rows: Integers, features: NDArray[np.floating]) -> None:
        """The features (k, width) of the images at these rows, already times their scores."""
        np.add.at(self._sums, self._group[rows], features.astype(np.float32))
        np.add.at(self._counts, self._group[rows], 1)

    def features(self) -> tuple[Integers, NDArray[np.float32]]:
        """The templates that have images, ascending, and their features (templates, width) at length 1."""
        seen = self._counts > 0
        means = np.divide(self._sums[seen], self._counts[seen, None], dtype=np.float32)
        templates, starts = np.unique(self.template[seen], return_index=True)
        if not len(starts):
            return templates, means
        sums: Floats = np.add.reduceat(means, starts, axis=0, dtype=np.float64)
        return templates, unit(sums).astype(np.float32)


def pair_scores(features: NDArray[np.floating], first: Integers, second: Integers) -> NDArray[np.float32]:
    """(n,) cosines of the rows `first` and `second` of (m, width) unit features, a few pairs at a time."""
    found = np.empty(len(first), np.float32)
    for start in range(0, len(first), CHUNK * 16):
        part = slice(start, start + CHUNK * 16)
        found[part] = np.einsum("ij,ij->i", features[first[part]], features[second[part]])
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What a search of probes in a gallery finds."""

    mated: int  # probes whose person is in the gallery
    others: int  # probes whose person is not
    at_rank: dict[int, float]  # share of mated probes whose person is among the nearest so many, 0..1
    tpir: dict[float, float]  # by FPIR: share of mated probes found first and above the threshold; nan without others


def search(
    gallery: NDArray[np.floating], subjects: Integers, probes: NDArray[np.floating], probe_subjects: Integers
) -> Search:
    """Look for every probe (n, width) in the gallery (m, width), both of unit length, one entry per subject.

    The threshold of an FPIR is the highest score that at most so large a share of the probes that are not in the
    gallery exceeds; a mated probe counts if its person comes first and exceeds it. On ties a person comes last.
    Raises ValueError if the gallery has a subject twice or no probe is in it.
    """
    order = np.argsort(subjects)
    if len(subjects) == 0 or (np.diff(subjects[order]) == 0).any():
        raise ValueError("a gallery has one entry for each subject, and at least one")
    places = np.searchsorted(subjects, probe_subjects, sorter=order).clip(max=len(subjects) - 1)
    entry = np.where(subjects[order[places]] == probe_subjects, order[places], NOBODY)
    is_mated = entry != NOBODY
    if not is_mated.any():
        raise ValueError("none of the probes is in the gallery")
    rank, own, highest = _compare(gallery, probes, entry)
    return Search(
        mated=int(is_mated.sum()),
        others=int((~is_mated).sum()),
        at_rank={limit: float((rank[is_mated] <= limit).mean()) for limit in RANKS},
        tpir=_tpir(rank[is_mated], own[is_mated], highest[~is_mated], FPIRS),
    )


def _compare(
    gallery: NDArray[np.floating], probes: NDArray[np.floating], entry: Integers
) -> tuple[Integers, Floats, Floats]:
    """Of each probe: rank and score of its own entry (of no meaning without one), and the highest score."""
    count = len(probes)
    rank, own, highest = np.zeros(count, np.int64), np.zeros(count), np.zeros(count)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        scores = probes[part] @ gallery.T
        own[part] = scores[np.arange(len(scores)), entry[part]]
        rank[part] = (scores >= own[part, None]).sum(1)  # itself included
        highest[part] = scores.max(1)
    return rank, own, highest


def _tpir(rank: Integers, own: Floats, others: Floats, fpirs: Sequence[float]) -> dict[float, float]:
    if not len(others):
        return dict.fromkeys(fpirs, float("nan"))
    falling = np.sort(others)[::-1]
    found = {}
    for fpir in fpirs:
        allowed = int(np.floor(fpir * len(falling) + 1e-9))
        threshold = falling[allowed] if allowed < len(falling) else -np.inf
        found[fpir] = float(((rank == 1) & (own > threshold)).mean())
    return found
