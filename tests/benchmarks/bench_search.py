"""Exact search among a million references: time for 32 probes at once and for one, against numpy's product.

`compact`: vectors in 128 dimensions, as those of the bundled model are to 99.99 % of their length; `spread`: in
512, the worst case for the coarse copies. Five references for each of 200,000 people; half of the probes are pictures
of people who are there, half of strangers. Both find the best three; numpy by one product of floats and a partition.
They take turns, and medians of their times are shown (two threads each). `same`: share of probes for which both find
the same three. `read`: rate at which the coarse copies are read; `memory`: that of a plain sum over the floats.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from streamer.identity.face_index import SIZE, FaceIndex
from streamer.values import Floats

REFERENCES = 1_000_000
PER_PERSON = 5
COUNT = 3
ROUNDS = 7
CHUNK = 50_000  # vectors made at once
SCATTER = 0.6  # of the pictures of a person, relative to that of people


def measure() -> dict[str, Any]:
    """{kind of vectors: figures}."""
    return {name: _measure(dimensions) for name, dimensions in (("compact", 128), ("spread", SIZE))}


def table(figures: dict[str, Any]) -> str:
    lines = ["vectors    32 probes  numpy  ratio   one probe  numpy    same   read  memory"]
    lines.append("                 ms     ms                 ms     ms           GB/s    GB/s")
    for name, one in figures.items():
        ratio = one["numpy_batch_ms"] / one["batch_ms"]
        lines.append(
            f"{name:<9}{one['batch_ms']:>11.0f}{one['numpy_batch_ms']:>7.0f}{ratio:>7.1f}{one['single_ms']:>12.1f}"
            f"{one['numpy_single_ms']:>7.0f}{one['same']:>8.1%}{one['read_gb_s']:>7.1f}{one['memory_gb_s']:>8.1f}"
        )
    return "\n".join(lines)


def _measure(dimensions: int) -> dict[str, float]:
    dice = np.random.default_rng(0)
    vectors = np.empty((REFERENCES, SIZE), np.float32)
    for start in range(0, REFERENCES, CHUNK):
        vectors[start : start + CHUNK] = _faces(dice, dimensions)
    known = vectors[dice.integers(0, REFERENCES, 16)] + 0.02 * _faces(dice, dimensions)[:16]
    probes = np.concatenate([known / np.linalg.norm(known, axis=1, keepdims=True), _faces(dice, dimensions)[:16]])
    index = FaceIndex()
    index.add(np.arange(REFERENCES), vectors)
    index.search(probes[:1], COUNT)  # learns
    times: dict[str, list[float]] = {"batch": [], "numpy_batch": [], "single": [], "numpy_single": []}
    for row in range(ROUNDS):
        ours = _timed(times["batch"], lambda: index.search(probes, COUNT)[0])
        plain = _timed(times["numpy_batch"], lambda: _plainly(vectors, probes))
        one = probes[row : row + 1]
        _timed(times["single"], partial(index.search, one, COUNT))
        _timed(times["numpy_single"], partial(_plainly, vectors, one))
    same = float(np.mean([set(a) == set(b) for a, b in zip(ours.tolist(), plain.tolist(), strict=True)]))
    figures = {f"{name}_ms": 1000 * statistics.median(each) for name, each in times.items()}
    coarse = sum(block.rows.nbytes for block in index._blocks)
    return {
        **figures,
        "same": same,
        "read_gb_s": coarse / 1e6 / figures["batch_ms"],
        "memory_gb_s": _memory_gb_s(vectors),
    }


def _faces(dice: np.random.Generator, dimensions: int) -> Floats:
    basis = np.linalg.qr(np.random.default_rng(99).standard_normal((SIZE, dimensions)))[0].astype(np.float32)
    people = np.repeat(dice.standard_normal((CHUNK // PER_PERSON, dimensions), np.float32), PER_PERSON, axis=0)
    found = (people + SCATTER * dice.standard_normal(people.shape, np.float32)) @ basis.T
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def _plainly(vectors: Floats, probes: Floats) -> np.ndarray[Any, Any]:
    cosines = probes @ vectors.T
    best = np.argpartition(cosines, -COUNT, axis=1)[:, -COUNT:]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(cosines, best, 1), axis=1), 1)


def _timed(times: list[float], work: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    result = work()
    times.append(time.perf_counter() - began)
    return result


def _memory_gb_s(vectors: Floats) -> float:
    """Return the rate at which one thread reads memory by a sum."""
    best = min(_duration(lambda: vectors.view(np.uint64).sum()) for _ in range(3))
    return vectors.nbytes / 1e9 / best


def _duration(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
