"""Finds whom of a gallery each of very many faces resembles most: exact, by 8-bit integers first and floats then.

The bounds are those of face_index.py. Here many probes are compared with all vectors by one product, and what the
cosines of each person are lowered by (see gallery.py) is part of the products, by columns of its own, so that no more
vectors are compared again than the bounds ask for. It works in the thread that calls it, and on nothing that live
searches change.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.identity.face_index import ROUNDING, SAMPLE, SIZE, rotation_of
from streamer.identity.gallery import Compared, Doubles, Gallery
from streamer.identity.int8_product import GROUP, LIMIT, ZERO, Int8Product, Int32s
from streamer.values import Bytes, Floats

Rows = NDArray[np.int64]

CHUNK = 8192  # vectors compared at once, a multiple of GROUP
PROBES = 128  # compared at once
TURNED = 4096  # probes turned at once: small products of floats by several threads take longer than they save
EXACTLY = 8192  # pairs compared again at once
COLUMNS = 32  # that lower the products
AWAY = 4.0  # what vectors that are not to be found are lowered by, as far as the columns allow; it is at least 1.9
NOBODY = -1
LEAST = np.iinfo(np.int32).min


class _Chunk(NamedTuple):
    rows: Bytes  # (n, d + COLUMNS) coarse copies
    lowered: Doubles  # (n, 1)


class _Hits(NamedTuple):
    """Vectors that may be found, and for which probe each."""

    rows: Rows
    probes: Rows


class _Batch(NamedTuple):
    start: int  # number of the first probe
    probes: Floats  # (m, 512), at most PROBES
    kept: Floats  # (m, d) q'
    step: float  # value of one unit of their coarse copies


class MassSearch:
    """The people of a gallery as they are now. Not for several threads at once."""

    def __init__(self, gallery: Gallery) -> None:
        self._parts = [_padded(one) for one in gallery.compared() if len(one.owners)]
        self._starts = np.cumsum([0, *(len(one.owners) for one in self._parts)])
        self._owners = np.concatenate([np.zeros(0, np.int64), *(one.owners for one in self._parts)])
        self._product = Int8Product()
        every = max(1, len(self._owners) // SAMPLE)
        sample = np.concatenate([np.zeros((1, SIZE), np.float32), *(_scaled(one, every) for one in self._parts)])
        self._rotation = rotation_of(sample)
        self._step = max(float(np.abs(sample @ self._rotation).max()), 1e-6) / (ZERO - 1)
        self._length = self._inside = self._outside = 0.0  # largest |a|, |e'|, |e''|, as in face_index.py
        self._chunks = [self._encoded(part, at) for part in self._parts for at in range(0, len(part.owners), CHUNK)]
        self._by_owner = np.argsort(self._owners, kind="stable")
        people = np.arange(len(gallery))
        self._first = np.searchsorted(self._owners, people, sorter=self._by_owner)  # in the order of the owners
        self._last = np.searchsorted(self._owners, people, side="right", sorter=self._by_owner) - 1
        self._width = int((self._last - self._first).max(initial=-1)) + 1  # most vectors of a person

    def best(self, probes: Floats | Doubles, without: Rows) -> tuple[Rows, Doubles]:
        """Return for unit templates (n, 512) the places (n,) in the gallery's names of the most similar, and scores.

        `without` (n,): places of the people who are left out, one for each probe; NOBODY: nobody. If nobody is there
        besides, the place is NOBODY and the score -1. Of equal scores the first place is taken.
        """
        places, scores = np.full(len(probes), NOBODY, np.int64), np.full(len(probes), -1.0)
        for batch in self._batches(probes):
            start, gone = batch.start, without[batch.start : batch.start + PROBES]
            near = self._near(batch, gone, None)
            other = self._owners[near.rows] != np.where(gone == NOBODY, NOBODY - 1, gone)[near.probes]
            hits = self._nearly_best(batch.probes, _Hits(near.rows[other], near.probes[other]))
            found, owners = self._exact(batch.probes, hits), self._owners[hits.rows]
            order = np.lexsort((owners, -found, hits.probes))
            numbers, first = np.unique(hits.probes[order], return_index=True)
            places[start + numbers], scores[start + numbers] = owners[order[first]], found[order[first]]
        return places, scores

    def reaching(self, probes: Floats | Doubles, threshold: float) -> Iterator[tuple[Rows, Rows, Doubles]]:
        """Yield numbers of probes, places of people who reach a threshold for them, and scores; some people again."""
        for batch in self._batches(probes):
            hits = self._near(batch, np.full(len(batch.probes), NOBODY), threshold)
            scores = self._exact(batch.probes, hits)
            kept = scores >= threshold
            yield batch.start + hits.probes[kept], self._owners[hits.rows[kept]], scores[kept]

    def scores_of(self, probes: Floats | Doubles, places: Rows) -> Doubles:
        """Return the scores (n,) of unit templates (n, 512) for one person each."""
        found = np.full(len(probes), -np.inf)
        for offset in range(self._width):
            numbers = np.flatnonzero(self._first[places] + offset <= self._last[places])
            rows = self._by_owner[self._first[places[numbers]] + offset]
            found[numbers] = np.maximum(found[numbers], self._exact(probes, _Hits(rows, numbers)))
        return found

    def _batches(self, probes: Floats | Doubles) -> Iterator[_Batch]:
        for start in range(0, len(probes) if len(self._owners) else 0, TURNED):
            some = np.asarray(probes[start : start + TURNED], np.float32)
            kept = some @ self._rotation
            step = max(float(np.abs(kept).max()), 1e-12) / LIMIT
            for chunk in self._chunks:
                _lower(chunk, step * self._step)
            for first in range(0, len(some), PROBES):
                yield _Batch(start + first, some[first : first + PROBES], kept[first : first + PROBES], step)

    def _near(self, batch: _Batch, without: Rows, threshold: float | None) -> _Hits:
        """Return the vectors that reach a threshold, if there is one, else the best for each probe; and a few more."""
        kept, step = batch.kept, batch.step
        units = np.rint(kept / np.float32(step))
        missing = np.linalg.norm(kept - units * np.float32(step), axis=1)
        inside = np.linalg.norm(kept, axis=1)
        outside = np.sqrt(np.maximum(np.linalg.norm(batch.probes, axis=1) ** 2 - inside**2, 0) + ROUNDING)
        unit = step * self._step  # value of one unit of products
        bound = (missing * self._length + inside * self._inside + outside * self._outside + ROUNDING) / unit + LIMIT / 2
        lowering = np.full((COLUMNS, len(kept)), LIMIT, np.int8)
        queries = np.concatenate([units.T.astype(np.int8), lowering])
        found = [self._product(chunk.rows, queries) for chunk in self._chunks]
        if threshold is None:
            least = np.floor(self._best_of_others([maxima for _, maxima in found], without) - 2 * bound)
        else:
            least = np.floor(threshold / unit - bound)
        hits, first = list[_Hits](), 0
        for products, maxima in found:
            hits.append(_taken(products, maxima, least.astype(np.int64), first))
            first += len(products)
        rows, numbers = (np.concatenate(each) for each in zip(*hits, strict=True))
        there = self._owners[rows] != NOBODY
        return _Hits(rows[there], numbers[there])

    def _best_of_others(self, maxima: list[Int32s], without: Rows) -> Rows:
        """Return the largest maximum for each probe, of groups without vectors of whoever is left out for it."""
        together = np.concatenate(maxima)
        (mine,) = np.nonzero(without != NOBODY)
        person = without[mine]
        for offset in range(self._width):
            place = np.minimum(self._first[person] + offset, self._last[person])
            together[self._by_owner[place] // GROUP, mine] = LEAST
        return np.asarray(together.max(axis=0), np.int64)

    def _nearly_best(self, probes: Floats, hits: _Hits) -> _Hits:
        """Return those that may be the best for their probe, by cosines of floats."""
        scores = self._exact(probes, hits, np.float32)
        best = np.full(len(probes), -np.inf)
        np.maximum.at(best, hits.probes, scores)
        kept = scores >= best[hits.probes] - 2 * ROUNDING
        return _Hits(hits.rows[kept], hits.probes[kept])

    def _exact(self, probes: Floats | Doubles, hits: _Hits, kind: type[np.floating[Any]] = np.float64) -> Doubles:
        """Return the score (n,) that each vector gives, by cosines of this kind."""
        scores = np.empty(len(hits.rows))
        for start in range(0, len(scores), EXACTLY):
            rows, numbers = hits.rows[start : start + EXACTLY], hits.probes[start : start + EXACTLY]
            for first, part in zip(self._starts.tolist(), self._parts, strict=False):
                (here,) = np.nonzero((rows >= first) & (rows < first + len(part.owners)))
                mine = rows[here] - first
                others = np.asarray(probes[numbers[here]], kind)
                cosines = np.einsum("nd,nd->n", np.asarray(part.vectors[mine], kind), others)
                scores[start + here] = cosines * part.factors[mine] - part.lowered[mine]
        return scores

    def _encoded(self, part: Compared, start: int) -> _Chunk:
        """Return coarse copies of some vectors, and note how far they are from these."""
        some = slice(start, start + CHUNK)
        vectors = part.vectors[some] * part.factors[some][: len(part.vectors[some]), None]
        kept = np.asarray(vectors, np.float32) @ self._rotation
        units = np.clip(np.rint(kept / np.float32(self._step)), 1 - ZERO, ZERO - 1).astype(np.float32)
        rows = np.full((len(part.owners[some]), kept.shape[1] + COLUMNS), ZERO, np.uint8)
        rows[: len(units), :-COLUMNS] = (units + ZERO).astype(np.uint8)
        rows[part.owners[some] == NOBODY] = ZERO
        units *= np.float32(self._step)
        self._length = max(self._length, _longest(units))
        self._inside = max(self._inside, _longest(kept - units))
        self._outside = max(self._outside, _longest(vectors - kept @ self._rotation.T))
        return _Chunk(rows, part.lowered[some][:, None])


def _lower(chunk: _Chunk, unit: float) -> None:
    """Let the columns lower the products, whose unit has this value, to half of LIMIT units."""
    whole = np.minimum(np.rint(chunk.lowered / (unit * LIMIT)), COLUMNS * (ZERO - 1)).astype(np.int64)
    each, more = np.divmod(whole, COLUMNS)
    chunk.rows[:, -COLUMNS:] = ZERO - (each + (np.arange(COLUMNS) < more)).astype(np.uint8)


def _padded(part: Compared) -> Compared:
    """Return it with owners and so on (not vectors) up to a multiple of GROUP, and nobody's vectors far away."""
    more = -len(part.owners) % GROUP
    owners = np.concatenate([part.owners, np.full(more, NOBODY)])
    lowered = np.where(owners == NOBODY, AWAY, np.concatenate([part.lowered, np.zeros(more)]))
    return Compared(part.vectors, owners, np.concatenate([part.factors, np.ones(more)]), lowered)


def _scaled(part: Compared, every: int) -> Floats:
    """Return some of the vectors, as they are compared."""
    factors = part.factors[: len(part.vectors) : every]
    return np.asarray(part.vectors[::every] * factors[:, None], np.float32)


def _taken(products: Int32s, maxima: Int32s, least: Rows, first: int) -> _Hits:
    """Return the rows whose products reach what is asked for, counted from `first`."""
    groups, probes = np.nonzero(maxima >= least)
    inside = products.reshape(-1, GROUP, products.shape[1])[groups, :, probes]  # (hits, GROUP)
    hit, row = np.nonzero(inside >= least[probes][:, None])
    return _Hits(first + groups[hit] * GROUP + row, probes[hit])


def _longest(vectors: Floats | Doubles) -> float:
    return float(np.linalg.norm(vectors, axis=1).max(initial=0.0))
