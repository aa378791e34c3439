"""Events per second that the store commits before it publishes them, on SQLite and on PostgreSQL.

`one by one`: each event is put when the one before is published, so that each has a transaction and a wait for the
disk of its own; latency is from the arrival of a summary to its publication. `together`: all events are put at once,
and one transaction takes up to a thousand of them. CPU time is that of the streamer's process per event of the second
kind. Both databases are on the same disk and wait for it at each commit (`synchronous=FULL`,
`synchronous_commit=on`). With a key, tracks and events are encrypted (`store.key_file`). Blocks of all take turns,
and medians are shown; latencies are of all blocks. The machine is shared. PostgreSQL is that of the system (`apt-get
install postgresql`).
"""

import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamer.api.track_messages import to_proto
from streamer.config import Store as StoreConfig
from streamer.encryption import new_key
from streamer.store.outbox import Outgoing
from streamer.store.store import Store
from streamer.values import TrackSummary
from tests.support.builders import summary
from tests.support.postgres import Postgres, programs
from tests.support.stored import final

BLOCKS = 5
ONE_BY_ONE = 200  # events of a block
TOGETHER = 4000


@dataclass
class Figures:
    """What was measured of one store, a value per block; latencies (ms) per event."""

    alone: list[float] = field(default_factory=list)  # events/s
    together: list[float] = field(default_factory=list)  # events/s
    cpu_ms: list[float] = field(default_factory=list)  # per event
    latencies: list[float] = field(default_factory=list)

    def medians(self) -> dict[str, float]:
        ordered = sorted(self.latencies)
        return {
            "one_by_one_per_s": statistics.median(self.alone),
            "latency_p50_ms": statistics.median(ordered),
            "latency_p99_ms": ordered[int(0.99 * len(ordered))],
            "together_per_s": statistics.median(self.together),
            "cpu_ms_per_event": statistics.median(self.cpu_ms),
        }


def measure() -> dict[str, Any]:
    """{store: its medians}."""
    if programs() is None:
        raise SystemExit("Store: install the package postgresql of the system")
    with tempfile.TemporaryDirectory(prefix="fa-bench-") as folder, Postgres() as server:
        key = Path(folder) / "store.key"
        key.write_text(new_key())
        places = {
            "SQLite": StoreConfig(folder=str(Path(folder) / "store")),
            "  with a key": StoreConfig(folder=str(Path(folder) / "sealed"), key_file=str(key)),
            "PostgreSQL": StoreConfig(url=server.database()),
            "   with a key": StoreConfig(url=server.database(), key_file=str(key)),
        }
        return asyncio.run(_measure(places))


async def _measure(places: dict[str, StoreConfig]) -> dict[str, Any]:
    found = {name: Figures() for name in places}
    for block in range(BLOCKS):
        for name, config in places.items():
            await _block(config, f"{block}", found[name])
    return {name: figures.medians() for name, figures in found.items()}


async def _block(config: StoreConfig, name: str, figures: Figures) -> None:
    published = asyncio.Event()

    def publish(outgoing: Outgoing) -> None:
        if outgoing.summary.key.id == waiting:
            published.set()

    async def put(one: TrackSummary) -> None:
        published.clear()
        store.put(one)
        await published.wait()

    store = Store(config, to_proto, publish, lambda working: None)
    await store.open()
    writing = asyncio.create_task(store.run())
    waiting = ""
    began = time.perf_counter()
    for number in range(ONE_BY_ONE // 2):
        waiting = f"{name}-a{number:05}"
        for one in (summary(waiting), final(waiting)):
            start = time.perf_counter()
            await put(one)
            figures.latencies.append((time.perf_counter() - start) * 1000)
    figures.alone.append(ONE_BY_ONE / (time.perf_counter() - began))
    began, cpu = time.perf_counter(), time.process_time()
    waiting = f"{name}-b{TOGETHER // 2 - 1:05}"
    published.clear()
    for number in range(TOGETHER // 2):
        store.put(final(f"{name}-b{number:05}"))  # two events each
    await published.wait()
    figures.together.append(TOGETHER / (time.perf_counter() - began))
    figures.cpu_ms.append((time.process_time() - cpu) * 1000 / TOGETHER)
    writing.cancel()
    await asyncio.wait([writing])
    await store.close()


def table(figures: dict[str, Any]) -> str:
    lines = [f"{'':<14}{'one by one/s':>14}{'p50 ms':>9}{'p99 ms':>9}{'together/s':>12}{'CPU ms/event':>14}"]
    for name, row in figures.items():
        lines.append(
            f"{name:<14}{row['one_by_one_per_s']:>14.0f}{row['latency_p50_ms']:>9.1f}{row['latency_p99_ms']:>9.1f}"
            f"{row['together_per_s']:>12.0f}{row['cpu_ms_per_event']:>14.2f}"
        )
    return "\n".join(lines)
