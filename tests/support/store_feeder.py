"""A streamer's store, hub and gRPC server in a process of their own, fed with invented tracks.

`python -m tests.support.store_feeder CONFIG.json` (the section `store`) prints `ready ADDRESS`. With
`--die-after N` it kills itself with SIGKILL after the commit of the N-th published event and before its publication.
`--listen HOST:PORT` is where it serves. With SIGTERM it ends all tracks, waits until everything is stored, and stops.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import time
from pathlib import Path

from streamer.api.server import start_server
from streamer.api.track_messages import to_proto
from streamer.config import Publish, Stream
from streamer.config import Store as StoreConfig
from streamer.hub import Hub
from streamer.store.outbox import Outgoing
from streamer.store.store import Store
from streamer.values import TrackSummary
from tests.api.test_server import KeptCameras
from tests.support import builders
from tests.support.builders import summary
from tests.support.patience import WAIT_S
from tests.support.stored import final

OPEN = 20  # tracks at a time
PAUSE_S = 0.004  # between two summaries


async def feed(config: StoreConfig, die_after: int, listen: str) -> None:
    hub, published = Hub(Publish(listen=listen)), 0

    def publish(outgoing: Outgoing) -> None:
        nonlocal published
        if outgoing.sequence and outgoing.stored:
            published += 1
            if published == die_after:
                os.kill(os.getpid(), signal.SIGKILL)
        hub.offer(outgoing.summary, time.monotonic(), outgoing.sequence, outgoing.stored)

    store = Store(
        config, to_proto, publish, lambda working: print("store works" if working else "store fails", flush=True)
    )
    await store.open()
    hub.sequence = store.sequence
    writing = asyncio.create_task(store.run())
    cameras = KeptCameras(Stream(id="door", uri="x.mp4"))
    server = await start_server(Publish(listen=listen), hub, cameras, lambda: {builders.SMALL: 1}, store)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    print(f"ready {server.address}", flush=True)
    while not hub._subscribers and not stopping.is_set():  # it may be killed soon
        await asyncio.sleep(0.01)
    await put_tracks(store, stopping)
    async with asyncio.timeout(WAIT_S):
        while store.state.degraded:
            await asyncio.sleep(0.05)
    await store.flush(WAIT_S)
    print(f"lost {store.state.lost}", flush=True)
    await server.stop(5.0)
    writing.cancel()
    await asyncio.wait([writing])
    await store.close()


async def put_tracks(store: Store, stopping: asyncio.Event) -> None:
    """Begin, change and end tracks at random until told to stop; then end all."""
    chance, live, number = random.Random(1), list[str](), 0
    run = f"{time.time_ns():016x}"
    revisions: dict[str, int] = {}

    def put(one: TrackSummary) -> None:
        store.put(one)

    while not stopping.is_set():
        if len(live) < OPEN and (not live or chance.random() < 0.3):
            number += 1
            live.append(f"{run}-{number:06}")
            put(summary(live[-1]))
            revisions[live[-1]] = 1
        elif chance.random() < 0.4:
            put(final(live.pop(chance.randrange(len(live)))))
        else:
            name = chance.choice(live)
            revisions[name] += 1
            put(summary(name, revisions[name]))
        await asyncio.sleep(PAUSE_S)
    for name in live:
        put(final(name))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--die-after", type=int, default=0)
    parser.add_argument("--listen", default="127.0.0.1:0")
    options = parser.parse_args()
    section = StoreConfig.model_validate(json.loads(options.config.read_text()))
    asyncio.run(feed(section, options.die_after, options.listen))
