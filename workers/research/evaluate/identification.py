"""Build templates of several images (IJB), and search for probes in a gallery."""

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
NOT_ENROLLED = -1  # gallery entry of a probe whose person is not in the gallery


class Templates:
    """Features of templates, accumulated as images arrive, with one row in memory per medium.

    The feature of a template is the sum over its media of the mean feature of each medium (the frames of a video),
    scaled to length 1. The feature of an image is f(x) + f(mirrored x), times the detector's score (insightface,
    N1D1F2).
    """

    def __init__(self, template: Integers, medium: Integers, width: int) -> None:
        """`template` and `medium` (n,) of each image."""
        groups, self._group = np.unique(np.stack([template, medium], 1), axis=0, return_inverse=True)
        self.template = groups[:, 0]  # template of each group, ascending
        self._sums = np.zeros((len(groups), width), np.float32)
        self._counts = np.zeros(len(groups), np.int64)

    def add(self, rows: Integers, features: NDArray[np.floating]) -> None:
        """Add the features (k, width) of the images at these rows, already multiplied by their scores."""
        np.add.at(self._sums, self._group[rows], features.astype(np.float32))
        np.add.at(self._counts, self._group[rows], 1)

    def features(self) -> tuple[Integers, NDArray[np.float32]]:
        """Return the templates that have images, ascending, and their features (templates, width) of length 1."""
        present = self._counts > 0
        means = np.divide(self._sums[present], self._counts[present, None], dtype=np.float32)
        templates, starts = np.unique(self.template[present], return_index=True)
        if not len(starts):
            return templates, means
        sums: Floats = np.add.reduceat(means, starts, axis=0, dtype=np.float64)
        return templates, unit(sums).astype(np.float32)


def pair_scores(features: NDArray[np.floating], first: Integers, second: Integers) -> NDArray[np.float32]:
    """Return the cosines (n,) of rows `first` and `second` of (m, width) unit features, computed in chunks."""
    cosines = np.empty(len(first), np.float32)
    for start in range(0, len(first), CHUNK * 16):
        part = slice(start, start + CHUNK * 16)
        cosines[part] = np.einsum("ij,ij->i", features[first[part]], features[second[part]])
    return cosines


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """The results of a search of probes in a gallery."""

    mated: int  # probes whose person is in the gallery
    others: int  # probes whose person is not
    at_rank: dict[int, float]  # by rank: share of mated probes whose person is at this rank or better, 0..1
    tpir: dict[float, float]  # by FPIR: share of mated probes at rank 1 above the threshold; nan without others


def search(
    gallery: NDArray[np.floating], subjects: Integers, probes: NDArray[np.floating], probe_subjects: Integers
) -> Search:
    """Search every probe (n, width) in the gallery (m, width), which has one entry per subject; all of unit length.

    The threshold of an FPIR is the highest score that at most this share of the other probes exceeds. A mated probe
    counts if its person is at rank 1 and exceeds it. On ties the person ranks last.
    Raises ValueError if the gallery has a subject twice, or no probe is in it.
    """
    order = np.argsort(subjects)
    if len(subjects) == 0 or (np.diff(subjects[order]) == 0).any():
        raise ValueError("a gallery needs one entry per subject, and at least one")
    positions = np.searchsorted(subjects, probe_subjects, sorter=order).clip(max=len(subjects) - 1)
    entry = np.where(subjects[order[positions]] == probe_subjects, order[positions], NOT_ENROLLED)
    is_mated = entry != NOT_ENROLLED
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
    """Return for each probe rank and score of its own entry (undefined without one), and the highest score."""
    count = len(probes)
    rank, own, highest = np.zeros(count, np.int64), np.zeros(count), np.zeros(count)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        scores = probes[part] @ gallery.T
        own[part] = scores[np.arange(len(scores)), entry[part]]
        rank[part] = (scores >= own[part, None]).sum(1)  # including itself
        highest[part] = scores.max(1)
    return rank, own, highest


def _tpir(rank: Integers, own: Floats, others: Floats, fpirs: Sequence[float]) -> dict[float, float]:
    if not len(others):
        return dict.fromkeys(fpirs, float("nan"))
    descending = np.sort(others)[::-1]
    rates = {}
    for fpir in fpirs:
        allowed = int(np.floor(fpir * len(descending) + 1e-9))
        threshold = descending[allowed] if allowed < len(descending) else -np.inf
        rates[fpir] = float(((rank == 1) & (own > threshold)).mean())
    return rates
