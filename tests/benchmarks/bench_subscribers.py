"""Subscribers on loopback that all receive 500 events per second, of which a tenth are NEW or END.

The server, with hub, store and gRPC, is one process; all subscribers are in another one, each with a connection of
its own, and speak HTTP/2 themselves, so that one process can be hundreds of them. 200 subscribers listen for a
minute, 25 to 100 for 12 s, 10 for 30 s. A track is about 1.4 kB. NEW and END are all delivered, which each run checks
for every subscriber; UPDATEs that a subscriber is too late for are replaced by newer ones, so the messages per second
are what the machine can do, not what was asked for. Latency is from the publication to the arrival. CPU time of the
server is without its start, until all is received. `stalled`: one of the subscribers reads nothing; memory is the
growth of the server's process while it publishes. Both cores are shared by the two processes and with whatever else
the machine does, whose load is shown: with a load of 10 or more on two cores, latencies are far above those of a
quiet machine, and CPU times per message are what to read.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.postgres import Postgres, programs

RATE = 500  # events/s
MINUTE_S, STALLED_S, SHORT_S = 60, 30, 12
FEWER = (25, 50, 100)


def measure() -> dict[str, Any]:
    """{what: its figures}."""
    if programs() is None:
        raise SystemExit("Subscribers: install the package postgresql of the system")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="fa-bench-") as folder, Postgres() as server:
        stores = {
            "no store": "",
            "SQLite": json.dumps({"folder": str(Path(folder) / "store")}),
            "PostgreSQL": json.dumps({"url": server.database()}),
        }
        for name, store in stores.items():
            found[f"200, {name}"] = run(200, MINUTE_S, store)
        for count in FEWER:
            found[f"{count}, no store"] = run(count, SHORT_S)
        for stalled in (0, 1):
            found[f"10, {stalled} stalled"] = run(10, STALLED_S, stalled=stalled)
    return found


def run(count: int, seconds: float, store: str = "", stalled: int = 0, rate: float = RATE) -> dict[str, float]:
    """Publish to this number of subscribers, of which some read nothing; what came out."""
    program = [sys.executable, "-m", "tests.support.crowd"]
    numbers = ["--subscribers", str(count), "--rate", str(rate), "--seconds", str(seconds), "--store", store]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*program, "serve", *numbers], **pipes) as server:
        address = _line(server).removeprefix("ready ").strip()
        with subprocess.Popen([*program, "watch", address, str(count - stalled)], **pipes) as clients:
            sleepers = [subprocess.Popen([*program, "watch", address, "1", "--stalled"], **pipes)] if stalled else []
            tracks = str(json.loads(_line(server))["tracks"])
            assert clients.stdin is not None
            clients.stdin.write(f"{tracks}\n")
            clients.stdin.flush()
            received = json.loads(_line(clients))
            assert server.stdin is not None
            server.stdin.write("all\n")
            server.stdin.flush()
            published = json.loads(_line(server))
            for one in sleepers:
                one.kill()
                one.communicate()
    complete = received["new"] == received["ended"] == {tracks: count - stalled}
    assert complete, (received["new"], received["ended"], tracks)
    assert not received["doubles"]
    latencies = received["latencies"]
    return {
        "messages_per_s": received["messages"] / published["seconds"],
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(0.99 * len(latencies))] * 1000,
        "important_p99_ms": received["important_p99_s"] * 1000,
        "cpu_percent": 100 * published["cpu_s"] / published["seconds"],
        "cpu_us_per_message": 1e6 * published["cpu_s"] / received["messages"],
        "resumed": received["resumed"],
        "memory_mb": published["highest_mb"] - published["before_mb"],
        "load": os.getloadavg()[0],
    }


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def table(figures: dict[str, Any]) -> str:
    head = ("messages/s", "p50 ms", "p99 ms", "p99 NEW/END", "CPU %", "CPU us/message", "memory MB", "load")
    names = ("messages_per_s", "p50_ms", "p99_ms", "important_p99_ms", "cpu_percent", "cpu_us_per_message")
    lines = [f"{'':<16}" + "".join(f"{word:>15}" for word in head)]
    for name, row in figures.items():
        values = [f"{row[key]:>15.0f}" for key in (*names, "memory_mb")]
        lines.append(f"{name:<16}" + "".join(values) + f"{row['load']:>15.1f}")
    return "\n".join(lines)
