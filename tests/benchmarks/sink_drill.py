"""Kill receivers of sinks and the streamer again and again, and compare what was received with the log.

`python -m tests.benchmarks.sink_drill --rounds 100` runs a drill per kind of sink, each with real processes: a store
with one sink that is fed with invented tracks, and the receiver. In each round the receiver is killed and started again
while events come, and then the streamer's process, both with SIGKILL at random moments. The HTTP server also fails at
random, before and after it has kept an event; the folder of the files is moved away for a while. mosquitto has a
durable subscriber, the streams of nats-server and Kafka are read at the end; Kafka is cut off, and not killed.
Name some kinds to run only those. The last line of each is JSON: the rounds, the events in the log, those that were not
received, that are in no log, or that have the same id and other content, the pairs of a track's events in the wrong
order (doubles apart), and how often events came twice. Returns 1 if an event is lost, changed or out of order.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, Protocol

from sqlalchemy import create_engine, select

from streamer.store.tables import events
from streamer.store.values import OF_TRACKS, LogKind
from tests.end_to_end.programs import Program, free_port
from tests.support.broker_receivers import BROKERS
from tests.support.receiver import SECRET

SEED = 1
LONGEST_S = 0.4  # between two steps of a round
SINK = {"name": "drill", "start": "oldest", "retry": {"initial_s": 0.02, "max_s": 0.2}}


@dataclass(frozen=True, slots=True)
class Received:
    """What a receiver has got of one event."""

    id: str
    sequence: int
    kind: str  # LogKind
    track: str


class Receiver(Protocol):
    """One kind of receiver, made with an empty folder for its files."""

    settings: dict[str, Any]  # of its sink, with the type

    def start(self) -> None:
        """Start it, also after `kill`."""

    def kill(self) -> None:
        """End it at once, or make it unreachable."""

    def received(self, least: int) -> Sequence[Received]:
        """All that it has got since the beginning, doubles as well, in the order of arrival, once there are at least
        that many different events. It runs."""

    def stop(self) -> None:
        """End it for good."""


def of_envelope(envelope: dict[str, Any]) -> Received:
    """What a CloudEvent says, see streamer/sinks/envelope.py."""
    kind = envelope["type"].rpartition(".")[2].upper()
    return Received(envelope["id"], int(envelope["sequence"]), kind, envelope["subject"])


class Webhook:
    """The HTTP server of tests/support/receiver.py, a request per event."""

    batched = False

    def __init__(self, folder: Path) -> None:
        self._file = folder / "received"
        self._port = free_port()
        self._starts = 0
        self.settings = {"type": "webhook", "url": f"http://127.0.0.1:{self._port}/", "timeout_s": 0.5}
        self.settings |= {"batched": self.batched, "secret": SECRET}
        self._program: Program | None = None

    def start(self) -> None:
        self._starts += 1
        self._program = Program("tests.support.receiver", str(self._port), self._file, "--seed", str(self._starts))
        self._program.wait_for("ready")

    def kill(self) -> None:
        assert self._program is not None
        self._program.signal(SIGKILL)
        self._program.wait()

    def received(self, least: int) -> Sequence[Received]:
        whole = self._file.read_bytes().split(b"\n")
        return [of_envelope(envelope) for line in whole if (envelope := _json(line)) is not None]

    def stop(self) -> None:
        self.kill()


class WebhookBatches(Webhook):
    """The same with many events per request."""

    batched = True


class Files:
    """Files, whose folder is moved away in place of a kill."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._away = folder / "out", folder / "away"
        self.settings = {"type": "files", "folder": str(self._folder), "max_mb": 0.5, "keep": None}

    def start(self) -> None:
        if self._away.exists():
            if self._folder.exists():  # the streamer was started meanwhile, and made an empty one
                for path in self._folder.iterdir():
                    path.rename(self._away / f"{time.time_ns()}-{path.name}")
                self._folder.rmdir()
            self._away.rename(self._folder)

    def kill(self) -> None:
        if self._folder.exists():
            self._folder.rename(self._away)

    def received(self, least: int) -> Sequence[Received]:
        contents = (path.read_bytes().splitlines() for path in self._folder.iterdir())
        files = [[of_envelope(json.loads(line)) for line in lines] for lines in contents if lines]
        return [one for file in sorted(files, key=lambda file: file[0].sequence) for one in file]

    def stop(self) -> None:
        """Its files go with the folder of the drill."""


