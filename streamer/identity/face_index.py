"""Finds the vectors most similar to a probe among many: exact, by 8-bit integers first and floats for what is left.

A coarse copy of each vector has fewer dimensions (of a rotation that keeps nearly all of its length) and 8 bits for
each. The error of a coarse cosine is bounded: with x = a + e and q = b + f, where a and b are the coarse parts in the
kept dimensions, q.x = b.a + f.a + q.e, so |q.x - b.a| <= |f||a| + |q'||e'| + |q''||e''| (' kept, '' left out
dimensions). What can be among the best by this bound is compared again without the error f, and what is left then by
its floats. So nothing is missed.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamer.identity.int8_product import GROUP, LIMIT, ZERO, Int8Product, Int8s, Int32s
from streamer.values import Floats

Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

SIZE = 512  # of a vector
BLOCK = 8192  # vectors; their coarse copies fit into the cache of a core
COARSE_FROM = 20_000  # with fewer vectors, floats alone are as fast
SAMPLE = 20_000  # vectors from which the rotation is learnt
LEFT_OUT = 0.02  # largest length outside of the kept dimensions, for 999 of 1000 vectors of the sample
PROBES = 32  # compared at once
ROUNDING = 1e-5  # largest error of a cosine of floats
NOTHING = np.iinfo(np.int32).min  # product of a row without a vector
THREADS = min(8, len(os.sched_getaffinity(0)))


class Coarse(NamedTuple):
    """Turns vectors into their coarse copies."""

    rotation: Floats  # (512, d) orthonormal columns
    step: float  # value of one unit of a coarse copy


class _Block:
    """Up to BLOCK vectors."""

    def __init__(self) -> None:
        self.vectors = np.zeros((BLOCK, SIZE), np.float32)
        self.ids = np.zeros(BLOCK, np.int64)
        self.count = 0
        self.rows = np.zeros((0, 0), np.uint8)  # (BLOCK, d) coarse copies; empty: not made
        self.length = self.inside = self.outside = 0.0  # largest |a|, |e'|, |e''| since it was empty

    def encode(self, coarse: Coarse, first: int, vectors: Floats) -> None:
        """Make the coarse copies of the vectors (n, 512) from row `first` to the last."""
        if first == 0 or not self.rows.size:
            self.rows = np.full((BLOCK, coarse.rotation.shape[1]), ZERO, np.uint8)
            self.length = self.inside = self.outside = 0.0
            first = 0
        kept = vectors @ coarse.rotation
        units = np.clip(np.rint(kept / np.float32(coarse.step)), 1 - ZERO, ZERO - 1).astype(np.float32)
        self.rows[first : self.count] = (units + ZERO).astype(np.uint8)
        units *= np.float32(coarse.step)
        self.length = max(self.length, _longest(units))
        self.inside = max(self.inside, _longest(kept - units))
        self.outside = max(self.outside, _longest(vectors - kept @ coarse.rotation.T))


class _Probes(NamedTuple):
    """Up to PROBES probes in coarse form; the arrays have a row, or a column, for each."""

    kept: Floats  # (m, d) q'
    units: Int8s  # (d, m) b
    step: Doubles  # (m,) value of one unit
    missing: Doubles  # |f|
    inside: Doubles  # |q'|
    outside: Doubles  # |q''|


class FaceIndex:
    """Unit vectors (512,) with an id each. Not for several threads at once; a search uses threads of its own."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._count = 0
        self._coarse: Coarse | None = None
        self._learnt_from = 0  # number of vectors when the rotation was learnt
        self._product: Int8Product | None = None
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, ids: Rows, vectors: Floats) -> None:
        """Add vectors (n, 512) with new ids (n,). Raises ValueError if one is not of unit length, or an id is known."""
        lengths = np.linalg.norm(vectors, axis=1)
        if vectors.shape != (len(ids), SIZE) or not np.all(np.abs(lengths - 1) < 1e-3):
            raise ValueError(f"expected {len(ids)} vectors of {SIZE} values and length 1")
        known = any(np.isin(ids, block.ids[: block.count]).any() for block in self._blocks)
        if known or len(np.unique(ids)) < len(ids):
            raise ValueError("an id is used twice")
        start = 0
        while start < len(ids):
            if not self._blocks or self._blocks[-1].count == BLOCK:
                self._blocks.append(_Block())
            block = self._blocks[-1]
            first, taken = block.count, min(BLOCK - block.count, len(ids) - start)
            some = np.asarray(vectors[start : start + taken], np.float32)
            if len(block.vectors):
                block.vectors[first : first + taken] = some
            block.ids[first : first + taken] = ids[start : start + taken]
            block.count += taken
            start += taken
            if self._coarse is not None:
                block.encode(self._coarse, first, some)
        self._count += len(ids)

    def remove(self, ids: Rows) -> int:
        """Remove the vectors with these ids, wipe them, and return how many there were."""
        removed = 0
        for block in list(reversed(self._blocks)):  # what fills a gap, the last vector of all, then stays
            gone = np.flatnonzero(np.isin(block.ids[: block.count], ids))
            for row in gone[::-1].tolist():
                removed += 1
                self._move_last_to(block, row)
        return removed

    def search(self, probes: Floats, count: int) -> tuple[Rows, Doubles]:
        """Return the ids and cosines (m, k) of the vectors most similar to m unit probes (m, 512), best first.

        k is `count`, or the number of vectors if that is less. Equal cosines are in the order of their ids.
        """
        kept = min(count, self._count)
        ids, cosines = np.zeros((len(probes), kept), np.int64), np.zeros((len(probes), kept))
        if kept <= 0:
            return ids[:, :0], cosines[:, :0]
        self._learn()
        for start in range(0, len(probes), PROBES):
            some = np.ascontiguousarray(probes[start : start + PROBES], np.float32)
            candidates = self._by_floats(some, kept) if self._coarse is None else self._by_bytes(some, kept)
            end = start + len(some)
            ids[start:end], cosines[start:end] = self._best(probes[start:end], candidates, kept)
        return ids, cosines

    def wipe(self, ids: Rows) -> None:
        """Overwrite the vectors with these ids by zeros, which resemble nobody. Others may search meanwhile."""
        for block in self._blocks:
            rows = np.flatnonzero(np.isin(block.ids[: block.count], ids))
            block.vectors[rows] = 0
            if block.rows.size:
                block.rows[rows] = ZERO

    def _move_last_to(self, block: _Block, row: int) -> None:
        """Put the last vector of all in place of one that is removed, so that only the last block has free rows."""
        last = self._blocks[-1]
        end = last.count - 1
        if last is not block or row != end:
            block.ids[row] = last.ids[end]
            if len(block.vectors):
                block.vectors[row] = last.vectors[end]
            if self._coarse is not None:
                block.rows[row] = last.rows[end]
                block.length = max(block.length, last.length)
                block.inside = max(block.inside, last.inside)
                block.outside = max(block.outside, last.outside)
        if len(last.vectors):
            last.vectors[end] = 0
        if self._coarse is not None:
            last.rows[end] = ZERO
        last.count -= 1
        self._count -= 1
        if last.count == 0:
            self._blocks.pop()

    def _learn(self) -> None:
        """Learn the rotation when there are enough vectors, and again each time their number has doubled."""
        if self._count < COARSE_FROM or self._count < 2 * self._learnt_from:
            return
        every = max(1, self._count // SAMPLE)
        sample = np.concatenate([block.vectors[: block.count : every] for block in self._blocks])
        rotation = rotation_of(sample)
        largest = max(float(np.abs(block.vectors[: block.count] @ rotation).max()) for block in self._blocks)
        self._coarse = Coarse(rotation, max(largest, 1e-6) / (ZERO - 1))
        self._learnt_from = self._count
        for block in self._blocks:
            block.encode(self._coarse, 0, block.vectors[: block.count])

    def _by_floats(self, probes: Floats, count: int) -> list[Rows]:
        """Return for each probe the places of all vectors that may be among the best `count`."""
        found = np.concatenate([probes @ block.vectors[: block.count].T for block in self._blocks], axis=1)
        least = np.partition(found, -count, axis=1)[:, -count]
        return [np.flatnonzero(row >= floor - 2 * ROUNDING) for row, floor in zip(found, least, strict=True)]

    def _by_bytes(self, probes: Floats, count: int) -> list[Rows]:
        """Return the same, found by the coarse copies."""
        assert self._coarse is not None
        if self._pool is None or self._product is None:
            self._pool, self._product = ThreadPoolExecutor(THREADS, "search"), Int8Product()
        coarse = coarse_probes(probes, self._coarse)
        length, inside, outside = (max(getattr(block, name) for block in self._blocks) for name in _BOUNDS)
        bound = coarse.missing * length + coarse.inside * inside + coarse.outside * outside + ROUNDING
        slack = np.ceil(2 * bound / (coarse.step * self._coarse.step)).astype(np.int64)  # (m,) in units of products
        scans = [_Scan(self._product, coarse.units, slack, count) for _ in range(THREADS)]
        numbered = iter(enumerate(self._blocks))  # each thread takes the next one, so that all end at the same time
        list(self._pool.map(lambda scan: scan.run(numbered), scans))
        without_f = coarse.inside * inside + coarse.outside * outside + ROUNDING
        return self._closer(coarse.kept, _joined(scans, slack, count), without_f, count)

    def _closer(self, kept: Floats, candidates: Sequence[Rows], bounds: Doubles, count: int) -> list[Rows]:
        """Return those of the places that may be among the best `count`, by q'.a, whose error is at most a bound."""
        assert self._coarse is not None
        found = []
        taken = self._each(candidates, "rows")
        for probe, places, some, bound in zip(kept, candidates, taken, bounds, strict=True):
            cosines = (some.astype(np.float32) - np.float32(ZERO)) @ probe * self._coarse.step
            least = np.partition(cosines, -count)[-count] - 2 * bound
            found.append(places[cosines >= least])
        return found

    def _each(self, candidates: Sequence[Rows], name: str) -> list[Any]:
        """Return the rows at the places of each of the candidates, all taken in one pass over the blocks."""
        ends = np.cumsum([len(places) for places in candidates])[:-1]
        return np.split(self._taken(np.concatenate(candidates), name), ends)

    def _taken(self, places: Rows, name: str) -> Any:
        """Return the rows at these places of one of the blocks' arrays."""
        blocks, rows = np.divmod(places, BLOCK)
        found = np.empty((len(places), *getattr(self._blocks[0], name).shape[1:]), getattr(self._blocks[0], name).dtype)
        order = np.argsort(blocks, kind="stable")
        numbers, starts = np.unique(blocks[order], return_index=True)
        for number, these in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            found[these] = getattr(self._blocks[number], name)[rows[these]]
        return found

    def _best(self, probes: Floats, candidates: Sequence[Rows], count: int) -> tuple[Rows, Doubles]:
        """Return ids and cosines (m, count) of the best of the places of each probe."""
        ids, best = np.zeros((len(probes), count), np.int64), np.zeros((len(probes), count))
        both = zip(self._each(candidates, "vectors"), self._each(candidates, "ids"), strict=True)
        for row, (vectors, names) in enumerate(both):
            cosines = (vectors.astype(np.float64) * probes[row].astype(np.float64)).sum(axis=1)
            order = np.lexsort((names, -cosines))[:count]
            ids[row], best[row] = names[order], cosines[order]
        return ids, best


_BOUNDS = ("length", "inside", "outside")


class _Scan:
    """Passes over some of the blocks with all probes, in one thread, and keeps what may be among the best."""

    def __init__(self, product: Int8Product, units: Int8s, slack: Rows, count: int) -> None:
        self._product, self._units, self._slack = product, units, slack
        self.best = np.full((count, units.shape[1]), NOTHING, np.int64)  # products, of groups so far
        self.hits: list[tuple[Rows, Rows, Rows]] = []  # place of the vector, number of the probe, product

    def run(self, blocks: Iterator[tuple[int, _Block]]) -> None:
        """Compare all probes with all vectors of the numbered blocks that are left."""
        for number, block in blocks:
            padded = -(-block.count // GROUP) * GROUP
            products, maxima = self._product(block.rows[:padded], self._units)
            if padded > block.count:
                products[block.count :] = NOTHING
                maxima[-1] = products[-GROUP:].max(axis=0)
            self._keep_best(maxima)
            self._take(number, products, maxima)

    def _keep_best(self, maxima: Int32s) -> None:
        """Raise the best products so far: each group has one vector that reaches its maximum."""
        better = np.flatnonzero((maxima > self.best[0]).any(axis=0))
        if len(better):
            count = len(self.best)
            both = np.concatenate([self.best[:, better], maxima[:, better]])
            self.best[:, better] = np.partition(both, -count, axis=0)[-count:]

    def _take(self, number: int, products: Int32s, maxima: Int32s) -> None:
        # rows behind the last vector have NOTHING, also while fewer groups than `count` were seen
        least = np.maximum(self.best[0] - self._slack, NOTHING + 1)
        groups, probes = np.nonzero(maxima >= least)
        if not len(groups):
            return
        inside = products.reshape(-1, GROUP, products.shape[1])[groups, :, probes]  # (hits, GROUP)
        hit, row = np.nonzero(inside >= least[probes][:, None])
        places = number * BLOCK + groups[hit] * GROUP + row
        self.hits.append((places, probes[hit], inside[hit, row].astype(np.int64)))


def _joined(scans: list[_Scan], slack: Rows, count: int) -> list[Rows]:
    """Return for each probe the places that may be among the best of all scans."""
    together = np.concatenate([scan.best for scan in scans])
    least = np.partition(together, -count, axis=0)[-count] - slack
    hits = [hit for scan in scans for hit in scan.hits]
    places, probes, products = (np.concatenate(each) for each in zip(*hits, strict=True))
    kept = products >= least[probes]
    places, probes = places[kept], probes[kept]
    order = np.argsort(probes, kind="stable")
    ends = np.searchsorted(probes[order], np.arange(1, len(slack)))
    return np.split(places[order], ends)


def rotation_of(sample: Floats) -> Floats:
    """Return a rotation that keeps nearly all of the vectors (n, 512) in the fewest dimensions, a multiple of 32."""
    _, axes = np.linalg.eigh(sample.T.astype(np.float64) @ sample)
    rotation = np.ascontiguousarray(axes[:, ::-1], np.float32)
    rotated = sample @ rotation
    outside = np.cumsum(rotated[:, ::-1] ** 2, axis=1)[:, ::-1]  # (n, 512) squared length from a dimension on
    few = np.quantile(outside, 0.999, axis=0) <= LEFT_OUT**2
    kept = min(SIZE, -(-int(np.argmax(few) if few.any() else SIZE) // 32) * 32) or SIZE
    # turned at random, the kept dimensions are about equally long, so that one step suits all of them
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((kept, kept)))
    return np.ascontiguousarray(rotation[:, :kept] @ turn.astype(np.float32))


def coarse_probes(probes: Floats, coarse: Coarse) -> _Probes:
    """Return probes (m, 512) in coarse form."""
    rotated = probes @ coarse.rotation
    kept = rotated.astype(np.float64)
    step = np.maximum(np.abs(kept).max(axis=1), 1e-12) / LIMIT
    units = np.rint(kept / step[:, None])
    outside = np.linalg.norm(probes - kept @ coarse.rotation.T.astype(np.float64), axis=1)
    missing = np.linalg.norm(kept - units * step[:, None], axis=1)
    whole = np.ascontiguousarray(units.T.astype(np.int8))
    return _Probes(rotated, whole, step, missing, np.linalg.norm(kept, axis=1), outside)


def _longest(vectors: Floats | Doubles) -> float:
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max(initial=0.0)))
