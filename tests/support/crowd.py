"""Many subscribers: a server with invented tracks at a given rate, and a process that is a part of the subscribers.

`python -m tests.support.crowd serve OPTIONS` prints `ready ADDRESS`, waits until all have subscribed, publishes for
the wanted time, prints the number of tracks, and after another line, when all is received, its figures as JSON.
`python -m tests.support.crowd watch ADDRESS COUNT` prints what its subscribers received. A track is a NEW, 18 updates
of 0.1 s, and an END, so a tenth of the events are NEW or END.
"""

import argparse
import asyncio
import gc
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from faceanalytics.v1 import tracks_pb2
from streamer.api.server import start_server
from streamer.api.track_messages import to_proto
from streamer.config import Publish, Stream
from streamer.config import Store as StoreConfig
from streamer.hub import Hub
from streamer.store.outbox import Outgoing
from streamer.store.store import Store
from streamer.values import (
    AgeEstimate,
    AttributeEstimate,
    Candidate,
    ExpressionEstimate,
    IdentityDecision,
    IdentityEstimate,
    IdentityStatus,
    Presence,
    Segment,
    TrackSummary,
)
from tests.api.test_server import KeptCameras
from tests.support import builders
from tests.support.builders import summary
from tests.support.h2_client import DEFAULT_WINDOW, LARGEST_WINDOW, Connection
from tests.support.stored import final

WATCH = "/faceanalytics.v1.TrackService/WatchTracks"
EVENTS = 20  # of one track
LAST_S = 600.0  # longest wait for the last events on a machine that is busy with other things
TICK_S = 0.02  # between two batches of events, as frames of cameras come
_EVIDENCE = builders.evidence()
DESCRIBED: dict[str, Any] = {  # what is known of each track: about 1.4 kB
    "age": AgeEstimate(31.5, 25.0, 38.0, _EVIDENCE),
    "expression": ExpressionEstimate(
        3,
        1.25,
        np.full(7, 1 / 7, np.float32),
        tuple(Segment(index % 7, float(index), index + 0.5, 0.75) for index in range(10)),
        _EVIDENCE,
    ),
    "attributes": AttributeEstimate(
        tuple(range(40)), np.linspace(0, 1, 40, dtype=np.float32), (Presence.UNDECIDED,) * 40, _EVIDENCE
    ),
    "identity": IdentityEstimate(np.full(512, 512**-0.5, np.float32), 0.875, 2, _EVIDENCE),
    "decision": IdentityDecision(IdentityStatus.IDENTIFIED, "Ada", None, (Candidate("Ada", 0.8),), 0.3, 0.4, 3, 0.9, 1),
}


