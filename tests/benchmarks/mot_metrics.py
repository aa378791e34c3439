"""HOTA, IDF1, MOTA and identity switches of followed boxes.

Everything starts from the IoU of all pairs of one frame, truth against tracks, so the sums are made once and each
measure is a few lines. HOTA is that of Luiten 2021 as TrackEval computes it, IDF1 that of Ristani 2016, MOTA and the
switches those of Bernardin 2008 as py-motmetrics computes them (test_mot_metrics.py compares).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streamer.boxes import iou
from streamer.track.kalman import Doubles, Rows

ALPHAS = np.arange(0.05, 0.99, 0.05)  # IoU from which on a box counts as found
FOUND = 0.5  # the one of IDF1 and MOTA
EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The boxes of one frame and who they are: ids (n,), each once; boxes (n, 4) x1 y1 x2 y2, pixels."""

    ids: NDArray[np.int64]
    boxes: Doubles


@dataclass(frozen=True, slots=True)
class Scores:
    """All but the switches as shares; MOTA may be negative."""

    hota: float
    association: float  # AssA, the part of HOTA that judges the identities
    idf1: float
    mota: float
    switches: int
    purity: float  # of the boxes that are on true ones, those that are on the one that their track is on most


def score(truth: Sequence[Labelled], tracks: Sequence[Labelled]) -> Scores:
    """Compare the same frames of one sequence. Raises ValueError if their numbers differ."""
    pairs = [_Frame(*both) for both in zip(_numbered(truth), _numbered(tracks), strict=True)]
    hota, association = _hota(pairs)
    mota, switches = _clear(pairs)
    return Scores(hota, association, _idf1(pairs), mota, switches, _purity(pairs))


class _Frame:
    """One frame, its ids counted from 0 over the sequence."""

    def __init__(self, truth: tuple[Rows, Doubles], tracks: tuple[Rows, Doubles]) -> None:
        self.truth, self.tracks = truth[0], tracks[0]
        self.iou = iou(truth[1], tracks[1])  # (n, m)


def _numbered(frames: Sequence[Labelled]) -> list[tuple[Rows, Doubles]]:
    known = np.unique(np.concatenate([frame.ids for frame in frames]))
    return [(np.searchsorted(known, frame.ids), frame.boxes) for frame in frames]


def _counts(frames: Sequence[_Frame]) -> tuple[Doubles, Doubles]:
    """In how many frames each true face (n,) and each track (m,) is there."""
    truth, tracks = (np.concatenate(ids).astype(int) for ids in ([f.truth for f in frames], [f.tracks for f in frames]))
    return np.bincount(truth).astype(float), np.bincount(tracks).astype(float)


def _hota(frames: Sequence[_Frame]) -> tuple[float, float]:
    """HOTA and AssA: geometric mean of detection and association, averaged over ALPHAS."""
    of_truth, of_tracks = _counts(frames)
    together = np.zeros((len(of_truth), len(of_tracks)))
    for frame in frames:
        either = frame.iou.sum(axis=0)[None] + frame.iou.sum(axis=1)[:, None] - frame.iou
        together[np.ix_(frame.truth, frame.tracks)] += frame.iou / np.maximum(either, EPSILON)
    alike = together / (of_truth[:, None] + of_tracks[None] - together)
    cells, overlaps = [], []
    for frame in frames:
        left, right = linear_sum_assignment(alike[np.ix_(frame.truth, frame.tracks)] * frame.iou, maximize=True)
        cells.append(frame.truth[left] * len(of_tracks) + frame.tracks[right])
        overlaps.append(frame.iou[left, right])
    cell, overlap = np.concatenate(cells), np.concatenate(overlaps)
    either = of_truth.sum() + of_tracks.sum()
    hotas, associations = [], []
    for alpha in ALPHAS:
        found = cell[overlap >= alpha - EPSILON]
        matches = np.bincount(found, minlength=alike.size).reshape(alike.shape)
        share = matches / np.maximum(of_truth[:, None] + of_tracks[None] - matches, 1)
        association = (matches * share).sum() / max(len(found), 1)
        hotas.append(np.sqrt(len(found) / max(either - len(found), 1) * association))
        associations.append(association)
    return float(np.mean(hotas)), float(np.mean(associations))


def _together(frames: Sequence[_Frame]) -> Doubles:
    """In how many frames each true face (n,) is found by each track (m,)."""
    of_truth, of_tracks = _counts(frames)
    together = np.zeros((len(of_truth), len(of_tracks)))
    for frame in frames:
        together[np.ix_(frame.truth, frame.tracks)] += frame.iou >= FOUND
    return together


def _idf1(frames: Sequence[_Frame]) -> float:
    """F1 of the boxes that carry the right name, under the best one-to-one naming of the tracks."""
    of_truth, of_tracks = _counts(frames)
    together = _together(frames)
    named = together[linear_sum_assignment(together, maximize=True)].sum()
    return float(2 * named / max(of_truth.sum() + of_tracks.sum(), 1))


def _purity(frames: Sequence[_Frame]) -> float:
    together = _together(frames)
    return float(together.max(axis=0, initial=0).sum() / max(together.sum(), 1))


def _clear(frames: Sequence[_Frame]) -> tuple[float, int]:
    """Compute MOTA and switches: a face keeps its track while they overlap; the others are matched again."""
    last: dict[int, int] = {}  # true face: its track when it was last found
    faces = found = false = switches = 0
    for frame in frames:
        overlap = np.where(frame.iou >= FOUND, frame.iou, -1e3)
        columns = {track: column for column, track in enumerate(frame.tracks.tolist())}
        for row, face in enumerate(frame.truth.tolist()):
            column = columns.get(last.get(face, -1))
            if column is not None and overlap[row, column] > 0:
                overlap[row], overlap[:, column] = -1e3, -1e3
                overlap[row, column] = 1e3
        left, right = linear_sum_assignment(overlap, maximize=True)
        real = overlap[left, right] > 0
        for face, track in zip(frame.truth[left[real]].tolist(), frame.tracks[right[real]].tolist(), strict=True):
            switches += last.get(face, track) != track
            last[face] = track
        faces, found, false = faces + len(frame.truth), found + real.sum(), false + len(frame.tracks) - real.sum()
    return float(1 - (faces - found + false + switches) / max(faces, 1)), int(switches)
