"""Kill what a resumed watch depends on, again and again, and compare what its client received with the log.

`python -m tests.benchmarks.store_drill --rounds 100` runs four drills, each with real processes. `streamer`: the
streamer is killed with SIGKILL after the commit of an event and before its publication, and started again. `client`:
the subscriber is killed at random moments and goes on with its last token. `postgres`: the database server is killed
under load and started again. `disk`: the disk of the database is full for a while; it is a small tmpfs for root, else
a limit on the size of files. Name some of them to run only those. The last line of each is JSON: the rounds, the events
in the log, those that the client lacks, has twice or has out of order, and those that were published before they could
be stored. Returns 1 if an event is lost or received twice.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

from sqlalchemy import create_engine, select

from streamer.config import Store as StoreConfig
from streamer.store.database import postgres_url
from streamer.store.tables import events
from streamer.store.values import OF_TRACKS
from tests.end_to_end.programs import Program
from tests.support.patience import WAIT_S, until
from tests.support.postgres import Postgres, programs

SEED = 1
TMPFS_MB = 16
LONGEST_S = 0.6  # between the start of a round and its kill
Rounds = Callable[["Drill", int, random.Random], None]


class Drill:
    """One store with its feeder and one client's file."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.received = folder / "received"
        self.settings = {"commit_within_s": 5, "checkpoint_s": 0.5, "max_backlog": 1_000_000, **settings}
        (folder / "store.json").write_text(json.dumps(self.settings))

    def feeder(self, *options: str) -> Program:
        return Program("tests.support.store_feeder", self.folder / "store.json", *options)

    def client(self, feeder: Program) -> Program:
        client = Program("tests.support.store_client", feeder.wait_for(r"ready (\S+)")[1], self.received)
        client.wait_for("watching")
        return client

    def finish(self, feeder: Program, client: Program) -> None:
        """Let the feeder end all tracks and the client receive them."""
        feeder.signal(SIGTERM)
        assert feeder.wait() == 0, feeder.text
        assert client.wait() == 0, client.text

    def result(self) -> dict[str, int]:
        """Compare what the client has received with the log."""
        log = [(sequence, kind, track) for sequence, kind, track in self._log() if kind in OF_TRACKS]
        lines = [json.loads(line) for line in self.received.read_text().splitlines()]
        heard = [one for one in lines if one["sequence"]]
        kinds = {kind.value: "END" if kind.value == "SPLIT" else kind.value for kind in OF_TRACKS}
        wanted = [(sequence, kinds[kind.value], track) for sequence, kind, track in log]
        got = [(one["sequence"], one["kind"], one["track"]) for one in heard]
        first = got[0][0] if got else 0  # the client began to watch there
        wanted = [one for one in wanted if one[0] >= first]
        return {
            "events": len(wanted),
            "lost": len(set(wanted) - set(got)),
            "strange": len(set(got) - set(wanted)),
            "twice": len(got) - len(set(got)),
            "out_of_order": sum(later <= earlier for earlier, later in pairwise(got)),
            "unstored": sum(one["unstored"] for one in heard),
        }

    def _log(self) -> Iterator[tuple[int, Any, str]]:
        from streamer.store.values import LogKind

        config = StoreConfig.model_validate(self.settings)
        url: Any = postgres_url(config) if config.url else f"sqlite:///{config.folder}/store.sqlite"
        engine = create_engine(url)
        with engine.connect() as connection:
            for row in connection.execute(select(events).order_by(events.c.sequence)):
                yield row.sequence, LogKind(row.kind), row.track_id
        engine.dispose()


def kill_streamers(drill: Drill, rounds: int, moments: random.Random) -> None:
    for _ in range(rounds):
        with drill.feeder("--die-after", str(moments.randint(1, 120))) as feeder, drill.client(feeder) as client:
            assert feeder.wait() == -SIGKILL, feeder.text
            assert client.wait() == 0, client.text
    with drill.feeder() as feeder, drill.client(feeder) as client:
        drill.finish(feeder, client)


def kill_clients(drill: Drill, rounds: int, moments: random.Random) -> None:
    with drill.feeder() as feeder:
        for _ in range(rounds):
            with drill.client(feeder) as client:
                time.sleep(moments.uniform(0, LONGEST_S))
                client.signal(SIGKILL)
                client.wait()
        with drill.client(feeder) as client:
            drill.finish(feeder, client)


def kill_postgres(server: Postgres) -> Rounds:
    def kill(drill: Drill, rounds: int, moments: random.Random) -> None:
        with drill.feeder() as feeder, drill.client(feeder) as client:
            for number in range(1, rounds + 1):
                time.sleep(moments.uniform(0, LONGEST_S))
                server.kill()
                until(lambda: feeder.text.count("store fails") >= number, "the feeder notices")  # noqa: B023
                time.sleep(moments.uniform(0, LONGEST_S))
                server.start()
                until(lambda: feeder.text.count("store works") >= number, "the store works again")  # noqa: B023
            drill.finish(feeder, client)

    return kill


def fill_disk(drill: Drill, rounds: int, moments: random.Random) -> None:
    store = Path(drill.settings["folder"])
    with drill.feeder() as feeder, drill.client(feeder) as client:
        for number in range(1, rounds + 1):
            time.sleep(moments.uniform(0, LONGEST_S))
            with _full(store, feeder):
                until(lambda: feeder.text.count("store fails") >= number, "the feeder notices")  # noqa: B023
                time.sleep(moments.uniform(0, LONGEST_S))
            until(lambda: feeder.text.count("store works") >= number, "the store works again")  # noqa: B023
        drill.finish(feeder, client)


@contextmanager
def _full(store: Path, feeder: Program) -> Iterator[None]:
    """Leave no space where the store is."""
    if os.path.ismount(store):
        balloon = store / "balloon"
        with balloon.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        yield
        balloon.unlink()
        return
    size = max(path.stat().st_size for path in store.iterdir())
    _, hard = resource.prlimit(feeder.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(feeder.process.pid, resource.RLIMIT_FSIZE, (size, hard))
    yield
    resource.prlimit(feeder.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A folder with TMPFS_MB of space if this user may have one, else an ordinary one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def run(name: str, rounds: int, seed: int = SEED) -> dict[str, int]:
    """Run one drill and return its numbers."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="fa-drill-") as text:
        folder = Path(text)
        if name == "postgres":
            with Postgres() as server:
                drill = Drill(folder, {"url": server.database()})
                kill_postgres(server)(drill, rounds, moments)
                return {"rounds": rounds, **drill.result()}
        if name == "disk":
            with small_disk(folder / "disk") as disk:
                drill = Drill(folder, {"folder": str(disk), "max_size_mb": TMPFS_MB / 4})
                fill_disk(drill, rounds, moments)
                return {"rounds": rounds, **drill.result()}
        drill = Drill(folder, {"folder": str(folder / "store")})
        {"streamer": kill_streamers, "client": kill_clients}[name](drill, rounds, moments)
        return {"rounds": rounds, **drill.result()}


DRILLS = ("streamer", "client", "postgres", "disk")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("drills", nargs="*", default=DRILLS, metavar="DRILL", help=", ".join(DRILLS))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    failed = False
    for name in options.drills:
        if name == "postgres" and programs() is None:
            print("postgres: install the package postgresql of the system", file=sys.stderr)
            return 2
        began = time.monotonic()
        result = run(name, options.rounds, options.seed)
        failed = failed or any(result[key] for key in ("lost", "strange", "twice", "out_of_order"))
        print(f"{name}: {json.dumps({**result, 'seconds': round(time.monotonic() - began)})}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    assert WAIT_S > 0
    sys.exit(main())