def _json(line: bytes) -> dict[str, Any] | None:
    """The object in a line; None: the line is torn, because its writer was killed before it answered."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found


class OfBroker:
    """A message broker and its consumer."""

    broker = ""

    def __init__(self, folder: Path) -> None:
        self._receiver = BROKERS[self.broker](folder)
        self.settings: dict[str, Any] = self._receiver.settings
        self._new = True

    def start(self) -> None:
        if not self._new:  # a new one runs
            self._receiver.start()
        self._new = False

    def kill(self) -> None:
        self._receiver.kill()

    def received(self, least: int) -> Sequence[Received]:
        return [of_envelope(envelope) for envelope in self._receiver.envelopes(least)]

    def stop(self) -> None:
        self._receiver.stop()


class Mqtt(OfBroker):
    broker = "mqtt"


class Nats(OfBroker):
    broker = "nats"


class Kafka(OfBroker):
    broker = "kafka"


KINDS: dict[str, Callable[[Path], Receiver]] = {"files": Files, "webhook": Webhook, "webhook_batches": WebhookBatches}
KINDS |= {"mqtt": Mqtt, "nats": Nats, "kafka": Kafka}


def run(name: str, rounds: int, seed: int = SEED) -> dict[str, int]:
    """Run one drill and return its numbers."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="fa-drill-") as text:
        folder = Path(text)
        receiver = KINDS[name](folder)
        store = folder / "store"
        config = folder / "config.json"
        sink = {**SINK, **receiver.settings}
        config.write_text(json.dumps({"store": {"folder": str(store), "max_size_mb": None}, "sinks": [sink]}))
        receiver.start()
        try:
            for _ in range(rounds):
                with Program("tests.support.sink_feeder", config) as feeder:
                    feeder.wait_for("ready")
                    time.sleep(moments.uniform(0, LONGEST_S))
                    receiver.kill()
                    time.sleep(moments.uniform(0, LONGEST_S))
                    receiver.start()
                    time.sleep(moments.uniform(0, LONGEST_S))
                    feeder.signal(SIGKILL)
                    feeder.wait()
            with Program("tests.support.sink_feeder", config) as feeder:
                feeder.wait_for("ready")
                feeder.signal(SIGTERM)
                assert feeder.wait() == 0, feeder.text
            log = list(log_of(store))
            return {"rounds": rounds, **compare(log, receiver.received(len(log)))}
        finally:
            receiver.stop()


def log_of(store: Path) -> Iterator[tuple[int, str, str]]:
    """Sequence, kind and track of what the log has of tracks."""
    engine = create_engine(f"sqlite:///{store}/store.sqlite")
    with engine.connect() as connection:
        for row in connection.execute(select(events).order_by(events.c.sequence)):
            if LogKind(row.kind) in OF_TRACKS:
                yield row.sequence, row.kind, row.track_id
    engine.dispose()


def compare(log: Sequence[tuple[int, str, str]], received: Sequence[Received]) -> dict[str, int]:
    """Compare what was received with the log."""
    contents: dict[str, set[tuple[int, str, str]]] = defaultdict(set)
    order: dict[str, list[int]] = defaultdict(list)
    for one in received:
        if one.id not in contents:
            order[one.track].append(one.sequence)
        contents[one.id].add((one.sequence, one.kind, one.track))
    got = set().union(*contents.values()) if contents else set()
    ids = Counter(one for content in contents.values() for one in content)  # a second id would hide a double
    return {
        "events": len(log),
        "lost": len(set(log) - got),
        "strange": len(got - set(log)),
        "changed": sum(len(content) > 1 for content in contents.values()) + sum(count > 1 for count in ids.values()),
        "out_of_order": sum(later <= earlier for numbers in order.values() for earlier, later in pairwise(numbers)),
        "twice": len(received) - len(contents),
    }


WRONG = ("lost", "strange", "changed", "out_of_order")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    failed = False
    for name in options.kinds:
        began = time.monotonic()
        result = run(name, options.rounds, options.seed)
        failed = failed or any(result[key] for key in WRONG)
        print(f"{name}: {json.dumps({**result, 'seconds': round(time.monotonic() - began)})}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