def cpu_s() -> float:
    """CPU time of this process, s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_mb() -> float:
    """Memory of this process now, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def serve(options: argparse.Namespace) -> None:
    """Publish at a rate to subscribers, and print the figures."""
    limits = {"streams": 100_000, "calls": 100_000, "calls_per_second": 1e6, "request_within_s": LAST_S}
    config = Publish.model_validate({"listen": "127.0.0.1:0", "limits": limits, "max_pending": options.max_pending})
    hub = Hub(config)

    def publish(outgoing: Outgoing) -> None:
        hub.offer(outgoing.summary, time.monotonic(), outgoing.sequence, outgoing.stored)

    store: Store | None = None
    async with AsyncExitStack() as closing:
        if options.store:
            config_of_store = StoreConfig.model_validate(json.loads(options.store))
            store = Store(config_of_store, to_proto, publish, lambda working: None)
            await store.open()
            closing.push_async_callback(store.close)
            writing = asyncio.create_task(store.run())
            closing.callback(writing.cancel)
            hub.sequence = store.sequence
        cameras = KeptCameras(Stream(id="door", uri="x.mp4"))
        server = await start_server(config, hub, cameras, lambda: {builders.SMALL: 1}, store)
        closing.push_async_callback(server.stop, 5)
        print(f"ready {server.address}", flush=True)
        while len(hub._subscribers) < options.subscribers:
            await asyncio.sleep(0.05)
        put: Callable[[TrackSummary], None] = store.put if store else lambda one: publish(Outgoing(one))
        gc.collect()
        gc.freeze()
        before_mb, cpu, began = rss_mb(), cpu_s(), time.monotonic()
        tracks, highest = await _publish(put, options.rate, options.seconds)
        print(json.dumps({"tracks": tracks}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)  # until the subscribers have all
        figures = {"seconds": time.monotonic() - began, "cpu_s": cpu_s() - cpu}
        print(json.dumps(figures | {"before_mb": before_mb, "highest_mb": highest}), flush=True)


async def _publish(put: Callable[[TrackSummary], None], rate: float, seconds: float) -> tuple[int, float]:
    """Publish tracks with all their events; return their number and the highest memory seen, MB."""
    wanted = max(1, round(rate * seconds / EVENTS))
    at = [(number * EVENTS / rate, number) for number in range(wanted)]  # when a track begins, s
    due = sorted((start + step * 0.1, step, number) for start, number in at for step in range(EVENTS))
    began, place, highest = time.monotonic(), 0, 0.0
    tick = 0
    while place < len(due):
        now = time.monotonic() - began
        while place < len(due) and due[place][0] <= now:
            _, step, number = due[place]
            name, moment = f"{number:07}", datetime.now(UTC)
            box = np.array([step, 0, 10 + step, 10], np.float32)
            if step == EVENTS - 1:
                put(final(name, captured_at=moment, box=box, **DESCRIBED))
            else:
                put(summary(name, step + 1, captured_at=moment, box=box, **DESCRIBED))
            place += 1
        tick += 1
        if tick % 25 == 0:
            highest = max(highest, rss_mb())
        await asyncio.sleep(TICK_S)
    return wanted, max(highest, rss_mb())


class Subscriber:
    """One subscriber on a connection of its own, which continues when it was disconnected."""

    def __init__(self, host: str, port: int, stalled: bool) -> None:
        self.latencies: list[float] = []  # s, of each message with a track
        self.important: list[float] = []  # s, of NEW and END
        self.new, self.ended, self.resumed, self.doubles, self.gaps = 0, set[str](), 0, 0, 0
        self.over = asyncio.Event()
        self._address = host, port
        self._stalled = stalled
        self._seen = set[str]()
        self._token = ""

    async def begin(self) -> None:
        loop = asyncio.get_running_loop()
        window = DEFAULT_WINDOW if self._stalled else LARGEST_WINDOW
        _, connection = await loop.create_connection(
            lambda: Connection(self._message, self._end, window), *self._address
        )
        self._connection = connection
        request = tracks_pb2.WatchTracksRequest(resume_token=self._token)
        connection.call(1, WATCH, request.SerializeToString())
        if self._stalled and connection.transport is not None:
            connection.transport.pause_reading()

    def _message(self, stream: int, data: bytes) -> None:
        message = tracks_pb2.WatchTracksResponse.FromString(data)
        self._token = message.resume_token or self._token
        track = message.track
        if message.type == tracks_pb2.EVENT_TYPE_NEW:
            self.doubles += track.track_id in self._seen
            self._seen.add(track.track_id)
            self.new += 1
        elif message.type == tracks_pb2.EVENT_TYPE_END:
            self.doubles += track.track_id in self.ended
            self.ended.add(track.track_id)
        elif message.type == tracks_pb2.EVENT_TYPE_GAP:
            self.gaps += 1
        if track.track_id:
            at = track.last_captured_at
            latency = time.time() - (at.seconds + at.nanos / 1e9)
            self.latencies.append(latency)
            if message.type != tracks_pb2.EVENT_TYPE_UPDATE:
                self.important.append(latency)

    def _end(self, stream: int) -> None:
        if stream and self._token:  # too slow: it continues
            self.resumed += 1
            self._again = asyncio.create_task(self.begin())
        else:
            self.over.set()


async def watch(address: str, count: int, stalled: bool) -> None:
    """Subscribe; when all tracks have ended, whose number comes as a line, print what was received."""
    host, _, port = address.rpartition(":")
    everyone = [Subscriber(host, int(port), stalled) for _ in range(count)]
    for one in everyone:
        await one.begin()
    gc.collect()
    gc.freeze()
    tracks = int(await asyncio.to_thread(sys.stdin.readline))
    until = time.monotonic() + LAST_S
    while any(len(one.ended) < tracks for one in everyone) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    latencies = sorted(latency for one in everyone for latency in one.latencies)
    important = sorted(latency for one in everyone for latency in one.important)
    figures = {
        "new": dict(Counter(one.new for one in everyone)),
        "ended": dict(Counter(len(one.ended) for one in everyone)),
        "messages": len(latencies),
        "doubles": sum(one.doubles for one in everyone),
        "resumed": sum(one.resumed for one in everyone),
        "gaps": sum(one.gaps for one in everyone),
        "latencies": latencies[:: max(1, len(latencies) // 20_000)],
        "important_p99_s": important[int(0.99 * len(important))],
        "cpu_s": cpu_s(),
    }
    print(json.dumps(figures), flush=True)


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    serving = kinds.add_parser("serve")
    serving.add_argument("--store", default="")
    serving.add_argument("--subscribers", type=int, required=True)
    serving.add_argument("--rate", type=float, default=500.0)
    serving.add_argument("--seconds", type=float, default=60.0)
    serving.add_argument("--max-pending", type=int, default=4096)
    watching = kinds.add_parser("watch")
    watching.add_argument("address")
    watching.add_argument("count", type=int)
    watching.add_argument("--stalled", action="store_true")
    options = parser.parse_args()
    if options.kind == "serve":
        asyncio.run(serve(options))
    else:
        asyncio.run(watch(options.address, options.count, options.stalled))


if __name__ == "__main__":
    main()
