"""A store with sinks in a process of its own, fed with invented tracks.

`python -m tests.support.sink_feeder CONFIG.json` (the sections `store` and `sinks`) prints `ready` when the first
event is stored. With SIGTERM it ends all tracks, waits until everything is stored and delivered, and stops.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from streamer.api.authorisation import without_biometrics
from streamer.api.track_messages import to_proto
from streamer.config import StreamerConfig
from streamer.sinks.sinks import start_sinks
from streamer.store.outbox import Outgoing
from streamer.store.store import Store
from tests.support.patience import WAIT_S
from tests.support.store_feeder import put_tracks


async def feed(config: StreamerConfig) -> None:
    assert config.store is not None
    first = True

    def publish(outgoing: Outgoing) -> None:
        nonlocal first
        if first:
            print("ready", flush=True)
        first = False

    store = Store(config.store, to_proto, publish, lambda working: None)
    await store.open()
    sinks = await start_sinks(config.sinks, store, without_biometrics)
    running = [asyncio.create_task(part.run()) for part in (store, sinks)]
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await put_tracks(store, stopping)
    await store.flush(WAIT_S)
    async with asyncio.timeout(WAIT_S):
        while sinks.behind:  # the receiver may fail again and again
            await sinks.drain(1.0)
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    await sinks.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(feed(StreamerConfig.model_validate(json.loads(Path(sys.argv[1]).read_text()))))
